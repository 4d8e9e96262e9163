"""One-hot vectors."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from purestate._core.outlines import outline_argument
from purestate._layers.errors import LayerError


def one_hot(x: ArrayLike, num_classes: int, dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Returns for each number a vector that is 1 there and 0 elsewhere.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.one_hot(jnp.array([2, 0]), 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]

    Args:
      x: integers of any shape; those outside `[0, num_classes)` give zeros.
      num_classes: the size of a vector.
      dtype: of the result.

    Returns:
      `[*x.shape, num_classes]`.

    Raises:
      LayerError: they are not numbers, or `num_classes` or `dtype` is none.
    """
    try:
        return jax.nn.one_hot(x, num_classes, dtype=dtype)
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise LayerError(
            "`one_hot` takes an array of integers, a number of classes and a dtype, but was given"
            f" {outline_argument(x)}, {outline_argument(num_classes)} and"
            f" {outline_argument(dtype)}."
        ) from error
