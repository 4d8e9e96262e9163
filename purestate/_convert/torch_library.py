"""PyTorch: the layouts of its layers, and its fused layers taken apart."""

import re
import sys
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from purestate._convert.layouts import (
    FLAT,
    Arrays,
    Layout,
    Leaf,
    declared,
    joined_biases,
    keeping,
    of_content,
    ones_at,
    regrouped,
)  # fmt: skip
from purestate._convert.library import Library, Unit, grouped, gru_resets_after, view_of

_LEAVES = frozenset({"weight", "bias", "running_mean", "running_var", "num_batches_tracked"})
_RECURRENT = re.compile(
    r"(.*?)(weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)(_l\d+(?:_reverse)?)?"
)

# The direction and the length of a weight norm, old and new.
_WEIGHT_NORMS = (
    ("weight_v", "weight_g"),
    ("parametrizations.weight.original1", "parametrizations.weight.original0"),
)

_matrix = declared(w=Leaf("weight", "*io>oi*"), b=Leaf("bias"))


def _lstm_to(neutral: Arrays) -> dict[str, Any]:
    # torch adds two biases, and no 1 to that of the forget gate: one of the two is that 1.
    arrays = {
        "weight_ih": regrouped(neutral["w_i"], "igfo", "ifgo").T,
        "weight_hh": regrouped(neutral["w_h"], "igfo", "ifgo").T,
        "bias_ih": regrouped(neutral["b"], "igfo", "ifgo"),
        "bias_hh": ones_at("f", "ifgo", neutral["b"]),
    }
    return arrays | ({"weight_hr": neutral["w_p"].T} if "w_p" in neutral else {})


def _lstm_back(arrays: Arrays, neutral: Arrays) -> dict[str, Any]:
    zero = np.zeros(neutral["b"].shape)
    bias_ih, bias_hh = (np.asarray(arrays.get(k, zero), np.float64) for k in ("bias_ih", "bias_hh"))
    bias = bias_ih + (bias_hh - ones_at("f", "ifgo", zero))
    found = {
        "w_i": regrouped(arrays["weight_ih"].T, "ifgo", "igfo"),
        "w_h": regrouped(arrays["weight_hh"].T, "ifgo", "igfo"),
        "b": regrouped(bias, "ifgo", "igfo"),
    }
    return found | ({"w_p": arrays["weight_hr"].T} if "weight_hr" in arrays else {})


def _gru_to(neutral: Arrays) -> dict[str, Any]:
    return {
        "weight_ih": keeping(neutral["w_i"], "zra", "rza").T,
        "weight_hh": keeping(neutral["w_h"], "zra", "rza").T,
        "bias_ih": keeping(neutral["b"], "zra", "rza"),
        "bias_hh": of_content(neutral["b_h"]),
    }


def _gru_back(arrays: Arrays, neutral: Arrays) -> dict[str, Any]:
    zero = np.zeros(neutral["b"].shape)
    b, b_h = joined_biases(*(arrays.get(k, zero) for k in ("bias_ih", "bias_hh")))
    return {
        "w_i": keeping(arrays["weight_ih"].T, "rza", "zra"),
        "w_h": keeping(arrays["weight_hh"].T, "rza", "zra"),
        "b": keeping(b, "rza", "zra"),
        "b_h": b_h,
    }


def _units(arrays: Mapping[str, np.ndarray]) -> dict[str, Unit]:
    """Groups a state dict; a MultiheadAttention becomes four linear layers, and so on."""
    units: dict[str, Unit] = {}
    layers = _recurrent_layers(arrays)
    for name, unit in grouped(arrays, ".", _LEAVES).items():
        module, _, leaf = name.rpartition(".")
        module = module + "." if module else ""
        if leaf in ("in_proj_weight", "in_proj_bias"):
            size = arrays[name].shape[0] // 3
            for i, part in enumerate(("query", "key", "value")):
                view = view_of(arrays, name, slice(i * size, (i + 1) * size))
                units.setdefault(f"{module}{part}", {})[leaf.removeprefix("in_proj_")] = view
        elif leaf in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
            part = {"q": "query", "k": "key", "v": "value"}[leaf[0]]
            units.setdefault(f"{module}{part}", {})["weight"] = view_of(arrays, name)
        elif name.endswith("out_proj") and name[: -len("out_proj")] + "in_proj_bias" in arrays:
            units[name[: -len("out_proj")] + "linear"] = unit
        elif name in layers:
            layer, part = layers[name]
            units.setdefault(layer, {})[part] = view_of(arrays, name)
        else:
            units[name] = unit
    _join_weight_norms(units)
    for name in layers.values():
        _take_apart_plain(units, name[0])
    return units


