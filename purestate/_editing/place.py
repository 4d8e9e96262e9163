"""`at`: reads one place of a tree, or returns a tree with another value there."""

from collections.abc import Callable
from typing import Any

from purestate._core.errors import ShapeMismatchError
from purestate._editing.differences import difference, dtype_of, same_dtype, shape_of
from purestate._editing.paths import (
    Path,
    find_one,
    join,
    named_leaves,
    path_string,
    replaced,
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
        """Returns the value at this place.

        Returns:
          A leaf, or the part of the tree below the path.
        """
        return value_at(self._tree, self._numbers)

    def set(self, value: Any, *, any_shape: bool = False, any_dtype: bool = False) -> Any:
        """Returns a tree with another value at this place.

        Args:
          value: the new value, with the structure, shapes and dtypes of the old one. A hole takes
            any value.
          any_shape: whether shapes may differ.
          any_dtype: whether dtypes may differ.

        Returns:
          A new tree.

        Raises:
          ShapeMismatchError: the structure, a shape or a dtype differs.
        """
        before = self.get()
        if before is not None:
            self._check(before, value, any_shape, any_dtype)
        return replaced(self._tree, self._numbers, value)

    def apply(
        self, fn: Callable[[Any], Any], *, any_shape: bool = False, any_dtype: bool = False
    ) -> Any:
        """Returns a tree with `fn(value)` at this place.

        Args:
          fn: a function of the value that `get` returns.
          any_shape: see `set`.
          any_dtype: see `set`.

        Returns:
          A new tree.

        Raises:
          ShapeMismatchError: the structure, a shape or a dtype differs.
        """
        return self.set(fn(self.get()), any_shape=any_shape, any_dtype=any_dtype)

    def _check(self, before: Any, value: Any, any_shape: bool, any_dtype: bool) -> None:
        where = difference(before, value, ("the tree", "the new value"))
        if where is not None:
            raise ShapeMismatchError(
                f"{self._path!r} cannot be set to a value of another structure: {where}. To have"
                " other variables there, use ps.surgery.insert and ps.surgery.delete."
            )
        for (name, old), (_, new) in zip(
            named_leaves(before, holes=True), named_leaves(value, holes=True), strict=True
        ):
            name = join(self._path, name)
            if old is None or new is None:
                continue
            if not any_shape and shape_of(old) != shape_of(new):
                raise ShapeMismatchError(
                    f"{name!r} has shape {shape_of(old)}, and cannot be set to a value of shape"
                    f" {shape_of(new)}. If it is to have another shape, pass any_shape=True."
                )
            if not any_dtype and not same_dtype(old, new):
                raise ShapeMismatchError(
                    f"{name!r} has dtype {dtype_of(old)}, and cannot be set to a value of dtype"
                    f" {dtype_of(new)}. Convert the value, or pass any_dtype=True if the dtype is"
                    " to change."
                )

    def __repr__(self) -> str:
        return f"at({self._path!r})"


def at(tree: Any, path: Path) -> Place:
    """Points to one place of a tree.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> params = {"mlp/~/linear_0": {"w": jnp.ones([2]), "b": jnp.zeros([2])}}
    >>> new = ps.surgery.at(params, "mlp/~/linear_0/w").set(jnp.array([3.0, 4.0]))
    >>> new["mlp/~/linear_0"]["w"].tolist(), params["mlp/~/linear_0"]["w"].tolist()
    ([3.0, 4.0], [1.0, 1.0])
    >>> linear = ps.surgery.at(params, "mlp/~/linear_0")
    >>> linear.apply(lambda module: jax.tree.map(jnp.exp, module))["mlp/~/linear_0"]["b"]
    Array([1., 1.], dtype=float32)

    Args:
      tree: any pytree.
      path: the keys with slashes between them, as in "module/name", "params/module/name" or
        "0/mu/module/name"; or a sequence of keys. It may end at an inner node, such as a module.

    Returns:
      A `Place`, with `get()`, `set(value)` and `apply(fn)`.

    Raises:
      PathError: the path stands for nothing, or for several places.
    """
    return Place(tree, path)
