"""How much there is in a tree."""

from typing import Any

import jax


def tree_size(tree: Any) -> int:
    """Returns the number of elements in a tree of arrays.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.data_structures.tree_size({"linear": {"w": jnp.ones([3, 2]), "b": jnp.ones([2])}})
    8

    Args:
      tree: arrays, or whatever has a `size`, such as `jax.ShapeDtypeStruct`, in any pytree.

    Returns:
      The sum of their sizes.
    """
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def tree_bytes(tree: Any) -> int:
    """Returns the number of bytes that a tree of arrays takes up.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.data_structures.tree_bytes({"linear": {"w": jnp.ones([3, 2]), "b": jnp.ones([2])}})
    32

    Args:
      tree: arrays, or whatever has a `size` and a `dtype`, in any pytree.

    Returns:
      The sum of their sizes in bytes.
    """
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
