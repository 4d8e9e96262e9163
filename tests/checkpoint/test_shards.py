"""Several files with an index: as Hugging Face has them, and as safe as one file."""

import json
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import purestate as ps
from purestate import checkpoint
from purestate._checkpoint.shards import bytes_of
from tests.checkpoint.helpers import same

NEW = {
    "mlp/~/linear_0": {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.int32(3)},
    "a": {"w": np.ones([4, 4], np.float32), "empty": {}},
    "q": {"int4": jnp.arange(-3, 4, dtype=jnp.int4), "key": jax.random.key(3)},
}
OLD = {"a": {"w": np.zeros([8], np.float32), "v": np.ones([8], np.float32)}, "b": {"b": np.ones(2)}}
METADATA = {"step": "7", "total_size": "mine"}  # the second one is also a key of Hugging Face
KINDS = {"one file": None, "shards": 32}  # of max_shard_size


@pytest.fixture
def path(tmp_path):
    checkpoint.save_safetensors(
        tmp_path / "model.safetensors", NEW, metadata=METADATA, max_shard_size=64
    )
    return tmp_path / "model.safetensors"


def index_of(path):
    return path.with_name(path.name + ".index.json")


def test_the_files_are_those_of_hugging_face(path):
    index = json.loads(index_of(path).read_text())
    shards = sorted(set(index["weight_map"].values()))
    assert shards == [
        f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)
    ]
    assert len(shards) > 1
    assert sorted(os.listdir(path.parent)) == sorted([*shards, index_of(path).name])
    flat = {
        name: x
        for shard in shards
        for name, x in safetensors.numpy.load_file(path.with_name(shard)).items()
    }
    assert flat.keys() == index["weight_map"].keys() == checkpoint.to_flat(NEW).keys()
    assert index["metadata"]["total_size"] == sum(x.nbytes for x in flat.values())
    for shard in shards:
        of_shard = [name for name, each in index["weight_map"].items() if each == shard]
        assert safetensors.numpy.load_file(path.with_name(shard)).keys() == set(of_shard)
        assert len(of_shard) == 1 or sum(flat[name].nbytes for name in of_shard) <= 64


@pytest.mark.parametrize("given", [lambda p: p, index_of, lambda p: p.parent, str])
def test_each_way_to_name_them(path, given):
    loaded = checkpoint.load_safetensors(given(path))
    assert same(loaded, NEW)
    assert list(loaded) == list(NEW)
    assert checkpoint.read_metadata(given(path)) == METADATA


def test_into_only_rename_and_shardings(path):
    like = {"m": jax.tree.map(jnp.zeros_like, NEW["a"]), "q": NEW["q"]}
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    loaded = checkpoint.load_safetensors(
        path, into=like, rename={"a": "m"}, only="m/*", shardings={"m": sharding}
    )
    assert same(loaded, {"m": NEW["a"], "q": NEW["q"]})
    assert loaded["m"]["w"].sharding == sharding


def test_only_the_files_that_are_needed_are_opened(path):
    index = json.loads(index_of(path).read_text())
    for shard in set(index["weight_map"].values()) - {index["weight_map"]["a.w"]}:
        path.with_name(shard).unlink()
    loaded = checkpoint.load_safetensors(path, into={"a": {"w": NEW["a"]["w"]}}, strict=False)
    assert same(loaded[0], {"a": {"w": NEW["a"]["w"]}})
    with pytest.raises(FileNotFoundError, match="which '.*index.json' names, does not exist"):
        checkpoint.load_safetensors(path)


def test_an_index_from_elsewhere(tmp_path):
    """As the libraries of Hugging Face write it: no checksums of ours, a number in the metadata."""
    flat = {"h.0.w": np.ones([2], np.float32), "h.1.w": np.zeros([3], np.float32)}
    for i, (name, x) in enumerate(flat.items()):
        safetensors.numpy.save_file(
            {name: x}, tmp_path / f"model-{i}.safetensors", {"format": "pt"}
        )
    where = {name: f"model-{i}.safetensors" for i, name in enumerate(flat)}
    for metadata in ({"metadata": {"total_size": 20}}, {}, {"metadata": None}):
        (tmp_path / "model.safetensors.index.json").write_text(
            json.dumps({**metadata, "weight_map": where})
        )
        assert same(checkpoint.load_safetensors(tmp_path), checkpoint.from_flat(flat))
        assert checkpoint.read_metadata(tmp_path) == {}


