"""Pooling: the maximum or mean of each window."""

import math
import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from purestate._core.module import Module
from purestate._core.outlines import outline_argument
from purestate._layers.errors import LayerError, not_an_array


def _full_window(
    call: str, x: jax.Array, size: object, channel_axis: int | None
) -> tuple[int, ...]:
    """One size for each axis of `x`. If `size` is one number, the batch and the channels have 1."""
    if not isinstance(size, int):
        if not (
            isinstance(size, Sequence)
            and all(isinstance(part, (int, np.integer)) and part > 0 for part in size)
        ):
            raise LayerError(
                f"`{call}` takes a window and strides with a size for each axis, such as (2, 2, 1),"
                f" but got {outline_argument(size)}."
            )
        if len(size) > x.ndim:
            raise LayerError(
                f"`{call}` got a window or stride of {len(size)} axes, {tuple(size)}, for an input"
                f" of shape {x.shape}."
            )
        return (1,) * (x.ndim - len(size)) + tuple(size)
    if channel_axis:
        if abs(channel_axis) >= x.ndim:
            raise LayerError(
                f"`{call}`: channel_axis={channel_axis} is not in an input of shape {x.shape}."
            )
        channel_axis %= x.ndim
    return (1, *(1 if axis == channel_axis else size for axis in range(1, x.ndim)))


def prepare(
    call: str,
    value: ArrayLike,
    window_shape: object,
    strides: object,
    padding: str,
    channel_axis: int | None,
) -> tuple[jax.Array, tuple[int, ...], tuple[int, ...]]:
    """Returns the input, the window and the strides, the last two with a size for each axis.

    Args:
      call: the name of the function, for errors and warnings.
      value: `[N, *spatial, C]`.
      window_shape: the size of the window, as given.
      strides: the step between windows, as given.
      padding: "VALID" or "SAME".
      channel_axis: the axis of the channels, for one number.

    Raises:
      LayerError: an argument does not fit.
    """
    if padding not in ("SAME", "VALID"):
        raise LayerError(f"`{call}`: padding has to be 'SAME' or 'VALID', got {padding!r}.")
    if any(isinstance(size, int) and size != 1 for size in (window_shape, strides)):
        warnings.warn(
            f"`{call}` with one number for all axes takes the first axis for the batch, which it is"
            " not under vmap: give the window and the strides an entry for each axis, such as (2,"
            " 2, 1) for [H, W, C]; further axes in front are taken for batches.",
            DeprecationWarning,
            stacklevel=3,
        )
    try:
        value = jnp.asarray(value)
    except (TypeError, ValueError, OverflowError):
        raise not_an_array(f"`{call}`", value) from None
    window = _full_window(call, value, window_shape, channel_axis)
    return value, window, _full_window(call, value, strides, channel_axis)


def max_pool(
    value: jax.Array,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int],
    padding: str,
    channel_axis: int | None = -1,
) -> jax.Array:
    """Returns the maximum of each window.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.max_pool(jnp.arange(4.0).reshape(1, 4, 1), (2, 1), (2, 1), "VALID").ravel().tolist()
    [1.0, 3.0]

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
    value, window, step = prepare("max_pool", value, window_shape, strides, padding, channel_axis)
    return lax.reduce_window(value, -jnp.inf, lax.max, window, step, padding)


def avg_pool(
    value: jax.Array,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int],
    padding: str,
    channel_axis: int | None = -1,
) -> jax.Array:
    """Returns the mean of each window; with "SAME", of the part of it that is not padding.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.avg_pool(jnp.arange(4.0).reshape(1, 4, 1), (2, 1), (2, 1), "VALID").ravel().tolist()
    [0.5, 2.5]

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
    value, window, step = prepare("avg_pool", value, window_shape, strides, padding, channel_axis)
    total = lax.reduce_window(value, 0.0, lax.add, window, step, padding)
    if padding == "VALID":
        return total / float(math.prod(window))  # an int may not fit into 32 bits
    # How many inputs each window has; where the window is 1 wide, one count serves all.
    shape = [size if width != 1 else 1 for size, width in zip(value.shape, window, strict=True)]
    return total / lax.reduce_window(
        jnp.ones(shape, value.dtype), 0.0, lax.add, window, step, padding
    )


class Pool(Module):
    """What the pooling modules share."""

    def __init__(
        self,
        window_shape: int | Sequence[int],
        strides: int | Sequence[int],
        padding: str,
        channel_axis: int | None = -1,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.window_shape = window_shape
        self.strides = strides
        self.padding = padding
        self.channel_axis = channel_axis


class MaxPool(Pool):
    """`max_pool` as a module.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.MaxPool((2, 2, 1), (2, 2, 1), "SAME")(x))
    >>> f.apply({}, None, jnp.ones([1, 4, 4, 3])).shape
    (1, 2, 2, 3)

    Args:
      window_shape: see `max_pool`.
      strides: see `max_pool`.
      padding: see `max_pool`.
      channel_axis: see `max_pool`.
      name: the name of the module.
    """

    def __call__(self, value: jax.Array) -> jax.Array:
        return max_pool(value, self.window_shape, self.strides, self.padding, self.channel_axis)


class AvgPool(Pool):
    """`avg_pool` as a module.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.AvgPool((2, 2, 1), (2, 2, 1), "SAME")(x))
    >>> f.apply({}, None, jnp.ones([1, 4, 4, 3])).shape
    (1, 2, 2, 3)

    Args:
      window_shape: see `avg_pool`.
      strides: see `avg_pool`.
      padding: see `avg_pool`.
      channel_axis: see `avg_pool`.
      name: the name of the module.
    """

    def __call__(self, value: jax.Array) -> jax.Array:
        return avg_pool(value, self.window_shape, self.strides, self.padding, self.channel_axis)
