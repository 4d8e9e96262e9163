"""`shard_map` of functions that use the frame."""

import contextlib
import functools
import math
from collections.abc import Callable, Generator, Hashable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from purestate._core.frame import Frame, get_frame
from purestate._core.trace_guard import varying_axes
from purestate._lifted.collection_modes import COMBINED, Modes
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.mapped import (
    MappedAxis,
    Packed,
    elements,
    nothing,
    pack,
    slices_read,
    sown_by_runs,
    unpack,
    with_own,
)
from purestate._lifted.snapshot import (
    Snapshot,
    changes,
    keep,
    take_snapshot,
    whole_snapshot,
    without,
)

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
        names = tuple(axis_names) or tuple(_mesh(mesh).axis_names)
        axis = _Shards(names, check_vma)
        lifted = Lifted(f, frame)
        make = functools.partial(
            jax.shard_map, mesh=mesh, axis_names=frozenset(axis_names), check_vma=check_vma
        )
        is_one = isinstance(in_specs, PartitionSpec) or not isinstance(in_specs, (tuple, list))
        specs_of_args = (in_specs,) * len(args) if is_one else tuple(in_specs)
        everywhere = PartitionSpec()
        index = functools.partial(jax.lax.axis_index, names)

        def look(run: Callable[..., Any]) -> Callable[..., Any]:
            shown = make(
                lambda before, *args: nothing(run(before, *args)),
                in_specs=(everywhere, *specs_of_args),
                out_specs=everywhere,
            )
            return lambda before, *args: shown(
                _resharded(whole_snapshot(frame, before), mesh, everywhere), *args
            )

        with _mapping(frame, names):
            own = slices_read(frame, lifted, modes, look, *args)
        modes.check_sizes(own, math.prod(_mesh(mesh).shape[name] for name in names))

        def body(before: Snapshot, own: Any, *args: Any) -> Any:
            own = {
                number: jax.tree.map(functools.partial(jnp.squeeze, axis=number), part)
                for number, part in own.items()
            }
            before = with_own(frame, before, own)
            with elements(frame, modes, own, index):
                out, after, sown = lifted.run(before, *args)
            sown = jax.tree.map(lambda leaf: jnp.expand_dims(leaf, 0), sown)
            return out, pack(modes, changes(before, after), axis), sown

        run = make(
            body,
            in_specs=(everywhere, {a: _along(a, names) for a in own}, *specs_of_args),
            out_specs=(
                out_specs,
                Packed(everywhere, {a: _along(a, names) for a in modes.axes()}, everywhere),
                _along(0, names),
            ),
        )
        if not frame.home.staged:  # step by step, JAX does not say which values differ
            run = jax.jit(run)
        # All goes in as arguments: a mesh with explicit axes refuses what is closed over.
        whole = whole_snapshot(frame, take_snapshot(frame))
        for part in own.values():
            whole = Snapshot(without(whole.values, part), without(whole.initial, part), whole.keys)
        with _mapping(frame, names):
            own = {a: _resharded(part, mesh, _along(a, names)) for a, part in own.items()}
            out, packed, sown = run(whole, own, *args)
        keep(frame, unpack(packed, combine_all=False), sown_by_runs(modes, sown))
        return out

    return mapped  # pyright: ignore[reportReturnType] (it takes no keywords)


def _mesh(mesh: Any) -> Any:
    return jax.sharding.get_abstract_mesh() if mesh is None else mesh


def _along(axis: int, names: tuple[Any, ...]) -> PartitionSpec:
    return PartitionSpec(*(None,) * axis, names)


def _resharded(values: Any, mesh: Any, spec: PartitionSpec) -> Any:
    """Shards arrays by `spec`, on a mesh whose arrays say in their type how they are sharded."""
    mesh = _mesh(mesh)
    if not any(kind == jax.sharding.AxisType.Explicit for kind in mesh.axis_types):
        return values
    return jax.reshard(values, NamedSharding(mesh, spec))


class _Shards(MappedAxis):
    """The shards of a `jax.shard_map`: what differs is combined by collectives, inside."""

    transform = "ps.shard_map"
    fix = "with `jax.lax.pmean`; ps.BatchNorm does with cross_replica_axis"

    def __init__(self, names: tuple[Any, ...], check_vma: bool):
        self._names = names
        self._check_vma = check_vma

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
        return jax.tree.map(lambda leaf: self._combined(mode, jnp.asarray(leaf)), value)

    def _combined(self, mode: str, x: jax.Array) -> jax.Array:
        names = self._names
        if mode == "mean":
            if jnp.issubdtype(x.dtype, jnp.integer):  # a counter, which is the same everywhere
                return jax.lax.psum(x, names) // jax.lax.axis_size(names)
            return jax.lax.pmean(x, names)
        if mode in ("max", "min"):
            return (jax.lax.pmax if mode == "max" else jax.lax.pmin)(x, names)
        if mode == "first":
            is_first = jnp.all(jnp.array([jax.lax.axis_index(name) == 0 for name in names]))
            x = jnp.where(is_first, x, jnp.zeros_like(x))
        return jax.lax.psum(x, names)


@contextlib.contextmanager
def _mapping(frame: Frame, names: tuple[Any, ...]) -> Generator[None]:
    """Marks mesh axes along which this `ps.shard_map` handles the state of layers."""
    outside = frame.mapped_axes
    frame.mapped_axes = (*outside, *names)
    try:
        yield
    finally:
        frame.mapped_axes = outside
