"""Moves the arrays of a plan, in both directions."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._convert.errors import ConversionError
from purestate._convert.layouts import Arrays
from purestate._convert.library import Library
from purestate._convert.matching import Match, joined, neutral_shapes
from purestate._convert.neutral import from_neutral, to_neutral
from purestate._convert.plan import Plan
from purestate._convert.targets import RAW, Model, Place, Target

Values = dict[tuple[str, str, str], Any]
"""The value of each variable, by part, module and name."""


def read(library: Library, arrays: Mapping[str, np.ndarray], plan: Plan) -> Values:
    """Returns the variables of the model."""
    values: Values = {}
    for match in plan.matches:
        units = [{k: v.read(arrays) for k, v in plan.units[n].items()} for n in match.units]
        if match.targets[0].kind == RAW:
            (place,) = match.targets[0].variables.values()
            _put(values, place, units[0][""], match)
            continue
        layout = library.layouts[match.targets[0].kind]
        shapes = neutral_shapes(match.targets)
        neutral = joined([layout.back(unit, shapes) for unit in units])
        for target, part in zip(match.targets, _split(neutral, match.targets), strict=True):
            for local, value in from_neutral(target, part).items():
                _put(values, target.variables[local], value, match)
    return values


def _put(values: Values, place: Place, value: Any, match: Match) -> None:
    key = place.part, place.module, place.name
    new = np.asarray(value).astype(place.spec.dtype).reshape(place.spec.shape)
    if key in values and not np.array_equal(values[key], new, equal_nan=True):
        raise ConversionError(
            f"names: {match.units[0]!r} is the second name of {place.spec.path!r}, but its values"
            " are others than those of the first. Give it a layer of its own, or None."
        )
    values[key] = new


def _split(neutral: Arrays, targets: tuple[Target, ...]) -> list[dict[str, Any]]:
    """The inverse of `joined`."""
    if len(targets) == 1:
        return [dict(neutral)]
    sizes = [np.shape(neutral_shapes([t])["w"])[-1] for t in targets]
    return _cut(neutral, sizes)


def _cut(neutral: Arrays, sizes: list[int]) -> list[dict[str, Any]]:
    cuts = np.cumsum(sizes)[:-1]
    parts = {k: np.split(x, cuts, -1) for k, x in neutral.items()}
    return [{k: x[i] for k, x in parts.items()} for i in range(len(sizes))]


def write(
    library: Library, arrays: dict[str, np.ndarray], plan: Plan, values: Mapping[Any, Any]
) -> None:
    """Writes the variables of the model into arrays that have the library's names and shapes."""
    for match in plan.matches:
        if match.targets[0].kind == RAW:
            (place,) = match.targets[0].variables.values()
            plan.units[match.units[0]][""].write(arrays, _get(values, place))
            continue
        for name, leaves in zip(match.units, _written(library, match, values, plan), strict=True):
            for leaf, value in leaves.items():
                if leaf in plan.units[name]:
                    plan.units[name][leaf].write(arrays, value)
                # A bias of zeros adds nothing. And not every model keeps a number of updates.
                elif np.ndim(value) and np.any(value):
                    raise ConversionError(
                        f"{name!r} has no {leaf!r} to write that of {match.targets[0].path!r} to."
                        " Pass `like` from a model that has it."
                    )
    for name, other in plan.tied.items():
        for leaf, view in plan.units[name].items():
            view.write(arrays, plan.units[other][leaf].read(arrays))


def _written(
    library: Library, match: Match, values: Mapping[Any, Any], plan: Plan
) -> list[dict[str, Any]]:
    """Returns the arrays of the library for each unit of a match."""
    layout = library.layouts[match.targets[0].kind]
    neutral = joined(
        [
            to_neutral(t, {k: _get(values, place) for k, place in t.variables.items()})
            for t in match.targets
        ]
    )
    if len(match.units) == 1:
        return [layout.to(neutral)]
    shapes = neutral_shapes(match.targets)
    sizes = [
        np.shape(layout.back({k: np.zeros(v.shape) for k, v in plan.units[n].items()}, shapes)["w"])
        for n in match.units
    ]
    return [layout.to(part) for part in _cut(neutral, [size[-1] for size in sizes])]


def _get(values: Mapping[Any, Any], place: Place) -> np.ndarray:
    return np.asarray(values[place.part, place.module, place.name])


def as_parts(model: Model, values: Values) -> dict[str, Any]:
    """Returns values as arrays of JAX, in the structure of what `init` returns."""
    return {
        part: {
            module: {name: jnp.array(values[part, module, name]) for name in names}
            for module, names in bundle.items()
        }
        for part, bundle in model.parts.items()
    }


def as_values(model: Model, parts: Mapping[str, Any]) -> Values:
    """The inverse of `as_parts`; checks names and shapes."""
    expected = jax.tree.map(lambda spec: tuple(spec.shape), model.parts)
    found = {part: parts.get(part, {}) for part in model.parts}
    values = {
        (part, module, name): value
        for part, bundle in found.items()
        for module, names in bundle.items()
        for name, value in names.items()
    }
    shapes = {
        (part, module, name): shape
        for part, bundle in expected.items()
        for module, names in bundle.items()
        for name, shape in names.items()
    }
    wrong = [key for key in {**shapes, **values} if shapes.get(key) != _shape(values, key)]
    if wrong:
        part, module, name = wrong[0]
        raise ConversionError(
            f"The variables are not those of the model: {module}/{name} in {part!r} has shape"
            f" {_shape(values, wrong[0])}, and the model needs {shapes.get(wrong[0])}. ps.check"
            " lists all differences."
        )
    return values


def _shape(values: Values, key: Any) -> tuple[int, ...] | None:
    return np.shape(values[key]) if key in values else None
