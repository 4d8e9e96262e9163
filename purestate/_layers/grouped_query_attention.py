"""Attention whose query heads share keys and values in groups, with a cache for decoding."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from purestate._core.module import Module, transparent
from purestate._core.variables import Initializer, get_state, set_state
from purestate._layers.attention_masks import causal_mask, combine_masks
from purestate._layers.errors import LayerError, check_bool, not_an_array
from purestate._layers.linear import Linear
from purestate._layers.rotary_embedding import rotary_embedding
from purestate._layers.rotary_embedding import rotary_frequencies as frequencies_of
from purestate._ops.attention import dot_product_attention


def _as_int(value: jax.Array) -> int | None:
    """The number that a scalar holds; None while it is traced."""
    try:
        return int(value)
    except jax.errors.ConcretizationTypeError:
        return None


class GroupedQueryAttention(Module):
    """Self-attention in which groups of query heads share keys and values.

    Ainslie et al. 2023, arXiv:2305.13245. With `num_kv_heads=1` it is multi-query attention
    (Shazeer 2019, arXiv:1911.02150), with as many as query heads plain multi-head attention
    (Vaswani et al. 2017, arXiv:1706.03762).

    With `cache_size` it keeps the keys and values of all steps so far as state, and a call with one
    or more new steps attends to these and to what came before: the same outputs as all steps at
    once, with a causal mask. The parameters are the same with and without.

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
      implementation: None, "xla" or "cudnn"; see `jax.nn.dot_product_attention`.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.

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
        implementation: Literal["xla", "cudnn"] | None = None,
        name: str | None = None,
        param_dtype: DTypeLike | None = None,
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
        self.implementation: Literal["xla", "cudnn"] | None = implementation
        self.param_dtype = param_dtype
        what = f"GroupedQueryAttention {self.module_name!r}"
        if self.num_kv_heads < 1 or num_heads % self.num_kv_heads:
            raise LayerError(
                f"{what}: {num_heads} query heads cannot be shared out among"
                f" num_kv_heads={num_kv_heads}; it has to divide them."
            )
        if rotary_base is not None and rotary_frequencies is not None:
            raise LayerError(
                f"{what}: rotary_base={rotary_base} has no effect beside rotary_frequencies. Pass"
                " one of them; ps.rotary_frequencies takes a base."
            )
        is_rotary = rotary_base is not None or rotary_frequencies is not None
        if is_rotary and key_size % 2:
            raise LayerError(
                f"{what}: a rotary embedding turns pairs of features, so key_size={key_size} has to"
                " be even."
            )
        if rotary_base is not None:
            rotary_frequencies = frequencies_of(key_size, rotary_base)
        self.rotary_frequencies = rotary_frequencies
        if cache_size is not None and cache_size < 1:
            raise LayerError(
                f"{what}: a cache keeps at least one step, got cache_size={cache_size}; None is for"
                " no cache."
            )
        if implementation not in (None, "xla", "cudnn"):
            raise LayerError(
                f"{what}: implementation has to be None, 'xla' or 'cudnn', got {implementation!r}."
            )

    def __call__(
        self,
        inputs: jax.Array,
        mask: jax.Array | None = None,
        *,
        is_causal: bool = False,
        positions: ArrayLike | None = None,
    ) -> jax.Array:
        """Returns for each step the values that it attends to, projected to `out_size`.

        Args:
          inputs: `[B, T, D]`, or `[T, D]`.
          mask: booleans that broadcast to `[B, H, T, S]` (`[H, T, S]` without a batch): which steps
            a step may see. S is T, or with a cache its size.
          is_causal: whether a step sees none of those after it; with a cache it never does.
          positions: of the steps, for the rotary embedding, `[T]` or `[B, T]`; None to count from
            0, or with a cache from where it has got to.

        Returns:
          `[B, T, out_size]`, or `[T, out_size]`. Where the cache is too small, and that cannot be
          seen before it runs, as under `jax.jit`: NaN.

        Raises:
          LayerError: the shapes do not fit, or the cache is too small.
        """
        if is_causal.__class__ is not bool:
            check_bool(self, "is_causal", is_causal)
        self._check_inputs(inputs, positions)
        *leading, length, input_size = inputs.shape
        query = self._heads(inputs, self.num_heads, "query")
        key = self._heads(inputs, self.num_kv_heads, "key")
        value = self._heads(inputs, self.num_kv_heads, "value")
        start: int | jax.Array = 0 if self.cache_size is None else self._start(length)
        if self.rotary_frequencies is not None:
            if positions is None:
                positions = start + jnp.arange(length)
            query = rotary_embedding(query, positions, frequencies=self.rotary_frequencies)
            key = rotary_embedding(key, positions, frequencies=self.rotary_frequencies)
        if mask is not None:
            mask = self._checked_mask(
                mask, (*leading, self.num_heads, length, self.cache_size or length)
            )
        if self.cache_size is not None:
            key, value = (
                self._add_to_cache("cached_keys", key, start),
                self._add_to_cache("cached_values", value, start),
            )
            set_state("position", start + length)
            is_causal, seen = False, causal_mask(length, self.cache_size, start)
            mask = combine_masks(seen if leading else seen[0], mask)
        out = dot_product_attention(
            query, key, value, None, mask, None, None, is_causal, self.implementation
        )
        if self.cache_size is not None:
            out = jnp.where(start + length > self.cache_size, jnp.nan, out)
        out = lax.reshape(out, (*leading, length, self.num_heads * self.key_size))
        return self._linear(self.out_size or input_size, "output")(out)

    @transparent
    def _linear(self, size: int, name: str) -> Linear:
        return Linear(
            size, self.with_bias, self.w_init, self.b_init, name, param_dtype=self.param_dtype
        )

    @transparent
    def _heads(self, inputs: jax.Array, num_heads: int, name: str) -> jax.Array:
        """Projects `[..., T, D]` to `[..., T, num_heads, K]`."""
        out = self._linear(num_heads * self.key_size, name)(inputs)
        return lax.reshape(out, (*inputs.shape[:-1], num_heads, self.key_size))

    @transparent
    def _start(self, length: int) -> jax.Array:
        """The position in the cache of the first of `length` new steps."""
        start = get_state("position", (), jnp.int32, jnp.zeros)
        size, used = self.cache_size or 0, _as_int(start)
        if length + (used or 0) > size:
            raise LayerError(
                f"GroupedQueryAttention {self.module_name!r} keeps cache_size={size} steps;"
                f" {used or 0} are there, so that there is no room for {length} more. Give it a"
                " larger cache_size, or begin anew with the state that `init` returned."
            )
        return start

    @transparent
    def _add_to_cache(self, name: str, new: jax.Array, start: int | jax.Array) -> jax.Array:
        """Writes the new steps `[..., T, H, K]` into the cache, and returns all of it."""
        shape: tuple[Any, ...] = (*new.shape[:-3], self.cache_size, *new.shape[-2:])
        cache = get_state(name, shape, new.dtype, jnp.zeros)
        if cache.shape != shape:
            raise LayerError(
                f"GroupedQueryAttention {self.module_name!r}: the state {name!r} has shape"
                f" {cache.shape}, but {shape} is needed for this input. A cache is for one batch"
                " and one cache_size: make a state for them with `init`."
            )
        cache = lax.dynamic_update_slice_in_dim(cache, new.astype(cache.dtype), start, new.ndim - 3)
        set_state(name, cache)
        return cache.astype(new.dtype)

    @transparent
    def _check_inputs(self, inputs: jax.Array, positions: ArrayLike | None) -> None:
        try:
            rank = len(inputs.shape)
        except AttributeError:
            raise not_an_array(self, inputs) from None
        if rank not in (2, 3):
            raise LayerError(
                f"GroupedQueryAttention {self.module_name!r} needs an input [B, T, D] or [T, D],"
                f" got shape {inputs.shape}."
            )
        if positions is not None and self.rotary_frequencies is None:
            raise LayerError(
                f"GroupedQueryAttention {self.module_name!r} was given positions, but has no use"
                " for them: pass rotary_base too."
            )

    @transparent
    def _checked_mask(self, mask: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Returns the mask with the axes of `shape`, `[B, H, T, S]` or `[H, T, S]`."""
        try:
            rank = mask.ndim
        except AttributeError:
            raise not_an_array(self, mask, "its mask") from None
        if len(shape) == 3 and rank == 4 and mask.shape[0] == 1:
            mask = mask[0]  # as the functions that make masks return them
        if (
            mask.dtype != bool
            or mask.ndim != len(shape)
            or any(m not in (1, n) for m, n in zip(mask.shape, shape, strict=True))
        ):
            raise LayerError(
                f"GroupedQueryAttention {self.module_name!r} was given a mask of {mask.dtype} and"
                f" shape {np.shape(mask)}; here it has to be bool and {shape}, or to have ones in"
                " it: [B, H, T, S], where S is T or, with a cache, its size. For one mask [T, S]"
                " write mask[None, None]; for one per row, [B, T, S], write mask[:, None]."
            )
        return mask
