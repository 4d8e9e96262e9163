"""What the models beside this file share: folders of Hugging Face, options and activations."""

import functools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

import purestate as ps

Folder = str | os.PathLike[str]

ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


def require(config: Mapping[str, Any], **options: Any) -> None:
    """Raises if a config has another value for an option than the one that a model has."""
    for name, value in options.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"config.json has {name}={config[name]!r}. This model has only {value!r}."
            )


def read(folder: Folder) -> tuple[dict[str, Any], dict[str, jax.Array]]:
    """Returns the config of a folder, and its weights by their names."""
    config = json.loads(Path(folder, "config.json").read_text())
    tree = ps.checkpoint.load_safetensors(folder)  # one file, or several with an index
    return config, dict(ps.checkpoint.to_flat(tree))


def write(folder: Folder, config: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
    """Writes a config and weights into a folder, as `save_pretrained` does."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, "config.json").write_text(json.dumps(config, indent=2))
    tree = ps.checkpoint.from_flat(weights)
    # Hugging Face's transformers reads only a file that says so.
    metadata = {"format": "pt"}
    ps.checkpoint.save_safetensors(Path(folder, "model.safetensors"), tree, metadata=metadata)
