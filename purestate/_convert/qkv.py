"""Two orders of the outputs of a layer that makes queries, keys and values at once."""

from typing import TypeVar

import jax
import numpy as np

Array = TypeVar("Array", jax.Array, np.ndarray)


def qkv_to_blocks(x: Array, head_size: int, axis: int = -1) -> Array:
    """Reorders the outputs of a fused projection: all queries, then all keys, then all values.

    In GPT-NeoX, BLOOM and Megatron they come head by head: its query, its key, its value. Blocks
    can be split into three layers, as in GPT-2: `names={"*.c_attn": ("query", "key", "value")}`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.convert.qkv_to_blocks(jnp.arange(6), head_size=1).tolist()  # of two heads
    [0, 3, 1, 4, 2, 5]

    Args:
      x: weights or a bias, with an axis of size `H * 3 * K`.
      head_size: K.
      axis: that axis; 0 for a weight of PyTorch.

    Returns:
      An array of the same shape.
    """
    return _reordered(x, axis, (-1, 3, head_size))


def qkv_to_heads(x: Array, head_size: int, axis: int = -1) -> Array:
    """Reorders the outputs of a fused projection from blocks to heads.

    The inverse of `qkv_to_blocks`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> x = ps.convert.qkv_to_blocks(jnp.arange(6), head_size=1)
    >>> ps.convert.qkv_to_heads(x, head_size=1).tolist()
    [0, 1, 2, 3, 4, 5]

    Args:
      x: weights or a bias, with an axis of size `3 * H * K`.
      head_size: K.
      axis: that axis; 0 for a weight of PyTorch.

    Returns:
      An array of the same shape.
    """
    return _reordered(x, axis, (3, -1, head_size))


def _reordered(x: Array, axis: int, parts: tuple[int, int, int]) -> Array:
    """Splits an axis, and swaps the first two parts."""
    axis %= x.ndim
    split = x.reshape(*x.shape[:axis], *parts, *x.shape[axis + 1 :])
    return split.swapaxes(axis, axis + 1).reshape(x.shape)
