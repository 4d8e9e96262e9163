"""Statistics over all replicas.

Replicas are the devices of `jax.shard_map` and `jax.pmap`, or the mapped elements of a `jax.vmap`
with a named axis.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax

from purestate._core import config
from purestate._core.errors import BatchedStateError, JaxUsageWarning
from purestate._core.frame import get_frame
from purestate._core.module import Module
from purestate._core.trace_guard import is_bound, is_tracked, shard_axes, varying_axes
from purestate._layers.errors import LayerError


def over_replicas(
    reduce: Callable[..., Any],
    axis: Any,
    where: str,
    *values: jax.Array,
    index_groups: Sequence[Sequence[int]] | None = None,
) -> tuple[jax.Array, ...]:
    """Returns values after `reduce`, `jax.lax.pmean` or `psum`, over a `cross_replica_axis`."""
    for name in (axis,) if isinstance(axis, str) or not isinstance(axis, Sequence) else axis:
        if not is_bound(name):
            raise LayerError(
                f"{where!r} takes statistics over cross_replica_axis={axis!r}, but no axis {name!r}"
                " is there to take them over. Under plain jax.jit the whole batch is one array,"
                " however it is sharded: leave cross_replica_axis out. It is for functions of one"
                f" shard: inside jax.shard_map over a mesh with an axis {name!r}, or jax.pmap or"
                f" jax.vmap with axis_name={name!r}. ps.BatchNorm(sync=True) is right in both."
            )
    return tuple(reduce(value, axis, axis_index_groups=index_groups) for value in values)


def check_synchronized(*averages: Module) -> None:
    """Raises if running statistics would be those of one shard, though all shards share them.

    With `check_vma=False`, `jax.shard_map` would silently keep those of the first. With
    `check_vma=True` its error does not name them.

    Args:
      *averages: `ExponentialMovingAverage`s.
    """
    axes = shard_axes()
    action = config.get_config().unsynced_state
    if not axes or action == "off":
        return
    frame = get_frame("A layer")
    if frame.running_init:  # which returns first values, the same everywhere
        return
    paths = [average.module_name for average in averages]
    given = [
        bundle
        for kept in frame.collections.values()
        for path in paths
        if (bundle := kept.values.get(path))
    ]
    own = varying_axes(given)  # each shard was given its own, and keeps it
    shared = [
        axis
        for axis in axes
        if axis not in frame.mapped_axes and not (axis in own and is_tracked(axis))
    ]
    if not shared:
        return
    message = (
        f"State {' and '.join(map(repr, paths))} would be statistics of one shard alone: it is kept"
        f" inside jax.shard_map over {', '.join(map(repr, shared))}, and nothing makes it the same"
        f" on all shards. Say cross_replica_axis={shared[0]!r}, or sync=True of ps.BatchNorm, for"
        " statistics over all shards. Where each shard keeps its own, or their mean is taken"
        " afterwards, say sync=False, or ps.config.set(unsynced_state='off')."
    )
    if action == "error":
        raise BatchedStateError(message)
    frame.ledger.unsynced += paths
    warnings.warn(message, JaxUsageWarning, stacklevel=3)
