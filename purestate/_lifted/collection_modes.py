"""How each collection goes through a transform that runs a function many times.

A mode says which values the runs of a `vmap`, `scan` or `shard_map` begin with, and what becomes of
those that they write:

    "carry"      each run begins with what the one before it wrote
    "broadcast"  all runs see the same values, and none may write
    an axis      each run has values of its own, slices along that axis
    "mean", "sum", "max", "min", "first"   all runs see the same; what they write is combined

By default all elements of a `vmap` see the same values and have to write the same, and a `scan`
carries values from step to step.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import CollectionModeError, VariableError, kind_of
from purestate._core.frame import Frame
from purestate._core.path import variable_path
from purestate._core.sown import PERTURBATIONS
from purestate._lifted.snapshot import Snapshot, Values, entries, put, written

Mode = int | str | None
COMBINED = ("mean", "sum", "first", "max", "min")
QUANTIZE = "quantize"
"""The collection of the largest values that quantization has seen."""
AMAX = "quantize_amax"
"""How the names of its variables begin: one state for all collections has no other sign of it
before the first read."""

# Each run has its own point to take a gradient at. The largest value is that of all runs.
_DEFAULTS: dict[str, Mode] = {PERTURBATIONS: 0, QUANTIZE: "max"}


class Modes:
    """Says how each variable goes through one transform.

    Args:
      frame: the running frame.
      given: `{collection: mode}`, as users write it, or None.
      transform: the transform, for errors.
      allowed: the modes that it has, beside axes.
    """

    def __init__(self, frame: Frame, given: Any, transform: str, allowed: tuple[str, ...]):
        self._frame = frame
        self._transform = transform
        self._given: dict[str, Mode] = {}
        if given is None:
            return
        if not isinstance(given, Mapping):
            raise CollectionModeError(
                f"`{transform}(collections=...)` takes a dict from collections to modes, such as"
                f" {{'batch_stats': 'mean'}}, but got {kind_of(given)}."
            )
        modes: Mapping[str, Any] = given
        for name, mode in modes.items():
            # True is an int for Python. Nobody who writes True means axis 1.
            if isinstance(mode, bool) or not (isinstance(mode, int) or mode in allowed):
                raise CollectionModeError(
                    f"`{transform}(collections={{{name!r}: {mode!r}}})`: a mode is an axis (an int)"
                    f" or one of {', '.join(map(repr, allowed))}."
                )
        # A scan carries by default, so both are None.
        self._given = {name: None if mode == "carry" else mode for name, mode in modes.items()}

    def of_collection(self, collection: str) -> Mode:
        """Returns the mode of a collection; None for the default of the transform."""
        return self._given.get(collection, _DEFAULTS.get(collection))

    def of(self, store: str, module: str, name: str) -> Mode:
        """Returns the mode of a variable."""
        if name.startswith(AMAX):
            return self.of_collection(QUANTIZE)
        belongs = self._frame.layout.collection_of(self._frame, store, module, name)
        return self.of_collection(belongs)

    def own(self, collection: str, module: str, name: str) -> bool:
        """Whether each run has a variable of its own."""
        return isinstance(self.of_collection(collection), int)

    def sort(self, values: Values) -> dict[Mode, Values]:
        """Sorts values by mode."""
        sorted_: dict[Mode, Values] = {}
        for store, module, name, value in entries(values):
            put(sorted_.setdefault(self.of(store, module, name), {}), store, module, name, value)
        return sorted_

    def axes(self) -> list[int]:
        """Returns all axes that a variable may have as its mode."""
        modes = {**_DEFAULTS, **self._given}.values()
        return sorted({mode for mode in modes if isinstance(mode, int)})

    def has_own(self) -> bool:
        """Whether the user said that runs have variables of their own."""
        return any(isinstance(mode, int) for mode in self._given.values())

    def needs_look(self) -> bool:
        """Whether only a look at what runs read tells how variables go through.

        So it is if any that exists may have an axis as its mode; and if one state holds all
        collections, since the first read says which a variable belongs to.
        """
        frame = self._frame
        if not frame.layout.by_collection and not self._given.keys() <= {"params", "state"}:
            return any(frame.collections["state"].values.values())
        # A look costs a second trace, so only a collection that exists is reason for one.
        sliced = [
            name for name, mode in {**_DEFAULTS, **self._given}.items() if isinstance(mode, int)
        ]
        for name in sliced:
            store = frame.layout.store_of(frame, name)
            kept = frame.collections.get(store)
            exists = kept is not None and any(kept.values.values())
            if exists and (name in self._given or frame.perturbed):
                return True
        return False

    def check_not_written(self, before: Snapshot, changed: Snapshot) -> None:
        """Raises if a run has set what goes through as "broadcast"; it may have made it."""
        if "broadcast" not in self._given.values():
            return
        refused = written(before, changed, self.sort(changed.values).get("broadcast", {}))
        if refused:
            choices = "'mean', 'sum', 'first', 'max', 'min' or an axis"
            if self._transform == "ps.scan":
                choices = f"'carry', {choices}"
            raise CollectionModeError(
                f"Inside `{self._transform}`, {', '.join(self.names(refused))} is set,"
                " but goes through it as 'broadcast': the same for all, to be read. Choose"
                f" {choices}."
            )

    def names(self, values: Values) -> list[str]:
        """Returns full names, each with the collection that it belongs to."""
        frame = self._frame
        return [
            f"{variable_path(module, name)!r} (collection"
            f" {frame.layout.collection_of(frame, store, module, name)!r})"
            for store, module, name, _ in entries(values)
        ]

    def first(self, values: Values) -> str:
        """Returns the collection that the first of some values belongs to."""
        store, module, name, _ = entries(values)[0]
        return self._frame.layout.collection_of(self._frame, store, module, name)

    def check_axis(self, collection: str, module: str, name: str, value: Any, axis: int) -> None:
        """Raises unless all arrays in a value have an axis."""
        if all(-jnp.ndim(leaf) <= axis < jnp.ndim(leaf) for leaf in jax.tree.leaves(value)):
            return
        shapes = jax.tree.map(jnp.shape, value)
        raise VariableError(
            f"{variable_path(module, name)!r} of the collection {collection!r} goes through"
            f" `{self._transform}` along axis {axis} (collections={{{collection!r}: {axis}}}), but"
            f" it has shape {shapes}. Choose an axis that all variables of the collection have,"
            " such as 0."
        )

    def check_sizes(self, own: dict[int, Values], size: int | None) -> None:
        """Raises unless all values have `size` slices along their axes."""
        for axis, part in own.items():
            for store, module, name, value in entries(part):
                belongs = self._frame.layout.collection_of(self._frame, store, module, name)
                self.check_axis(belongs, module, name, value, axis)
                for leaf in jax.tree.leaves(value):
                    if leaf.shape[axis] != size:
                        raise VariableError(
                            f"{variable_path(module, name)!r} of the collection {belongs!r} goes"
                            f" through `{self._transform}` along axis {axis}, which needs {size}"
                            f" slices, but it has shape {jnp.shape(leaf)}."
                        )


def combine(mode: Mode, stacked: Any, path: str) -> Any:
    """Combines what the runs have written, stacked along the first axis."""

    def leaf(x: jax.Array) -> jax.Array:
        if mode == "first":
            return x[0]
        if mode == "sum":
            # By NumPy's rule, the sum of small ints has a larger dtype.
            return x.sum(0, dtype=x.dtype)
        if mode == "max":
            return x.max(0)
        if mode == "min":
            return x.min(0)
        check_can_mean(x, path)
        return x.mean(0)

    return jax.tree.map(leaf, stacked)


def combine_shards(mode: str, value: Any, names: tuple[Any, ...]) -> Any:
    """Combines what shards have written, by collectives along axes of the mesh, inside."""

    def leaf(x: jax.Array) -> jax.Array:
        if mode == "mean":
            if jnp.issubdtype(x.dtype, jnp.integer):  # a counter, which is the same everywhere
                return jax.lax.psum(x, names) // jax.lax.axis_size(names)
            return jax.lax.pmean(x, names)
        if mode in ("max", "min"):
            return (jax.lax.pmax if mode == "max" else jax.lax.pmin)(x, names)
        if mode == "first":
            # JAX has no broadcast along an axis: the sum of the first and of zeros is one.
            is_first = jnp.all(jnp.array([jax.lax.axis_index(name) == 0 for name in names]))
            x = jnp.where(is_first, x, jnp.zeros_like(x))
        return jax.lax.psum(x, names)

    return jax.tree.map(lambda x: leaf(jnp.asarray(x)), value)


def check_can_mean(x: Any, path: str) -> None:
    """Raises if the mean of numbers of a dtype would have another dtype."""
    # A mean of ints is a float, and state that changes its dtype breaks the next call.
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        raise CollectionModeError(
            f"{path!r} has dtype {x.dtype} and differs from run to run: its 'mean' would not be"
            f" {x.dtype}. Choose 'sum', 'max', 'min', 'first' or an axis."
        )
