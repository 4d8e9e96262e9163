"""`QuantizedArray`: values of few bits, and the scales that make numbers of them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from purestate._core.outlines import outline_argument
from purestate._core.parameters_read import note_stored
from purestate._quantize.errors import QuantizeError
from purestate._quantize.kinds import kind_named, rounded, scales_for


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class QuantizedArray:
    """An array as values of few bits and scales: `values * scales`. `quantize_array` makes one.

    It is a pytree of the two arrays, so that it can stand for a parameter in a bundle: it goes
    through `jax.jit`, `layer_stack` and checkpoints. A model that reads it gets the dequantized
    array; `serving` makes the model compute with the values.

    >>> import jax.numpy as jnp, purestate as ps
    >>> x = ps.quantize.quantize_array(jnp.array([[1.0, 127.0], [3.0, 254.0]]), axis=1)
    >>> x.values.tolist(), x.scales.tolist()
    ([[1, 127], [2, 127]], [[1.0], [2.0]])
    >>> x.shape, x.dequantize().tolist()
    ((2, 2), [[1.0, 127.0], [4.0, 254.0]])

    Attributes:
      values: the values, in the shape of the array.
      scales: float32. Each axis is that of the array divided by the number of neighbours that share
        a scale: 1 if all of them do.
      dtype: the dtype of the array.
    """

    values: jax.Array
    scales: jax.Array
    dtype: Any = dataclasses.field(metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.values.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.values.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.values.shape)

    def dequantize(self) -> jax.Array:
        """Returns the array: the values times their scales."""
        scales = spread(self.scales, self.values.shape)
        return (self.values.astype(jnp.float32) * scales).astype(self.dtype)

    def read_parameter(self) -> jax.Array:
        """Returns what a module gets that reads this parameter."""
        array = self.dequantize()
        note_stored(array, self)
        return array

    def __jax_array__(self) -> jax.Array:
        return self.dequantize()


def spread(scales: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Returns scales that broadcast to a shape: those of groups once for each of their members."""
    for axis, size in enumerate(shape):
        if scales.shape[axis] not in (1, size):
            scales = jnp.repeat(scales, size // scales.shape[axis], axis)
    return scales


def quantize_array(
    x: jax.Array,
    dtype: DTypeLike = "int8",
    axis: int | Sequence[int] | None = None,
    group_size: int | None = None,
) -> QuantizedArray:
    """Quantizes an array, symmetrically around zero: a scale is the largest value that it is for.

    >>> import jax.numpy as jnp, purestate as ps
    >>> w = jnp.linspace(-1.0, 1.0, 32).reshape(8, 4)
    >>> per_channel = ps.quantize.quantize_array(w, "int8", axis=0)
    >>> in_groups = ps.quantize.quantize_array(w, "int4", axis=0, group_size=2)
    >>> per_channel.scales.shape, in_groups.scales.shape
    ((1, 4), (4, 4))

    Args:
      x: an array of floats.
      dtype: "int8", "int4", "float8_e4m3fn" or "float8_e5m2".
      axis: the axes along which values share a scale; None for all axes.
      group_size: how many neighbours along `axis`, which is one axis then, share a scale; None for
        all of them.

    Returns:
      A `QuantizedArray` of the same shape.

    Raises:
      QuantizeError: `x` is not an array of floats, the axis does not exist, or the groups do not
        divide it.
    """
    kind = kind_named(dtype)
    if not (hasattr(x, "shape") and hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)):
        raise QuantizeError(
            f"`quantize_array` takes an array of floats, but got {outline_argument(x)}."
        )
    x = jnp.asarray(x)
    axes = _checked_axes(x.shape, axis)
    groups = x.astype(jnp.float32)
    if group_size is not None:
        split = _checked_group(x.shape, axes, group_size)
        sizes = (*x.shape[:split], x.shape[split] // group_size, group_size, *x.shape[split + 1 :])
        groups, axes = groups.reshape(sizes), (split + 1,)
    amax = jnp.max(jnp.abs(groups), axes, keepdims=True, initial=0.0)
    if group_size is not None:
        amax = amax.squeeze(axes)
    scales = scales_for(amax, kind)
    return QuantizedArray(rounded(x, spread(scales, x.shape), kind), scales, np.dtype(x.dtype))


def _checked_axes(shape: tuple[int, ...], axis: int | Sequence[int] | None) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(len(shape)))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    for one in axes:
        if not -len(shape) <= one < len(shape):
            raise QuantizeError(
                f"Axis {one} of `quantize_array` does not exist: the array has shape {shape}."
            )
    return tuple(one % len(shape) for one in axes)


def _checked_group(shape: tuple[int, ...], axes: tuple[int, ...], group_size: int) -> int:
    if len(axes) != 1:
        raise QuantizeError(
            f"Groups are along one axis, but `quantize_array` of shape {shape} was given {axes}."
            " Pass the one that a product sums over, such as axis=0 of a matrix [D, O]."
        )
    size = shape[axes[0]]
    if group_size < 1 or size % group_size:
        fitting = [n for n in range(1, size + 1) if size % n == 0]
        raise QuantizeError(
            f"Groups of group_size={group_size} do not divide axis {axes[0]} of shape {shape}."
            f" Choose one of {', '.join(map(str, fitting))}."
        )
    return axes[0]
