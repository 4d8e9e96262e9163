"""`shard_map` of functions that use the frame."""

import contextlib
import functools
import math
from collections.abc import Callable, Generator, Hashable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from purestate._core.frame import Frame, get_frame
from purestate._core.trace_guard import varying_axes
from purestate._lifted.collection_modes import COMBINED, Modes, combine_shards
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.mapped import MappedAxis, Own, Packed, nothing, run_mapped
from purestate._lifted.snapshot import Snapshot, take_snapshot, whole_snapshot, without

P = ParamSpec("P")
R = TypeVar("R")


def shard_map(
    f: "Callable[P, R]",
    *,
    in_specs: Any,
    out_specs: Any,
    mesh: jax.sharding.Mesh | jax.sharding.AbstractMesh | None = None,
    axis_names: AbstractSet[Hashable] = frozenset(),
    check_vma: bool = True,
    collections: Mapping[str, int | str] | None = None,
) -> "Callable[P, R]":
    """Like `jax.shard_map`, for functions that use modules, state or random keys.

    All shards have the same parameters, state and keys (`next_rng_key(axis_name=...)` gives each
    shard another key), and have to write the same values, unless `collections` says otherwise.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> from jax.sharding import AxisType, PartitionSpec as P
    >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    >>> def forward(x):
    ...     net = lambda x: ps.BatchNorm(True, True, 0.9)(ps.Linear(2)(x), is_training=True)
    ...     spec, modes = P("data"), {"batch_stats": "mean"}
    ...     return ps.shard_map(net, mesh=mesh, in_specs=spec, out_specs=spec, collections=modes)(x)
    >>> f = ps.transform_with_state(forward)
    >>> x = jnp.ones([4, 3])
    >>> params, state = f.init(jax.random.key(0), x)
    >>> out, state = f.apply(params, state, None, x)
    >>> out.shape
    (4, 2)

    Args:
      f: a module or function of one shard.
      in_specs: how each argument is sharded, or one spec for all; see `jax.shard_map`.
      out_specs: how each result is.
      mesh: the devices; None for the mesh of `jax.set_mesh`.
      axis_names: along which of its axes to map; empty for all.
      check_vma: see `jax.shard_map`. Without it JAX does not track which values differ, so that
        state that is written needs a mode.
      collections: `{collection: mode}`. With "mean", "sum", "max", "min" or "first" the values that
        the shards write are combined; with an axis (an int) each shard has variables of its own,
        slices along that axis; with "broadcast" they may not write. Sown values are stacked along
        axis 0.

    Returns:
      A function of whole arrays.

    Raises:
      FrameError: called outside a transformed function; use `jax.shard_map` there.
      BatchedStateError: a written value differs from shard to shard, or may, and nothing says how
        to combine the values.
      CollectionModeError: `collections` has an unknown mode.
    """

    @functools.wraps(f)
    def mapped(*args: Any) -> Any:
        frame = get_frame("A function made by `ps.shard_map`")
        modes = Modes(frame, collections, "ps.shard_map", ("broadcast", *COMBINED))
        # JAX takes one spec for all arguments, but the snapshot and the slices have specs of their
        # own.
        one_for_all = isinstance(in_specs, PartitionSpec) or not isinstance(in_specs, (tuple, list))
        specs = _Specs((in_specs,) * len(args) if one_for_all else tuple(in_specs), out_specs)
        shards = _Shards(frame, modes, mesh, axis_names, specs, check_vma)
        with shards.mapping():
            return run_mapped(frame, Lifted(f, frame), modes, shards, args)

    return mapped  # pyright: ignore[reportReturnType] (it takes no keywords)


class _Specs(NamedTuple):
    """How the arguments and the result are sharded."""

    of_args: tuple[Any, ...]
    of_result: Any


