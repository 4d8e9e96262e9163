"""The models of the benchmarks, written for flax.linen, flax.nnx and equinox.

Each model uses the layers of its library as the library's documentation shows, and its default
initializers. Sizes and numbers of parameters are those of `models.py`. This arithmetic differs:

- BatchNorm: flax starts its running statistics at 0 and 1 and does not debias them. Equinox debiases
  them when it reads them, which is not in training. dm-haiku stores both. Equinox computes the
  statistics of each example, then their mean over the batch, and the variance in a second pass.
- LayerNorm: flax computes the variance as the mean of squares minus the square of the mean.
- LSTM: dm-haiku adds 1 to the forget gate, the others do not. In flax.linen, each step joins the
  kernels of the gates, which are separate parameters.
- Attention: the query is divided by the square root of its size, and not the logits.
- Dropout: equinox takes a key for each example, since its models are functions of one example.
- Images: equinox has channels first, so its models transpose their input.

A library is imported by the functions that use it, so each works without the others.
"""

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
    RESNET_CLASSES,
)


class Form(NamedTuple):
    """A model as two pure functions.

    The static parts of an nnx or equinox model are kept by `init`. So call `init` before `apply`,
    and make one `Form` for each shape of `x`.

    Attributes:
      init: `init(key, x) -> variables`, a pytree of arrays.
      apply: `apply(variables, key, x) -> (out, new_variables)`, in training.
    """

    init: Callable[[Any, Any], Any]
    apply: Callable[[Any, Any, Any], tuple[Any, Any]]


MANY_LAYERS = 2000
MLP_SIZES, MLP_CLASSES, MLP_RATE = (256, 256), 10, 0.1
LSTM_WIDTH = 64
DECAY = 0.9

RESNET_BLOCKS = (
    (64, 64, 1),
    (64, 64, 1),
    (64, 128, 2),
    (128, 128, 1),
    (128, 256, 2),
    (256, 256, 1),
    (256, 512, 2),
    (512, 512, 1),
)
"""Channels in, channels out and stride of each block. Blocks with stride 2 project their shortcut."""


def causal_mask(length: int) -> Any:
    return jnp.tril(jnp.ones([length, length], bool))


# flax.linen ----------------------------------------------------------------------------------------


def linen_form(module: Any, has_state: bool = False) -> Form:
    def apply(variables: Any, key: Any, x: Any) -> tuple[Any, Any]:
        rngs = {"dropout": key}
        if not has_state:
            return module.apply(variables, x, rngs=rngs), variables
        out, changed = module.apply(variables, x, rngs=rngs, mutable=["batch_stats"])
        return out, {**variables, **changed}

    return Form(module.init, apply)


