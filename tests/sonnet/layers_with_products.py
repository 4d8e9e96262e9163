"""Sonnet's layers whose arithmetic is an operation, for tests that cross all of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps
import purestate.sonnet as snt


class Row(NamedTuple):
    """How to make a layer and call it, and the parameters that are operands, by operation."""

    make: Callable[[], Any]
    call: Callable[[Any, Any], Any]
    shape: tuple[int, ...]
    operands: dict[str, set[str]]


def _plain(layer: Any, x: Any) -> Any:
    return layer(x)


def _step(core: Any, x: Any) -> Any:
    return core(x, core.initial_state(x.shape[0]))[0]


def _unroll(core: Any, x: Any) -> Any:
    return snt.dynamic_unroll(core, x, core.initial_state(x.shape[1]))[0]


def _unrolled(core: Any, x: Any) -> Any:
    return core(x, core.initial_state(x.shape[1]))[0]


def _look_up(layer: Any, x: Any) -> Any:
    return layer(jnp.array([[0, 2], [1, 1]])) * jnp.mean(x)


def _in_training(layer: Any, x: Any) -> Any:
    return layer(x, is_training=True)


def _in_test(layer: Any, x: Any) -> Any:
    return layer(x, is_training=False)


def _quantized(layer: Any, x: Any) -> Any:
    out = layer(x)
    return out["quantize"], out["loss"], out["distances"]


def _quantized_in_training(layer: Any, x: Any) -> Any:
    return _quantized(lambda x: layer(x, is_training=True), x)


DOT, CONV, NORM = "dot_general", "conv_general_dilated", "normalize"
IMAGE = (2, 6, 6, 3)

ROWS = {
    "Linear": Row(lambda: snt.Linear(4), _plain, (2, 3), {DOT: {"w"}}),
    "Linear-no-bias": Row(lambda: snt.Linear(4, with_bias=False), _plain, (2, 5, 3), {DOT: {"w"}}),
    "Linear-three-axes": Row(lambda: snt.Linear(4), _plain, (2, 5, 3), {DOT: {"w"}}),
    "Conv1D": Row(lambda: snt.Conv1D(4, 3), _plain, (2, 6, 3), {CONV: {"w"}}),
    "Conv2D": Row(lambda: snt.Conv2D(4, 3, stride=2), _plain, IMAGE, {CONV: {"w"}}),
    "Conv2D-causal": Row(
        lambda: snt.Conv2D(4, 3, padding=snt.pad.causal), _plain, IMAGE, {CONV: {"w"}}
    ),
    "Conv3D": Row(lambda: snt.Conv3D(2, 2, rate=2), _plain, (1, 4, 4, 4, 2), {CONV: {"w"}}),
    "Conv1DTranspose": Row(
        lambda: snt.Conv1DTranspose(4, kernel_shape=3, stride=2),
        _plain,
        (2, 6, 3),
        {"conv_transpose": {"w"}},
    ),
    "Conv2DTranspose": Row(
        lambda: snt.Conv2DTranspose(4, kernel_shape=3, stride=2, data_format="NCHW"),
        _plain,
        (2, 3, 6, 6),
        {"conv_transpose": {"w"}},
    ),
    "DepthwiseConv2D": Row(lambda: snt.DepthwiseConv2D(3, 2), _plain, IMAGE, {CONV: {"w"}}),
    "Embed": Row(lambda: snt.Embed(4, 5), _look_up, (2,), {"embedding_lookup": {"embeddings"}}),
    "LSTM": Row(lambda: snt.LSTM(4), _step, (2, 3), {DOT: {"w_i", "w_h"}}),
    "LSTM-projected": Row(
        lambda: snt.LSTM(4, projection_size=2),
        _step,
        (2, 3),
        {DOT: {"w_i", "w_h", "projection"}},
    ),
    "LSTM-unroll": Row(lambda: snt.LSTM(4), _unroll, (5, 2, 3), {DOT: {"w_i", "w_h"}}),
    "UnrolledLSTM": Row(lambda: snt.UnrolledLSTM(4), _unrolled, (5, 2, 3), {DOT: {"w_i", "w_h"}}),
    "GRU": Row(lambda: snt.GRU(4), _step, (2, 3), {DOT: {"w_i"}}),
    "VanillaRNN": Row(lambda: snt.VanillaRNN(4), _step, (2, 3), {DOT: {"w"}}),
    "Conv2DLSTM": Row(
        lambda: snt.Conv2DLSTM([6, 6, 3], output_channels=2, kernel_shape=3),
        _step,
        IMAGE,
        {CONV: {"w"}},
    ),
    "VectorQuantizer": Row(
        lambda: snt.nets.VectorQuantizer(3, 4, 0.25),
        _quantized_in_training,
        (2, 5, 3),
        {DOT: {"embeddings"}, "embedding_lookup": set()},
    ),
    "VectorQuantizerEMA": Row(
        lambda: snt.nets.VectorQuantizerEMA(3, 4, 0.25, decay=0.9),
        _quantized_in_training,
        (2, 5, 3),
        {DOT: set(), "embedding_lookup": set()},
    ),
    "LayerNorm": Row(
        lambda: snt.LayerNorm(-1, True, True), _plain, (2, 5, 3), {NORM: {"scale", "offset"}}
    ),
    "LayerNorm-bare": Row(lambda: snt.LayerNorm(-1, False, False), _plain, (2, 3), {NORM: set()}),
    "InstanceNorm": Row(
        lambda: snt.InstanceNorm(True, True), _plain, IMAGE, {NORM: {"scale", "offset"}}
    ),
    "GroupNorm": Row(lambda: snt.GroupNorm(1), _plain, IMAGE, {NORM: set()}),
    "BatchNorm": Row(
        lambda: snt.BatchNorm(True, True), _in_training, IMAGE, {NORM: {"scale", "offset"}}
    ),
    "BatchNorm-test": Row(
        lambda: snt.BatchNorm(True, True), _in_test, IMAGE, {NORM: {"scale", "offset"}}
    ),
    "MLP": Row(lambda: snt.nets.MLP([4, 2]), _plain, (2, 3), {DOT: {"w"}}),
}


def inputs_of(row: Row) -> jax.Array:
    draw = np.random.RandomState(0)
    return jnp.asarray(draw.standard_normal(row.shape), jnp.float32)


def variables_of(row: Row) -> tuple[Any, tuple[Any, Any], jax.Array]:
    """The transformed function of a row, its params and state, and an input."""
    f = ps.transform_with_state(lambda x: row.call(row.make(), x))
    x = inputs_of(row)
    return f, f.init(jax.random.key(0), x), x
