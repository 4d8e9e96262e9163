"""Sonnet's initializers: `init(shape, dtype) -> array`, with Sonnet's arguments in their order."""

import abc
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from purestate._core.errors import kind_of
from purestate._core.rng import next_rng_key
from purestate._layers.initializers import scaled_and_shifted
from purestate._sonnet.errors import SonnetTypeError, SonnetValueError
from purestate._sonnet.late_value import late_without_key
from purestate._sonnet.outside import in_a_frame
from purestate._sonnet.variable import Variable, value_of

Shape = int | Sequence[int]
Number = ArrayLike | Variable

# The standard deviation of a standard normal distribution cut off at two standard deviations.
_TRUNCATED_STDDEV = 0.87962566103423978


class Initializer(abc.ABC):
    """The base class of initializers: a subclass defines `__call__(shape, dtype)`.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> class Range(snt.initializers.Initializer):
    ...     def __call__(self, shape, dtype):
    ...         return jnp.arange(shape[0], dtype=dtype)
    >>> Range()([3], jnp.float32).tolist()
    [0.0, 1.0, 2.0]

    An initializer that draws random numbers uses the key of the running function. With a `seed` it
    uses that seed instead. Each use of one seed in one run of `init` draws other numbers, in the
    order of the uses, and the next run draws the same numbers again. In TensorFlow, too, each use
    of one seed draws other numbers, whichever initializer has it; but there the next network of
    the same program gets others again.
    """

    @abc.abstractmethod
    def __call__(self, shape: Shape, dtype: DTypeLike) -> jax.Array:
        """Returns an array of the given shape and dtype."""


class Zeros(Initializer):
    """Fills an array with 0.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> snt.initializers.Zeros()([2], jnp.float32).tolist()
    [0.0, 0.0]

    Raises:
      SonnetValueError: the dtype is neither an integer nor a real floating point type.
    """

    def __call__(self, shape: Shape, dtype: DTypeLike) -> jax.Array:
        return jnp.zeros(_sizes(shape), _number_dtype(self, dtype))


class Ones(Initializer):
    """Fills an array with 1.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> snt.initializers.Ones()([2], jnp.float32).tolist()
    [1.0, 1.0]

    Raises:
      SonnetValueError: the dtype is neither an integer nor a real floating point type.
    """

    def __call__(self, shape: Shape, dtype: DTypeLike) -> jax.Array:
        return jnp.ones(_sizes(shape), _number_dtype(self, dtype))


class Constant(Initializer):
    """Fills an array with one number.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> snt.initializers.Constant(2.5)([2], jnp.float32).tolist()
    [2.5, 2.5]

    Args:
      value: a number.

    Raises:
      SonnetTypeError: `value` is an array, or a float while integers are requested.
      SonnetValueError: the dtype is neither an integer nor a real floating point type.
    """

    def __init__(self, value: float):
        if not np.isscalar(value):
            raise SonnetTypeError(
                f"`Constant` takes one number, such as 2.0, but was given {kind_of(value)}. To"
                " start from an array, write a function in its place: lambda shape, dtype: array."
            )
        self.value = value

    def __call__(self, shape: Shape, dtype: DTypeLike) -> jax.Array:
        dtype = _number_dtype(self, dtype)
        return jnp.full(_sizes(shape), _cast(self, self.value, dtype), dtype)


class RandomUniform(Initializer):
    """Draws from a uniform distribution over `[minval, maxval)`.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> dice = snt.initializers.RandomUniform(1, 7)([100], jnp.int32)
    >>> sorted(set(dice.tolist()))
    [1, 2, 3, 4, 5, 6]

    Args:
      minval: the least value.
      maxval: the bound that is never reached.
      seed: an int; see `Initializer`.

    Raises:
      SonnetTypeError: a bound is a float while integers are requested.
      SonnetValueError: the dtype is not among float16, bfloat16, float32, float64, int32 and int64.
    """

    def __init__(self, minval: Number = 0, maxval: Number = 1, seed: int | None = None):
        self.minval = minval
        self.maxval = maxval
        self.seed = seed

    @late_without_key
    def __call__(self, shape: Shape, dtype: DTypeLike) -> jax.Array:
        dtype = _number_dtype(self, dtype)
        integers = jnp.issubdtype(dtype, jnp.integer)
        if integers and dtype not in (jnp.int32, jnp.int64):
            raise SonnetValueError(
                f"`RandomUniform` draws integers as int32 or int64, not as {dtype.name}. Create the"
                " variable with the dtype jnp.int32."
            )
        minval, maxval = _cast(self, self.minval, dtype), _cast(self, self.maxval, dtype)
        draw = jax.random.randint if integers else _uniform
        return draw(_key(self.seed), _sizes(shape), minval, maxval, dtype)


