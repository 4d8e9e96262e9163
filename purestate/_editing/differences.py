"""How two trees differ: in structure, or in the shapes and dtypes of their leaves."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.errors import kind_of
from purestate._editing.array_format import format_array
from purestate._editing.paths import is_hole, named_leaves

_KINDS = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)


def shape_of(leaf: Any) -> tuple[int, ...]:
    """Returns the shape of an array, a number, or a spec."""
    return tuple(leaf.shape) if hasattr(leaf, "shape") else np.shape(leaf)


def difference(one: Any, other: Any, names: tuple[str, str]) -> str | None:
    """Says how two trees differ in structure; None if they do not. Holes count as leaves."""
    a, b = (jax.tree.structure(tree, is_leaf=is_hole) for tree in (one, other))
    if a == b:
        return None
    here, there = ([name for name, _ in named_leaves(tree, holes=True)] for tree in (one, other))
    parts = [
        f"only {whose} has {_listed(only)}"
        for whose, only in (
            (names[0], [name for name in here if name not in there]),
            (names[1], [name for name in there if name not in here]),
        )
        if only
    ]
    return "; ".join(parts) or f"their containers are of other kinds ({a} and {b})"


def mismatch(
    one: Any, other: Any, names: tuple[str, str], *, exact_dtype: bool = False
) -> str | None:
    """Says which leaves of two trees of one structure do not fit; None if all do.

    Holes fit anything, and so does `float0`, JAX's gradient of an integer. Dtypes fit if both are
    of one kind (floating, integer, complex, bool), or, with `exact_dtype`, if they are equal.
    Python numbers have a kind only.
    """
    pairs = zip(*(jax.tree.leaves(tree, is_leaf=is_hole) for tree in (one, other)), strict=True)
    if all(_fit(a, b, exact_dtype) for a, b in pairs):  # names are needed for errors only
        return None
    found = [
        f"{name!r} is {_outline(a)} in {names[0]} and {_outline(b)} in {names[1]}"
        for (name, a), (_, b) in zip(
            named_leaves(one, holes=True), named_leaves(other, holes=True), strict=True
        )
        if not _fit(a, b, exact_dtype)
    ]
    return "; ".join(found[:4]) + (f"; and {len(found) - 4} more" if len(found) > 4 else "")


def _fit(a: Any, b: Any, exact_dtype: bool) -> bool:
    if a is b or not (_is_number(a) and _is_number(b)):
        return True  # holes, and whatever else a tree has for leaves
    if shape_of(a) != shape_of(b):
        return False
    return same_dtype(a, b) or (not exact_dtype and _same_kind(dtype_of(a), dtype_of(b)))


def same_dtype(a: Any, b: Any) -> bool:
    """Whether two leaves have the same dtype. A Python number fits a dtype that can hold it."""
    if not (_is_number(a) and _is_number(b)):
        return True
    one, other = dtype_of(a), dtype_of(b)
    if _is_python(a) and _is_python(b):
        return _same_kind(one, other)
    if _is_python(a) or _is_python(b):
        return jnp.result_type(a, b) == (other if _is_python(a) else one)
    return one == other


def dtype_of(leaf: Any) -> Any:
    """Returns the dtype that a leaf has in JAX: without x64, numpy's float64 is float32."""
    try:
        return jnp.result_type(leaf)
    except TypeError:  # an array of strings
        return leaf.dtype


def _same_kind(one: Any, other: Any) -> bool:
    return jax.dtypes.float0 in (one, other) or _kind(one) == _kind(other)


def _kind(dtype: Any) -> Any:
    return next((kind for kind in _KINDS if jnp.issubdtype(dtype, kind)), dtype)


def _is_python(leaf: Any) -> bool:
    return isinstance(leaf, (bool, int, float, complex)) and not isinstance(leaf, np.generic)


def _is_number(leaf: Any) -> bool:
    return _is_python(leaf) or (hasattr(leaf, "shape") and hasattr(leaf, "dtype"))


def _outline(leaf: Any) -> str:
    return format_array(leaf) if hasattr(leaf, "shape") else kind_of(leaf)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(map(repr, names[:4])) + more
