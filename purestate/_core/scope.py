"""Scopes: which module method is running, and the module names handed out in it."""

from collections.abc import Iterable, Mapping
from typing import Any

from purestate._core.path import outer_path


class Names:
    """The module names handed out in one scope.

    Attributes:
      prefix: what the paths of modules made here start with.
      used: the paths that are taken. A dict, since adding to one is not a function call.
      counts: path without number -> next free number.
      plain: the names that would be taken if JAX transforms inside left no names behind, as in
        dm-haiku; None while that is the same.
      apart: the paths without number of which `apply` has found a module apart, so that none of
        that name is meant to be shared.
    """

    __slots__ = ("apart", "counts", "plain", "prefix", "used")

    def __init__(
        self,
        prefix: str,
        used: dict[str, None] | None = None,
        counts: dict[str, int] | None = None,
        plain: "Names | None" = None,
    ):
        self.prefix = prefix
        self.used = {} if used is None else used
        self.counts = {} if counts is None else counts
        self.plain = plain
        self.apart: set[str] = set()

    def copy(self) -> "Names":
        plain = None if self.plain is None else self.plain.copy()
        new = Names(self.prefix, self.used.copy(), self.counts.copy(), plain)
        new.apart = self.apart.copy()
        return new

    def take(self, path: str, base: str, number: int) -> None:
        """Marks a path as taken."""
        self.used[path] = None
        if self.counts.get(base, 0) <= number:
            self.counts[base] = number + 1


def joined(a: Names | None, b: Names | None) -> Names | None:
    """Returns the names that are taken in either."""
    if a is None or b is None:
        return a or b
    counts = {
        base: max(a.counts.get(base, 0), b.counts.get(base, 0)) for base in {**a.counts, **b.counts}
    }
    plain = None
    if a.plain is not None or b.plain is not None:
        plain = joined(a.plain or a, b.plain or b)
    both = Names(a.prefix, {**a.used, **b.used}, counts, plain)
    both.apart = a.apart | b.apart
    return both


def after_lifting(before: Names | None, inside: Names | None) -> Names | None:
    """Returns the names that are taken once a lifted body has run.

    Args:
      before: those taken before the body ran.
      inside: those taken when it ended.

    Returns:
      Both. Its `plain` names are those of `before` only.
    """
    if inside is None or (before is not None and inside.used.keys() <= before.used.keys()):
        return before
    plain = Names(inside.prefix) if before is None else (before.plain or before).copy()
    both = joined(before, inside)
    assert both is not None
    both.plain = plain
    return both


class Scope:
    """The module method that is running.

    Scopes are linked from the innermost outwards, so that entering and leaving one is two
    assignments.

    Attributes:
      module: the module; None outside any.
      path: its path; None until its `__init__` has named it.
      method_name: the method that modules made here are named after.
      outer: the scope around this one.
      names: the names handed out here; None until the first module is made. Most scopes make none.
    """

    __slots__ = ("method_name", "module", "names", "outer", "path")

    def __init__(self, module: Any, path: str | None, method_name: str, outer: "Scope | None"):
        self.module = module
        self.path = path
        self.method_name = method_name
        self.outer = outer
        self.names: Names | None = None


class GivenModules:
    """The modules that `apply` was given variables of, and the modules around them."""

    __slots__ = ("_bundles", "_paths")

    def __init__(self, bundles: Iterable[Mapping[str, Any]]):
        self._bundles = tuple(bundles)
        self._paths: set[str] | None = None  # computed when first needed; few programs do

    def __contains__(self, path: str) -> bool:
        if self._paths is None:
            self._paths = set()
            for bundle in self._bundles:
                for module in bundle:
                    while module and module not in self._paths:
                        self._paths.add(module)
                        module = outer_path(module)
        return path in self._paths
