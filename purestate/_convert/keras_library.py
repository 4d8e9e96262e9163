"""Keras 3: the layouts of its layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from purestate._convert.layouts import (
    FLAT,
    Arrays,
    Layout,
    Leaf,
    declared,
    joined_biases,
    keeping,
    lstm,
    of_content,
)
from purestate._convert.library import Library, Unit, as_matrix, grouped, view_of

_LEAVES = frozenset(
    {"kernel", "bias", "gamma", "beta", "scale", "moving_mean", "moving_variance", "embeddings"}
    | {"recurrent_kernel"}
)

_same = declared(w=Leaf("kernel"), b=Leaf("bias"))


_GRU = {"w_i": "kernel", "w_h": "recurrent_kernel", "b": "bias"}


def _gru_to(neutral: Arrays) -> dict[str, Any]:
    return {_GRU[k]: keeping(x, "zra", "zra") for k, x in neutral.items()}


def _gru_back(arrays: Arrays, neutral: Arrays) -> dict[str, Any]:
    return {k: keeping(arrays[name], "zra", "zra") for k, name in _GRU.items()}


def _gru_reset_after_to(neutral: Arrays) -> dict[str, Any]:
    arrays = _gru_to({k: neutral[k] for k in _GRU})
    return arrays | {"bias": np.stack([arrays["bias"], of_content(neutral["b_h"])])}


def _gru_reset_after_back(arrays: Arrays, neutral: Arrays) -> dict[str, Any]:
    b, b_h = joined_biases(*arrays["bias"])
    return _gru_back({**arrays, "bias": b}, neutral) | {"b_h": b_h}


def _variables(given: Any) -> list[Any]:
    return list(given.weights if hasattr(given, "weights") else given)


def _flatten(given: Any) -> dict[str, np.ndarray]:
    if isinstance(given, Mapping):
        return {name: np.asarray(x) for name, x in given.items()}
    return {variable.path: np.asarray(variable) for variable in _variables(given)}


def _rebuild(arrays: Mapping[str, np.ndarray], like: Any) -> Any:
    if isinstance(like, Mapping):
        return dict(arrays)
    return [arrays[variable.path] for variable in _variables(like)]


def _units(arrays: Mapping[str, np.ndarray]) -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for name, unit in grouped(arrays, "/", _LEAVES).items():
        module, _, leaf = name.rpartition("/")
        if leaf in ("depthwise_kernel", "pointwise_kernel"):  # a separable convolution
            part = f"{module}/{leaf.removesuffix('_kernel')}"
            units.setdefault(part, {})["kernel"] = view_of(arrays, name)
        elif set(unit) == {"bias"} and f"{name}/pointwise_kernel" in arrays:
            units.setdefault(f"{name}/pointwise", {})["bias"] = unit["bias"]
        elif set(unit) == {"scale"}:  # an RMSNormalization
            units[name] = {"gamma": unit["scale"]}
        else:
            units[name] = unit
    for name, unit in list(units.items()):
        parent, _, part = name.rpartition("/")
        if part in ("query", "key", "value", "attention_output") and "kernel" in unit:
            joined = as_matrix(unit, 2 if part == "attention_output" else 1)
            del units[name]
            units[f"{parent}/linear" if part == "attention_output" else name] = joined
    return units


KERAS = Library(
    name="keras",
    weights="the model of Keras",
    flatten=_flatten,
    rebuild=_rebuild,
    layouts={
        "linear": _same,
        "dense_general": _same,
        "conv": _same,
        "depthwise": declared(w_by_channel=Leaf("kernel"), b=Leaf("bias")),
        # The same kernel runs over the inputs in the other direction.
        "conv_transpose": declared(w=Leaf("kernel", "*oi>*oi", flipped=True), b=Leaf("bias")),
        "embed": declared(embeddings=Leaf("embeddings")),
        "norm": declared(scale=Leaf("gamma", FLAT), offset=Leaf("beta", FLAT)),
        "batch_norm": declared(
            scale=Leaf("gamma", FLAT),
            offset=Leaf("beta", FLAT),
            mean=Leaf("moving_mean", FLAT),
            var=Leaf("moving_variance", FLAT),
        ),
        "lstm": lstm("kernel", "recurrent_kernel", "bias"),
        "gru": Layout(_gru_to, _gru_back),
        "gru_reset_after": Layout(_gru_reset_after_to, _gru_reset_after_back),
    },
    units=_units,
    separator="/",
)
