"""`custom_variable_getter`: what modules see in place of their variables, in a `with` block."""

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable
from contextvars import ContextVar
from typing import Any, NamedTuple, cast

from purestate._core.compiled import ById, depends_on
from purestate._sonnet.module import Module
from purestate._sonnet.variable import Variable

Getter = Callable[[Any], Any]


class _Block(NamedTuple):
    """One `with` block."""

    getter: Getter
    classes: tuple[type, ...]
    instances: tuple[Any, ...] | None

    def key(self) -> tuple[Any, ...]:
        """Says to JAX what a compiled function depends on."""
        those = None if self.instances is None else tuple(map(ById, self.instances))
        return (ById(self.getter), self.classes, those)


_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("purestate_sonnet_getters", default=())
_lock = threading.Lock()
_users: dict[type, int] = {}
_own: dict[type, Any] = {}


@contextlib.contextmanager
def custom_variable_getter(
    getter: Getter,
    classes: Iterable[type] | None = None,
    instances: Iterable[Any] | None = None,
) -> Generator[None]:
    """Has modules read `getter(value)` in place of each variable, in a `with` block.

    It applies to variables that are read as an attribute, also in a list, tuple or dict. It holds
    in the thread or task of the block. Inside it the attributes cannot be assigned to. If blocks
    are nested, the outermost one that applies decides.

    >>> import jax, jax.numpy as jnp, purestate.sonnet as snt
    >>> class Scale(snt.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = snt.Variable(2.0, name="factor")
    ...     def __call__(self, x):
    ...         return x * self.factor
    >>> scale = Scale()
    >>> with snt.custom_variable_getter(lambda v: 10 * v):
    ...     print(scale(1.0))
    20.0
    >>> with snt.custom_variable_getter(jax.lax.stop_gradient):
    ...     print(scale(1.0))
    2.0

    Args:
      getter: gets the value of a variable, an array, and returns what to see in its place.
      classes: the classes to whose modules it applies; None for the classes of `instances`, or
        without them for all modules.
      instances: the modules to which it applies; None for all of these classes.

    Yields:
      None.
    """
    those = None if instances is None else tuple(instances)
    if classes is not None:
        chosen = tuple(dict.fromkeys(classes))
    elif those is not None:
        chosen = tuple(dict.fromkeys(type(instance) for instance in those))
    else:
        chosen = (Module,)
    outer = _blocks.get()
    with contextlib.ExitStack() as stack:
        for cls in chosen:
            _install(cls)
            stack.callback(_uninstall, cls)
        stack.callback(_activate, outer)
        _activate((*outer, _Block(getter, chosen, those)))
        yield


def _activate(blocks: tuple[_Block, ...]) -> None:
    _blocks.set(blocks)
    depends_on("sonnet getters", tuple(block.key() for block in blocks) or None)


def _install(cls: Any) -> None:
    """Has reads of attributes go through the blocks, while there is a block for the class."""
    with _lock:
        _users[cls] = _users.get(cls, 0) + 1
        if _users[cls] > 1:
            return
        own: Any = vars(cls).get("__getattribute__")
        if own is not None:
            _own[cls] = own

        def read(self: Any, name: str) -> Any:
            # Looked up now, and not when this is installed: the blocks of classes end in any order.
            value = own(self, name) if own else super(cls, self).__getattribute__(name)
            return value if name.startswith("__") else _seen(self, value)

        cls.__getattribute__ = read


def _uninstall(cls: Any) -> None:
    with _lock:
        _users[cls] -= 1
        if _users[cls]:
            return
        del _users[cls]
        if cls in _own:
            cls.__getattribute__ = _own.pop(cls)
        else:
            del cls.__getattribute__


def _seen(module: Any, value: Any) -> Any:
    if not isinstance(value, (Variable, list, tuple, dict)):
        return value
    for block in _blocks.get():
        among = block.instances is None or any(module is one for one in block.instances)
        if among and isinstance(module, block.classes):
            return _mapped(value, block.getter)
    return value


def _mapped(value: Any, getter: Getter) -> Any:
    """Applies a getter to each variable in a structure; one without any stays the same object."""
    if isinstance(value, Variable):
        return getter(value.value())
    if isinstance(value, dict):
        held = cast(dict[Any, Any], value)
        mapped = {key: _mapped(item, getter) for key, item in held.items()}
        return mapped if any(mapped[key] is not held[key] for key in held) else held
    if isinstance(value, (list, tuple)):
        before = cast(list[Any], value)
        after = [_mapped(item, getter) for item in before]
        if all(a is b for a, b in zip(after, before, strict=True)):
            return before
        make: Any = type(before)
        return make(*after) if hasattr(before, "_fields") else make(after)
    return value
