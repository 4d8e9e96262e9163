"""GPT-2, from a folder of Hugging Face's `GPT2LMHeadModel`, and back into one."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

import purestate as ps
from examples.pretrained.folder import ACTIVATIONS, Folder, read, require, write

NAMES = {
    "transformer.wte": "embed",
    "transformer.wpe": "positions",
    "transformer.h.*.ln_1": "layer_*/attention_norm",
    "transformer.h.*.attn.c_attn": (
        "layer_*/attention/query",
        "layer_*/attention/key",
        "layer_*/attention/value",
    ),
    "transformer.h.*.attn.c_proj": "layer_*/attention/output",
    "transformer.h.*.ln_2": "layer_*/mlp_norm",
    "transformer.h.*.mlp.c_fc": "layer_*/hidden",
    "transformer.h.*.mlp.c_proj": "layer_*/output",
    "transformer.ln_f": "norm",
}
TRANSPOSED = "transformer.h.*.c_*"  # the file has these matrices as `[in, out]`
INIT = jax.random.key(0), jax.ShapeDtypeStruct([1, 1], jnp.int32)  # for `init`


def model(config: Mapping[str, Any]) -> ps.Transformed[Any, Any]:
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
        x = embed(tokens) + positions.embeddings[: tokens.shape[-1]]
        for i in range(c["n_layer"]):
            with ps.name_scope(f"layer_{i}"):
                x = layer(x)
        return embed.attend(norm("norm")(x))

    return ps.transform(forward)


def cleaned(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the weights without causal masks and with the prefix, as today's files have them."""
    return {
        "transformer." + name.removeprefix("transformer."): weight
        for name, weight in weights.items()
        if not name.endswith((".attn.bias", ".attn.masked_bias"))
    }


def load(folder: Folder) -> tuple[ps.Transformed[Any, Any], ps.Params]:
    """Returns the model of a folder, and its params."""
    config, weights = read(folder)
    f = model(config)
    converted = ps.convert.from_torch(
        cleaned(weights), f, *INIT, names=NAMES, transposed=TRANSPOSED, check=False
    )
    return f, converted.params


def save(folder: Folder, params: ps.Params, like: Folder) -> None:
    """Writes a folder as `like` is, with these params."""
    config, weights = read(like)
    f = model(config)
    weights = ps.convert.to_torch(
        params, f, *INIT, like=cleaned(weights), names=NAMES, transposed=TRANSPOSED
    )
    write(folder, config, weights)
