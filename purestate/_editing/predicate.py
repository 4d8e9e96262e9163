"""`Predicate`: a function of variables that combines with others by `&`, `|` and `~`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from purestate._editing.errors import PredicateError
from purestate._editing.paths import full_name, path_string


class Predicate:
    """Says yes or no to a variable; combines with other predicates by `&`, `|` and `~`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> no_decay = ps.surgery.glob("*/b") | ps.surgery.has_ndim(0)
    >>> params = {"linear": {"w": jnp.ones([3, 2]), "b": jnp.ones([2])}}
    >>> (~no_decay)(params)
    {'linear': {'b': False, 'w': True}}
    >>> no_decay("linear/b", params["linear"]["b"])
    True
    >>> large = ps.surgery.Predicate(lambda path, leaf: leaf.size > 2)
    >>> ps.data_structures.filter(large, params).keys()
    dict_keys(['linear'])

    It takes a leaf; a path (a string, or JAX's key path) and a leaf; module, name and value, as in
    `data_structures.filter`; or a whole tree, for which it returns a tree of bools, such as the
    masks of optax: `optax.adamw(1e-3, mask=~no_decay)`.

    Predicates of `ps.surgery` are equal if they say the same in the same way. They can be pickled.

    Args:
      holds: `holds(path, leaf) -> bool`; `path` is a string such as "mlp/~/linear_0/w".
      needs_path: whether it looks at the path, so that a leaf is not enough.
      description: the text of its `repr`.
    """

    __slots__ = ("_description", "_holds", "needs_path")

    def __init__(
        self,
        holds: Callable[[str, Any], Any],
        *,
        needs_path: bool = True,
        description: str | None = None,
    ):
        self._holds = holds
        self.needs_path = needs_path
        self._description = description or f"Predicate({holds!r})"

    def __call__(self, *args: Any) -> Any:
        """Returns whether it holds; for a tree, a tree of bools.

        Args:
          *args: `leaf`, `tree`, `path, leaf`, or `module, name, value`.

        Returns:
          A bool, or a tree of bools.

        Raises:
          PredicateError: it looks at paths, and got a leaf without one; or it got more than three
            arguments.
        """
        if len(args) == 3:
            module, name, value = args
            return bool(self._holds(full_name(module, name), value))
        if len(args) == 2:
            path, leaf = args
            return bool(self._holds(path_string(path), leaf))
        if len(args) != 1:
            raise PredicateError(
                f"{self!r} takes a leaf, a tree, (path, leaf) or (module, name, value), but got"
                f" {len(args)} arguments."
            )
        (tree,) = args
        if not jax.tree_util.all_leaves([tree]):
            return jax.tree_util.tree_map_with_path(self, tree)
        if self.needs_path:
            raise PredicateError(
                f"{self!r} looks at the path of a variable, but got a leaf without its path. Use it"
                " with ps.surgery.filter_with_path or partition_with_path, in ps.data_structures,"
                " or on a whole tree: these know the paths."
            )
        return bool(self._holds("", tree))

    def __and__(self, other: Any) -> "Predicate":
        return self._with(other, all, "&")

    def __or__(self, other: Any) -> "Predicate":
        return self._with(other, any, "|")

    def _with(self, other: Any, how: Any, sign: str) -> "Predicate":
        if not isinstance(other, Predicate):
            return NotImplemented
        return Predicate(
            _Both(self._holds, other._holds, how),
            needs_path=self.needs_path or other.needs_path,
            description=f"({self!r} {sign} {other!r})",
        )

    def __invert__(self) -> "Predicate":
        return Predicate(_Not(self._holds), needs_path=self.needs_path, description=f"~{self!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Predicate) and self._holds == other._holds

    def __hash__(self) -> int:
        return hash(self._holds)

    def __reduce__(self) -> Any:
        return _made, (self._holds, self.needs_path, self._description)

    def __bool__(self) -> bool:
        raise PredicateError(
            f"{self!r} is neither true nor false by itself. Combine predicates with &, | and ~ in"
            " place of and, or and not."
        )

    def __repr__(self) -> str:
        return self._description


def _made(holds: Any, needs_path: bool, description: str) -> Predicate:
    return Predicate(holds, needs_path=needs_path, description=description)


# Classes, and not closures, so that predicates can be compared and pickled.


@dataclasses.dataclass(frozen=True)
class _Both:
    one: Callable[[str, Any], Any]
    other: Callable[[str, Any], Any]
    how: Callable[[Any], bool]  # any or all

    def __call__(self, path: str, leaf: Any) -> bool:
        return self.how(holds(path, leaf) for holds in (self.one, self.other))


@dataclasses.dataclass(frozen=True)
class _Not:
    holds: Callable[[str, Any], Any]

    def __call__(self, path: str, leaf: Any) -> bool:
        return not self.holds(path, leaf)
