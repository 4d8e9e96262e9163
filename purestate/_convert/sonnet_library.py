"""Sonnet 2: the layouts of its layers, over arrays by the names of its variables."""

from collections.abc import Mapping

import numpy as np

from purestate._convert.layouts import FLAT, Leaf, declared, lstm
from purestate._convert.library import Library, Unit, grouped

_LEAVES = frozenset({"w", "b", "scale", "offset", "embeddings", "w_i", "w_h", "projection"})
_AVERAGES = {"moving_mean": "mean", "moving_variance": "var"}

_same = declared(w=Leaf("w"), b=Leaf("b"))


def _units(arrays: Mapping[str, np.ndarray]) -> dict[str, Unit]:
    """Groups variables by module; those of an average belong to its BatchNorm."""
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
    return units


SONNET = Library(
    name="sonnet",
    weights="the variables of Sonnet",
    flatten=lambda arrays: {name: np.asarray(x) for name, x in arrays.items()},
    rebuild=lambda arrays, like: dict(arrays),
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