def test_a_foreign_index_and_its_files_stay(tmp_path):
    safetensors.numpy.save_file({"w": np.ones([2])}, tmp_path / "model-1.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "model-1.safetensors"}}))
    checkpoint.save_safetensors(tmp_path / "model.safetensors", NEW)
    assert sorted(os.listdir(tmp_path)) == ["model-1.safetensors", "model.safetensors", index.name]
    assert same(checkpoint.load_safetensors(tmp_path), NEW)
    checkpoint.save_safetensors(tmp_path / "model.safetensors", NEW, max_shard_size=64)
    assert (tmp_path / "model-1.safetensors").exists()
    assert same(checkpoint.load_safetensors(tmp_path), NEW)


@pytest.mark.parametrize("before", KINDS)
@pytest.mark.parametrize("after", KINDS)
def test_what_is_old_goes(tmp_path, before, after):
    path = tmp_path / "model.safetensors"
    checkpoint.save_safetensors(path, OLD, max_shard_size=KINDS[before])
    checkpoint.save_safetensors(path, NEW, max_shard_size=KINDS[after])
    assert same(checkpoint.load_safetensors(path), NEW)
    if after == "one file":
        assert os.listdir(tmp_path) == [path.name]
    else:
        where = json.loads(index_of(path).read_text())["weight_map"]
        assert set(os.listdir(tmp_path)) == {*where.values(), index_of(path).name}


@pytest.mark.parametrize("before", [*KINDS, "nothing"])
@pytest.mark.parametrize("after", KINDS)
def test_a_save_that_ends_at_any_step_leaves_the_old_tree_or_the_new_one(
    tmp_path, monkeypatch, before, after
):
    seen = []
    for last in range(1000):
        path = tmp_path / str(last) / "model.safetensors"
        path.parent.mkdir()
        if before != "nothing":
            checkpoint.save_safetensors(path, OLD, max_shard_size=KINDS[before])
        steps = iter(range(last))
        for owner, name in ((os, "replace"), (os, "fsync"), (os, "chmod"), (Path, "unlink")):

            def step(*args, real=getattr(owner, name), **options):
                if next(steps, None) is None:
                    raise KeyboardInterrupt
                return real(*args, **options)

            monkeypatch.setattr(owner, name, step)
        try:
            checkpoint.save_safetensors(path, NEW, max_shard_size=KINDS[after])
            break
        except KeyboardInterrupt:
            pass
        finally:
            monkeypatch.undo()
        try:
            loaded = checkpoint.load_safetensors(path)
        except FileNotFoundError:
            loaded = None
        seen.append("new" if same(loaded, NEW) else "old")
        assert seen[-1] == "new" or same(loaded, None if before == "nothing" else OLD)
        shutil.rmtree(path.parent)
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == "old"
    assert len(seen) > 3


def outcome(path):
    try:
        loaded = checkpoint.load_safetensors(path)
        metadata = checkpoint.read_metadata(path)
    except ps.errors.CheckpointFileError as error:
        assert str(path.parent) in str(error)
        return str(error)
    assert same(loaded, NEW)
    assert metadata == METADATA
    return None


def test_each_byte_of_the_index_flipped_and_each_length(path):
    index = index_of(path)
    data = index.read_bytes()
    for place in range(len(data)):
        for flip in (0xFF, 0x01):
            damaged = bytearray(data)
            damaged[place] ^= flip
            index.write_bytes(damaged)
            assert outcome(path) is not None or chr(data[place]).isspace()
    for length in range(len(data)):
        index.write_bytes(data[:length])
        assert outcome(path) is not None


def test_a_shard_of_another_save(path, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    changed = {**NEW, "a": {"w": NEW["a"]["w"] + 1, "empty": {}}}
    checkpoint.save_safetensors(other / path.name, changed, metadata=METADATA, max_shard_size=64)
    shard = json.loads(index_of(path).read_text())["weight_map"]["a.w"]
    shutil.copy(other / shard, path.with_name(shard))
    with pytest.raises(
        ps.errors.CheckpointFileError, match=f"'{shard}' is not the file that was saved"
    ):
        checkpoint.load_safetensors(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "It must be JSON"),
        ("{}", "It must be JSON"),
        ('{"weight_map": {"w": "../secret.safetensors"}}', "It must be JSON"),
        ('{"weight_map": {"w": 3}}', "It must be JSON"),
        ('{"weight_map": {"v": "a.safetensors"}}', "'v' is not in 'a.safetensors'"),
    ],
)
def test_an_index_that_makes_no_sense(tmp_path, content, message):
    checkpoint.save_safetensors(tmp_path / "a.safetensors", {"w": np.ones(2)})
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ps.errors.CheckpointFileError, match=message):
        checkpoint.load_safetensors(tmp_path)


SIZES = {10: 10, "5GB": 5 * 10**9, "1.5 MiB": 3 * 2**19, "500kb": 500_000, "1 gib": 2**30}


@pytest.mark.parametrize("size", SIZES)
def test_sizes(size):
    assert bytes_of(size) == SIZES[size]


@pytest.mark.parametrize("size", [0, -1, "5", "GB", "5TB", 1.5, True, ""])
def test_sizes_that_make_no_sense(tmp_path, size):
    with pytest.raises(ValueError, match="`max_shard_size` must be a number of bytes"):
        checkpoint.save_safetensors(tmp_path / "a.safetensors", NEW, max_shard_size=size)
    assert os.listdir(tmp_path) == []
