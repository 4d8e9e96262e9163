"""Masks of attention: which query may see which key."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from purestate._layers.errors import LayerError, check_bool


def _distance(what: str, q_len: int, kv_len: int | None, offset: ArrayLike) -> jax.Array:
    """How far each key is behind (less than 0) or before each query, `[1 or B, 1, T, S]`."""
    if kv_len is None:
        if not isinstance(offset, (int, np.integer)):
            raise LayerError(
                f"{what}: with an offset that is an array, kv_len has to be given, the number of"
                " keys."
            )
        kv_len = q_len + int(offset)
    queries = lax.broadcasted_iota(jnp.int32, (1, 1, q_len, kv_len), 2)
    keys = lax.broadcasted_iota(jnp.int32, (1, 1, q_len, kv_len), 3)
    if not isinstance(offset, (int, np.integer)):
        offset = jnp.asarray(offset)
        if offset.ndim > 1:
            raise LayerError(
                f"{what}: offset has to be one number, or one for each row, [B]; got shape"
                f" {offset.shape}."
            )
        offset = lax.reshape(offset.astype(jnp.int32), (offset.size, 1, 1, 1))
    elif not offset:
        return keys - queries
    return keys - (queries + offset)


def causal_mask(q_len: int, kv_len: int | None = None, offset: ArrayLike = 0) -> jax.Array:
    """Lets each query see the keys up to its own position.

    >>> import purestate as ps
    >>> ps.causal_mask(3)[0, 0].astype(int).tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    >>> ps.causal_mask(1, offset=2)[0, 0].astype(int).tolist()  # one more query, after two
    [[1, 1, 1]]

    Args:
      q_len: T, the number of queries.
      kv_len: S, the number of keys; None for those up to the last query.
      offset: the position of the first query among the keys: a number or, for each row another one,
        `[B]`.

    Returns:
      Booleans, `[1, 1, T, S]`, or `[B, 1, T, S]` if `offset` is `[B]`.

    Raises:
      LayerError: `offset` is an array and `kv_len` is None, or it has more than one axis.
    """
    return _distance("causal_mask", q_len, kv_len, offset) <= 0


def sliding_window_mask(
    q_len: int,
    window: int,
    kv_len: int | None = None,
    offset: ArrayLike = 0,
    *,
    causal: bool = True,
) -> jax.Array:
    """Lets each query see the `window` last keys up to its own position, that one included.

    Beltagy et al. 2020, arXiv:2004.05150.

    >>> import purestate as ps
    >>> ps.sliding_window_mask(4, 2)[0, 0].astype(int).tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]

    Args:
      q_len: T, the number of queries.
      window: how many keys; those less than this far away.
      kv_len: see `causal_mask`.
      offset: see `causal_mask`.
      causal: False to see as many keys after one's own position as well.

    Returns:
      Booleans, `[1, 1, T, S]`, or `[B, 1, T, S]` if `offset` is `[B]`.

    Raises:
      LayerError: `window` is less than 1; or see `causal_mask`.
    """
    if causal.__class__ is not bool:
        check_bool("sliding_window_mask", "causal", causal)
    if window < 1:
        raise LayerError(
            "sliding_window_mask: a query sees at least its own key, window=1; got"
            f" window={window}."
        )
    distance = _distance("sliding_window_mask", q_len, kv_len, offset)
    near = distance > -window
    return near & (distance <= 0 if causal else distance < window)


def padding_mask(lengths: "ArrayLike | Sequence[int]", max_len: int) -> jax.Array:
    """Hides the keys after the end of each row.

    >>> import jax.numpy as jnp, purestate as ps
    >>> mask = ps.padding_mask(jnp.array([1, 3]), 3)
    >>> mask.shape, mask[:, 0, 0].astype(int).tolist()
    ((2, 1, 1, 3), [[1, 0, 0], [1, 1, 1]])

    Args:
      lengths: how many keys each example has, `[B]`.
      max_len: S, the number of keys with padding.

    Returns:
      Booleans, `[B, 1, 1, S]`.

    Raises:
      LayerError: `lengths` is not `[B]`.
    """
    lengths = jnp.asarray(lengths)
    if lengths.ndim != 1 or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise LayerError(
            f"padding_mask: lengths has to be integers, one for each row, [B]; got {lengths.dtype}"
            f" of shape {lengths.shape}."
        )
    keys = lax.broadcasted_iota(lengths.dtype, (1, 1, 1, max_len), 3)
    return keys < lax.reshape(lengths, (lengths.size, 1, 1, 1))


def segment_mask(ids_q: ArrayLike, ids_k: ArrayLike | None = None) -> jax.Array:
    """Lets each query see the keys of its own segment: several sequences are packed into one.

    Krell et al. 2021, arXiv:2107.02027, section 3.2.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.segment_mask(jnp.array([[1, 1, 2, 0]]))[0, 0].astype(int).tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]

    Args:
      ids_q: which segment each query is in, integers `[..., T]`. Give padding an id of its own.
      ids_k: which segment each key is in, `[..., S]`; None for `ids_q`.

    Returns:
      Booleans, `[..., 1, T, S]`; of `[T]` they are `[1, 1, T, T]`.

    Raises:
      LayerError: the ids are not integers, or they have another number of axes.
    """
    queries = jnp.asarray(ids_q)
    keys = queries if ids_k is None else jnp.asarray(ids_k)
    if (
        not queries.ndim
        or queries.ndim != keys.ndim
        or not all(jnp.issubdtype(ids.dtype, jnp.integer) for ids in (queries, keys))
    ):
        raise LayerError(
            "segment_mask: ids are integers, one for each step, [B, T], and for keys [B, S]; got"
            f" {queries.dtype} of shape {queries.shape} and {keys.dtype} of shape {keys.shape}."
        )
    if queries.ndim == 1:
        queries, keys = queries[None], keys[None]
    return queries[..., None, :, None] == keys[..., None, None, :]


def combine_masks(*masks: jax.Array | None) -> jax.Array | None:
    """Returns the mask that lets a query see what all of `masks` let it see.

    >>> import jax.numpy as jnp, purestate as ps
    >>> mask = ps.combine_masks(ps.causal_mask(3), ps.padding_mask(jnp.array([2, 3]), 3), None)
    >>> mask.shape, mask[0, 0].astype(int).tolist()
    ((2, 1, 3, 3), [[1, 0, 0], [1, 1, 0], [1, 1, 0]])

    Args:
      *masks: booleans that broadcast to `[B, H, T, S]`; None lets see everything.

    Returns:
      Booleans; None if all are None.

    Raises:
      LayerError: the shapes do not broadcast, or something else than booleans is given.
    """
    found = [mask for mask in masks if mask is not None]
    if not found:
        return None
    if any(mask.dtype != bool for mask in found):
        raise LayerError(
            "combine_masks: masks have to be booleans, got"
            f" {', '.join(str(mask.dtype) for mask in found)}. For one that is not zero where a key"
            " is seen, write mask != 0."
        )
    if len({mask.ndim for mask in found}) > 1:
        raise LayerError(
            "combine_masks: all masks need the axes [B, H, T, S] (with size 1 where they are the"
            f" same), got shapes {', '.join(str(mask.shape) for mask in found)}. Write mask[None,"
            " None] for a mask of shape [T, S]."
        )
    try:
        lax.broadcast_shapes(*(mask.shape for mask in found))
    except ValueError:
        raise LayerError(
            f"combine_masks: shapes {', '.join(str(mask.shape) for mask in found)} do not broadcast"
            " to one [B, H, T, S]."
        ) from None
    combined = found[0]
    for mask in found[1:]:
        combined = combined & mask
    return combined
