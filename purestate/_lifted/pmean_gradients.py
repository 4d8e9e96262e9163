"""The mean of gradients over devices, whatever `jax.shard_map` has made of them."""

from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

import jax

from purestate._core.errors import MappingError
from purestate._core.trace_guard import is_bound, is_tracked, varying_axes

T = TypeVar("T")  # the type of a tree of gradients


def pmean_gradients(grads: T, axis_name: Hashable | Sequence[Hashable]) -> T:
    """Returns the mean over devices of the gradients of each device's own loss.

    Inside `jax.shard_map`, JAX sums the gradient of a replicated parameter over the shards by
    itself with `check_vma=True`, and does not with `check_vma=False`, nor inside `jax.pmap`.
    `jax.lax.pmean(grads, axis_name)` is thus too large by the number of devices with the former.
    This is right with all of them: it takes the mean of gradients that differ, and divides those
    that are summed.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> from jax.sharding import AxisType, PartitionSpec as P
    >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    >>> f = ps.transform(lambda x: ps.Linear(1)(x))
    >>> x = jnp.ones([4, 2])
    >>> params = f.init(jax.random.key(0), x)
    >>> def gradients(params, x):
    ...     grads = jax.grad(lambda params: f.apply(params, None, x).mean())(params)
    ...     return ps.pmean_gradients(grads, "data")
    >>> specs = {"in_specs": (P(), P("data")), "out_specs": P()}
    >>> grads = jax.shard_map(gradients, mesh=mesh, **specs)(params, x)
    >>> grads["linear"]["b"].tolist()
    [1.0]

    Args:
      grads: a tree of gradients of a loss that each device takes over its own examples: no `pmean`
        or `psum` within.
      axis_name: the axis, or axes, of the mesh over which the examples are spread.

    Returns:
      A tree of the same structure, the same on all devices.

    Raises:
      MappingError: no such axis is there, as under plain `jax.jit`.
    """
    axes = (
        (axis_name,)
        if isinstance(axis_name, str) or not isinstance(axis_name, Sequence)
        else tuple(axis_name)
    )
    for axis in axes:
        if not is_bound(axis):
            raise MappingError(
                f"`ps.pmean_gradients(grads, {axis_name!r})`: no axis {axis!r} is there to take the"
                " mean over. Under plain jax.jit the loss is over the whole batch, and gradients"
                " need no mean: leave it out. Inside jax.shard_map, name an axis of its mesh."
            )
    tracked = tuple(axis for axis in axes if is_tracked(axis))

    def mean(leaf: Any) -> Any:
        # With check_vma=True a gradient that does not vary along an axis has been summed over it:
        # that is how JAX transposes the broadcast of a replicated parameter.
        summed = tuple(axis for axis in tracked if axis not in varying_axes(leaf))
        # Along the other axes each device still has the gradient of its own loss.
        apart = tuple(axis for axis in axes if axis not in summed)
        if apart:
            leaf = jax.lax.pmean(leaf, apart)
        for axis in summed:
            leaf = leaf / jax.lax.axis_size(axis)
        return leaf

    return jax.tree.map(mean, grads)
