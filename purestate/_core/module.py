"""Modules: objects whose methods run in a scope of their own, and get a path when they are made."""

import abc
import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import jax

from purestate._core.errors import FrameError, ModuleError
from purestate._core.failures import tell_module
from purestate._core.frame import ambient, get_frame, no_frame
from purestate._core.hooks import CALL, MethodContext, functions_for, run_interceptors
from purestate._core.late_methods import in_scope, runs_late
from purestate._core.module_repr import repr_module
from purestate._core.naming import name_module
from purestate._core.path import FORCED, SNAKE_CASE, is_inside, variable_path
from purestate._core.scope import Scope

_F = TypeVar("_F", bound=Callable[..., Any])

# What `transparent` and `name_like` leave on a function, for the metaclass to find.
_TRANSPARENT = "_purestate_transparent"
_NAMED_LIKE = "_purestate_named_like"

_named_scope = jax.named_scope


def transparent(method: _F) -> _F:
    """Marks a method as not being a scope: modules made in it belong to its caller.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> class Wrapper(ps.Module):
    ...     @ps.transparent
    ...     def __call__(self, x):
    ...         return ps.Linear(1)(x)
    >>> ps.transform(lambda x: Wrapper()(x)).init(jax.random.key(0), jnp.ones([1, 1])).keys()
    dict_keys(['linear'])

    Args:
      method: a method of a module, before the class is made.

    Returns:
      The same function.
    """
    setattr(method, _TRANSPARENT, True)
    return method


def name_like(method_name: str) -> Callable[[_F], _F]:
    """Marks a method as naming the modules it makes as if it were `method_name`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> class Net(ps.Module):
    ...     @ps.name_like("__call__")
    ...     def encode(self, x):
    ...         return ps.Linear(1)(x)
    >>> ps.transform(lambda x: Net().encode(x)).init(jax.random.key(0), jnp.ones([1, 1])).keys()
    dict_keys(['net/linear'])

    Args:
      method_name: the method to look like, often `"__call__"`.

    Returns:
      A decorator.
    """

    def decorate(method: _F) -> _F:
        setattr(method, _NAMED_LIKE, method_name)
        return method

    return decorate


def force_name(name: str) -> str:
    """Makes a module take exactly this path, wherever it is made and even if it is taken.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     return ps.Linear(1, name=ps.force_name("a/b"))(x)
    >>> ps.transform(f).init(jax.random.key(0), jnp.ones([1, 1])).keys()
    dict_keys(['a/b'])

    Args:
      name: a path.

    Returns:
      What to give as `name`.
    """
    return FORCED + name


class _MethodScope:
    """The name in the jaxpr of a method that is not `__call__`: as in dm-haiku, `method/module`."""

    __slots__ = ("_method", "_module")

    def __init__(self, method_name: str, module_name: str):
        self._method = _named_scope(method_name)
        self._module = _named_scope(module_name)

    def __enter__(self) -> None:
        self._method.__enter__()
        self._module.__enter__()

    def __exit__(self, *exc_info: Any) -> None:
        self._module.__exit__(*exc_info)
        self._method.__exit__(*exc_info)


