"""Both directions of a conversion, for any library."""

import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._convert import moving
from purestate._convert.errors import ConversionError, UnverifiedWarning
from purestate._convert.library import Library
from purestate._convert.matching import Match
from purestate._convert.names import plain
from purestate._convert.plan import plan_of, refuse
from purestate._convert.report import Converted, report_of
from purestate._convert.targets import RAW, model_of
from purestate._core.abstract import uncompiled
from purestate._core.errors import kind_of
from purestate._core.pairs import Transformed, TransformedWithState

TOLERANCE = 1e-3
"""How far outputs may be from those of the other library, relative to the largest of them."""


def convert_from(
    library: Library,
    arrays: Mapping[str, np.ndarray],
    f: Any,
    rng: Any,
    example: tuple[Any, ...],
    *,
    names: Any,
    transposed: Any = (),
    check: Any,
    check_args: tuple[Any, ...] | None,
) -> Converted:
    """Converts the arrays of a library to what `init` returns."""
    call = f"from_{library.name}"
    model = model_of(call, f, rng, example)
    plan = plan_of(library, arrays, model, names, transposed)
    values = moving.read(library, arrays, plan)
    if plan.initial:
        started = _parts(f, uncompiled(f.init)(rng, *jax.tree.map(_concrete, example)))
        for target in plan.initial:
            for part, module, name, _ in target.variables.values():
                values[part, module, name] = started[part][module][name]
    parts = moving.as_parts(model, values)
    params = parts.pop("params", {})
    state = parts.get("state", {}) if isinstance(f, TransformedWithState) else parts
    difference = None
    if check is not None and check is not False:
        args = example if check_args is None else check_args
        difference = _compare(call, _outputs(f, params, state, rng, args), check, args)
    report = report_of(plan, difference)
    if check is None:
        warnings.warn(
            f"{call}: {report.counts()}. Nothing compared the outputs of the two models. Pass"
            " check=..., a function that runs the other model or its outputs, or check=False if"
            " you compare them yourself.",
            UnverifiedWarning,
            stacklevel=3,
        )
    return Converted(params, state, report)


def _concrete(x: Any) -> Any:
    return jnp.zeros(x.shape, x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else x


def _outputs(f: Any, params: Any, state: Any, rng: Any, args: tuple[Any, ...]) -> Any:
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(args)):
        raise ConversionError(
            "`check` needs arrays to run the models on, and the example has only shapes. Pass"
            " check_args=(x, ...)."
        )
    if isinstance(f, Transformed):
        return f.apply(params, rng, *args)
    if isinstance(f, TransformedWithState):
        return f.apply(params, state, rng, *args)[0]
    return f.apply({"params": params, **state}, rng, *args)[0]


def _compare(call: str, ours: Any, check: Any, args: tuple[Any, ...]) -> float:
    """Returns the largest difference of the outputs of the two models."""
    theirs = check(*args) if callable(check) else check
    pairs = [[np.asarray(_plain(x), np.float64) for x in _leaves(tree)] for tree in (ours, theirs)]
    shapes = [[x.shape for x in leaves] for leaves in pairs]
    if shapes[0] != shapes[1]:
        raise ConversionError(
            f"{call}: the outputs of the model have the shapes {shapes[0]}, those of `check`"
            f" {shapes[1]}. Have `check` return the same arrays in the same layout."
        )
    difference, largest = 0.0, 1.0
    for a, b in zip(*pairs, strict=True):
        difference = max(difference, float(np.max(np.abs(a - b), initial=0)))
        largest = max(largest, float(np.max(np.abs(b), initial=0)))
    if not difference <= TOLERANCE * largest:
        raise ConversionError(
            f"{call}: the outputs of the two models differ by up to {difference:.3g}, where the"
            f" largest is {largest:.3g}. Either layers are matched wrongly (look at the report, with"
            " check=False, and pass `names`), or the models compute something else: another eps,"
            " activation, order of layers, or axis of channels."
        )
    return difference


def _leaves(tree: Any) -> list[Any]:
    return jax.tree.leaves(tree)


def _plain(x: Any) -> Any:
    return x.detach().cpu().float() if hasattr(x, "detach") else x


def convert_to(
    library: Library,
    variables: Any,
    f: Any,
    rng: Any,
    example: tuple[Any, ...],
    *,
    like: Mapping[str, np.ndarray] | None,
    names: Any,
    transposed: Any = (),
) -> dict[str, np.ndarray]:
    """Converts what `init` returned to the arrays of a library, with the names of `like`."""
    model = model_of(f"to_{library.name}", f, rng, example)
    values = moving.as_values(model, _parts(f, variables))
    if like is not None:
        plan = plan_of(library, like, model, names, transposed)
        arrays = {name: np.array(x) for name, x in like.items()}
        moving.write(library, arrays, plan, values)
        return arrays
    if names is not None or transposed:
        raise ConversionError(
            f"to_{library.name} takes `names` only together with `like`, weights of the other model"
            " whose names and shapes are wanted."
        )
    refuse(library, model)
    arrays = {}
    for target in model.targets:
        path = plain(target.path).replace("/", library.separator)
        if target.kind == RAW:
            (place,) = target.variables.values()
            arrays[path] = np.asarray(values[place.part, place.module, place.name])
            continue
        (leaves,) = moving.written(library, Match((path,), (target,), "names"), values)
        for leaf, value in leaves.items():
            arrays[f"{path}{library.separator}{leaf}"] = np.ascontiguousarray(value)
    return arrays


def _parts(f: Any, variables: Any) -> dict[str, Any]:
    """Returns what `init` returns as a dict of its parts."""
    if isinstance(variables, tuple):
        params, state = variables[:2]
        if isinstance(f, (Transformed, TransformedWithState)):
            return {"params": params, "state": state}
        return {"params": params, **state}
    if not isinstance(variables, Mapping):
        raise ConversionError(
            "The variables must be what `init` returned, or what a converter returned, but are"
            f" {kind_of(variables)}."
        )
    return {"params": variables} if isinstance(f, Transformed) else dict(variables)
