"""Multi-head attention."""

import warnings
from typing import TYPE_CHECKING, Any

import jax
from jax import lax
from jax.typing import DTypeLike

from purestate._core.module import Module, transparent
from purestate._core.variables import Initializer
from purestate._layers.errors import LayerError, check_bool, not_an_array
from purestate._layers.initializers import VarianceScaling
from purestate._layers.linear import Linear
from purestate._ops.attention import scaled_attention

if TYPE_CHECKING:  # what follows is imported if an option is set
    from purestate._layers.attention_options import QKNorm

_NO_OPTIONS = (None, 0.0, None, None, None)


def _broadcasts_to(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(
        a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False)
    )


class MultiHeadAttention(Module):
    """Lets each query take up values, by how well their keys fit it; several times side by side.

    Vaswani et al. 2017, arXiv:1706.03762.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     causal = jnp.tril(jnp.ones([1, 5, 5], bool))
    ...     init = ps.initializers.VarianceScaling()
    ...     return ps.MultiHeadAttention(2, 4, w_init=init)(x, x, x, causal)
    >>> g = ps.transform(f)
    >>> x = jnp.ones([5, 3])
    >>> params = g.init(jax.random.key(0), x)
    >>> params["multi_head_attention/query"]["w"].shape, g.apply(params, None, x).shape
    ((3, 8), (5, 8))

    Args:
      num_heads: H, how many attentions there are side by side.
      key_size: K, the size of the keys and queries of one head.
      w_init_scale: deprecated; the scale of a `VarianceScaling` initializer of the weights.
      w_init: the initializer of the weights.
      with_bias: whether the projections have biases.
      b_init: the initializer of the biases; None for zeros.
      value_size: V, the size of the values of one head; None for `key_size`.
      model_size: the size of the output; None for `key_size * num_heads`.
      name: the name of the module.
      param_dtype: the dtype of the parameters; None for that of the input.
      logits_soft_cap: bounds the logits by `cap * tanh(logits / cap)` (Gemma Team 2024,
        arXiv:2408.00118, section 2); None for no bound.
      dropout_rate: the chance for a weight of attention to become zero in training.
      softmax_dtype: the dtype of logits and softmax, such as float32 in a bfloat16 model; None for
        that of the projections.
      qk_norm: normalizes queries and keys per head, with a learned scale (Dehghani et al. 2023,
        arXiv:2302.05442): "rms", "layer", or a function that makes a norm for the name of a module;
        None for no norm.
      implementation: what computes attention; see `ps.ops.dot_product_attention`.

    Raises:
      LayerError: neither `w_init` nor `w_init_scale` is given, or both; or an option does not fit.
    """

    def __init__(
        self,
        num_heads: int,
        key_size: int,
        w_init_scale: float | None = None,
        *,
        w_init: Initializer | None = None,
        with_bias: bool = True,
        b_init: Initializer | None = None,
        value_size: int | None = None,
        model_size: int | None = None,
        name: str | None = None,
        param_dtype: DTypeLike | None = None,
        logits_soft_cap: float | None = None,
        dropout_rate: float = 0.0,
        softmax_dtype: DTypeLike | None = None,
        qk_norm: "QKNorm | None" = None,
        implementation: Any = None,
    ):
        super().__init__(name=name)
        if with_bias.__class__ is not bool:
            check_bool(self, "with_bias", with_bias)
        self.qk_norm: Any = qk_norm
        self.dropout_rate = dropout_rate
        self._options: dict[str, Any] = {}
        given = (logits_soft_cap, dropout_rate, implementation, qk_norm, softmax_dtype)
        if dropout_rate.__class__ is not float or given != _NO_OPTIONS:
            from purestate._layers.attention_options import options_of_attention

            what = f"MultiHeadAttention {self.module_name!r}"
            self._options = options_of_attention(what, *given)
        self.param_dtype = param_dtype
        # Left out where it says nothing, so that the projections look as they do in dm-haiku.
        self._kept: dict[str, Any] = {} if param_dtype is None else {"param_dtype": param_dtype}
        self.num_heads = num_heads
        self.key_size = key_size
        self.value_size = value_size or key_size
        self.model_size = model_size or key_size * num_heads
        if w_init_scale is not None:
            warnings.warn(
                "MultiHeadAttention: w_init_scale is deprecated; write"
                " w_init=ps.initializers.VarianceScaling(scale).",
                DeprecationWarning,
                stacklevel=3,
            )
        if w_init is None:
            if w_init_scale is None:
                raise LayerError(
                    "MultiHeadAttention needs w_init, such as"
                    " w_init=ps.initializers.VarianceScaling()."
                )
            w_init = VarianceScaling(w_init_scale)
        elif w_init_scale:
            raise LayerError(
                "MultiHeadAttention was given w_init and w_init_scale; leave out w_init_scale."
            )
        self.w_init = w_init
        self.with_bias = with_bias
        self.b_init = b_init

    def __call__(
        self,
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        mask: jax.Array | None = None,
        *,
        bias: jax.Array | None = None,
        segment_ids: jax.Array | tuple[jax.Array, jax.Array] | None = None,
        is_training: bool = False,
    ) -> jax.Array:
        """Returns for each query the values that it attends to, projected to `model_size`.

        Args:
          query: `[..., T', D_q]`.
          key: `[..., T, D_k]`.
          value: `[..., T, D_v]`.
          mask: `[..., H or 1, T' or 1, T]`, with as many axes as `query` and one more: where it is
            True (or not zero) a query may see a key.
          bias: is added to the logits; its axes are those of `mask`.
          segment_ids: of packed sequences, integers `[..., T]`: a query sees the keys of its own
            segment. A pair of these for queries and keys of other lengths.
          is_training: whether weights are dropped, at `dropout_rate`, with a key of
            `ps.next_rng_key("dropout")`.

        Returns:
          `[..., T', model_size]`.

        Raises:
          LayerError: the shapes do not fit each other.
          MissingRNGError: weights are dropped, and a random key is missing.
        """
        try:
            shape = query.shape
        except AttributeError:
            raise not_an_array(self, query, "its query") from None
        if len(shape) < 2:
            raise LayerError(
                f"MultiHeadAttention {self.module_name!r} needs a query with a time axis, [..., T',"
                f" D_q], got shape {shape}."
            )
        *leading_dims, query_length, _ = shape
        query_heads = self._linear_projection(query, self.key_size, "query")
        key_heads = self._linear_projection(key, self.key_size, "key")
        value_heads = self._linear_projection(value, self.value_size, "value")
        self._check_fit(shape, key.shape, value.shape)

        if self.qk_norm is not None:
            from purestate._layers.attention_options import qk_normalized

            query_heads = qk_normalized(self.qk_norm, query_heads, "query_norm")
            key_heads = qk_normalized(self.qk_norm, key_heads, "key_norm")
        if mask is not None or bias is not None:
            logits_shape = (*leading_dims, self.num_heads, query_length, key.shape[-2])
            self._check_masks(mask, bias, logits_shape)
        if segment_ids is not None:
            from purestate._layers.attention_options import mask_of_segments, seen_in_both

            what = f"MultiHeadAttention {self.module_name!r}"
            same = mask_of_segments(what, segment_ids, shape, key.shape)
            mask = same if mask is None else seen_in_both(mask, same)
        dropout_key, options = None, self._options
        if is_training.__class__ is not bool:
            check_bool(self, "is_training", is_training)
        if is_training:
            from purestate._layers.attention_options import dropout_options

            dropout_key, more = dropout_options(self.dropout_rate, is_training)
            options = {**options, **more}
        # In the dtype of the keys, and not of the logits, as in dm-haiku: the same bits.
        attended = scaled_attention(
            query_heads, key_heads, value_heads, bias, mask, dropout_key,
            scale_dtype=key.dtype, **options,
        )  # [..., T', H, V]  # fmt: skip
        attended = lax.reshape(
            attended, (*leading_dims, query_length, self.num_heads * self.value_size)
        )
        return Linear(
            self.model_size,
            w_init=self.w_init,
            with_bias=self.with_bias,
            b_init=self.b_init,
            **self._kept,
        )(attended)

    @transparent
    def _linear_projection(
        self, x: jax.Array, head_size: int, name: str | None = None
    ) -> jax.Array:
        """Projects `[..., D]` to `[..., H, head_size]`."""
        size = self.num_heads * head_size
        y = Linear(
            size,
            w_init=self.w_init,
            with_bias=self.with_bias,
            b_init=self.b_init,
            name=name,
            **self._kept,
        )(x)
        return lax.reshape(y, (*x.shape[:-1], self.num_heads, head_size))

    @transparent
    def _check_fit(
        self, query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...]
    ) -> None:
        # A key or value with a batch that the query has not would end up among the features of the
        # output.
        leading = query[:-2]
        if key[:-1] == value[:-1] and leading == key[:-2]:
            return
        if len(key) < 2 or len(value) < 2 or key[-2] != value[-2]:
            problem = "key and value have to be of one length T"
        elif not (_broadcasts_to(key[:-2], leading) and _broadcasts_to(value[:-2], leading)):
            problem = (
                "the leading axes of key and value have to be those of query, or to broadcast to"
                " them"
            )
        else:
            return
        raise LayerError(
            f"MultiHeadAttention {self.module_name!r} was given a query of shape {query}, a key of"
            f" {key} and a value of {value}: {problem}. They are [..., T', D_q], [..., T, D_k] and"
            " [..., T, D_v]."
        )

    @transparent
    def _check_masks(self, mask: Any, bias: Any, logits: tuple[int, ...]) -> None:
        for name, given in (("mask", mask), ("bias", bias)):
            if given is None:
                continue
            try:
                shape = given.shape
            except AttributeError:
                raise not_an_array(self, given, f"its {name}") from None
            if len(shape) == len(logits) and _broadcasts_to(shape, logits):
                continue
            raise LayerError(
                f"MultiHeadAttention {self.module_name!r} was given a {name} of shape {shape}; here"
                f" it has to be {logits}, or to have ones in it: [..., H, T', T], with the axes of"
                f" query and one more. For one {name} [T', T] write {name}[None] (or"
                f" {name}[None, None], for a query with a batch); for one per batch, [B, T', T],"
                f" write {name}[:, None]."
            )
