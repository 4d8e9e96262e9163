"""Parameters that are kept in another dtype than they are used in."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from purestate._core.parameters_read import note_same_parameter
from purestate._core.variables import Initializer, get_parameter


def get_parameter_kept_in(
    param_dtype: DTypeLike | None,
    name: str,
    shape: Sequence[int],
    dtype: DTypeLike,
    init: Initializer | None,
) -> jax.Array:
    """`get_parameter` that makes the parameter in `param_dtype` and returns it in `dtype`.

    If `param_dtype` is None, both are `dtype`.
    """
    if param_dtype is None:
        return get_parameter(name, shape, dtype, init)
    value = get_parameter(name, shape, param_dtype, init)
    # Weights as integers, for an input of integers, would be wrong; JAX finds the dtype for both
    # then.
    if not jnp.issubdtype(dtype, jnp.inexact):
        return value
    return note_same_parameter(lax.convert_element_type(value, dtype), value)
