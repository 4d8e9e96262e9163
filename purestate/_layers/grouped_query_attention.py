"""Attention whose query heads share keys and values in groups, with a cache for decoding."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from purestate._core.module import Module, transparent
from purestate._core.variables import Initializer, set_state
from purestate._layers.attention_masks import combine_masks, segment_mask
from purestate._layers.attention_options import (
    QKNorm,
    dropout_options,
    mask_of_segments,
    options_of_attention,
    qk_normalized,
)
from purestate._layers.errors import LayerError, check_bool
from purestate._layers.grouped_query_inputs import (
    check_inputs,
    check_keys_values,
    fitted,
    frequencies_for,
)
from purestate._layers.key_value_cache import (
    Growing,
    Ring,
    kept_from_the_first_call,
    start_of_steps,
)
from purestate._layers.linear import Linear
from purestate._layers.rotary_embedding import rotary_embedding
from purestate._ops.attention import dot_product_attention

_NO_OPTIONS = (None, 0.0, None, None, None, None, None)


class GroupedQueryAttention(Module):
    """Attention in which groups of query heads share keys and values.

    Ainslie et al. 2023, arXiv:2305.13245. With `num_kv_heads=1` it is multi-query attention
    (Shazeer 2019, arXiv:1911.02150), with as many as query heads plain multi-head attention
    (Vaswani et al. 2017, arXiv:1706.03762).

    With `cache_size` it keeps the keys and values of all steps so far as state, and a call with one
    or more new steps attends to these and to what came before: the same outputs as all steps at
    once, with a causal mask. With a `window` too, the cache is a ring that keeps the last steps. In
    cross-attention, to `keys_values` of another sequence, it keeps their projections from the first
    call on. The parameters are the same with and without.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def attend(x):
    ...     return ps.GroupedQueryAttention(4, 8, num_kv_heads=2, cache_size=16)(x)
    >>> f = ps.transform_with_state(attend)
    >>> x = jnp.ones([2, 5, 12])
    >>> params, state = f.init(jax.random.key(0), x)
    >>> out, state = f.apply(params, state, None, x)  # the prompt
    >>> out, state = f.apply(params, state, None, x[:, :1])  # one more step
    >>> out.shape, int(state["grouped_query_attention"]["position"])
    ((2, 1, 12), 6)

    Args:
      num_heads: H, the number of query heads.
      key_size: K, the size of the queries, keys and values of one head.
      num_kv_heads: the number of heads of keys and values, by which `num_heads` can be divided;
        None for `num_heads`.
      out_size: the size of the output; None for that of the input.
      with_bias: whether the projections have biases.
      w_init: the initializer of the weights; see `Linear`.
      b_init: the initializer of the biases; see `Linear`.
      rotary_base: the base of a `rotary_embedding` of queries and keys, such as 10000; None for no
        embedding.
      rotary_frequencies: in place of a base the frequencies themselves, `[K / 2]`, as the function
        of that name returns them.
      cache_size: how many steps to keep for decoding; None for no cache.
      implementation: what computes attention; see `ps.ops.dot_product_attention`.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.
      window: a step sees only so many steps, itself and those before it (Beltagy et al. 2020,
        arXiv:2004.05150); None for all. A cache has at least this size.
      logits_soft_cap: see `MultiHeadAttention`.
      dropout_rate: see `MultiHeadAttention`.
      qk_norm: see `MultiHeadAttention`; comes before the rotary embedding.
      softmax_dtype: the dtype of logits and softmax; None for float32.
      scale: a factor of the logits, such as `ps.yarn_scale` returns; None for `1 / sqrt(K)`.

    Raises:
      LayerError: the options do not fit each other.
    """

    def __init__(
        self,
        num_heads: int,
        key_size: int,
        num_kv_heads: int | None = None,
        *,
        out_size: int | None = None,
        with_bias: bool = False,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        rotary_base: float | None = None,
        rotary_frequencies: ArrayLike | None = None,
        cache_size: int | None = None,
        implementation: Any = None,
        name: str | None = None,
        param_dtype: DTypeLike | None = None,
        window: int | None = None,
        logits_soft_cap: float | None = None,
        dropout_rate: float = 0.0,
        qk_norm: QKNorm | None = None,
        softmax_dtype: DTypeLike | None = None,
        scale: float | None = None,
    ):
        super().__init__(name=name)
        if with_bias.__class__ is not bool:
            check_bool(self, "with_bias", with_bias)
        self.num_heads = num_heads
        self.key_size = key_size
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        self.out_size = out_size
        self.with_bias = with_bias
        self.w_init = w_init
        self.b_init = b_init
        self.rotary_base = rotary_base
        self.cache_size = cache_size
        self.implementation = implementation
        self.param_dtype = param_dtype
        self.window = window
        self.qk_norm: QKNorm | None = qk_norm
        self.dropout_rate = dropout_rate
        self._options: dict[str, Any] = {}
        what = f"GroupedQueryAttention {self.module_name!r}"
        given = (
            logits_soft_cap, dropout_rate, implementation, qk_norm, softmax_dtype, scale, window,
        )  # fmt: skip
        if dropout_rate.__class__ is not float or given != _NO_OPTIONS:
            self._options = options_of_attention(what, *given)
        if self.num_kv_heads < 1 or num_heads % self.num_kv_heads:
            raise LayerError(
                f"{what}: {num_heads} query heads cannot be shared out among"
                f" num_kv_heads={num_kv_heads}; it has to divide them."
            )
        self.rotary_frequencies = frequencies_for(what, key_size, rotary_base, rotary_frequencies)
        if cache_size is not None and cache_size < (window or 1):
            least = "at least one step" if window is None else f"all steps of window={window}"
            raise LayerError(
                f"{what}: a cache keeps {least}, got cache_size={cache_size}; None is for no cache."
            )

    def __call__(
        self,
        inputs: jax.Array,
        mask: jax.Array | None = None,
        *,
        is_causal: bool = False,
        positions: ArrayLike | None = None,
        keys_values: jax.Array | None = None,
        bias: jax.Array | None = None,
        segment_ids: jax.Array | tuple[jax.Array, jax.Array] | None = None,
        is_training: bool = False,
    ) -> jax.Array:
        """Returns for each step the values that it attends to, projected to `out_size`.

        Args:
          inputs: `[B, T, D]`, or `[T, D]`.
          mask: booleans that broadcast to `[B, H, T, S]` (`[H, T, S]` without a batch): which steps
            a step may see. S is T, or with a cache its size.
          is_causal: whether a step sees none of those after it; with a cache or a window it never
            does.
          positions: of the steps, for the rotary embedding, `[T]` or `[B, T]`; None to count from
            0, or with a cache from where it has got to.
          keys_values: for cross-attention, what keys and values are made of, `[B, S, D']`; None for
            `inputs`. With a cache, which is of size S, they are made in the first call and kept:
            other `keys_values` in a later call have no effect.
          bias: is added to the logits; its axes are those of `mask`.
          segment_ids: of packed sequences, integers `[B, T]`: a step sees those of its own segment.
            With a cache they are kept too. With `keys_values` a pair, `([B, T], [B, S])`.
          is_training: whether weights are dropped, at `dropout_rate`, with a key of
            `ps.next_rng_key("dropout")`.

        Returns:
          `[B, T, out_size]`, or `[T, out_size]`. NaN if the cache is too small, and that cannot be
          seen before it runs, as under `jax.jit`.

        Raises:
          LayerError: the shapes do not fit, or the cache is too small.
          MissingRNGError: weights are dropped, and a random key is missing.
        """
        if is_causal.__class__ is not bool:
            check_bool(self, "is_causal", is_causal)
        if is_training.__class__ is not bool:
            check_bool(self, "is_training", is_training)
        check_inputs(self, inputs, positions, self.rotary_frequencies is not None)
        *leading, length, input_size = inputs.shape
        query = self._heads(inputs, self.num_heads, "query")
        if keys_values is not None:
            counts = {
                "is_causal": is_causal,
                "a window": self.window is not None,
                "a rotary embedding": self.rotary_frequencies is not None,
            }
            check_keys_values(self, inputs, keys_values, counts)
            key, value = self._keys_values_from(keys_values)
            mask, bias = self._checked(mask, bias, (*leading, length, keys_values.shape[-2]))
            if segment_ids is not None:
                what = f"GroupedQueryAttention {self.module_name!r}"
                same = mask_of_segments(what, segment_ids, inputs.shape, keys_values.shape)
                mask = combine_masks(mask, same)
            out = self._attended(query, key, value, bias, mask, False, is_training)
        else:
            key = self._heads(inputs, self.num_kv_heads, "key")
            value = self._heads(inputs, self.num_kv_heads, "value")
            out = self._over_steps(
                query, key, value, mask, bias, is_causal, positions, segment_ids, is_training
            )
        out = lax.reshape(out, (*leading, length, self.num_heads * self.key_size))
        return self._linear(self.out_size or input_size, "output")(out)

    @transparent
    def _over_steps(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        mask: jax.Array | None,
        bias: jax.Array | None,
        is_causal: bool,
        positions: ArrayLike | None,
        segment_ids: Any,
        is_training: bool,
    ) -> jax.Array:
        """Self-attention of `[..., T, H, K]`, to the steps of a cache too if there is one."""
        what, size = f"GroupedQueryAttention {self.module_name!r}", self.cache_size
        *leading, length, _, _ = query.shape
        is_ring = size is not None and self.window is not None
        start: Any = 0 if size is None else start_of_steps(what, length, size, is_ring=is_ring)
        if self.rotary_frequencies is not None:
            at = start + jnp.arange(length) if positions is None else positions
            query = rotary_embedding(query, at, frequencies=self.rotary_frequencies)
            key = rotary_embedding(key, at, frequencies=self.rotary_frequencies)
        if is_ring and (mask is not None or bias is not None):
            name = "bias" if mask is None else "mask"
            raise LayerError(
                f"{what} keeps its last steps in a ring, in which a {name} has no order. Hide"
                " padding by segment_ids, with an id of its own."
            )
        mask, bias = self._checked(mask, bias, (*leading, length, size or length))
        same: jax.Array | None = None
        if segment_ids is not None:
            shape = (*leading, length, 1)
            same = mask_of_segments(what, segment_ids, shape, shape)
        if size is None:
            mask = combine_masks(mask, same) if same is not None else mask
            is_causal = is_causal or self.window is not None
            return self._attended(query, key, value, bias, mask, is_causal, is_training)
        set_state("position", start + length)
        axis = len(leading)
        steps = (
            Growing(what, start, length, size)
            if self.window is None
            else Ring(what, start, length, size, self.window)
        )
        add = steps.add
        seen = steps.mask[(None,) * (len(leading) + 1)]
        key, value = add("cached_keys", key, axis), add("cached_values", value, axis)
        if segment_ids is not None:
            ids = jnp.broadcast_to(jnp.asarray(segment_ids), (*leading, length))
            same = segment_mask(ids, add("cached_segments", ids, axis))
            mask = combine_masks(mask, same if leading else same[0])
        mask = combine_masks(seen, mask)
        out = self._attended(query, key, value, bias, mask, False, is_training)
        return out if is_ring else jnp.where(start + length > size, jnp.nan, out)

    @transparent
    def _attended(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        bias: jax.Array | None,
        mask: jax.Array | None,
        is_causal: bool,
        is_training: bool,
    ) -> jax.Array:
        dropout_key, options = None, self._options
        if is_training:
            dropout_key, more = dropout_options(self.dropout_rate, is_training)
            options = {**options, **more}
        if self.window is not None and not is_causal:  # the mask knows it
            options = {name: value for name, value in options.items() if name != "window"}
        return dot_product_attention(
            query, key, value, bias, mask, dropout_key, is_causal=is_causal, **options
        )

    @transparent
    def _keys_values_from(self, source: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Projects keys and values, or returns those of the first call."""

        def projected() -> tuple[jax.Array, jax.Array]:
            return (
                self._heads(source, self.num_kv_heads, "key"),
                self._heads(source, self.num_kv_heads, "value"),
            )

        if self.cache_size is None:
            return projected()
        shape = (*source.shape[:-1], self.num_kv_heads, self.key_size)
        what = f"GroupedQueryAttention {self.module_name!r}"
        return kept_from_the_first_call(what, self.cache_size, shape, source.dtype, projected)

    @transparent
    def _checked(
        self, mask: jax.Array | None, bias: jax.Array | None, shape: tuple[int, ...]
    ) -> tuple[jax.Array | None, jax.Array | None]:
        """Returns mask and bias with the axes of `[B, H, T, S]`; `shape` is `[B, T, S]`."""
        if mask is None and bias is None:
            return None, None
        full = (*shape[:-2], self.num_heads, *shape[-2:])
        return (
            None if mask is None else fitted(self, mask, full, "mask"),
            None if bias is None else fitted(self, bias, full, "bias"),
        )

    @transparent
    def _linear(self, size: int, name: str) -> Linear:
        return Linear(
            size, self.with_bias, self.w_init, self.b_init, name, param_dtype=self.param_dtype
        )

    @transparent
    def _heads(self, inputs: jax.Array, num_heads: int, name: str) -> jax.Array:
        """Projects `[..., T, D]` to `[..., T, num_heads, K]`."""
        out = self._linear(num_heads * self.key_size, name)(inputs)
        out = lax.reshape(out, (*inputs.shape[:-1], num_heads, self.key_size))
        if self.qk_norm is None or name == "value":
            return out
        return qk_normalized(self.qk_norm, out, f"{name}_norm")
