"""`snt.Module`: a module of purestate with Sonnet's names and attributes, in or outside a run."""

import contextlib
import functools
from collections.abc import Callable, Generator
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from purestate._core.failures import WRAPPERS
from purestate._core.frame import ambient, get_frame
from purestate._core.module import Module as CoreModule
from purestate._core.module import ModuleMetaclass, name_like, transparent
from purestate._core.path import SNAKE_CASE
from purestate._core.scope import Names, Scope
from purestate._sonnet.compiled_function import Function
from purestate._sonnet.copying import (
    free_name,
    module_state,
    note_plain_name,
    plain_name,
    set_module_state,
)
from purestate._sonnet.errors import NoVariablesError, SonnetAttributeError, WrongFrameError
from purestate._sonnet.outside import OUTSIDE, forget_with, in_a_frame, run_outside
from purestate._sonnet.traversal import submodules_of, variables_of

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M")

WRAPPERS.update({"_outside_too", "_in_own_names", "SonnetMetaclass"})
_NO_NAME_SCOPE = "_sonnet_no_name_scope"
_ALLOWS_NONE = "_sonnet_allows_no_variables"


def no_name_scope(method: F) -> F:
    """Marks a method whose modules and variables belong to its caller.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> class Net(snt.Module):
    ...     @snt.no_name_scope
    ...     def __call__(self, x):
    ...         return snt.Linear(1)(x)
    >>> f = ps.transform_with_state(lambda x: Net()(x))
    >>> f.init(jax.random.key(0), jnp.ones([1, 2]))[0].keys()
    dict_keys(['linear'])

    Args:
      method: a method of a module, before the class is made.

    Returns:
      The same function.
    """
    setattr(method, _NO_NAME_SCOPE, True)
    return method


def allow_empty_variables(module_or_cls: M) -> M:
    """Allows a module, or all modules of a class, to have no variables.

    >>> import purestate.sonnet as snt
    >>> snt.allow_empty_variables(snt.Sequential([])).variables
    ()

    Args:
      module_or_cls: a module, or a class of modules.

    Returns:
      The same module or class.
    """
    setattr(module_or_cls, _ALLOWS_NONE, True)
    return module_or_cls


@contextlib.contextmanager
def _names_kept(module: "Module", scope: Scope) -> Generator[None]:
    """Numbers the modules made in `scope` after all those that its module has made before.

    In purestate each call of a method numbers from the start, since each call makes the same
    modules again. In Sonnet a call makes new ones.
    """
    around = _scope_around(module, scope)
    if around is not None:  # which tells the other methods when it ends
        scope.names = around.names
        try:
            yield
        finally:
            around.names = scope.names
        return
    place = ("names", module.module_name)
    names: Names | None = get_frame("A module").ledger.built.get(place)
    scope.names = None if names is None else names.copy()
    try:
        yield
    finally:
        if scope.names is not None:
            get_frame("A module").ledger.built[place] = scope.names.copy()


def _scope_around(module: "Module", scope: Scope) -> Scope | None:
    """Returns the scope of another method of the same module that runs around this one."""
    outer = scope.outer
    while outer is not None:
        if outer.module is module:
            return outer
        outer = outer.outer
    return None


