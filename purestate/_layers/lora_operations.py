"""How `ps.lora` adapts an operation that has a weight among its operands.

Each function returns the result of the operation with the adapted weight, or None if it does not
know how. A product, a look-up and a plain convolution go through the two factors one after the
other, beside the operation itself; for all else, and with DoRA, the weight itself is replaced.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from purestate._layers.embed import Embed
from purestate._layers.lora_settings import Settings
from purestate._layers.low_rank import (
    Split,
    split_of_kernel,
    term_of,
    through_convolution,
    through_lookup,
    through_product,
)


def _place(context: Any) -> str:
    return f"{type(context.module).__name__} {context.path!r}"


def _adapt_product(
    settings: Settings, run: Any, operands: Any, context: Any, name: str
) -> jax.Array | None:
    position = context.params[name]
    x, w = operands[1 - position], operands[position]
    options = context.options
    term, split = term_of(x.ndim, w.ndim, position, options["dimension_numbers"])
    if split is None:
        return None
    sums_first = chr(ord("a") + split.first[0]) in term.x
    split = split._replace(shape=w.shape)
    split = split._replace(fan_in=split.numbers_in_first() if sums_first else None)
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.inexact) else w.dtype
    if isinstance(context.module, Embed):  # as for the look-up, so that both share them
        split, dtype = split._replace(fan_in=1, outputs=(1,)), w.dtype
    # An axis along which the weights differ is not one of examples.
    example = term.out.find(term.x[0]) if term.x[0].isupper() else -1
    settings.check_examples(_place(context), x.shape[0] if example >= 0 else -1)
    factors = settings.factors(name, split, w, dtype)

    def compute(w: jax.Array) -> jax.Array:
        return run(*((x, w) if position else (w, x)))

    if settings.dora:
        return settings.select(compute, split, w, factors, example)
    out = compute(w)
    both, chosen = settings.side_by_side(split, factors)
    added = through_product(
        term,
        split,
        x,
        both,
        chosen,
        precision=options["precision"],
        out_sharding=options["out_sharding"],
    )
    return out + _scaled(added, settings).astype(out.dtype)


def _scaled(added: jax.Array, settings: Settings) -> jax.Array:
    return added if settings.scale == 1 else added * settings.scale


def _adapt_lookup(
    settings: Settings, run: Any, operands: Any, context: Any, name: str
) -> jax.Array | None:
    table, ids = operands
    if context.params[name] != 0 or table.ndim != 2:
        return None
    split = Split(table.shape, (0,), (1,), (1,), 1)
    settings.check_examples(_place(context), ids.shape[0] if ids.ndim else -1)
    factors = settings.factors(name, split, table, table.dtype)
    if settings.dora:
        return settings.select(lambda w: run(w, ids), split, table, factors, 0)
    out = run(table, ids)
    both, chosen = settings.side_by_side(split, factors)
    return out + _scaled(through_lookup(ids, both, chosen), settings).astype(out.dtype)


def _adapt_convolution(
    settings: Settings, run: Any, operands: Any, context: Any, name: str
) -> jax.Array | None:
    if context.params[name] != 1:
        return None
    x, w = operands
    layout = context.options["dimension_numbers"]
    is_transposed = context.op == "conv_transpose"
    if not (is_transposed and layout is None):
        layout = lax.conv_dimension_numbers(x.shape, w.shape, layout)
    out_axis = w.ndim - 1 if layout is None else layout.rhs_spec[0]
    example = 0 if layout is None else layout.out_spec[0]
    split = split_of_kernel(w.shape, out_axis)
    settings.check_examples(_place(context), x.shape[0])
    factors = settings.factors(name, split, w, x.dtype)
    options = dict(context.options)
    by_weight = is_transposed or options["feature_group_count"] > 1 or split.last != (out_axis,)
    if settings.dora or by_weight or layout is None:
        return settings.select(lambda w: run(x, w), split, w, factors, example)
    out = run(x, w)
    both, chosen = settings.side_by_side(split, factors)
    added = through_convolution(layout, x, both, chosen, options)
    return out + _scaled(added, settings).astype(out.dtype)


OPERATIONS: dict[str, Callable[..., jax.Array | None]] = {
    "dot_general": _adapt_product,
    "embedding_lookup": _adapt_lookup,
    "conv_general_dilated": _adapt_convolution,
    "conv_transpose": _adapt_convolution,
}
