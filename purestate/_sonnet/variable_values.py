"""The values that a variable can get, and the names that variables have."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import ShapeMismatchError
from purestate._sonnet.errors import SonnetTypeError, SonnetValueError


def full_name(path: str, name: str) -> str:
    """Returns the name that TensorFlow gives a variable."""
    parts = [part for part in path.split("/") if not part.startswith("~")]
    return "/".join([*parts, name]) + ":0"


def initial(value: Any, dtype: Any, name: str) -> jax.Array:
    """Returns an initial value, or the result of a function that makes it, as an array."""
    value = value() if callable(value) else value
    if value is None:
        raise SonnetValueError(
            f"The variable {name!r} needs an initial value: snt.Variable(jnp.zeros([3]),"
            f" name={name!r}), or a function that returns one."
        )
    array = jnp.asarray(value, dtype)
    # A Python number becomes an array like any other, so that its dtype does not change later.
    return jax.lax.convert_element_type(array, array.dtype)


def initial_shape(
    value: Any, shape: Sequence[int] | None, given: tuple[int, ...], name: str
) -> tuple[int, ...]:
    """Returns the shape that a variable is created with; raises if two are requested.

    Args:
      value: the initial value. It is not called if it is a function.
      shape: the requested shape; None takes that of the value.
      given: the shape that counts if neither is known.
      name: the name of the variable.
    """
    own = () if isinstance(value, (bool, int, float)) else getattr(value, "shape", None)
    if own is None:
        return tuple(given) if shape is None else tuple(shape)
    if shape is not None and tuple(shape) != tuple(own):
        raise SonnetValueError(
            f"The variable {name!r} was requested with the shape {list(shape)}, but its initial"
            f" value has the shape {list(own)}. Leave `shape` out, or reshape the value."
        )
    return tuple(own)


def fitting(value: Any, name: str, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Returns a value in the dtype of a variable; raises if it does not fit."""
    array = jnp.asarray(value)
    if array.shape != shape:
        raise ShapeMismatchError(
            f"The variable {name!r} has the shape {list(shape)}, but a value of the"
            f" shape {list(array.shape)} was assigned to it. Reshape the value, or create the"
            " variable with that shape."
        )
    if not jnp.can_cast(array.dtype, dtype, "same_kind") and array.size:
        raise SonnetTypeError(
            f"The variable {name!r} has the dtype {dtype}, but a value of"
            f" {array.dtype} was assigned to it, which would be rounded. Cast the value:"
            f" jnp.asarray(value, jnp.{dtype})."
        )
    return array.astype(dtype)
