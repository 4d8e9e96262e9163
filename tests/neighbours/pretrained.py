"""The models of `examples/pretrained/` beside transformers' and torch's, and how far outputs are apart.

python -m tests.neighbours.pretrained            # all models
python -m tests.neighbours.pretrained vit bert   # some
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.torch
import torch
import transformers

from examples.pretrained import bert, gpt2, llama, resnet50, vit
from tests.neighbours.torch_resnet import ResNet

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
LLAMA = {**SIZES, "vocab_size": 50, "num_key_value_heads": 2, "rms_norm_eps": 1e-3}
RESNET = {"layers": [1, 2, 1, 1], "channels": [4, 6, 8, 10], "stem_width": 5}


def tokens(length: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 50, [3, length])


def padded() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, a mask of texts with 9, 4 and 1 tokens, and which tokens are of the second text."""
    mask = np.arange(9) < np.array([[9], [4], [1]])
    return tokens(), mask.astype(int), np.random.default_rng(1).integers(0, 2, [3, 9])


def images(size: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal([2, size, size, 3], np.float32)


def channels_first(x: np.ndarray) -> torch.Tensor:
    return torch.tensor(x).permute(0, 3, 1, 2)


def logits(model: Any, *inputs: np.ndarray) -> Any:
    return model(*map(torch.tensor, inputs)).logits


def bert_outputs(model: Any, tokens: np.ndarray, mask: np.ndarray, types: np.ndarray) -> Any:
    out = model(torch.tensor(tokens), torch.tensor(mask), torch.tensor(types))
    return out.last_hidden_state, out.pooler_output


def load_transformers(cls: Any, folder: Path) -> Any:
    model, report = cls.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return model


class Case(NamedTuple):
    example: Any  # the module in examples/pretrained
    new: Callable[[], Any]  # the other library's model
    save: Callable[[Any, Path], None]  # puts this model into a folder
    load: Callable[[Path], Any]  # and makes one from a folder
    inputs: tuple[np.ndarray, ...]
    run: Callable[..., Any]  # the other library's outputs for these inputs


def case(example: Any, cls: Any, config: Any, inputs: Any, run: Any = logits) -> Case:
    save = lambda model, folder: model.save_pretrained(folder)
    load = lambda folder: load_transformers(cls, folder)
    return Case(example, lambda: cls(config), save, load, inputs, run)


def load_resnet(folder: Path) -> ResNet:
    config = json.loads((folder / "config.json").read_text())
    model = ResNet(config["num_classes"], **config.get("model_args", {}))
    model.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
    return model.eval()


def resnet(size: int, **options: Any) -> Case:
    def save(model: ResNet, folder: Path) -> None:
        folder.mkdir()
        config = {"architecture": "resnet50", "num_classes": 7, "model_args": options}
        (folder / "config.json").write_text(json.dumps(config))
        path = folder / "model.safetensors"
        safetensors.torch.save_file(model.state_dict(), path, {"format": "pt"})

    run = lambda model, images: model(channels_first(images))
    return Case(resnet50, lambda: ResNet(7, **options), save, load_resnet, (images(size),), run)


def gpt2_config(**options: Any) -> Any:
    return transformers.GPT2Config(
        vocab_size=50, n_positions=12, n_embd=16, n_layer=2, n_head=4, **options
    )


CASES: dict[str, Case] = {
    "resnet50": resnet(224),  # as large as it is; all others are small
    "resnet50, narrow": resnet(64, **RESNET),
    "resnet50, odd size": resnet(49, **RESNET),
    "vit": case(
        vit,
        transformers.ViTForImageClassification,
        transformers.ViTConfig(**SIZES, image_size=12, patch_size=4, num_labels=5),
        (images(12),),
        lambda model, images: model(channels_first(images)).logits,
    ),
    "bert": case(
        bert,
        transformers.BertModel,
        transformers.BertConfig(**SIZES, vocab_size=50, max_position_embeddings=12),
        padded(),
        bert_outputs,
    ),
    "gpt2": case(gpt2, transformers.GPT2LMHeadModel, gpt2_config(), (tokens(),)),
    "gpt2, n_inner, gelu": case(
        gpt2,
        transformers.GPT2LMHeadModel,
        gpt2_config(n_inner=20, activation_function="gelu"),
        (tokens(),),
    ),
    "llama": case(
        llama, transformers.LlamaForCausalLM, transformers.LlamaConfig(**LLAMA), (tokens(),)
    ),
    "llama, tied": case(
        llama,
        transformers.LlamaForCausalLM,
        transformers.LlamaConfig(**LLAMA, tie_word_embeddings=True),
        (tokens(),),
    ),
    "llama, frequencies of Llama 3.1": case(
        llama,
        transformers.LlamaForCausalLM,
        transformers.LlamaConfig(
            **LLAMA,
            rope_parameters={
                "rope_theta": 50.0,
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        ),
        (tokens(),),
    ),
    "llama, position interpolation": case(
        llama,
        transformers.LlamaForCausalLM,
        transformers.LlamaConfig(
            **LLAMA,
            rope_parameters={"rope_theta": 500.0, "rope_type": "linear", "factor": 4.0},
        ),
        (tokens(),),
    ),
    "llama, biases, head_dim, base": case(
        llama,
        transformers.LlamaForCausalLM,
        transformers.LlamaConfig(
            **LLAMA,
            attention_bias=True,
            head_dim=6,
            rope_parameters={"rope_theta": 500.0, "rope_type": "default"},
        ),
        (tokens(),),
    ),
}


def random_model(case: Case) -> Any:
    """The other library's model, with all its weights and statistics random."""
    torch.manual_seed(0)
    model = case.new()
    with torch.no_grad():
        for weight in model.parameters():
            # Torch's own initial matrices have the right size for 50 layers.
            if weight.ndim == 1 or not isinstance(model, ResNet):
                weight.add_(0.1 * torch.randn(weight.shape))
        if isinstance(model, ResNet):  # its running statistics, as of these images
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = 1.0
            case.run(model.train(), *case.inputs)
    return model.eval()


def largest(x: Any) -> float:
    return float(np.abs(x).max())


def difference(ours: Any, theirs: Any) -> float:
    """The largest difference between two trees of arrays of the same shapes."""
    pairs = list(zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True))
    assert all(o.shape == t.shape for o, t in pairs)
    return max(largest(o - t.numpy()) for o, t in pairs)


def outputs(case: Case, f: Any, variables: Any) -> Any:
    out = jax.jit(f.apply)(*variables, None, *map(jnp.asarray, case.inputs))
    return out[0] if len(variables) == 2 else out


def both(case: Case, f: Any, variables: Any, model: Any) -> float:
    with torch.no_grad():
        theirs = case.run(model, *case.inputs)
    return difference(outputs(case, f, variables), theirs)


def from_theirs(case: Case, folder: Path) -> float:
    """A folder that the other library writes, loaded here."""
    model = random_model(case)
    case.save(model, folder)
    f, *variables = case.example.load(folder)
    return both(case, f, variables, model)


def to_theirs(case: Case, folder: Path) -> float:
    """A folder that we write, loaded by the other library."""
    case.save(random_model(case), folder)
    f, params, *state = case.example.load(folder)
    rng = np.random.default_rng(0)
    noisy = lambda w: w * (1 + np.float32(0.1) * rng.standard_normal(w.shape, np.float32))
    variables = [jax.tree.map(noisy, params), *state]
    case.example.save(folder / "ours", *variables, like=folder)
    return both(case, f, variables, case.load(folder / "ours"))


def main(*wanted: str) -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(f"{'':32}{'their folder here':>20}{'our folder there':>20}")
    for name in wanted or CASES:
        case = CASES[name]
        with tempfile.TemporaryDirectory() as folder:
            row = [from_theirs(case, Path(folder, "a")), to_theirs(case, Path(folder, "b"))]
        print(f"{name:32}{row[0]:>20.1e}{row[1]:>20.1e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
