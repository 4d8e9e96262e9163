"""Parts of trees with the structure of the whole. A leaf that is left out is a hole: `None`."""

from collections.abc import Callable
from typing import Any

import jax

from purestate._core.errors import ShapeMismatchError
from purestate._editing.differences import difference, mismatch
from purestate._editing.errors import BundleError
from purestate._editing.paths import is_hole
from purestate._editing.predicates import ask


def filter(  # noqa: A001 (MLAX's name)
    tree: Any, f: Callable[[Any], Any], inverse: bool = False
) -> Any:
    """Returns a tree of the same structure, with `None` for each leaf that `f` rejects.

    >>> import purestate as ps
    >>> params = {"linear": {"w": 2.0, "b": 0.0}}
    >>> ps.surgery.filter(params, lambda leaf: leaf > 1)
    {'linear': {'b': None, 'w': 2.0}}

    JAX does not count `None` as a leaf: `jax.tree.map` and optax skip a hole, and the gradient of a
    hole is a hole. To count holes as leaves, pass `is_leaf=lambda leaf: leaf is None`.

    Args:
      tree: any pytree. Its holes stay holes.
      f: `f(leaf) -> bool`; or a `Predicate`, which also gets the path.
      inverse: whether to keep the leaves that `f` rejects instead.

    Returns:
      A new tree.
    """
    return _kept(tree, f, with_path=False, wanted=not inverse)


def filter_with_path(tree: Any, f: Callable[[str, Any], Any], inverse: bool = False) -> Any:
    """Like `filter`, for a function of path and leaf.

    >>> import purestate as ps
    >>> params = {"linear": {"w": 2.0, "b": 0.0}}
    >>> ps.surgery.filter_with_path(params, lambda path, leaf: path == "linear/b")
    {'linear': {'b': 0.0, 'w': None}}

    Args:
      tree: any pytree.
      f: `f(path, leaf) -> bool`. The path is a string of keys with slashes between them:
        "module/name" in a bundle, "collection/module/name" in variables, "0/mu/module/name" in the
        state of an optimizer.
      inverse: whether to keep the leaves that `f` rejects instead.

    Returns:
      A new tree.
    """
    return _kept(tree, f, with_path=True, wanted=not inverse)


def partition(tree: Any, f: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Splits a tree into the leaves that `f` accepts and the rest. Both parts have holes.

    >>> import purestate as ps
    >>> params = {"linear": {"w": 2.0, "b": 0.0}}
    >>> selected, rest = ps.surgery.partition(params, lambda leaf: leaf > 1)
    >>> rest
    {'linear': {'b': 0.0, 'w': None}}
    >>> ps.surgery.combine(selected, rest)
    {'linear': {'b': 0.0, 'w': 2.0}}

    Args:
      tree: any pytree.
      f: `f(leaf) -> bool`; or a `Predicate`, which also gets the path.

    Returns:
      Two trees of the same structure; `combine` is the inverse.
    """
    return _parts(tree, f, with_path=False)


def partition_with_path(tree: Any, f: Callable[[str, Any], Any]) -> tuple[Any, Any]:
    """Like `partition`, for a function of path and leaf.

    >>> import purestate as ps
    >>> params = {"linear": {"w": 2.0, "b": 0.0}}
    >>> ps.surgery.partition_with_path(params, ps.surgery.glob("*/w"))
    ({'linear': {'b': None, 'w': 2.0}}, {'linear': {'b': 0.0, 'w': None}})

    Args:
      tree: any pytree.
      f: `f(path, leaf) -> bool`; see `filter_with_path`.

    Returns:
      Two trees of the same structure; `combine` is the inverse.
    """
    return _parts(tree, f, with_path=True)


def combine(tree: Any, *rest: Any) -> Any:
    """Combines trees of one structure: each leaf is the first one that is not a hole.

    >>> import purestate as ps
    >>> ps.surgery.combine({"w": None, "b": 1.0, "n": None}, {"w": 2.0, "b": 3.0, "n": None})
    {'b': 1.0, 'n': None, 'w': 2.0}

    Args:
      tree: any pytree.
      *rest: more trees, with the structure of the first.

    Returns:
      A new tree. A leaf that is a hole in all of them stays a hole.

    Raises:
      BundleError: the structures differ.
      ShapeMismatchError: two trees have a leaf at one place, and its shapes, or the kinds of its
        dtypes, differ.
    """
    whole = tree
    for number, other in enumerate(rest, start=2):
        where = difference(tree, other, ("the first", f"tree {number}"))
        if where is not None:
            raise BundleError(
                f"combine: the first tree and tree {number} differ in structure: {where}. It takes"
                " trees with a hole, None, for each leaf that was left out. For bundles without"
                " holes use ps.data_structures.merge."
            )
        before = "the first" if number == 2 else "the trees before it"
        where = mismatch(whole, other, (before, f"tree {number}"))
        if where is not None:
            raise ShapeMismatchError(
                f"combine: tree {number} does not fit {before}: {where}. Leave a hole, None, in all"
                " trees but the one that the leaf is to come from."
            )
        whole = jax.tree.map(_first, whole, other, is_leaf=is_hole)
    return whole


def _first(leaf: Any, other: Any) -> Any:
    return other if leaf is None else leaf


def _kept(tree: Any, f: Any, *, with_path: bool, wanted: bool) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf if ask(f, path, leaf, with_path=with_path) is wanted else None, tree
    )


def _parts(tree: Any, f: Any, *, with_path: bool) -> tuple[Any, Any]:
    # One call for each leaf: a function whose answer changes from call to call loses no leaf.
    selects = [
        ask(f, path, leaf, with_path=with_path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
    leaves, treedef = jax.tree.flatten(tree)
    return (
        treedef.unflatten(
            [leaf if selected else None for leaf, selected in zip(leaves, selects, strict=True)]
        ),
        treedef.unflatten(
            [None if selected else leaf for leaf, selected in zip(leaves, selects, strict=True)]
        ),
    )
