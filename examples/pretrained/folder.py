"""What the models of this folder share: Hugging Face's folders, options and activations."""

import functools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

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


_LEAVES = {
    "w": "weight", "b": "bias", "scale": "weight", "offset": "bias", "embeddings": "weight",
}


def _module(path: str, names: Mapping[str, str]) -> str:
    import re

    for theirs, ours in names.items():
        if match := re.fullmatch(re.escape(ours).replace(r"\*", "(.*)"), path):
            groups = iter(match.groups())
            return re.sub(r"\*", lambda _: next(groups), theirs)
    raise KeyError(path)


def from_torch(weights: Any, f: Any, rng: Any, *example: Any, names: Any) -> Any:
    import jax.numpy as jnp

    shapes = jax.eval_shape(f.init, rng, *example)
    used = set()

    def leaf(path: Any, spec: Any) -> Any:
        *_, module, name = [k.key if hasattr(k, "key") else k.idx for k in path]
        if "_ema" in module:
            module, ema = module.split("/~/")
            key = _module(module, names) + {"mean_ema": ".running_mean", "var_ema": ".running_var"}[ema]
            if name == "counter":
                return jnp.ones((), int)
            w = weights[key].reshape(spec.shape)
            used.add(key)
            return w * 0.1 if name == "hidden" else w
        key = _module(module, names) + "." + _LEAVES.get(name, name)
        used.add(key)
        w = weights[key]
        if name == "w" and "c_" not in key:
            w = w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T
        w = w.reshape(spec.shape)
        return w

    out = jax.tree_util.tree_map_with_path(leaf, shapes)
    return out


def to_torch(params: Any, state: Any = None, *, names: Any, conv1d=False) -> Any:
    out = {}
    for module, leaves in params.items():
        for name, w in leaves.items():
            if name == "w" and not conv1d:
                w = w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T
            if name in ("scale", "offset"):
                w = w.reshape(-1)
            out[_module(module, names) + "." + _LEAVES.get(name, name)] = w
    for module, leaves in (state or {}).items():
        module, ema = module.split("/~/")
        key = _module(module, names) + {"mean_ema": ".running_mean", "var_ema": ".running_var"}[ema]
        out[key] = leaves["average"].reshape(-1)
        out[_module(module, names)+".num_batches_tracked"] = leaves["counter"]
    return out
