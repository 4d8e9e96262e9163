"""Two orders of the features of queries and keys under a rotary position embedding."""

from typing import TypeVar

import jax
import numpy as np

Array = TypeVar("Array", jax.Array, np.ndarray)


def rotary_to_halves(x: Array, head_size: int) -> Array:
    """Reorders the outputs of a query or key projection from pairs to halves.

    A rotary embedding turns features 2i and 2i + 1 together (pairs: the paper, GPT-J, Meta's files
    of Llama), or i and i + K / 2 (halves: GPT-NeoX, Llama in transformers, `ps.rotary_embedding`).
    With the outputs in the other order, the other embedding gives the same attention.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.convert.rotary_to_halves(jnp.arange(8), head_size=4).tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]

    Args:
      x: the weights `[D, H * K]` or the bias `[H * K]` of a `Linear` for queries or keys.
      head_size: K.

    Returns:
      An array of the same shape.
    """
    heads = x.reshape(*x.shape[:-1], -1, head_size // 2, 2)
    return _swapped(heads).reshape(x.shape)


def rotary_to_pairs(x: Array, head_size: int) -> Array:
    """Reorders the outputs of a query or key projection from halves to pairs.

    The inverse of `rotary_to_halves`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> x = ps.convert.rotary_to_halves(jnp.arange(8), head_size=4)
    >>> ps.convert.rotary_to_pairs(x, head_size=4).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7]

    Args:
      x: the weights `[D, H * K]` or the bias `[H * K]` of a `Linear` for queries or keys.
      head_size: K.

    Returns:
      An array of the same shape.
    """
    heads = x.reshape(*x.shape[:-1], -1, 2, head_size // 2)
    return _swapped(heads).reshape(x.shape)


def _swapped(x: Array) -> Array:
    return x.swapaxes(-1, -2)
