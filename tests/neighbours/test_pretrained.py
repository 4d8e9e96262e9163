"""The models of `examples/pretrained/` compute what transformers' and torch's do, whoever wrote the folder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.checkpoint.helpers import same

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.neighbours import pretrained  # noqa: E402

CASES = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=[pytest.mark.slow] if name == "resnet50" else [])
        for name, case in pretrained.CASES.items()
    ],
)


@CASES
def test_outputs_of_their_folder_here(case, tmp_path):
    assert pretrained.from_theirs(case, tmp_path / "theirs") < 1e-4


@CASES
def test_outputs_of_our_folder_there(case, tmp_path):
    assert pretrained.to_theirs(case, tmp_path / "theirs") < 1e-4


def test_padding_of_bert_counts_for_nothing(tmp_path):
    """Otherwise equal outputs would say nothing about the mask."""
    case = pretrained.CASES["bert"]
    case.save(pretrained.random_model(case), tmp_path / "theirs")
    f, params = case.example.load(tmp_path / "theirs")
    tokens, mask, types = case.inputs
    other = np.where(mask, tokens, (tokens + 1) % 50)
    apply = jax.jit(f.apply)
    hidden, changed = (apply(params, None, x, mask, types)[0] for x in (tokens, other))
    assert pretrained.largest(np.where(mask[..., None], hidden - changed, 0)) < 1e-6
    assert pretrained.largest(hidden - apply(params, None, tokens, None, types)[0]) > 1e-2


def test_a_folder_with_several_files(tmp_path):
    case = pretrained.CASES["llama"]
    model = pretrained.random_model(case)
    model.save_pretrained(tmp_path, max_shard_size="5KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    f, params = case.example.load(tmp_path)
    assert pretrained.both(case, f, [params], model) < 1e-4


def test_a_folder_of_bfloat16(tmp_path):
    """It becomes float32 without any change of values, and bfloat16 again."""
    case = pretrained.CASES["llama"]
    model = pretrained.random_model(case).bfloat16()
    case.save(model, tmp_path / "theirs")
    f, params = case.example.load(tmp_path / "theirs")
    assert {w.dtype for w in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    case.example.save(tmp_path / "ours", params, like=tmp_path / "theirs")
    assert pretrained.both(case, f, [params], model.float()) < 1e-4
    theirs, ours = (ps.checkpoint.load_safetensors(tmp_path / name) for name in ("theirs", "ours"))
    assert same(ours, theirs)
    half = jax.tree.map(lambda w: w.astype(jnp.bfloat16), params)
    assert pretrained.outputs(case, f, [half]).dtype == jnp.bfloat16
