"""A save that fails, or that is killed, leaves the old file as it was."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.numpy

import purestate as ps
from purestate import checkpoint

OLD = {"w": np.zeros(1000)}


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    checkpoint.save_safetensors(path, OLD)
    before = path.read_bytes()
    for function in ("os.fsync", "os.replace"):

        def fail(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(function, fail)
        with pytest.raises(
            OSError, match="cannot be written: No space left on device. The file is as it was"
        ):
            checkpoint.save_safetensors(path, {"w": np.ones(1000)})
        monkeypatch.undo()
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["a.safetensors"]


def test_an_error_of_safetensors_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    checkpoint.save_safetensors(path, OLD)
    before = path.read_bytes()

    def fail(flat, filename, metadata):
        filename.write_bytes(b"half")
        raise safetensors.SafetensorError("I/O error")

    monkeypatch.setattr(safetensors.numpy, "save_file", fail)
    with pytest.raises(ps.errors.CheckpointFileError, match="I/O error"):
        checkpoint.save_safetensors(path, {"w": np.ones(1000)})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_the_data_are_on_the_disk_before_the_file_is_in_its_place(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    calls = []

    def noting(name, function, shown):
        def call(*args):
            calls.append((name, shown(*args)))
            return function(*args)

        monkeypatch.setattr(os, name, call)

    noting(
        "fsync",
        os.fsync,
        lambda file: "folder" if os.path.isdir(f"/proc/self/fd/{file}") else "file",
    )
    noting("replace", os.replace, lambda old, new: os.fspath(new))
    checkpoint.save_safetensors(path, OLD)
    assert calls == [("fsync", "file"), ("replace", str(path)), ("fsync", "folder")]


def test_the_folder_has_to_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="its folder does not exist. Make it: os.makedirs"):
        checkpoint.save_safetensors(tmp_path / "new" / "a.safetensors", OLD)


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="cannot be written: Is a directory"):
        checkpoint.save_safetensors(tmp_path / "a", OLD)
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "a.safetensors")
    checkpoint.save_safetensors(tmp_path / "link", OLD)
    assert (tmp_path / "link").is_symlink()
    assert checkpoint.load_safetensors(tmp_path / "a.safetensors")["w"].shape == (1000,)


def test_the_file_has_the_usual_permissions(tmp_path):
    checkpoint.save_safetensors(tmp_path / "a.safetensors", OLD)
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "b").stat().st_mode
    (tmp_path / "a.safetensors").chmod(0o640)
    checkpoint.save_safetensors(tmp_path / "a.safetensors", OLD)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o640


WRITER = """
import sys, numpy as np
from purestate import checkpoint
n = 0
while True:
    checkpoint.save_safetensors(sys.argv[1], {"n": np.int64(n), "w": np.full(1_000_000, n, np.int32)})
    print(n, flush=True)
    n += 1
"""


def killed_while_saving(path, seconds):
    """Kills a process that saves all the time; returns the number of the last save that it said was done."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(seconds)
    writer.send_signal(signal.SIGKILL)
    done = [int(line) for line in writer.stdout.read().split("\n")[:-1]]
    writer.wait()
    writer.stdout.close()
    return max(done, default=0)


def check_kills(path, times):
    for seconds in times:
        done = killed_while_saving(path, seconds)
        loaded = checkpoint.load_safetensors(path)
        assert int(loaded["n"]) in (done, done + 1)
        assert (loaded["w"] == int(loaded["n"])).all()


def test_kill_while_saving(tmp_path):
    check_kills(tmp_path / "a.safetensors", [0.05, 0.013])


@pytest.mark.slow
def test_many_kills_while_saving(tmp_path):
    check_kills(tmp_path / "a.safetensors", np.linspace(0, 0.1, 25))
