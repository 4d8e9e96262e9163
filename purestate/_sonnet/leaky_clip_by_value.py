"""`leaky_clip_by_value`: clipping that lets values come back."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purestate._sonnet.checks import broadcasts_to
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.variable import Variable, value_of


def leaky_clip_by_value(
    t: ArrayLike | Variable,
    clip_value_min: ArrayLike | Variable,
    clip_value_max: ArrayLike | Variable,
    name: str | None = None,
) -> jax.Array:
    """Clips values. The gradient stops only if a step along it would lead further out.

    It assumes gradient descent: a positive gradient makes a value smaller. For ascent, negate the
    gradient first.

    >>> import jax, jax.numpy as jnp, purestate.sonnet as snt
    >>> x = jnp.array([-2.0, 0.0, 3.0])
    >>> y, gradient = jax.vjp(lambda x: snt.leaky_clip_by_value(x, -1.0, 1.0), x)
    >>> y.tolist(), gradient(jnp.ones(3))[0].tolist()
    ([-1.0, 0.0, 1.0], [0.0, 1.0, 1.0])

    Args:
      t: an array of any shape.
      clip_value_min: the lower bound, a number or an array that broadcasts to the shape of `t`.
      clip_value_max: the upper bound. If it is below the lower bound, the lower bound counts.
      name: accepted and ignored.

    Returns:
      The clipped array.

    Raises:
      SonnetValueError: a bound would make the result larger than `t`.
    """
    del name
    array = jnp.asarray(value_of(t))
    bounds = [
        jnp.asarray(value_of(bound), array.dtype) for bound in (clip_value_min, clip_value_max)
    ]
    for bound in bounds:
        if not broadcasts_to(bound.shape, array.shape):
            raise SonnetValueError(
                "`snt.leaky_clip_by_value`: a bound must be a number, or broadcast to the shape of"
                f" `t`, {list(array.shape)}; got one of the shape {list(bound.shape)}."
            )
    return _clip(array, *bounds)


@jax.custom_vjp
def _clip(t: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    return jnp.maximum(jnp.minimum(t, high), low)


def _forward(t: jax.Array, low: jax.Array, high: jax.Array) -> tuple[jax.Array, Any]:
    return _clip(t, low, high), (t, low, high)


def _backward(kept: Any, dy: jax.Array) -> tuple[jax.Array, None, None]:
    t, low, high = kept
    outwards = ((t < low) & (dy > 0)) | ((t > high) & (dy < 0))
    return jnp.where(outwards, jnp.zeros_like(dy), dy), None, None


_clip.defvjp(_forward, _backward)
