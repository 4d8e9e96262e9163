"""The models of the benchmarks, written for flax.linen, flax.nnx and equinox.

Each model uses its library's own layers, in the way of that library's documentation, with default
initializers. Sizes and numbers of parameters are those of `models.py`. This arithmetic differs:

- BatchNorm: flax starts its running statistics at 0 and 1 and does not debias them. Equinox
  debiases them at inference; dm-haiku does so in training too, and stores both. Equinox takes
  the mean over each example, then over the batch, and the variance from the distances to it.
- LayerNorm: flax computes the variance as the mean of squares minus the square of the mean.
- Attention: the query is divided by the square root of its size. In `models.py` the logits are.
- LSTM: dm-haiku concatenates x and the hidden vector, the others have a product for each. It also
  adds 1 to the forget gate. In flax.linen the gates have separate parameters, which each step
  concatenates.
- Dropout: in equinox each example has its own key, since a model is a function of one example.
- Images: equinox has channels first, so its models transpose their input.
"""

import importlib
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from models import (
    GPT_HEADS,
    GPT_LAYERS,
    GPT_RATE,
    GPT_VOCABULARY,
    GPT_WIDTH,
    LSTM_WIDTH,
    RESNET_CLASSES,
)


class Form(NamedTuple):
    """A model as two pure functions.

    With nnx and equinox, `init` also keeps the static part of the model for `apply`. So call `init`
    first, and make one `Form` for each shape of x.

    Attributes:
      init: `init(key, x) -> variables`, a pytree of arrays.
      apply: `apply(variables, key, x) -> (out, new_variables)`, in training.
    """

    init: Callable[[Any, Any], Any]
    apply: Callable[[Any, Any, Any], tuple[Any, Any]]


MLP_SIZES, MLP_RATE = (256, 256, 10), 0.1
DECAY = 0.9

RESNET_CHANNELS = (64, 64, 64, 128, 128, 256, 256, 512, 512)
"""Channels before the first block and after each. A block that changes them has stride 2."""


def causal_mask(length: int) -> Any:
    return jnp.tril(jnp.ones([length, length], bool))


# flax.linen ---------------------------------------------------------------------------------------


def linen_form(module: Any, has_state: bool = False) -> Form:
    def apply(variables: Any, key: Any, x: Any) -> tuple[Any, Any]:
        rngs = {"dropout": key}
        if not has_state:
            return module.apply(variables, x, rngs=rngs), variables
        out, changed = module.apply(variables, x, rngs=rngs, mutable=["batch_stats"])
        return out, {**variables, **changed}

    return Form(module.init, apply)