def linen_many(layers: int = MANY_LAYERS) -> Form:
    from flax import linen as nn

    class Many(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            for _ in range(layers):
                x = nn.Dense(4)(x)
            return x

    return linen_form(Many())


def linen_mlp() -> Form:
    from flax import linen as nn

    class MLP(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            for size in MLP_SIZES:
                x = nn.Dropout(MLP_RATE, deterministic=False)(nn.relu(nn.Dense(size)(x)))
            return nn.Dense(MLP_CLASSES)(x)

    return linen_form(MLP())


def linen_gpt() -> Form:
    from flax import linen as nn

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
            for _ in range(GPT_LAYERS):
                h = Block()(h, causal_mask(length))
            return nn.Dense(GPT_VOCABULARY)(nn.LayerNorm(epsilon=1e-5)(h))

    return linen_form(GPT())


def linen_resnet18() -> Form:
    from flax import linen as nn

    class Block(nn.Module):
        channels: int
        stride: int

        @nn.compact
        def __call__(self, x: Any) -> Any:
            def conv(x: Any, size: int, stride: int) -> Any:
                x = nn.Conv(self.channels, (size, size), stride, use_bias=False)(x)
                return nn.BatchNorm(use_running_average=False, momentum=DECAY)(x)

            shortcut = x if self.stride == 1 else conv(x, 1, self.stride)
            return nn.relu(conv(nn.relu(conv(x, 3, self.stride)), 3, 1) + shortcut)

    class ResNet18(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = nn.Conv(64, (7, 7), 2, use_bias=False)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=False, momentum=DECAY)(x))
            x = nn.max_pool(x, (3, 3), (2, 2), "SAME")
            for _, channels, stride in RESNET_BLOCKS:
                x = Block(channels, stride)(x)
            return nn.Dense(RESNET_CLASSES)(jnp.mean(x, (1, 2)))

    return linen_form(ResNet18(), has_state=True)


def linen_batch_norm() -> Form:
    from flax import linen as nn

    class BatchNorms(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = nn.relu(nn.BatchNorm(use_running_average=False, momentum=DECAY)(x))
            return nn.BatchNorm(use_running_average=False, momentum=DECAY)(x)

    return linen_form(BatchNorms(), has_state=True)


def linen_lstm() -> Form:
    from flax import linen as nn

    # Like dm-haiku's, this cell has one product for all gates. `LSTMCell` has one for each.
    return linen_form(nn.RNN(nn.OptimizedLSTMCell(LSTM_WIDTH), time_major=True))


# flax.nnx ------------------------------------------------------------------------------------------


def nnx_form(make: Callable[[Any, Any], Any], needs_rngs: bool = False) -> Form:
    """Returns the form of the module that `make(rngs, x)` returns.

    Random streams are passed to each call, so that the key of `apply` counts. Without that they are
    part of the module, and so of its variables.
    """
    from flax import nnx

    graphdef: Any = None

    def init(key: Any, x: Any) -> Any:
        nonlocal graphdef
        graphdef, variables = nnx.split(make(nnx.Rngs(key), x))
        return variables

    def apply(variables: Any, key: Any, x: Any) -> tuple[Any, Any]:
        # What `nnx.jit` does around a call, for every module, whether the call changes it or not.
        # A copy, since a module would else change the variables of its caller.
        module = nnx.merge(graphdef, variables, copy=True)
        out = module(x, rngs=nnx.Rngs(key)) if needs_rngs else module(x)
        return out, nnx.state(module)

    return Form(init, apply)


def nnx_many(layers: int = MANY_LAYERS) -> Form:
    from flax import nnx

    class Many(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(layers)])

        def __call__(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x)
            return x

    return nnx_form(lambda rngs, x: Many(rngs))


def nnx_mlp() -> Form:
    from flax import nnx

    class MLP(nnx.Module):
        def __init__(self, inputs: int, rngs: Any) -> None:
            sizes = (inputs, *MLP_SIZES)
            pairs = zip(sizes, sizes[1:], strict=False)
            self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairs])
            self.logits = nnx.Linear(sizes[-1], MLP_CLASSES, rngs=rngs)
            self.dropout = nnx.Dropout(MLP_RATE)

        def __call__(self, x: Any, *, rngs: Any) -> Any:
            for layer in self.layers:
                x = self.dropout(nnx.relu(layer(x)), rngs=rngs)
            return self.logits(x)

    return nnx_form(lambda rngs, x: MLP(x.shape[-1], rngs), needs_rngs=True)