def _scoped(
    method: Callable[..., Any], name: str, owner: Callable[[], type[Any]]
) -> Callable[..., Any]:
    """Wraps a method to run in a scope of its own, under its module's name in the jaxpr."""
    if getattr(method, _TRANSPARENT, False):
        return method
    scope_name = getattr(method, _NAMED_LIKE, name)
    is_call = name == "__call__"
    is_late = runs_late(method)

    @functools.wraps(method)
    def run(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        frames, hooks = ambient.get()
        if not frames:
            raise no_frame(f"A module, {type(self).__name__},")
        frame = frames[-1]
        outer = frame.scope
        path = self._path  # None in `__init__`, before the module has a name
        frame.scope = scope = Scope(self, path, scope_name, outer)
        try:
            if path is None:
                out = _run_hooked(hooks, method, name, owner, self, args, kwargs)
            else:
                with (
                    _named_scope(self._local_name)
                    if is_call
                    else _MethodScope(name, self._local_name)
                ):
                    if hooks:
                        out = _run_hooked(hooks, method, name, owner, self, args, kwargs)
                    else:
                        out = method(self, *args, **kwargs)
        except Exception as error:
            tell_module(error, self, name, args, kwargs)
            raise
        finally:
            frame.scope = outer
        if path is not None:
            _note_submodule(self, outer)
        return in_scope(out, frame, scope) if is_late else out

    return run


def _run_hooked(
    hooks: Any,
    method: Callable[..., Any],
    name: str,
    owner: Callable[[], type[Any]],
    self: Any,
    args: Any,
    kwargs: Any,
) -> Any:
    functions = functions_for(CALL, hooks) if hooks else None
    if not functions:
        return method(self, *args, **kwargs)

    def bound(*args: Any, **kwargs: Any) -> Any:
        return method(self, *args, **kwargs)

    bound.__name__ = name
    return run_interceptors(
        functions, bound, MethodContext(self, name, bound, owner()), args, kwargs
    )


def _note_submodule(module: Any, scope: Scope | None) -> None:
    """Tells the modules around that `module` was used in them (for `params_dict`)."""
    path = module._path
    while scope is not None:
        if scope.module is not None and scope.module is not module:
            scope.module._submodules.add(path)
        scope = scope.outer


if TYPE_CHECKING:
    _ProtocolMeta = abc.ABCMeta
else:
    _ProtocolMeta = type(Protocol)


class ModuleMetaclass(_ProtocolMeta):
    """Wraps the methods of modules, and their construction; everything else is a function.

    A metaclass and not `__init_subclass__`, since that runs before `@dataclass` adds an
    `__init__`, and since only after construction can a forgotten `super().__init__()` be seen.
    """

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> Any:
        made: list[type] = []

        def owner() -> type:
            return made[0]

        def scoped_or_none(key: str, function: Any) -> Any:
            return None if function is None else _scoped(function, key, owner)

        namespace = dict(namespace)
        for key, value in list(namespace.items()):
            if key == "module_name" or (key.startswith("__") and key != "__call__"):
                continue
            if isinstance(value, property):
                accessors = (scoped_or_none(key, f) for f in (value.fget, value.fset, value.fdel))
                namespace[key] = property(*accessors, doc=value.__doc__)
            elif isinstance(value, FunctionType):
                namespace[key] = _scoped(value, key, owner)
        namespace.setdefault("_is_protocol", False)
        # In every class, so that @dataclass does not put its own there.
        namespace.setdefault("__repr__", repr_module)
        make: Any = super().__new__
        cls = make(mcs, name, bases, namespace, **kwargs)
        made.append(cls)
        return cls

    # A type checker has to see no `__call__`, or it takes Any for what each constructor returns.
    if not TYPE_CHECKING:

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            frames, hooks = ambient.get()
            if not frames:
                raise no_frame(f"A module, {cls.__name__},")
            frame = frames[-1]
            outer = frame.scope
            new: Any = cls.__new__
            module: Any = new(cls, *args, **kwargs)
            object.__setattr__(module, "_arguments", (args, kwargs))
            init: Any = cls.__init__
            marks = init.__dict__
            try:
                if (
                    _TRANSPARENT in marks
                ):  # what it makes belongs to its caller, and no hook sees it
                    init(module, *args, **kwargs)
                else:
                    named_like = marks[_NAMED_LIKE] if _NAMED_LIKE in marks else "__init__"
                    frame.scope = Scope(module, None, named_like, outer)
                    if hooks:
                        _run_hooked(hooks, init, "__init__", lambda: cls, module, args, kwargs)
                    else:
                        init(module, *args, **kwargs)
            except Exception as error:
                tell_module(error, module, "__init__", args, kwargs)
                raise
            finally:
                frame.scope = outer
            if module._path is None:
                raise ModuleError(
                    f"{cls.__name__} was made without a name. Its `__init__` must begin with"
                    " `super().__init__(name=name)`."
                )
            if outer.outer is not None:
                _note_submodule(module, outer)
            return module

    @property
    def __signature__(cls) -> inspect.Signature:
        signature = inspect.signature(cls.__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])


