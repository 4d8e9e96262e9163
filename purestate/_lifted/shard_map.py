"""`shard_map` of functions that use the frame."""

import contextlib
import functools
import math
from collections.abc import Callable, Generator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from purestate._core.collection import copy_bundle
from purestate._core.errors import BatchedStateError
from purestate._core.frame import Frame, get_frame
from purestate._core.trace_guard import varying_axes
from purestate._lifted.collection_modes import (
    COMBINED,
    Modes,
    check_not_written,
    check_sizes,
    keep_values,
    paths_with_collections,
    sown,
    values_of_their_own,
    with_values,
)
from purestate._lifted.lift_frame import (
    Snapshot,
    Values,
    changes,
    lift_frame,
    restore,
    take_snapshot,
)


def _mesh(mesh: Any) -> Any:
    return jax.sharding.get_abstract_mesh() if mesh is None else mesh


def _mesh_axes(mesh: Any, axis_names: Any) -> tuple[Any, ...]:
    if axis_names:
        return tuple(axis_names)
    return tuple(_mesh(mesh).axis_names)


def _explicit_mesh(mesh: Any) -> Any:
    mesh = _mesh(mesh)
    return mesh if any(kind == jax.sharding.AxisType.Explicit for kind in mesh.axis_types) else None


def _along(axis: int, names: tuple[Any, ...]) -> PartitionSpec:
    return PartitionSpec(*(None,) * axis, names)


def _combined(mode: str, value: Any, names: tuple[Any, ...]) -> Any:
    def leaf(x: Any) -> Any:
        x = jnp.asarray(x)
        if mode == "mean":
            return jax.lax.pmean(x, names)
        if mode == "first":
            is_first = jnp.all(jnp.array([jax.lax.axis_index(name) == 0 for name in names]))
            x = jnp.where(is_first, x, jnp.zeros_like(x))
        return jax.lax.psum(x, names)

    return jax.tree.map(leaf, value)


@contextlib.contextmanager
def _mapping(frame: Frame, names: tuple[Any, ...]) -> Generator[None]:
    """Has layers know that what becomes of their state along some axes of the mesh is said here."""
    outside = frame.mapped_axes
    frame.mapped_axes = (*outside, *names)
    try:
        yield
    finally:
        frame.mapped_axes = outside


