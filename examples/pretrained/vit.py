"""The vision transformer, from a folder of Hugging Face's `ViTForImageClassification`, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

import purestate as ps
from examples.pretrained.folder import ACTIVATIONS, Folder, read, require, write

NAMES = {
    "vit.embeddings.cls_token": "embeddings/cls_token",
    "vit.embeddings.position_embeddings": "embeddings/position_embeddings",
    "vit.embeddings.patch_embeddings.projection": "embeddings/patches",
    "vit.encoder.layer.*.layernorm_before": "layer_*/attention_norm",
    "vit.encoder.layer.*.attention.attention.query": "layer_*/attention/query",
    "vit.encoder.layer.*.attention.attention.key": "layer_*/attention/key",
    "vit.encoder.layer.*.attention.attention.value": "layer_*/attention/value",
    "vit.encoder.layer.*.attention.output.dense": "layer_*/attention/linear",
    "vit.encoder.layer.*.layernorm_after": "layer_*/mlp_norm",
    "vit.encoder.layer.*.intermediate.dense": "layer_*/hidden",
    "vit.encoder.layer.*.output.dense": "layer_*/output",
    "vit.layernorm": "norm",
    "classifier": "logits",
}


def model(config: Mapping[str, Any]) -> ps.Transformed[Any, Any]:
    """Returns the model: images `[B, H, W, C]` to logits `[B, num_labels]`."""
    c = config
    require(c, qkv_bias=True)
    size, heads = c["hidden_size"], c["num_attention_heads"]
    num_labels = len(c.get("id2label", range(2)))  # config.json leaves out the default
    init = ps.initializers.TruncatedNormal(c["initializer_range"])

    def norm(name: str) -> ps.LayerNorm:
        return ps.LayerNorm(-1, True, True, eps=c["layer_norm_eps"], name=name)

    def layer(x: jax.Array) -> jax.Array:
        attend = ps.MultiHeadAttention(heads, size // heads, w_init=init, name="attention")
        h = norm("attention_norm")(x)
        x += attend(h, h, h)
        h = ps.Linear(c["intermediate_size"], name="hidden")(norm("mlp_norm")(x))
        return x + ps.Linear(size, name="output")(ACTIVATIONS[c["hidden_act"]](h))

    def embed(images: jax.Array) -> jax.Array:
        """Returns the class token and the patches, each with its position."""
        patch = c["patch_size"]
        patches = ps.Conv2D(size, patch, patch, padding="VALID", name="patches")(images)
        patches = patches.reshape(len(images), -1, size)
        token = ps.get_parameter("cls_token", [1, 1, size], init=jnp.zeros)
        x = jnp.concatenate([jnp.tile(token, [len(images), 1, 1]), patches], axis=1)
        return x + ps.get_parameter("position_embeddings", [1, *x.shape[1:]], init=init)

    def forward(images: jax.Array) -> jax.Array:
        with ps.name_scope("embeddings"):
            x = embed(images)
        for i in range(c["num_hidden_layers"]):
            with ps.name_scope(f"layer_{i}"):
                x = layer(x)
        return ps.Linear(num_labels, name="logits")(norm("norm")(x[:, 0]))

    return ps.transform(forward)


def init_args(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """Returns arguments for `init`. The number of positions depends on the size of an image."""
    size, channels = config["image_size"], config.get("num_channels", 3)
    return jax.random.key(0), jax.ShapeDtypeStruct([1, size, size, channels], jnp.float32)


def load(folder: Folder) -> tuple[ps.Transformed[Any, Any], ps.Params]:
    """Returns the model of a folder, and its params."""
    config, weights = read(folder)
    f = model(config)
    return f, ps.convert.from_torch(weights, f, *init_args(config), names=NAMES, check=False).params


def save(folder: Folder, params: ps.Params, like: Folder) -> None:
    """Writes a folder as `like` is, with these params."""
    config, weights = read(like)
    f = model(config)
    weights = ps.convert.to_torch(params, f, *init_args(config), like=weights, names=NAMES)
    write(folder, config, weights)
