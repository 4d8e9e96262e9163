"""Parts of trees that keep the structure of the whole: what is left out is a hole, `None`."""

from collections.abc import Callable
from typing import Any

import jax

from purestate._editing.errors import BundleError
from purestate._editing.paths import difference, is_hole
from purestate._editing.predicates import ask


def filter(tree: Any, f: Callable[[Any], Any], inverse: bool = False) -> Any:  # noqa: A001 (MLAX's name)
    """Returns a tree of the same structure, with `None` for each leaf that `f` does not hold for.

    >>> import purestate as ps
    >>> params = {"linear": {"w": 2.0, "b": 0.0}}
    >>> ps.surgery.filter(params, lambda leaf: leaf > 1)
    {'linear': {'b': None, 'w': 2.0}}

    `None` is no leaf to JAX: `jax.tree.map` and optax pass over a hole, and `jax.grad` gives a hole
    for one. To have holes counted as leaves, pass `is_leaf=lambda leaf: leaf is None`.

    Args:
      tree: any pytree. Holes that are in it stay.
      f: `f(leaf) -> bool`; or a `Predicate`, which is told the path too.
      inverse: whether to keep those instead that `f` does not hold for.

    Returns:
      A new tree.
    """
    return _kept(tree, f, with_path=False, wanted=not inverse)


def filter_with_path(tree: Any, f: Callable[[str, Any], Any], inverse: bool = False) -> Any:
    """Like `filter`, with a function of path and leaf.

    >>> import purestate as ps
    >>> params = {"linear": {"w": 2.0, "b": 0.0}}
    >>> ps.surgery.filter_with_path(params, lambda path, leaf: path == "linear/b")
    {'linear': {'b': 0.0, 'w': None}}

    Args:
      tree: any pytree.
      f: `f(path, leaf) -> bool`. The path is a string, the keys with slashes between: "module/name"
        in a bundle, "collection/module/name" in variables, "0/mu/module/name" in an optimizer's
        state.
      inverse: whether to keep those instead that `f` does not hold for.

    Returns:
      A new tree.
    """
    return _kept(tree, f, with_path=True, wanted=not inverse)


def partition(tree: Any, f: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Takes a tree apart into what `f` holds for, and the rest, both with holes.

    >>> import purestate as ps
    >>> selected, rest = ps.surgery.partition({"linear": {"w": 2.0, "b": 0.0}}, lambda leaf: leaf > 1)
    >>> rest
    {'linear': {'b': 0.0, 'w': None}}
    >>> ps.surgery.combine(selected, rest)
    {'linear': {'b': 0.0, 'w': 2.0}}

    Args:
      tree: any pytree.
      f: `f(leaf) -> bool`; or a `Predicate`, which is told the path too.

    Returns:
      Two trees of the same structure; `combine` puts them together again.
    """
    return _parts(tree, f, with_path=False)


def partition_with_path(tree: Any, f: Callable[[str, Any], Any]) -> tuple[Any, Any]:
    """Like `partition`, with a function of path and leaf.

    >>> import purestate as ps
    >>> params = {"linear": {"w": 2.0, "b": 0.0}}
    >>> ps.surgery.partition_with_path(params, ps.surgery.glob("*/w"))
    ({'linear': {'b': None, 'w': 2.0}}, {'linear': {'b': 0.0, 'w': None}})

    Args:
      tree: any pytree.
      f: `f(path, leaf) -> bool`; see `filter_with_path`.

    Returns:
      Two trees of the same structure; `combine` puts them together again.
    """
    return _parts(tree, f, with_path=True)


def combine(tree: Any, *rest: Any) -> Any:
    """Puts trees of one structure together: of each leaf the first that is no hole.

    >>> import purestate as ps
    >>> ps.surgery.combine({"w": None, "b": 1.0, "n": None}, {"w": 2.0, "b": 3.0, "n": None})
    {'b': 1.0, 'n': None, 'w': 2.0}

    Args:
      tree: any pytree.
      *rest: more of the same structure; inverse of `partition`.

    Returns:
      A new tree. What is a hole in all of them stays one.

    Raises:
      BundleError: the structures differ.
    """
    for number, other in enumerate(rest, start=2):
        where = difference(tree, other, ("the first", f"tree {number}"))
        if where is not None:
            raise BundleError(
                f"combine: the first tree and tree {number} differ in structure: {where}. It takes"
                " trees that have a hole, None, where something was left out; to put bundles"
                " together that lack it, use ps.data_structures.merge."
            )
    return jax.tree.map(
        lambda *leaves: next((leaf for leaf in leaves if leaf is not None), None),
        tree,
        *rest,
        is_leaf=is_hole,
    )


def _kept(tree: Any, f: Any, *, with_path: bool, wanted: bool) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf if ask(f, path, leaf, with_path=with_path) is wanted else None, tree
    )


def _parts(tree: Any, f: Any, *, with_path: bool) -> tuple[Any, Any]:
    # One call for each leaf, so that a function that answers differently each time loses none.
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
