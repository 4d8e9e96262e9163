"""The models of `examples/pretrained/` have Hugging Face's and torchvision's names, and their files come back bit by bit.

The outputs are compared with those of transformers and torch in `tests/neighbours/test_pretrained.py`.
"""

import json
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from examples.pretrained import bert, gpt2, llama, resnet50, vit
from tests.checkpoint.helpers import same

D, HIDDEN, VOCAB = 8, 12, 11
SIZES = {
    "hidden_size": D,
    "intermediate_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_act": "gelu",
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
}


def dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def conv1d(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (inputs, outputs), f"{name}.bias": (outputs,)}


def norm(name: str, size: int = D) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def bn(name: str, size: int) -> dict[str, tuple[int, ...]]:
    statistics = {f"{name}.running_mean": (size,), f"{name}.running_var": (size,)}
    return {**norm(name, size), **statistics, f"{name}.num_batches_tracked": ()}


def layers(pattern: str, *made: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """What is made for a layer, for each of two layers."""
    return {
        f"{pattern.format(i)}.{name}": shape
        for i in range(2)
        for each in made
        for name, shape in each.items()
    }


# The names and shapes that a folder of Hugging Face has, and torchvision's for ResNet-50.
BERT = {
    "embeddings.word_embeddings.weight": (VOCAB, D),
    "embeddings.position_embeddings.weight": (7, D),
    "embeddings.token_type_embeddings.weight": (2, D),
    **norm("embeddings.LayerNorm"),
    **layers(
        "encoder.layer.{}",
        dense("attention.self.query", D, D),
        dense("attention.self.key", D, D),
        dense("attention.self.value", D, D),
        dense("attention.output.dense", D, D),
        norm("attention.output.LayerNorm"),
        dense("intermediate.dense", D, HIDDEN),
        dense("output.dense", HIDDEN, D),
        norm("output.LayerNorm"),
    ),
    **dense("pooler.dense", D, D),
}
GPT2 = {
    "transformer.wte.weight": (VOCAB, D),
    "transformer.wpe.weight": (7, D),
    **layers(
        "transformer.h.{}",
        norm("ln_1"),
        conv1d("attn.c_attn", D, 3 * D),
        conv1d("attn.c_proj", D, D),
        norm("ln_2"),
        conv1d("mlp.c_fc", D, 4 * D),
        conv1d("mlp.c_proj", 4 * D, D),
    ),
    **norm("transformer.ln_f"),
}
LLAMA_TIED = {
    "model.embed_tokens.weight": (VOCAB, D),
    **layers(
        "model.layers.{}",
        {
            "input_layernorm.weight": (D,),
            "self_attn.q_proj.weight": (D, D),
            "self_attn.k_proj.weight": (4, D),
            "self_attn.v_proj.weight": (4, D),
            "self_attn.o_proj.weight": (D, D),
            "post_attention_layernorm.weight": (D,),
            "mlp.gate_proj.weight": (HIDDEN, D),
            "mlp.up_proj.weight": (HIDDEN, D),
            "mlp.down_proj.weight": (D, HIDDEN),
        },
    ),
    "model.norm.weight": (D,),
}
VIT = {
    "vit.embeddings.cls_token": (1, 1, D),
    "vit.embeddings.position_embeddings": (1, 5, D),
    "vit.embeddings.patch_embeddings.projection.weight": (D, 3, 4, 4),
    "vit.embeddings.patch_embeddings.projection.bias": (D,),
    **layers(
        "vit.encoder.layer.{}",
        norm("layernorm_before"),
        dense("attention.attention.query", D, D),
        dense("attention.attention.key", D, D),
        dense("attention.attention.value", D, D),
        dense("attention.output.dense", D, D),
        norm("layernorm_after"),
        dense("intermediate.dense", D, HIDDEN),
        dense("output.dense", HIDDEN, D),
    ),
    **norm("vit.layernorm"),
    **dense("classifier", D, 3),
}


def bottleneck(name: str, inputs: int, channels: int, *, first: bool) -> dict[str, Any]:
    shortcut = {
        f"{name}.downsample.0.weight": (4 * channels, inputs, 1, 1),
        **bn(f"{name}.downsample.1", 4 * channels),
    }
    return {
        f"{name}.conv1.weight": (channels, inputs, 1, 1),
        **bn(f"{name}.bn1", channels),
        f"{name}.conv2.weight": (channels, channels, 3, 3),
        **bn(f"{name}.bn2", channels),
        f"{name}.conv3.weight": (4 * channels, channels, 1, 1),
        **bn(f"{name}.bn3", 4 * channels),
        **(shortcut if first else {}),
    }


RESNET = {
    "conv1.weight": (5, 3, 7, 7),
    **bn("bn1", 5),
    **bottleneck("layer1.0", 5, 2, first=True),
    **bottleneck("layer2.0", 8, 3, first=True),
    **bottleneck("layer2.1", 12, 3, first=False),
    **bottleneck("layer3.0", 12, 2, first=True),
    **bottleneck("layer4.0", 8, 2, first=True),
    **dense("fc", 8, 3),
}


class Case(NamedTuple):
    example: Any
    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


LLAMA_CONFIG = {**SIZES, "vocab_size": VOCAB, "num_key_value_heads": 2, "rms_norm_eps": 1e-6}
GPT2_CONFIG = {
    "vocab_size": VOCAB,
    "n_positions": 7,
    "n_embd": D,
    "n_layer": 2,
    "n_head": 2,
    "layer_norm_epsilon": 1e-5,
    "activation_function": "gelu_new",
}
CASES = {
    "bert": Case(
        bert,
        {**SIZES, "vocab_size": VOCAB, "max_position_embeddings": 7, "type_vocab_size": 2},
        BERT,
    ),
    "gpt2": Case(gpt2, GPT2_CONFIG, GPT2),
    "llama": Case(llama, LLAMA_CONFIG, {**LLAMA_TIED, "lm_head.weight": (VOCAB, D)}),
    "llama, tied": Case(llama, {**LLAMA_CONFIG, "tie_word_embeddings": True}, LLAMA_TIED),
    "vit": Case(
        vit,
        {**SIZES, "image_size": 8, "patch_size": 4, "id2label": {"0": "a", "1": "b", "2": "c"}},
        VIT,
    ),
    "resnet50": Case(
        resnet50,
        {
            "num_classes": 3,
            "model_args": {"layers": [1, 2, 1, 1], "channels": [2, 3, 2, 2], "stem_width": 5},
        },
        RESNET,
    ),
}


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: np.array(seed + 3) if name.endswith("tracked") else rng.random(shape, np.float32)
        for name, shape in shapes.items()
    }


