"""Which checkpoint a path means."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import purestate.sonnet.checkpoint as checkpoint
from purestate._checkpoint.errors import (
    CheckpointError,
    CheckpointFileError,
    CheckpointNotFoundError,
)
from purestate._tf_checkpoint.paths import find_prefix
from tests.tf_checkpoint.fixtures import FOLDER


def test_latest_of_a_folder():
    latest = str(FOLDER / "folder" / "ckpt-2")
    assert find_prefix(FOLDER / "folder") == latest
    assert find_prefix(FOLDER / "folder" / "checkpoint") == latest
    assert find_prefix(latest) == latest
    assert find_prefix(latest + ".index") == latest
    assert find_prefix(latest + ".data-00000-of-00001") == latest
    assert checkpoint.load(FOLDER / "folder")["save_counter"] == 2


def test_moved_folder(tmp_path: Path):
    """The state file may have a path that was right elsewhere."""
    shutil.copytree(FOLDER / "folder", tmp_path / "moved")
    (tmp_path / "moved" / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/ckpt-1"\n')
    assert find_prefix(tmp_path / "moved") == str(tmp_path / "moved" / "ckpt-1")


def test_folder_with_one_checkpoint(tmp_path: Path):
    for path in FOLDER.glob("plain.*"):
        shutil.copy(path, tmp_path)
    assert find_prefix(tmp_path) == str(tmp_path / "plain")


def test_quoted_names(tmp_path: Path):
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "a\\"b\\303\\244"\n')
    with pytest.raises(CheckpointNotFoundError, match='a"b'):
        find_prefix(tmp_path)


def test_nothing_there(tmp_path: Path):
    with pytest.raises(CheckpointNotFoundError, match=r"There are 'before_a_step', 'dtypes'"):
        find_prefix(FOLDER / "other")
    with pytest.raises(CheckpointNotFoundError, match="has no checkpoint"):
        find_prefix(tmp_path)
    with pytest.raises(CheckpointNotFoundError, match="names the latest one"):
        find_prefix(FOLDER)
    (tmp_path / "checkpoint").write_text("")
    with pytest.raises(CheckpointFileError, match="does not say"):
        find_prefix(tmp_path)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "ckpt-9"\n')
    with pytest.raises(CheckpointNotFoundError, match="ckpt-9"):
        find_prefix(tmp_path)


@pytest.mark.parametrize("path", [None, 3, ["a"]])
def test_no_path(path: Any):
    with pytest.raises(CheckpointError, match="must be a path"):
        checkpoint.load(path)
