"""The models of `examples/pretrained/` compute what transformers' and torch's do, whoever wrote the folder."""

import json

import numpy as np
import pytest
import safetensors.numpy

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.neighbours import pretrained  # noqa: E402

CASES = pytest.mark.parametrize("case", pretrained.CASES.values(), ids=pretrained.CASES.keys())


@CASES
def test_outputs_of_their_folder_here(case, tmp_path):
    assert pretrained.from_theirs(case, tmp_path / "theirs") < 1e-4


@CASES
def test_outputs_of_our_folder_there(case, tmp_path):
    assert pretrained.to_theirs(case, tmp_path / "theirs") < 1e-4


@CASES
def test_their_folder_comes_back_bit_by_bit(case, tmp_path):
    pretrained.save(case, pretrained.random_model(case), tmp_path / "theirs")
    _, *variables = case.example.load(tmp_path / "theirs")
    config = json.loads((tmp_path / "theirs" / "config.json").read_text())
    case.example.save(tmp_path / "ours", config, *variables)
    theirs, ours = (
        safetensors.numpy.load_file(tmp_path / name / "model.safetensors")
        for name in ("theirs", "ours")
    )
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        np.testing.assert_array_equal(ours[name], weight, err_msg=name)


def test_padding_of_bert_counts_for_nothing(tmp_path):
    """Otherwise equal outputs would say nothing about the mask."""
    case = pretrained.CASES["bert"]
    pretrained.save(case, pretrained.random_model(case), tmp_path / "theirs")
    f, params = case.example.load(tmp_path / "theirs")
    tokens, mask, types = case.inputs
    other = np.where(mask, tokens, (tokens + 1) % 50)
    hidden, changed = (f.apply(params, None, x, mask, types)[0] for x in (tokens, other))
    assert pretrained.largest(np.where(mask[..., None], hidden - changed, 0)) < 1e-6
    assert pretrained.largest(hidden - f.apply(params, None, tokens, None, types)[0]) > 1e-2
