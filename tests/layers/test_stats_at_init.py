"""Layers with running statistics, initialized and run in evaluation mode; `stats_at_init`."""

from typing import Any

import jax
import numpy as np
import pytest

import purestate as ps
from purestate._nets.mobilenet_v1 import MobileNetV1Block
from tests.layers.haiku_bits import normal

KEY = jax.random.key(0)
X = normal(4, 3) * 2 + 1
IMAGE = np.asarray(normal(2, 9, 8, 3))
RES_NET: dict[str, Any] = {"bottleneck": False, "channels_per_group": (8, 8, 8, 8)}


def _bn(on: bool) -> dict[str, Any]:
    return {"bn_config": {"stats_at_init": on}}


LAYERS: dict[str, Any] = {
    "BatchNorm": (lambda on: ps.BatchNorm(True, True, 0.9, stats_at_init=on), X),
    "BatchNorm, channels first": (
        lambda on: ps.BatchNorm(True, True, 0.9, data_format="NCHW", stats_at_init=on),
        IMAGE,
    ),
    "BatchNorm, axes": (
        lambda on: ps.BatchNorm(False, False, 0.9, axis=(0, 1), stats_at_init=on),
        IMAGE,
    ),
    "BatchNorm, from the back": (
        lambda on: ps.BatchNorm(False, False, 0.9, axis=(0, -1), stats_at_init=on),
        IMAGE,
    ),
    "ResNet": (lambda on: ps.nets.ResNet((1, 1, 0, 0), 3, **RES_NET, **_bn(on)), IMAGE),
    "ResNet, second version": (
        lambda on: ps.nets.ResNet((1, 1, 0, 0), 3, resnet_v2=True, **RES_NET, **_bn(on)),
        IMAGE,
    ),
    "MobileNetV1": (lambda on: ps.nets.MobileNetV1((1,), (4,), 3, **_bn(on)), IMAGE),
    "MobileNetV1Block": (lambda on: MobileNetV1Block(4, 1, **_bn(on)), IMAGE),
    "VectorQuantizerEMA": (
        lambda on: ps.nets.VectorQuantizerEMA(3, 5, 0.25, 0.9, stats_at_init=on),
        X,
    ),
}


def transformed(name: str, on: bool) -> Any:
    make = LAYERS[name][0]
    return ps.transform_with_state(lambda x, is_training: make(on)(x, is_training))


def specs(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree)


@pytest.mark.parametrize("name", LAYERS)
def test_all_state_is_there_in_both_modes(name):
    x = LAYERS[name][1]
    f, default = transformed(name, True), transformed(name, False)
    made = [jax.eval_shape(lambda k, x, m=m: f.init(k, x, m), KEY, x) for m in (True, False)]
    assert specs(made[0]) == specs(made[1])
    # What training leaves has the same form as ever, so that checkpoints fit both.
    params, state = jax.eval_shape(lambda k, x: default.init(k, x, True), KEY, x)
    trained = jax.eval_shape(lambda p, s, x: default.apply(p, s, None, x, True), params, state, x)[
        1
    ]
    assert specs((params, trained)) == specs(made[1])
    # And all of it can be read, in each mode, after `init` in the other.
    for mode in (True, False):
        jax.eval_shape(lambda p, s, x, m=mode: f.apply(p, s, None, x, m), *made[not mode], x)


@pytest.mark.parametrize("name", [name for name in LAYERS if "Net" not in name])
def test_training_goes_on_as_without(name):
    x = LAYERS[name][1]
    f, default = transformed(name, True), transformed(name, False)
    params, state = f.init(KEY, x, False)
    expected_params, expected = default.init(KEY, x, True)
    if "Norm" in name:
        means = [state[m]["average"] for m in state if m.endswith("mean_ema")]
        variances = [state[m]["average"] for m in state if m.endswith("var_ema")]
        assert all((mean == 0).all() for mean in means)
        assert all((var == 1).all() for var in variances)
    for step in range(2):
        out, state = f.apply(params, state, None, x + step, True)
        expected_out, expected = default.apply(expected_params, expected, None, x + step, True)
        jax.tree.map(np.testing.assert_array_equal, (out, state), (expected_out, expected))
    out, _ = f.apply(params, state, None, x, False)
    expected_out, _ = default.apply(params, expected, None, x, False)
    jax.tree.map(np.testing.assert_array_equal, out, expected_out)


def test_without_training_it_is_the_identity():
    f = ps.transform_with_state(
        lambda x: ps.BatchNorm(False, False, 0.9, 0.0, stats_at_init=True)(x, False)
    )
    params, state = f.init(None, X)
    out, after = f.apply(params, state, None, X)
    np.testing.assert_allclose(out, X, rtol=1e-6)
    assert jax.tree.all(jax.tree.map(np.array_equal, after, state))


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "VectorQuantizerEMA"])
def test_without_the_option_the_error_names_it(name):
    f, x = transformed(name, False), LAYERS[name][1]
    with pytest.raises(ps.errors.MissingStateError) as caught:
        jax.eval_shape(lambda k, x: f.init(k, x, False), KEY, x)
    for words in ("norm", "no running statistics", "is_training=True", "stats_at_init=True"):
        assert words in str(caught.value)


@pytest.mark.parametrize("warmup", [0, 2])
def test_an_average_that_was_initialized_goes_on(warmup):
    def f(x, is_first):
        ema = ps.ExponentialMovingAverage(0.5, zero_debias=not warmup, warmup_length=warmup)
        if is_first:
            return ema.initialize(x.shape, x.dtype)
        return ema(x)

    pair = ps.transform_with_state(f)
    _, state = pair.init(None, X, True)
    fresh = pair.init(None, X, False)[1]
    for value in (X, X * 2, X * 3):
        out, state = pair.apply({}, state, None, value, False)
        expected, fresh = pair.apply({}, fresh, None, value, False)
        np.testing.assert_array_equal(out, expected)
    jax.tree.map(np.testing.assert_array_equal, state, fresh)


def test_state_that_is_lost_is_still_an_error():
    f = ps.transform_with_state(lambda x: ps.ExponentialMovingAverage(0.5, name="ema")(x))
    with pytest.raises(ps.errors.MissingStateError, match="'counter' of 'ema'"):
        f.apply({}, {"other": {"n": X}}, None, X)


def test_no_config_without_a_norm():
    f = ps.transform(lambda: ps.nets.MobileNetV1(use_bn=False, bn_config={}))
    with pytest.raises(ps.errors.LayerError, match="bn_config is given, but use_bn=False"):
        f.init(None)
