"""The command line: what it writes, prints and exits with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from purestate.port import main

CLEAN = "import haiku as hk\n\nf = hk.transform(lambda x: hk.Linear(2)(x))\n"
LEFT = "import sonnet as snt\nimport tensorflow as tf\n\n\nx = tf.abs(-1.0)\ntf.print(x)\n"
NEUTRAL = "print('nothing of ours')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub" / ".hidden").mkdir(parents=True)
    (tmp_path / "clean.py").write_text(CLEAN)
    (tmp_path / "sub" / "left.py").write_text(LEFT)
    (tmp_path / "neutral.py").write_text(NEUTRAL)
    (tmp_path / "data.csv").write_text("haiku\n")
    (tmp_path / "sub" / ".hidden" / "other.py").write_text(CLEAN)
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "source": CLEAN}
    (tmp_path / "book.ipynb").write_text(json.dumps({"cells": [cell], "nbformat": 4}))
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_dry_run_prints_a_diff_and_touches_nothing(folder, capsys):
    before = contents(folder)
    assert main([str(folder)]) == 1
    shown = capsys.readouterr()
    assert "-import haiku as hk\n+import purestate as hk\n" in shown.out
    assert f"{folder}/sub/left.py:6: `tf.print(x)` is left: it prints" in shown.err
    assert shown.err.endswith("4 files read, 3 changed: 4 uses rewritten, 1 left.\n")
    assert contents(folder) == before


def test_nothing_left(folder, capsys):
    assert main([str(folder / "clean.py")]) == 0
    assert capsys.readouterr().err == "1 file read, 1 changed: 1 use rewritten, 0 left.\n"


def test_write(folder, capsys):
    assert main([str(folder), "--write"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    # The line is that of the new file.
    text = (folder / "sub" / "left.py").read_text()
    line = text.splitlines().index("tf.print(x)") + 1
    assert f"left.py:{line}: `tf.print(x)`" in shown.err
    assert "import purestate as hk" in (folder / "clean.py").read_text()
    assert "import purestate as hk" in (folder / "book.ipynb").read_text()
    after = contents(folder)
    assert after["sub/.hidden/other.py"] == CLEAN
    assert after["neutral.py"] == NEUTRAL
    assert main([str(folder), "--write"]) == 1
    assert contents(folder) == after


def test_write_and_diff(folder, capsys):
    assert main([str(folder / "clean.py"), "--write", "--diff"]) == 0
    assert "+import purestate as hk" in capsys.readouterr().out


def test_output_of_a_folder(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("target")
    before = contents(folder)
    assert main([str(folder), "-o", str(target)]) == 1
    assert contents(folder) == before
    assert sorted(contents(target)) == ["book.ipynb", "clean.py", "neutral.py", "sub/left.py"]


def test_output_of_a_file(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("target")
    assert main([str(folder / "clean.py"), "-o", str(target)]) == 0
    assert main([str(folder / "clean.py"), "-o", str(target / "new.py")]) == 0
    assert (target / "clean.py").read_text() == (target / "new.py").read_text() != CLEAN


def test_from(folder, capsys):
    assert main([str(folder / "clean.py"), "--from", "sonnet"]) == 0
    assert capsys.readouterr().err.startswith("1 file read, 0 changed")


def test_broken_programs_are_left(tmp_path, capsys):
    (tmp_path / "broken.py").write_text("import haiku as hk\ndef f(:\n")
    assert main([str(tmp_path / "broken.py"), "--write"]) == 1
    assert "broken.py:2: it is not Python" in capsys.readouterr().err
    assert "haiku" in (tmp_path / "broken.py").read_text()


def test_line_ends_stay(tmp_path):
    (tmp_path / "dos.py").write_bytes(CLEAN.replace("\n", "\r\n").encode())
    assert main([str(tmp_path / "dos.py"), "--write"]) == 0
    assert (tmp_path / "dos.py").read_bytes().count(b"\r\n") == CLEAN.count("\n")


def test_a_source_that_does_not_exist(tmp_path, capsys):
    assert main([str(tmp_path / "no.py")]) == 2
    assert "no.py does not exist" in capsys.readouterr().err


def test_as_a_program(folder):
    words = [sys.executable, "-m", "purestate.port", str(folder / "clean.py")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "+import purestate as hk" in done.stdout
