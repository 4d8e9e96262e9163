"""Convolutions."""

from collections.abc import Sequence
from typing import Any

import jax
from jax import lax
from jax.typing import DTypeLike

from purestate._ops.operation import operation

Padding = str | tuple[tuple[int, int], ...]


def hashable_padding(padding: str | Sequence[Sequence[int]]) -> Padding:
    """Returns a padding as JAX can remember it: its name, or a tuple of pairs."""
    if isinstance(padding, str):
        return padding
    return tuple((before, after) for before, after in padding)


@operation("conv_general_dilated", operands=2)
def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: tuple[int, ...],
    padding: Padding,
    lhs_dilation: tuple[int, ...] | None = None,
    rhs_dilation: tuple[int, ...] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: lax.PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: Any = None,
) -> jax.Array:
    """Returns a convolution of images with a kernel.

    >>> import jax.numpy as jnp, purestate as ps
    >>> images, kernel = jnp.ones([1, 3, 8, 8]), jnp.ones([4, 3, 3, 3])
    >>> ps.ops.conv_general_dilated(images, kernel, (1, 1), "SAME").shape
    (1, 4, 8, 8)

    Args:
      lhs: the images, laid out as `dimension_numbers` says; without, `[N, C, *spatial]`.
      rhs: the kernel; without `dimension_numbers`, `[out, in, *spatial]`.
      window_strides: the step between outputs for each spatial axis.
      padding: "SAME", "VALID", or a tuple of pairs (before, after).
      lhs_dilation: the dilation of the images; None for 1.
      rhs_dilation: the dilation of the kernel; None for 1.
      dimension_numbers: see `jax.lax.conv_general_dilated`.
      feature_group_count: into how many groups the channels are split.
      precision: see `jax.lax.conv_general_dilated`.
      preferred_element_type: the dtype to sum in and to return; None for that of the operands.
      out_sharding: see `dot_general`.

    Returns:
      An array laid out as `dimension_numbers` says.
    """
    return lax.conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        dimension_numbers,
        feature_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
        out_sharding=out_sharding,
    )


@operation("conv_transpose", operands=2)
def conv_transpose(
    lhs: jax.Array,
    rhs: jax.Array,
    strides: tuple[int, ...],
    padding: Padding,
    rhs_dilation: tuple[int, ...] | None = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = False,
    precision: lax.PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Returns a transposed convolution of images with a kernel.

    >>> import jax.numpy as jnp, purestate as ps
    >>> images, kernel = jnp.ones([1, 8, 8, 3]), jnp.ones([3, 3, 3, 4])
    >>> ps.ops.conv_transpose(images, kernel, (2, 2), "SAME").shape
    (1, 16, 16, 4)

    Args:
      lhs: the images, laid out as `dimension_numbers` says; without, `[N, *spatial, C]`.
      rhs: the kernel; without `dimension_numbers`, `[*spatial, in, out]`.
      strides: by how much each spatial axis grows.
      padding: "SAME", "VALID", or a tuple of pairs (before, after).
      rhs_dilation: the dilation of the kernel; None for 1.
      dimension_numbers: see `jax.lax.conv_transpose`.
      transpose_kernel: whether to flip the kernel and to exchange its channels.
      precision: see `jax.lax.conv_general_dilated`.
      preferred_element_type: the dtype to sum in and to return; None for that of the operands.

    Returns:
      An array laid out as `dimension_numbers` says.
    """
    return lax.conv_transpose(
        lhs,
        rhs,
        strides,
        padding,
        rhs_dilation,
        dimension_numbers,
        transpose_kernel,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
