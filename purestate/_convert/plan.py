"""The plan of a conversion: the source and the target of each array, in both directions."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from purestate._convert.errors import ConversionError
from purestate._convert.library import Library, Unit
from purestate._convert.matching import (
    Match,
    Matcher,
    Signature,
    describe,
    shapes_of,
    signature,
    wanted,
)  # fmt: skip
from purestate._convert.names import Named, close_to, plain
from purestate._convert.targets import RAW, Model, Target
from purestate._core.errors import kind_of
from purestate._editing.name_patterns import regex_of
from purestate._editing.paths import near

_MOST = 12  # problems that a message lists


class Plan(NamedTuple):
    """What `plan_of` found.

    Attributes:
      units: the layers of the library.
      matches: which layers are the same.
      tied: for layers that are not needed: the layer with the same arrays.
      ignored: the layers that `names` leaves out.
      initial: the variables of the model that the library has nothing for, which are state.
    """

    units: dict[str, Unit]
    matches: list[Match]
    tied: dict[str, str]
    ignored: list[str]
    initial: list[Target]


def plan_of(
    library: Library, arrays: Mapping[str, np.ndarray], model: Model, names: Any, transposed: Any
) -> Plan:
    """Matches all layers, or raises an error with everything that has no match."""
    refuse(library, model)
    named = Named(library, _units(library, arrays, transposed), model.targets, names)
    targets = list(named.targets.values())
    matcher = Matcher(library, named.units, targets)
    matcher.by_names(named)
    for name in named.ignored:
        matcher.units.pop(name)
    settled = {path for _, paths in named.pairs for path in paths}
    initial = [t for t in targets if t.kind == RAW and not _is_param(t) and t.path not in settled]
    matcher.targets = [t for t in targets if t not in initial]
    matcher.by_equal_names()
    matcher.without_tied(_same_arrays(matcher.units, arrays))
    matcher.by_order(in_order=_is_in_order(arrays))
    matcher.by_shape()
    problems = [*named.problems, *matcher.found.problems]
    units, left = matcher.leftovers()
    if problems or units or left:
        raise _mismatch(library, matcher, problems, units, left)
    numbers = {name: number for number, name in enumerate(named.units)}
    matches = sorted(matcher.found.matches, key=lambda match: numbers[match.units[0]])
    return Plan(named.units, matches, matcher.found.tied, named.ignored, initial)


def refuse(library: Library, model: Model) -> None:
    """Raises if the library cannot have one of the layers."""
    for target in model.targets:
        if target.kind != RAW and target.kind not in library.layouts:
            reason = library.refused.get(target.kind, f"{library.name} has no such layer")
            raise ConversionError(
                f"The layer {target.path!r} ({type(target.module).__name__}) cannot be converted:"
                f" {reason}."
            )


def _is_in_order(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether arrays are in the order of creation: some are not in that of the alphabet.

    Files of safetensors, and trees that went through JAX, are sorted. The former by dtype first.
    """
    by_dtype: dict[Any, list[str]] = {}
    for name, x in arrays.items():
        by_dtype.setdefault(x.dtype, []).append(name)
    return any(names != sorted(names) for names in by_dtype.values())


def _is_param(target: Target) -> bool:
    return all(place.part == "params" for place in target.variables.values())


def _units(library: Library, arrays: Mapping[str, np.ndarray], transposed: Any) -> dict[str, Unit]:
    numbers = {name: number for number, name in enumerate(arrays)}
    found = library.units(arrays).items()
    units = dict(sorted(found, key=lambda item: min(numbers[v.name] for v in item[1].values())))
    patterns = (transposed,) if isinstance(transposed, str) else tuple(transposed)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise ConversionError(
                "`transposed` must be a pattern of names, such as '*.c_attn', or several, but has"
                f" {kind_of(pattern)}."
            )
        regex = regex_of(pattern, library.separator)
        names = [name for name in units if regex.fullmatch(name)]
        for name in names:
            units[name] = {
                leaf: view._replace(shape=view.shape[::-1], transposed=True)
                if len(view.shape) == 2
                else view
                for leaf, view in units[name].items()
            }
        if not names:
            raise ConversionError(
                f"transposed: {library.weights} has nothing at {pattern!r}.{near(pattern, units)}"
            )
    return units


def _same_arrays(units: Mapping[str, Unit], arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Returns for layers with the arrays of an earlier layer which one that is."""
    same: dict[str, str] = {}
    seen: dict[Any, list[str]] = {}
    for name, unit in units.items():
        few = [(k, v.shape, v.read(arrays).flat[:8].tobytes()) for k, v in unit.items()]
        earlier = seen.setdefault(tuple(sorted(few)), [])
        for other in earlier:
            pairs = [(units[other][leaf].read(arrays), v.read(arrays)) for leaf, v in unit.items()]
            if all(_is_same(a, b) for a, b in pairs):
                same[name] = other
                break
        else:
            earlier.append(name)
    return same


def _is_same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether arrays share their memory, or have values that are equal by no accident."""
    if np.may_share_memory(a, b):
        return a.__array_interface__["data"] == b.__array_interface__["data"]
    return a.ndim > 1 and a.size > 1 and bool((a != a.flat[0]).any()) and np.array_equal(a, b)


def _mismatch(
    library: Library,
    matcher: Matcher,
    problems: Sequence[str],
    units: Sequence[str],
    left: Sequence[Target],
) -> ConversionError:
    """The error that lists all layers without a match, and what to write."""
    paths = [plain(t.path) for t in left]
    lines = [*problems]
    for name in units:
        shapes = shapes_of(matcher.units[name])
        fits = _fitting(matcher, matcher.unit_sigs[name], left)
        turned = {k: shape[::-1] for k, shape in shapes.items()}
        turned_fits = _fitting(matcher, signature(library, turned), left)
        if fits:
            hint = f" (it fits {', '.join(map(repr, fits[:3]))})"
        elif turned_fits:
            hint = f" (it fits {turned_fits[0]!r} with transposed={name!r})"
        else:
            hint = close_to(name.replace(library.separator, "/"), paths)
        lines.append(f"Only {library.weights} has: {name!r}, {describe(shapes)}{hint}")
    for target in left:
        needs = describe(wanted(library, [target]))
        lines.append(f"Only the model has: {plain(target.path)!r}, which needs {needs}")
    shown = [f"  {line}" for line in lines[:_MOST]]
    if len(lines) > _MOST:
        shown.append(f"  and {len(lines) - _MOST} more")
    return ConversionError(
        f"{library.weights[0].upper()}{library.weights[1:]} and the model do not match:\n"
        + "\n".join(shown)
        + f"\nSay which is which, for instance names={_suggested(matcher, units, left)}. An entry"
        " 'name': None leaves out what the model does not need."
    )


def _fitting(matcher: Matcher, sig: Signature, left: Sequence[Target]) -> list[str]:
    return [plain(t.path) for t in left if matcher.target_sigs[t.path] == sig]


def _suggested(matcher: Matcher, units: Sequence[str], left: Sequence[Target]) -> str:
    """A map of what fits each other, in order; names of no layer if nothing does."""
    free = list(left)
    entries: list[str] = []
    for name in units:
        sig = matcher.unit_sigs[name]
        fitting = next((t for t in free if matcher.target_sigs[t.path] == sig), None)
        if fitting is not None:
            free.remove(fitting)
            entries.append(f"{name!r}: {plain(fitting.path)!r}")
    shown = entries[:_MOST] or ["'name': 'path/of/the/layer'"]
    return "{" + ", ".join(shown) + (", ..." if len(entries) > _MOST else "") + "}"