def _join_weight_norms(units: dict[str, Unit]) -> None:
    """Makes the direction the weight of its layer, as in `weight_norm`; the length is beside it."""
    for direction, length in _WEIGHT_NORMS:
        for name in list(units):
            layer = name.removesuffix(direction)
            is_whole = layer != name and (not layer or layer.endswith("."))  # no "my_weight_v"
            if is_whole and layer + length in units:
                units.setdefault(layer.removesuffix("."), {})["weight"] = units.pop(name)[""]
                view = units.pop(layer + length)[""]  # [out, 1, ...]; here it is [out]
                shape = tuple(n for n in view.shape if n > 1) or (1,)
                units[f"{layer}weight_g"] = {"": view._replace(shape=shape)}


def _take_apart_plain(units: dict[str, Unit], name: str) -> None:
    """Makes the two linear layers of a plain RNN, as in `VanillaRNN`."""
    unit = units.get(name, {})
    if "weight_hh" not in unit or len(set(unit["weight_hh"].shape)) > 1:
        return
    del units[name]
    for part, layer in ("ih", "linear"), ("hh", "linear_1"):
        leaves = {"weight": f"weight_{part}", "bias": f"bias_{part}"}
        units[f"{name}.{layer}".lstrip(".")] = {
            leaf: unit[full] for leaf, full in leaves.items() if full in unit
        }


def _recurrent_layers(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[str, str]]:
    """Returns the layer of each array of a recurrent module, and the array's name in it.

    A module of one layer is that layer; those of several have names such as "lstm.l0".
    """
    found: dict[str, tuple[str, str, str]] = {}
    for name in arrays:
        if match := _RECURRENT.fullmatch(name):
            found[name] = (match[1].removesuffix("."), match[2], (match[3] or "")[1:])
    layers: dict[str, set[str]] = {}
    for module, _, layer in found.values():
        layers.setdefault(module, set()).add(layer)
    return {
        name: (module if len(layers[module]) == 1 else f"{module}.{layer}".lstrip("."), part)
        for name, (module, part, layer) in found.items()
    }


def _flatten(state_dict: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: _to_numpy(x) for name, x in state_dict.items()}


def _to_numpy(x: Any) -> np.ndarray:
    """Returns an array as one of NumPy; a tensor of torch without importing torch."""
    if not hasattr(x, "detach"):
        return np.asarray(x)
    x = x.detach().cpu()
    torch = sys.modules["torch"]
    if x.dtype == torch.bfloat16:  # which NumPy does not know
        return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return x.numpy()


def _rebuild(arrays: Mapping[str, np.ndarray], like: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _as_in(x, like[name]) for name, x in arrays.items()}


def _as_in(value: np.ndarray, given: Any) -> Any:
    """Returns an array as a tensor of torch if `given` is one."""
    if not hasattr(given, "detach"):
        return value
    torch = sys.modules["torch"]
    if given.dtype == torch.bfloat16:
        return torch.from_numpy(value.view(np.int16)).view(torch.bfloat16).to(given.device)
    return torch.from_numpy(value).to(given.device)


TORCH = Library(
    name="torch",
    weights="the state dict",
    flatten=_flatten,
    rebuild=_rebuild,
    layouts={
        "linear": _matrix,
        "dense_general": _matrix,
        "conv": _matrix,
        "depthwise": _matrix,
        # The same kernel runs over the inputs in the other direction.
        "conv_transpose": declared(w=Leaf("weight", "*oi>io*", flipped=True), b=Leaf("bias")),
        "embed": declared(embeddings=Leaf("weight")),
        "norm": declared(scale=Leaf("weight", FLAT), offset=Leaf("bias", FLAT)),
        "batch_norm": declared(
            scale=Leaf("weight", FLAT),
            offset=Leaf("bias", FLAT),
            mean=Leaf("running_mean", FLAT),
            var=Leaf("running_var", FLAT),
            count=Leaf("num_batches_tracked"),
        ),
        "lstm": Layout(_lstm_to, _lstm_back),
        "gru_reset_after": Layout(_gru_to, _gru_back),
    },
    units=_units,
    optional=frozenset({"num_batches_tracked", "bias_ih", "bias_hh"}),
    refused={"gru": gru_resets_after("torch")},
)
