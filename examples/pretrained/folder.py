"""What the models beside this file share: folders of Hugging Face, options and activations."""

import functools
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

import purestate as ps

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
            raise NotImplementedError(
                f"config.json has {name}={config[name]!r}. This model has only {value!r}."
            )


Names = Mapping[str, str | tuple[str, ...]]
"""From names in the file to paths in the model, as `ps.convert.from_torch` takes them."""


def read(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, jax.Array]]:
    """Returns the config of a folder, and its weights by their names."""
    config = json.loads(Path(folder, "config.json").read_text())
    tree = ps.checkpoint.load_safetensors(Path(folder, "model.safetensors"))
    return config, dict(ps.checkpoint.to_flat(tree))


def write(
    folder: str | os.PathLike[str], config: Mapping[str, Any], weights: Mapping[str, Any]
) -> None:
    """Writes a config and weights into a folder, as `save_pretrained` does."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, "config.json").write_text(json.dumps(config, indent=2))
    tree = ps.checkpoint.from_flat(weights)
    # Hugging Face's transformers reads only a file that says so.
    metadata = {"format": "pt"}
    ps.checkpoint.save_safetensors(Path(folder, "model.safetensors"), tree, metadata=metadata)


def renamed(weights: Mapping[str, np.ndarray], names: Names) -> dict[str, np.ndarray]:
    """Returns what `ps.convert.to_torch` made by the names in the file: `names`, backwards.

    Weights of several layers that are one array in the file are joined.
    """
    out: dict[str, np.ndarray] = {}
    for theirs, ours in names.items():
        paths = (ours,) if isinstance(ours, str) else ours
        patterns = [path.replace("/", ".") for path in paths]
        regex = re.escape(patterns[0]).replace(r"\*", r"([^.]*)") + r"((?:\.\w+)?)"
        for match in filter(None, (re.fullmatch(regex, name) for name in weights)):
            parts = [weights[_filled(pattern, match)] for pattern in patterns]
            out[_filled(theirs, match)] = np.concatenate(parts) if parts[1:] else parts[0]
    return out


def _filled(pattern: str, match: re.Match[str]) -> str:
    pieces = zip(pattern.split("*"), match.groups(), strict=True)
    return "".join(piece + found for piece, found in pieces)
