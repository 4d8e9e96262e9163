"""Likely names of the variables of a checkpoint in purestate, for messages.

A checkpoint does not say in which order equal modules were made. That of attributes and of lists
is the likely one. `proof` has all that is certain.
"""

from purestate._core.path import split_number
from purestate._tf_checkpoint.object_graph import ObjectGraph
from purestate._tf_checkpoint.object_tree import ObjectTree, Scope, scope_and_name

Place = tuple[str, str]
"""Path of the module, and name of the variable."""


def name_variables(graph: ObjectGraph, root: int, deduces: bool) -> dict[int, Place]:
    """Returns the likely place of each variable below an object, by its number.

    Args:
      graph: all objects.
      root: the number of the object.
      deduces: see `ObjectTree`.
    """
    tree = ObjectTree(graph, root, deduces)
    modules = _Modules(tree)
    counts: dict[Place, int] = {}
    places: dict[int, Place] = {}
    for at in tree.order:
        scope = tree.scopes[at]
        if scope:
            modules.path(at, scope)
        if tree.nodes[at].key is not None:
            scope, name = scope_and_name(tree.nodes[at].full_name)
            path = modules.path(tree.holder(at), scope)
            number = counts[path, name] = counts.get((path, name), -1) + 1
            places[at] = path, f"{name}_{number}" if number else name
    return places


class _Modules:
    """Gives each module its path."""

    def __init__(self, tree: ObjectTree):
        self._tree = tree
        self._paths: dict[tuple[int, Scope], str] = {}
        self._counts: dict[Place, int] = {}
        self._used: set[str] = set()

    def path(self, at: int, scope: Scope) -> str:
        """Returns the path of the module of a scope that an object is, or that it is a part of."""
        if not scope:
            return ""
        if (at, scope) not in self._paths:
            self._paths[at, scope] = self._new_path(at, scope)
        return self._paths[at, scope]

    def _new_path(self, at: int, scope: Scope) -> str:
        parent, rest = "", scope
        own = self._tree.scopes[at]
        for above in ([at] if own != scope else []) + self._tree.above(at):
            around = self._tree.scopes[above]
            if around and scope[: len(around)] == around:
                parent, rest = self.path(above, around), scope[len(around) :]
                break
        if not rest:
            return parent
        for part in rest[:-1]:  # scopes without an object of their own
            parent = _join(parent, part)
        return self._numbered(parent, rest[-1])

    def _numbered(self, parent: str, name: str) -> str:
        """Returns the path of a new module, by the rules of `purestate._core.naming`."""
        bare, number = split_number(name)
        count = self._counts.get((parent, bare), 0)
        if number is None:
            number = count
            name = f"{bare}_{number}" if number else bare
        self._counts[parent, bare] = max(count, number + 1)
        path, again = _join(parent, name), 0
        while path in self._used:
            again += 1
            path = _join(parent, f"{name}_{again}")
        self._used.add(path)
        return path


def _join(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent else name
