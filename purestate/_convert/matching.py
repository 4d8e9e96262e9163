"""Which layer of the library is which layer of the model."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from purestate._convert.errors import ConversionError
from purestate._convert.library import Library, Unit
from purestate._convert.names import Named
from purestate._convert.neutral import dummies, to_neutral
from purestate._convert.targets import RAW, Target

_JOINED = ("linear", "dense_general", "conv")  # whose outputs can be joined

ATTENTION = ("query", "key", "value", "linear")
"""The layers that an attention of any library is read as; ps.MultiHeadAttention has these names."""

Signature = tuple[tuple[str, tuple[int, ...]], ...]


class Match(NamedTuple):
    """Layers that are the same: one and one, or one and several that are joined.

    Attributes:
      units: the names in the library.
      targets: the layers of the model.
      how: what settled it: "names", "equal names", "order", "shape" or "tied".
    """

    units: tuple[str, ...]
    targets: tuple[Target, ...]
    how: str


class Matches(NamedTuple):
    """All matches, and the rest.

    Attributes:
      matches: the matches.
      tied: for a layer that is not needed: the layer with the same arrays.
      problems: what went wrong, one line each.
      suggested: what might be written in `names`.
    """

    matches: list[Match]
    tied: dict[str, str]
    problems: list[str]
    suggested: dict[str, str]


def joined(neutrals: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Joins the neutral arrays of several layers along the last axis, that of their outputs."""
    if len(neutrals) == 1:
        return dict(neutrals[0])
    return {k: np.concatenate([each[k] for each in neutrals], -1) for k in neutrals[0]}


def neutral_shapes(targets: Sequence[Target]) -> dict[str, Any]:
    """Returns zeros in the shapes of the neutral arrays of layers, joined."""
    return joined([to_neutral(target, dummies(target)) for target in targets])


def wanted(library: Library, targets: Sequence[Target]) -> dict[str, tuple[int, ...]]:
    """Returns the arrays that a library would have for layers of the model, with their shapes."""
    if targets[0].kind == RAW:
        (place,) = targets[0].variables.values()
        return {"": place.spec.shape}
    arrays = library.layouts[targets[0].kind].to(neutral_shapes(targets))
    return {name: np.shape(x) for name, x in arrays.items()}


def signature(library: Library, shapes: Mapping[str, tuple[int, ...]]) -> Signature:
    """Returns names and shapes of the arrays that two equal layers share."""
    return tuple(sorted((k, shape) for k, shape in shapes.items() if k not in library.optional))


def shapes_of(unit: Unit) -> dict[str, tuple[int, ...]]:
    return {name: view.shape for name, view in unit.items()}


def _family(sig: Signature, any_size: bool) -> Any:
    """Layers that may be meant by each other: with or without a bias, perhaps of any size."""
    if not any_size:
        return sig
    return tuple((name, len(shape)) for name, shape in sig if name != "bias") or sig


