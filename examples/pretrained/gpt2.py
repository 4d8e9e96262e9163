"""GPT-2, from a folder of Hugging Face's `GPT2LMHeadModel`, and back into one."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

import purestate as ps
from examples.pretrained.folder import ACTIVATIONS, from_torch, read, require, to_torch, write

NAMES = {
    "transformer.wte": "embed",
    "transformer.wpe": "positions",
    "transformer.h.*.ln_1": "layer_*/attention_norm",
    "transformer.h.*.attn.query": "layer_*/attention/query",
    "transformer.h.*.attn.key": "layer_*/attention/key",
    "transformer.h.*.attn.value": "layer_*/attention/value",
    "transformer.h.*.attn.c_proj": "layer_*/attention/output",
    "transformer.h.*.ln_2": "layer_*/mlp_norm",
    "transformer.h.*.mlp.c_fc": "layer_*/hidden",
    "transformer.h.*.mlp.c_proj": "layer_*/output",
    "transformer.ln_f": "norm",
}
PARTS = ("query", "key", "value")  # which the file has as one, c_attn


def model(config: Mapping[str, Any]) -> ps.Transformed:
    """Returns the model: tokens `[B, T]` to logits `[B, T, vocab_size]`."""
    c = config
    require(
        c,
        scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
        add_cross_attention=False,
        tie_word_embeddings=True,
    )
    size = c["n_embd"]
    hidden_size = c.get("n_inner") or 4 * size

    def norm(name: str) -> ps.LayerNorm:
        return ps.LayerNorm(-1, True, True, eps=c["layer_norm_epsilon"], name=name)

    def layer(x: jax.Array) -> jax.Array:
        attend = ps.GroupedQueryAttention(
            c["n_head"], size // c["n_head"], with_bias=True, name="attention"
        )
        x += attend(norm("attention_norm")(x), is_causal=True)
        h = norm("mlp_norm")(x)
        h = ACTIVATIONS[c["activation_function"]](ps.Linear(hidden_size, name="hidden")(h))
        return x + ps.Linear(size, name="output")(h)

    def forward(tokens: jax.Array) -> jax.Array:
        embed = ps.Embed(c["vocab_size"], size, name="embed")
        positions = ps.Embed(c["n_positions"], size, name="positions")
        x = embed(tokens) + positions(jnp.arange(tokens.shape[-1]))
        for i in range(c["n_layer"]):
            with ps.name_scope(f"layer_{i}"):
                x = layer(x)
        return embed.attend(norm("norm")(x))

    return ps.transform(forward)


def split(weights: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Returns the weights with queries, keys and values apart, and all matrices as of a Linear."""
    out: dict[str, jax.Array] = {}
    for name, weight in weights.items():
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            continue  # the causal mask, which old files have
        name = "transformer." + name.removeprefix("transformer.")
        is_matrix = ".c_" in name and weight.ndim == 2
        if ".c_attn." in name:
            for part, piece in zip(PARTS, jnp.split(weight, 3, -1), strict=True):
                out[name.replace("c_attn", part)] = piece.T
        else:
            out[name] = weight.T if is_matrix else weight
    return out


def fused(weights: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Returns the weights as the file has them: the inverse of `split`."""
    out: dict[str, jax.Array] = {}
    for name, weight in weights.items():
        if ".attn.query." in name:
            parts = [weights[name.replace("query", part)].T for part in PARTS]
            out[name.replace("query", "c_attn")] = jnp.concatenate(parts, -1)
        elif ".attn.key." not in name and ".attn.value." not in name:
            out[name] = weight.T if ".c_" in name else weight
    return out


def load(folder: str) -> tuple[ps.Transformed, ps.Params]:
    """Returns the model of a folder, and its params."""
    config, weights = read(folder)
    weights = split(weights)
    f = model(config)
    return f, from_torch(weights, f, jax.random.key(0), jnp.zeros([1, 1], int), names=NAMES)


def save(folder: str, config: Mapping[str, Any], params: ps.Params) -> None:
    """Writes a folder that `GPT2LMHeadModel.from_pretrained` loads."""
    write(folder, config, fused(to_torch(params, names=NAMES)))
