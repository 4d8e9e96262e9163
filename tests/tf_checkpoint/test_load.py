"""`load` against what TensorFlow had in memory when it wrote the files."""

from itertools import product
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import purestate.sonnet.checkpoint as checkpoint
from purestate._checkpoint.errors import CheckpointFileError, CheckpointNotFoundError
from tests.tf_checkpoint.fixtures import MODELS, attributes, copy, prefix


@pytest.mark.parametrize("name", MODELS)
def test_arrays_are_those_of_tensorflow(name: str):
    loaded, expected = checkpoint.load(prefix(name)), attributes(name)
    assert set(loaded) == set(expected)
    for path, x in expected.items():
        if loaded[path].dtype == ml_dtypes.bfloat16:  # which .npz does not have
            assert x.dtype == np.float32
        else:
            assert loaded[path].dtype == x.dtype
        np.testing.assert_array_equal(loaded[path].astype(x.dtype), x, err_msg=path)


def test_bfloat16():
    loaded = checkpoint.load(prefix("dtypes"))
    assert loaded["model/half"].dtype == ml_dtypes.bfloat16
    assert (
        loaded["model/half"].tobytes()
        == (attributes("dtypes")["model/half"].view(np.uint32) >> 16).astype("<u2").tobytes()
    )


def test_texts_only_if_asked():
    assert "words" not in checkpoint.load(prefix("dtypes"))
    assert "words" in checkpoint.load(prefix("dtypes"), strings=True)


def test_parts_make_a_whole():
    loaded = checkpoint.load(prefix("parts"))
    np.testing.assert_array_equal(loaded["x"], np.arange(12.0).reshape(4, 3))
    np.testing.assert_array_equal(loaded["y"], [0, 1, 2])


def test_arrays_can_be_written():
    loaded = checkpoint.load(prefix("sequential"))["model/_layers/0/w"]
    loaded += 1  # and is no view of the file


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return list(one) == list(other) and all(
        one[k].dtype == other[k].dtype
        and one[k].shape == other[k].shape
        and one[k].tolist() == other[k].tolist()
        for k in one
    )


@pytest.mark.parametrize(
    "name, flips",
    [
        ("parts", (0x01,)),
        pytest.param("plain", (0x01, 0x10, 0x80, 0xFF), marks=pytest.mark.slow),
        pytest.param("parts", (0x80, 0xFF), marks=pytest.mark.slow),
        pytest.param("folder/ckpt-1", (0x01, 0xFF), marks=pytest.mark.slow),
    ],
)
def test_every_flipped_byte_is_an_error_or_changes_nothing(
    name: str, flips: tuple[int, ...], tmp_path: Path
):
    damaged = copy(name, tmp_path) if "/" not in name else _copy_nested(name, tmp_path)
    whole = checkpoint.load(damaged, strings=True)
    harmless = total = 0
    for path in sorted(tmp_path.glob("*.*")):
        data = path.read_bytes()
        for at, flip in product(range(len(data)), flips):
            write_at(path, at, data[at] ^ flip)
            total += 1
            try:
                assert same(checkpoint.load(damaged, strings=True), whole), (path.name, at)
                harmless += 1
            except CheckpointFileError:
                pass
            write_at(path, at, data[at])
    assert total > 250
    assert harmless < 0.2 * total  # the padding of the footer


def write_at(path: Path, at: int, byte: int) -> None:
    """Writes one byte: much faster than the whole file."""
    with path.open("r+b", buffering=0) as file:
        file.seek(at)
        file.write(bytes([byte]))


def _copy_nested(name: str, folder: Path) -> str:
    for path in Path(prefix(name)).parent.glob(Path(name).name + ".*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return str(folder / Path(name).name)


def test_shorter_files_are_errors(tmp_path: Path):
    damaged = copy("plain", tmp_path)
    for path in sorted(tmp_path.glob("*.*")):
        data = path.read_bytes()
        for size in range(0, len(data), 7):
            path.write_bytes(data[:size])
            with pytest.raises(CheckpointFileError):
                checkpoint.load(damaged, strings=True)
        path.write_bytes(data)


def test_each_missing_file_is_an_error(tmp_path: Path):
    damaged = copy("shards", tmp_path)
    files = sorted(tmp_path.glob("*.*"))
    assert len(files) == 7
    for path in files:
        data = path.read_bytes()
        path.unlink()
        with pytest.raises(CheckpointNotFoundError, match=path.name):
            checkpoint.load(damaged, strings=True)
        path.write_bytes(data)
    checkpoint.load(damaged)


def test_exchanged_shards_are_an_error(tmp_path: Path):
    damaged = copy("shards", tmp_path)
    first, second = sorted(tmp_path.glob("*.data*"))[:2]
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    with pytest.raises(CheckpointFileError):
        checkpoint.load(damaged, strings=True)
