"""Telling in a few words what values are: never a dump of arrays."""

from collections.abc import Mapping
from typing import Any

import jax

from purestate._core.errors import ArgumentError, kind_of


def outline(value: Any) -> str:
    """What a value is, in a few words: never a dump of arrays."""
    if isinstance(value, Mapping):
        keys = [str(key) for key in value]
        shown = ", ".join(repr(key) for key in keys[:3]) + (", ..." if len(keys) > 3 else "")
        return (
            f"{kind_of(value)} with {len(keys)} entr{'y' if len(keys) == 1 else 'ies'} ({shown})"
            if keys
            else "an empty dict"
        )
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"
    return kind_of(value)


def outline_argument(value: Any) -> str:
    """Shows a value briefly: `float32[5,3]` for an array, the first few leaves of a tree."""
    try:
        return _outline_tree(value)
    except (
        Exception
    ):  # keys that cannot be sorted, a shape that fails: they must not hide the error
        return kind_of(value)


def _outline_tree(value: Any) -> str:
    leaves = jax.tree.leaves(value, is_leaf=lambda leaf: leaf is None)
    texts = [_outline_leaf(leaf) for leaf in leaves[:3]]
    if not leaves:
        return "an empty tree"
    if len(leaves) == 1:
        return texts[0]
    return f"a tree of {len(leaves)} ({', '.join(texts)}{', ...' if len(leaves) > 3 else ''})"


def _outline_leaf(leaf: Any) -> str:
    if isinstance(leaf, type):
        return kind_of(leaf)
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
    if isinstance(leaf, str):
        return repr(leaf if len(leaf) <= 20 else leaf[:20] + "...")
    return repr(leaf) if isinstance(leaf, (bool, int, float, complex)) else kind_of(leaf)


def outline_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Arguments as in a call: `float32[2,3], True, rate=0.5`."""
    texts = [outline_argument(value) for value in args] + [
        f"{name}={outline_argument(value)}" for name, value in kwargs.items()
    ]
    return ", ".join([*texts[:6], *(["..."] if len(texts) > 6 else [])])


def check_function(call: str, f: Any) -> None:
    """Raises unless `f` can be called."""
    if not callable(f) or isinstance(f, tuple):  # what a transform returned
        raise ArgumentError(f"`{call}` takes a function, but was given {outline_argument(f)}.")
