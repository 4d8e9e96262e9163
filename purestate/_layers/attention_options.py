"""Options that both attention layers have: checks, norms of queries and keys, random keys."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.rng import next_rng_key
from purestate._layers.attention_masks import segment_mask
from purestate._layers.errors import LayerError, not_an_array
from purestate._layers.layer_norm import LayerNorm
from purestate._layers.rms_norm import RMSNorm

QKNorm = Literal["rms", "layer"] | Callable[[str], Callable[[jax.Array], jax.Array]]
"""A norm of queries and keys: its name, or a function that makes it for the name of a module."""


def options_of_attention(
    what: str,
    logits_soft_cap: Any = None,
    dropout_rate: Any = 0.0,
    implementation: Any = None,
    qk_norm: Any = None,
    softmax_dtype: Any = None,
    scale: Any = None,
    window: Any = None,
) -> dict[str, Any]:
    """Returns the options of the operation that are set; raises if one of them cannot be.

    Args:
      what: the layer, for messages.
    """
    if logits_soft_cap is not None and not _is_number(logits_soft_cap, above=0):
        raise LayerError(
            f"{what}: logits_soft_cap bounds the logits, so it is a number above 0, or None; got"
            f" {logits_soft_cap!r}."
        )
    if not _is_number(dropout_rate, above=-1) or not 0 <= dropout_rate < 1:
        raise LayerError(
            f"{what}: dropout_rate is the chance for a weight to become zero, a Python number of at"
            f" least 0 and less than 1; got {dropout_rate!r}."
        )
    if scale is not None and not _is_number(scale, above=-np.inf):
        raise LayerError(f"{what}: scale is a Python number, or None; got {scale!r}.")
    if window is not None and (not isinstance(window, (int, np.integer)) or window < 1):
        raise LayerError(
            f"{what}: a step sees at least itself, window=1; got window={window!r}. None is for all"
            " steps."
        )
    if implementation is not None:
        from purestate._ops.attention_kernels import how_to_say, is_implementation

        if not is_implementation(implementation):
            raise LayerError(f"{what}: {how_to_say(implementation)}")
    if isinstance(qk_norm, str) and qk_norm not in ("rms", "layer"):
        raise LayerError(
            f"{what}: qk_norm takes 'rms', 'layer', or a function that makes a norm for a name,"
            f" such as lambda name: ps.RMSNorm(-1, eps=1e-6, name=name); got {qk_norm!r}."
        )
    options = {
        "logits_soft_cap": None if logits_soft_cap is None else float(logits_soft_cap),
        "implementation": implementation,
        "softmax_dtype": None if softmax_dtype is None else jnp.dtype(softmax_dtype),
        "scale": None if scale is None else float(scale),
        "window": None if window is None else int(window),
    }
    return {name: value for name, value in options.items() if value is not None}


def _is_number(value: Any, above: float) -> bool:
    return isinstance(value, (int, float, np.number)) and bool(value > above)


def qk_normalized(qk_norm: QKNorm, x: jax.Array, name: str) -> jax.Array:
    """Normalizes queries or keys `[..., T, H, K]` per head, with one scale `[K]` for all heads.

    Dehghani et al. 2023, arXiv:2302.05442, section 2.1.
    """
    if qk_norm == "rms":
        return RMSNorm(-1, name=name)(x)
    if qk_norm == "layer":
        return LayerNorm(-1, create_scale=True, create_offset=False, name=name)(x)
    return qk_norm(name)(x)


def dropout_options(rate: float, is_training: bool) -> tuple[jax.Array | None, dict[str, Any]]:
    """Returns a random key and the options for dropout; nothing unless values are dropped."""
    if not is_training or not rate:
        return None, {}
    return next_rng_key("dropout"), {"dropout_rate": float(rate)}


def mask_of_segments(
    what: str, segment_ids: Any, query: tuple[int, ...], key: tuple[int, ...]
) -> jax.Array:
    """Returns the mask of segment ids, with the axes of a mask for queries `[..., T', D]`.

    Args:
      what: the layer, for messages.
      segment_ids: `[..., T]`, or a pair of these, for queries and keys.
      query: the shape of the queries.
      key: the shape of the keys.
    """
    is_pair = isinstance(segment_ids, (tuple, list)) and len(segment_ids) == 2
    ids: Any = segment_ids if is_pair else (segment_ids, segment_ids)
    for part, shape, name in zip(ids, (query, key), ("queries", "keys"), strict=True):
        if not hasattr(part, "shape"):
            raise not_an_array(what, part, "its segment_ids")
        fits = part.ndim == len(shape) - 1 and all(
            n in (1, m) for n, m in zip(part.shape[:-1], shape[:-2], strict=True)
        )
        if not fits or part.shape[-1] != shape[-2] or not jnp.issubdtype(part.dtype, jnp.integer):
            raise LayerError(
                f"{what} was given segment_ids of {part.dtype} and shape {part.shape} for the"
                f" {name}; here they are integers of shape {shape[:-1]}. For other keys"
                " pass a pair, (ids of the queries, ids of the keys)."
            )
    mask = segment_mask(jnp.asarray(ids[0]), jnp.asarray(ids[1]))
    return mask if len(query) > 2 else mask[0]


def seen_in_both(mask: jax.Array, other: jax.Array) -> jax.Array:
    """Joins a mask of booleans or numbers with one of booleans."""
    return (mask if mask.dtype == bool else mask != 0) & other
