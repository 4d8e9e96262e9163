"""Which variable of the model each variable of a checkpoint is, as far as that is certain.

A full name of TensorFlow, such as `mlp/linear_0/w`, has the names of the modules in which the
variable was made. Several modules may have one name. purestate numbers them in the order in which
they were made, which a checkpoint does not say: attributes and lists have the order in which they
were set. Three things are certain:

- A name in purestate is the full name, with a number behind each part or without.
- Shape and dtype are the same on both sides.
- Variables of one full scope that one object holds are of one module.

A variable is found if these leave one possibility. No order decides.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from purestate._core.path import split_number
from purestate._tf_checkpoint.object_graph import ObjectGraph
from purestate._tf_checkpoint.targets import Target, full_path

Parts = tuple[str, ...]
Shape = tuple[int, ...]

_NUMBERS = re.compile(r"(_[0-9]+)*")
_AT_THE_END = re.compile(r"(_[0-9]+)+$")


class Stored(NamedTuple):
    """A variable of a checkpoint.

    Attributes:
      parts: its full name, split.
      shape: its shape.
      dtype: its dtype.
    """

    parts: Parts
    shape: Shape
    dtype: np.dtype


class Proof:
    """All that is certain.

    Args:
      graph: all objects.
      root: the number of the model.
      stored: the variables of the model in the checkpoint, by their numbers in the graph.
      targets: the variables of the model.
      only_given: whether the checkpoint may have more variables.

    Attributes:
      found: the variable of the model, by the number of the variable in the graph.
      options: those that have several possibilities left, or none.
      is_complete: whether every variable has been found.
      is_open: whether each one that is left has a possibility.
    """

    def __init__(
        self,
        graph: ObjectGraph,
        root: int,
        stored: dict[int, Stored],
        targets: list[Target],
        only_given: bool,
    ):
        self.found: dict[int, Target] = {}
        self._targets = targets
        self._only_given = only_given
        self.options = _options(stored, targets)
        self._units = list(_units(graph, root, stored))
        self._free = set(range(len(targets)))
        while self._narrowed():
            pass
        self.is_complete = (
            not self._free
            and (only_given or not self.options)
            and all(_is_together(unit, self.found) for unit in self._units)
        )
        possible: set[int] = set().union(*self.options.values())
        self.is_open = self._free <= possible and (
            only_given or (all(self.options.values()) and len(self.options) == len(self._free))
        )

    def allows(self, found: dict[int, Target]) -> bool:
        """Whether it may be that these are the variables of the model."""
        numbers = {id(target): i for i, target in enumerate(self._targets)}
        return all(
            self.found.get(at) is target or numbers[id(target)] in self.options.get(at, ())
            for at, target in found.items()
        ) and all(_is_together(unit, found) for unit in self._units)

    def pairs(self) -> Iterator[tuple[int, int, Target]]:
        """Yields two variables of the checkpoint that may both be the same one of the model."""
        first: dict[int, int] = {}
        shown: set[int] = set()
        for at, options in self.options.items():
            for i in sorted(options):
                other = first.setdefault(i, at)
                if other != at and at not in shown:
                    shown.add(at)
                    yield other, at, self._targets[i]

    def _narrowed(self) -> bool:
        """Rules out possibilities; returns whether anything is new."""
        before = sum(map(len, self.options.values())), len(self.options)
        for unit in self._units:
            self._keep_together(unit)
        if not self._only_given:
            for at, options in list(self.options.items()):
                if len(options) == 1 and at in self.options:
                    self._settle(at, next(iter(options)))
        who: dict[int, list[int]] = {}
        for at, options in self.options.items():
            for i in options:
                who.setdefault(i, []).append(at)
        for i, ats in who.items():
            if len(ats) == 1 and i in self._free and ats[0] in self.options:
                self._settle(ats[0], i)
        return before != (sum(map(len, self.options.values())), len(self.options))

    def _keep_together(self, unit: list[int]) -> None:
        """Leaves the variables of one module those of a module that all of them may be in.

        If the checkpoint may have more variables, only those that are found count.
        """
        modules = [{self.found[at].module} for at in unit if at in self.found]
        left = [at for at in unit if at in self.options]
        if not self._only_given:
            modules += [{self._targets[i].module for i in self.options[at]} for at in left]
        if modules:
            common = set[str].intersection(*modules)
            for at in left:
                options = self.options[at]
                self.options[at] = {i for i in options if self._targets[i].module in common}

    def _settle(self, at: int, i: int) -> None:
        self.found[at] = self._targets[i]
        self._free.discard(i)
        del self.options[at]
        for options in self.options.values():
            options.discard(i)


def _is_together(unit: list[int], found: dict[int, Target]) -> bool:
    return len({found[at].module for at in unit if at in found}) < 2


def _options(stored: dict[int, Stored], targets: list[Target]) -> dict[int, set[int]]:
    """Returns which variables of the model each one may be, by name, shape and dtype."""
    paths = [full_path(target) for target in targets]
    alike: dict[tuple[Parts, Shape], tuple[list[int], list[int]]] = {}
    for at, each in stored.items():
        alike.setdefault((_bare(each.parts), each.shape), ([], []))[0].append(at)
    for i, target in enumerate(targets):
        alike.setdefault((_bare(paths[i]), tuple(target.leaf.shape)), ([], []))[1].append(i)
    known = {each.parts[:n] for each in stored.values() for n in range(1, len(each.parts) + 1)}
    options: dict[int, set[int]] = {at: set() for at in stored}
    for ats, fitting in alike.values():
        names = [stored[at].parts for at in ats]
        # Numbers make names longer. So if both sides have the same names, none has a new number.
        same = sorted(names) == sorted(paths[i] for i in fitting)
        is_named = same and len(set(names)) == len(names)
        for at, name in zip(ats, names, strict=True):
            bare = name if is_named else _given(name, known)
            options[at] = {
                i
                for i in fitting
                if (paths[i] == name if is_named else _extends(paths[i], bare))
                and targets[i].problem(stored[at].shape, stored[at].dtype) is None
            }
    return options


def _given(name: Parts, known: set[Parts]) -> Parts:
    """Returns a name without numbers that TensorFlow may have added.

    It does so to modules that are made in a `tf.function`. Each function counts for itself.
    """
    given: list[str] = []
    for n, part in enumerate(name):
        bare, number = split_number(part)
        while number is not None and (*name[:n], bare) in known:
            part = bare
            bare, number = split_number(part)
        given.append(part)
    return tuple(given)


def _bare(name: Parts) -> Parts:
    return tuple(_AT_THE_END.sub("", part) for part in name)


def _extends(path: Parts, name: Parts) -> bool:
    return all(
        long.startswith(short) and _NUMBERS.fullmatch(long[len(short) :])
        for long, short in zip(path, name, strict=True)
    )


def _units(graph: ObjectGraph, root: int, stored: dict[int, Stored]) -> Iterator[list[int]]:
    """Yields variables that are of one module: those of one scope that one object holds.

    An object that lists variables that another one has as attributes does not count.
    """
    holders: dict[int, dict[int, bool]] = {}  # for each variable, and whether as an attribute
    seen = {root}
    waiting = [root]
    while waiting:
        holder = waiting.pop()
        for at, is_attribute in _leaves(graph, holder):
            if at in stored:
                known = holders.setdefault(at, {})
                known[holder] = known.get(holder, False) or is_attribute
            elif at not in seen:
                seen.add(at)
                waiting.append(at)
    units: dict[tuple[int, Parts], list[int]] = {}
    for at, known in holders.items():
        for holder, is_attribute in known.items():
            if is_attribute or len(known) == 1:
                units.setdefault((holder, stored[at].parts[:-1]), []).append(at)
    yield from (unit for unit in units.values() if len(unit) > 1)


def _leaves(graph: ObjectGraph, holder: int) -> Iterator[tuple[int, bool]]:
    """Yields what an object holds, also in lists, and whether as an attribute."""
    seen: set[int] = set()
    waiting = [(at, True) for at in graph.nodes[holder].children.values()]
    for at, is_attribute in waiting:
        if not graph.nodes[at].is_list:
            yield at, is_attribute
        elif at not in seen:
            seen.add(at)
            waiting += [(child, False) for child in graph.nodes[at].children.values()]
