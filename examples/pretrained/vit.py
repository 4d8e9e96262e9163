"""The vision transformer, from a folder of Hugging Face's `ViTForImageClassification`, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

import purestate as ps
from examples.pretrained.folder import ACTIVATIONS, from_torch, read, require, to_torch, write

NAMES = {
    "vit.embeddings": "embeddings",
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


class Embeddings(ps.Module):
    """The patches of an image and a token for its class, each with its position."""

    def __init__(self, patch_size: int, size: int, name: str | None = None):
        super().__init__(name=name)
        self.patch_size = patch_size
        self.size = size

    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns `[B, 1 + patches, size]` for images `[B, H, W, C]`."""
        patches = ps.Conv2D(
            self.size, self.patch_size, stride=self.patch_size, padding="VALID", name="patches"
        )(images)
        patches = patches.reshape(len(images), -1, self.size)
        token = ps.get_parameter("cls_token", [1, 1, self.size], init=jnp.zeros)
        x = jnp.concatenate([jnp.tile(token, [len(images), 1, 1]), patches], axis=1)
        return x + ps.get_parameter(
            "position_embeddings", [1, *x.shape[1:]], init=ps.initializers.TruncatedNormal(0.02)
        )


def model(config: Mapping[str, Any]) -> ps.Transformed:
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

    def forward(images: jax.Array) -> jax.Array:
        x = Embeddings(c["patch_size"], size, name="embeddings")(images)
        for i in range(c["num_hidden_layers"]):
            with ps.name_scope(f"layer_{i}"):
                x = layer(x)
        return ps.Linear(num_labels, name="logits")(norm("norm")(x[:, 0]))

    return ps.transform(forward)


def load(folder: str) -> tuple[ps.Transformed, ps.Params]:
    """Returns the model of a folder, and its params."""
    config, weights = read(folder)
    f = model(config)
    return f, from_torch(weights, f, jax.random.key(0), jnp.zeros([1, config["image_size"], config["image_size"], 3]), names=NAMES)


def save(folder: str, config: Mapping[str, Any], params: ps.Params) -> None:
    """Writes a folder that `ViTForImageClassification.from_pretrained` loads."""
    write(folder, config, to_torch(params, names=NAMES))
