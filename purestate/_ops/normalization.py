"""Normalization: the statistics of an input, and scaling with them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from purestate._ops.operation import operation


def mean_over(x: jax.Array, axis: tuple[int, ...], mask: jax.Array | None) -> jax.Array:
    """The mean over axes, which stay, of what the mask leaves in; 0 if that is nothing."""
    if mask is None:
        return jnp.mean(x, axis, keepdims=True)
    mask = jnp.broadcast_to(mask, x.shape)
    total = jnp.sum(x, axis, keepdims=True, where=mask)
    count = jnp.sum(mask, axis, keepdims=True)
    return total / jnp.maximum(count, 1).astype(total.dtype)


def variance_over(x: jax.Array, axis: tuple[int, ...], mask: jax.Array | None) -> jax.Array:
    """The variance over axes, which stay, of what the mask does not leave out."""
    if mask is None:
        return jnp.var(x, axis, keepdims=True)
    return mean_over(jnp.square(x - mean_over(x, axis, mask)), axis, mask)


@operation("moments", operands=2, one_gradient=False)
def moments(
    inputs: jax.Array, mask: jax.Array | None = None, axis: tuple[int, ...] = (-1,)
) -> tuple[jax.Array, jax.Array]:
    """Returns the mean and the mean of squares over some axes.

    >>> import jax.numpy as jnp, purestate as ps
    >>> mean, squares = ps.ops.moments(jnp.array([1.0, 3.0]), axis=(0,))
    >>> mean.tolist(), squares.tolist()
    ([2.0], [5.0])

    Args:
      inputs: any array.
      mask: booleans that broadcast to `inputs`: what counts; None for all.
      axis: the axes, counted from the front.

    Returns:
      Two arrays in which those axes have size 1.
    """
    return mean_over(inputs, axis, mask), mean_over(jnp.square(inputs), axis, mask)


@operation("normalize", operands=6, array_option="eps")
def normalize(
    inputs: jax.Array,
    scale: Any = None,
    offset: Any = None,
    mask: jax.Array | None = None,
    mean: jax.Array | None = None,
    variance: jax.Array | None = None,
    kind: str = "layer",
    axis: tuple[int, ...] = (-1,),
    eps: float = 1e-5,
    use_fast_variance: bool = False,
    groups: tuple[int, ...] | None = None,
) -> jax.Array:
    """Returns an input that is normalized over some of its axes, scaled and shifted.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.ops.normalize(jnp.array([[1.0, 3.0]]), axis=(1,), eps=0.0).tolist()
    [[-1.0, 1.0]]

    Args:
      inputs: any array.
      scale: a factor that broadcasts to `inputs`; None for 1.
      offset: an offset that broadcasts to `inputs`; None for 0.
      mask: booleans that broadcast to `inputs`: what counts in the statistics; None for all.
      mean: of kind "batch": the mean to use.
      variance: of kind "batch": the variance to use.
      kind: "layer" takes mean and variance of each example, "group" those of groups of channels,
        "rms" the mean of squares; "batch" is given them.
      axis: the axes to take statistics over, counted from the front; of kind "group" in the shape
        `groups`.
      eps: added to the variance.
      use_fast_variance: of kind "layer": whether the variance is the mean of squares minus the
        square of the mean.
      groups: of kind "group": the shape of `inputs` whose channels are two axes.

    Returns:
      An array of the same shape.
    """
    if kind == "batch":
        return _with_statistics(inputs, scale, offset, mean, variance, eps)
    if kind == "group":
        return _in_groups(inputs, scale, offset, mask, axis, eps, groups or inputs.shape)
    if kind == "rms":
        return _by_mean_of_squares(inputs, scale, offset, mask, axis, eps)
    return _per_example(inputs, scale, offset, mask, axis, eps, use_fast_variance)


def with_rank(x: Any, ndim: int) -> Any:
    """Puts axes of size one in front.

    jax.numpy does so by itself, unless `jax_numpy_rank_promotion` forbids it.
    """
    return x if np.ndim(x) in (0, ndim) else lax.broadcast_to_rank(x, ndim)


def _per_example(
    inputs: jax.Array,
    scale: Any,
    offset: Any,
    mask: jax.Array | None,
    axis: tuple[int, ...],
    eps: float,
    use_fast_variance: bool,
) -> jax.Array:
    mean = mean_over(inputs, axis, mask)
    if use_fast_variance:
        variance = mean_over(jnp.square(inputs), axis, mask) - jnp.square(mean)
    else:
        variance = variance_over(inputs, axis, mask)
    if offset is None:
        offset = np.zeros([], inputs.dtype)  # makes -0.0 to 0.0, as in dm-haiku
    inverse = lax.rsqrt(variance + _eps(eps, variance))
    if scale is not None:
        inverse = with_rank(scale, inputs.ndim) * inverse
    return inverse * (inputs - mean) + with_rank(offset, inputs.ndim)


def _by_mean_of_squares(
    inputs: jax.Array,
    scale: Any,
    offset: Any,
    mask: jax.Array | None,
    axis: tuple[int, ...],
    eps: float,
) -> jax.Array:
    # Broadcast before the root and not after it: the gradient sums in the same order as
    # dm-haiku's.
    if scale is not None:
        scale = jnp.broadcast_to(scale, inputs.shape)
    mean_squared = jnp.broadcast_to(mean_over(jnp.square(inputs), axis, mask), inputs.shape)
    scaled = inputs if scale is None else inputs * scale
    out = scaled * lax.rsqrt(mean_squared + eps)
    return out if offset is None else out + with_rank(offset, inputs.ndim)


def _in_groups(
    x: jax.Array,
    scale: Any,
    offset: Any,
    mask: jax.Array | None,
    axes: tuple[int, ...],
    eps: float,
    groups: tuple[int, ...],
) -> jax.Array:
    if mask is not None:
        mask = jnp.broadcast_to(mask, x.shape).reshape(groups)
    out = x.reshape(groups)
    mean = mean_over(out, axes, mask)
    var = variance_over(out, axes, mask)
    out = ((out - mean) * lax.rsqrt(var + eps)).reshape(x.shape)
    if scale is not None:
        out = out * lax.broadcast_to_rank(scale, x.ndim)
    if offset is not None:
        out = out + lax.broadcast_to_rank(offset, x.ndim)
    return out


def _with_statistics(
    inputs: jax.Array, scale: Any, offset: Any, mean: Any, variance: Any, eps: float
) -> jax.Array:
    scale = np.ones([], inputs.dtype) if scale is None else scale
    offset = np.zeros([], inputs.dtype) if offset is None else offset
    inverse = scale * lax.rsqrt(variance + _eps(eps, variance))
    return (inputs - mean) * inverse + offset


def _eps(eps: float, variance: jax.Array) -> Any:
    return lax.convert_element_type(eps, variance.dtype)