def shard_map(
    f: Callable[..., Any],
    *,
    in_specs: Any,
    out_specs: Any,
    mesh: Any = None,
    axis_names: Any = frozenset(),
    check_vma: bool = True,
    collections: Mapping[str, int | str] | None = None,
) -> Callable[..., Any]:
    """Like `jax.shard_map`, for functions that use modules, state or random keys.

    All shards have the same parameters, state and keys (`next_rng_key(axis_name=...)` gives each
    another), and what is written has to be the same in all shards, unless `collections` says
    otherwise.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> from jax.sharding import AxisType, PartitionSpec as P
    >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    >>> def forward(x):
    ...     net = lambda x: ps.BatchNorm(True, True, 0.9)(ps.Linear(2)(x), is_training=True)
    ...     return ps.shard_map(
    ...         net, mesh=mesh, in_specs=P("data"), out_specs=P("data"), collections={"batch_stats": "mean"}
    ...     )(x)
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
      axis_names: along which of its axes to map; all, where it is empty.
      check_vma: see `jax.shard_map`. Without it JAX does not know which values differ, so that what
        is written needs a mode.
      collections: `{collection: mode}`. With "mean", "sum" or "first" what the shards write is
        combined so; with an axis (an int) each has variables of its own, slices along that axis;
        with "broadcast" they may not write. What is sown is stacked along axis 0.

    Returns:
      A function of whole arrays.

    Raises:
      FrameError: called outside a transformed function; there `jax.shard_map` does.
      BatchedStateError: what is written differs from shard to shard, or may, and nothing says how
        to combine it.
      CollectionModeError: `collections` has a mode that is none.
    """

    @functools.wraps(f)
    def mapped(*args: Any) -> Any:
        frame = get_frame("A function made by `ps.shard_map`")
        modes = Modes(frame, collections, "ps.shard_map", ("broadcast", *COMBINED))
        names = _mesh_axes(mesh, axis_names)
        pure = lift_frame(f, frame)
        everywhere = PartitionSpec()
        make = functools.partial(
            jax.shard_map, mesh=mesh, axis_names=frozenset(axis_names), check_vma=check_vma
        )
        is_one = isinstance(in_specs, PartitionSpec) or not isinstance(in_specs, (tuple, list))
        specs_of_args = (in_specs,) * len(args) if is_one else tuple(in_specs)

        def look(run: Callable[..., None]) -> None:
            with _mapping(frame, names):
                make(run, in_specs=specs_of_args, out_specs=everywhere)(*args)

        own = values_of_their_own(frame, modes, pure, look)
        check_sizes(
            own,
            math.prod(
                (jax.sharding.get_abstract_mesh() if mesh is None else mesh).shape[n] for n in names
            ),
            "ps.shard_map",
        )
        axes = modes.axes()
        params = frame.collections["params"]
        before = take_snapshot(frame)
        before = with_values(frame, before, sown(frame, before.state), only=True)
        if not params.writable:  # they go in as arguments, as all else
            before = before._replace(params=copy_bundle(params.values))
        for part in own.values():
            before = with_values(frame, before, part, only=True)

        def with_changes(args: Any, before: Snapshot, own: dict[int, Values]) -> Any:
            for axis, part in own.items():
                before = with_values(
                    frame, before, jax.tree.map(lambda leaf, axis=axis: leaf.squeeze(axis), part)
                )
            out, after = pure(before, *args)
            changed = changes(before, after)
            same: dict[str, Values] = {"state": {}, "initial": {}}
            by_axis: dict[int, dict[str, Values]] = {
                axis: {"state": {}, "initial": {}} for axis in axes
            }
            state = {
                **{("params", m): b for m, b in (changed.params or {}).items()},
                **changed.state,
            }
            check_not_written(
                "ps.shard_map", modes, modes.split(state), "'mean', 'sum', 'first' or an axis"
            )
            for part, values in (("state", state), ("initial", changed.initial or {})):
                for mode, found in modes.split(values).items():
                    if mode is None and part == "state":
                        _check_same(modes, found, names, check_vma)
                    for key, bundle in found.items():
                        for name, value in bundle.items():
                            into = by_axis[mode][part] if isinstance(mode, int) else same[part]
                            if isinstance(mode, str) and (not check_vma or _varies(value, names)):
                                value = _combined(mode, value, names)
                            elif isinstance(mode, int):
                                value = jax.tree.map(
                                    lambda leaf, axis=mode: jnp.expand_dims(leaf, axis), value
                                )
                            into.setdefault(key, {})[name] = value
            return out, same, by_axis, changed.keys

        explicit = _explicit_mesh(mesh)
        if (
            explicit is not None
        ):  # there arrays say in their type how they are sharded, and have to fit
            own = {
                axis: jax.tree.map(
                    lambda leaf, axis=axis: jax.reshard(
                        leaf, NamedSharding(explicit, _along(axis, names))
                    ),
                    v,
                )
                for axis, v in own.items()
            }
        run = make(
            with_changes,
            in_specs=(specs_of_args, everywhere, {axis: _along(axis, names) for axis in own}),
            out_specs=(
                out_specs,
                everywhere,
                {axis: _along(axis, names) for axis in axes},
                everywhere,
            ),
        )
        if not frame.staging:  # run step by step, JAX does not tell which values differ
            run = jax.jit(run)
        with _mapping(frame, names):
            out, same, by_axis, keys = run(args, before, own)
        restore(frame, Snapshot(None, {}, None, keys))
        keep_values(frame, same["state"], same["initial"])
        for part in by_axis.values():
            keep_values(frame, part["state"], part["initial"])
        return out

    return mapped


def _varies(value: Any, names: tuple[Any, ...]) -> bool:
    """Whether a value may differ along the mapped axes of the mesh."""
    return not varying_axes(value).isdisjoint(names)


def _check_same(modes: Modes, written: Values, names: tuple[Any, ...], check_vma: bool) -> None:
    differing = {
        key: found
        for key, bundle in written.items()
        if (
            found := {
                name: value
                for name, value in bundle.items()
                # New parameters come from keys, which are the same everywhere.
                if (_varies(value, names) if check_vma else key[0] != "params")
            }
        )
    }
    if not differing:
        return
    collection = modes.collection_of(
        *next((key, name) for key, bundle in differing.items() for name in bundle)
    )
    why = (
        f"would get values that differ along {', '.join(map(repr, names))}"
        if check_vma
        else (
            "is written, and with check_vma=False nobody knows whether the values differ from shard"
            " to shard"
        )
    )
    raise BatchedStateError(
        f"Inside `ps.shard_map`, {', '.join(paths_with_collections(modes, differing))} {why}, but"
        f" all shards share one value. Say what is to become of them: collections={{{collection!r}:"
        " mode}, where the mode is 'mean', 'sum', 'first' (right if they are the same), or an"
        " axis, along which each shard keeps its own. Or make them the same before the write, with"
        " `jax.lax.pmean`; ps.BatchNorm does with cross_replica_axis."
    )
