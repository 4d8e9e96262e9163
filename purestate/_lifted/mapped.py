"""What `vmap`, `shard_map` and `scan` have in common: they run a function many times.

`run_mapped` is the recipe. `vmap` and `shard_map` each give it a `MappedAxis`, which knows the JAX
transform. `scan` has steps, one after the other, and only uses the parts.
"""

import abc
import contextlib
import functools
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purestate._core.errors import BatchedStateError
from purestate._core.frame import Elements, Frame
from purestate._core.observer import Observer
from purestate._core.path import variable_path
from purestate._core.sown import SownValues, map_entries, stacked
from purestate._lifted.collection_modes import Modes, combine
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.snapshot import Snapshot, Values, changes, entries, keep, merged, put

Own = dict[int, Values]
"""The variables of which each run has its own slice, by axis."""


class MappedAxis(abc.ABC):
    """One use of a JAX transform that runs a function many times at once.

    Attributes:
      transform: the name of the transform, for errors.
      fix: how values are made the same for all runs, for errors.
      stacks: whether values to combine leave the transform stacked along the first axis. If not,
        `combined` has combined them inside.
      index: returns the index of the running element; None if its keys differ anyway.
    """

    transform: str
    fix: str
    stacks: bool
    index: Callable[[], Any] | None

    @abc.abstractmethod
    def look(self, run: Callable[..., Any]) -> Callable[..., None]:
        """Returns `run(snapshot, *args)` under the transform, for a look at what it reads."""

    @abc.abstractmethod
    def size(self) -> int:
        """Returns the number of runs."""

    @abc.abstractmethod
    def run(self, body: Callable[..., Any], own: Own, args: tuple[Any, ...]) -> Any:
        """Runs `body(snapshot, own, *args) -> (out, Packed, sown)` under the transform."""

    @abc.abstractmethod
    def differs(self, store: str, value: Any) -> bool:
        """Whether a value may differ from run to run."""

    @abc.abstractmethod
    def why(self, names: str) -> str:
        """Says that some variables cannot get values that differ."""

    def keys_after(self, keys: Any) -> Any:
        """Returns the keys that the frame goes on with, given those that a run has left."""
        return keys

    def own(self, value: Any, axis: int) -> Any:
        """Prepares a value that each run has for itself."""
        return value

    def combined(self, mode: str, value: Any) -> Any:
        """Prepares a value that is to be combined."""
        return value


class Packed(NamedTuple):
    """What the runs have changed, as outputs of a JAX transform.

    Attributes:
      same: a Snapshot of the values that all runs agree on.
      by_axis: {axis: (values, initial)} of what each run has for itself.
      by_mode: ({mode: values}, {mode: initial}) of the values to combine.
    """

    same: Any
    by_axis: Any
    by_mode: Any


def run_mapped(
    frame: Frame, lifted: Lifted, modes: Modes, axis: MappedAxis, args: tuple[Any, ...]
) -> Any:
    """Runs a function many times at once; keeps what all runs have changed together.

    Args:
      frame: the running frame.
      lifted: the function.
      modes: the mode of each collection.
      axis: the JAX transform.
      args: what the transform maps over.

    Returns:
      The result of the transform.
    """
    # 1. Variables of which each run has its own slice have to be arguments of the JAX transform.
    #    Which they are, only the function knows: look what it reads.
    own = slices_read(frame, lifted, modes, axis.look, *args)
    if own:
        modes.check_sizes(own, axis.size())

    # 2. One run begins with what the frame holds and its own slices. What it changes leaves the
    #    transform in three ways: as it is, along an axis, or to be combined.
    def body(before: Snapshot, own: Own, *args: Any) -> tuple[Any, Packed, SownValues]:
        before = with_own(frame, before, own)
        with elements(frame, modes, own, axis.index):
            out, after, sown = lifted.run(before, *args)
        changed = changes(before, after)
        modes.check_not_written(before, changed)
        changed = changed._replace(keys=axis.keys_after(changed.keys))
        return out, pack(modes, changed, axis), sown

    # 3. All runs. This is the only part that is about one JAX transform.
    out, packed, sown = axis.run(body, own, args)
    keep(frame, unpack(packed, combine_all=axis.stacks), sown_by_runs(modes, sown))
    return out


