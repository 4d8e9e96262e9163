"""ResNet-50 with the weights of torchvision or timm, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

import purestate as ps
from examples.pretrained.folder import Folder, read, write

NAMES = {
    "conv1": "conv1",
    "bn1": "bn1",
    "layer*.*.conv*": "layer*/block_*/conv*",
    "layer*.*.bn*": "layer*/block_*/bn*",
    "layer*.*.downsample.0": "layer*/block_*/shortcut_conv",
    "layer*.*.downsample.1": "layer*/block_*/shortcut_bn",
    "fc": "logits",
}
INIT = jax.random.key(0), jax.ShapeDtypeStruct([1, 32, 32, 3], jnp.float32)  # for `init`


def convolve(
    x: jax.Array, channels: int, kernel: int, stride: int, conv: str, bn: str, is_training: bool
) -> jax.Array:
    # Torch pads both sides alike, and "SAME" the end more, for strides and images of even size.
    x = ps.Conv2D(channels, kernel, stride, padding=ps.pad.same, with_bias=False, name=conv)(x)
    # Averages from the beginning, so that `init` need not train.
    return ps.BatchNorm(True, True, 0.9, stats_at_init=True, name=bn)(x, is_training)


def block(x: jax.Array, channels: int, stride: int, is_training: bool) -> jax.Array:
    """A bottleneck; the second convolution has the stride, as in torchvision."""
    shortcut = x
    h = jax.nn.relu(convolve(x, channels, 1, 1, "conv1", "bn1", is_training))
    h = jax.nn.relu(convolve(h, channels, 3, stride, "conv2", "bn2", is_training))
    h = convolve(h, 4 * channels, 1, 1, "conv3", "bn3", is_training)
    if x.shape != h.shape:
        names = "shortcut_conv", "shortcut_bn"
        shortcut = convolve(x, 4 * channels, 1, stride, *names, is_training)
    return jax.nn.relu(h + shortcut)


def model(config: Mapping[str, Any]) -> ps.TransformedWithState[Any, Any]:
    """Returns the model: images `[B, H, W, 3]` and `is_training` to logits `[B, num_classes]`."""
    options = config.get("model_args", {})
    layers = options.get("layers", (3, 4, 6, 3))
    channels = options.get("channels", (64, 128, 256, 512))

    def forward(images: jax.Array, is_training: bool = False) -> jax.Array:
        stem = options.get("stem_width", 64)
        x = jax.nn.relu(convolve(images, stem, 7, 2, "conv1", "bn1", is_training))
        # Zeros are as good as -inf, since no number is negative here.
        x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
        x = ps.max_pool(x, (3, 3, 1), (2, 2, 1), "VALID")
        for group, (blocks, size) in enumerate(zip(layers, channels, strict=True)):
            with ps.name_scope(f"layer{group + 1}"):
                for i in range(blocks):
                    with ps.name_scope(f"block_{i}"):
                        x = block(x, size, 2 if group and not i else 1, is_training)
        return ps.Linear(config["num_classes"], name="logits")(x.mean((1, 2)))

    return ps.transform_with_state(forward)


def load(folder: Folder) -> tuple[ps.TransformedWithState[Any, Any], ps.Params, ps.State]:
    """Returns the model of a folder, its params and its state."""
    config, weights = read(folder)
    f = model(config)
    found = ps.convert.from_torch(weights, f, *INIT, names=NAMES, check=False)
    return f, found.params, found.state


def save(folder: Folder, params: ps.Params, state: ps.State, like: Folder) -> None:
    """Writes a folder as `like` is, with these params and this state."""
    config, weights = read(like)
    f = model(config)
    weights = ps.convert.to_torch((params, state), f, *INIT, like=weights, names=NAMES)
    write(folder, config, weights)
