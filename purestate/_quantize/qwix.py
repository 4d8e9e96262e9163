"""`qwix`: products by the arithmetic of qwix, and by its rules."""

import importlib
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import jax.numpy as jnp

from purestate._core.errors import MissingPackageError, kind_of
from purestate._core.hooks import OPERATION, ActiveHooks, Hook
from purestate._core.parameters_read import stored_form
from purestate._ops.interception import OpContext
from purestate._quantize.amax import weight_among
from purestate._quantize.array import QuantizedArray
from purestate._quantize.errors import QuantizeError
from purestate._quantize.products import Product, plain_product, product_of, straight_through

_OPS = ("dot_general", "conv_general_dilated")


def qwix(rules: Any) -> AbstractContextManager[None]:
    """Has products computed by qwix, by its rules, inside the `with` block.

    The first rule that fits is the one that counts: its `module_path` is a regular expression for
    the whole path of a module, as purestate names it, and its `op_names` may have "dot_general" and
    "conv_general_dilated". qwix quantizes weight and input and multiplies them; gradients pass
    through the rounding. Parameters may be arrays, or the `QuantizedArray`s of
    `ps.quantize.weights`, whose values qwix then takes as they are.

    This needs the package qwix, but no modules of Flax, and replaces no function of JAX::

        rule = qwix.QuantizationRule(weight_qtype=jnp.int8, act_qtype=jnp.int8)
        with ps.quantize.qwix(rule):
            out = f.apply(params, None, x)

    Args:
      rules: a `qwix.QuantizationRule`, or several of them, the first one first.

    Returns:
      A context manager, to be used around `init`, `apply`, a compiled function, or inside a model.

    Raises:
      MissingPackageError: the package qwix is not installed.
      QuantizeError: a value is not a rule, or a rule asks for what only a provider of qwix does.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Flax, which qwix imports
            package = importlib.import_module("qwix")
    except ImportError as error:
        raise MissingPackageError(
            "`ps.quantize.qwix` needs the package qwix: `pip install qwix`. Without it,"
            " ps.quantize.weights and ps.quantize.serving do."
        ) from error
    given = tuple(rules) if isinstance(rules, Sequence) else (rules,)
    for rule in given:
        _check_rule(rule, package)
    interceptor: Any = partial(_by_rules, package, given)
    interceptor.computes = True  # see `intercepted`
    return ActiveHooks(Hook(OPERATION, interceptor, (qwix, *given)))


def _check_rule(rule: Any, package: Any) -> None:
    if not isinstance(rule, package.QuantizationRule):
        raise QuantizeError(
            "`ps.quantize.qwix` takes rules of qwix, such as"
            f" qwix.QuantizationRule(weight_qtype=jnp.int8), but got {kind_of(rule)}."
        )
    if rule.act_static_scale:
        raise QuantizeError(
            f"The rule for {rule.module_path!r} has act_static_scale=True, for which qwix keeps"
            " statistics in modules of Flax. Take ps.quantize.calibrate() and"
            " ps.quantize.serving(calibrated=True), or leave it out."
        )
    if getattr(rule, "bwd_qtype", None) is not None:
        raise QuantizeError(
            f"The rule for {rule.module_path!r} has bwd_qtype, which only a provider of qwix does."
            " Take ps.quantize.fp8_training(), or leave it out."
        )


def _by_rules(
    package: Any,
    rules: tuple[Any, ...],
    next_op: Callable[..., Any],
    operands: tuple[Any, ...],
    context: OpContext,
) -> Any:
    name = weight_among(context.op, operands, context.params)
    fitting = [
        rule
        for rule in rules
        if re.fullmatch(rule.module_path, context.path)
        and (not rule.op_names or context.op in rule.op_names)
    ]
    if name is None or context.op not in _OPS or not fitting or fitting[0].weight_qtype is None:
        return next_op(*operands)
    weight = context.params[name]
    lhs, rhs = operands
    product = product_of(context.op, (lhs, rhs), weight, context.options)
    stored: Any = stored_form(operands[weight])
    if not isinstance(stored, QuantizedArray):
        stored = None
    x, w = operands[1 - weight], operands[weight]
    run = partial(_product, package, fitting[0], product, w.dtype)
    values, scales = (w, None) if stored is None else (stored.values, stored.scales)
    plain = partial(plain_product, product, jnp.promote_types(x.dtype, w.dtype))
    return straight_through(run, plain, x, w, values, scales, None)


def _product(
    package: Any, rule: Any, product: Product, dtype: Any, x: Any, values: Any, scales: Any, _: Any
) -> Any:
    """The product as qwix computes it."""
    if scales is None:
        w = package.quantize(
            values,
            rule.weight_qtype,
            calibration_method=rule.weight_calibration_method,
            **_axes(rule, product, product.weight),
        )
    else:
        w = package.QArray(values, scales.astype(dtype))
    if rule.act_qtype is not None:
        x = package.quantize(
            x,
            rule.act_qtype,
            calibration_method=rule.act_calibration_method or "absmax",
            **_axes(rule, product, 1 - product.weight),
        )
    out = getattr(package, product.op)(*product.ordered(x, w), **product.options)
    return out.astype(product.options.get("preferred_element_type") or dtype)


def _axes(rule: Any, product: Product, position: int) -> dict[str, Any]:
    """Along which axes an operand has scales of its own, and in tiles of which size."""
    layout = product.layouts[position]
    tiled: dict[int, Any] = {}
    if rule.tile_size and product.op == "dot_general":
        tiled = {layout.summed[-1]: rule.tile_size}
    return {"channelwise_axes": sorted(layout.to_result), "tiled_axes": tiled}