class Matcher:
    """Matches layers: by the names map, by equal names, in order, by shape."""

    def __init__(self, library: Library, units: dict[str, Unit], targets: list[Target]):
        self.library = library
        self.units = units
        self.targets = targets
        self.unit_sigs = {name: signature(library, shapes_of(unit)) for name, unit in units.items()}
        self.target_sigs = {t.path: signature(library, wanted(library, [t])) for t in targets}
        self.found = Matches([], {}, [], {})

    def by_names(self, named: Named) -> None:
        """Takes what the `names` of the user say."""
        by_path = {t.path: t for t in self.targets}
        for names, paths in named.pairs:
            targets = tuple(by_path[path] for path in paths)
            self._check_shapes(names, targets)
            self.found.matches.append(Match(names, targets, "names"))

    def _check_shapes(self, names: tuple[str, ...], targets: tuple[Target, ...]) -> None:
        ours = [wanted(self.library, [target]) for target in targets]
        theirs = [shapes_of(self.units[name]) for name in names]
        kind = targets[0].kind
        if len(ours) + len(theirs) > 2:
            alike = {tuple((k, len(s)) for k, s in sorted(each.items())) for each in ours + theirs}
            if kind not in _JOINED or len({t.kind for t in targets}) > 1 or len(alike) > 1:
                raise ConversionError(
                    f"names: {_shown(names)} and {_shown([t.path for t in targets])} cannot be"
                    " joined, since they are not all linear layers, or all convolutions, and"
                    " either all with a bias or all without."
                )
        there = theirs[0] if len(theirs) == 1 else self._joined_shapes(theirs, targets)
        here = wanted(self.library, targets)
        same = signature(self.library, here) == signature(self.library, there)
        if not same and not (kind == RAW and _squeezed(here) == _squeezed(there)):
            self.found.problems.append(
                f"Another shape: {_shown(names)} has {describe(there)}, and"
                f" {_shown([t.path for t in targets])} needs {describe(here)}"
            )

    def _joined_shapes(
        self, units: Sequence[Mapping[str, tuple[int, ...]]], targets: tuple[Target, ...]
    ) -> dict[str, tuple[int, ...]]:
        layout, neutral = self.library.layouts[targets[0].kind], neutral_shapes(targets)
        zeros = [
            {k: np.broadcast_to(np.float32(0), shape) for k, shape in unit.items()}
            for unit in units
        ]
        arrays = layout.to(joined([layout.back(unit, neutral) for unit in zeros]))
        return {k: np.shape(x) for k, x in arrays.items()}

    def _left(self) -> tuple[list[str], list[Target]]:
        used = {name for match in self.found.matches for name in match.units}
        taken = {t.path for match in self.found.matches for t in match.targets}
        units = [name for name in self.units if name not in used and name not in self.found.tied]
        return units, [t for t in self.targets if t.path not in taken]

    def _add(self, name: str, target: Target, how: str) -> None:
        self.found.matches.append(Match((name,), (target,), how))

    def by_equal_names(self) -> None:
        """Matches layers whose names differ at most in how their parts are joined."""
        units, targets = self._left()
        plain = {t.path.replace("/~", "").replace("/", self.library.separator): t for t in targets}
        for name in units:
            target = plain.get(name)
            if target and self.unit_sigs[name] == self.target_sigs[target.path]:
                self._add(name, target, "equal names")

    def without_tied(self, same_as: Mapping[str, str]) -> None:
        """Leaves out layers with the arrays of another one, if the model has fewer such layers."""
        units, targets = self._left()
        for name in reversed(units):
            sig = self.unit_sigs[name]
            theirs = [n for n in units if self.unit_sigs[n] == sig and n not in self.found.tied]
            ours = [t for t in targets if self.target_sigs[t.path] == sig]
            if name in same_as and len(theirs) > len(ours):
                self.found.tied[name] = same_as[name]

    def by_order(self, *, in_order: bool) -> None:
        """Matches layers of a family in order, if both sides have the same shapes in that order.

        If the order of creation is lost, it counts for layers of one shape whose names differ in
        numbers only, and for the projections of an attention.
        """
        units, targets = self._left()
        for family in dict.fromkeys(_family(self.unit_sigs[name], in_order) for name in units):
            theirs = [n for n in units if _family(self.unit_sigs[n], in_order) == family]
            ours = [t for t in targets if _family(self.target_sigs[t.path], in_order) == family]
            if not in_order:
                theirs.sort(key=_numbers)
                if len({_without_numbers(name) for name in theirs}) > 1:
                    continue
            if [self.unit_sigs[n] for n in theirs] != [self.target_sigs[t.path] for t in ours]:
                continue
            if not all(_may_be_same(n, t) for n, t in zip(theirs, ours, strict=True)):
                continue
            for name, target in zip(theirs, ours, strict=True):
                sig = self.unit_sigs[name]
                if not self._is_mixed(sig, ours):
                    once = sum(self.unit_sigs[n] == sig for n in theirs) == 1
                    self._add(name, target, "shape" if once else "order")

    def _is_mixed(self, sig: Signature, targets: Iterable[Target]) -> bool:
        """Whether layers of different kinds have the same shapes, so that the order says little."""
        return len({t.kind for t in targets if self.target_sigs[t.path] == sig}) > 1

    def by_shape(self) -> None:
        """Matches layers whose shapes no other layer has."""
        units, targets = self._left()
        for name in units:
            sig = self.unit_sigs[name]
            ours = [t for t in targets if self.target_sigs[t.path] == sig]
            if len(ours) == 1 and sum(self.unit_sigs[n] == sig for n in units) == 1:
                self._add(name, ours[0], "shape")

    def leftovers(self) -> tuple[list[str], list[Target]]:
        """What has no match."""
        return self._left()


def _part(name: str) -> str:
    """The name of a projection of an attention, or nothing."""
    last = re.split("[./]", name)[-1]
    return last if last in ATTENTION else ""


def _numbers(name: str) -> tuple[list[int], int]:
    part = _part(name)
    return [int(n) for n in re.findall("[0-9]+", name)], ATTENTION.index(part) if part else 0


def _without_numbers(name: str) -> str:
    return re.sub("[0-9]+", "", name.removesuffix(_part(name)))


def _may_be_same(name: str, target: Target) -> bool:
    """Whether both are the same projection of an attention, or one of them is not one."""
    part, ours = _part(name), _part(target.path)
    return not part or not ours or part == ours


def _squeezed(shapes: Mapping[str, tuple[int, ...]]) -> list[list[int]]:
    return [[n for n in shape if n != 1] for shape in shapes.values()]


def describe(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Shows the arrays of a layer: `weight[3,4], bias[3]`."""
    return ", ".join(f"{name}[{','.join(map(str, shape))}]" for name, shape in shapes.items())


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
