"""The models of the benchmarks, each written twice: by hand in JAX, and over a library `L`.

`L` is dm-haiku or purestate: the code is the same. The hand-written form reads the library's own
parameter tree, so that both compute the same from the same arrays, which `trace.py` checks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Model(NamedTuple):
    """A model in both forms.

    Attributes:
      over: `over(L)` is a function of `(x, is_training)` to transform.
      by_hand: `by_hand(params, state, key, x) -> (out, state)`, what `apply` computes in training.
      inputs: makes x.
    """

    over: Callable[[Any], Callable[..., Any]]
    by_hand: Callable[..., Any]
    inputs: Callable[[], Any]


# By hand -------------------------------------------------------------------------------------------


def linear(p: Any, x: Any) -> Any:
    return jnp.dot(x, p["w"]) + p["b"]


def dropout(key: Any, rate: float, x: Any) -> Any:
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return keep * x / (1.0 - rate)


def layer_norm(p: Any, x: Any) -> Any:
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.var(x, axis=-1, keepdims=True)
    return p["scale"] * lax.rsqrt(variance + 1e-5) * (x - mean) + p["offset"]


def moving_average(old: Any, value: Any) -> Any:
    counter = old["counter"] + 1
    hidden = old["hidden"] * 0.9 + value * (1 - 0.9)
    return {"counter": counter, "hidden": hidden, "average": hidden / (1 - 0.9**counter)}


def batch_norm(name: str, params: Any, state: Any, new_state: Any, x: Any) -> Any:
    """Puts the moving averages into `new_state`."""
    axes = tuple(range(x.ndim - 1))
    mean = jnp.mean(x, axes, keepdims=True)
    variance = jnp.mean(jnp.square(x), axes, keepdims=True) - jnp.square(mean)
    for average, value in (("mean_ema", mean), ("var_ema", variance)):
        new_state[f"{name}/~/{average}"] = moving_average(state[f"{name}/~/{average}"], value)
    scale, offset = params[name]["scale"], params[name]["offset"]
    return (x - mean) * (scale * lax.rsqrt(variance + 1e-5)) + offset


# A chain of many small layers ----------------------------------------------------------------------


def many_over(layers: int) -> Callable[[Any], Callable[..., Any]]:
    def over(L: Any) -> Callable[..., Any]:
        class Many(L.Module):
            def __call__(self, x: Any) -> Any:
                for _ in range(layers):
                    x = L.Linear(4)(x)
                return x

        return lambda x, is_training: Many()(x)

    return over


def many_by_hand(layers: int) -> Callable[..., Any]:
    def forward(params: Any, state: Any, key: Any, x: Any) -> Any:
        for i in range(layers):
            x = linear(params["many/linear" if i == 0 else f"many/linear_{i}"], x)
        return x, state

    return forward


# A perceptron with dropout -------------------------------------------------------------------------


def mlp_over(L: Any) -> Callable[..., Any]:
    def forward(x: Any, is_training: bool) -> Any:
        for i, size in enumerate((256, 256)):
            x = jax.nn.relu(L.Linear(size, name=f"layer_{i}")(x))
            x = L.dropout(L.next_rng_key(), 0.1, x)
        return L.Linear(10, name="logits")(x)

    return forward


def mlp_by_hand(params: Any, state: Any, key: Any, x: Any) -> Any:
    for i in range(2):
        x = jax.nn.relu(linear(params[f"layer_{i}"], x))
        key, dropout_key = jax.random.split(key)
        x = dropout(dropout_key, 0.1, x)
    return linear(params["logits"], x), state


# GPT -----------------------------------------------------------------------------------------------

GPT_LAYERS, GPT_HEADS, GPT_WIDTH, GPT_VOCABULARY, GPT_RATE = 12, 4, 64, 128, 0.1


def gpt_over(L: Any) -> Callable[..., Any]:
    def forward(tokens: Any, is_training: bool) -> Any:
        init = L.initializers.TruncatedNormal(0.02)
        length = tokens.shape[1]
        table = L.get_parameter("tokens", [GPT_VOCABULARY, GPT_WIDTH], init=init)
        positions = L.get_parameter("positions", [length, GPT_WIDTH], init=init)
        h = L.dropout(L.next_rng_key(), GPT_RATE, table[tokens] + positions)
        mask = jnp.tril(jnp.ones([1, 1, length, length], bool))
        for i in range(GPT_LAYERS):
            x = L.LayerNorm(-1, True, True, name=f"norm_attention_{i}")(h)
            attention = L.MultiHeadAttention(
                GPT_HEADS, GPT_WIDTH // GPT_HEADS, w_init=init, name=f"attention_{i}"
            )
            h = h + L.dropout(L.next_rng_key(), GPT_RATE, attention(x, x, x, mask))
            x = L.LayerNorm(-1, True, True, name=f"norm_dense_{i}")(h)
            x = jax.nn.gelu(L.Linear(4 * GPT_WIDTH, name=f"up_{i}")(x))
            h = h + L.dropout(L.next_rng_key(), GPT_RATE, L.Linear(GPT_WIDTH, name=f"down_{i}")(x))
        h = L.LayerNorm(-1, True, True, name="norm")(h)
        return L.Linear(GPT_VOCABULARY, name="logits")(h)

    return forward


def gpt_by_hand(params: Any, state: Any, key: Any, tokens: Any) -> Any:
    def attend(name: str, x: Any) -> Any:
        shape = (*x.shape[:-1], GPT_HEADS, GPT_WIDTH // GPT_HEADS)
        query, k, value = (
            linear(params[f"{name}/{part}"], x).reshape(shape) for part in ("query", "key", "value")
        )
        logits = jnp.einsum("...thd,...Thd->...htT", query, k) / (GPT_WIDTH // GPT_HEADS) ** 0.5
        weights = jax.nn.softmax(jnp.where(mask, logits, -1e30))
        out = jnp.einsum("...htT,...Thd->...thd", weights, value)
        return linear(params[f"{name}/linear"], out.reshape(x.shape))

    length = tokens.shape[1]
    key, dropout_key = jax.random.split(key)
    h = dropout(dropout_key, GPT_RATE, params["~"]["tokens"][tokens] + params["~"]["positions"])
    mask = jnp.tril(jnp.ones([1, 1, length, length], bool))
    for i in range(GPT_LAYERS):
        key, dropout_key = jax.random.split(key)
        attended = attend(f"attention_{i}", layer_norm(params[f"norm_attention_{i}"], h))
        h = h + dropout(dropout_key, GPT_RATE, attended)
        x = jax.nn.gelu(linear(params[f"up_{i}"], layer_norm(params[f"norm_dense_{i}"], h)))
        key, dropout_key = jax.random.split(key)
        h = h + dropout(dropout_key, GPT_RATE, linear(params[f"down_{i}"], x))
    return linear(params["logits"], layer_norm(params["norm"], h)), state


# Batch normalization ------------------------------------------------------------------------------


def norms_over(L: Any) -> Callable[..., Any]:
    def forward(x: Any, is_training: bool) -> Any:
        x = jax.nn.relu(L.BatchNorm(True, True, 0.9, name="first")(x, is_training))
        return L.BatchNorm(True, True, 0.9, name="second")(x, is_training)

    return forward


def norms_by_hand(params: Any, state: Any, key: Any, x: Any) -> Any:
    new_state = dict(state)
    x = jax.nn.relu(batch_norm("first", params, state, new_state, x))
    return batch_norm("second", params, state, new_state, x), new_state


# An LSTM over time ---------------------------------------------------------------------------------

LSTM_WIDTH = 64


def lstm_over(L: Any) -> Callable[..., Any]:
    def forward(x: Any, is_training: bool) -> Any:
        core = L.LSTM(LSTM_WIDTH)
        return L.dynamic_unroll(core, x, core.initial_state(x.shape[1]))[0]

    return forward


def lstm_by_hand(params: Any, state: Any, key: Any, x: Any) -> Any:
    def step(carry: Any, x: Any) -> Any:
        hidden, cell = carry
        gates = linear(params["lstm/linear"], jnp.concatenate([x, hidden], axis=-1))
        i, g, f, o = jnp.split(gates, 4, axis=-1)
        cell = jax.nn.sigmoid(f + 1) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (hidden, cell), hidden

    zeros = jnp.zeros([x.shape[1], LSTM_WIDTH])
    return lax.scan(step, (zeros, zeros), x)[1], state


# ResNet-18 -----------------------------------------------------------------------------------------

RESNET_CLASSES = 10


RESNETS = {18: ((2, 2, 2, 2), False), 50: ((3, 4, 6, 3), True)}
"""Blocks of each group, and whether they have three convolutions, the second with the stride."""


def resnet_over(depth: int) -> Callable[[Any], Callable[..., Any]]:
    def over(L: Any) -> Callable[..., Any]:
        net = getattr(L.nets, f"ResNet{depth}")
        return lambda x, is_training: net(RESNET_CLASSES)(x, is_training)

    return over


def resnet_by_hand(depth: int) -> Callable[..., Any]:
    blocks, bottleneck = RESNETS[depth]
    root = f"res_net{depth}/~"

    def forward(params: Any, state: Any, key: Any, x: Any) -> Any:
        new_state = dict(state)

        def conv(name: str, x: Any, stride: int = 1) -> Any:
            w = params[name]["w"]
            return lax.conv_general_dilated(
                x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )

        def norm(name: str, x: Any) -> Any:
            return batch_norm(name, params, state, new_state, x)

        x = jax.nn.relu(norm(f"{root}/initial_batchnorm", conv(f"{root}/initial_conv", x, 2)))
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
        for group, number in enumerate(blocks):
            for block in range(number):
                name = f"{root}/block_group_{group}/~/block_{block}/~"
                stride = 2 if group > 0 and block == 0 else 1
                strides = (1, stride, 1) if bottleneck else (stride, 1)
                shortcut, out = x, x
                if f"{name}/shortcut_conv" in params:
                    shortcut = conv(f"{name}/shortcut_conv", x, stride)
                    shortcut = norm(f"{name}/shortcut_batchnorm", shortcut)
                for i, step in enumerate(strides):
                    out = norm(f"{name}/batchnorm_{i}", conv(f"{name}/conv_{i}", out, step))
                    out = out if i == len(strides) - 1 else jax.nn.relu(out)
                x = jax.nn.relu(out + shortcut)
        return linear(params[f"{root}/logits"], jnp.mean(x, (1, 2))), new_state

    return forward


MODELS = {
    "batch_norm": Model(norms_over, norms_by_hand, lambda: jnp.ones([8, 16, 16, 32])),
    "gpt": Model(gpt_over, gpt_by_hand, lambda: jnp.ones([2, 16], jnp.int32)),
    "lstm": Model(lstm_over, lstm_by_hand, lambda: jnp.ones([20, 8, 32])),
    "many": Model(many_over(2000), many_by_hand(2000), lambda: jnp.ones([2, 4])),
    "mlp": Model(mlp_over, mlp_by_hand, lambda: jnp.ones([8, 784])),
    "resnet18": Model(resnet_over(18), resnet_by_hand(18), lambda: jnp.ones([2, 32, 32, 3])),
    "resnet50": Model(resnet_over(50), resnet_by_hand(50), lambda: jnp.ones([2, 32, 32, 3])),
}
