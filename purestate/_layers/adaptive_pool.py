"""Pooling to a given size, whatever the size of the input."""

from collections.abc import Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purestate._core.module import Module
from purestate._layers.errors import LayerError


class _Reduce(Protocol):
    """Reduces one axis, of the values where `where` is True, or of all."""

    def __call__(self, x: jax.Array, axis: int, where: jax.Array | None) -> jax.Array: ...


def _mean(x: jax.Array, axis: int, where: jax.Array | None) -> jax.Array:
    return jnp.mean(x, axis, where=where)


def _max(x: jax.Array, axis: int, where: jax.Array | None) -> jax.Array:
    if where is None:
        return jnp.max(x, axis)
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    return jnp.max(x, axis, where=where, initial=lowest)


def _pool_axis(x: jax.Array, axis: int, size: int, reduce: _Reduce) -> jax.Array:
    """Reduces `axis` to `size`.

    Window i goes from `floor(i L / size)` up to `ceil((i + 1) L / size)`.
    """
    length = x.shape[axis]
    if length == size:
        return x
    if length % size == 0:
        return reduce(
            x.reshape(*x.shape[:axis], size, length // size, *x.shape[axis + 1 :]), axis + 1, None
        )
    i = np.arange(size)
    start, end = i * length // size, -(-(i + 1) * length // size)
    index = start[:, None] + np.arange((end - start).max())
    inside = np.expand_dims(index < end[:, None], (*range(axis), *range(axis + 2, x.ndim + 1)))
    windows = jnp.take(x, np.minimum(index, length - 1), axis)  # [..., size, window, ...]
    return reduce(windows, axis + 1, jnp.asarray(inside))


def _adaptive_pool(
    value: ArrayLike, output_size: Sequence[int | None], channel_axis: int | None, reduce: _Reduce
) -> jax.Array:
    value = jnp.asarray(value)
    sizes = None if isinstance(output_size, int) else tuple(output_size)
    if sizes is None or any(size is not None and size < 1 for size in sizes):
        raise LayerError(
            "Adaptive pooling: `output_size` needs a size for each spatial axis, such as (7, 7),"
            f" got {output_size!r}."
        )
    if channel_axis is not None and not -value.ndim <= channel_axis < value.ndim:
        raise LayerError(
            f"Adaptive pooling: channel_axis={channel_axis} is not in an input of shape"
            f" {value.shape}."
        )
    channel = None if channel_axis is None else channel_axis % value.ndim
    axes = [axis for axis in range(value.ndim) if axis != channel]
    if len(sizes) > len(axes) or 0 in value.shape:
        raise LayerError(
            f"Adaptive pooling to `output_size` {sizes} needs as many spatial axes, of at least one"
            f" value each; got shape {value.shape}."
        )
    for axis, size in zip(axes[len(axes) - len(sizes) :], sizes, strict=True):
        if size is not None:
            value = _pool_axis(value, axis, size, reduce)
    return value


def adaptive_avg_pool(
    value: jax.Array, output_size: Sequence[int | None], channel_axis: int | None = -1
) -> jax.Array:
    """Returns the means of windows that cover the input evenly, as many as `output_size` says.

    Along an axis of size L, window i of n goes from `floor(i L / n)` up to `ceil((i + 1) L / n)`,
    as in PyTorch.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.adaptive_avg_pool(jnp.arange(5.0).reshape(1, 5, 1), [2]).ravel().tolist()
    [1.0, 3.0]

    Args:
      value: `[..., *spatial, C]`.
      output_size: the size of each spatial axis of the output; None for that of the input.
      channel_axis: the axis of the channels; None for none. The spatial axes are the last ones but
        for it.

    Returns:
      `[..., *output_size, C]`.

    Raises:
      LayerError: an argument does not fit.
    """
    return _adaptive_pool(value, output_size, channel_axis, _mean)


def adaptive_max_pool(
    value: jax.Array, output_size: Sequence[int | None], channel_axis: int | None = -1
) -> jax.Array:
    """Returns the maxima of windows that cover the input evenly; see `adaptive_avg_pool`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.adaptive_max_pool(jnp.arange(5.0).reshape(1, 5, 1), [2]).ravel().tolist()
    [2.0, 4.0]

    Args:
      value: `[..., *spatial, C]`.
      output_size: the size of each spatial axis of the output; None for that of the input.
      channel_axis: the axis of the channels; None for none. The spatial axes are the last ones but
        for it.

    Returns:
      `[..., *output_size, C]`.

    Raises:
      LayerError: an argument does not fit.
    """
    return _adaptive_pool(value, output_size, channel_axis, _max)


class _AdaptivePool(Module):
    """What `AdaptiveAvgPool` and `AdaptiveMaxPool` share."""

    def __init__(
        self,
        output_size: Sequence[int | None],
        channel_axis: int | None = -1,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.output_size = output_size
        self.channel_axis = channel_axis


class AdaptiveAvgPool(_AdaptivePool):
    """`adaptive_avg_pool` as a module.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.AdaptiveAvgPool([7, 7])(x))
    >>> f.apply({}, None, jnp.ones([1, 10, 13, 3])).shape
    (1, 7, 7, 3)

    Args:
      output_size: see `adaptive_avg_pool`.
      channel_axis: see `adaptive_avg_pool`.
      name: the name of the module.
    """

    def __call__(self, value: jax.Array) -> jax.Array:
        return adaptive_avg_pool(value, self.output_size, self.channel_axis)


class AdaptiveMaxPool(_AdaptivePool):
    """`adaptive_max_pool` as a module.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.AdaptiveMaxPool([7, 7])(x))
    >>> f.apply({}, None, jnp.ones([1, 10, 13, 3])).shape
    (1, 7, 7, 3)

    Args:
      output_size: see `adaptive_max_pool`.
      channel_axis: see `adaptive_max_pool`.
      name: the name of the module.
    """

    def __call__(self, value: jax.Array) -> jax.Array:
        return adaptive_max_pool(value, self.output_size, self.channel_axis)