class _Shards(MappedAxis):
    """The shards of a `jax.shard_map`: what differs is combined by collectives, inside."""

    transform = "ps.shard_map"
    fix = "with `jax.lax.pmean`; ps.BatchNorm does with cross_replica_axis"
    stacks = False

    def __init__(
        self,
        frame: Frame,
        modes: Modes,
        mesh: Any,
        axis_names: AbstractSet[Hashable],
        specs: _Specs,
        check_vma: bool,
    ):
        self._frame = frame
        self._modes = modes
        self._mesh = jax.sharding.get_abstract_mesh() if mesh is None else mesh
        # JAX maps along all axes of the mesh if none are named.
        self._names = tuple(axis_names) or tuple(self._mesh.axis_names)
        self._specs = specs
        self._check_vma = check_vma
        self._shard_map = functools.partial(
            jax.shard_map, mesh=mesh, axis_names=frozenset(axis_names), check_vma=check_vma
        )
        self.index = functools.partial(jax.lax.axis_index, self._names)

    @contextlib.contextmanager
    def mapping(self) -> Generator[None]:
        """Marks mesh axes along which this `ps.shard_map` handles the state of layers."""
        frame, outside = self._frame, self._frame.mapped_axes
        frame.mapped_axes = (*outside, *self._names)
        try:
            yield
        finally:
            frame.mapped_axes = outside

    def look(self, run: Callable[..., Any]) -> Callable[..., None]:
        shown = self._shard_map(
            lambda before, *args: nothing(run(before, *args)),
            in_specs=(PartitionSpec(), *self._specs.of_args),
            out_specs=PartitionSpec(),
        )
        # Variables of which each shard has its own may be sharded already: gather them first.
        return lambda before, *args: shown(
            self._resharded(whole_snapshot(self._frame, before), PartitionSpec()), *args
        )

    def size(self) -> int:
        return math.prod(self._mesh.shape[name] for name in self._names)

    def run(self, body: Callable[..., Any], own: Own, args: tuple[Any, ...]) -> Any:
        def shard(before: Snapshot, own: Own, *args: Any) -> Any:
            # `jax.shard_map` keeps the mapped axis, with one slice: take it out, and put it back.
            squeezed = {
                axis: jax.tree.map(functools.partial(jnp.squeeze, axis=axis), part)
                for axis, part in own.items()
            }
            out, packed, sown = body(before, squeezed, *args)
            return out, packed, jax.tree.map(lambda leaf: jnp.expand_dims(leaf, 0), sown)

        everywhere = PartitionSpec()
        # Outputs, beside the result: values that all shards share, values that each shard has for
        # itself, and sown values, with the shards along a new first axis.
        written = {axis: self._along(axis) for axis in self._modes.axes()}
        run = self._shard_map(
            shard,
            in_specs=(everywhere, {axis: self._along(axis) for axis in own}, *self._specs.of_args),
            out_specs=(
                self._specs.of_result,
                Packed(everywhere, written, everywhere),
                self._along(0),
            ),
        )
        if not self._frame.home.staged:  # step by step, JAX does not say which values differ
            run = jax.jit(run)
        # All goes in as arguments: a mesh with explicit axes refuses arrays that are closed over.
        whole = whole_snapshot(self._frame, take_snapshot(self._frame))
        for part in own.values():  # these go in as slices
            whole = Snapshot(without(whole.values, part), without(whole.initial, part), whole.keys)
        own = {axis: self._resharded(part, self._along(axis)) for axis, part in own.items()}
        return run(whole, own, *args)

    def _along(self, axis: int) -> PartitionSpec:
        return PartitionSpec(*(None,) * axis, self._names)

    def _resharded(self, values: Any, spec: PartitionSpec) -> Any:
        """Shards arrays by `spec`, on a mesh with explicit axes."""
        if any(kind == jax.sharding.AxisType.Explicit for kind in self._mesh.axis_types):
            return jax.reshard(values, NamedSharding(self._mesh, spec))
        return values

    def differs(self, store: str, value: Any) -> bool:
        if not self._check_vma:  # new parameters come from keys, which are the same everywhere
            return store != "params"
        return not varying_axes(value).isdisjoint(self._names)

    def why(self, names: str) -> str:
        if self._check_vma:
            why = f"would get values that differ along {', '.join(map(repr, self._names))}"
        else:
            why = "is written, and check_vma=False does not track whether shards write the same"
        return f"Inside `ps.shard_map`, {names} {why}, but all shards share one value."

    def own(self, value: Any, axis: int) -> Any:
        return jax.tree.map(lambda leaf: jnp.expand_dims(leaf, axis), value)

    def combined(self, mode: str, value: Any) -> Any:
        return combine_shards(mode, value, self._names)
