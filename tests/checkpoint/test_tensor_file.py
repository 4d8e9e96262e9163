"""A damaged file is an error with a clear message, or it loads to equal arrays."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate import checkpoint
from tests.checkpoint.helpers import same

TREE = {
    "mlp/~/linear_0": {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.int32(3)},
    "q": {"int4": jnp.arange(-3, 4, dtype=jnp.int4), "key": jax.random.key(3), "empty": {}},
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save_safetensors(path, TREE, metadata={"step": "7"})
    return path


def outcome(path):
    """The message of the error, or None if the same arrays and texts are loaded."""
    try:
        loaded = checkpoint.load_safetensors(path)
        metadata = checkpoint.read_metadata(path)
    except ps.errors.CheckpointFileError as error:
        assert str(path) in str(error)
        return str(error)
    assert same(loaded, TREE)
    assert metadata == {"step": "7"}
    return None


def damage_each_byte(path, flips):
    data = path.read_bytes()
    found = []
    for place in range(len(data)):
        for flip in flips:
            damaged = bytearray(data)
            damaged[place] ^= flip
            path.write_bytes(damaged)
            found.append((place, outcome(path)))
    return data, found


def test_each_byte_flipped(path):
    data, found = damage_each_byte(path, [0xFF])
    harmless = [place for place, message in found if message is None]
    assert harmless == []
    start = 8 + int.from_bytes(data[:8], "little")
    assert all("The bytes of '" in message for place, message in found if place >= start)


@pytest.mark.slow
def test_each_bit_flipped(path):
    data, found = damage_each_byte(path, [1 << bit for bit in range(8)])
    # The header ends with blanks, which may become other blanks.
    assert {data[place] for place, message in found if message is None} <= {ord(" ")}


def test_each_length(path):
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert outcome(path) is not None, length
    for more in (b"\0", b" ", data):
        path.write_bytes(data + more)
        assert outcome(path) is not None


def test_the_tensor_is_named(path):
    data = bytearray(path.read_bytes())
    place = bytes(data).index(np.float32([0, 3]).tobytes())
    data[place + 4] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ps.errors.CheckpointFileError, match=r"The bytes of 'mlp/~/linear_0\.w' have changed"
    ):
        checkpoint.load_safetensors(path)
    assert checkpoint.read_metadata(path) == {"step": "7"}


def test_swapped_arrays_are_found(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save_safetensors(path, {"aaaa": np.float32([1, 2]), "bbbb": np.float32([3, 4])})
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    path.write_bytes(data[:start] + data[start + 8 :] + data[start : start + 8])
    with pytest.raises(ps.errors.CheckpointFileError, match="The bytes of 'aaaa'"):
        checkpoint.load_safetensors(path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x04}.", b"\0" * 100, b"\xff" * 100])
def test_files_of_another_kind(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ps.errors.CheckpointFileError, match="is damaged"):
        checkpoint.load_safetensors(path)


def test_errors_are_those_that_users_catch(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        checkpoint.load_safetensors(tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors' does not exist"):
        checkpoint.load_safetensors(tmp_path)
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(OSError, match="cannot be read"):
        checkpoint.load_safetensors(tmp_path)
    with pytest.raises(ValueError, match="`path` must be a path"):
        checkpoint.load_safetensors(3)  # pyright: ignore


def test_a_newer_version(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    monkeypatch.setattr("purestate._checkpoint.tensor_file._VERSION", 2)
    checkpoint.save_safetensors(path, {"w": np.ones(2)})
    monkeypatch.undo()
    with pytest.raises(ps.errors.CheckpointFileError, match="written by a newer version"):
        checkpoint.load_safetensors(path)


def test_loaded_arrays_do_not_change_with_the_file(path):
    loaded = checkpoint.load_safetensors(path)
    with open(path, "r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    assert same(loaded, TREE)
    shutil.copy(__file__, path)
    assert same(loaded, TREE)
