"""Flax, linen and nnx: the layouts of their layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from purestate._convert.layouts import FLAT, Arrays, Layout, Leaf, declared, keeping
from purestate._convert.library import Library, Unit, as_matrix, grouped, gru_resets_after, view_of
from purestate._convert.trees import flatten_dict, flatten_tree, rebuild_dict, rebuild_tree

_LEAVES = frozenset({"kernel", "bias", "scale", "embedding", "mean", "var"})
_ATTENTION = ("query", "key", "value", "out")
_GATES = "igfo"  # in the order of ps.LSTM
_GRU_GATES = "rzn"

_same = declared(w=Leaf("kernel"), b=Leaf("bias"))


def _lstm_to(neutral: Arrays) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    parts = {k: np.split(x, 4, -1) for k, x in neutral.items()}
    for number, gate in enumerate(_GATES):
        arrays[f"i{gate}.kernel"] = parts["w_i"][number]
        arrays[f"h{gate}.kernel"] = parts["w_h"][number]
        arrays[f"h{gate}.bias"] = parts["b"][number] + np.float32(gate == "f")
    return arrays


def _lstm_back(arrays: Arrays, neutral: Arrays) -> dict[str, Any]:
    def joined(start: str, leaf: str) -> Any:
        return np.concatenate([arrays[f"{start}{gate}.{leaf}"] for gate in _GATES], -1)

    forget = np.repeat([0.0, 0.0, 1.0, 0.0], neutral["b"].shape[0] // 4)
    return {
        "w_i": joined("i", "kernel"),
        "w_h": joined("h", "kernel"),
        "b": joined("h", "bias") - forget,
    }


def _gru_to(neutral: Arrays) -> dict[str, Any]:
    kept = {k: np.split(keeping(neutral[k], "zra", "rza"), 3, -1) for k in ("w_i", "w_h", "b")}
    arrays: dict[str, Any] = {}
    for number, gate in enumerate(_GRU_GATES):
        arrays[f"i{gate}.kernel"] = kept["w_i"][number]
        arrays[f"h{gate}.kernel"] = kept["w_h"][number]
        arrays[f"i{gate}.bias"] = kept["b"][number]
    return arrays | {"hn.bias": neutral["b_h"]}


def _gru_back(arrays: Arrays, neutral: Arrays) -> dict[str, Any]:
    def joined(start: str, leaf: str) -> Any:
        parts = [arrays[f"{start}{gate}.{leaf}"] for gate in _GRU_GATES]
        return keeping(np.concatenate(parts, -1), "rza", "zra")

    return {
        "w_i": joined("i", "kernel"),
        "w_h": joined("h", "kernel"),
        "b": joined("i", "bias"),
        "b_h": arrays.get("hn.bias", np.zeros(neutral["b_h"].shape)),
    }


def _units(arrays: Mapping[str, np.ndarray], above: int) -> dict[str, Unit]:
    """Groups arrays by layer; the first `above` parts of a name are not of a module."""
    units: dict[str, Unit] = {}
    for name, unit in grouped(arrays, "/", _LEAVES).items():
        short = "/".join(name.split("/")[above:])
        units.setdefault(short, {}).update(unit)
    for parent in dict.fromkeys(name.rpartition("/")[0] for name in units):
        start = f"{parent}/" if parent else ""
        if all("kernel" in units.get(f"{start}{part}", {}) for part in _ATTENTION):
            _join_attention(units, start)
        elif all(f"{start}{part}" in units for part in ("ii", "hi", "ig", "ho")):
            _join_gates(units, parent, start, _GATES)
        elif all(f"{start}{part}" in units for part in ("ir", "hr", "iz", "hn")):
            _join_gates(units, parent, start, _GRU_GATES)
        elif f"{start}dense_i" in units and f"{start}dense_h" in units:
            _join_gates_of_two(units, arrays, parent, start)
    return {name: _as_matrix(unit) for name, unit in units.items()}


def _as_matrix(unit: Unit) -> Unit:
    """A kernel whose outputs have several axes, as its bias shows, becomes a matrix."""
    bias = unit.get("bias")
    if bias is None or len(bias.shape) < 2 or "kernel" not in unit:
        return unit
    return as_matrix(unit, len(unit["kernel"].shape) - len(bias.shape))


def _join_attention(units: dict[str, Unit], start: str) -> None:
    """Makes the projections of an attention matrices; in a dict they may be in any order."""
    for part, axes in zip(_ATTENTION, (1, 1, 1, 2), strict=True):
        unit = as_matrix(units.pop(f"{start}{part}"), axes)
        units[f"{start}{'linear' if part == 'out' else part}"] = unit


def _join_gates(units: dict[str, Unit], parent: str, start: str, gates: str) -> None:
    """Makes one layer of an LSTM or a GRU, in which each gate is two linear layers."""
    joined: Unit = {}
    for side in "ih":
        for gate in gates:
            name = next(n for n in (f"{start}{side}{gate}", f"{start}{side}{gate}_") if n in units)
            joined |= {f"{side}{gate}.{leaf}": view for leaf, view in units.pop(name).items()}
    units[parent] = joined


def _join_gates_of_two(
    units: dict[str, Unit], arrays: Mapping[str, np.ndarray], parent: str, start: str
) -> None:
    """The OptimizedLSTMCell and the GRUCell of nnx have all gates in one kernel."""
    size, columns = units[f"{start}dense_h"]["kernel"].shape
    gates = _GRU_GATES if columns == 3 * size else "ifgo"
    joined: Unit = {}
    for side in "ih":
        for leaf, view in units.pop(f"{start}dense_{side}").items():
            for number, gate in enumerate(gates):
                part = slice(number * size, (number + 1) * size)
                cut = (part,) if leaf == "bias" else (slice(None), part)
                joined[f"{side}{gate}.{leaf}"] = view_of(arrays, view.name, *cut)
    units[parent] = joined


_LAYOUTS = {
    "linear": _same,
    "dense_general": _same,
    "conv": _same,
    "depthwise": _same,
    "conv_transpose": declared(w=Leaf("kernel", "*oi>*io"), b=Leaf("bias")),
    "embed": declared(embeddings=Leaf("embedding")),
    "norm": declared(scale=Leaf("scale", FLAT), offset=Leaf("bias", FLAT)),
    "batch_norm": declared(
        scale=Leaf("scale", FLAT),
        offset=Leaf("bias", FLAT),
        mean=Leaf("mean", FLAT),
        var=Leaf("var", FLAT),
    ),
    "lstm": Layout(_lstm_to, _lstm_back),
    "gru_reset_after": Layout(_gru_to, _gru_back),
}
_REFUSED = {"gru": gru_resets_after("flax")}
_OPTIONAL = frozenset({"hn.bias"})  # which nnx has not

FLAX = Library(
    name="flax",
    weights="the variables",
    flatten=flatten_dict,
    rebuild=rebuild_dict,
    layouts=_LAYOUTS,
    units=lambda arrays: _units(arrays, 1),
    separator="/",
    optional=_OPTIONAL,
    refused=_REFUSED,
)
NNX = Library(
    name="nnx",
    weights="the state",
    flatten=flatten_tree,
    rebuild=rebuild_tree,
    layouts=_LAYOUTS,
    units=lambda arrays: _units(arrays, 0),
    separator="/",
    optional=_OPTIONAL,
    refused=_REFUSED,
)
