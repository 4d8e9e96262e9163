"""Sonnet's dropout."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purestate._core.rng import next_rng_key
from purestate._sonnet.checks import check_floats
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.module import Module
from purestate._sonnet.variable import Variable, value_of


class Dropout(Module):
    """Sets values to zero at random while training, and scales up the others to keep the mean.

    Srivastava et al. 2014, JMLR 15.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> dropout = snt.Dropout(0.5)
    >>> sorted(set(dropout(jnp.ones([100]), is_training=True).tolist()))
    [0.0, 2.0]
    >>> dropout(jnp.ones([2]), is_training=False).tolist()
    [1.0, 1.0]

    Args:
      rate: the chance for a value to become zero, `0 <= rate < 1`.
      noise_shape: a shape that broadcasts to that of the input; along an axis of size 1 all values
        share one fate. None in it stands for the size of the input.
      seed: an int that is folded into the key of the running function. Each call drops other
        values, as in TensorFlow, and the key still decides which.
      name: the name of the module.

    Raises:
      SonnetValueError: `rate` is outside its range, the input is not of floats, or `noise_shape`
        does not broadcast to its shape.
      MissingRNGError: it is training, and `apply` was given no key.
    """

    def __init__(
        self,
        rate: ArrayLike | Variable,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self._rate = rate
        self._noise_shape = noise_shape
        self._seed = seed

    def __call__(self, x: ArrayLike, is_training: ArrayLike | Variable) -> Any:
        """Returns `x` with some values dropped if it is training, else `x`.

        Args:
          x: an array of floats of any shape.
          is_training: whether to drop values. If it is a tracer, both cases are computed.

        Returns:
          An array of the same shape.
        """
        training = value_of(is_training)
        try:
            return self._drop(x) if training else x
        except jax.errors.TracerBoolConversionError:
            return jnp.where(training, self._drop(x), jnp.asarray(value_of(x)))

    def _drop(self, x: ArrayLike) -> jax.Array:
        array = jnp.asarray(value_of(x))
        check_floats(self, array)
        rate = value_of(self._rate)
        try:
            if not 0 <= rate < 1:
                raise SonnetValueError(
                    f"Dropout {self.module_name!r}: rate, the chance for a value to become zero,"
                    f" must be at least 0 and less than 1; got {rate}."
                )
            if rate == 0:
                return array
        except jax.errors.ConcretizationTypeError:
            pass  # a traced rate cannot be looked at
        keep_rate = 1.0 - jnp.asarray(rate, array.dtype)
        keep = jax.random.bernoulli(self._key(), keep_rate, self._sizes(array))
        return jnp.where(keep, array / keep_rate, jnp.zeros_like(array))

    def _key(self) -> jax.Array:
        key = next_rng_key()
        return key if self._seed is None else jax.random.fold_in(key, self._seed & 0xFFFFFFFF)

    def _sizes(self, x: jax.Array) -> tuple[int, ...]:
        if self._noise_shape is None:
            return x.shape
        noise = tuple(self._noise_shape)
        if len(noise) == x.ndim:
            noise = tuple(
                size if given is None else given for given, size in zip(noise, x.shape, strict=True)
            )
        if len(noise) > x.ndim or any(
            given not in (1, size)
            for given, size in zip(reversed(noise), reversed(x.shape), strict=False)
        ):
            raise SonnetValueError(
                f"Dropout {self.module_name!r}: noise_shape must broadcast to the shape of the"
                f" input, {list(x.shape)}; got {list(noise)}. Give it 1 for each axis along which"
                " all values share one fate."
            )
        return tuple(int(size) for size in noise if size is not None)
