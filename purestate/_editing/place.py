"""`at`: one place of a tree, to read it, or to get a tree with something else there."""

from collections.abc import Callable
from typing import Any

from purestate._core.errors import ShapeMismatchError
from purestate._editing.paths import (
    Path,
    difference,
    find_one,
    join,
    named_leaves,
    path_string,
    replaced,
    shape_of,
    value_at,
)


class Place:
    """One place of a tree; see `at`."""

    __slots__ = ("_numbers", "_path", "_tree")

    def __init__(self, tree: Any, path: Path):
        self._tree = tree
        self._path = path_string(path)
        self._numbers = find_one(tree, path)

    def get(self) -> Any:
        """Returns what is there.

        Returns:
          A leaf, or the part of the tree below the path.
        """
        return value_at(self._tree, self._numbers)

    def set(self, value: Any, *, any_shape: bool = False) -> Any:
        """Returns a tree with something else there.

        Args:
          value: what is to be there, of the same shape, or structure and shapes.
          any_shape: whether the shape may be another.

        Returns:
          A new tree.

        Raises:
          ShapeMismatchError: shape or structure is another. A hole may be filled with anything.
        """
        before = self.get()
        if before is not None:
            self._check(before, value, any_shape)
        return replaced(self._tree, self._numbers, value)

    def apply(self, fn: Callable[[Any], Any], *, any_shape: bool = False) -> Any:
        """Returns a tree with a function of what is there in its place.

        Args:
          fn: a function of what `get` returns.
          any_shape: whether the shape may be another.

        Returns:
          A new tree.

        Raises:
          ShapeMismatchError: shape or structure is another.
        """
        return self.set(fn(self.get()), any_shape=any_shape)

    def _check(self, before: Any, value: Any, any_shape: bool) -> None:
        where = difference(before, value, ("the tree", "the new value"))
        if where is not None:
            raise ShapeMismatchError(
                f"{self._path!r} cannot be set to a value of another structure: {where}. To have"
                " other variables there, use ps.surgery.insert and ps.surgery.delete."
            )
        for (name, old), (_, new) in zip(named_leaves(before), named_leaves(value), strict=False):
            if not any_shape and shape_of(old) != shape_of(new):
                raise ShapeMismatchError(
                    f"{join(self._path, name)!r} has shape {shape_of(old)}, and cannot be set to a"
                    f" value of shape {shape_of(new)}. If it is to have another shape, pass"
                    " any_shape=True."
                )

    def __repr__(self) -> str:
        return f"at({self._path!r})"


def at(tree: Any, path: Path) -> Place:
    """Points to a place of a tree.

    >>> import jax.numpy as jnp, purestate as ps
    >>> params = {"mlp/~/linear_0": {"w": jnp.ones([2]), "b": jnp.zeros([2])}}
    >>> new = ps.surgery.at(params, "mlp/~/linear_0/w").set(jnp.array([3.0, 4.0]))
    >>> new["mlp/~/linear_0"]["w"].tolist(), params["mlp/~/linear_0"]["w"].tolist()
    ([3.0, 4.0], [1.0, 1.0])
    >>> ps.surgery.at(params, "mlp/~/linear_0").apply(lambda module: {**module, "b": module["b"] + 1})
    {'mlp/~/linear_0': {'w': Array([1., 1.], dtype=float32), 'b': Array([1., 1.], dtype=float32)}}

    Args:
      tree: any pytree.
      path: the keys on the way with slashes between, as "module/name", "params/module/name" or
        "0/mu/module/name"; or a sequence of keys. It may stop on the way, at a whole module for
        one.

    Returns:
      A `Place`, with `get()`, `set(value)` and `apply(fn)`.

    Raises:
      PathError: there is no such place, or more than one.
    """
    return Place(tree, path)
