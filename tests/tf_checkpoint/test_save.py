"""`save`, read back by `load` and `restore`. TensorFlow reads it in `tests/neighbours`."""

import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import purestate.sonnet.checkpoint as checkpoint
from purestate._checkpoint.errors import (
    CheckpointError,
    CheckpointFileError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
)
from purestate._tf_checkpoint.bundle import open_bundle
from purestate._tf_checkpoint.object_graph import GRAPH_KEY
from tests.tf_checkpoint.fixtures import (
    MODELS,
    assert_same,
    attributes,
    blank,
    copy,
    params_and_state,
    prefix,
    where,
)

DTYPES = [np.float32, np.float16, np.int64, np.int32, np.uint8, np.bool_, np.complex64]


@pytest.mark.parametrize("name", [name for name in MODELS if name != "dtypes"])
def test_like_a_checkpoint_of_tensorflow(name: str, tmp_path: Path):
    params, state = params_and_state(name)
    changed = jax.tree.map(lambda x: x + 1, (params, state))
    path = str(tmp_path / "new")
    checkpoint.save(path, *changed, prefix(name), attributes=where(name))
    read = checkpoint.restore(path, blank(params), blank(state), attributes=where(name))
    assert_same(read[0], changed[0])
    assert_same(read[1], changed[1])
    old, new = attributes(name), checkpoint.load(path)
    assert set(old) == set(new)
    for attribute, x in old.items():
        assert new[attribute].dtype == x.dtype
        if not attribute.startswith("model/"):  # of an optimizer
            np.testing.assert_array_equal(new[attribute], x)
    bundles = [open_bundle(each) for each in (prefix(name), path)]
    assert bundles[0].read(GRAPH_KEY) == bundles[1].read(GRAPH_KEY)


def test_texts_and_all_dtypes_are_kept(tmp_path: Path):
    params, state = params_and_state("dtypes")
    params["dtypes"]["half"] = params["dtypes"]["half"].astype(ml_dtypes.bfloat16)
    state["dtypes"]["bfloat16"] = state["dtypes"]["bfloat16"].astype(ml_dtypes.bfloat16)
    path = str(tmp_path / "new")
    checkpoint.save(path, params, state, prefix("dtypes"))
    old, new = (checkpoint.load(each, strings=True) for each in (prefix("dtypes"), path))
    assert list(old) == list(new)
    for name, x in old.items():
        assert x.dtype == new[name].dtype
        np.testing.assert_array_equal(x, new[name])


NAME = st.text(st.sampled_from("abz_/.\\09é"), min_size=1, max_size=6)
LEAF = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_side=4, min_side=0))
)


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(
        NAME, st.dictionaries(NAME, LEAF, min_size=1, max_size=3), min_size=1, max_size=4
    ),
    st.dictionaries(NAME, st.dictionaries(NAME, LEAF, min_size=1, max_size=3), max_size=2),
)
def test_round_trip_of_any_names(params: Any, state: Any):
    state = {f"state {module}": values for module, values in state.items()}
    places = [(m, n) for bundles in (params, state) for m, v in bundles.items() for n in v]
    where = {f"at/{i}/x": place for i, place in enumerate(places)}
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/ckpt"
        checkpoint.save(path, params, state, attributes=where)
        loaded = checkpoint.load(path)
        read = checkpoint.restore(path, blank(params), blank(state), attributes=where)
        again = f"{folder}/again"
        checkpoint.save(again, *read, path, attributes=where)
        assert Path(again + ".index").read_bytes() == Path(path + ".index").read_bytes()
    assert_same(read[0], params)
    assert_same(read[1], state)
    for attribute, (module, name) in where.items():
        value = {**params, **state}[module][name]
        np.testing.assert_array_equal(loaded[f"model/{attribute}"], value)


def test_counters_of_jax_are_those_of_sonnet(tmp_path: Path):
    path = str(tmp_path / "ckpt")
    state = {"ema": {"counter": jnp.array(3), "many": jnp.array([3]), "own": np.int32(4)}}
    where = {name: ("ema", name) for name in state["ema"]}
    checkpoint.save(path, {}, state, attributes=where)
    dtypes = {p: x.dtype.name for p, x in checkpoint.load(path).items()}
    assert dtypes == {
        "model/counter": "int64",
        "model/many": "int32",
        "model/own": "int32",
        "save_counter": "int64",
    }


def test_a_failed_save_leaves_what_was_there(tmp_path: Path):
    path = copy("sequential", tmp_path)
    before = checkpoint.load(path)
    damaged = str(tmp_path / "damaged")
    for ending in (".index", ".data-00000-of-00001"):
        data = bytearray(Path(path + ending).read_bytes())
        if "data" in ending:
            data[-1] ^= 1  # of the object graph or of the last variable
            data[0] ^= 1
        Path(damaged + ending).write_bytes(bytes(data))
    params, state = params_and_state("sequential")
    with pytest.raises(CheckpointFileError):
        checkpoint.save(path, params, state, damaged)
    for name, x in checkpoint.load(path).items():
        np.testing.assert_array_equal(x, before[name])
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


def test_saving_onto_itself(tmp_path: Path):
    path = copy("mlp_adam", tmp_path)
    params, state = params_and_state("mlp_adam")
    changed = jax.tree.map(lambda x: x * 2, params)
    checkpoint.save(path, changed, state, path)
    assert_same(checkpoint.restore(path, blank(params), state)[0], changed)


def test_errors(tmp_path: Path):
    params, state = params_and_state("sequential")
    path = str(tmp_path / "ckpt")
    with pytest.raises(CheckpointError, match="`like` or `attributes`"):
        checkpoint.save(path, params, state)
    with pytest.raises(CheckpointMismatchError, match="has no path"):
        checkpoint.save(path, params, state, attributes={"a": ("linear", "w")})
    with pytest.raises(CheckpointMismatchError, match="does not have once"):
        checkpoint.save(path, {}, state, attributes={"a": ("linear", "w")})
    with pytest.raises(CheckpointMismatchError, match="linear_2/w"):
        checkpoint.save(path, {**params, "linear_2": {}}, state, prefix("sequential"))
    shapes = {"m": {"w": jax.ShapeDtypeStruct([2], np.float32)}}
    with pytest.raises(CheckpointError, match="needs an array"):
        checkpoint.save(path, shapes, {}, attributes={"a": ("m", "w")})
    with pytest.raises(CheckpointError, match="does not have"):
        text = {"m": {"w": np.array("text")}}
        checkpoint.save(path, text, {}, attributes={"a": ("m", "w")})
    with pytest.raises(CheckpointNotFoundError, match="makedirs"):
        checkpoint.save(tmp_path / "no" / "folder", *params_and_state("vq"), prefix("vq"))
    assert not list(tmp_path.iterdir())
