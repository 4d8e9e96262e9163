"""Sown values: what `sow` puts aside, and how the values of loops and branches are joined.

Without `reduce`, the values sown under one name become a tuple. With `reduce` they become one
value, a `Reduced`. Both are pytrees: a lifted function returns what it has sown as one more output.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purestate._core.collection import AllBut

SownValues = dict[str, dict[str, dict[str, Any]]]
"""`{collection: {module: {name: entry}}}`. An entry is a tuple of values, or a `Reduced`."""

Reduce = Callable[[Any, Any], Any]

INTERMEDIATES = "intermediates"
"""The collection that `sow` and `capture_intermediates` use by default."""

PERTURBATIONS = "perturbations"
"""The collection of `perturb`."""


@jax.tree_util.register_pytree_node_class
class Reduced:
    """One value that stands for all values sown under a name with `reduce`.

    Attributes:
      value: the value; of several elements or steps, if `stacked`.
      present: a bool array, False for values that were not sown (in a branch that was not taken);
        None if all values were surely sown.
      stacked: the number of leading axes along which the values of loops and maps are stacked. They
        stay apart as long as no other value is sown under their name.
    """

    __slots__ = ("present", "stacked", "value")

    def __init__(self, value: Any, present: Any = None, stacked: int = 0):
        self.value = value
        self.present = present
        self.stacked = stacked

    def tree_flatten(self) -> Any:
        return (self.value, self.present), self.stacked

    @classmethod
    def tree_unflatten(cls, stacked: int, children: Any) -> "Reduced":
        value, present = children
        return cls(value, present, stacked)


class Sown:
    """The values sown in one run, and those who requested them.

    Attributes:
      names: the collections whose values were requested.
      values: the values sown so far.
      reducers: {(collection, module, name): the `reduce` it was sown with, or None}.
    """

    __slots__ = ("names", "reducers", "values")

    def __init__(
        self,
        names: AllBut | tuple[str, ...],
        reducers: dict[tuple[str, str, str], Any] | None = None,
    ):
        self.names = names
        self.values: SownValues = {}
        self.reducers = {} if reducers is None else reducers

    def nested(self) -> "Sown":
        """Returns an empty one for the same collections, for a function that runs within."""
        return Sown(self.names, self.reducers)

    def wants(self, collection: str) -> bool:
        """Whether anyone requested the values sown into a collection."""
        return collection not in ("params", "state") and collection in self.names

    def add(self, collection: str, path: str, name: str, value: Any, reduce: Reduce | None) -> None:
        """Adds one value."""
        self.reducers[collection, path, name] = reduce
        entry = (value,) if reduce is None else Reduced(value)
        self._join(collection, path, name, entry)

    def join(self, values: SownValues) -> None:
        """Adds what another run has sown."""
        for collection, path, name, entry in _entries(values):
            self._join(collection, path, name, entry)

    def put_into(self, collection: str, values: dict[str, dict[str, Any]]) -> None:
        """Adds the values sown into a collection to those that it was given with."""
        for path, bundle in plain_values({"": self.values.get(collection, {})})[""].items():
            kept = values.setdefault(path, {})
            for name, value in bundle.items():
                if name in kept:
                    reduce = self.reducers[collection, path, name]
                    value = (*kept[name], *value) if reduce is None else reduce(kept[name], value)
                kept[name] = value

    def _join(self, collection: str, path: str, name: str, entry: Any) -> None:
        bundle = self.values.setdefault(collection, {}).setdefault(path, {})
        if name in bundle:
            entry = _joined(bundle[name], entry, self.reducers[collection, path, name])
        bundle[name] = entry


class _Fold(NamedTuple):
    """A value that is being reduced, and whether there is any yet."""

    value: Any
    present: Any


def _entries(values: SownValues) -> list[tuple[str, str, str, Any]]:
    return [
        (collection, path, name, entry)
        for collection, modules in values.items()
        for path, bundle in modules.items()
        for name, entry in bundle.items()
    ]


def map_entries(function: Callable[[Any], Any], values: SownValues) -> SownValues:
    """Applies a function to each entry."""
    return {
        collection: {
            path: {name: function(entry) for name, entry in bundle.items()}
            for path, bundle in modules.items()
        }
        for collection, modules in values.items()
    }


def _joined(before: Any, new: Any, reduce: Reduce | None) -> Any:
    if reduce is None:
        return (*before, *new)
    folded = _reduce(_folded(before, reduce), _folded(new, reduce), reduce)
    return Reduced(folded.value, folded.present)


def _folded(entry: Reduced, reduce: Reduce) -> _Fold:
    """Reduces the stacked values of an entry to one."""
    fold = _Fold(entry.value, entry.present)
    for _ in range(entry.stacked):
        fold = _over_axis(fold, reduce)
    return fold


def _over_axis(fold: _Fold, reduce: Reduce) -> _Fold:
    """Reduces over the first axis, in order."""
    slices = lambda i: jax.tree.map(lambda leaf: leaf[i], fold)  # noqa: E731
    first, length = slices(0), len(jax.tree.leaves(fold.value)[0])
    if length == 1:
        return first
    second = jax.eval_shape(lambda: _reduce(first, slices(1), reduce))
    as_first = jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), first)
    if jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), second) != as_first:
        for i in range(1, length):  # such as a concatenation, whose result grows
            first = _reduce(first, slices(i), reduce)
        return first
    rest = jax.tree.map(lambda leaf: leaf[1:], fold)
    return jax.lax.scan(lambda a, b: (_reduce(a, b, reduce), None), first, rest)[0]


def _reduce(a: _Fold, b: _Fold, reduce: Reduce) -> _Fold:
    """Reduces two values, of which either may be missing."""
    both = reduce(a.value, b.value)
    if a.present is None and b.present is None:
        return _Fold(both, None)
    in_a = jnp.bool_(True) if a.present is None else a.present
    in_b = jnp.bool_(True) if b.present is None else b.present
    choose = lambda x, y, z: jnp.where(in_a & in_b, x, jnp.where(in_a, y, z))  # noqa: E731
    return _Fold(jax.tree.map(choose, both, a.value, b.value), in_a | in_b)


# Through JAX transforms


def stacked(values: SownValues) -> SownValues:
    """Marks the entries of a map or loop, stacked along the first axis, as such."""

    def mark(entry: Any) -> Any:
        if isinstance(entry, Reduced):
            return Reduced(entry.value, entry.present, entry.stacked + 1)
        return entry

    return map_entries(mark, values)


def shapes_of_any(branches: list[SownValues]) -> SownValues:
    """Returns entries, as shapes, with what any of several branches sows.

    `present` of a `Reduced` stays None if every branch surely sows it.
    """
    found: SownValues = {}
    for values in branches:
        for collection, path, name, entry in _entries(values):
            bundle = found.setdefault(collection, {}).setdefault(path, {})
            before = bundle.get(name)
            if before is None or (isinstance(entry, tuple) and len(entry) > len(before)):
                bundle[name] = entry

    def surely(collection: str, path: str, name: str) -> bool:
        entries = [values.get(collection, {}).get(path, {}).get(name) for values in branches]
        return all(entry is not None and entry.present is None for entry in entries)

    for collection, path, name, entry in _entries(found):
        if isinstance(entry, Reduced) and not surely(collection, path, name):
            found[collection][path][name] = Reduced(entry.value, False, entry.stacked)
    return found


def filled(values: SownValues, shapes: SownValues) -> SownValues:
    """Returns the entries of one branch, with zeros for entries of the other branches.

    Args:
      values: the entries that the branch has sown.
      shapes: the entries that any branch sows; see `shapes_of_any`.

    Returns:
      Entries of one structure for all branches. `present` of a `Reduced` says whether the branch
      sows it.
    """
    done: SownValues = {}
    for collection, path, name, shape in _entries(shapes):
        mine = values.get(collection, {}).get(path, {}).get(name)
        if isinstance(shape, tuple):
            mine = () if mine is None else mine
            entry: Any = (*mine, *_zeros(shape[len(mine) :]))
        elif shape.present is None:
            entry = mine
        else:
            missing = jnp.zeros(_leading(shape), bool)
            if mine is None:
                entry = Reduced(_zeros(shape.value), missing, shape.stacked)
            else:
                present = ~missing if mine.present is None else mine.present
                entry = Reduced(mine.value, present, mine.stacked)
        done.setdefault(collection, {}).setdefault(path, {})[name] = entry
    return done


def _leading(entry: Reduced) -> tuple[int, ...]:
    leaves = jax.tree.leaves(entry.value)
    return leaves[0].shape[: entry.stacked] if leaves else ()


def carried_on(reducers: Any, before: SownValues, new: SownValues) -> SownValues:
    """Joins the entries of the steps of a loop so far with those of one more step.

    A value without `reduce` is replaced by the last one, since a loop carries only as many values
    as it began with.
    """

    def joined(collection: str, path: str, name: str, entry: Any) -> Any:
        reduce = reducers[collection, path, name]
        if reduce is None:
            return entry
        a = before[collection][path][name]
        fold = _reduce(_folded(a, reduce), _folded(entry, reduce), reduce)
        return Reduced(fold.value, fold.present)

    done: SownValues = {}
    for collection, path, name, entry in _entries(new):
        entry = joined(collection, path, name, entry)
        done.setdefault(collection, {}).setdefault(path, {})[name] = entry
    return done


def start_of_loop(reducers: Any, shapes: SownValues) -> SownValues:
    """Returns the entries that a loop carries before its first step: zeros, not present."""

    def start(collection: str, path: str, name: str, entry: Any) -> Any:
        if isinstance(entry, tuple):
            return _zeros(entry)
        reduce = reducers[collection, path, name]
        one = jax.eval_shape(lambda: _folded(_zeros(entry), reduce)).value
        # A sum of int32 and float32 is float32: the carry needs the dtype of the result.
        one = jax.eval_shape(lambda: reduce(_zeros(one), _zeros(one)))
        return Reduced(_zeros(one), jnp.bool_(False))

    done: SownValues = {}
    for collection, path, name, entry in _entries(shapes):
        entry = start(collection, path, name, entry)
        done.setdefault(collection, {}).setdefault(path, {})[name] = entry
    return done


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)


def plain_values(values: SownValues) -> SownValues:
    """Returns the values for users: tuples and values, with zeros if no branch sowed."""

    def plain(entry: Any) -> Any:
        if not isinstance(entry, Reduced) or entry.present is None:
            return entry.value if isinstance(entry, Reduced) else entry

        def leaf(x: Any) -> Any:
            present = entry.present.reshape(entry.present.shape + (1,) * (x.ndim - entry.stacked))
            return jnp.where(present, x, jnp.zeros_like(x))

        return jax.tree.map(leaf, entry.value)

    return map_entries(plain, values)
