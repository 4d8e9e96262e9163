"""Traps of initial values and of optimizers."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

import purestate as ps
from tests.neighbours.sonnet_traps import Lib, Trap, initial

F32 = np.float32

# Initial values


def spread(*arrays: Any) -> Any:
    return [np.std(np.asarray(a)) for a in arrays]


def core_values(lib: Lib, name: str, size: int, *inputs: int) -> dict[str, Any]:
    core = getattr(lib.snt, name)(size)
    core(lib.array(np.ones([1, *inputs], F32)), core.initial_state(1))
    return {v.name.removesuffix(":0").split("/", 1)[1]: np.asarray(v) for v in core.variables}


def core_initial(make: Any, inputs: int) -> dict[str, Any]:
    def step(x: Any) -> Any:
        core = make()
        return core(x, core.initial_state(1))

    return initial(step, np.ones([1, inputs], F32))


def lstm_values(lib: Lib) -> Any:
    values = core_values(lib, "LSTM", 100, 50)
    return [*spread(values["w_i"], values["w_h"]), np.mean(values["b"])]


def lstm_values_ordinary() -> Any:
    values = core_initial(lambda: ps.LSTM(100), 50)
    w = values["lstm/linear/w"]
    return [*spread(w[:50], w[50:]), np.mean(values["lstm/linear/b"])]


def gru_values(lib: Lib) -> Any:
    values = core_values(lib, "GRU", 100, 50)
    return spread(values["w_i"], values["w_h"])


def gru_values_ordinary() -> Any:
    values = core_initial(lambda: ps.GRU(100), 50)
    return spread(values["gru/w_i"], values["gru/w_h"])


def vanilla_values(lib: Lib) -> Any:
    values = core_values(lib, "VanillaRNN", 100, 50)
    return spread(values["input_to_hidden/w"], values["hidden_to_hidden/w"])


def vanilla_values_ordinary() -> Any:
    values = core_initial(lambda: ps.VanillaRNN(100), 50)
    return spread(values["vanilla_rnn/linear/w"], values["vanilla_rnn/linear_1/w"])


def linear_values(lib: Lib) -> Any:
    layer = lib.snt.Linear(100)
    layer(lib.array(np.ones([1, 400], F32)))
    return spread(np.asarray(layer.w))


def embed_values(lib: Lib) -> Any:
    return spread(np.asarray(lib.snt.Embed(1000, 20).embeddings))


def normal(lib: Lib, name: str) -> Any:
    x = np.asarray(getattr(lib.snt.initializers, name)(0.0, 0.01)([100000], np.dtype(F32)))
    return [float(x.std()), round(float(x.mean()), 2)]


def normal_ordinary(name: str) -> Any:
    x = initial(
        lambda: ps.get_parameter("w", [100000], init=getattr(ps.initializers, name)(0.0, 0.01))
    )["~/w"]
    return [float(x.std()), round(float(x.mean()), 2)]


START = "Initial values"
TRAPS = [
    Trap(
        START,
        "`LSTM(100)` of 50 inputs: `w_i`, `w_h`, and the mean of `b`",
        lstm_values,
        lstm_values_ordinary,
        digits=2,
        is_random=True,
    ),
    Trap(START, "`GRU(100)`: `w_i`, `w_h`", gru_values, gru_values_ordinary, 2, True),
    Trap(START, "`VanillaRNN(100)`: the same", vanilla_values, vanilla_values_ordinary, 2, True),
    Trap(
        START,
        "`Linear(100)` of 400 inputs; convolutions likewise",
        linear_values,
        lambda: spread(initial(lambda x: ps.Linear(100)(x), np.ones([1, 400], F32))["linear/w"]),
        digits=2,
        is_random=True,
    ),
    Trap(
        START,
        "`Embed(1000, 20)`",
        embed_values,
        lambda: spread(initial(lambda i: ps.Embed(1000, 20)(i), np.array([0]))["embed/embeddings"]),
        digits=2,
        is_random=True,
    ),
    Trap(
        START,
        "`TruncatedNormal(0.0, 0.01)`: deviation and mean",
        lambda lib: normal(lib, "TruncatedNormal"),
        lambda: normal_ordinary("TruncatedNormal"),
        digits=2,
        is_random=True,
    ),
    Trap(
        START,
        "`RandomNormal(0.0, 0.01)`: deviation and mean",
        lambda lib: normal(lib, "RandomNormal"),
        lambda: normal_ordinary("RandomNormal"),
        digits=2,
        is_random=True,
    ),
]

# Optimizers

GRADIENTS = [np.array(g, F32) for g in ([0.1, -0.2], [0.1, -0.2], [0.3, 0.1])]


def optimized(lib: Lib, name: str, *args: Any, **kwargs: Any) -> Any:
    p, opt = lib.Variable(np.array([1, 2], F32)), getattr(lib.snt.optimizers, name)(*args, **kwargs)
    for gradient in GRADIENTS:
        opt.apply([lib.array(gradient)], [p])
    return np.asarray(p)


def with_optax(opt: Any) -> Any:
    p = jnp.array([1.0, 2.0])
    state = opt.init(p)
    for gradient in GRADIENTS:
        updates, state = opt.update(jnp.asarray(gradient), state, p)
        p = optax.apply_updates(p, updates)
    return p


OPTIMIZERS = "Optimizers"
for what, name, kwargs, other in [
    ("`Adam(0.1)`, `optax.adam(0.1)`", "Adam", {}, optax.adam(0.1)),
    ("`SGD(0.1)`, `optax.sgd(0.1)`", "SGD", {}, optax.sgd(0.1)),
    (
        "`Momentum(0.1, 0.9)`, `optax.sgd(0.1, 0.9)`",
        "Momentum",
        {"momentum": 0.9},
        optax.sgd(0.1, 0.9),
    ),
    (
        "the same with Nesterov",
        "Momentum",
        {"momentum": 0.9, "use_nesterov": True},
        optax.sgd(0.1, 0.9, nesterov=True),
    ),
    ("`RMSProp(0.1)`, `optax.rmsprop(0.1)`", "RMSProp", {}, optax.rmsprop(0.1)),
    (
        "`RMSProp(0.1, momentum=0.9, centered=True)`, optax likewise",
        "RMSProp",
        {"momentum": 0.9, "centered": True},
        optax.rmsprop(0.1, momentum=0.9, centered=True),
    ),
]:
    TRAPS.append(
        Trap(
            OPTIMIZERS,
            what,
            lambda lib, name=name, kwargs=kwargs: optimized(lib, name, 0.1, **kwargs),
            lambda other=other: with_optax(other),
            digits=6,
        )
    )
