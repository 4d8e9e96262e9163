"""Both directions of a conversion, for any library."""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._convert import moving
from purestate._convert.errors import ConversionError, UnverifiedWarning
from purestate._convert.library import Library
from purestate._convert.plan import plan_of
from purestate._convert.report import ConversionReport, Converted, report_of
from purestate._convert.targets import model_of
from purestate._core.abstract import uncompiled
from purestate._core.errors import kind_of
from purestate._core.pairs import Transformed, TransformedWithState

TOLERANCE = 1e-3
"""How far outputs may be from those of the other library, relative to the largest of them."""


def convert_from(
    library: Library,
    weights: Any,
    f: Any,
    rng: Any,
    example: tuple[Any, ...],
    *,
    names: Any,
    transposed: Any = (),
    check: Any,
    check_args: tuple[Any, ...] | None,
) -> Converted:
    """Converts weights of a library to what `init` returns."""
    call = f"from_{library.name}"
    model = model_of(call, f, rng, example)
    arrays = library.flatten(weights)
    plan = plan_of(library, arrays, model, names, transposed)
    values = moving.read(library, arrays, plan)
    if plan.initial:
        started = parts_of(f, uncompiled(f.init)(rng, *jax.tree.map(_concrete, example)))
        for target in plan.initial:
            for part, module, name, _ in target.variables.values():
                values[part, module, name] = started[part][module][name]
    parts = moving.as_parts(model, values)
    args = example if check_args is None else check_args
    return finish(call, f, rng, args, parts, report_of(plan), check)


def finish(
    call: str,
    f: Any,
    rng: Any,
    args: tuple[Any, ...],
    parts: dict[str, Any],
    report: ConversionReport,
    check: Any,
    *,
    stacklevel: int = 4,
) -> Converted:
    """Compares the outputs of the two models, or warns that nothing did."""
    params = parts.pop("params", {})
    state = parts.get("state", {}) if isinstance(f, TransformedWithState) else parts
    if check is None:
        warnings.warn(
            f"{call}: {report.counts()}. Nothing compared the outputs of the two models. Pass"
            " check=..., a function that runs the other model or its outputs, or check=False if"
            " you compare them yourself.",
            UnverifiedWarning,
            stacklevel=stacklevel,
        )
    elif check is not False:
        difference = _compare(call, _outputs(f, params, state, rng, args), check, args)
        report = dataclasses.replace(report, difference=difference)
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
    return f.apply({"params": params, **state}, rng, *args, mutable=True)[0]


def _compare(call: str, ours: Any, check: Any, args: tuple[Any, ...]) -> float:
    """Returns the largest difference of the outputs of the two models."""
    theirs = check(*args) if callable(check) else check
    pairs = [
        [np.asarray(_plain(x), np.float64) for x in jax.tree.leaves(tree)]
        for tree in (ours, theirs)
    ]
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
            f"{call}: the outputs of the two models differ by up to {difference:.3g}. The"
            f" largest output is {largest:.3g}. Either layers are matched wrongly (print the"
            " report, with check=False, and pass `names`), or the models compute something else:"
            " another eps, activation, order of layers, or axis of channels."
        )
    return difference


def _plain(x: Any) -> Any:
    return x.detach().cpu().float() if hasattr(x, "detach") else x


def convert_to(
    library: Library,
    variables: Any,
    f: Any,
    rng: Any,
    example: tuple[Any, ...],
    *,
    like: Any,
    names: Any,
    transposed: Any = (),
) -> Any:
    """Converts what `init` returned to weights of a library, with the names of `like`."""
    model = model_of(f"to_{library.name}", f, rng, example)
    values = moving.as_values(model, parts_of(f, variables))
    arrays = library.flatten(like)
    plan = plan_of(library, arrays, model, names, transposed)
    new = {name: np.array(x) for name, x in arrays.items()}
    moving.write(library, new, plan, values)
    return library.rebuild(new, like)


def parts_of(f: Any, variables: Any) -> dict[str, Any]:
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