class _Looker(Observer):
    """Finds out which of the variables that exist are read, and have an axis as their mode."""

    def __init__(self, frame: Frame, modes: Modes):
        self._modes = modes
        self._there = {name: kept.values for name, kept in frame.collections.items()}
        self._set: set[tuple[str, str, str]] = set()
        self.found: Own = {}

    def read(
        self, frame: Frame, collection: str, path: str, name: str, value: Any, **known: Any
    ) -> Any:
        """Returns a slice of a variable of which each run has its own."""
        # A variable that is new, or that the run has set, is a slice already.
        store = frame.layout.store_of(frame, collection)
        there = self._there.get(store, {}).get(path, {})
        if name not in there or (store, path, name) in self._set:
            return value
        mode = self._modes.of_collection(collection)
        if not isinstance(mode, int):
            return value
        # Found is the whole variable, as the frame holds it: the transform slices it.
        put(self.found.setdefault(mode, {}), store, path, name, there[name])
        self._modes.check_axis(collection, path, name, value, mode)
        return jax.tree.map(lambda leaf: _first_slice(leaf, mode), value)

    @contextlib.contextmanager
    def passing(self, own: Own) -> Generator[None]:
        """Leaves variables as they are that a map within this one has sliced already."""
        outside = self._set
        inside = {entry[:3] for part in own.values() for entry in entries(part)}
        self._set = outside | inside
        try:
            yield
        finally:
            self._set = (self._set - inside) | outside

    def wrote(self, frame: Frame, collection: str, path: str, name: str, value: Any) -> None:
        """Notes that from here on a run reads what it has set itself."""
        self._set.add((frame.layout.store_of(frame, collection), path, name))


def _first_slice(leaf: Any, axis: int) -> Any:
    # An index into an axis of size 0 would be out of bounds.
    if jnp.shape(leaf)[axis] == 0:  # a loop without steps
        shape = list(jnp.shape(leaf))
        del shape[axis]
        return jnp.zeros(shape, jnp.result_type(leaf))
    return jax.lax.index_in_dim(leaf, 0, axis, keepdims=False)


def slices_read(
    frame: Frame, lifted: Lifted, modes: Modes, through: Callable[..., Any] | None, *args: Any
) -> Own:
    """Returns the variables of which each run has its own slice: those it reads that have an axis.

    Args:
      frame: the running frame.
      lifted: the function.
      modes: the modes.
      through: the JAX transform to look through; see `Lifted.look`.
      *args: for the function.

    Returns:
      Whole variables, by axis.
    """
    if not modes.needs_look():
        return {}
    # The labels stay: after the look it is known which collection each variable belongs to.
    looker = _Looker(frame, modes)
    lifted.look(*args, observer=looker, through=through, keeps_labels=True)
    own: Own = {}
    for axis, part in looker.found.items():
        for store, module, name, value in entries(part):
            # In a look of a map around this one, its looker gives the slice.
            belongs = frame.layout.collection_of(frame, store, module, name)
            for observer in frame.observers:
                value = observer.read(frame, belongs, module, name, value)
            put(own.setdefault(axis, {}), store, module, name, value)
    return own


def nothing(result: Any) -> None:
    """Drops a result, of which a look needs only the way to it."""
    del result


def with_own(frame: Frame, before: Snapshot, own: Own) -> Snapshot:
    """Returns a snapshot with the slices of a run in the place of whole variables."""
    values = dict(before.values)
    for part in own.values():
        for store, modules in part.items():
            there: Any = values.get(store, frame.collections[store].values)
            values[store] = merged({store: there}, {store: modules})[store]
    return before._replace(values=values)


@contextlib.contextmanager
def elements(
    frame: Frame, modes: Modes, own: Own, index: Callable[[], Any] | None
) -> Generator[None]:
    """Gives each run keys of its own for the initial values of its own variables.

    Args:
      frame: the running frame.
      modes: says which variables each run has for itself.
      own: those that exist.
      index: returns the index of the running element; None if its keys differ anyway.

    Yields:
      None.
    """
    outside = frame.elements
    if index is not None and modes.has_own():
        # The key of an initial value is folded with the index, so that elements begin differently.
        frame.elements = (*outside, Elements(modes.own, index))
    with contextlib.ExitStack() as stack:
        stack.callback(setattr, frame, "elements", outside)
        # Inside, the variables are slices.
        stack.enter_context(not_sliced_again(frame, own))
        yield


