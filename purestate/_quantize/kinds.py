"""The dtypes that values are quantized to."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from purestate._core.outlines import outline_argument
from purestate._quantize.errors import QuantizeError


class Kind(NamedTuple):
    """A dtype that values are quantized to.

    Attributes:
      dtype: the dtype.
      largest: the largest value that a number is scaled to.
      bits: how many bits a value takes.
      sums_in: the dtype in which products of two such values are summed.
    """

    dtype: Any
    largest: float
    bits: int
    sums_in: Any

    @property
    def is_integer(self) -> bool:
        """Whether the values are whole numbers."""
        return self.sums_in == jnp.int32


# Symmetric: the lowest integer stays unused, so that a number and its negative round alike.
KINDS = {
    "int8": Kind(jnp.int8, 127.0, 8, jnp.int32),
    "int4": Kind(jnp.int4, 7.0, 4, jnp.int32),
    "float8_e4m3fn": Kind(jnp.float8_e4m3fn, 448.0, 8, jnp.float32),
    "float8_e5m2": Kind(jnp.float8_e5m2, 57344.0, 8, jnp.float32),
}


def kind_named(dtype: DTypeLike, allowed: tuple[str, ...] = tuple(KINDS)) -> Kind:
    """Returns a kind by its dtype; raises unless it is one of those allowed."""
    try:
        name = jnp.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in allowed:
        raise QuantizeError(
            f"Quantization is to {', '.join(map(repr, allowed))}, but"
            f" {outline_argument(dtype)} was requested."
        )
    return KINDS[name]


def scales_for(amax: jax.Array, kind: Kind) -> jax.Array:
    """Returns the scale for values of at most `amax`; 1 where all are zero."""
    amax = amax.astype(jnp.float32)
    return jnp.where(amax > 0, amax / kind.largest, 1.0)


def rounded(x: jax.Array, scales: jax.Array, kind: Kind) -> jax.Array:
    """Returns `x / scales` in the dtype of a kind, without overflow."""
    scaled = jnp.clip(x.astype(jnp.float32) / scales, -kind.largest, kind.largest)
    return (jnp.round(scaled) if kind.is_integer else scaled).astype(kind.dtype)
