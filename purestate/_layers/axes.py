"""Reading shapes and layouts: where the channels are, one size for all axes."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.current import current_name
from purestate._core.errors import PurestateError
from purestate._layers.errors import LayerError

_CHANNELS_FIRST = re.compile(r"channels_first|NC[^C]*")
_CHANNELS_LAST = re.compile(r"channels_last|N[^C]*C|(BT|TB)[^D]*D")


class AxesError(PurestateError, TypeError):
    """A value for all axes, or for each of them, has the wrong number of parts."""


def get_channel_index(data_format: str) -> int:
    """Returns the axis of the channels in a layout: 1 or -1.

    >>> import purestate as ps
    >>> ps.get_channel_index("NCHW"), ps.get_channel_index("NHWC"), ps.get_channel_index("BTD")
    (1, -1, -1)

    Args:
      data_format: "channels_first", "channels_last", or one letter for each axis: `N...C` or
        `NC...`, `BT...D` or `TB...D`.

    Returns:
      1 or -1.

    Raises:
      LayerError: it is none of these.
    """
    if _CHANNELS_FIRST.fullmatch(data_format):
        return 1
    if _CHANNELS_LAST.fullmatch(data_format):
        return -1
    raise LayerError(
        f"Cannot tell where the channels are in the data format {data_format!r}. Write"
        " 'channels_first' or 'channels_last', or a layout such as 'NHWC', 'NCHW' or 'BTHWD'."
    )


def replicate(value: Any, num_times: int, name: str) -> tuple[Any, ...]:
    """Returns `value`, one for all axes or one for each, as a tuple with one for each."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        return (value,) * num_times
    values: tuple[Any, ...] = tuple(value)
    if len(values) == 1:
        return values * num_times
    if len(values) != num_times:
        raise AxesError(
            f"{name} has to be one value, or one for each of the {num_times} axes, got {values}."
        )
    return values


def sizes_of_axes(value: Any, num_axes: int, name: str) -> tuple[Any, ...]:
    """Returns `replicate(...)` of sizes that must be at least 1: a kernel, a stride, a dilation."""
    sizes = replicate(value, num_axes, name)
    if any(isinstance(size, int) and size < 1 for size in sizes):
        raise LayerError(f"`{name}` has to be at least 1 along each axis, but is {value}.")
    return sizes


Axes = int | Sequence[int] | slice
"""One axis, several, or a range of them."""


def axes_or_slice(axis: Any, name: str) -> tuple[int, ...] | slice:
    """Returns axes as a tuple; a slice, whose axes depend on the rank, as it is."""
    if isinstance(axis, slice):
        return axis
    axes: tuple[Any, ...] = tuple(axis) if isinstance(axis, Iterable) else (axis,)
    if all(isinstance(a, int) for a in axes):
        return axes
    raise LayerError(f"{name} has to be an int, several ints or a slice, got {axis!r}.")


def absolute_axes(axis: tuple[int, ...] | slice, ndim: int) -> tuple[int, ...]:
    """Returns axes of an array of `ndim` axes, counted from the front and in order."""
    if isinstance(axis, slice):
        return tuple(range(ndim)[axis])
    if any(not -ndim <= a < ndim for a in axis):
        raise LayerError(
            f"{current_name()!r}: of the axes {axis}, some are not in an array of {ndim} axes."
        )
    return tuple(sorted({a % ndim for a in axis}))


def parameter_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a parameter along `axes` of an array: `[C]` for the last, `[1, T, 1]` else."""
    if axes == (len(shape) - 1,):
        return shape[-1:]
    return tuple(size if i in axes else 1 for i, size in enumerate(shape))


def checked_norm_mask(layer: Any, mask: Any, shape: tuple[int, ...]) -> jax.Array:
    """Returns the mask of a norm; raises unless it is of bool and broadcasts to `shape`."""
    if not hasattr(mask, "dtype"):
        mask = np.asarray(mask)
    dtype, given = mask.dtype, mask.shape
    fits = len(given) <= len(shape) and all(
        m in (1, n) for m, n in zip(reversed(given), reversed(shape), strict=False)
    )
    if dtype == np.dtype(bool) and fits:
        return jnp.asarray(mask)
    raise LayerError(
        f"{type(layer).__name__} {layer.module_name!r} was given a mask of"
        f" {dtype} and shape {given}; for an input of shape {shape} it must"
        " be bool, and broadcast to it. For one value per step, [B, T], of [B, T, D] write"
        " mask[:, :, None]."
    )
