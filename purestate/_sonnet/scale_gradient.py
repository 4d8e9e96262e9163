"""`scale_gradient`: the identity, with another gradient."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purestate._sonnet.variable import Variable, value_of


def scale_gradient(t: ArrayLike | Variable, scale: ArrayLike | Variable) -> jax.Array:
    """Returns an array as it is, whose gradient is multiplied by a scale.

    >>> import jax, jax.numpy as jnp, purestate.sonnet as snt
    >>> jax.grad(lambda x: snt.scale_gradient(x, 0.25) ** 2)(3.0).item()
    1.5

    Args:
      t: an array of any shape.
      scale: a number, or an array that broadcasts to the shape of `t`. It gets no gradient.

    Returns:
      The same array.
    """
    return _scaled(jnp.asarray(value_of(t)), value_of(scale))


@jax.custom_jvp
def _scaled(t: jax.Array, scale: ArrayLike) -> jax.Array:
    del scale
    return t


@_scaled.defjvp
def _scaled_jvp(  # pyright: ignore[reportUnusedFunction]
    primals: tuple[jax.Array, ArrayLike], tangents: tuple[jax.Array, ArrayLike]
) -> tuple[jax.Array, jax.Array]:
    t, scale = primals
    direction, _ = tangents
    if not jnp.issubdtype(t.dtype, jnp.inexact):
        return t, direction  # integers have no gradient
    # And not `t`, so that second derivatives are scaled as well.
    return _scaled(t, scale), direction * jnp.asarray(scale).astype(direction.dtype)