@contextlib.contextmanager
def not_sliced_again(frame: Frame, own: Own) -> Generator[None]:
    """Gives variables in a `with` block that a map around must take as they are.

    Args:
      frame: the running frame.
      own: the variables, by any axis.

    Yields:
      None.
    """
    with contextlib.ExitStack() as stack:
        for observer in frame.observers:
            # A look of a map around sees them read, and would take them for whole variables.
            if isinstance(observer, _Looker):
                stack.enter_context(observer.passing(own))
        yield


def pack(modes: Modes, changed: Snapshot, axis: MappedAxis) -> Packed:
    """Sorts what a run has changed by how it leaves the transform."""
    by_axis: dict[int, list[Values]] = {number: [{}, {}] for number in modes.axes()}
    by_mode: list[dict[str, Values]] = [{}, {}]
    same: list[Values] = [{}, {}]
    # Values and initial values go the same ways, since `init` returns the initial ones.
    for i, values in enumerate((changed.values, changed.initial)):
        for mode, part in modes.sort(values).items():
            differing: Values = {}
            for store, module, name, value in entries(part):
                if isinstance(mode, int):
                    put(by_axis[mode][i], store, module, name, axis.own(value, mode))
                elif not axis.differs(store, value):
                    # It needs no combining: an int counter stays one.
                    put(same[i], store, module, name, value)
                elif mode in (None, "broadcast"):
                    put(differing, store, module, name, value)
                else:
                    value = axis.combined(str(mode), value)
                    put(by_mode[i].setdefault(str(mode), {}), store, module, name, value)
            if differing:
                raise _batched(modes, differing, axis)
    return Packed(Snapshot(same[0], same[1], changed.keys), by_axis, by_mode)


def _batched(modes: Modes, differing: Values, axis: MappedAxis) -> BatchedStateError:
    return BatchedStateError(
        f"{axis.why(', '.join(modes.names(differing)))} Say how to keep the values:"
        f" collections={{{modes.first(differing)!r}: mode}}, with one of the modes 'mean', 'sum',"
        " 'first' (right if they are the same), 'max', 'min', or an axis, along which each keeps"
        f" its own. Or make them the same before the write, {axis.fix}."
    )


def unpack(packed: Packed, combine_all: bool = True) -> Snapshot:
    """Returns what all runs have changed together.

    Args:
      packed: what came out of the transform.
      combine_all: whether the values of `by_mode` are still stacked along the first axis.

    Returns:
      Values for the frame.
    """
    done: list[Values] = []
    for i, by_mode in enumerate(packed.by_mode):
        values: Values = {}
        for mode, part in by_mode.items():
            for store, module, name, value in entries(part):
                if combine_all:
                    value = combine(mode, value, variable_path(module, name))
                put(values, store, module, name, value)
        done.append(functools.reduce(merged, (part[i] for part in packed.by_axis.values()), values))
    same = packed.same
    return Snapshot(merged(same.values, done[0]), merged(same.initial, done[1]), same.keys)


def sown_by_runs(modes: Modes, sown: SownValues) -> SownValues:
    """Returns what the runs have sown, stacked along the first axis, as one.

    It stays stacked, unless the user gave its collection a mode that combines.
    """
    done: SownValues = {}
    for collection, modules in stacked(sown).items():
        mode = modes.of_collection(collection)
        part = {collection: modules}
        # "broadcast" forbids writes, and sowing is not one: readers of sown values expect all of
        # them.
        if isinstance(mode, str) and mode != "broadcast":
            part = _combined_sown(mode, part)
        done.update(part)
    return done


def _combined_sown(mode: str, sown: SownValues) -> SownValues:
    def one(entry: Any) -> Any:
        if isinstance(entry, tuple):
            return combine(mode, entry, "What is sown")
        return type(entry)(combine(mode, entry.value, "What is sown"), None, entry.stacked - 1)

    return map_entries(one, sown)
