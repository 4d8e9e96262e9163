"""The largest absolute values of arrays, as state of the module that multiplies them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.frame import get_frame
from purestate._core.naming import path_here
from purestate._lifted.collection_modes import AMAX, QUANTIZE
from purestate._ops.interception import OpContext
from purestate._quantize.errors import QuantizeError
from purestate._quantize.products import PRODUCTS
from purestate._state.named_variables import has_variable


def weight_among(op: str, operands: tuple[Any, ...], params: Mapping[str, int]) -> str | None:
    """Returns the name of the weight of a product of floats; None if it has none, or two."""
    names = [
        name
        for name, position in params.items()
        if jnp.ndim(operands[position]) > 1 and position < 2
    ]
    if op not in PRODUCTS or len(names) != 1:
        return None
    floats = all(jnp.issubdtype(operand.dtype, jnp.floating) for operand in operands[:2])
    return names[0] if floats else None


def amax_name(weight: str, kind: str = "") -> str:
    """Returns the name of the state of a product with a weight."""
    return f"{AMAX}{kind}_{weight.replace('/', '_')}"


def amax_of(x: jax.Array) -> jax.Array:
    """Returns the largest absolute value of an array, without a gradient."""
    return jax.lax.stop_gradient(jnp.max(jnp.abs(x), initial=0.0)).astype(jnp.float32)


def check_is_there(name: str, context: OpContext, block: str) -> None:
    """Raises unless state exists, or may be made here."""
    frame = get_frame(block)
    if has_variable(QUANTIZE, name):
        return
    if (
        frame.running_init
        or frame.layout.store(frame, QUANTIZE, path_here(frame, frame.scope), name).creatable
    ):
        return
    raise QuantizeError(
        f"`{block}` reads {name!r} of {context.path!r}, which is not in the given state. `init`"
        f" makes it inside the block: write `with {block}: new = f.init(rng, x)[1]`, and then put"
        " the state that you have on top, `state = ps.data_structures.merge(new, state)`."
    )
