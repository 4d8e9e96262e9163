"""Traps where the same call gives other numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps
from tests.neighbours.sonnet_traps import Lib, Trap, fill, out, ramp, refused, run

F32 = np.float32
PULSE = np.array([[[0], [1], [0], [0], [0]]], F32)
NINE = np.ones([1, 9, 1], F32)
LSTM_W = ramp([4, 8])
VECTORS = ramp([2, 2])
IMAGES = ramp([2, 3, 3, 1])
STEPS = ramp([4, 2, 3])  # [T, B, D]
LENGTHS = np.array([2, 4], np.int32)


def constant(lib: Lib, value: Any) -> Any:
    """Returns an initializer of this value."""
    return lambda shape, dtype: lib.array(np.broadcast_to(np.asarray(value, F32), tuple(shape)))


# Transposed convolutions


def transpose(lib: Lib) -> Any:
    w = np.array([1, 2, 3], F32).reshape(3, 1, 1)
    return lib.snt.Conv1DTranspose(1, 3, w_init=constant(lib, w))(lib.array(PULSE))


def transpose_ordinary() -> Any:
    w = {"conv1_d_transpose/w": [[[1]], [[2]], [[3]]], "conv1_d_transpose/b": [0]}
    return out(lambda x: ps.Conv1DTranspose(1, 3)(x), PULSE, weights=w)


def transpose_sizes(lib: Lib) -> Any:
    make = lib.snt.Conv1DTranspose
    return [
        make(1, 3, stride=stride, padding="VALID")(lib.array(NINE)).shape[1] for stride in (2, 3)
    ]


def transpose_sizes_ordinary() -> Any:
    def sizes(x: Any) -> Any:
        return [ps.Conv1DTranspose(1, 3, stride=s, padding="VALID")(x).shape[1] for s in (2, 3)]

    return run(sizes, NINE)[0]


# Recurrent cores


def lstm(lib: Lib) -> Any:
    weights = {
        "w_i_init": constant(lib, LSTM_W[:2]),
        "w_h_init": constant(lib, LSTM_W[2:]),
        "forget_bias": 0.0,
    }
    core = lib.snt.LSTM(2, **weights)
    return core(lib.array(VECTORS), core.initial_state(2))[0][0]


def lstm_ordinary() -> Any:
    def step(x: Any) -> Any:
        core = ps.LSTM(2)
        return core(x, core.initial_state(2))[0][0]

    return out(step, VECTORS, weights={"lstm/linear/w": LSTM_W, "lstm/linear/b": np.zeros(8)})


def conv_lstm(lib: Lib) -> Any:
    core = lib.snt.Conv1DLSTM([3, 1], 1, 3, forget_bias=0.0)
    x = lib.array(ramp([1, 3, 1]))
    core(x, core.initial_state(1))
    for variable in core.trainable_variables:
        variable.assign(ramp(variable.shape) * (len(variable.shape) > 1))
    return np.ravel(core(x, core.initial_state(1))[0])


def conv_lstm_ordinary() -> Any:
    def step(x: Any) -> Any:
        core = ps.Conv1DLSTM([3], 1, 3)
        return core(x, core.initial_state(1))[0]

    biases = {f"conv1_d_lstm/{part}_to_hidden/b": np.zeros(4) for part in ("input", "hidden")}
    return out(step, ramp([1, 3, 1]), weights=biases)


def forget_bias(lib: Lib, b: Any = None) -> Any:
    zeros = constant(lib, 0.0)
    core = lib.snt.LSTM(1, w_i_init=zeros, w_h_init=zeros)
    one = lib.array(np.ones([1, 1], F32))
    return core(one, type(core.initial_state(1))(hidden=one, cell=one))[1].cell


def forget_bias_ordinary() -> Any:
    def step(x: Any) -> Any:
        return ps.LSTM(1)(x, ps.LSTMState(x, x))[1].cell

    copied = np.array([0, 0, 1, 0])  # Sonnet's bias with the gates in our order
    weights = {"lstm/linear/w": np.zeros([2, 4]), "lstm/linear/b": copied}
    return out(step, np.ones([1, 1], F32), weights=weights)


def vanilla(lib: Lib) -> Any:
    ones, two = constant(lib, 1.0), lib.array(np.full([1, 1], 2, F32))
    core = lib.snt.VanillaRNN(1, w_i_init=ones, w_h_init=ones)
    return core(two, core.initial_state(1))[0]


def vanilla_ordinary() -> Any:
    weights = {"vanilla_rnn/linear/w": [[1]], "vanilla_rnn/linear/b": [0]}
    weights |= {"vanilla_rnn/linear_1/w": [[1]], "vanilla_rnn/linear_1/b": [0]}
    step = lambda x: ps.VanillaRNN(1)(x, jnp.zeros([1, 1]))[0]
    return out(step, np.full([1, 1], 2, F32), weights=weights)


def gru(lib: Lib) -> Any:
    core = lib.snt.GRU(2)
    core(lib.array(STEPS[0]), core.initial_state(2))
    fill(core)
    unroll = lambda **o: lib.snt.dynamic_unroll(core, lib.array(STEPS), core.initial_state(2), **o)[
        0
    ]
    return np.asarray(unroll(sequence_length=lib.array(LENGTHS)))[-1, 0]


def gru_ordinary() -> Any:
    def unroll(x: Any) -> Any:
        core = ps.GRU(2)
        return ps.dynamic_unroll(core, x, core.initial_state(2), sequence_length=LENGTHS)[0]

    return out(unroll, STEPS)[-1, 0]


# Statistics


def trained_norm(lib: Lib) -> Any:
    norm = lib.snt.BatchNorm(False, False, decay_rate=0.9)
    for x in (IMAGES, 2 * IMAGES):
        norm(lib.array(x), True)
    return norm


def moving_variance(lib: Lib) -> Any:
    return np.ravel(trained_norm(lib).moving_variance.value)


def evaluated(lib: Lib) -> Any:
    return np.asarray(trained_norm(lib)(lib.array(IMAGES), False))[0, 0, 0]


def norm_ordinary(what: str) -> Any:
    f = ps.transform_with_state(lambda x, t: ps.BatchNorm(False, False, 0.9)(x, t))
    _, state = f.init(None, IMAGES, True)
    for x in (IMAGES, 2 * IMAGES):
        _, state = f.apply({}, state, None, x, True)
    if what == "variance":
        return np.ravel(state["batch_norm/~/var_ema"]["average"])
    return np.asarray(f.apply({}, state, None, IMAGES, False)[0])[0, 0, 0]


def untrained_norm(lib: Lib) -> Any:
    return lib.snt.BatchNorm(False, False)(lib.array(np.ones([1, 1], F32)), False)


def norm_gradient(lib: Lib) -> Any:
    norm = lib.snt.BatchNorm(False, False, decay_rate=0.9)
    x, z = lib.Variable(VECTORS), lib.array(2 * VECTORS)

    def loss() -> Any:
        norm(x, True)
        y = norm(z, False)
        return (y * y * y)[0, 0]

    return np.abs(lib.gradient(loss, x)).sum()


def norm_gradient_ordinary() -> Any:
    f = ps.transform_with_state(lambda x, t: ps.BatchNorm(False, False, 0.9)(x, t))
    _, state = f.init(None, VECTORS, True)

    def loss(x: Any) -> Any:
        _, after = f.apply({}, state, None, x, True)
        return (f.apply({}, after, None, 2 * VECTORS, False)[0] ** 3)[0, 0]

    return np.abs(np.asarray(jax.grad(loss)(jnp.asarray(VECTORS)))).sum()


def vq_gradient(lib: Lib) -> Any:
    vq = lib.snt.nets.VectorQuantizerEMA(2, 2, 0.25, 0.9)
    x = lib.Variable(VECTORS)
    vq(lib.array(VECTORS), is_training=False)
    vq.embeddings.assign(ramp([2, 2]))

    def loss() -> Any:
        vq(x, is_training=True)
        e = vq.embeddings.value()
        return (e * e)[0, 0]

    return np.abs(lib.gradient(loss, x)).sum()


def vq_gradient_ordinary() -> Any:
    f = ps.transform_with_state(
        lambda x: ps.nets.VectorQuantizerEMA(2, 2, 0.25, 0.9)(x, is_training=True)
    )
    _, state = f.init(KEY, VECTORS)
    path = "vector_quantizer_ema"
    state = {**state, path: {**state[path], "embeddings": jnp.asarray(ramp([2, 2]))}}

    def loss(x: Any) -> Any:
        return f.apply({}, state, None, x)[1][path]["embeddings"][0, 0] ** 2

    return np.abs(np.asarray(jax.grad(loss)(jnp.asarray(VECTORS)))).sum()


KEY = jax.random.key(0)


def resnet(lib: Lib, size: int = 32) -> Any:
    channels = {"channels_per_group_list": (4, 4, 4, 4)}
    net = lib.snt.nets.ResNet([1, 1, 1, 1], 2, **channels)
    x = lib.array(ramp([2, size, size, 1]))
    net(x, is_training=True)
    return np.asarray(fill(net)(x, is_training=True))[0]


def resnet_ordinary() -> Any:
    def net(x: Any) -> Any:
        return ps.nets.ResNet([1, 1, 1, 1], 2, channels_per_group=(4, 4, 4, 4))(x, True)

    return out(net, ramp([2, 32, 32, 1]))[0]


def embed(lib: Lib, index: int) -> Any:
    vectors = np.arange(5, dtype=F32).reshape(5, 1)
    layer = lib.snt.Embed(existing_vocab=lib.array(vectors))
    return refused(lambda: np.ravel(layer(lib.array(np.array([index], np.int32)))))


def embed_ordinary(index: int) -> Any:
    vectors = jnp.arange(5.0).reshape(5, 1)
    return out(lambda i: ps.Embed(embedding_matrix=vectors)(i), np.array([index]), weights=None)


NUMBERS = "Numbers"
TRAPS = [
    Trap(
        NUMBERS, "`Conv1DTranspose`, `w` = 1, 2, 3, of 0, 1, 0, 0, 0", transpose, transpose_ordinary
    ),
    Trap(
        NUMBERS,
        '`Conv1DTranspose(1, 3, padding="VALID")` of 9 steps: size with stride 2, and 3',
        transpose_sizes,
        transpose_sizes_ordinary,
    ),
    Trap(NUMBERS, "`LSTM`: one step from zeros, weights copied", lstm, lstm_ordinary),
    Trap(NUMBERS, "`Conv1DLSTM`: the same", conv_lstm, conv_lstm_ordinary),
    Trap(
        NUMBERS,
        "`LSTM`: cell after one step from 1, `b` copied, all weights 0",
        forget_bias,
        forget_bias_ordinary,
    ),
    Trap(
        NUMBERS, "`VanillaRNN`: one step from zeros, weights 1, input 2", vanilla, vanilla_ordinary
    ),
    Trap(
        NUMBERS,
        "`dynamic_unroll` with `sequence_length`: last output of a sequence that ends before",
        gru,
        gru_ordinary,
    ),
    Trap(
        NUMBERS,
        "`BatchNorm` of images: moving variance after 2 steps of training",
        moving_variance,
        lambda: norm_ordinary("variance"),
    ),
    Trap(
        NUMBERS,
        "`BatchNorm` of images: output in evaluation after that",
        evaluated,
        lambda: norm_ordinary("output"),
    ),
    Trap(
        NUMBERS,
        "`BatchNorm`: gradient of an output in evaluation by the inputs in training before",
        norm_gradient,
        norm_gradient_ordinary,
    ),
    Trap(
        NUMBERS,
        "`VectorQuantizerEMA`: gradient of the new embeddings by the inputs",
        vq_gradient,
        vq_gradient_ordinary,
    ),
    Trap(
        NUMBERS,
        "`nets.ResNet` of images of size 32, weights copied",
        resnet,
        resnet_ordinary,
        digits=3,
    ),
    Trap(
        NUMBERS,
        "`Embed`: id 7 of the vectors 0, 1, 2, 3, 4",
        lambda lib: embed(lib, 7),
        lambda: embed_ordinary(7),
    ),
    Trap(NUMBERS, "`Embed`: id -1", lambda lib: embed(lib, -1), lambda: embed_ordinary(-1)),
]
