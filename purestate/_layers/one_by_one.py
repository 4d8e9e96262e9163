"""Initial values for many weights of one kind, each as if it were the only one."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.typing import DTypeLike

from purestate._core.keyed_initializers import as_initializer
from purestate._core.rng import maybe_next_rng_key, with_rng
from purestate._core.variables import Initializer


def one_by_one(init: Callable[..., Any], num_axes: int) -> Initializer:
    """Returns an initializer that draws each weight along the first axes separately.

    An initializer such as `VarianceScaling` counts all axes but the last as inputs. The first axes
    of these weights are not inputs: they say which weight it is.

    Args:
      init: the initializer of one weight.
      num_axes: how many axes come before those of one weight.

    Returns:
      An initializer of all of them.
    """
    draw = as_initializer(init)

    def draw_all(shape: Sequence[int], dtype: DTypeLike) -> jax.Array:
        count, own = math.prod(shape[:num_axes]), tuple(shape[num_axes:])
        key = maybe_next_rng_key()

        def one(key: jax.Array) -> jax.Array:
            with with_rng(key):
                return draw(own, dtype)

        if key is None:  # zeros, ones and constants need no key
            values = jax.vmap(lambda _: draw(own, dtype), axis_size=count)(None)
        else:
            values = jax.vmap(one)(jax.random.split(key, count))
        return values.reshape(shape)

    return draw_all