class RandomNormal(Initializer):
    """Draws from a normal distribution.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> snt.initializers.RandomNormal(stddev=0.1)([2, 3], jnp.float32).shape
    (2, 3)

    Args:
      mean: the mean.
      stddev: the standard deviation.
      seed: an int; see `Initializer`.

    Raises:
      SonnetValueError: the dtype is not a real floating point type.
    """

    def __init__(self, mean: Number = 0.0, stddev: Number = 1.0, seed: int | None = None):
        self.mean = mean
        self.stddev = stddev
        self.seed = seed

    @late_without_key
    def __call__(self, shape: Shape, dtype: DTypeLike) -> jax.Array:
        dtype = _float_dtype(self, dtype)
        values = jax.random.normal(_key(self.seed), _sizes(shape), dtype)
        return _cast(self, self.mean, dtype) + _cast(self, self.stddev, dtype) * values


class TruncatedNormal(Initializer):
    """Draws from a normal distribution that is cut off at two standard deviations.

    The standard deviation is that before the cut; the values have 0.88 times as much.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> values = snt.initializers.TruncatedNormal()([1000], jnp.float32)
    >>> bool(abs(values).max() <= 2)
    True

    Args:
      mean: the mean.
      stddev: the standard deviation before the cut.
      seed: an int; see `Initializer`.

    Raises:
      SonnetValueError: the dtype is not a real floating point type.
    """

    def __init__(self, mean: Number = 0.0, stddev: Number = 1.0, seed: int | None = None):
        self.mean = mean
        self.stddev = stddev
        self.seed = seed

    @late_without_key
    def __call__(self, shape: Shape, dtype: DTypeLike) -> jax.Array:
        dtype = _float_dtype(self, dtype)
        values = jax.random.truncated_normal(_key(self.seed), -2.0, 2.0, _sizes(shape), dtype)
        if isinstance(self.mean, float) and isinstance(self.stddev, float):
            return scaled_and_shifted(values, self.stddev, self.mean)
        return _cast(self, self.mean, dtype) + _cast(self, self.stddev, dtype) * values


class Identity(Initializer):
    """Makes an identity matrix, or a batch of them, times a gain.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> snt.initializers.Identity(2.0)([2, 2], jnp.float32).tolist()
    [[2.0, 0.0], [0.0, 2.0]]

    Args:
      gain: the factor. For integers an int.

    Raises:
      SonnetTypeError: `gain` is a float while integers are requested.
      SonnetValueError: the shape has less than two axes, or the dtype is not real numbers.
    """

    def __init__(self, gain: Number = 1.0):
        self.gain = gain

    def __call__(self, shape: Shape, dtype: DTypeLike) -> jax.Array:
        dtype = _number_dtype(self, dtype)
        sizes = _matrix_sizes(self, shape)
        eye = jnp.eye(sizes[-2], sizes[-1], dtype=dtype)
        return _cast(self, self.gain, dtype) * jnp.broadcast_to(eye, sizes)


class Orthogonal(Initializer):
    """Draws a matrix with orthonormal columns, or the transpose of one, times a gain.

    All axes but the last are taken together as one. Saxe et al. 2014, arXiv:1312.6120.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> q = snt.initializers.Orthogonal()([3, 3], jnp.float32)
    >>> bool(jnp.allclose(q @ q.T, jnp.eye(3), atol=1e-5))
    True

    Args:
      gain: the factor.
      seed: an int; see `Initializer`.

    Raises:
      SonnetValueError: the shape has less than two axes, or the dtype is not a real floating
        point type.
    """

    def __init__(self, gain: Number = 1.0, seed: int | None = None):
        self.gain = gain
        self.seed = seed

    @late_without_key
    def __call__(self, shape: Shape, dtype: DTypeLike) -> jax.Array:
        dtype = _float_dtype(self, dtype)
        sizes = _matrix_sizes(self, shape)
        rows, columns = math.prod(sizes[:-1]), sizes[-1]
        # XLA has no QR decomposition of 16 bit floats.
        wide = jnp.promote_types(dtype, jnp.float32)
        tall = (max(rows, columns), min(rows, columns))
        q, r = jnp.linalg.qr(jax.random.normal(_key(self.seed), tall, wide))
        q = q * jnp.sign(jnp.diagonal(r))  # makes it uniform over orthogonal matrices
        q = q.T if rows < columns else q
        return _cast(self, self.gain, dtype) * jnp.reshape(q, sizes).astype(dtype)


