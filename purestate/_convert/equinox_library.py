"""Equinox: the layouts of its layers, and the running statistics in its state."""

import sys
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._convert.layouts import FLAT, Arrays, Layout, Leaf, declared, keeping, lstm
from purestate._convert.library import Library, Unit, grouped, gru_resets_after
from purestate._convert.trees import is_weight, name_of

_LEAVES = frozenset({"weight", "bias", "mean", "var", "count", "weight_ih", "weight_hh", "bias_n"})

_matrix = declared(w=Leaf("weight", "*io>oi*"), b=Leaf("bias"))


def _is_norm(x: Any) -> bool:
    """Whether it is a BatchNorm of equinox; if equinox is not imported, nothing is."""
    equinox = sys.modules.get("equinox")
    return equinox is not None and isinstance(x, equinox.nn.BatchNorm)


def _split(given: Any) -> tuple[Any, Any]:
    """Returns model and state; the state is None if only a model is given."""
    return given if type(given) is tuple else (given, None)


def _leaves(model: Any) -> list[tuple[str, Any]]:
    """Returns the leaves of a model with their names; a BatchNorm is a leaf."""
    leaves = jax.tree_util.tree_leaves_with_path(model, is_leaf=_is_norm)
    return [(name_of(path, "."), x) for path, x in leaves]


def _statistics(norm: Any, state: Any) -> dict[str, np.ndarray]:
    if norm.mode == "ema":
        mean, var = state.get(norm.ema_state_index)
        return {"mean": np.asarray(mean), "var": np.asarray(var)}
    count = np.asarray(state.get(norm.batch_counter))
    hidden = state.get(norm.batch_state_index)
    scale = 1 if count == 0 else 1 - norm.momentum ** int(count)
    mean, var = (np.asarray(x) / np.asarray(scale, x.dtype) for x in hidden)
    return {"mean": mean, "var": var, "count": count}


def _flatten(given: Any) -> dict[str, np.ndarray]:
    model, state = _split(given)
    arrays: dict[str, np.ndarray] = {}
    for name, leaf in _leaves(model):
        if _is_norm(leaf):
            affine = ("weight", "bias") if leaf.channelwise_affine else ()
            found = {k: np.asarray(getattr(leaf, k)) for k in affine}
            found |= {} if state is None else _statistics(leaf, state)
            arrays |= {_inside(name, k): x for k, x in found.items()}
        elif is_weight(leaf):
            arrays[name] = np.asarray(leaf)
    return arrays


def _inside(name: str, leaf: str) -> str:
    return f"{name}.{leaf}" if name else leaf


def _rebuild(arrays: Mapping[str, np.ndarray], like: Any) -> Any:
    model, state = _split(like)
    treedef = jax.tree_util.tree_structure(model, is_leaf=_is_norm)
    new: list[Any] = []
    for name, leaf in _leaves(model):
        if _is_norm(leaf):
            if state is not None:
                state = _with_statistics(leaf, state, name, arrays)
            leaf = _with_affine(leaf, name, arrays)
        new.append(jnp.array(arrays[name]) if name in arrays else leaf)
    model = treedef.unflatten(new)
    return model if state is None else (model, state)


def _with_affine(norm: Any, name: str, arrays: Mapping[str, np.ndarray]) -> Any:
    if not norm.channelwise_affine:
        return norm
    new = tuple(jnp.array(arrays[_inside(name, k)]) for k in ("weight", "bias"))
    return sys.modules["equinox"].tree_at(lambda norm: (norm.weight, norm.bias), norm, new)


def _with_statistics(norm: Any, state: Any, name: str, arrays: Mapping[str, np.ndarray]) -> Any:
    mean, var = (arrays[_inside(name, k)] for k in ("mean", "var"))
    if norm.mode == "ema":
        state = state.set(norm.ema_first_time_index, jnp.array(False))
        return state.set(norm.ema_state_index, (jnp.array(mean), jnp.array(var)))
    count = arrays[_inside(name, "count")]
    scale = 1 if count == 0 else 1 - norm.momentum ** int(count)
    hidden = tuple(jnp.array(x * np.asarray(scale, x.dtype)) for x in (mean, var))
    old = state.get(norm.batch_counter)
    state = state.set(norm.batch_counter, old + (int(count) - int(old)))  # of the same dtype
    return state.set(norm.batch_state_index, hidden)


def _gru_to(neutral: Arrays) -> dict[str, Any]:
    return {
        "weight_ih": keeping(neutral["w_i"], "zra", "rza").T,
        "weight_hh": keeping(neutral["w_h"], "zra", "rza").T,
        "bias": keeping(neutral["b"], "zra", "rza"),
        "bias_n": neutral["b_h"],
    }


def _gru_back(arrays: Arrays, neutral: Arrays) -> dict[str, Any]:
    return {
        "w_i": keeping(arrays["weight_ih"].T, "rza", "zra"),
        "w_h": keeping(arrays["weight_hh"].T, "rza", "zra"),
        "b": keeping(arrays.get("bias", np.zeros(neutral["b"].shape)), "rza", "zra"),
        "b_h": arrays.get("bias_n", np.zeros(neutral["b_h"].shape)),
    }


def _units(arrays: Mapping[str, np.ndarray]) -> dict[str, Unit]:
    units = grouped(arrays, ".", _LEAVES)
    for unit in units.values():  # the bias of a convolution is [out, 1, 1]
        bias = unit.get("bias")
        if bias is not None and len(unit["weight" if "weight" in unit else "bias"].shape) > 2:
            unit["bias"] = bias._replace(shape=bias.shape[:1])
    return units


EQUINOX = Library(
    name="equinox",
    weights="the model of equinox",
    flatten=_flatten,
    rebuild=_rebuild,
    layouts={
        "linear": _matrix,
        "dense_general": _matrix,
        "conv": _matrix,
        "depthwise": _matrix,
        "conv_transpose": declared(w=Leaf("weight", "*oi>oi*"), b=Leaf("bias")),
        "embed": declared(embeddings=Leaf("weight")),
        "norm": declared(scale=Leaf("weight", FLAT), offset=Leaf("bias", FLAT)),
        "batch_norm": declared(
            scale=Leaf("weight", FLAT),
            offset=Leaf("bias", FLAT),
            mean=Leaf("mean", FLAT),
            var=Leaf("var", FLAT),
            count=Leaf("count"),
        ),
        "lstm": lstm("weight_ih", "weight_hh", "bias", turned=True),
        "gru_reset_after": Layout(_gru_to, _gru_back),
    },
    units=_units,
    optional=frozenset({"count"}),
    refused={"gru": gru_resets_after("equinox")},
)
