"""The parts of attention: similarities, masks, weights, dropout, the sum of the values."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from purestate._ops.inlined import is_staged


class AttentionCall(NamedTuple):
    """One call of attention: what `dot_product_attention` takes, in its order.

    Attributes:
      query: `[B, T, H, K]`.
      key: `[B, S, G, K]`; G divides H.
      value: `[B, S, G, V]`.
      bias: broadcasts to `[B, H, T, S]`; or None.
      mask: booleans that broadcast to `[B, H, T, S]`; or None.
      dropout_key: a random key; or None.
      scale: a factor of the similarities; None for `1 / sqrt(K)`.
      is_causal: whether a query sees no key after it.
      implementation: what computes it.
      logits_soft_cap: the bound of the logits; None for no bound.
      dropout_rate: the chance for a weight to become zero.
      softmax_dtype: the dtype of logits and softmax; None for the default.
      window: how many keys a query sees on one side, its own included; None for all.
      scale_dtype: of `scaled_attention`.
    """

    query: jax.Array
    key: jax.Array
    value: jax.Array
    bias: jax.Array | None = None
    mask: jax.Array | None = None
    dropout_key: jax.Array | None = None
    scale: float | None = None
    is_causal: bool = False
    implementation: Any = None
    logits_soft_cap: float | None = None
    dropout_rate: float = 0.0
    softmax_dtype: DTypeLike | None = None
    window: int | None = None
    scale_dtype: DTypeLike | None = None

    @property
    def factor(self) -> float:
        """The factor of the similarities."""
        return float(1 / np.sqrt(self.query.shape[-1]) if self.scale is None else self.scale)

    @property
    def drops(self) -> bool:
        """Whether weights become zero at random."""
        return self.dropout_key is not None and bool(self.dropout_rate)

    @property
    def sides(self) -> tuple[int, int] | None:
        """How many keys before and after its own a query sees; None for all."""
        if self.window is None:
            return None
        return self.window - 1, 0 if self.is_causal else self.window - 1


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


def similarities_in(query: jax.Array, key: jax.Array, dtype: Any) -> jax.Array:
    """The same, summed and returned in a dtype; H may be a multiple of the heads of the keys."""
    *leading, length, heads, size = query.shape
    grouped = query.reshape(*leading, length, key.shape[-2], -1, size)
    common: Any = jnp.promote_types(query.dtype, key.dtype)
    out = jnp.einsum(
        "...tgrk,...sgk->...grts",
        grouped.astype(common),
        key.astype(common),
        preferred_element_type=dtype,
    )
    return out.reshape(*out.shape[:-4], heads, length, key.shape[-3])


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


def grouped_sum(weights: jax.Array, value: jax.Array) -> jax.Array:
    """The same for values `[..., T, G, V]` with fewer heads than the weights."""
    heads, groups = weights.shape[-3], value.shape[-2]
    parts = weights.reshape(*weights.shape[:-3], groups, heads // groups, *weights.shape[-2:])
    out = jnp.einsum("...grts,...sgv->...tgrv", parts, value.astype(weights.dtype))
    return out.reshape(*out.shape[:-3], heads, value.shape[-1])


def with_cap_and_bias(logits: jax.Array, cap: float | None, bias: jax.Array | None) -> jax.Array:
    """Bounds the logits by `cap * tanh(logits / cap)`, and adds a bias after that."""
    if cap is not None:
        logits = cap * jnp.tanh(logits / cap)
    return logits if bias is None else logits + bias.astype(logits.dtype)


def all_masks(
    mask: jax.Array | None, is_causal: bool, window: int | None, shape: tuple[int, ...]
) -> jax.Array | None:
    """Which key a query may see, for logits of `shape`: by the mask, and by how far it is away."""
    if not is_causal and window is None:
        return mask
    queries, keys = shape[-2:]
    distance = lax.broadcasted_iota(jnp.int32, (queries, keys), 1) - lax.broadcasted_iota(
        jnp.int32, (queries, keys), 0
    )
    near: Any = distance <= 0 if is_causal else distance < (window or 0)
    if window is not None:
        near = near & (distance > -window)
    near = lax.expand_dims(near, tuple(range(len(shape) - 2)))
    if mask is None:
        return near
    return (mask if mask.dtype == bool else mask != 0) & near


def with_dropout(weights: jax.Array, key: jax.Array | None, rate: float) -> jax.Array:
    """Sets weights to zero at random, and scales up the others."""
    if key is None or not rate:
        return weights
    keep = jax.random.bernoulli(key, 1 - rate, weights.shape)
    return jnp.where(keep, weights / (1 - rate), jnp.zeros([], weights.dtype))


def scaled_weights(call: AttentionCall) -> jax.Array:
    """The weights `[..., H, T', T]` before dropout, with the numbers of dm-haiku."""
    if call.softmax_dtype is None:
        logits = similarities(call.query, call.key)
        by_dtype: Any = call.scale_dtype or call.query.dtype
    else:
        logits = similarities_in(call.query, call.key, call.softmax_dtype)
        by_dtype = call.softmax_dtype
    if call.scale is not None:
        logits = logits * np.asarray(call.scale, logits.dtype)
    else:
        by: Any = np.sqrt(call.query.shape[-1]).astype(by_dtype)
        logits = lax.div(logits, by) if logits.dtype == by.dtype else logits / by
    logits = with_cap_and_bias(logits, call.logits_soft_cap, call.bias)
    mask = all_masks(call.mask, call.is_causal, call.window, logits.shape)
    if mask is not None:
        logits = jnp.where(mask, logits, -1e30)
    weights = jax.nn.softmax(logits)
    return weights if call.softmax_dtype is None else weights.astype(call.value.dtype)


def grouped_weights(call: AttentionCall) -> jax.Array:
    """The weights `[..., H, T, S]` before dropout, in float32 or what else they are to be in."""
    dtype = call.softmax_dtype or jnp.promote_types(call.query.dtype, jnp.float32)
    logits = similarities_in(call.query, call.key, dtype)
    logits = logits * np.asarray(call.factor, logits.dtype)
    logits = with_cap_and_bias(logits, call.logits_soft_cap, call.bias)
    mask = all_masks(call.mask, call.is_causal, call.window, logits.shape)
    if mask is not None:
        # As in `jax.nn.dot_product_attention`: a query that sees no key takes the mean of all.
        logits = jnp.where(mask, logits, -0.7 * float(jnp.finfo(logits.dtype).max))
    return jax.nn.softmax(logits)


def grouped_attention(call: AttentionCall) -> jax.Array:
    """Attention of `[..., T, H, K]` with every option, by products that XLA compiles."""
    weights = grouped_weights(call).astype(call.value.dtype)
    return grouped_sum(with_dropout(weights, call.dropout_key, call.dropout_rate), call.value)


def with_one_batch(call: AttentionCall) -> AttentionCall:
    """Joins the leading axes of all operands into one, `B`; the mask becomes booleans."""
    leading = call.query.shape[:-3]
    size = math.prod(leading)

    def joined(x: jax.Array) -> jax.Array:
        if len(leading) == 1 and x.shape[:-3] == leading:
            return x
        return jnp.broadcast_to(x, (*leading, *x.shape[-3:])).reshape(size, *x.shape[-3:])

    def joined_if_any(x: jax.Array | None) -> jax.Array | None:
        if x is None or (len(leading) == 1 and x.ndim == 4):
            return x
        return joined(x.reshape((1,) * (3 - x.ndim) + x.shape))

    mask = call.mask
    if mask is not None and mask.dtype != bool:
        mask = mask != 0
    return call._replace(
        query=joined(call.query),
        key=joined(call.key),
        value=joined(call.value),
        bias=joined_if_any(call.bias),
        mask=joined_if_any(mask),
    )
