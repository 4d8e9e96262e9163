"""Attention as one operation, so that a kernel can take its place."""

from typing import Any

import jax
from jax.typing import DTypeLike

from purestate._core.frame import ambient
from purestate._core.sown import INTERMEDIATES
from purestate._ops.attention_arithmetic import (
    AttentionCall,
    grouped_attention,
    grouped_weights,
    scaled_weights,
    weighted_sum,
    with_dropout,
)
from purestate._ops.operation import operation
from purestate._ops.promotion import with_standard_promotion

WEIGHTS = "attention_weights"
"""The name that the weights are sown under."""


def _sow(weights: Any) -> Any:
    """Returns a function that sows the weights of a call, if someone requested them."""

    def sow_weights(*args: Any, **options: Any) -> None:
        frame = ambient.get()[0][-1]
        if frame.sown is not None and frame.sown.wants(INTERMEDIATES):
            from purestate._state.intermediates import sow

            sow(WEIGHTS, weights(AttentionCall(*args, **options)))

    return sow_weights


def _computed(call: AttentionCall, by_products: Any) -> jax.Array:
    """Computes a call as its `implementation` says."""
    if call.implementation is None or call.implementation == "xla":
        return by_products(call)
    from purestate._ops.attention_kernels import attend_by

    return attend_by(call, by_products)


@operation("dot_product_attention", operands=6, beside=_sow(scaled_weights))
def scaled_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None,
    mask: jax.Array | None,
    dropout_key: jax.Array | None,
    scale: float | None = None,
    is_causal: bool = False,
    implementation: Any = None,
    logits_soft_cap: float | None = None,
    dropout_rate: float = 0.0,
    softmax_dtype: DTypeLike | None = None,
    window: int | None = None,
    scale_dtype: DTypeLike | None = None,
) -> jax.Array:
    """Attention with the numbers of dm-haiku: similarities are divided, in the dtype they have.

    Args:
      query: `[..., T', H, K]`.
      key: `[..., T, H, K]`.
      value: `[..., T, H, V]`.
      bias: see `dot_product_attention`; broadcasts to `[..., H, T', T]`.
      mask: booleans that broadcast to `[..., H, T', T]`; None for all.
      dropout_key: see `dot_product_attention`.
      scale: None to divide by `sqrt(K)`.
      is_causal: see `dot_product_attention`.
      implementation: see `dot_product_attention`.
      logits_soft_cap: see `dot_product_attention`.
      dropout_rate: see `dot_product_attention`.
      softmax_dtype: the dtype of logits and softmax; None for that of the operands.
      window: see `dot_product_attention`.
      scale_dtype: the dtype of the square root of K.

    Returns:
      `[..., T', H, V]`.
    """
    call = AttentionCall(
        query, key, value, bias, mask, dropout_key, scale, is_causal, implementation,
        logits_soft_cap, dropout_rate, softmax_dtype, window, scale_dtype,
    )  # fmt: skip
    return _computed(call, _scaled_products)


def _scaled_products(call: AttentionCall) -> jax.Array:
    weights = with_dropout(scaled_weights(call), call.dropout_key, call.dropout_rate)
    return weighted_sum(weights, call.value)


@operation("dot_product_attention", operands=6, beside=_sow(grouped_weights))
def dot_product_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None = None,
    mask: jax.Array | None = None,
    dropout_key: jax.Array | None = None,
    scale: float | None = None,
    is_causal: bool = False,
    implementation: Any = None,
    logits_soft_cap: float | None = None,
    dropout_rate: float = 0.0,
    softmax_dtype: DTypeLike | None = None,
    window: int | None = None,
) -> jax.Array:
    """Returns for each query the sum of the values, weighted by how well their keys fit it.

    Vaswani et al. 2017, arXiv:1706.03762, equation 1.

    >>> import jax.numpy as jnp, purestate as ps
    >>> x = jnp.ones([2, 5, 4, 8])
    >>> ps.ops.dot_product_attention(x, x, x, is_causal=True).shape
    (2, 5, 4, 8)

    Inside a transformed function, the weights `[B, H, T', T]` are sown as `"attention_weights"`,
    before dropout.

    Args:
      query: `[B, T', H, K]`, or without B.
      key: `[B, T, G, K]`; G divides H.
      value: `[B, T, G, K]`.
      bias: is added to the similarities, after the cap; broadcasts to `[B, H, T', T]`.
      mask: booleans that broadcast to `[B, H, T', T]`: which keys a query may see.
      dropout_key: a random key, for dropout on the weights.
      scale: a factor of the similarities; None for `1 / sqrt(K)`.
      is_causal: whether a query sees no key after it.
      implementation: None or "xla" for products that XLA compiles; "cudnn", "pallas" or "tokamax"
        for a kernel; a `PallasAttention`; or a function `f(query, key, value, bias, mask, *, scale,
        is_causal, ...)`, which also gets `window`, `logits_soft_cap`, `softmax_dtype`,
        `dropout_key` and `dropout_rate` if they are set. Leading axes are one there, `[B]`. A
        kernel that does not support a call leaves it to XLA, with an `AttentionFallbackWarning`.
      logits_soft_cap: bounds the similarities by `cap * tanh(x / cap)` (Gemma Team 2024,
        arXiv:2408.00118, section 2); None for no bound.
      dropout_rate: the chance for a weight to become zero, if there is a `dropout_key`.
      softmax_dtype: the dtype of similarities and softmax; None for float32.
      window: a query sees only keys that are less than this far away; None for all.

    Returns:
      `[B, T', H, K]`.

    Raises:
      OperationError: `implementation` is not one, or the function does not fit.
    """
    call = AttentionCall(
        query, key, value, bias, mask, dropout_key, scale, is_causal, implementation,
        logits_soft_cap, dropout_rate, softmax_dtype, window,
    )  # fmt: skip
    return _computed(call, _grouped_products)


def _grouped_products(call: AttentionCall) -> jax.Array:
    if call.logits_soft_cap is not None or call.softmax_dtype is not None or call.drops:
        return grouped_attention(call)
    return with_standard_promotion(
        jax.nn.dot_product_attention,
        call.query,
        call.key,
        call.value,
        bias=call.bias,
        mask=call.mask,
        scale=call.scale,
        is_causal=call.is_causal,
        local_window_size=call.sides,
        implementation=call.implementation if call.implementation == "xla" else None,
    )
