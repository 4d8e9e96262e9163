"""How each collection goes through a transform that runs a function many times: `vmap`, `scan`, `shard_map`.

A mode says where the values of the runs come from, and what becomes of those they write:

    "carry"      each run begins with what the one before it wrote
    "broadcast"  all runs see the same, and none may write
    an axis      each run has its own, a slice along that axis
    "mean", "sum", "first"   all runs see the same; what they write is combined

Without a word all rows of a `vmap` see the same and have to write the same, and a `scan` carries.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.collection import copy_bundle
from purestate._core.errors import CollectionModeError, VariableError, kind_of
from purestate._core.frame import Frame
from purestate._core.path import variable_path
from purestate._lifted.lift_frame import (
    Key,
    Lifted,
    Snapshot,
    Values,
    check_outlives,
    take_snapshot,
    writable,
)
from purestate._state.intermediates import INTERMEDIATES, PERTURBATIONS, join_sown

Mode = int | str | None
COMBINED = ("mean", "sum", "first")
STACKED = {INTERMEDIATES: 0, PERTURBATIONS: 0}


class Modes:
    """Says how each variable goes through one transform."""

    def __init__(self, frame: Frame, given: Any, transform: str, allowed: tuple[str, ...]):
        self._frame = frame
        self._given: dict[str, Mode] = {}
        if given is not None:
            if not isinstance(given, Mapping):
                raise CollectionModeError(
                    f"`{transform}(collections=...)` takes a dict from collections to modes, such"
                    f" as {{'batch_stats': 'mean'}}, but got {kind_of(given)}."
                )
            modes: Mapping[str, Any] = given
            for name, mode in modes.items():
                if isinstance(mode, bool) or not (isinstance(mode, int) or mode in allowed):
                    raise CollectionModeError(
                        f"`{transform}(collections={{{name!r}: {mode!r}}})`: a mode is an axis (an"
                        f" int) or one of {', '.join(map(repr, allowed))}."
                    )
            self._given = {name: None if mode == "carry" else mode for name, mode in modes.items()}

    def collection_of(self, key: Key, name: str) -> str:
        """Returns the collection that a variable belongs to, also where one state holds all of them."""
        collection, module = key
        return (
            self._frame.labels.get((module, name), collection)
            if collection == "state"
            else collection
        )

    def of(self, key: Key, name: str) -> Mode:
        """Returns the mode of a variable; None where nothing was said."""
        collection = self.collection_of(key, name)
        if collection in self._given:
            return self._given[collection]
        if (collection, key[1], name) in self._frame.reducers:
            return 0
        return STACKED.get(collection)

    def axes(self) -> list[int]:
        """All axes that a variable may have as its mode."""
        return sorted({mode for mode in (0, *self._given.values()) if isinstance(mode, int)})

    def split(self, values: Values) -> dict[Mode, Values]:
        """Splits a part of a snapshot by mode."""
        parts: dict[Mode, Values] = {}
        for key, bundle in values.items():
            for name, value in bundle.items():
                parts.setdefault(self.of(key, name), {}).setdefault(key, {})[name] = value
        return parts

    def may_slice(self, values: Values) -> bool:
        """Whether any of these variables may turn out to have an axis as its mode."""
        sliced = {
            name for name, mode in {**STACKED, **self._given}.items() if isinstance(mode, int)
        }
        if self._frame.mutable is None and sliced - {"params", *STACKED}:
            return True  # to which collection a variable belongs is known when it is read
        return any(key[0] in sliced and bundle for key, bundle in values.items())


def all_values(frame: Frame, snapshot: Snapshot) -> Values:
    """The state of a snapshot, and what can only be read, as one."""
    read_only = {
        (name, module): bundle
        for name, collection in frame.collections.items()
        if not collection.writable
        for module, bundle in collection.values.items()
    }
    made = {("params", module): bundle for module, bundle in (snapshot.params or {}).items()}
    return {**read_only, **made, **snapshot.state}


def with_values(frame: Frame, snapshot: Snapshot, new: Values, *, only: bool = False) -> Snapshot:
    """Returns a snapshot with other values in it. With `only`, the variables of a name in `new` are taken out."""
    params = None
    if (
        any(collection == "params" for collection, _ in new)
        and not frame.collections["params"].writable
    ):
        params = copy_bundle(
            snapshot.params if snapshot.params is not None else frame.collections["params"].values
        )
    state = {key: dict(bundle) for key, bundle in snapshot.state.items()}
    initial = (
        None
        if snapshot.initial is None
        else {key: dict(bundle) for key, bundle in snapshot.initial.items()}
    )
    for key, bundle in new.items():
        into: Any = params if key[0] == "params" and params is not None else state
        at = key[1] if into is params else key
        for name, value in bundle.items():
            if only:
                into.get(at, {}).pop(name, None)
                if initial is not None:
                    initial.get(key, {}).pop(name, None)
            else:
                into.setdefault(at, {})[name] = value
    return snapshot._replace(
        params=snapshot.params if params is None else params, state=state, initial=initial
    )


def sown(frame: Frame, values: Values) -> Values:
    """Keeps what was sown: it is put aside when a run begins, and joined with what the run has sown."""
    found: Values = {}
    for key, bundle in values.items():
        for name, value in bundle.items():
            if (*key, name) in frame.reducers:
                found.setdefault(key, {})[name] = value
    return found


def keep_values(frame: Frame, values: Values, initial: Values | None = None) -> None:
    """Puts values into the frame; what was sown is joined with what is there."""
    check_outlives(frame, values)
    check_outlives(frame, initial or {})
    for (collection, module), bundle in values.items():
        kept = (
            frame.collections["params"] if collection == "params" else writable(frame, collection)
        )
        into = kept.values.setdefault(module, {})
        for name, value in bundle.items():
            if name in into and (collection, module, name) in frame.reducers:
                value = join_sown(frame, collection, module, name, into[name], value)
            into[name] = value
    for (collection, module), bundle in (initial or {}).items():
        kept = (
            frame.collections["params"] if collection == "params" else writable(frame, collection)
        )
        if kept.initial is not None:
            for name, value in bundle.items():
                kept.initial.setdefault(module, {}).setdefault(name, value)


def check_not_written(
    transform: str, modes: Modes, written: dict[Mode, Values], choices: str
) -> None:
    """Raises if a run has set what goes through as "broadcast"."""
    if written.get("broadcast"):
        names = ", ".join(paths_with_collections(modes, written["broadcast"]))
        raise CollectionModeError(
            f"Inside `{transform}`, {names} is set, but goes through it as 'broadcast': the same"
            f" for all, to be read. Choose {choices}."
        )


class _Looker:
    """Told of what a run reads, finds out which of the variables that were there have an axis as their mode."""

    def __init__(self, modes: Modes, there: Values, slice: Callable[[Any, int], Any]):  # noqa: A002
        self._modes = modes
        self._there = there
        self._slice = slice
        self._set: set[tuple[Key, str]] = set()
        self.found: dict[int, Values] = {}

    def _key(self, frame: Frame, collection: str, path: str) -> Key:
        is_own = (
            collection == "params" or frame.mutable is not None or collection in frame.collections
        )
        return (collection if is_own else "state", path)

    def note(
        self, frame: Frame, collection: str, path: str, name: str, value: Any, **known: Any
    ) -> Any:
        """Returns what a run would read: a slice, where each has its own."""
        key = self._key(frame, collection, path)
        if name not in self._there.get(key, {}) or (key, name) in self._set:
            return value
        mode = self._modes.of(key, name)
        if not isinstance(mode, int):
            return value
        self.found.setdefault(mode, {}).setdefault(key, {})[name] = self._there[key][name]
        return self._slice(value, mode)

    def note_set(
        self, frame: Frame, collection: str, path: str, name: str, value: Any, **known: Any
    ) -> None:
        """Notes that from here on a run reads what it has set itself."""
        self._set.add((self._key(frame, collection, path), name))


def _first_slice(leaf: Any, axis: int) -> Any:
    return leaf if jnp.ndim(leaf) <= axis else jax.lax.index_in_dim(leaf, 0, axis, keepdims=False)


def values_of_their_own(
    frame: Frame,
    modes: Modes,
    pure: Lifted,
    look: Callable[[Callable[..., None]], Any],
) -> dict[int, Values]:
    """Returns the variables of which each run has its own slice: those it reads that have an axis as their mode.

    Which these are is found out by running the function abstractly: `look(run)` calls `run` as the
    transform will.
    """
    before = take_snapshot(frame)
    put_aside = sown(frame, before.state)
    there = all_values(frame, with_values(frame, before, put_aside, only=True))
    if not modes.may_slice(there):
        return {}

    looker = _Looker(
        modes, there, lambda value, axis: jax.tree.map(lambda leaf: _first_slice(leaf, axis), value)
    )
    outer, frame.recorder = frame.recorder, looker
    try:
        jax.eval_shape(lambda: look(lambda *args, **kwargs: pure(before, *args, **kwargs) and None))
    finally:
        frame.recorder = outer
    return looker.found


def check_sizes(values: dict[int, Values], size: int | None, transform: str) -> None:
    """Raises unless all values have `size` slices."""
    for axis, part in values.items():
        for key, bundle in part.items():
            for name, value in bundle.items():
                for leaf in jax.tree.leaves(value):
                    if jnp.ndim(leaf) <= axis or (size is not None and leaf.shape[axis] != size):
                        raise VariableError(
                            f"{variable_path(key[1], name)!r} of the collection {key[0]!r} goes"
                            f" through `{transform}` along axis {axis}, which needs {size} slices,"
                            f" but it has shape {jnp.shape(leaf)}."
                        )


def combine(mode: Mode, stacked: Any, path: str) -> Any:
    """Combines what the runs have written, stacked along the first axis."""

    def leaf(x: jax.Array) -> jax.Array:
        if mode == "first":
            return x[0]
        if mode == "sum":
            return x.sum(0, dtype=x.dtype)
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            raise CollectionModeError(
                f"{path!r} has dtype {x.dtype} and differs from run to run: 'mean' would not be"
                f" {x.dtype} any more. Choose 'sum', 'first' or an axis."
            )
        return x.mean(0)

    return jax.tree.map(leaf, stacked)


def paths_with_collections(modes: Modes, values: Values) -> list[str]:
    """Returns full names, each with the collection that it belongs to."""
    return [
        f"{variable_path(key[1], name)!r} (collection {modes.collection_of(key, name)!r})"
        for key, bundle in values.items()
        for name in bundle
    ]
