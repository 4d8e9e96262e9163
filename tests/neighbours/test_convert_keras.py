"""`from_keras` and `to_keras` against Keras 3 itself."""

import os
from typing import Any

import numpy as np
import pytest

import purestate as ps
from tests.convert.helpers import (
    KEY,
    SAME,
    Case,
    array,
    case,
    close,
    cnn,
    difference,
    encoder_block,
    equal,
    norm,
    random_values,
    training_case,
    two_lstms,
    unroll,
)

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras")
layers = keras.layers

SEQUENCE, IMAGE = array(2, 5, 8), array(2, 6, 6, 4)


def sequential(*parts: Any) -> Any:
    return lambda x: keras.Sequential([keras.Input(x.shape[1:], dtype=x.dtype.name), *parts])


def keras_block(x: Any) -> Any:
    inputs = keras.Input(x.shape[1:])
    attention = layers.MultiHeadAttention(2, 4)(inputs, inputs)
    h = layers.LayerNormalization(epsilon=1e-5)(inputs + attention)
    out = layers.Dense(8)(layers.Dense(16, "relu")(h))
    return keras.Model(inputs, layers.LayerNormalization(epsilon=1e-5)(h + out))


def keras_cnn(x: Any) -> Any:
    inputs = keras.Input(x.shape[1:])
    h = layers.Conv2D(6, 3, padding="same")(inputs)
    h = layers.ReLU()(layers.BatchNormalization(epsilon=1e-5)(h))
    h = layers.Conv2D(8, 3, 2, groups=2)(layers.ZeroPadding2D(1)(h))
    h = layers.ReLU()(layers.BatchNormalization(epsilon=1e-5)(h))
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(h)))


def separable(x: Any) -> Any:
    h = ps.DepthwiseConv2D(2, 3, padding="VALID", with_bias=False)(x)
    return ps.Conv2D(3, 1)(h)


CASES: dict[str, tuple[Any, Case]] = {
    "Dense": (sequential(layers.Dense(3)), case(lambda x: ps.Linear(3)(x), SEQUENCE)),
    "Conv2D": (
        sequential(layers.ZeroPadding2D(1), layers.Conv2D(6, 3, 2, groups=2)),
        case(lambda x: ps.Conv2D(6, 3, 2, padding=SAME, feature_group_count=2)(x), IMAGE),
    ),
    "DepthwiseConv2D": (
        sequential(layers.DepthwiseConv2D(3, depth_multiplier=2)),
        case(lambda x: ps.DepthwiseConv2D(2, 3, padding="VALID")(x), IMAGE),
    ),
    "SeparableConv2D": (
        sequential(layers.SeparableConv2D(3, 3, depth_multiplier=2)),
        case(separable, IMAGE),
    ),
    "Conv2DTranspose": (
        sequential(layers.Conv2DTranspose(3, (2, 3), 2)),
        case(lambda x: ps.Conv2DTranspose(3, (2, 3), 2, padding="VALID")(x), IMAGE),
    ),
    "LayerNormalization": (
        sequential(layers.LayerNormalization(epsilon=1e-5)),
        case(norm, SEQUENCE),
    ),
    "GroupNormalization": (
        sequential(layers.GroupNormalization(2, epsilon=1e-5)),
        case(lambda x: ps.GroupNorm(2)(x), IMAGE),
    ),
    "RMSNormalization": (
        sequential(layers.RMSNormalization(epsilon=1e-5)),
        case(lambda x: ps.RMSNorm(-1)(x), SEQUENCE),
    ),
    "BatchNormalization": (
        sequential(layers.BatchNormalization(epsilon=1e-5)),
        training_case(lambda x, t: ps.BatchNorm(True, True, 0.9)(x, t), array(7, 8)),
    ),
    "Embedding": (
        sequential(layers.Embedding(7, 3)),
        case(lambda x: ps.Embed(7, 3)(x), np.array([[0, 3], [6, 2]], np.int32)),
    ),
    "LSTM": (
        sequential(layers.LSTM(6, return_sequences=True)),
        case(lambda x: unroll(ps.LSTM(6), x), SEQUENCE),
    ),
    "GRU": (
        sequential(layers.GRU(6, return_sequences=True, reset_after=False)),
        case(lambda x: unroll(ps.GRU(6), x), SEQUENCE),
    ),
    "GRU, reset after": (
        sequential(layers.GRU(6, return_sequences=True)),
        case(lambda x: unroll(ps.GRU(6, reset_after=True), x), SEQUENCE),
    ),
    "CNN": (keras_cnn, training_case(cnn, IMAGE)),
    "encoder block": (keras_block, case(encoder_block, SEQUENCE)),
    "two LSTMs": (
        sequential(
            layers.LSTM(6, return_sequences=True),
            layers.LSTM(6, return_sequences=True),
            layers.Dense(3),
        ),
        case(two_lstms, SEQUENCE),
    ),
}
# Keras has one bias: with the 1 that ps.LSTM adds, it loses its last bits.
# And two biases of its GRU are one of ours.
ROUNDED = ("LSTM", "two LSTMs", "GRU, reset after")


@pytest.mark.parametrize("name", CASES)
def test_keras(name: str):
    make, (f, example, args) = CASES[name]
    model = make(args[0])
    weights = random_values([np.asarray(w) for w in model.weights])
    model.set_weights(weights)
    run = lambda x, *_: np.asarray(model(x))
    converted = ps.convert.from_keras(model, f, KEY, *example, check=run, check_args=args)
    close(converted.report.difference, name, "from keras")
    other = random_values(converted.params, 1), converted.state
    model.set_weights(ps.convert.to_keras(other, f, KEY, *example, like=model))
    distance = difference(f.apply(*other, KEY, *args)[0], run(*args))
    close(distance, name, "to keras")
    if name not in ROUNDED:
        back = ps.convert.to_keras(converted, f, KEY, *example, like=model)
        assert equal(back, [np.asarray(w) for w in weights])


def test_gru_that_resets_after_has_no_match():
    model = sequential(layers.GRU(6))(SEQUENCE)
    f = ps.transform(lambda x: unroll(ps.GRU(6), x))
    with pytest.raises(ps.errors.ConversionError, match=r"bias\[2,18\]"):
        ps.convert.from_keras(model, f, KEY, SEQUENCE, check=False)
