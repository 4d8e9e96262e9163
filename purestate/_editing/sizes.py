"""The number of elements and bytes in a tree."""

from typing import Any

import jax

from purestate._core.errors import kind_of
from purestate._editing.errors import BundleTypeError
from purestate._editing.paths import named_leaves


def tree_size(tree: Any) -> int:
    """Returns the number of elements in a tree of arrays.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.data_structures.tree_size({"linear": {"w": jnp.ones([3, 2]), "b": jnp.ones([2])}})
    8

    Args:
      tree: any pytree of arrays, or of other objects with a `size`, such as
        `jax.ShapeDtypeStruct`.

    Returns:
      The sum of their sizes.

    Raises:
      BundleTypeError: a leaf is not an array.
    """
    try:
        return sum(leaf.size for leaf in jax.tree.leaves(tree))
    except (AttributeError, TypeError):
        raise _not_an_array("tree_size", tree) from None


def tree_bytes(tree: Any) -> int:
    """Returns the number of bytes of a tree of arrays.

    >>> import jax.numpy as jnp, purestate as ps
    >>> ps.data_structures.tree_bytes({"linear": {"w": jnp.ones([3, 2]), "b": jnp.ones([2])}})
    32

    Args:
      tree: any pytree of arrays, or of other objects with a `size` and a `dtype`.

    Returns:
      The sum of their sizes in bytes.

    Raises:
      BundleTypeError: a leaf is not an array.
    """
    try:
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
    except (AttributeError, TypeError):
        raise _not_an_array("tree_bytes", tree) from None


def _not_an_array(what: str, tree: Any) -> BundleTypeError:
    wrong = [
        (n, leaf)
        for n, leaf in named_leaves(tree)
        if not (hasattr(leaf, "size") and hasattr(leaf, "dtype"))
    ]
    name, leaf = wrong[0] if wrong else ("", tree)
    return BundleTypeError(
        f"{what} counts arrays, but {f'the leaf {name!r}' if name else 'its argument'} is"
        f" {kind_of(leaf)}. Make it an array, or remove it."
    )
