"""What a compiled function depends on, beside its arguments: active hooks and settings.

`jax.jit` traces a function once for each set of shapes. A block such as `with ps.freeze(...)`
around a call changes what a trace computes. So it must be part of the key by which JAX reuses a
trace: `jax.make_user_context` adds it.
"""

import types
from collections.abc import Hashable, Mapping
from contextvars import ContextVar
from typing import Any

import jax

_blocks = jax.make_user_context(())
_process = jax.make_user_context(())

_NOTHING: Mapping[str, Any] = types.MappingProxyType({})
_in_blocks: ContextVar[Mapping[str, Any]] = ContextVar("purestate_compiled", default=_NOTHING)
_in_process: dict[str, Any] = {}


def depends_on(what: str, value: Any) -> None:
    """Makes compiled functions depend on `value`, in this thread or task.

    Args:
      what: which of the things that compiled functions depend on, such as "hooks".
      value: a hashable value; None for nothing.
    """
    parts = {name: part for name, part in _in_blocks.get().items() if name != what}
    if value is not None:
        parts[what] = value
    _in_blocks.set(parts)
    # Entered and not left: blocks of generators end in any order, so each change says all there is.
    _blocks(_key(parts)).__enter__()


def process_depends_on(what: str, value: Any) -> None:
    """Makes compiled functions depend on `value`, in all threads."""
    _in_process[what] = value  # in one thread at a time, as JAX asks
    _process.set_global(_key(_in_process))


def is_known_to_jax() -> bool:
    """Whether JAX knows which hooks and settings compiled functions depend on here.

    It does not in a task or thread that runs with the context of another. (Policies of mixed
    precision hold by thread.)
    """
    here = {name: part for name, part in _in_blocks.get().items() if name != "policies"}
    known = dict(_blocks.value)
    known.pop("policies", None)
    return known == here


def _key(parts: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(parts.items(), key=lambda part: part[0]))


class ById:
    """Stands for a value that has no hash of its own, or whose equality says too much."""

    __slots__ = ("_value",)

    def __init__(self, value: Any):
        self._value = value  # keeps it alive, so that its id stays its own

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ById) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)


def hashable(value: Any) -> Hashable:
    """Returns the value, or what stands for it if it has no hash."""
    try:
        hash(value)
    except TypeError:
        return ById(value)
    return value


def parts() -> tuple[tuple[str, Any], ...]:
    """Returns what compiled functions depend on here, each with its name."""
    return (*_process.value, *_blocks.value)
