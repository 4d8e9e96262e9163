"""Sonnet 2: the layouts of its layers."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from purestate._convert.errors import ConversionError
from purestate._convert.layouts import FLAT, Leaf, declared, lstm
from purestate._convert.library import Library, Unit, grouped
from purestate._core.errors import kind_of

_LEAVES = frozenset({"w", "b", "scale", "offset", "embeddings", "w_i", "w_h", "projection"})
_AVERAGES = {"moving_mean": "mean", "moving_variance": "var"}

_same = declared(w=Leaf("w"), b=Leaf("b"))


def _variables(module: Any) -> dict[str, Any]:
    """Returns the variables of a module by the attributes that hold them, in the order of creation.

    Their own names are not unique: all Linears of a Sequential may be called "linear".
    """
    wanted, seen = {id(variable) for variable in module.variables}, set[int]()
    found: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if id(value) in seen:
            return
        seen.add(id(value))
        if id(value) in wanted:
            found[path] = value
        for name, part in _parts(value):
            walk(part, f"{path}/{str(name).lstrip('_')}")

    walk(module, module.name)
    return found


def _parts(value: Any) -> Iterable[tuple[Any, Any]]:
    """What a module or a container holds."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, (list, tuple)):
        return enumerate(value)
    if not hasattr(value, "submodules"):
        return ()
    # TensorFlow keeps notes of its own there, and they lead to all submodules again.
    return [(k, part) for k, part in vars(value).items() if not k.startswith("_self_")]


def _flatten(given: Any) -> dict[str, np.ndarray]:
    if not isinstance(given, Mapping) and not hasattr(given, "variables"):
        raise ConversionError(
            "`from_sonnet` and `to_sonnet` need a module of Sonnet, or a dict of arrays by name,"
            f" but got {kind_of(given)}."
        )
    if isinstance(given, Mapping):
        # TensorFlow orders variables by attribute, so that their order says nothing.
        return {name: np.asarray(x) for name, x in sorted(given.items())}
    return {name: np.asarray(variable) for name, variable in _variables(given).items()}


def _rebuild(arrays: Mapping[str, np.ndarray], like: Any) -> Any:
    if isinstance(like, Mapping):
        return {name: arrays[name] for name in like}
    names = {id(variable): name for name, variable in _variables(like).items()}
    return [arrays[names[id(variable)]] for variable in like.variables]


def _units(arrays: Mapping[str, np.ndarray]) -> dict[str, Unit]:
    """Groups variables by module.

    Those of an average belong to its BatchNorm, and the bias of a VanillaRNN to its first Linear.
    """
    units: dict[str, Unit] = {}
    full = {name.removesuffix(":0"): name for name in arrays}
    for name, unit in grouped({k: arrays[v] for k, v in full.items()}, "/", _LEAVES).items():
        unit = {leaf: view._replace(name=full[view.name]) for leaf, view in unit.items()}
        module, _, average = name.rpartition("/")[0].rpartition("/")
        if average in _AVERAGES:
            part = name.rpartition("/")[2].lstrip("_")
            units.setdefault(module, {})[f"{_AVERAGES[average]}.{part}"] = unit[""]
        else:
            units.setdefault(name, {}).update(unit)
    for name, unit in list(units.items()):
        linear = units.get(f"{name}/input_to_hidden", {})
        if set(unit) == {"b"} and set(linear) == {"w"} and len(linear["w"].shape) == 2:
            linear["b"] = units.pop(name)["b"]
    return units


SONNET = Library(
    name="sonnet",
    weights="the variables of Sonnet",
    flatten=_flatten,
    rebuild=_rebuild,
    layouts={
        "linear": _same,
        "dense_general": _same,
        "conv": _same,
        "depthwise": declared(w_by_channel=Leaf("w"), b=Leaf("b")),
        # The same kernel runs over the inputs in the other direction.
        "conv_transpose": declared(w=Leaf("w", "*oi>*oi", flipped=True), b=Leaf("b")),
        "embed": declared(embeddings=Leaf("embeddings")),
        "norm": declared(scale=Leaf("scale", FLAT), offset=Leaf("offset", FLAT)),
        "batch_norm": declared(
            scale=Leaf("scale", FLAT),
            offset=Leaf("offset", FLAT),
            mean=Leaf("mean.average"),
            var=Leaf("var.average"),
            mean_hidden=Leaf("mean.hidden"),
            var_hidden=Leaf("var.hidden"),
            count=Leaf("mean.counter"),
            var_count=Leaf("var.counter"),
        ),
        "lstm": lstm("w_i", "w_h", "b", projection="projection"),
        "gru": declared(w_i=Leaf("w_i"), w_h=Leaf("w_h"), b=Leaf("b")),
    },
    units=_units,
    separator="/",
)
