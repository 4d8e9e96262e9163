"""A model of Sonnet's modules goes on with the ordinary layers, with equal outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate.errors import ConversionError

KEY = jax.random.key(0)
X = jnp.linspace(-1.0, 1.0, 10).reshape(2, 5)
IMAGE = jax.random.normal(KEY, (2, 8, 8, 3))
SEQUENCE = jax.random.normal(KEY, (4, 2, 5))
IDS = jnp.array([[1, 2, 0]])


def unrolled(library, make):
    def f(sequence):
        core = make()
        return library.dynamic_unroll(core, sequence, core.initial_state(2))[0]

    return f


def cores(sonnet, ordinary):
    return unrolled(snt, sonnet), unrolled(ps, ordinary), SEQUENCE


def step(make):
    def f(x):
        core = make()
        return core(x, core.initial_state(2))[0]

    return f


MODELS = {
    "mlp": (lambda x: snt.nets.MLP([4, 3])(x), lambda x: ps.nets.MLP([4, 3])(x), X),
    "lstm": cores(lambda: snt.LSTM(6), lambda: ps.LSTM(6)),
    "forget bias": cores(lambda: snt.LSTM(6, forget_bias=2.5), lambda: ps.LSTM(6)),
    "gru": cores(lambda: snt.GRU(6), lambda: ps.GRU(6)),
    "vanilla_rnn": cores(
        lambda: snt.VanillaRNN(6),
        lambda: ps.VanillaRNN(6, double_bias=False, activation=jnp.tanh),
    ),
    "deep_rnn": cores(
        lambda: snt.DeepRNN([snt.LSTM(6), jnp.tanh, snt.GRU(5)]),
        lambda: ps.DeepRNN([ps.LSTM(6), jnp.tanh, ps.GRU(5)]),
    ),
    "conv_lstm": (
        step(lambda: snt.Conv2DLSTM((8, 8, 3), 4, 3)),
        step(lambda: ps.Conv2DLSTM((8, 8), 4, 3)),
        IMAGE,
    ),
    "conv": (
        lambda x: snt.Conv2D(4, 3, stride=2, padding="VALID")(x),
        lambda x: ps.Conv2D(4, 3, stride=2, padding="VALID")(x),
        IMAGE,
    ),
    "conv_transpose": (
        lambda x: snt.Conv2DTranspose(4, 3, stride=2)(x),
        lambda x: ps.Conv2DTranspose(4, 3, stride=2)(x),
        IMAGE,
    ),
    "depthwise": (
        lambda x: snt.DepthwiseConv2D(3, 2)(x),
        lambda x: ps.DepthwiseConv2D(2, 3)(x),
        IMAGE,
    ),
    "batch_norm": (
        lambda x: snt.BatchNorm(True, True)(x, is_training=False),
        lambda x: ps.BatchNorm(True, True, 0.999, stats_at_init=True)(x, is_training=False),
        IMAGE,
    ),
    "layer_norm": (
        lambda x: snt.LayerNorm(-1, True, True)(x),
        lambda x: ps.LayerNorm(-1, True, True)(x),
        X,
    ),
    "embed": (lambda ids: snt.Embed(10, 4)(ids), lambda ids: ps.Embed(10, 4)(ids), IDS),
    "average": (
        lambda x: snt.ExponentialMovingAverage(0.9)(x),
        lambda x: ps.ExponentialMovingAverage(0.9)(x),
        X,
    ),
    "vq": (
        lambda x: snt.nets.VectorQuantizer(5, 7, 0.25)(x, is_training=True)["quantize"],
        lambda x: ps.nets.VectorQuantizer(5, 7, 0.25)(x, is_training=True)["quantize"],
        X,
    ),
    "vq_ema": (
        lambda x: snt.nets.VectorQuantizerEMA(5, 7, 0.25, 0.9)(x, is_training=True)["quantize"],
        lambda x: ps.nets.VectorQuantizerEMA(5, 7, 0.25, 0.9)(x, is_training=True)["quantize"],
        X,
    ),
}


@pytest.mark.one_in(9)
@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_equal(name):
    sonnet, ordinary, x = MODELS[name]
    before = ps.transform_with_state(sonnet)
    params, state = before.init(KEY, x)
    params = jax.tree.map(lambda p: p + 0.1 * jax.random.normal(KEY, p.shape), params)
    out, _ = before.apply(params, state, None, x)
    after = ps.transform_with_state(ordinary)
    params, state, report = snt.to_haiku(params, state, after, KEY, x, check=out)
    assert report.matches
    np.testing.assert_allclose(after.apply(params, state, None, x)[0], out, atol=2e-5)


def test_layers_that_are_missing_are_an_error():
    before = ps.transform_with_state(lambda x: snt.nets.MLP([4, 3])(x))
    after = ps.transform_with_state(lambda x: ps.nets.MLP([4])(x))
    with pytest.raises(ConversionError, match="Only the variables of Sonnet has"):
        snt.to_haiku(*before.init(KEY, X), after, KEY, X)
