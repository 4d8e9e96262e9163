"""Weights that are pytrees, as arrays with names."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def name_of(path: Any, separator: str) -> str:
    """Returns the name of a leaf, without the `value` at the end of those of flax nnx."""
    return jax.tree_util.keystr(path, simple=True, separator=separator).removesuffix(
        f"{separator}value"
    )


def is_weight(leaf: Any) -> bool:
    """Whether a leaf is an array of floats, and not a random key or a counter."""
    return hasattr(leaf, "dtype") and bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def flatten_tree(tree: Any) -> dict[str, np.ndarray]:
    """Returns the weights of a pytree by their names."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {name_of(path, "/"): np.asarray(x) for path, x in leaves if is_weight(x)}


def rebuild_tree(arrays: Mapping[str, np.ndarray], like: Any) -> Any:
    """Returns a pytree with other weights."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: jnp.array(arrays[name_of(path, "/")]) if is_weight(x) else x, like
    )


def flatten_dict(tree: Mapping[str, Any], above: str = "") -> dict[str, np.ndarray]:
    """Returns the arrays of nested dicts in their order, which JAX would not keep."""
    found: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flatten_dict(value, f"{above}{key}/")
        else:
            found[f"{above}{key}"] = np.asarray(value)
    return found


def rebuild_dict(arrays: Mapping[str, np.ndarray], like: Mapping[str, Any], above: str = "") -> Any:
    """Returns nested dicts with the keys of `like`, in their order."""
    return {
        key: rebuild_dict(arrays, value, f"{above}{key}/")
        if isinstance(value, Mapping)
        else jnp.array(arrays[f"{above}{key}"])
        for key, value in like.items()
    }
