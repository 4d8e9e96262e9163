"""The largest inputs as state, and static scales from them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

KEY = jax.random.key(0)
X = jax.random.normal(KEY, [4, 8])
NAME = "quantize_amax_w"
STACK = "__layer_stack_no_per_layer/linear"


def largest(*arrays: Any) -> float:
    return float(max(np.abs(array).max() for array in arrays))


def layer(x: Any) -> Any:
    return ps.Linear(8)(x)


MODES: dict[str, tuple[Callable[[Any], Any], str, Callable[[Any], Any]]] = {
    "plain": (layer, "linear", largest),
    "twice": (
        lambda x: (lambda linear: linear(x) + linear(3 * x))(ps.Linear(8)),
        "linear",
        lambda x: largest(3 * x),
    ),
    "remat": (lambda x: ps.remat(layer)(x), "linear", largest),
    "vmap": (
        lambda x: ps.vmap(layer, split_rng=False)(jnp.stack([x, 2 * x])),
        "linear",
        lambda x: largest(2 * x),
    ),
    "scan": (
        lambda x: ps.scan(lambda c, x: (c, layer(x)), 0.0, jnp.stack([2 * x, x]))[1],
        "linear",
        lambda x: largest(2 * x),
    ),
    "fori_loop": (
        lambda x: ps.fori_loop(0, 2, lambda i, c: jnp.clip(layer(c), -9, 9), x * 0 + 2.5),
        "linear",
        lambda x: None,
    ),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_it_is_the_largest_of_all_calls(mode: str, compiled: bool) -> None:
    forward, path, expected = MODES[mode]
    f = ps.transform_with_state(forward)
    params, plain_state = f.init(KEY, X)
    assert plain_state == {}
    with ps.quantize.calibrate():
        state = f.init(KEY, X)[1]
        assert state == {path: {NAME: 0.0}}
        apply = jax.jit(f.apply) if compiled else f.apply
        for factor in (1.0, 4.0, 2.0):
            out, state = apply(params, state, None, factor * X)
    assert np.allclose(out, f.apply(params, {}, None, 2.0 * X)[0], rtol=1e-5, atol=1e-5)
    if mode == "fori_loop":
        assert float(state[path][NAME]) >= 2.5
    else:
        assert np.allclose(state[path][NAME], expected(4.0 * X))


def test_each_layer_of_a_stack_has_its_own() -> None:
    f = ps.transform_with_state(lambda x: ps.layer_stack(3)(lambda x: 5 * layer(x))(x))
    with ps.quantize.calibrate():
        params, state = f.init(KEY, X)
        state = f.apply(params, state, None, X)[1]
    inputs = [X]
    for i in range(2):
        w, b = params[STACK]["w"][i], params[STACK]["b"][i]
        inputs.append(5 * (inputs[-1] @ w + b))
    assert np.allclose(state[STACK][NAME], [largest(x) for x in inputs], rtol=1e-5)
    small = ps.quantize.weights(params)
    with ps.quantize.serving("int8", calibrated=True):
        out, after = jax.jit(f.apply)(small, state, None, X)
    assert np.array_equal(after[STACK][NAME], state[STACK][NAME])
    assert np.abs(out - f.apply(params, {}, None, X)[0]).max() < 0.05 * np.abs(out).max()


def test_scales_are_those_of_the_calibration() -> None:
    f = ps.transform_with_state(lambda x: ps.Linear(3, with_bias=False)(x))
    params, _ = f.init(KEY, X)
    small = ps.quantize.weights(params)
    state = {"linear": {NAME: jnp.array(1.27)}}
    x = jnp.array([[0.5, -3.0, 0.014, 0.016, 1.27, 1.0, -1.27, 0.0]])  # -3 is out of range
    with ps.quantize.serving("int8", calibrated=True):
        out = f.apply(small, state, None, x)[0]
    rounded = np.array([[0.5, -1.27, 0.01, 0.02, 1.27, 1.0, -1.27, 0.0]])
    exact = rounded @ np.asarray(small["linear"]["w"].dequantize(), np.float64)
    assert np.allclose(out, exact, rtol=1e-4)


def test_collections_have_one_for_it() -> None:
    f = ps.transform_with_collections(lambda x: ps.Linear(3)(x))
    with ps.quantize.calibrate():
        variables = f.init(KEY, X)
        _, updated = f.apply(variables, None, X, mutable=["quantize"])
    assert np.allclose(updated["quantize"]["linear"][NAME], largest(X))


def test_state_from_outside_the_block_is_refused() -> None:
    f = ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9)(ps.Linear(3)(x), True))
    params, state = f.init(KEY, X)
    small = ps.quantize.weights(params)
    for block in (ps.quantize.calibrate(), ps.quantize.serving("int8", calibrated=True)):
        with block, pytest.raises(ps.errors.QuantizeError, match="put the state that you have"):
            f.apply(small, state, None, X)
    with ps.quantize.calibrate():  # what the message says
        new = f.init(KEY, X)[1]
        merged = ps.data_structures.merge(new, state)
        _, after = f.apply(params, merged, None, X)
    assert np.allclose(after["linear"][NAME], largest(X))
    assert float(after["batch_norm/~/mean_ema"]["counter"]) == 1
