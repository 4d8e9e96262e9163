"""Dropout."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from purestate._layers.errors import LayerError, not_an_array
from purestate._ops.promotion import with_standard_promotion


def dropout(
    rng: jax.Array, rate: float | jax.Array, x: jax.Array, broadcast_dims: Sequence[int] = ()
) -> jax.Array:
    """Sets values to zero at random, and scales up the others to keep the mean.

    Srivastava et al. 2014, JMLR 15.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> out = ps.dropout(jax.random.key(0), 0.5, jnp.ones([100]))
    >>> sorted(set(out.tolist()))
    [0.0, 2.0]

    Args:
      rng: a random key, such as `ps.next_rng_key()`.
      rate: the chance for a value to become zero, `0 <= rate < 1`.
      x: an array of any shape.
      broadcast_dims: axes along which all values share one fate.

    Returns:
      An array of the same shape.

    Raises:
      LayerError: `rate` is outside its range, or an axis is not there.
    """
    try:
        if rate < 0 or rate >= 1:
            raise LayerError(f"dropout: rate has to be at least 0 and less than 1, got {rate}.")
        if rate == 0.0:
            return x
    except jax.errors.ConcretizationTypeError:
        pass  # a traced rate cannot be looked at
    try:
        shape = list(x.shape)
    except AttributeError:
        raise not_an_array("dropout", x, "x") from None
    for axis in broadcast_dims:
        if not -len(shape) <= axis < len(shape):
            raise LayerError(
                f"dropout: axis {axis} of broadcast_dims is not in an array of shape {x.shape}."
            )
        shape[axis] = 1
    keep_rate = 1.0 - rate
    keep = jax.random.bernoulli(rng, keep_rate, shape=shape)
    if broadcast_dims:
        keep = jnp.broadcast_to(keep, x.shape)
    try:
        kept = keep * x
    except ValueError:  # strict promotion does not multiply with booleans
        kept = with_standard_promotion(jnp.multiply, keep, x)
    return kept / keep_rate