def write(folder: Any, config: Any, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Writes a folder without purestate."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.numpy.save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return weights


def check_init(case, f, variables):
    """`init` makes what `load` loads, by names, shapes and dtypes."""
    size = case.config.get("image_size", 32)
    images = case.example in (vit, resnet50)
    x = jnp.zeros([1, size, size, 3]) if images else jnp.zeros([1, 1], int)
    made = jax.eval_shape(f.init, jax.random.key(0), x)
    made = list(made) if isinstance(made, tuple) else [made]
    outline = lambda tree: jax.tree.map(lambda w: (w.shape, w.dtype), tree)
    assert outline(made) == outline(variables)


@pytest.mark.parametrize("name", CASES)
def test_a_folder_comes_back_bit_by_bit(name, tmp_path):
    case = CASES[name]
    write(tmp_path / "like", case.config, random_weights(case.shapes, seed=1))
    weights = write(tmp_path / "theirs", case.config, random_weights(case.shapes))
    f, *variables = case.example.load(tmp_path / "theirs")
    check_init(case, f, variables)
    case.example.save(tmp_path / "ours", *variables, like=tmp_path / "like")
    assert json.loads((tmp_path / "ours" / "config.json").read_text()) == case.config
    saved = safetensors.numpy.load_file(tmp_path / "ours" / "model.safetensors")
    assert saved.keys() == weights.keys()
    assert [name for name in weights if not same(saved[name], weights[name])] == []


def test_resnet50_has_as_many_parameters_as_torchvision_says():
    f = resnet50.model({"num_classes": 1000})
    params, _ = jax.eval_shape(f.init, *resnet50.INIT)
    assert sum(w.size for w in jax.tree.leaves(params)) == 25_557_032


def check_old_and_new(example, folder):
    """The folders "old" and "new" have the same weights, and both are saved as the new one is."""
    _, params = example.load(folder / "old")
    assert same(params, example.load(folder / "new")[1])
    example.save(folder / "ours", params, like=folder / "old")
    ours, new = (
        safetensors.numpy.load_file(folder / name / "model.safetensors") for name in ("ours", "new")
    )
    assert same(ours, new)


def test_old_names_of_gpt2(tmp_path):
    """Those of the folder "gpt2": without a prefix, and with the causal mask."""
    weights = random_weights(GPT2)
    old = {name.removeprefix("transformer."): w for name, w in weights.items()}
    masks = {f"h.{i}.attn.bias": np.tril(np.ones([1, 1, 7, 7], np.float32)) for i in range(2)}
    write(tmp_path / "new", GPT2_CONFIG, weights)
    write(tmp_path / "old", GPT2_CONFIG, {**old, **masks})
    check_old_and_new(gpt2, tmp_path)


def test_old_names_of_bert(tmp_path):
    """Those of the folder "bert-base-uncased": gamma and beta, a prefix, and the heads of its training."""
    weights = random_weights(BERT)
    gamma = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    old = {
        "bert." + re.sub(r"LayerNorm\.\w+", lambda m: gamma[m[0]], name): w
        for name, w in weights.items()
    }
    others = {"cls.predictions.bias": np.zeros(VOCAB), "cls.seq_relationship.bias": np.zeros(2)}
    config = CASES["bert"].config
    write(tmp_path / "new", config, weights)
    write(tmp_path / "old", config, {**old, **others})
    check_old_and_new(bert, tmp_path)


@pytest.mark.parametrize(
    ("example", "config", "option"),
    [
        (llama, {**LLAMA_CONFIG, "rope_parameters": {"rope_type": "yarn"}}, "rope_type='yarn'"),
        (llama, {**LLAMA_CONFIG, "rope_scaling": {"type": "dynamic"}}, "rope_type='dynamic'"),
        (llama, {**LLAMA_CONFIG, "mlp_bias": True}, "mlp_bias=True"),
        (gpt2, {**GPT2_CONFIG, "tie_word_embeddings": False}, "tie_word_embeddings=False"),
        (bert, {**CASES["bert"].config, "is_decoder": True}, "is_decoder=True"),
        (vit, {**CASES["vit"].config, "qkv_bias": False}, "qkv_bias=False"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_option_that_a_model_does_not_have(example, config, option):
    with pytest.raises(ValueError, match=re.escape(option)):
        example.model(config)


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_a_text_that_is_too_long(name):
    """JAX would take the last position for all that follow."""
    f = CASES[name].example.model(CASES[name].config)
    with pytest.raises(ValueError, match=r"\(1, 8, 8\), \(7, 8\)"):
        jax.eval_shape(f.init, jax.random.key(0), jnp.zeros([1, 8], int))