class VarianceScaling(Initializer):
    """Draws with a variance that keeps activations or gradients at their scale.

    `scale=2, mode="fan_in"` is He et al. 2015 (arXiv:1502.01852), `scale=1, mode="fan_avg"` is
    Glorot and Bengio 2010 (AISTATS), `scale=1, mode="fan_in"` is LeCun et al. 1998.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> glorot = snt.initializers.VarianceScaling(1.0, "fan_avg", "uniform")
    >>> bool(abs(glorot([2, 4], jnp.float32)).max() <= 1.0)
    True

    Args:
      scale: the variance times the fan; positive.
      mode: which fan: "fan_in", "fan_out" or "fan_avg".
      distribution: "truncated_normal", "normal" or "uniform", in letters of any case.
      seed: an int; see `Initializer`.

    Raises:
      SonnetValueError: an argument has another value, or the dtype is not a real floating
        point type.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ):
        if scale <= 0.0:
            raise SonnetValueError(f"`VarianceScaling`: scale must be positive; got {scale}.")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise SonnetValueError(
                f"`VarianceScaling`: mode must be 'fan_in', 'fan_out' or 'fan_avg'; got {mode!r}."
            )
        distribution = distribution.lower()
        if distribution not in ("truncated_normal", "normal", "uniform"):
            raise SonnetValueError(
                "`VarianceScaling`: distribution must be 'truncated_normal', 'normal' or"
                f" 'uniform'; got {distribution!r}."
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.seed = seed

    @late_without_key
    def __call__(self, shape: Shape, dtype: DTypeLike) -> jax.Array:
        dtype = _float_dtype(self, dtype)
        sizes = _sizes(shape)
        fan_in, fan_out = _fans(sizes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "truncated_normal":
            stddev = math.sqrt(variance) / _TRUNCATED_STDDEV
            return TruncatedNormal(0.0, stddev, self.seed)(sizes, dtype)
        if self.distribution == "normal":
            return RandomNormal(0.0, math.sqrt(variance), self.seed)(sizes, dtype)
        limit = math.sqrt(3.0 * variance)
        return RandomUniform(-limit, limit, self.seed)(sizes, dtype)


def _fans(sizes: tuple[int, ...]) -> tuple[int, int]:
    """The number of inputs and of outputs of one weight."""
    if len(sizes) < 2:
        size = sizes[0] if sizes else 1
        return size, size
    field = math.prod(sizes[:-2])
    return sizes[-2] * field, sizes[-1] * field


def _key(seed: int | None) -> jax.Array:
    """Returns the next key of the frame; with a seed, the next key of that seed in this frame."""
    with in_a_frame() as frame:
        if seed is None:
            return next_rng_key()
        # The frame counts, not the initializer, so that every run of `init` draws the same.
        place = ("seed", str(seed))
        uses: int = frame.ledger.built.get(place, 0)
        frame.ledger.built[place] = uses + 1
        return jax.random.fold_in(jax.random.key(seed), uses)


def _uniform(
    key: jax.Array, sizes: tuple[int, ...], minval: jax.Array, maxval: jax.Array, dtype: Any
) -> jax.Array:
    return jax.random.uniform(key, sizes, dtype, minval, maxval)


def _sizes(shape: Shape) -> tuple[int, ...]:
    return (
        (int(shape),)
        if isinstance(shape, (int, np.integer))
        else tuple(int(size) for size in shape)
    )


def _matrix_sizes(init: Initializer, shape: Shape) -> tuple[int, ...]:
    sizes = _sizes(shape)
    if len(sizes) < 2:
        raise SonnetValueError(
            f"`{type(init).__name__}` makes matrices, so it needs a shape with at least two axes;"
            f" got {list(sizes)}. For a bias use another initializer, such as Zeros."
        )
    return sizes


def _number_dtype(init: Initializer, dtype: DTypeLike) -> np.dtype[Any]:
    given = jnp.dtype(dtype)
    return given if jnp.issubdtype(given, jnp.integer) else _float_dtype(init, given)


def _float_dtype(init: Initializer, dtype: DTypeLike) -> np.dtype[Any]:
    given = jnp.dtype(dtype)
    if not jnp.issubdtype(given, jnp.floating):
        raise SonnetValueError(
            f"`{type(init).__name__}` cannot make {given.name}. Create the variable with a dtype of"
            " real numbers, such as jnp.float32."
        )
    return given


def _cast(init: Initializer, value: Any, dtype: np.dtype[Any]) -> jax.Array:
    """Returns a number as an array; a float does not become an integer."""
    array = jnp.asarray(value_of(value))
    if jnp.issubdtype(array.dtype, jnp.floating) and jnp.issubdtype(dtype, jnp.integer):
        raise SonnetTypeError(
            f"`{type(init).__name__}` was given {value}, a float, but is to make {dtype.name}."
            " Write an int, or create the variable with a dtype such as jnp.float32."
        )
    return array.astype(dtype)
