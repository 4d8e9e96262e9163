"""`SetUpModule`: a module with a method to run once, before the first call."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from purestate._core.errors import ModuleError, VariableTypeError, kind_of
from purestate._core.frame import get_frame
from purestate._core.module import Module, ModuleMetaclass, name_like

P = ParamSpec("P")
R = TypeVar("R")

if TYPE_CHECKING:
    R_co = TypeVar("R_co", covariant=True)

    class _HasForward(Protocol[P, R_co]):
        # A `SetUpModule`, by the arguments and the result of its `forward`.
        is_set_up: bool
        _in_set_up: bool

        @property
        def set_up(self) -> Any: ...
        def forward(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


def _after_set_up(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.is_set_up:
            raise ModuleError(
                f"`forward` of {self.module_name!r} ({type(self).__name__}) was called before"
                " `set_up` has run. Call the module itself, `module(x)`, which runs `set_up(x)`"
                " the first time and then `forward`."
            )
        return forward(self, *args, **kwargs)

    # Modules that `forward` makes are named as those of `__call__`.
    return name_like("__call__")(run)


class _SetUpMetaclass(ModuleMetaclass):
    """Makes `forward` check that `set_up` has run."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> Any:
        if isinstance(namespace.get("forward"), FunctionType):
            namespace = {**namespace, "forward": _after_set_up(namespace["forward"])}
        return super().__new__(mcs, name, bases, namespace, **kwargs)


class _IsSetUp:
    """Whether `set_up` of a module has run, as the frame's ledger says.

    Not a property, since the methods of modules run in scopes of their own.
    """

    def __get__(self, module: Any, owner: type) -> Any:
        if module is None:
            return self
        return id(module) in get_frame("A SetUpModule").ledger.set_up


class SetUpModule(Module, metaclass=_SetUpMetaclass):
    """A module in two methods: `set_up(x)` runs once, before the first `forward(x, ...)`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> class Net(ps.SetUpModule):
    ...     def set_up(self, x):
    ...         self.linear = ps.Linear(x.shape[-1])
    ...     def forward(self, x, *, inference_mode=False):
    ...         return x + self.linear(x)
    >>> f = ps.transform(lambda x: Net()(x, inference_mode=True))
    >>> jax.tree.map(jnp.shape, f.init(jax.random.key(0), jnp.ones([2, 3])))
    {'net/~set_up/linear': {'b': (3,), 'w': (3, 3)}}

    It runs once per instance. Every run of `init` or `apply` makes new instances.

    Args:
      name: the name of the module.

    Attributes:
      is_set_up: whether `set_up` has run.
    """

    is_set_up: bool = _IsSetUp()  # pyright: ignore[reportAssignmentType]
    _in_set_up = False

    def set_up(self, *args: Any, **kwargs: Any) -> None:
        """Makes what needs the first input to be known; by default nothing.

        Args:
          *args: as many of the positional arguments of the first call as it takes.
          **kwargs: none.
        """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what a call of the module returns; to be written by the subclass.

        Args:
          *args: what the module was called with.
          **kwargs: likewise.

        Raises:
          ModuleError: the subclass has none, or `set_up` has not run.
        """
        raise ModuleError(
            f"{type(self).__name__} needs a method `forward(self, x, ...)`: a SetUpModule has none"
            " of its own."
        )

    def __call__(self: "_HasForward[P, R]", *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs `set_up` if this is the first call, and then `forward`.

        Args:
          *args: for `forward`.
          **kwargs: for `forward`.

        Returns:
          What `forward` returns.

        Raises:
          ModuleError: the subclass has no `forward`.
        """
        if not self.is_set_up:
            self._in_set_up = True
            try:
                self.set_up(*args[: _num_positional(self.set_up, len(args))])
            finally:
                self._in_set_up = False
            get_frame("A SetUpModule").ledger.set_up[id(self)] = self
        return self.forward(*args, **kwargs)


def _num_positional(method: Callable[..., Any], most: int) -> int:
    parameters = inspect.signature(method).parameters.values()
    if any(p.kind == inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return most
    return sum(
        p.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for p in parameters
    )


class Container:
    """Holds modules, functions or arrays as a list or dict does; refuses everything else.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     layers = ps.Container([ps.Linear(4), jax.nn.relu, ps.Linear(2)])
    ...     for layer in layers:
    ...         x = layer(x)
    ...     return x
    >>> list(ps.transform(f).init(jax.random.key(0), jnp.ones([1, 3])))
    ['linear', 'linear_1']

    A plain list does as well; a container only checks its items.

    Args:
      items: a sequence or a mapping of modules, functions or arrays, or of containers, sequences
        and mappings of these.

    Raises:
      VariableTypeError: `items` is something else, or holds something else.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Any):
        if not isinstance(items, (Sequence, Mapping)) or isinstance(items, (str, bytes)):
            raise VariableTypeError(
                f"Container({items!r}): {kind_of(items)} is not a valid state. A container takes a"
                " list or a dict of modules, functions or arrays; keep other values as attributes"
                " of their own."
            )
        _check_items(items, "")
        self._items: Any = dict(items) if isinstance(items, Mapping) else tuple(items)

    def __getitem__(self, key: Any) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def values(self) -> list[Any]:
        """Returns the items, in order."""
        return list(self._items.values() if isinstance(self._items, dict) else self._items)

    def keys(self) -> list[Any]:
        """Returns the keys, or positions, in order."""
        return list(
            self._items.keys() if isinstance(self._items, dict) else range(len(self._items))
        )

    def items(self) -> list[tuple[Any, Any]]:
        """Returns pairs of a key, or position, and an item."""
        return list(zip(self.keys(), self.values(), strict=True))

    def __repr__(self) -> str:
        items = list(self._items) if isinstance(self._items, tuple) else self._items
        return f"Container({items!r})"


def _check_items(items: Any, where: str) -> None:
    pairs: Any = items.items() if isinstance(items, Mapping) else enumerate(items)
    for key, item in pairs:
        here = f"{where}[{key!r}]"
        if isinstance(item, (Sequence, Mapping)) and not isinstance(item, (str, bytes)):
            _check_items(item, here)
        elif not (
            isinstance(item, (Module, Container)) or callable(item) or hasattr(item, "shape")
        ):
            raise VariableTypeError(
                f"Container: item {here} is {kind_of(item)}, which is not a valid state. A"
                " container takes modules, functions or arrays; keep other values as attributes of"
                " their own."
            )
