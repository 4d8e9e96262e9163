"""Initializers: `init(shape, dtype) -> array`, drawing keys from the frame."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from purestate._core.current import current_name
from purestate._core.errors import PurestateError
from purestate._core.rng import next_rng_key
from purestate._core.variables import Initializer
from purestate._ops.inlined import is_staged

__all__ = [
    "Constant",
    "Identity",
    "Initializer",
    "InitializerError",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "UniformScaling",
    "VarianceScaling",
    "truncated_fan_in",
]


class InitializerError(PurestateError, ValueError):
    """An initializer was set up wrongly, or asked for a shape it cannot fill."""


def _check_floating(init: object, dtype: DTypeLike) -> None:
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise InitializerError(
            f"{type(init).__name__} draws floats, but {current_name()!r} asks for"
            f" {jnp.dtype(dtype).name}. A layer makes its parameters in the dtype of its input:"
            " give it floats, such as x.astype(jnp.float32); ids are for ps.Embed."
        )


class Constant:
    """Fills an array with one value.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.initializers.Constant(2.0)([2], jnp.float32).tolist()
    [2.0, 2.0]

    Args:
      constant: a number, or an array that broadcasts to the shape.
    """

    def __init__(self, constant: float | complex | np.ndarray[Any, Any] | jax.Array):
        self.constant = constant

    def __call__(self, shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
        return jnp.broadcast_to(jnp.asarray(self.constant), shape).astype(dtype)


class RandomNormal:
    """Draws from a normal distribution.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda: ps.initializers.RandomNormal(0.1)([2, 3], jnp.float32))
    >>> f.apply({}, jax.random.key(0)).shape
    (2, 3)

    Args:
      stddev: the standard deviation.
      mean: the mean.
    """

    def __init__(self, stddev: ArrayLike = 1.0, mean: ArrayLike = 0.0):
        self.stddev = stddev
        self.mean = mean

    def __call__(self, shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
        _check_floating(self, dtype)
        mean = jax.lax.convert_element_type(self.mean, dtype)
        stddev = jax.lax.convert_element_type(self.stddev, dtype)
        return mean + stddev * jax.random.normal(next_rng_key(), shape, dtype)


_ROUNDED_ALIKE = (np.dtype("float32"), np.dtype("float64"))
"""To these numpy and JAX round a number in the same way."""


def scaled_and_shifted(values: jax.Array, stddev: ArrayLike, mean: ArrayLike) -> jax.Array:
    """Returns `values * stddev + mean` in the dtype of the values."""
    dtype = values.dtype
    if isinstance(stddev, float) and isinstance(mean, float) and dtype in _ROUNDED_ALIKE:
        # Adding 0 changes a value only if it is -0, which these products are too large for.
        is_shifted = mean != 0.0 or stddev < 1e-20
        if is_staged():  # the equations of jax.numpy, in a third of the time of tracing
            values = jax.lax.mul(np.asarray(stddev, dtype), values)
            return jax.lax.add(values, np.asarray(mean, dtype)) if is_shifted else values
        if not is_shifted:
            return jax.lax.convert_element_type(stddev, dtype) * values
    stddev = jax.lax.convert_element_type(stddev, jnp.finfo(dtype).dtype)
    return stddev * values + jax.lax.convert_element_type(mean, dtype)


class TruncatedNormal:
    """Draws from a normal distribution, cut off on both sides.

    The standard deviation is that before the cut; cut at two of them, the values have 0.88 times as
    much.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda: ps.initializers.TruncatedNormal()([1000], jnp.float32))
    >>> bool(abs(f.apply({}, jax.random.key(0))).max() <= 2)
    True

    Args:
      stddev: the standard deviation before the cut.
      mean: the mean; complex for complex dtypes.
      lower: where to cut below, in standard deviations.
      upper: where to cut above, in standard deviations.
    """

    def __init__(
        self,
        stddev: ArrayLike = 1.0,
        mean: ArrayLike = 0.0,
        lower: ArrayLike = -2.0,
        upper: ArrayLike = 2.0,
    ):
        self.stddev = stddev
        self.mean = mean
        self.lower = lower
        self.upper = upper

    def __call__(self, shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
        _check_floating(self, dtype)
        real_dtype = jnp.finfo(dtype).dtype
        key = next_rng_key()
        if jnp.issubdtype(dtype, jnp.complexfloating):
            parts = jax.random.truncated_normal(
                key, self.lower, self.upper, [2, *shape], real_dtype
            )
            values = parts[0] + 1j * parts[1]
        else:
            values = jax.random.truncated_normal(key, self.lower, self.upper, shape, real_dtype)
        return scaled_and_shifted(values, self.stddev, self.mean)


class RandomUniform:
    """Draws from a uniform distribution.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda: ps.initializers.RandomUniform(-1, 1)([2], jnp.float32))
    >>> f.apply({}, jax.random.key(0)).shape
    (2,)

    Args:
      minval: the least value.
      maxval: the bound that is never reached.
    """

    def __init__(self, minval: ArrayLike = 0.0, maxval: ArrayLike = 1.0):
        self.minval = minval
        self.maxval = maxval

    def __call__(self, shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
        return jax.random.uniform(next_rng_key(), shape, dtype, self.minval, self.maxval)


def _fans(shape: Sequence[int], fan_in_axes: Sequence[int] | None) -> tuple[Any, Any]:
    """The number of inputs and outputs of one weight."""
    if len(shape) < 1:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    if len(shape) == 2:
        return shape[0], shape[1]
    if fan_in_axes is not None:
        fan_in = np.prod([shape[i] for i in fan_in_axes])
        fan_out = np.prod([size for i, size in enumerate(shape) if i not in fan_in_axes])
        return fan_in, fan_out
    receptive_field = np.prod(shape[:-2])
    return shape[-2] * receptive_field, shape[-1] * receptive_field


# The standard deviation of a standard normal distribution cut off at two standard deviations.
_TRUNCATED_STDDEV = 0.87962566103423978


class VarianceScaling:
    """Draws with a variance that keeps activations or gradients at their scale.

    `scale=2, mode="fan_in"` is He et al. 2015 (arXiv:1502.01852), `scale=1, mode="fan_avg"` is
    Glorot and Bengio 2010 (AISTATS), `scale=1, mode="fan_in"` is LeCun et al. 1998.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> glorot = ps.initializers.VarianceScaling(1.0, "fan_avg", "uniform")
    >>> ps.transform(lambda: glorot([2, 3], jnp.float32)).apply({}, jax.random.key(0)).shape
    (2, 3)

    Args:
      scale: the variance times the fan.
      mode: which fan: "fan_in", "fan_out" or "fan_avg".
      distribution: "normal", "truncated_normal" or "uniform".
      fan_in_axes: which axes of a shape with more than two are inputs; None for all but the last.

    Raises:
      InitializerError: an argument is none of these.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        fan_in_axes: Sequence[int] | None = None,
    ):
        if scale < 0.0:
            raise InitializerError(f"VarianceScaling: scale must not be negative, got {scale}.")
        if str(mode) not in ("fan_in", "fan_out", "fan_avg"):
            raise InitializerError(
                f"VarianceScaling: mode must be 'fan_in', 'fan_out' or 'fan_avg', got {mode!r}."
            )
        distribution = distribution.lower()
        if str(distribution) not in ("normal", "truncated_normal", "uniform"):
            raise InitializerError(
                "VarianceScaling: distribution must be 'normal', 'truncated_normal' or 'uniform',"
                f" got {distribution!r}."
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.fan_in_axes = fan_in_axes

    def __call__(self, shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
        _check_floating(self, dtype)
        fan_in, fan_out = _fans(shape, self.fan_in_axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "truncated_normal":
            # Divided in `dtype`, not in float64: the same bits as dm-haiku.
            stddev = np.sqrt(variance) / np.asarray(_TRUNCATED_STDDEV, dtype=dtype)
            return TruncatedNormal(stddev=stddev)(shape, dtype)
        if self.distribution == "normal":
            return RandomNormal(stddev=np.sqrt(variance))(shape, dtype)
        limit = np.sqrt(3.0 * variance)
        return RandomUniform(minval=-limit, maxval=limit)(shape, dtype)


class UniformScaling:
    """Draws uniformly, with a variance of `scale**2` over the number of inputs.

    Sussillo and Abbott 2014, arXiv:1412.6558.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda: ps.initializers.UniformScaling()([3, 2], jnp.float32))
    >>> bool(abs(f.apply({}, jax.random.key(0))).max() <= 1)
    True

    Args:
      scale: the standard deviation times the square root of the number of inputs.
    """

    def __init__(self, scale: float = 1.0):
        self.scale = scale

    def __call__(self, shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
        limit = np.sqrt(3 / np.prod(shape[:-1])) * self.scale
        return RandomUniform(-limit, limit)(shape, dtype)


class Orthogonal:
    """Draws a matrix with orthonormal rows or columns, times a scale.

    Saxe et al. 2014, arXiv:1312.6120.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda: ps.initializers.Orthogonal()([3, 3], jnp.float32))
    >>> q = f.apply({}, jax.random.key(0))
    >>> bool(jnp.allclose(q @ q.T, jnp.eye(3), atol=1e-5))
    True

    Args:
      scale: the factor.
      axis: the axis of the outputs; the others are taken together.

    Raises:
      InitializerError: the shape has less than two axes.
    """

    def __init__(self, scale: ArrayLike = 1.0, axis: int = -1):
        self.scale = scale
        self.axis = axis

    def __call__(self, shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
        if len(shape) < 2:
            raise InitializerError(
                f"Orthogonal needs a shape with at least two axes, got {tuple(shape)}."
            )
        rows = shape[self.axis]
        columns = math.prod(shape) // rows
        tall = (max(rows, columns), min(rows, columns))
        q, r = jnp.linalg.qr(jax.random.normal(next_rng_key(), tall, dtype))
        q *= jnp.sign(jnp.diag(r))  # makes it uniform over orthogonal matrices
        if rows < columns:
            q = q.T
        q = jnp.reshape(q, (rows, *np.delete(shape, self.axis)))
        q = jnp.moveaxis(q, 0, self.axis)
        return jax.lax.convert_element_type(self.scale, dtype) * q


class Identity:
    """Makes identity matrices of the last two axes, times a gain.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.initializers.Identity(2.0)([2, 2], jnp.float32).tolist()
    [[2.0, 0.0], [0.0, 2.0]]

    Args:
      gain: the factor.

    Raises:
      InitializerError: the shape has less than two axes.
    """

    def __init__(self, gain: float | np.ndarray[Any, Any] | jax.Array = 1.0):
        self.gain = gain

    def __call__(self, shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
        shape = tuple(shape)
        if len(shape) < 2:
            raise InitializerError(f"Identity needs a shape with at least two axes, got {shape}.")
        eye = jnp.broadcast_to(jnp.eye(shape[-2], shape[-1], dtype=dtype), shape)
        return jax.lax.convert_element_type(self.gain, dtype) * eye


def truncated_fan_in(shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
    """The default of weights `[..., in, out]`: truncated normal, stddev `1 / sqrt(fan_in)`."""
    return TruncatedNormal(stddev=1.0 / np.sqrt(np.prod(shape[:-1])))(shape, dtype)
