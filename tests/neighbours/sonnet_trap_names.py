"""Traps of the names and shapes of variables."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import purestate as ps
from purestate import sonnet as facade
from tests.neighbours.sonnet_traps import (
    Lib,
    Trap,
)

F32 = np.float32
ONES = np.ones([2, 3], F32)
IMAGE = np.ones([1, 4, 4, 2], F32)


NAMES = "Names and shapes"


def variables(make: Callable[[Any], Any], *args: Any) -> Callable[[Lib], str]:
    """Measures names and shapes of the variables that a call makes."""

    def measure(lib: Lib) -> str:
        shown: list[str] = []

        def run() -> None:
            module = make(lib.snt)
            arrays = [lib.array(a) if isinstance(a, np.ndarray) else a for a in args]
            if isinstance(module, lib.snt.RNNCore):
                arrays.append(module.initial_state(2))
            module(*arrays)
            shown[:] = (f"{v.name.removesuffix(':0')} {list(v.shape)}" for v in module.variables)

        if lib.snt is facade:  # modules outside number their names while others live
            ps.transform_with_state(run).init(jax.random.key(0))
        else:
            run()
        return "`" + ", ".join(shown) + "`"

    return measure


def names_ordinary(make: Callable[[], Any], *args: Any, part: str = "params") -> str:
    def f(*args: Any) -> Any:
        module = make()
        is_core = isinstance(module, ps.RNNCore)
        return module(*args, module.initial_state(2)) if is_core else module(*args)

    trees = jax.eval_shape(lambda: ps.transform_with_state(f).init(jax.random.key(0), *args))
    found = [
        f"{module}/{name} {list(value.shape)}"
        for tree in trees
        for module, bundle in tree.items()
        for name, value in bundle.items()
    ]
    return "`" + ", ".join(found) + "`"


def names(what: str, make: Callable[[Any], Any], *args: Any, ours: Any = None) -> Trap:
    """A row with the variables of what `make(package)` returns."""
    return Trap(
        NAMES,
        what,
        variables(make, *args),
        lambda: names_ordinary(ours or (lambda: make(ps)), *args),
    )


def reversed_net(package: Any) -> Any:
    mlp = package.nets.MLP([2, 3])
    mlp(ONES)
    return mlp.reverse()


def reversed_ours() -> Any:
    mlp = ps.nets.MLP([2, 3])
    mlp(ONES)
    return mlp.reverse()


TRAPS = [
    names("`nets.MLP([2])` of 3 inputs", lambda p: p.nets.MLP([2]), ONES),
    names("`BatchNorm(True, True, 0.9)`", lambda p: p.BatchNorm(True, True, 0.9), ONES, True),
    names(
        "`DepthwiseConv2D`, kernel 3, multiplier 2, 2 channels",
        lambda p: p.DepthwiseConv2D(kernel_shape=3, channel_multiplier=2),
        IMAGE,
    ),
    names("`LSTM(2)`", lambda p: p.LSTM(2), ONES),
    names("`GRU(2)`", lambda p: p.GRU(2), ONES),
    names("`VanillaRNN(2)`", lambda p: p.VanillaRNN(2), ONES),
    names("`nets.MLP([2, 3]).reverse()`, called", reversed_net, ONES, ours=reversed_ours),
    names("`LayerNorm(-1, True, True)`", lambda p: p.LayerNorm(-1, True, True), ONES),
    names("`Embed(5, 2)`", lambda p: p.Embed(5, 2), np.array([1], np.int32)),
]