def _in_own_names(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a method so that it runs with the names that its module has handed out so far."""

    @functools.wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._path is None:
            raise SonnetAttributeError(
                f"{type(self).__name__}.{method.__name__} was called before the module has a name."
                " Call `super().__init__(name=name)` first thing in its `__init__`, or mark the"
                " method with @snt.no_name_scope."
            )
        frame = get_frame("A module")
        if self.creation_frame_id != frame.frame_id:
            raise _from_another_run(self)
        with _names_kept(self, frame.scope):
            return method(self, *args, **kwargs)

    # Sonnet has one name scope for all methods, and so no part of a path for `__init__`.
    return name_like("__call__")(run)


def _from_another_run(module: "Module") -> WrongFrameError:
    """The error for a module whose variables are not those of the running function."""
    if module.creation_frame_id == OUTSIDE.frame.frame_id:
        return WrongFrameError(
            f"The module {module.module_name!r} was made outside a transformed function, and is"
            " called inside one, whose params it is not part of. Make it inside the function, or"
            " transform the function with `snt.functional.transform_with_state`, which takes"
            " modules from outside."
        )
    return WrongFrameError(
        f"The module {module.module_name!r} was made in another run of init or apply, or in another"
        " transformed function. Its variables ended with that run: make a new one in each."
    )


def _constructor(init: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `__init__` so that the names it hands out are known to the other methods."""

    @functools.wraps(init)
    def run(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        frame = get_frame("A module")
        if frame.scope.module is self and frame.scope.names is not None and self._path:
            frame.ledger.built["names", self._path] = frame.scope.names.copy()

    return name_like("__call__")(run)


def _outside_too(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a method so that it can be called outside a transformed function."""

    @functools.wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if ambient.get()[0]:
            return method(self, *args, **kwargs)
        return run_outside(method, (self, *args), kwargs)

    # In Sonnet only the class itself cannot be made: a subclass need not define each method.
    vars(run).pop("__isabstractmethod__", None)
    return run


def _is_method(key: str, value: object) -> bool:
    return isinstance(value, FunctionType) and (key == "__call__" or not key.startswith("__"))


def _prepared(method: Callable[..., Any]) -> Callable[..., Any]:
    return transparent(method) if hasattr(method, _NO_NAME_SCOPE) else _in_own_names(method)


def _map_property(value: property, wrap: Callable[[Any], Any]) -> property:
    accessors = (None if f is None else wrap(f) for f in (value.fget, value.fset, value.fdel))
    return property(*accessors, doc=value.__doc__)


class SonnetMetaclass(ModuleMetaclass):
    """Gives methods Sonnet's name scope, and lets modules be made and called anywhere."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> Any:
        namespace = dict(namespace)
        # Methods that `snt.function` compiles: what it compiles is the method in its name scope.
        options = {k: v.options for k, v in namespace.items() if isinstance(v, Function)}
        namespace.update({key: namespace[key].fun for key in options})
        plain = namespace.pop("_plain", ())  # methods and properties that need no frame
        kept = {key: namespace.pop(key) for key in plain}
        for key, value in namespace.items():
            if _is_method(key, value):
                namespace[key] = _prepared(value)
            elif key == "__init__":
                namespace[key] = _constructor(value)
            elif isinstance(value, property):
                namespace[key] = _map_property(value, _prepared)
        cls = super().__new__(mcs, name, bases, namespace, **kwargs)
        for key, value in list(vars(cls).items()):
            if key in namespace and _is_method(key, value):
                setattr(cls, key, _outside_too(value))
            elif key in namespace and isinstance(value, property):
                setattr(cls, key, _map_property(value, _outside_too))
        for key in options:
            type.__setattr__(cls, key, Function(vars(cls)[key], options[key]))
        for key, value in kept.items():
            type.__setattr__(cls, key, value)
        return cls

    if not TYPE_CHECKING:

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            make = super().__call__
            frames = ambient.get()[0]
            module = make(*args, **kwargs) if frames else run_outside(make, args, kwargs)
            if module.creation_frame_id == OUTSIDE.frame.frame_id:
                forget_with(module, module.module_name)
            return module


class NameScope:
    """The name scope of a module, for a `with` block, in which modules and variables are its own.

    Attributes:
      name: the path of the module with a slash at its end.
    """

    def __init__(self, module: "Module"):
        self._module = module
        self._blocks: list[contextlib.ExitStack] = []
        outside = module.creation_frame_id == OUTSIDE.frame.frame_id
        path = module.module_name
        self.name: str = (plain_name(OUTSIDE.frame, path) if outside else path) + "/"

    def __enter__(self) -> str:
        frame = get_frame("`name_scope` of a module")
        outer = frame.scope
        block = contextlib.ExitStack()
        block.callback(setattr, frame, "scope", outer)
        frame.scope = Scope(self._module, self._module.module_name, "__call__", outer)
        block.enter_context(_names_kept(self._module, frame.scope))
        self._blocks.append(block)
        return self.name

    def __exit__(self, *exc_info: object) -> None:
        self._blocks.pop().close()


class Module(CoreModule, metaclass=SonnetMetaclass):
    """The base class of Sonnet's modules: Sonnet's names and attributes, run as pure functions.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> class Scale(snt.Module):
    ...     @snt.once
    ...     def _initialize(self, x):
    ...         self.scale = snt.Variable(jnp.ones(x.shape[-1]), name="scale")
    ...     def __call__(self, x):
    ...         self._initialize(x)
    ...         return x * self.scale
    >>> f = ps.transform_with_state(lambda x: Scale()(x))
    >>> params, state = f.init(None, jnp.ones([2, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'scale': {'scale': (3,)}}

    A module may also be made and called outside, as in Sonnet. Then it keeps its variables.

    >>> scale = Scale()
    >>> _ = scale(jnp.ones([2, 3]))
    >>> scale.trainable_variables
    (<Variable 'scale/scale:0' [3] float32>,)

    A module that is made in another one has a path below it, whichever method makes it. Modules of
    one name are numbered in the order of their construction. In `ps.get_parameter` and the like
    `self` is the running module, as in any module of purestate.

    Args:
      name: a Python identifier; None takes the class's name in snake_case.

    Attributes:
      name: the name.
      name_scope: its name scope; `with module.name_scope:` makes variables of the module.
      variables: its variables, and those of the modules it holds: those of the module first, by
        the names of the attributes, and then those of each submodule.
      trainable_variables: those of them that are parameters.
      submodules: the modules that it holds, and those that they hold.

    Raises:
      ModuleNameError: `name` is not an identifier.
    """

    _plain = ("name_scope", "submodules", "variables", "trainable_variables")
    name: str | Any

    def __init__(self, name: str | None = None):
        if name is None:
            name = str(getattr(self, "name", None) or SNAKE_CASE[type(self).__name__])
        frame = get_frame("A module")
        super().__init__(free_name(name, frame.scope.outer))
        self.name = name
        note_plain_name(frame, self.module_name, name)
        if hasattr(type(self).__init__, _NO_NAME_SCOPE) and frame.scope.outer is not None:
            frame.scope = frame.scope.outer

    @property
    def name_scope(self) -> NameScope:
        return NameScope(self)

    @property
    def variables(self) -> tuple[Any, ...]:
        return _or_error(self, variables_of(self), "variables")

    @property
    def trainable_variables(self) -> tuple[Any, ...]:
        found = tuple(variable for variable in variables_of(self) if variable.trainable)
        return _or_error(self, found, "trainable_variables")

    @property
    def submodules(self) -> tuple["Module", ...]:
        return submodules_of(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Says to `copy.deepcopy` and pickle what a copy is made of; it gets another path."""
        with in_a_frame() as frame:
            if self.creation_frame_id != frame.frame_id:
                raise _from_another_run(self)
            return _new_module, (type(self),), module_state(self, frame)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        with in_a_frame() as frame:
            set_module_state(self, frame, state)


def _new_module(cls: type[Module]) -> Module:
    module = cls.__new__(cls)
    with in_a_frame() as frame:
        module.creation_frame_id = frame.frame_id
    return module


def _or_error(module: Module, found: tuple[Any, ...], what: str) -> tuple[Any, ...]:
    if found or getattr(module, _ALLOWS_NONE, False):
        return found
    raise NoVariablesError(
        f"{module!r} has no {what} yet. Most modules create their variables when they are first"
        f" called, so call it on an example before you read `{what}`. If it is to have none, mark"
        " it: `snt.allow_empty_variables(module)`."
    )
