"""How the axes of a product's operands lie, so that scales can be applied to its result."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from purestate._quantize.array import spread


class Layout(NamedTuple):
    """The axes of one operand of a product.

    Attributes:
      summed: the axes over which the product sums, and all others along which its scales are one.
      to_result: {axis of the operand: axis of the result} for the others.
      rank: the number of axes of the result.
    """

    summed: tuple[int, ...]
    to_result: Mapping[int, int]
    rank: int


def layouts_of_dot(numbers: Any, ndims: tuple[int, int]) -> tuple[Layout, Layout]:
    """Returns the layouts of both operands of `lax.dot_general`."""
    summed, batch = numbers
    free = [
        [axis for axis in range(ndims[i]) if axis not in summed[i] and axis not in batch[i]]
        for i in (0, 1)
    ]
    rank = len(batch[0]) + len(free[0]) + len(free[1])
    starts = (len(batch[0]), len(batch[0]) + len(free[0]))
    layouts: list[Layout] = []
    for i in (0, 1):
        to_result = {axis: n for n, axis in enumerate(batch[i])}
        to_result |= {axis: starts[i] + n for n, axis in enumerate(free[i])}
        layouts.append(Layout(tuple(summed[i]), to_result, rank))
    return layouts[0], layouts[1]


def layouts_of_conv(op: str, lhs: Any, rhs: Any, options: Mapping[str, Any]) -> Any:
    """Returns the layouts of the images and of the kernel of a convolution."""
    rank = len(lhs.shape)
    numbers = options["dimension_numbers"]
    if op == "conv_transpose" and numbers is None:  # channels last
        images = f"N{'DHW'[5 - rank :]}C"
        numbers = (images, f"{'DHW'[5 - rank :]}IO", images)
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, numbers)
    out_channel = numbers.rhs_spec[1 if options.get("transpose_kernel") else 0]
    batch = numbers.lhs_spec[0]
    axes = range(rank)
    return (
        Layout(tuple(a for a in axes if a != batch), {batch: numbers.out_spec[0]}, rank),
        Layout(
            tuple(a for a in axes if a != out_channel), {out_channel: numbers.out_spec[1]}, rank
        ),
    )


def fits(scales: jax.Array, layout: Layout) -> bool:
    """Whether scales can be applied to the result: whether they do not vary along summed axes."""
    return all(scales.shape[axis] == 1 for axis in layout.summed)


def on_result(scales: jax.Array, shape: tuple[int, ...], layout: Layout) -> jax.Array:
    """Returns the scales of an operand of a shape, to multiply the result with."""
    scales = spread(scales, [1 if a in layout.summed else n for a, n in enumerate(shape)])
    kept = sorted(layout.to_result, key=lambda axis: layout.to_result[axis])
    sizes = [1] * layout.rank
    for axis in kept:
        sizes[layout.to_result[axis]] = scales.shape[axis]
    order = (*layout.summed, *kept)
    return lax.transpose(jnp.asarray(scales), order).reshape(sizes)
