"""Likely names of the variables of a checkpoint in purestate, by the order of the attributes.

A full name of TensorFlow, such as `mlp/linear_0/w`, has the name scopes in which the variable was
made. Several objects may have one scope. purestate numbers them in the order in which they were
made. A checkpoint does not say this order. It has the order of attributes and of lists, which is
likely the same if the objects were made inside the method that sets the attributes, or within the
list. `proof` has all that is certain.
"""

import dataclasses
from collections.abc import Callable, Iterator
from itertools import pairwise

from purestate._core.path import split_number
from purestate._tf_checkpoint.object_graph import ObjectGraph
from purestate._tf_checkpoint.object_tree import ObjectTree, Scope, scope_and_name

Place = tuple[str, str]
"""Path of the module, and name of the variable."""


@dataclasses.dataclass(frozen=True)
class Named:
    """The variables of an object by their likely names in purestate.

    Attributes:
      places: the place of each variable, by its number in the graph.
      unordered: pairs of places. The modules or variables there are equal but for their order, for
        which the graph has not even a likely one.
    """

    places: dict[int, Place]
    unordered: list[tuple[str, str]]

    def renumbered(self, tops: set[str]) -> dict[int, Place]:
        """Returns the places with the modules on top of a model in place of those here.

        All numbers of a name may be higher, if other modules were made outside before.
        """
        there = _by_name(tops)
        new: dict[str, str] = {}
        here = _by_name({path.split("/")[0] for path, _ in self.places.values()})
        for name, modules in here.items():
            pairs = list(zip(modules, there.get(name, []), strict=False))
            is_shifted = len({after - before for (before, _), (after, _) in pairs}) == 1
            if is_shifted and len(modules) == len(there[name]):
                new |= {old: top for (_, old), (_, top) in pairs}
        renamed: dict[int, Place] = {}
        for at, (path, name) in self.places.items():
            top, *rest = path.split("/")
            renamed[at] = "/".join([new.get(top, top), *rest]), name
        return renamed


def _by_name(modules: set[str]) -> dict[str, list[tuple[int, str]]]:
    """Returns numbers and modules of each name without a number, in order."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for module in sorted(modules):
        bare, number = split_number(module)
        groups.setdefault(bare, []).append((number or 0, module))
    return {bare: sorted(group) for bare, group in groups.items()}


def name_variables(
    graph: ObjectGraph, root: int, shape: Callable[[int], tuple[int, ...]], deduces: bool
) -> Named:
    """Names the variables below an object.

    Args:
      graph: all objects.
      root: the number of the object.
      shape: returns the shape of a variable.
      deduces: see `ObjectTree`.
    """
    tree = ObjectTree(graph, root, deduces)
    modules = _Modules(tree)
    same: dict[Place, list[int]] = {}
    places: dict[int, Place] = {}
    for at in tree.order:
        scope = tree.scopes[at]
        if scope:
            modules.path(at, scope)
        if tree.nodes[at].key is not None:
            scope, name = scope_and_name(tree.nodes[at].full_name)
            path = modules.path(tree.holder(at), scope)
            equal = same.setdefault((path, name), [])
            places[at] = path, f"{name}_{len(equal)}" if equal else name
            equal.append(at)
    unordered: list[tuple[str, str]] = []
    for equal in same.values():
        unordered += _unordered(tree, [(at, "/".join(places[at]), shape(at)) for at in equal])
    contents = _contents(places, shape)
    for group in modules.equal.values():
        unordered += _unordered(
            tree, [(at, path, frozenset(contents.get(path, ()))) for at, path in group]
        )
    return Named(places, unordered)


def _unordered(tree: ObjectTree, group: list[tuple[int, str, object]]) -> Iterator[tuple[str, str]]:
    """Yields the pairs of a group whose order matters, as they look the same, and is not known."""
    alike: dict[object, list[tuple[int, str]]] = {}
    for at, path, looks in group:
        alike.setdefault(looks, []).append((at, path))
    for members in alike.values():
        for (first, path), (second, other) in pairwise(members):
            if not tree.is_ordered(first, second):
                yield path, other


def _contents(
    places: dict[int, Place], shape: Callable[[int], tuple[int, ...]]
) -> dict[str, list[object]]:
    """Returns relative names and shapes of the variables below each path."""
    found: dict[str, list[object]] = {}
    for at, (path, name) in places.items():
        parts = path.split("/")
        for size in range(1, len(parts) + 1):
            below = "/".join([*parts[size:], name])
            found.setdefault("/".join(parts[:size]), []).append((below, shape(at)))
    return found


class _Modules:
    """Gives each module its path.

    Attributes:
      equal: the modules of one name in one place, each as its number and its path.
    """

    def __init__(self, tree: ObjectTree):
        self.equal: dict[Place, list[tuple[int, str]]] = {}
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
        path = self._numbered(parent, rest[-1])
        self.equal.setdefault((parent, rest[-1]), []).append((at, path))
        return path

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