class Module(metaclass=ModuleMetaclass):
    """The base class of everything with parameters. A method creates them when it uses them.

    Modules are made and used while a transformed function runs. The path of a module has its name
    (by default that of its class) and the path of the module that makes it. Several modules of one
    name are numbered. The parameters of a module are stored under its path.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> class Scale(ps.Module):
    ...     def __call__(self, x):
    ...         return x * ps.get_parameter("s", x.shape[-1:], x.dtype, init=jnp.ones)
    >>> f = ps.transform(lambda x: Scale()(x))
    >>> jax.tree.map(jnp.shape, f.init(None, jnp.ones([2, 3])))
    {'scale': {'s': (3,)}}

    A dataclass works as well: leave out `__init__`. To let users give a name, add a field
    `name: str | None = None`.

    Args:
      name: a Python identifier; None takes the class's name in snake_case.

    Attributes:
      name: the last part of the path.
      module_name: the path.

    Raises:
      FrameError: made outside a transformed function.
      ModuleNameError: `name` is not an identifier, or ends in a number and is taken.
    """

    # Until `__init__` has run: no path, and so no name in the jaxpr.
    _path: str | None = None
    _local_name: str = ""
    # For a function that the user wrote, and not for a module: errors do not name it.
    _stands_in: bool = False
    _arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    _submodules: set[str]
    creation_frame_id: int
    # A str, and Any so that a dataclass may have a field `name: str | None = None`.
    name: str | Any
    module_name: str

    def __init__(self, name: str | None = None):
        frames = ambient.get()[0]
        frame = frames[-1]
        if name is None:
            # A dataclass field, or an attribute of the class.
            name = str(getattr(self, "name", None) or SNAKE_CASE[type(self).__name__])
        scope = frame.scope
        if scope.module is self and scope.outer is not None:
            path, local_name = name_module(name, scope.outer, frame)
            scope.path = path
        elif getattr(type(self).__init__, _TRANSPARENT, False):
            # Without a scope of its own; dm-haiku then names it one scope further out.
            path, local_name = name_module(name, scope.outer or scope, frame)
        else:
            raise FrameError(
                f"`__init__` of {type(self).__name__} was called by hand; make a new module"
                " instead."
            )
        self._submodules = set()
        self.module_name = self._path = path
        self.name = self._local_name = local_name
        self.creation_frame_id = frame.frame_id

    __post_init__ = __init__

    def params_dict(self) -> dict[str, jax.Array]:
        """Returns the parameters of this module and of those used in it so far, by full name.

        >>> import jax, jax.numpy as jnp, purestate as ps
        >>> def f(x):
        ...     net = ps.nets.MLP([1])
        ...     net(x)
        ...     return net.params_dict()
        >>> g = ps.transform(f)
        >>> sorted(g.apply(g.init(jax.random.key(0), jnp.ones([1, 1])), None, jnp.ones([1, 1])))
        ['mlp/~/linear_0/b', 'mlp/~/linear_0/w']

        Returns:
          `{"module/name": array}`.

        Raises:
          FrameError: used outside a transformed function.
        """
        return _own_variables(self, "params")

    def state_dict(self) -> dict[str, jax.Array]:
        """Returns the current state of this module and of those used in it so far, by full name.

        See `params_dict`.

        Returns:
          `{"module/name": value}`.

        Raises:
          FrameError: used outside a transformed function.
        """
        return _own_variables(self, "state")


def _own_variables(module: Any, collection: str) -> dict[str, jax.Array]:
    frame = get_frame(f"`module.{collection}_dict()`")
    return {
        variable_path(path, name): value
        for path, bundle in frame.collections[collection].values.items()
        if is_inside(path, module._path) or path in module._submodules
        for name, value in bundle.items()
    }
