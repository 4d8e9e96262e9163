"""The measures measure: a small tree whose figures were counted by hand."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house import words
from tests.house.__main__ import main
from tests.house.limits import Limit
from tests.house.measure import House

ONE = '''
"""One file."""

import os
from purestate._core import two
from purestate._core.two import _hidden, shown  # noqa: F401 (for tools)

# A comment
# of two lines.
LIMIT = 3
"""What the limit is."""


class Box:
    def open(self, key: Any, times: int, *rest: Any, loud=False) -> Any:
        """Opens it.

        >>> Box().open(1)
        """
        text = """
        no docstring
        """  # but a comment

        def turn(key: "Any | None", /) -> None:
            for _ in range(times):
                if key and times or loud:
                    two._turn(key)

        return [turn(k) for k in rest if k] if loud else text
'''


@pytest.fixture
def house(tmp_path: Path) -> House:
    core = tmp_path / "purestate" / "_core"
    core.mkdir(parents=True)
    (tmp_path / "purestate" / "__init__.py").write_text("from purestate._core.one import Box\n")
    (core / "__init__.py").write_text("")
    (core / "one.py").write_text(ONE.lstrip())
    (core / "two.py").write_text(f"{'x' * 101} = 1\n{'y' * 96} = 2\n" + "\n" * 399)
    (tmp_path / "tests" / "core").mkdir(parents=True)
    (tmp_path / "tests" / "core" / "test_two.py").write_text("")
    return House(tmp_path)


def test_a_file(house: House):
    one = house.file("_core/one.py")
    assert (one.lines, one.code, one.comments) == (28, 14, 3)
    assert (one.arguments, one.any_arguments) == (3, 1)
    assert one.private == (
        "_core/one.py: purestate._core.two._hidden",
        "_core/one.py: purestate._core.two._turn",
    )
    assert [(f.where, f.code, f.branches) for f in one.functions] == [
        ("_core/one.py:Box.open", 9, 6),
        ("_core/one.py:Box.open.turn", 4, 4),
    ]


def test_a_tree(house: House):
    assert [file.path for file in house.room("facades")] == ["__init__.py"]
    assert [file.path for file in house.room("_core")] == [
        "_core/__init__.py",
        "_core/one.py",
        "_core/two.py",
    ]
    assert house.file("_core/two.py").long_lines == ("_core/two.py:1",)
    assert house.file("_core/two.py").lines == 401
    assert house.untested == ("_core/one.py",)
    assert house.spine == ()
    with pytest.raises(FileNotFoundError, match=r"three\.py: has it moved"):
        house.file("_core/three.py")


def test_the_spine_is_what_the_readme_lists(house: House):
    page = house.root / "purestate" / "_core" / "README.md"
    page.write_text("# Order\n\n1. `two.py`: the second\n2. [one.py](one.py)\n\nNot `three.py`.\n")
    assert [file.path for file in House(house.root).spine] == ["_core/two.py", "_core/one.py"]


def test_the_spine_of_a_tree_without_a_readme(house: House):
    core = house.root / "purestate" / "_core"
    for name in ("frame", "transform"):
        (core / f"{name}.py").write_text("")
    assert [file.path for file in House(house.root).spine] == [
        "_core/frame.py",
        "_core/transform.py",
    ]
    (core / "run.py").write_text("")
    assert [file.path for file in House(house.root).spine] == ["_core/frame.py", "_core/run.py"]


@pytest.mark.parametrize(
    ("figure", "most", "least"), [(2, True, False), (3, True, True), (4, False, True)]
)
def test_a_limit(figure, most, least):
    def measure(house):
        return figure, ()

    assert Limit("x", 3, measure).holds(figure) is most
    assert Limit("x", 3, measure, at_least=True).holds(figure) is least


PROSE = '''
"""Made anew. `jnp.where` is code, where this is not.

>>> anew = 1  # anew
"""

# It is
# told. Longer names are no
# longer told.
raise ValueError(f"{jnp.where(anew)} alone has to"
                 " be an array" + "alone")
'''


def test_words_of_python(tmp_path: Path):
    (tmp_path / "purestate").mkdir()
    (tmp_path / "purestate" / "a.py").write_text(PROSE)
    counts = {word: sum(words.count(word, tmp_path).values()) for word in words.WORDS}
    assert {word: n for word, n in counts.items() if n} == {
        "where": 1,
        "has to be": 1,
        "alone": 1,
        "anew": 1,
        "is told": 1,
    }


def test_words_of_a_page(tmp_path: Path):
    code = "```python\nx = anew\n```\n\n    make anew\n"
    (tmp_path / "README.md").write_text(
        f"# Anew\n\nIt is\nnone of that. `anew`\n\n{code}\nNo rooms.\n"
    )
    (tmp_path / "BUILD.md").write_text("Two rooms, alone.\n")
    counts = {word: words.count(word, tmp_path) for word in words.WORDS}
    assert {word: found for word, found in counts.items() if found} == {
        "anew": {"README.md": 1},
        "is none": {"README.md": 1},
        "room": {"README.md": 1},
        "alone": {"BUILD.md": 1},
    }


def test_the_tables(house: House, tmp_path_factory: pytest.TempPathFactory, capsys):
    before = tmp_path_factory.mktemp("before")
    (before / "purestate" / "_core").mkdir(parents=True)
    (before / "purestate" / "_core" / "one.py").write_text("# anew\nx = 1\n")
    main(["--beside", str(before), "--files"], house.root)
    text = capsys.readouterr().out
    assert re.search(r"^_core +1 → 3 +2 → 429 ", text, re.MULTILINE)
    assert re.search(r"^_core/two\.py +- → 1 +- → 401 ", text, re.MULTILINE)
    assert re.search(
        r"^lines of code of _lifted/vmap\.py +- +≤ \d+ +no such file$", text, re.MULTILINE
    )
    assert re.search(r"^files over 400 lines +0 → 1 +≤ \d+", text, re.MULTILINE)
    assert re.search(r"^anew +1 → 0 +≤ \d+$", text, re.MULTILINE)

    main(["--markdown"], house.root)
    assert (
        "| _core | 3 | 429 | 16 | 6 | 2 | 0 | 6 | 1 | 1 | 3 | 33 | 2 | 1 |"
        in capsys.readouterr().out
    )

    main(["--json", "--beside", str(before)], house.root)
    tables = json.loads(capsys.readouterr().out)
    assert tables["now"]["rooms"]["all"]["lines"] == 430
    assert tables["before"]["files"]["_core/one.py"]["comments"] == 500


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_beside_a_revision(house: House, capsys):
    def git(*options: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.com")
        subprocess.run(["git", *who, *options], cwd=house.root, check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    (house.root / "purestate" / "_core" / "one.py").write_text("x = 1\n")
    main(["--beside", "HEAD"], house.root)
    assert re.search(r"^_core +3 +429 → 402 ", capsys.readouterr().out, re.MULTILINE)
