"""`aliases`: which leaves of a tree are one array."""

from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.trace_guard import is_traced
from purestate._editing.paths import named_leaves


def aliases(tree: Any) -> list[list[str]]:
    """Returns the names of leaves that are the same array, or have the same memory.

    >>> import jax.numpy as jnp, purestate as ps
    >>> w = jnp.ones([3, 2])
    >>> ps.surgery.aliases({"embed": {"w": w}, "head": {"w": w, "b": jnp.zeros([2])}})
    [['embed/w', 'head/w']]

    Two leaves that are one array are two arrays for JAX's functions: after a step of an optimizer
    they differ. A function with `donate_argnums` refuses them, since it may use a memory once.
    If both are meant to be one parameter, tie them in the model with `ps.share`; else copy one:
    `jax.tree.map(jnp.copy, tree)`.

    Args:
      tree: a tree of arrays, such as params, or a `ps.TrainState`. Inside `jax.jit` each argument
        is an array of its own, so look at the tree outside.

    Returns:
      A list of names for each array with several names, so an empty list if all is well. The names
      are those of `ps.surgery`: "module/name" in a bundle.
    """
    groups: dict[Hashable, list[str]] = {}  # the names by each piece of memory
    for name, leaf in named_leaves(tree):
        pieces = _memory_of(leaf)
        found = {id(groups[piece]): groups[piece] for piece in pieces if piece in groups}
        names = [*(name for group in found.values() for name in group), name]
        if found:  # several, if the tree has a sharded array and its shards
            old = [piece for piece, group in groups.items() if id(group) in found]
            groups.update(dict.fromkeys(old, names))
        groups.update(dict.fromkeys(pieces, names))
    unique = {id(names): names for names in groups.values()}
    return [names for names in unique.values() if len(names) > 1]


def _memory_of(leaf: Any) -> list[Hashable]:
    """Returns the pieces of memory that an array has; for a traced one, what stands for it."""
    if isinstance(leaf, np.ndarray) and leaf.size:
        return [(leaf.__array_interface__["data"][0], leaf.shape, leaf.strides)]
    if not isinstance(leaf, jax.Array) or not leaf.size:
        return []
    if is_traced(leaf) or leaf.is_deleted():
        return [id(leaf)]
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return [(shard.device, shard.data.unsafe_buffer_pointer()) for shard in leaf.addressable_shards]
