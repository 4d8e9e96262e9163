"""State that an earlier `apply` has replaced, and that is passed on once more."""

import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from purestate._core.errors import StaleStateError, StaleStateWarning
from purestate._core.path import variable_path
from purestate._core.trace_guard import staging_trace, warn_user

_Variables = Mapping[str, Mapping[str, Mapping[str, Any]]]  # collection -> module -> name

_replaced: dict[int, tuple[Any, Any]] = {}
"""By the id of each array that was replaced, references to it and to the trace that did so."""


def check_fresh(given: _Variables, action: str) -> None:
    """Raises, or warns, if an array in `given` is one that an earlier `apply` has replaced.

    Args:
      given: the variables that `apply` begins with, by collection.
      action: "error" or "warn".

    Raises:
      StaleStateError: there is one, and `action` is "error".
    """
    trace = staging_trace()
    stale = [
        f"{name!r}" if collection == "state" else f"{name!r} of {collection!r}"
        for collection, name, value in _flat(given)
        if any(_is_replaced(leaf, trace) for leaf in jax.tree.leaves(value))
    ]
    if not stale:
        return
    more = f" and {len(stale) - 8} more" if len(stale) > 8 else ""
    message = (
        f"`apply` got an old value of {', '.join(stale[:8])}{more}: an earlier `apply` was given"
        " the same array and has returned a new one. Pass on the new state: `out, state ="
        " f.apply(params, state, rng, x)`. If the old one is meant, pass a copy:"
        " `jax.tree.map(jnp.copy, state)`."
    )
    if action == "error":
        raise StaleStateError(message)
    warn_user(message, StaleStateWarning)


def note_replaced(given: _Variables, new: _Variables) -> None:
    """Notes which arrays of `given` have another value in `new`.

    Args:
      given: the variables that `apply` began with.
      new: those that it returns.
    """
    after = {(collection, name): value for collection, name, value in _flat(new)}
    kept = {id(leaf) for leaf in jax.tree.leaves(list(after.values()))}
    trace = staging_trace()
    for collection, name, value in _flat(given):
        if (collection, name) not in after or after[collection, name] is value:
            continue
        for leaf in jax.tree.leaves(value):
            if id(leaf) not in kept and hasattr(leaf, "shape"):  # not Python's numbers
                _note(leaf, trace)


def _note(leaf: Any, trace: Any) -> None:
    number = id(leaf)
    array = weakref.ref(leaf, lambda _: _replaced.pop(number, None))
    _replaced[number] = (array, None if trace is None else weakref.ref(trace))


def _is_replaced(leaf: Any, trace: Any) -> bool:
    """Whether an `apply` in this trace has replaced an array.

    In another trace, as of the other branch of `jax.lax.cond`, it is perhaps the current one.
    """
    array, replaced_in = _replaced.get(id(leaf), (None, None))
    if array is None or array() is not leaf:
        return False
    return trace is (None if replaced_in is None else replaced_in())


def _flat(variables: _Variables) -> Iterator[tuple[str, str, Any]]:
    for collection, bundle in variables.items():
        for path, values in bundle.items():
            for name, value in values.items() if hasattr(values, "items") else ():
                yield collection, variable_path(path, name), value