def linen_many(nn: Any, layers: int = 2000) -> Form:
    class Many(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            for _ in range(layers):
                x = nn.Dense(4)(x)
            return x

    return linen_form(Many())


def linen_mlp(nn: Any) -> Form:
    class MLP(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            *hidden, classes = MLP_SIZES
            for size in hidden:
                x = nn.Dropout(MLP_RATE, deterministic=False)(nn.relu(nn.Dense(size)(x)))
            return nn.Dense(classes)(x)

    return linen_form(MLP())


def linen_gpt(nn: Any) -> Form:
    class Block(nn.Module):
        @nn.compact
        def __call__(self, h: Any, mask: Any) -> Any:
            x = nn.LayerNorm(epsilon=1e-5)(h)
            x = nn.MultiHeadDotProductAttention(GPT_HEADS)(x, mask=mask)
            h = h + nn.Dropout(GPT_RATE, deterministic=False)(x)
            x = nn.gelu(nn.Dense(4 * GPT_WIDTH)(nn.LayerNorm(epsilon=1e-5)(h)))
            return h + nn.Dropout(GPT_RATE, deterministic=False)(nn.Dense(GPT_WIDTH)(x))

    class GPT(nn.Module):
        @nn.compact
        def __call__(self, tokens: Any) -> Any:
            length = tokens.shape[1]
            init = nn.initializers.truncated_normal(0.02)
            positions = self.param("positions", init, (length, GPT_WIDTH))
            h = nn.Embed(GPT_VOCABULARY, GPT_WIDTH)(tokens) + positions
            h = nn.Dropout(GPT_RATE, deterministic=False)(h)
            mask = causal_mask(length)
            for _ in range(GPT_LAYERS):
                h = Block()(h, mask)
            return nn.Dense(GPT_VOCABULARY)(nn.LayerNorm(epsilon=1e-5)(h))

    return linen_form(GPT())


def linen_resnet18(nn: Any) -> Form:
    class ConvNorm(nn.Module):
        channels: int
        size: int
        stride: int

        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = nn.Conv(self.channels, (self.size, self.size), self.stride, use_bias=False)(x)
            return nn.BatchNorm(use_running_average=False, momentum=DECAY)(x)

    class Block(nn.Module):
        channels: int
        stride: int

        @nn.compact
        def __call__(self, x: Any) -> Any:
            shortcut = x if self.stride == 1 else ConvNorm(self.channels, 1, self.stride)(x)
            x = nn.relu(ConvNorm(self.channels, 3, self.stride)(x))
            return nn.relu(ConvNorm(self.channels, 3, 1)(x) + shortcut)

    class ResNet18(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = nn.max_pool(nn.relu(ConvNorm(64, 7, 2)(x)), (3, 3), (2, 2), "SAME")
            for before, after in itertools.pairwise(RESNET_CHANNELS):
                x = Block(after, 1 if before == after else 2)(x)
            return nn.Dense(RESNET_CLASSES)(jnp.mean(x, (1, 2)))

    return linen_form(ResNet18(), has_state=True)


def linen_batch_norm(nn: Any) -> Form:
    class BatchNorms(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = nn.relu(nn.BatchNorm(use_running_average=False, momentum=DECAY)(x))
            return nn.BatchNorm(use_running_average=False, momentum=DECAY)(x)

    return linen_form(BatchNorms(), has_state=True)


def linen_lstm(nn: Any) -> Form:
    # `LSTMCell` has products for each gate, this cell has one of x and one of the hidden vector.
    return linen_form(nn.RNN(nn.OptimizedLSTMCell(LSTM_WIDTH), time_major=True))


# flax.nnx -----------------------------------------------------------------------------------------


def nnx_form(
    nnx: Any, make: Callable[[Any, Any], Any], has_state: bool = False, takes_rngs: bool = False
) -> Form:
    """Returns the form of the module that `make(rngs, x)` returns.

    A module that needs random numbers takes its streams in each call, so that `apply` uses its key.
    Streams passed to its constructor would be variables.
    """
    graphdef: Any = None

    def init(key: Any, x: Any) -> Any:
        nonlocal graphdef
        graphdef, params, state = nnx.split(make(nnx.Rngs(key), x), nnx.Param, ...)
        return params, state

    def apply(variables: Any, key: Any, x: Any) -> tuple[Any, Any]:
        params, state = variables
        # New variables: outside of `jax.jit`, the module would write to those of the caller.
        state = jax.tree.map(lambda leaf: leaf, state)
        module = nnx.merge(graphdef, params, state)
        out = module(x, rngs=nnx.Rngs(key)) if takes_rngs else module(x)
        return out, (params, nnx.state(module, nnx.BatchStat) if has_state else state)

    return Form(init, apply)


def nnx_many(nnx: Any, layers: int = 2000) -> Form:
    class Many(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(layers)])

        def __call__(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x)
            return x

    return nnx_form(nnx, lambda rngs, x: Many(rngs))


def nnx_mlp(nnx: Any) -> Form:
    class MLP(nnx.Module):
        def __init__(self, inputs: int, rngs: Any) -> None:
            sizes = itertools.pairwise((inputs, *MLP_SIZES))
            self.layers = nnx.List([nnx.Linear(*size, rngs=rngs) for size in sizes])
            self.dropout = nnx.Dropout(MLP_RATE)

        def __call__(self, x: Any, rngs: Any) -> Any:
            *hidden, logits = self.layers
            for layer in hidden:
                x = self.dropout(nnx.relu(layer(x)), rngs=rngs)
            return logits(x)

    return nnx_form(nnx, lambda rngs, x: MLP(x.shape[-1], rngs), takes_rngs=True)


def nnx_gpt(nnx: Any) -> Form:
    class Block(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.norm_attention = nnx.LayerNorm(GPT_WIDTH, epsilon=1e-5, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(GPT_HEADS, GPT_WIDTH, decode=False, rngs=rngs)
            self.norm_dense = nnx.LayerNorm(GPT_WIDTH, epsilon=1e-5, rngs=rngs)
            self.up = nnx.Linear(GPT_WIDTH, 4 * GPT_WIDTH, rngs=rngs)
            self.down = nnx.Linear(4 * GPT_WIDTH, GPT_WIDTH, rngs=rngs)
            self.dropout = nnx.Dropout(GPT_RATE)

        def __call__(self, h: Any, mask: Any, rngs: Any) -> Any:
            h = h + self.dropout(self.attention(self.norm_attention(h), mask=mask), rngs=rngs)
            x = self.down(nnx.gelu(self.up(self.norm_dense(h))))
            return h + self.dropout(x, rngs=rngs)

    class GPT(nnx.Module):
        def __init__(self, length: int, rngs: Any) -> None:
            init = nnx.initializers.truncated_normal(0.02)
            self.tokens = nnx.Embed(GPT_VOCABULARY, GPT_WIDTH, rngs=rngs)
            self.positions = nnx.Param(init(rngs.params(), (length, GPT_WIDTH)))
            self.dropout = nnx.Dropout(GPT_RATE)
            self.blocks = nnx.List([Block(rngs) for _ in range(GPT_LAYERS)])
            self.norm = nnx.LayerNorm(GPT_WIDTH, epsilon=1e-5, rngs=rngs)
            self.logits = nnx.Linear(GPT_WIDTH, GPT_VOCABULARY, rngs=rngs)

        def __call__(self, tokens: Any, rngs: Any) -> Any:
            h = self.dropout(self.tokens(tokens) + self.positions[...], rngs=rngs)
            mask = causal_mask(tokens.shape[1])
            for block in self.blocks:
                h = block(h, mask, rngs)
            return self.logits(self.norm(h))

    return nnx_form(nnx, lambda rngs, x: GPT(x.shape[1], rngs), takes_rngs=True)


def nnx_resnet18(nnx: Any) -> Form:
    class ConvNorm(nnx.Module):
        def __init__(self, before: int, after: int, size: int, stride: int, rngs: Any) -> None:
            self.conv = nnx.Conv(before, after, (size, size), stride, use_bias=False, rngs=rngs)
            self.norm = nnx.BatchNorm(after, momentum=DECAY, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.norm(self.conv(x))

    class Block(nnx.Module):
        def __init__(self, before: int, after: int, rngs: Any) -> None:
            stride = 1 if before == after else 2
            self.first = ConvNorm(before, after, 3, stride, rngs)
            self.second = ConvNorm(after, after, 3, 1, rngs)
            self.shortcut = None if stride == 1 else ConvNorm(before, after, 1, stride, rngs)

        def __call__(self, x: Any) -> Any:
            shortcut = x if self.shortcut is None else self.shortcut(x)
            return nnx.relu(self.second(nnx.relu(self.first(x))) + shortcut)

    class ResNet18(nnx.Module):
        def __init__(self, channels: int, rngs: Any) -> None:
            pairs = itertools.pairwise(RESNET_CHANNELS)
            self.first = ConvNorm(channels, 64, 7, 2, rngs)
            self.blocks = nnx.List([Block(*pair, rngs) for pair in pairs])
            self.logits = nnx.Linear(512, RESNET_CLASSES, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            x = nnx.max_pool(nnx.relu(self.first(x)), (3, 3), (2, 2), "SAME")
            for block in self.blocks:
                x = block(x)
            return self.logits(jnp.mean(x, (1, 2)))

    return nnx_form(nnx, lambda rngs, x: ResNet18(x.shape[-1], rngs), has_state=True)


def nnx_batch_norm(nnx: Any) -> Form:
    class BatchNorms(nnx.Module):
        def __init__(self, channels: int, rngs: Any) -> None:
            self.first = nnx.BatchNorm(channels, momentum=DECAY, rngs=rngs)
            self.second = nnx.BatchNorm(channels, momentum=DECAY, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.second(nnx.relu(self.first(x)))

    return nnx_form(nnx, lambda rngs, x: BatchNorms(x.shape[-1], rngs), has_state=True)


def nnx_lstm(nnx: Any) -> Form:
    def make(rngs: Any, x: Any) -> Any:
        cell = nnx.OptimizedLSTMCell(x.shape[-1], LSTM_WIDTH, rngs=rngs)
        return nnx.RNN(cell, time_major=True, rngs=False)

    # The initial carry is zeros, but its initializer draws keys.
    return nnx_form(nnx, make, takes_rngs=True)


# equinox ------------------------------------------------------------------------------------------


def equinox_form(
    eqx: Any, make: Callable[[Any, Any], Any], call: Callable[..., tuple[Any, Any]]
) -> Form:
    """Returns the form of the module that `make(key, x)` returns.

    `call(model, state, key, x) -> (out, state)` maps it over the batch.
    """
    static: Any = None

    def init(key: Any, x: Any) -> Any:
        nonlocal static
        model, state = eqx.nn.make_with_state(make)(key, x)
        params, static = eqx.partition(model, eqx.is_array)
        return params, state

    def apply(variables: Any, key: Any, x: Any) -> tuple[Any, Any]:
        params, state = variables
        out, state = call(eqx.combine(params, static), state, key, x)
        return out, (params, state)

    return Form(init, apply)


def over_batch(model: Any, state: Any, key: Any, x: Any) -> tuple[Any, Any]:
    return jax.vmap(model)(x), state


def over_batch_and_keys(model: Any, state: Any, key: Any, x: Any) -> tuple[Any, Any]:
    return jax.vmap(model)(x, jax.random.split(key, x.shape[0])), state


def over_batch_with_state(model: Any, state: Any, key: Any, x: Any) -> tuple[Any, Any]:
    mapped = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    return mapped(x, state)


def equinox_many(eqx: Any, layers: int = 2000) -> Form:
    class Many(eqx.Module):
        layers: list[Any]

        def __init__(self, key: Any) -> None:
            self.layers = [eqx.nn.Linear(4, 4, key=k) for k in jax.random.split(key, layers)]

        def __call__(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x)
            return x

    return equinox_form(eqx, lambda key, x: Many(key), over_batch)


def equinox_mlp(eqx: Any) -> Form:
    class MLP(eqx.Module):
        layers: list[Any]
        dropout: Any

        def __init__(self, inputs: int, key: Any) -> None:
            sizes = itertools.pairwise((inputs, *MLP_SIZES))
            keys = jax.random.split(key, len(MLP_SIZES))
            self.layers = [eqx.nn.Linear(*size, key=k) for size, k in zip(sizes, keys, strict=True)]
            self.dropout = eqx.nn.Dropout(MLP_RATE)

        def __call__(self, x: Any, key: Any) -> Any:
            *hidden, logits = self.layers
            for layer, k in zip(hidden, jax.random.split(key, len(hidden)), strict=True):
                x = self.dropout(jax.nn.relu(layer(x)), key=k)
            return logits(x)

    return equinox_form(eqx, lambda key, x: MLP(x.shape[-1], key), over_batch_and_keys)


def equinox_gpt(eqx: Any) -> Form:
    biases = {f"use_{part}_bias": True for part in ("query", "key", "value", "output")}

    class Block(eqx.Module):
        norm_attention: Any
        attention: Any
        norm_dense: Any
        up: Any
        down: Any
        dropout: Any

        def __init__(self, key: Any) -> None:
            attention_key, up_key, down_key = jax.random.split(key, 3)
            self.norm_attention = eqx.nn.LayerNorm(GPT_WIDTH)
            self.attention = eqx.nn.MultiheadAttention(
                GPT_HEADS, GPT_WIDTH, key=attention_key, **biases
            )
            self.norm_dense = eqx.nn.LayerNorm(GPT_WIDTH)
            self.up = eqx.nn.Linear(GPT_WIDTH, 4 * GPT_WIDTH, key=up_key)
            self.down = eqx.nn.Linear(4 * GPT_WIDTH, GPT_WIDTH, key=down_key)
            self.dropout = eqx.nn.Dropout(GPT_RATE)

        def __call__(self, h: Any, mask: Any, key: Any) -> Any:
            attention_key, dense_key = jax.random.split(key)
            x = jax.vmap(self.norm_attention)(h)
            h = h + self.dropout(self.attention(x, x, x, mask), key=attention_key)
            x = jax.nn.gelu(jax.vmap(self.up)(jax.vmap(self.norm_dense)(h)))
            return h + self.dropout(jax.vmap(self.down)(x), key=dense_key)

    class GPT(eqx.Module):
        tokens: Any
        positions: Any
        dropout: Any
        blocks: list[Any]
        norm: Any
        logits: Any

        def __init__(self, length: int, key: Any) -> None:
            token_key, position_key, logits_key, *keys = jax.random.split(key, 3 + GPT_LAYERS)
            self.tokens = eqx.nn.Embedding(GPT_VOCABULARY, GPT_WIDTH, key=token_key)
            self.positions = 0.02 * jax.random.normal(position_key, (length, GPT_WIDTH))
            self.dropout = eqx.nn.Dropout(GPT_RATE)
            self.blocks = [Block(k) for k in keys]
            self.norm = eqx.nn.LayerNorm(GPT_WIDTH)
            self.logits = eqx.nn.Linear(GPT_WIDTH, GPT_VOCABULARY, key=logits_key)

        def __call__(self, tokens: Any, key: Any) -> Any:
            key, *keys = jax.random.split(key, 1 + GPT_LAYERS)
            h = self.dropout(jax.vmap(self.tokens)(tokens) + self.positions, key=key)
            mask = causal_mask(tokens.shape[0])
            for block, k in zip(self.blocks, keys, strict=True):
                h = block(h, mask, k)
            return jax.vmap(self.logits)(jax.vmap(self.norm)(h))

    return equinox_form(eqx, lambda key, x: GPT(x.shape[1], key), over_batch_and_keys)


def equinox_resnet18(eqx: Any) -> Form:
    class ConvNorm(eqx.Module):
        conv: Any
        norm: Any

        def __init__(self, before: int, after: int, size: int, stride: int, key: Any) -> None:
            self.conv = eqx.nn.Conv2d(before, after, size, stride, "SAME", use_bias=False, key=key)
            self.norm = eqx.nn.BatchNorm(after, "batch", momentum=DECAY, mode="batch")

        def __call__(self, x: Any, state: Any) -> tuple[Any, Any]:
            return self.norm(self.conv(x), state)

    class Block(eqx.Module):
        first: Any
        second: Any
        shortcut: Any

        def __init__(self, before: int, after: int, key: Any) -> None:
            stride = 1 if before == after else 2
            keys = jax.random.split(key, 3)
            self.first = ConvNorm(before, after, 3, stride, keys[0])
            self.second = ConvNorm(after, after, 3, 1, keys[1])
            self.shortcut = None if stride == 1 else ConvNorm(before, after, 1, stride, keys[2])

        def __call__(self, x: Any, state: Any) -> tuple[Any, Any]:
            shortcut = x
            if self.shortcut is not None:
                shortcut, state = self.shortcut(x, state)
            x, state = self.first(x, state)
            x, state = self.second(jax.nn.relu(x), state)
            return jax.nn.relu(x + shortcut), state

    class ResNet18(eqx.Module):
        first: Any
        pool: Any
        blocks: list[Any]
        logits: Any

        def __init__(self, channels: int, key: Any) -> None:
            pairs = itertools.pairwise(RESNET_CHANNELS)
            first_key, logits_key, *keys = jax.random.split(key, 1 + len(RESNET_CHANNELS))
            self.first = ConvNorm(channels, 64, 7, 2, first_key)
            # This layer takes no "SAME". These numbers are the same for even sizes.
            self.pool = eqx.nn.MaxPool2d(3, 2, ((0, 1), (0, 1)))
            self.blocks = [Block(*pair, k) for pair, k in zip(pairs, keys, strict=True)]
            self.logits = eqx.nn.Linear(512, RESNET_CLASSES, key=logits_key)

        def __call__(self, x: Any, state: Any) -> tuple[Any, Any]:
            x, state = self.first(jnp.moveaxis(x, -1, 0), state)
            x = self.pool(jax.nn.relu(x))
            for block in self.blocks:
                x, state = block(x, state)
            return self.logits(jnp.mean(x, (1, 2))), state

    return equinox_form(eqx, lambda key, x: ResNet18(x.shape[-1], key), over_batch_with_state)


def equinox_batch_norm(eqx: Any) -> Form:
    class BatchNorms(eqx.Module):
        first: Any
        second: Any

        def __init__(self, channels: int) -> None:
            self.first = eqx.nn.BatchNorm(channels, "batch", momentum=DECAY, mode="batch")
            self.second = eqx.nn.BatchNorm(channels, "batch", momentum=DECAY, mode="batch")

        def __call__(self, x: Any, state: Any) -> tuple[Any, Any]:
            x, state = self.first(jnp.moveaxis(x, -1, 0), state)
            x, state = self.second(jax.nn.relu(x), state)
            return jnp.moveaxis(x, 0, -1), state

    return equinox_form(eqx, lambda key, x: BatchNorms(x.shape[-1]), over_batch_with_state)


def equinox_lstm(eqx: Any) -> Form:
    class LSTM(eqx.Module):
        cell: Any

        def __init__(self, inputs: int, key: Any) -> None:
            self.cell = eqx.nn.LSTMCell(inputs, LSTM_WIDTH, key=key)

        def __call__(self, x: Any) -> Any:
            def step(carry: Any, x: Any) -> tuple[Any, Any]:
                carry = self.cell(x, carry)
                return carry, carry[0]

            zeros = jnp.zeros(LSTM_WIDTH)
            return jax.lax.scan(step, (zeros, zeros), x)[1]

    def call(model: Any, state: Any, key: Any, x: Any) -> tuple[Any, Any]:
        return jax.vmap(model, in_axes=1, out_axes=1)(x), state

    return equinox_form(eqx, lambda key, x: LSTM(x.shape[-1], key), call)


# The table ----------------------------------------------------------------------------------------

LIBRARIES = {"flax linen": "flax.linen", "flax nnx": "flax.nnx", "equinox": "equinox"}

FUNCTIONS = {
    "batch_norm": (linen_batch_norm, nnx_batch_norm, equinox_batch_norm),
    "gpt": (linen_gpt, nnx_gpt, equinox_gpt),
    "lstm": (linen_lstm, nnx_lstm, equinox_lstm),
    "many": (linen_many, nnx_many, equinox_many),
    "mlp": (linen_mlp, nnx_mlp, equinox_mlp),
    "resnet18": (linen_resnet18, nnx_resnet18, equinox_resnet18),
}
"""The functions of each model, in the order of `LIBRARIES`."""


def maker(module: str, function: Callable[..., Form]) -> Callable[..., Form]:
    """Returns `function` without its first argument, the library, which each call imports.

    So a library that is not installed does not hinder the others.
    """
    return lambda *args: function(importlib.import_module(module), *args)


PEERS: dict[str, dict[str, Callable[..., Form]]] = {
    library: {model: maker(module, functions[i]) for model, functions in FUNCTIONS.items()}
    for i, (library, module) in enumerate(LIBRARIES.items())
}
"""`PEERS[library][model]()` returns a form. "many" also takes the number of layers."""
