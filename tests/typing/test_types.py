"""Type checkers find in the programs what the programs say, and nothing else."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import purestate as ps
from tests.typing.golden import (
    CHECKERS,
    Expected,
    Line,
    Report,
    copy_programs,
    differences,
    expectations,
    files,
    normalized,
    run_mypy,
    run_pyright,
)

Reports = dict[Line, Report]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All programs, and the code of the page on types."""
    return copy_programs(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="session")
def reports(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reports]:
    """What each checker says of all programs, from one run of each."""
    cache = tmp_path_factory.mktemp("mypy")
    return {"pyright": run_pyright(programs), "mypy": run_mypy(cache, programs)}


@pytest.mark.slow
def test_checkers_find_what_programs_say(programs: Path, reports: dict[str, Reports]):
    found: list[str] = []
    for checker in CHECKERS:
        expected: dict[Line, Expected] = {}
        for path in files(programs):
            expected |= expectations(path, checker)
        found += [f"{checker}: {text}" for text in differences(expected, reports[checker])]
    assert not found, "\n".join(found)


def test_programs_call_every_function_that_takes_a_function():
    code = "\n".join(path.read_text() for path in files())
    missing = [
        name
        for name in ps.__all__
        if inspect.isfunction(f := getattr(ps, name)) and _takes_a_function(f)
        if not re.search(rf"\bps\.{name}\b", code)
    ]
    assert not missing, f"No program in tests/typing/programs/ calls {', '.join(missing)}."


def _takes_a_function(f: Callable[..., Any]) -> bool:
    parameters = inspect.signature(f).parameters
    return "Callable" in str([p.annotation for p in parameters.values()]) or "f" in parameters


# The comparison itself


def _compared(tmp_path: Path, text: str, reported: dict[int, Report], checker: str = "mypy"):
    path = tmp_path / "a.py"
    path.write_text(text)
    lines = {Line("a.py", number): report for number, report in reported.items()}
    return differences(expectations(path, checker), lines)


def test_what_is_expected_is_no_difference(tmp_path: Path):
    text = "reveal_type(a)  # int\nf()  # error: few\nb = 1  # a comment\n"
    reported = {1: Report(["int"], []), 2: Report([], ["Too few arguments"])}
    assert _compared(tmp_path, text, reported) == []


@pytest.mark.parametrize(
    ("text", "reported", "difference"),
    [
        ("reveal_type(a)\n", Report(["int"], []), "no expectation"),
        ("reveal_type(a)  # str\n", Report(["int"], []), "expected the type str, but got int"),
        ("reveal_type(a)  # int\n", Report([], []), "expected the type int, but got nothing"),
        ("f()\n", Report([], ["Too few arguments"]), "unexpected error: Too few"),
        ("f()  # error: many\n", Report([], ["Too few arguments"]), "unexpected error: Too few"),
        ("f()  # error: many\n", Report([], []), "expected an error with 'many'"),
        ("reveal_type(f())  # int\n", Report(["int"], ["Too few"]), "unexpected error"),
    ],
)
def test_difference_is_found(tmp_path: Path, text: str, reported: Report, difference: str):
    assert any(difference in found for found in _compared(tmp_path, text, {1: reported}))


def test_checkers_may_differ(tmp_path: Path):
    text = "f()\n# in pyright: error: x\n# in mypy: nothing\nreveal_type(a)\n# in both: int\n"
    revealed = {4: Report(["int"], [])}
    assert _compared(tmp_path, text, revealed, "mypy") == []
    assert len(_compared(tmp_path, text, revealed, "pyright")) == 1


@pytest.mark.parametrize(
    ("revealed", "expected"),
    [
        ("builtins.int", "int"),
        ("def (x: jax.Array, train: builtins.bool =)", "(x: Array, train: bool =) -> None"),
        ("(x: Array, train: bool = True) -> Array", "(x: Array, train: bool =) -> Array"),
        ("a.Model[[x: a.Array], list[int]]", "Model[(x: Array), list[int]]"),
        ("tuple[a.Array, tuple[int, int, fallback=b.S]]", "tuple[Array, S]"),
        ("tuple[tuple[int, fallback=S], tuple[int]]", "tuple[S, tuple[int]]"),
        ("def (*Any, **Any) -> def (x: int) -> str", "(...) -> (x: int) -> str"),
        ("Init[(x: Unknown)]", "Init[(x: Any)]"),
    ],
)
def test_normalized(revealed: str, expected: str):
    assert normalized(revealed) == expected
