"""`jax.nn.initializers` for every initializer that a layer takes."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.every_layer import public_modules

KEY = jax.random.key(0)
X = np.ones([2, 4], np.float32)
IMAGE = np.ones([1, 4, 4, 2], np.float32)
VOLUME = np.ones([1, 3, 3, 3, 2], np.float32)
SERIES = np.ones([1, 5, 2], np.float32)
INIT = jax.nn.initializers.normal(0.5)


def _core(make: Callable[..., Any]) -> Callable[..., Any]:
    def call(**inits: Any) -> Any:
        core = make(**inits)
        return core(X, core.initial_state(2))

    return call


def _lora(a_init: Any) -> Any:
    with ps.lora(2, a_init=a_init):
        return ps.Linear(3)(X)


def _weight_norm(g_init: Any) -> Any:
    with ps.weight_norm(g_init=g_init):
        return ps.Linear(3)(X)


# Every public class and function that takes initializers, called with some of them.
CALLS: dict[str, Callable[..., Any]] = {
    "BatchNorm": lambda **k: ps.BatchNorm(True, True, 0.9, **k)(X, True),
    "Bias": lambda **k: ps.Bias(**k)(X),
    "Conv1D": lambda **k: ps.Conv1D(3, 2, **k)(SERIES),
    "Conv2D": lambda **k: ps.Conv2D(3, 2, **k)(IMAGE),
    "Conv3D": lambda **k: ps.Conv3D(3, 2, **k)(VOLUME),
    "ConvND": lambda **k: ps.ConvND(2, 3, 2, **k)(IMAGE),
    "Conv1DTranspose": lambda **k: ps.Conv1DTranspose(3, 2, **k)(SERIES),
    "Conv2DTranspose": lambda **k: ps.Conv2DTranspose(3, 2, **k)(IMAGE),
    "Conv3DTranspose": lambda **k: ps.Conv3DTranspose(3, 2, **k)(VOLUME),
    "ConvNDTranspose": lambda **k: ps.ConvNDTranspose(2, 3, 2, **k)(IMAGE),
    "DepthwiseConv1D": lambda **k: ps.DepthwiseConv1D(3, 2, **k)(SERIES),
    "DepthwiseConv2D": lambda **k: ps.DepthwiseConv2D(3, 2, **k)(IMAGE),
    "DepthwiseConv3D": lambda **k: ps.DepthwiseConv3D(3, 2, **k)(VOLUME),
    "SeparableDepthwiseConv2D": lambda **k: ps.SeparableDepthwiseConv2D(3, 2, **k)(IMAGE),
    "ConvLocal1D": lambda **k: ps.ConvLocal1D(3, 2, **k)(SERIES),
    "ConvLocal2D": lambda **k: ps.ConvLocal2D(3, 2, **k)(IMAGE),
    "ConvLocal3D": lambda **k: ps.ConvLocal3D(3, 2, **k)(VOLUME),
    "ConvLocalND": lambda **k: ps.ConvLocalND(2, 3, 2, **k)(IMAGE),
    "DenseGeneral": lambda **k: ps.DenseGeneral([2, 3], **k)(X),
    "Einsum": lambda **k: ps.Einsum("bd,dk->bk", [4, 3], [3], **k)(X),
    "Embed": lambda **k: ps.Embed(5, 3, **k)(np.arange(2)),
    "GRU": _core(lambda **k: ps.GRU(3, reset_after=True, **k)),
    "GatedMLP": lambda **k: ps.GatedMLP(3, with_bias=True, **k)(X),
    "GroupNorm": lambda **k: ps.GroupNorm(2, **k)(X),
    "GroupedQueryAttention": lambda **k: ps.GroupedQueryAttention(2, 4, with_bias=True, **k)(X),
    "InstanceNorm": lambda **k: ps.InstanceNorm(True, True, **k)(IMAGE),
    "LayerNorm": lambda **k: ps.LayerNorm(-1, True, True, **k)(X),
    "Linear": lambda **k: ps.Linear(3, **k)(X),
    "MLP": lambda **k: ps.nets.MLP([3, 2], **k)(X),
    "MixtureOfExperts": lambda **k: ps.MixtureOfExperts(3, 4, with_bias=True, **k)(X),
    "MultiHeadAttention": lambda **k: ps.MultiHeadAttention(2, 4, **{"w_init": INIT, **k})(X, X, X),
    "PReLU": lambda **k: ps.PReLU(**k)(X),
    "RMSNorm": lambda **k: ps.RMSNorm(-1, **k)(X),
    "Scaler": lambda **k: ps.Scaler(True, **k)(X),
    "TrainableInitialState": lambda init: ps.TrainableInitialState(ps.LSTM(3), init).initial_state(
        2
    ),
    "WeightNorm": lambda **k: ps.WeightNorm(**k)(X),
    "lora": _lora,
    "weight_norm": _weight_norm,
}


def _arguments(f: Any) -> list[str]:
    names = inspect.signature(f.__init__ if isinstance(f, type) else f).parameters
    takes = [name for name in names if name == "init" or name.endswith("_init")]
    return [name for name in takes if name != "stats_at_init"]  # a bool


CASES = [
    (name, argument)
    for name in CALLS
    for argument in _arguments(getattr(ps, name, None) or getattr(ps.nets, name))
]


@pytest.mark.parametrize("name, argument", CASES)
def test_the_key_is_drawn_as_by_our_own(name, argument):
    def program(init: Any) -> str:
        def f() -> Any:
            return CALLS[name](**{argument: init}), ps.next_rng_key()

        return str(jax.make_jaxpr(ps.transform_with_state(f).init)(KEY))

    explicit = lambda shape, dtype: INIT(ps.next_rng_key(), tuple(shape), dtype)
    assert program(INIT) == program(explicit)
    assert program(INIT) != program(jnp.zeros)


def test_every_initializer_of_every_layer_is_there():
    takes = {
        (name, argument)
        for name, value in {
            **public_modules(),
            **{name: getattr(ps, name) for name in ("lora", "weight_norm")},
        }.items()
        for argument in _arguments(value)
    }
    assert takes == set(CASES)
