"""Which slot of an optimizer belongs to which variable.

Optimizers of Sonnet have a list for each kind of slot. It is in the order of the variables given
to the first `apply`, which is that of `net.trainable_variables`: the variables of a module by the
names of their attributes, then those of its submodules. The name of a slot ends in that of its
variable, which shows most other orders, but not those of variables with equal names. Optimizers of
TensorFlow itself say in the object graph which slot belongs to which variable.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from purestate._checkpoint.errors import CheckpointError, CheckpointMismatchError
from purestate._editing.array_format import format_array
from purestate._editing.bundles import traverse
from purestate._tf_checkpoint.bundle import Bundle
from purestate._tf_checkpoint.object_graph import ObjectGraph
from purestate._tf_checkpoint.targets import Target


@dataclasses.dataclass(frozen=True)
class Slots:
    """The slots of an optimizer in a checkpoint.

    Attributes:
      title: "`optimizer` of the checkpoint ..." for messages.
      lists: for each kind of slot, the variables and the keys of their slots.
      numbers: the keys of single values, such as `step`.
    """

    title: str
    lists: dict[str, list[tuple[Target, str]]]
    numbers: dict[str, str]

    def read(self, bundle: Bundle) -> dict[str, Any]:
        """Returns `{slot: {module path: {name: array}}}`, and single values."""
        values: dict[str, Any] = {name: bundle.read(key) for name, key in self.numbers.items()}
        for slot, pairs in self.lists.items():
            bundles: dict[str, dict[str, np.ndarray]] = {}
            for target, key in pairs:
                bundles.setdefault(target.module, {})[target.name] = bundle.read(key)
            values[slot] = bundles
        return values

    def targets(self, values: Mapping[str, Any]) -> Iterator[tuple[str, Target]]:
        """Yields key and new value for each slot in `values`."""
        for slot, value in values.items():
            if slot in self.numbers:
                leaf = np.asarray(value)
                if leaf.size != 1:
                    raise CheckpointError(f"{slot!r} must be one number, but is {leaf.shape}.")
                yield self.numbers[slot], Target(False, slot, "", leaf.reshape(()))
            elif slot in self.lists:
                yield from self._of_list(slot, value)
            else:
                known = ", ".join(map(repr, [*self.numbers, *self.lists])) or "nothing"
                raise CheckpointError(f"{self.title} has no {slot!r}: it has {known}.")

    def _of_list(self, slot: str, bundles: Any) -> Iterator[tuple[str, Target]]:
        leaves = {(module, name): leaf for module, name, leaf in traverse(bundles)}
        keys = {(target.module, target.name): (key, target) for target, key in self.lists[slot]}
        here, there = [place for place in leaves if place not in keys], keys.keys() - leaves.keys()
        problems = [f"only the checkpoint has it for {'/'.join(each)!r}" for each in sorted(there)]
        problems += [f"only `opt_state` has it for {'/'.join(each)!r}" for each in here]
        for place in keys.keys() & leaves.keys():
            shape = tuple(keys[place][1].leaf.shape)
            if tuple(np.shape(leaves[place])) != shape:
                problems.append(f"{'/'.join(place)!r} has the shape {np.shape(leaves[place])}")
        if problems:
            raise CheckpointMismatchError(
                f"The slots {slot!r} of {self.title} and of `opt_state` differ:\n  "
                + "\n  ".join(problems)
                + "\nPass the slots of all params of this model."
            )
        for place, (key, _) in keys.items():
            yield key, Target(False, *place, leaves[place])


def find_slots(
    bundle: Bundle, graph: ObjectGraph, root: str, optimizer: str, found: dict[int, Target]
) -> Slots:
    """Finds the slots of an optimizer.

    Args:
      bundle: the checkpoint.
      graph: its objects.
      root: the name of the model.
      optimizer: the name of the optimizer.
      found: the variables of the model, by their numbers in the graph.
    """
    title = f"{optimizer!r} of the checkpoint {bundle.prefix!r}"
    node = graph.nodes[graph.root(optimizer)]
    lists: dict[str, list[tuple[Target, str]]] = {}
    for variable, slot, at in node.slots:
        if variable in found and (key := graph.nodes[at].key) is not None:
            lists.setdefault(slot, []).append((found[variable], key))
    numbers: dict[str, str] = {}
    finder = _Finder(bundle, graph, graph.root(root), found, title)
    for name, at in node.children.items():
        child = graph.nodes[at]
        ats = (
            [child.children[each] for each in sorted(child.children, key=int)]
            if child.is_list
            else []
        )
        if ats and all(graph.nodes[each].key is not None for each in ats):
            lists[name] = finder.pairs(name, ats)
        elif child.key is not None and math.prod(bundle.entries[child.key].shape) == 1:
            numbers[name] = child.key
    if not lists:
        raise CheckpointError(
            f"{title} has no slots: it was saved before its first step, or keeps none. It has"
            f" {', '.join(map(repr, node.children)) or 'no attributes'}."
        )
    return Slots(title, lists, numbers)


class _Finder:
    """Finds the variables of a list of slots."""

    def __init__(
        self, bundle: Bundle, graph: ObjectGraph, root: int, found: dict[int, Target], title: str
    ):
        self._bundle = bundle
        self._nodes = graph.nodes
        self._found = found
        self._title = title
        order = [at for at in flattened(graph, root) if at in found and found[at].is_param]
        self._variables = [(at, found[at]) for at in order]

    def pairs(self, slot: str, ats: list[int]) -> list[tuple[Target, str]]:
        variables = self._variables
        if len(ats) != len(variables) or not all(
            self._belongs(slot_at, at) for slot_at, (at, _) in zip(ats, variables, strict=True)
        ):
            if len(ats) != len(variables):
                raise self._unfit(slot, len(ats))
            variables = [self._only_one(slot, at) for at in ats]
            if len({at for at, _ in variables}) != len(ats):
                raise self._unfit(slot, None)
        return [
            (target, self._nodes[at].key or "")
            for (_, target), at in zip(variables, ats, strict=True)
        ]

    def _belongs(self, slot_at: int, at: int) -> bool:
        """Whether name and shape of a slot are those of a variable."""
        name = self._nodes[at].full_name
        return self._shape(slot_at) == self._shape(at) and (
            "/" + self._nodes[slot_at].full_name
        ).endswith("/" + name)

    def _only_one(self, slot: str, slot_at: int) -> tuple[int, Target]:
        fitting = [each for each in self._variables if self._belongs(slot_at, each[0])]
        if len(fitting) != 1:
            raise self._unfit(slot, None)
        return fitting[0]

    def _shape(self, at: int) -> tuple[int, ...]:
        return self._bundle.entries[self._nodes[at].key or ""].shape

    def _unfit(self, slot: str, count: int | None) -> CheckpointError:
        shown = ", ".join(format_array(target.leaf) for _, target in self._variables[:8])
        return CheckpointError(
            f"The slots {slot!r} of {self._title} are"
            f" {'in another order than' if count is None else f'{count}, and not one for each of'}"
            f" the {len(self._variables)} params in the order of `net.trainable_variables` ({shown}"
            "), and their names do not say which is which. `load` reads them as they are:"
            f" {slot!r} is the list of the variables given to the optimizer's first `apply`."
        )


def flattened(graph: ObjectGraph, root: int) -> Iterator[int]:
    """Yields variables in the order of `tf.Module.variables`."""
    seen = {root}

    def walk(at: int) -> Iterator[int]:
        submodules: list[int] = []
        children = graph.nodes[at].children
        for name in sorted(children):
            for leaf in leaves(children[name]):
                if leaf in seen:
                    continue
                seen.add(leaf)
                if graph.nodes[leaf].key is not None:
                    yield leaf
                else:
                    submodules.append(leaf)
        for submodule in submodules:
            yield from walk(submodule)

    def leaves(at: int) -> Iterator[int]:
        node = graph.nodes[at]
        if not node.is_list:
            yield at
            return
        for name in sorted(node.children, key=int):
            yield from leaves(node.children[name])

    if graph.nodes[root].is_list:
        for leaf in leaves(root):
            yield from walk(leaf) if graph.nodes[leaf].key is None else [leaf]
    else:
        yield from walk(root)
