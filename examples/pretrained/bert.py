"""BERT, from a folder of Hugging Face's `BertModel`, and back into one."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

import purestate as ps
from examples.pretrained.folder import ACTIVATIONS, Folder, read, require, write

NAMES = {
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "types",
    "embeddings.LayerNorm": "norm",
    "encoder.layer.*.attention.self.query": "layer_*/attention/query",
    "encoder.layer.*.attention.self.key": "layer_*/attention/key",
    "encoder.layer.*.attention.self.value": "layer_*/attention/value",
    "encoder.layer.*.attention.output.dense": "layer_*/attention/linear",
    "encoder.layer.*.attention.output.LayerNorm": "layer_*/attention_norm",
    "encoder.layer.*.intermediate.dense": "layer_*/hidden",
    "encoder.layer.*.output.dense": "layer_*/output",
    "encoder.layer.*.output.LayerNorm": "layer_*/output_norm",
    "pooler.dense": "pooler",
}
INIT = jax.random.key(0), jax.ShapeDtypeStruct([1, 1], jnp.int32)  # for `init`


def model(config: Mapping[str, Any]) -> ps.Transformed[Any, Any]:
    """Returns the model.

    It takes tokens `[B, T]`, `mask` `[B, T]`, which is True or 1 for tokens and False or 0 for
    padding, and `types` `[B, T]`, which tell a first text from a second one. It returns the last
    hidden states `[B, T, D]` and the pooled output `[B, D]`.
    """
    c = config
    require(c, position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    size, heads = c["hidden_size"], c["num_attention_heads"]
    init = ps.initializers.TruncatedNormal(c["initializer_range"])

    def norm(name: str) -> ps.LayerNorm:
        return ps.LayerNorm(-1, True, True, eps=c["layer_norm_eps"], name=name)

    def layer(x: jax.Array, mask: jax.Array | None) -> jax.Array:
        attend = ps.MultiHeadAttention(heads, size // heads, w_init=init, name="attention")
        x = norm("attention_norm")(x + attend(x, x, x, mask))
        h = ACTIVATIONS[c["hidden_act"]](ps.Linear(c["intermediate_size"], name="hidden")(x))
        return norm("output_norm")(x + ps.Linear(size, name="output")(h))

    def forward(
        tokens: jax.Array, mask: jax.Array | None = None, types: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        x = ps.Embed(c["vocab_size"], size, name="words")(tokens)
        positions = ps.Embed(c["max_position_embeddings"], size, name="positions")
        x += positions.embeddings[: tokens.shape[-1]]
        types = jnp.zeros_like(tokens) if types is None else types
        x = norm("norm")(x + ps.Embed(c["type_vocab_size"], size, name="types")(types))
        if mask is not None:
            mask = mask[:, None, None, :].astype(bool)  # for all heads and queries
        for i in range(c["num_hidden_layers"]):
            with ps.name_scope(f"layer_{i}"):
                x = layer(x, mask)
        return x, jnp.tanh(ps.Linear(size, name="pooler")(x[:, 0]))

    return ps.transform(forward)


def cleaned(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the weights of a `BertModel`: without heads, and by the names of today."""
    out: dict[str, Any] = {}
    for name, weight in weights.items():
        name = name.removeprefix("bert.")
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        if not name.startswith("cls.") and name != "embeddings.position_ids":
            out[name] = weight
    return out


def load(folder: Folder) -> tuple[ps.Transformed[Any, Any], ps.Params]:
    """Returns the model of a folder, and its params."""
    config, weights = read(folder)
    f = model(config)
    return f, ps.convert.from_torch(cleaned(weights), f, *INIT, names=NAMES, check=False).params


def save(folder: Folder, params: ps.Params, like: Folder) -> None:
    """Writes a folder as `like` is, with these params."""
    config, weights = read(like)
    f = model(config)
    weights = ps.convert.to_torch(params, f, *INIT, like=cleaned(weights), names=NAMES)
    write(folder, config, weights)
