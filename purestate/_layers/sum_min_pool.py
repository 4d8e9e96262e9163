"""Pooling: the sum or minimum of each window."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from purestate._layers.pool import Pool, prepare


def sum_pool(
    value: jax.Array,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int],
    padding: str,
    channel_axis: int | None = -1,
) -> jax.Array:
    """Returns the sum of each window.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.sum_pool(jnp.arange(4.0).reshape(1, 4, 1), (2, 1), (2, 1), "VALID").ravel().tolist()
    [1.0, 5.0]

    Args:
      value: `[N, *spatial, C]`.
      window_shape: the size of the window along each axis; shorter ones get 1 in front.
      strides: the step between windows along each axis; likewise.
      padding: "VALID" for whole windows only, or "SAME".
      channel_axis: the axis of the channels, where one number is given for all axes.

    Returns:
      `[N, *spatial, C]` with smaller spatial axes.

    Raises:
      LayerError: an argument does not fit.
    """
    value, window, step = prepare("sum_pool", value, window_shape, strides, padding, channel_axis)
    return lax.reduce_window(value, jnp.zeros([], value.dtype), lax.add, window, step, padding)


def min_pool(
    value: jax.Array,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int],
    padding: str,
    channel_axis: int | None = -1,
) -> jax.Array:
    """Returns the minimum of each window.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.min_pool(jnp.arange(4.0).reshape(1, 4, 1), (2, 1), (2, 1), "VALID").ravel().tolist()
    [0.0, 2.0]

    Args:
      value: `[N, *spatial, C]`.
      window_shape: the size of the window along each axis; shorter ones get 1 in front.
      strides: the step between windows along each axis; likewise.
      padding: "VALID" for whole windows only, or "SAME".
      channel_axis: the axis of the channels, where one number is given for all axes.

    Returns:
      `[N, *spatial, C]` with smaller spatial axes.

    Raises:
      LayerError: an argument does not fit.
    """
    value, window, step = prepare("min_pool", value, window_shape, strides, padding, channel_axis)
    is_floating = jnp.issubdtype(value.dtype, jnp.floating)
    largest = jnp.inf if is_floating else jnp.iinfo(value.dtype).max
    return lax.reduce_window(value, value.dtype.type(largest), lax.min, window, step, padding)


class SumPool(Pool):
    """`sum_pool` as a module.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.SumPool((2, 2, 1), (2, 2, 1), "SAME")(x))
    >>> f.apply({}, None, jnp.ones([1, 4, 4, 3])).shape
    (1, 2, 2, 3)

    Args:
      window_shape: see `sum_pool`.
      strides: see `sum_pool`.
      padding: see `sum_pool`.
      channel_axis: see `sum_pool`.
      name: the name of the module.
    """

    def __call__(self, value: jax.Array) -> jax.Array:
        return sum_pool(value, self.window_shape, self.strides, self.padding, self.channel_axis)


class MinPool(Pool):
    """`min_pool` as a module.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.MinPool((2, 2, 1), (2, 2, 1), "SAME")(x))
    >>> f.apply({}, None, jnp.ones([1, 4, 4, 3])).shape
    (1, 2, 2, 3)

    Args:
      window_shape: see `min_pool`.
      strides: see `min_pool`.
      padding: see `min_pool`.
      channel_axis: see `min_pool`.
      name: the name of the module.
    """

    def __call__(self, value: jax.Array) -> jax.Array:
        return min_pool(value, self.window_shape, self.strides, self.padding, self.channel_axis)
