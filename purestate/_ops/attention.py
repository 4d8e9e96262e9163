"""Attention as one operation, so that a kernel can take its place."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from purestate._ops.inlined import is_staged
from purestate._ops.operation import operation
from purestate._ops.promotion import with_standard_promotion


def similarities(query: jax.Array, key: jax.Array) -> jax.Array:
    """The dot products `[..., H, T', T]` of queries `[..., T', H, K]` and keys `[..., T, H, K]`."""
    rank = len(query.shape)
    if not is_staged() or query.dtype != key.dtype or query.shape[:-3] != key.shape[:-3]:
        return jnp.einsum("...thd,...Thd->...htT", query, key)
    # What einsum comes to, without its Python.
    batch = (*range(rank - 3), rank - 2)
    return lax.dot_general(
        query, key, (((rank - 1,), (rank - 1,)), (batch, batch)), None, query.dtype
    )


def weighted_sum(weights: jax.Array, value: jax.Array) -> jax.Array:
    """The sum of the values `[..., T, H, V]` by weights `[..., H, T', T]`, as `[..., T', H, V]`."""
    rank = len(value.shape)
    if not is_staged() or weights.dtype != value.dtype or weights.shape[:-3] != value.shape[:-3]:
        return jnp.einsum("...htT,...Thd->...thd", weights, value)
    leading = range(rank - 3)
    batches = ((*leading, rank - 2), (*leading, rank - 3))
    out = lax.dot_general(
        value, weights, (((rank - 3,), (rank - 1,)), batches), None, value.dtype
    )  # [..., H, V, T']
    return lax.transpose(out, (*leading, rank - 1, rank - 3, rank - 2))


@operation("dot_product_attention", operands=6)
def scaled_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None,
    mask: jax.Array | None,
    dropout_key: jax.Array | None,
    scale: float | None = None,
    is_causal: bool = False,
    implementation: str | None = None,
    scale_dtype: DTypeLike | None = None,
) -> jax.Array:
    """Attention with the numbers of dm-haiku: similarities are divided, in the dtype they have.

    Args:
      query: `[..., T', H, K]`.
      key: `[..., T, H, K]`.
      value: `[..., T, H, V]`.
      bias: none here.
      mask: booleans that broadcast to `[..., H, T', T]`; None for all.
      dropout_key: none here.
      scale: None for `1 / sqrt(K)`.
      is_causal: False here: a mask says so.
      implementation: None here.
      scale_dtype: the dtype of the square root of K.

    Returns:
      `[..., T', H, V]`.
    """
    logits = similarities(query, key)  # [..., H, T', T]
    by: Any = np.sqrt(query.shape[-1]).astype(scale_dtype or query.dtype)
    logits = lax.div(logits, by) if logits.dtype == by.dtype else logits / by
    if mask is not None:
        logits = jnp.where(mask, logits, -1e30)
    return weighted_sum(jax.nn.softmax(logits), value)


@operation("dot_product_attention", operands=6)
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
) -> jax.Array:
    """Returns for each query the sum of the values, weighted by how well their keys fit it.

    Vaswani et al. 2017, arXiv:1706.03762, equation 1.

    >>> import jax.numpy as jnp, purestate as ps
    >>> x = jnp.ones([2, 5, 4, 8])
    >>> ps.ops.dot_product_attention(x, x, x, is_causal=True).shape
    (2, 5, 4, 8)

    Args:
      query: `[B, T', H, K]`, or without B.
      key: `[B, T, G, K]`; G divides H.
      value: `[B, T, G, K]`.
      bias: is added to the similarities; broadcasts to `[B, H, T', T]`.
      mask: booleans that broadcast to `[B, H, T', T]`: which keys a query may see.
      dropout_key: a random key, for dropout on the weights.
      scale: a factor of the similarities; None for `1 / sqrt(K)`.
      is_causal: whether a query sees no key after it.
      implementation: None, "xla" or "cudnn"; see `jax.nn.dot_product_attention`.

    Returns:
      `[B, T', H, K]`.
    """
    return with_standard_promotion(
        jax.nn.dot_product_attention,
        query,
        key,
        value,
        bias=bias,
        mask=mask,
        scale=scale,
        is_causal=is_causal,
        implementation=implementation,
    )
