"""Layers in a neutral form, which every library writes in its own layout.

| kind | neutral arrays |
|---|---|
| linear, dense_general | `w` [in, out], `b` [out] |
| conv | `w` [*kernel, in / groups, out], `b` [out] |
| depthwise | `w` [*kernel, 1, out], the same as `w_by_channel` [*kernel, in, multiplier]; `b` |
| conv_transpose | `w` [*kernel, out, in], `b` |
| embed | `embeddings` [V, D] |
| norm | `scale`, `offset` |
| batch_norm | `scale`, `offset`, `mean`, `var`, and `count`, the number of updates; for Sonnet, \
which has the same state, `mean_hidden`, `var_hidden` and `var_count` too |
| lstm | `w_i` [D, 4H], `w_h` [P, 4H], `b` [4H]; with a projection `w_p` [H, P] |
| gru, gru_reset_after | `w_i` [D, 3H], `w_h` [H, 3H], `b` [3H]; the latter also `b_h` [H] |

The gates of an LSTM are i, g, f, o, and 1 is added to `b` of f when it runs. Those of a GRU are
z, r, a.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from purestate._convert.targets import Target

Arrays = Mapping[str, Any]

_BATCH_NORM = {
    "scale": "scale",
    "offset": "offset",
    "mean": "mean_ema/average",
    "var": "var_ema/average",
    "mean_hidden": "mean_ema/hidden",
    "var_hidden": "var_ema/hidden",
    "count": "mean_ema/counter",
    "var_count": "var_ema/counter",
}

MANY = 2**30
"""The number of updates of statistics that come without one: their start is long forgotten."""


def to_neutral(target: Target, arrays: Arrays) -> dict[str, Any]:
    """Returns the neutral arrays of a layer."""
    if target.kind == "dense_general":
        axes_out = len(target.module.features)
        shape = arrays["w"].shape
        size_out = math.prod(shape[len(shape) - axes_out :])
        return {
            k: x.reshape(-1, size_out) if k == "w" else x.reshape(-1) for k, x in arrays.items()
        }
    if target.kind == "depthwise":
        by_channel = (*arrays["w"].shape[:-2], -1, target.module.channel_multiplier)
        return {**arrays, "w_by_channel": arrays["w"].reshape(by_channel)}
    if target.kind == "lstm":
        w, b = arrays["linear/w"], arrays["linear/b"]
        rows = arrays["projection/w"].shape[1] if "projection/w" in arrays else b.shape[0] // 4
        neutral = {"w_i": w[:-rows], "w_h": w[-rows:], "b": b}
        return neutral | ({"w_p": arrays["projection/w"]} if "projection/w" in arrays else {})
    if target.kind == "batch_norm":
        return {k: arrays[name] for k, name in _BATCH_NORM.items() if name in arrays}
    return dict(arrays)


def from_neutral(target: Target, neutral: Arrays) -> dict[str, Any]:
    """Returns the arrays of a layer, by their names in it; the shapes are those of the layer."""
    if target.kind == "lstm":
        arrays = {
            "linear/w": np.concatenate([neutral["w_i"], neutral["w_h"]]),
            "linear/b": neutral["b"],
        }
        return arrays | ({"projection/w": neutral["w_p"]} if "w_p" in neutral else {})
    if target.kind == "batch_norm":
        arrays = {k: neutral[k] for k in ("scale", "offset") if k in neutral}
        for k in ("mean", "var"):
            if k in neutral:
                arrays |= _statistics(target, k, neutral)
        return arrays
    found = {k.removesuffix("_by_channel"): x for k, x in neutral.items()}
    return {k: np.reshape(x, target.variables[k].spec.shape) for k, x in found.items()}


def _statistics(target: Target, k: str, neutral: Arrays) -> dict[str, Any]:
    """Returns the state of a running average, as if so many updates had led to it."""
    ema, average = f"{k}_ema", neutral[k]
    counter = np.asarray(neutral.get("count", MANY), np.int32)
    hidden = neutral.get(f"{k}_hidden")
    if hidden is None:
        decay = float(np.asarray(getattr(target.module, ema).decay))
        hidden = np.asarray(average, np.float64) * (1 - decay ** int(counter))
    return {f"{ema}/counter": counter, f"{ema}/hidden": hidden, f"{ema}/average": average}


def dummies(target: Target) -> dict[str, Any]:
    """Returns zeros in the shapes of the variables of a layer, that need no memory."""
    return {
        name: np.broadcast_to(np.zeros((), np.float32), place.spec.shape)
        for name, place in target.variables.items()
    }
