"""Llama, from a folder of Hugging Face's `LlamaForCausalLM`, and back into one."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps
from examples.pretrained.folder import ACTIVATIONS, Folder, read, require, write

NAMES = {
    "model.embed_tokens": "embed",
    "model.layers.*.input_layernorm": "layer_*/attention_norm",
    "model.layers.*.self_attn.q_proj": "layer_*/attention/query",
    "model.layers.*.self_attn.k_proj": "layer_*/attention/key",
    "model.layers.*.self_attn.v_proj": "layer_*/attention/value",
    "model.layers.*.self_attn.o_proj": "layer_*/attention/output",
    "model.layers.*.post_attention_layernorm": "layer_*/mlp_norm",
    "model.layers.*.mlp.gate_proj": "layer_*/mlp/gate",
    "model.layers.*.mlp.up_proj": "layer_*/mlp/up",
    "model.layers.*.mlp.down_proj": "layer_*/mlp/down",
    "model.norm": "norm",
    "lm_head": "logits",  # unless the logits are products with the embeddings
}
INIT = jax.random.key(0), jax.ShapeDtypeStruct([1, 1], jnp.int32)  # for `init`


def rotary_frequencies(config: Mapping[str, Any], size: int) -> np.ndarray:
    """Returns those of the rotary embedding. Older folders have its options elsewhere."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    base = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    match rope.get("rope_type", rope.get("type", "default")):
        case "default":
            return ps.rotary_frequencies(size, base)
        case "linear":
            return ps.rotary_frequencies(size, base, factor=rope["factor"])
        case "llama3":
            scaling = {k: rope[k] for k in ("factor", "low_freq_factor", "high_freq_factor")}
            length = rope["original_max_position_embeddings"]
            return ps.rotary_frequencies(size, base, original_length=length, **scaling)
        case other:
            raise ValueError(
                f"config.json has rope_type={other!r}. This model has only 'default', 'linear' and"
                " 'llama3'."
            )


def model(config: Mapping[str, Any]) -> ps.Transformed[Any, Any]:
    """Returns the model: tokens `[B, T]` to logits `[B, T, vocab_size]`."""
    c = config
    require(c, mlp_bias=False)
    heads = c["num_attention_heads"]
    head_size = c.get("head_dim") or c["hidden_size"] // heads
    frequencies = rotary_frequencies(c, head_size)

    def norm(name: str) -> ps.RMSNorm:
        return ps.RMSNorm(axis=-1, eps=c["rms_norm_eps"], name=name)

    def layer(x: jax.Array) -> jax.Array:
        attend = ps.GroupedQueryAttention(
            heads,
            head_size,
            c.get("num_key_value_heads"),
            rotary_frequencies=frequencies,
            with_bias=c.get("attention_bias", False),
            name="attention",
        )
        mlp = ps.GatedMLP(
            c["intermediate_size"], activation=ACTIVATIONS[c["hidden_act"]], name="mlp"
        )
        x += attend(norm("attention_norm")(x), is_causal=True)
        return x + mlp(norm("mlp_norm")(x))

    def forward(tokens: jax.Array) -> jax.Array:
        embed = ps.Embed(c["vocab_size"], c["hidden_size"], name="embed")
        x = embed(tokens)
        for i in range(c["num_hidden_layers"]):
            with ps.name_scope(f"layer_{i}"):
                x = layer(x)
        x = norm("norm")(x)
        if c.get("tie_word_embeddings", False):
            return embed.attend(x)
        return ps.Linear(c["vocab_size"], with_bias=False, name="logits")(x)

    return ps.transform(forward)


def names_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the entries of `NAMES` that a model with this config has."""
    tied = config.get("tie_word_embeddings", False)
    return {name: path for name, path in NAMES.items() if not (tied and name == "lm_head")}


def load(folder: Folder) -> tuple[ps.Transformed[Any, Any], ps.Params]:
    """Returns the model of a folder, and its params."""
    config, weights = read(folder)
    f = model(config)
    return f, ps.convert.from_torch(weights, f, *INIT, names=names_of(config), check=False).params


def save(folder: Folder, params: ps.Params, like: Folder) -> None:
    """Writes a folder as `like` is, with these params."""
    config, weights = read(like)
    f = model(config)
    weights = ps.convert.to_torch(params, f, *INIT, like=weights, names=names_of(config))
    write(folder, config, weights)