def nnx_gpt() -> Form:
    from flax import nnx

    class Block(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.norm_attention = nnx.LayerNorm(GPT_WIDTH, epsilon=1e-5, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(GPT_HEADS, GPT_WIDTH, decode=False, rngs=rngs)
            self.norm_dense = nnx.LayerNorm(GPT_WIDTH, epsilon=1e-5, rngs=rngs)
            self.up = nnx.Linear(GPT_WIDTH, 4 * GPT_WIDTH, rngs=rngs)
            self.down = nnx.Linear(4 * GPT_WIDTH, GPT_WIDTH, rngs=rngs)
            self.dropout = nnx.Dropout(GPT_RATE)

        def __call__(self, h: Any, mask: Any, *, rngs: Any) -> Any:
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

        def __call__(self, tokens: Any, *, rngs: Any) -> Any:
            h = self.dropout(self.tokens(tokens) + self.positions[...], rngs=rngs)
            for block in self.blocks:
                h = block(h, causal_mask(tokens.shape[1]), rngs=rngs)
            return self.logits(self.norm(h))

    return nnx_form(lambda rngs, x: GPT(x.shape[1], rngs), needs_rngs=True)


def nnx_resnet18() -> Form:
    from flax import nnx

    class ConvNorm(nnx.Module):
        def __init__(self, a: int, b: int, size: int, stride: int, rngs: Any) -> None:
            self.conv = nnx.Conv(a, b, (size, size), stride, use_bias=False, rngs=rngs)
            self.norm = nnx.BatchNorm(b, momentum=DECAY, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.norm(self.conv(x))

    class Block(nnx.Module):
        def __init__(self, a: int, b: int, stride: int, rngs: Any) -> None:
            self.first = ConvNorm(a, b, 3, stride, rngs)
            self.second = ConvNorm(b, b, 3, 1, rngs)
            self.shortcut = None if stride == 1 else ConvNorm(a, b, 1, stride, rngs)

        def __call__(self, x: Any) -> Any:
            shortcut = x if self.shortcut is None else self.shortcut(x)
            return nnx.relu(self.second(nnx.relu(self.first(x))) + shortcut)

    class ResNet18(nnx.Module):
        def __init__(self, channels: int, rngs: Any) -> None:
            self.first = ConvNorm(channels, 64, 7, 2, rngs)
            self.blocks = nnx.List([Block(*sizes, rngs) for sizes in RESNET_BLOCKS])
            self.logits = nnx.Linear(512, RESNET_CLASSES, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            x = nnx.max_pool(nnx.relu(self.first(x)), (3, 3), (2, 2), "SAME")
            for block in self.blocks:
                x = block(x)
            return self.logits(jnp.mean(x, (1, 2)))

    return nnx_form(lambda rngs, x: ResNet18(x.shape[-1], rngs))


def nnx_batch_norm() -> Form:
    from flax import nnx

    class BatchNorms(nnx.Module):
        def __init__(self, channels: int, rngs: Any) -> None:
            self.first = nnx.BatchNorm(channels, momentum=DECAY, rngs=rngs)
            self.second = nnx.BatchNorm(channels, momentum=DECAY, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.second(nnx.relu(self.first(x)))

    return nnx_form(lambda rngs, x: BatchNorms(x.shape[-1], rngs))


def nnx_lstm() -> Form:
    from flax import nnx

    def make(rngs: Any, x: Any) -> Any:
        cell = nnx.OptimizedLSTMCell(x.shape[-1], LSTM_WIDTH, rngs=rngs)
        return nnx.RNN(cell, time_major=True, rngs=False)

    # The streams are for the initial carry, whose initializer asks for keys although it is zeros.
    return nnx_form(make, needs_rngs=True)


# equinox -------------------------------------------------------------------------------------------


def equinox_form(make: Callable[[Any, Any], Any], call: Callable[..., tuple[Any, Any]]) -> Form:
    """Returns the form of the module that `make(key, x)` returns.

    `call(model, state, key, x) -> (out, state)` maps it over the batch.
    """
    import equinox as eqx

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


def equinox_many(layers: int = MANY_LAYERS) -> Form:
    import equinox as eqx

    class Many(eqx.Module):
        layers: list[eqx.nn.Linear]

        def __init__(self, key: Any) -> None:
            self.layers = [eqx.nn.Linear(4, 4, key=k) for k in jax.random.split(key, layers)]

        def __call__(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x)
            return x

    return equinox_form(lambda key, x: Many(key), over_batch)


def equinox_mlp() -> Form:
    import equinox as eqx

    class MLP(eqx.Module):
        layers: list[eqx.nn.Linear]
        logits: eqx.nn.Linear
        dropout: eqx.nn.Dropout

        def __init__(self, inputs: int, key: Any) -> None:
            key, *keys = jax.random.split(key, 1 + len(MLP_SIZES))
            sizes = (inputs, *MLP_SIZES)
            parts = zip(sizes, sizes[1:], keys, strict=False)
            self.layers = [eqx.nn.Linear(a, b, key=k) for a, b, k in parts]
            self.logits = eqx.nn.Linear(sizes[-1], MLP_CLASSES, key=key)
            self.dropout = eqx.nn.Dropout(MLP_RATE)

        def __call__(self, x: Any, key: Any) -> Any:
            for layer, k in zip(self.layers, jax.random.split(key, len(MLP_SIZES)), strict=True):
                x = self.dropout(jax.nn.relu(layer(x)), key=k)
            return self.logits(x)

    return equinox_form(lambda key, x: MLP(x.shape[-1], key), over_batch_and_keys)


def equinox_gpt() -> Form:
    import equinox as eqx

    class Block(eqx.Module):
        norm_attention: eqx.nn.LayerNorm
        attention: eqx.nn.MultiheadAttention
        norm_dense: eqx.nn.LayerNorm
        up: eqx.nn.Linear
        down: eqx.nn.Linear
        dropout: eqx.nn.Dropout

        def __init__(self, key: Any) -> None:
            attention_key, up_key, down_key = jax.random.split(key, 3)
            self.norm_attention = eqx.nn.LayerNorm(GPT_WIDTH)
            self.attention = eqx.nn.MultiheadAttention(
                GPT_HEADS,
                GPT_WIDTH,
                use_query_bias=True,
                use_key_bias=True,
                use_value_bias=True,
                use_output_bias=True,
                key=attention_key,
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
        tokens: eqx.nn.Embedding
        positions: jax.Array
        dropout: eqx.nn.Dropout
        blocks: list[Block]
        norm: eqx.nn.LayerNorm
        logits: eqx.nn.Linear

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
            for block, k in zip(self.blocks, keys, strict=True):
                h = block(h, causal_mask(tokens.shape[0]), k)
            return jax.vmap(self.logits)(jax.vmap(self.norm)(h))

    return equinox_form(lambda key, x: GPT(x.shape[1], key), over_batch_and_keys)


def equinox_resnet18() -> Form:
    import equinox as eqx

    class ConvNorm(eqx.Module):
        conv: eqx.nn.Conv2d
        norm: eqx.nn.BatchNorm

        def __init__(self, a: int, b: int, size: int, stride: int, key: Any) -> None:
            self.conv = eqx.nn.Conv2d(a, b, size, stride, "SAME", use_bias=False, key=key)
            self.norm = eqx.nn.BatchNorm(b, "batch", momentum=DECAY, mode="batch")

        def __call__(self, x: Any, state: Any) -> tuple[Any, Any]:
            return self.norm(self.conv(x), state)

    class Block(eqx.Module):
        first: ConvNorm
        second: ConvNorm
        shortcut: ConvNorm | None

        def __init__(self, a: int, b: int, stride: int, key: Any) -> None:
            keys = jax.random.split(key, 3)
            self.first = ConvNorm(a, b, 3, stride, keys[0])
            self.second = ConvNorm(b, b, 3, 1, keys[1])
            self.shortcut = None if stride == 1 else ConvNorm(a, b, 1, stride, keys[2])

        def __call__(self, x: Any, state: Any) -> tuple[Any, Any]:
            shortcut = x
            if self.shortcut is not None:
                shortcut, state = self.shortcut(x, state)
            x, state = self.first(x, state)
            x, state = self.second(jax.nn.relu(x), state)
            return jax.nn.relu(x + shortcut), state

    class ResNet18(eqx.Module):
        first: ConvNorm
        pool: eqx.nn.MaxPool2d
        blocks: list[Block]
        logits: eqx.nn.Linear

        def __init__(self, channels: int, key: Any) -> None:
            first_key, logits_key, *keys = jax.random.split(key, 2 + len(RESNET_BLOCKS))
            self.first = ConvNorm(channels, 64, 7, 2, first_key)
            # "SAME" for even sizes. This layer takes numbers only.
            self.pool = eqx.nn.MaxPool2d(3, 2, ((0, 1), (0, 1)))
            parts = zip(RESNET_BLOCKS, keys, strict=True)
            self.blocks = [Block(*sizes, k) for sizes, k in parts]
            self.logits = eqx.nn.Linear(512, RESNET_CLASSES, key=logits_key)

        def __call__(self, x: Any, state: Any) -> tuple[Any, Any]:
            x, state = self.first(jnp.moveaxis(x, -1, 0), state)
            x = self.pool(jax.nn.relu(x))
            for block in self.blocks:
                x, state = block(x, state)
            return self.logits(jnp.mean(x, (1, 2))), state

    return equinox_form(lambda key, x: ResNet18(x.shape[-1], key), over_batch_with_state)


def equinox_batch_norm() -> Form:
    import equinox as eqx

    class BatchNorms(eqx.Module):
        first: eqx.nn.BatchNorm
        second: eqx.nn.BatchNorm

        def __init__(self, channels: int) -> None:
            self.first = eqx.nn.BatchNorm(channels, "batch", momentum=DECAY, mode="batch")
            self.second = eqx.nn.BatchNorm(channels, "batch", momentum=DECAY, mode="batch")

        def __call__(self, x: Any, state: Any) -> tuple[Any, Any]:
            x, state = self.first(jnp.moveaxis(x, -1, 0), state)
            x, state = self.second(jax.nn.relu(x), state)
            return jnp.moveaxis(x, 0, -1), state

    return equinox_form(lambda key, x: BatchNorms(x.shape[-1]), over_batch_with_state)


def equinox_lstm() -> Form:
    import equinox as eqx

    class LSTM(eqx.Module):
        cell: eqx.nn.LSTMCell

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

    return equinox_form(lambda key, x: LSTM(x.shape[-1], key), call)


PEERS: dict[str, dict[str, Callable[..., Form]]] = {
    "flax linen": {
        "batch_norm": linen_batch_norm,
        "gpt": linen_gpt,
        "lstm": linen_lstm,
        "many": linen_many,
        "mlp": linen_mlp,
        "resnet18": linen_resnet18,
    },
    "flax nnx": {
        "batch_norm": nnx_batch_norm,
        "gpt": nnx_gpt,
        "lstm": nnx_lstm,
        "many": nnx_many,
        "mlp": nnx_mlp,
        "resnet18": nnx_resnet18,
    },
    "equinox": {
        "batch_norm": equinox_batch_norm,
        "gpt": equinox_gpt,
        "lstm": equinox_lstm,
        "many": equinox_many,
        "mlp": equinox_mlp,
        "resnet18": equinox_resnet18,
    },
}
"""Functions that make forms, by library and model. `many` takes a number of layers."""
