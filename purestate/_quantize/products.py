"""Products with a quantized weight, computed from its values."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purestate._ops.convolutions import conv_general_dilated, conv_transpose
from purestate._ops.products import dot_general
from purestate._quantize.array import QuantizedArray, spread
from purestate._quantize.kinds import Kind, rounded, scales_for
from purestate._quantize.layouts import Layout, fits, layouts_of_conv, layouts_of_dot, on_result

# The functions themselves, which no interceptor sees.
_PLAIN: dict[str, Callable[..., Any]] = {
    "dot_general": dot_general.__wrapped__,  # pyright: ignore
    "conv_general_dilated": conv_general_dilated.__wrapped__,  # pyright: ignore
    "conv_transpose": conv_transpose.__wrapped__,  # pyright: ignore
}
PRODUCTS = tuple(_PLAIN)


class Product(NamedTuple):
    """One product of an input and a quantized weight.

    Attributes:
      op: the name of the operation.
      weight: the position of the weight among the two operands.
      options: the options of the operation.
      layouts: those of the two operands.
    """

    op: str
    weight: int
    options: dict[str, Any]
    layouts: tuple[Layout, Layout]

    def ordered(self, x: Any, w: Any) -> tuple[Any, Any]:
        """Returns input and weight as the operation takes them."""
        return (x, w) if self.weight == 1 else (w, x)


def product_of(
    op: str, operands: tuple[Any, Any], weight: int, options: Mapping[str, Any]
) -> Product:
    """Returns a product of operands, of which one is a weight."""
    options = dict(options)
    lhs, rhs = operands
    if op != "dot_general":
        return Product(op, weight, options, layouts_of_conv(op, lhs, rhs, options))
    if options["dimension_numbers"] is None:
        options["dimension_numbers"] = (((lhs.ndim - 1,), (0,)), ((), ()))
    layouts = layouts_of_dot(options["dimension_numbers"], (lhs.ndim, rhs.ndim))
    return Product(op, weight, options, layouts)


def result_dtype(x: Any, w: Any, options: Mapping[str, Any]) -> Any:
    """Returns the dtype that a product of floats has."""
    return options.get("preferred_element_type") or jnp.promote_types(x.dtype, w.dtype)


def weight_only(
    next_op: Callable[..., Any], product: Product, x: Any, w: Any, stored: QuantizedArray
) -> jax.Array:
    """Multiplies with the values of the weight as they are, and the result with the scales."""
    layout = product.layouts[product.weight]
    if not fits(stored.scales, layout) or not jnp.issubdtype(x.dtype, jnp.floating):
        return next_op(*product.ordered(x, w))  # dequantized: XLA does so inside the product
    values = stored.values.astype(x.dtype)  # exact: bfloat16 has all integers up to 256
    sums = {}
    if product.options.get("preferred_element_type") is None and x.dtype.itemsize < 4:
        sums = {"preferred_element_type": jnp.float32}
    out = next_op(*product.ordered(x, values), **sums)
    scales = on_result(stored.scales, stored.shape, layout)
    return (out * scales).astype(result_dtype(x, w, product.options))


def quantized(
    product: Product, x: Any, w: Any, stored: QuantizedArray, kind: Kind, amax: Any
) -> jax.Array | None:
    """Quantizes the input too and multiplies values with values.

    Differentiates as the product of floats does: rounding is taken for the identity.

    Args:
      product: the product.
      x: the input, of floats.
      w: the weight, dequantized.
      stored: the weight as it is stored.
      kind: what to quantize the input to.
      amax: the largest value of the input, from a calibration; None for the one that it has, which
        is found along the summed axes: one for each input `[D]` of a matrix.

    Returns:
      The result; None if the scales of the weight vary along axes that the product sums over, in
      a way that has no sum of integers.
    """
    layout = product.layouts[product.weight]
    grouped = [axis for axis in layout.summed if stored.scales.shape[axis] != 1]
    if grouped and (product.op != "dot_general" or len(grouped) > 1):
        return None
    values = _values_product if not grouped else partial(_grouped_product, grouped[0])
    dtype = result_dtype(x, w, product.options)
    run = partial(_through_integers, values, product, kind, dtype)
    plain = partial(plain_product, product, dtype)
    return straight_through(run, plain, x, w, stored.values, stored.scales, amax)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def straight_through(
    run: Any, plain: Any, x: Any, w: Any, values: Any, scales: Any, amax: Any
) -> Any:
    """Returns `run(x, values, scales, amax)`; its derivative is that of `plain(x, w)`."""
    return run(x, values, scales, amax)


@straight_through.defjvp
def _straight_through_jvp(run: Any, plain: Any, primals: Any, tangents: Any) -> Any:
    out = straight_through(run, plain, *primals)
    return out, jax.jvp(plain, primals[:2], tangents[:2])[1]


def plain_product(product: Product, dtype: Any, x: Any, w: Any) -> jax.Array:
    """Returns the product of floats, which no interceptor sees."""
    out = _PLAIN[product.op](*product.ordered(x, w), **product.options)
    return out.astype(dtype)


def _through_integers(
    multiply: Any, product: Product, kind: Kind, dtype: Any, x: Any, values: Any, scales: Any,
    amax: Any,
) -> jax.Array:  # fmt: skip
    return multiply(product, kind, x, values, scales, amax).astype(dtype)


def _values_product(
    product: Product, kind: Kind, x: Any, values: Any, scales: Any, amax: Any
) -> jax.Array:
    of_weight, of_input = product.layouts[product.weight], product.layouts[1 - product.weight]
    if amax is None:
        amax = jnp.max(jnp.abs(x), of_input.summed, keepdims=True, initial=0.0)
    x_scales = scales_for(amax, kind)
    if x_scales.ndim == 0:
        x_scales = x_scales.reshape([1] * x.ndim)
    operands = product.ordered(rounded(x, x_scales, kind), values.astype(kind.dtype))
    options = {**product.options, "preferred_element_type": kind.sums_in}
    out = _PLAIN[product.op](*operands, **options).astype(jnp.float32)
    return out * on_result(x_scales, x.shape, of_input) * on_result(scales, values.shape, of_weight)


def _grouped_product(
    axis: int, product: Product, kind: Kind, x: Any, values: Any, scales: Any, amax: Any
) -> jax.Array:
    """Makes the number of the group a batch axis, and sums over it after the scales."""
    summed, batch = product.options["dimension_numbers"]
    position = summed[product.weight].index(axis)
    axes = {product.weight: axis, 1 - product.weight: summed[1 - product.weight][position]}
    count = scales.shape[axis]

    def after(axis: int, i: int) -> int:
        return axis + (axis > axes[i])

    numbers = (
        tuple(tuple(after(a, i) + (a == axes[i]) for a in summed[i]) for i in (0, 1)),
        tuple((*(after(a, i) for a in batch[i]), axes[i]) for i in (0, 1)),
    )
    x, values = _split(x, axes[1 - product.weight], count), _split(values, axis, count)
    options = {**product.options, "dimension_numbers": numbers}
    inner = product_of("dot_general", product.ordered(x, values), product.weight, options)
    out = _values_product(inner, kind, x, values, jnp.expand_dims(scales, axis + 1), amax)
    return jnp.sum(out, len(batch[0]))


def _split(x: Any, axis: int, count: int) -> Any:
    sizes = (count, x.shape[axis] // count)
    return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])


def looked_up(next_op: Callable[..., Any], ids: Any, w: Any, stored: QuantizedArray) -> jax.Array:
    """Looks up the values and scales of ids, and dequantizes only these."""
    scales = stored.scales
    if scales.shape[0] not in (1, stored.shape[0]):
        return next_op(w, ids)
    scales = scales[0] if scales.shape[0] == 1 else scales[ids,]
    values = next_op(stored.values, ids)
    return (values.astype(jnp.float32) * _along_last(scales, values.shape)).astype(w.dtype)


def _along_last(scales: Any, shape: tuple[int, ...]) -> Any:
    tail = scales.ndim
    return spread(scales, [n if scales.shape[i] != 1 else 1 for i, n in enumerate(shape[-tail:])])
