"""The objects below one object, each at the first place that has it."""

from collections.abc import Iterator

from purestate._tf_checkpoint.object_graph import ObjectGraph

Scope = tuple[str, ...]


class ObjectTree:
    """The objects below a root, with the name scope of each module.

    Args:
      graph: all objects.
      root: the number of the object on top.
      deduces: whether an object without variables of its own counts as a module if its submodules
        have one common scope. It may also be a container, such as `snt.Sequential`, of modules that
        were made outside it. The graph cannot tell them apart.

    Attributes:
      order: the numbers of the objects: each before its attributes, and these in their order.
      scopes: the scope of each module, None for other objects.
    """

    def __init__(self, graph: ObjectGraph, root: int, deduces: bool):
        self.nodes = graph.nodes
        self.order: list[int] = []
        self._parents: dict[int, int] = {}
        waiting = [(root, -1)]
        while waiting:
            at, parent = waiting.pop()
            if at in self._parents:
                continue
            self._parents[at] = parent
            self.order.append(at)
            waiting += [(child, at) for child in reversed(self.nodes[at].children.values())]
        self.scopes: dict[int, Scope | None] = {}
        self._find_scopes(deduces)

    def above(self, at: int) -> list[int]:
        """Returns the objects that have this one, from near to far, without itself."""
        found: list[int] = []
        while (at := self._parents[at]) >= 0:
            found.append(at)
        return found

    def holder(self, variable: int) -> int:
        """Returns the module that has a variable, itself or in a list."""
        return next((at for at in self.above(variable) if not self.nodes[at].is_list), variable)

    def is_ordered(self, first: int, second: int) -> bool:
        """Whether the graph has a likely order of construction of two modules or variables.

        It has that of two items of a list, and of two attributes of a module that were made in one
        of its methods, or that hold modules made there. It has none of objects that were passed to
        a module.
        """
        ways = [[*reversed(self.above(at)), at] for at in (first, second)]
        common = next((i for i, (a, b) in enumerate(zip(*ways, strict=False)) if a != b), None)
        if common is None:  # one has the other
            return False
        parent = ways[0][common - 1]
        if self.nodes[parent].is_list:
            return True
        scope = self.scopes[parent]
        if not scope:
            return False
        return all(self._is_made_in(scope, way[common]) for way in ways)

    def _is_made_in(self, scope: Scope, at: int) -> bool:
        own = self.scopes[at]
        if own is not None and len(own) > len(scope) and own[: len(scope)] == scope:
            return True
        return all(each[: len(scope)] == scope for each in self._scopes_below(at))

    def _scopes_below(self, top: int) -> Iterator[Scope]:
        """Yields the scopes of all variables of an object."""
        waiting, seen = [top], {top}
        for at in waiting:
            if self.nodes[at].key is not None:
                yield scope_and_name(self.nodes[at].full_name)[0]
            new = set(self.nodes[at].children.values()) - seen
            seen |= new
            waiting += new

    def _find_scopes(self, deduces: bool) -> None:
        own: dict[int, list[Scope]] = {}
        for at in self.order:
            if self.nodes[at].key is not None:
                scope = scope_and_name(self.nodes[at].full_name)[0]
                own.setdefault(self.holder(at), []).append(scope)
        around: dict[
            int, list[set[Scope]]
        ] = {}  # scopes that an object may have, by each submodule
        for at in reversed(self.order):
            node, options = self.nodes[at], around.get(at, [])
            scope = None
            if node.key is None and not node.is_list:
                if at in own:  # a variable that is also another module's has a longer scope
                    scope = min(own[at], key=len)
                    options = [{scope[:-1]}]
                elif deduces and options:
                    scope = _outermost(set.intersection(*options))
                    options = [{scope[:-1], scope}] if scope else []
            self.scopes[at] = scope
            around.setdefault(self._parents[at], []).extend(options)


def _outermost(scopes: set[Scope]) -> Scope | None:
    return min(scopes, key=len, default=()) or None


def scope_and_name(full_name: str) -> tuple[Scope, str]:
    *scope, name = full_name.split("/")
    return tuple(scope), name
