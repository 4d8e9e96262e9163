"""Each trap of "Coming from Sonnet": the page has what was measured, and our facade has Sonnet's.

Without dm-sonnet and TensorFlow, what was recorded of Sonnet takes its place.
"""

import importlib.util
import json
import os
import re
import warnings
from typing import Any

import pytest

from tests.neighbours.sonnet_trap_table import TRAPS
from tests.neighbours.sonnet_traps import (
    NUMBERS,
    PAGE,
    Lib,
    Trap,
    facade_lib,
    is_same,
    measure,
    sonnet_lib,
    with_tables,
)

RECORDED = json.loads(NUMBERS.read_text())
BY_NAME = {f"{trap.table}: {trap.what}": trap for trap in TRAPS}
HAS_SONNET = all(importlib.util.find_spec(name) for name in ("sonnet", "tensorflow"))
needs_sonnet = pytest.mark.skipif(not HAS_SONNET, reason="dm-sonnet or TensorFlow is missing")


@pytest.fixture(scope="module")
def sonnet() -> Lib:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TensorFlow's own imports
        return sonnet_lib()


def check(trap: Trap, measured: Any, column: str) -> None:
    recorded = RECORDED[trap.key][column]
    assert is_same(measured, recorded, trap), f"{measured} is not {recorded}"


def test_the_rows_are_those_that_were_recorded():
    assert [trap.key for trap in TRAPS] == list(RECORDED)
    assert len(TRAPS) > 90


def test_the_page_has_the_tables():
    page = PAGE.read_text()
    assert with_tables(page, RECORDED, TRAPS) == page


def test_most_rows_are_traps():
    """A row where both agree is said to be one."""
    alike = [
        trap.key
        for trap in TRAPS
        if is_same(RECORDED[trap.key]["sonnet"], RECORDED[trap.key]["ordinary"], trap)
    ]
    in_table_of_the_same = [trap.key for trap in TRAPS if trap.table == "The same numbers"]
    assert set(in_table_of_the_same) <= set(alike)
    assert len(alike) < len(TRAPS) / 2


@pytest.mark.parametrize("name", BY_NAME)
def test_facade_gives_what_sonnet_gave(name: str):
    trap = BY_NAME[name]
    check(trap, measure(trap, facade_lib()), "sonnet")


@pytest.mark.parametrize("name", BY_NAME)
def test_ordinary_layers_give_what_the_page_says(name: str):
    trap = BY_NAME[name]
    check(trap, measure(trap, None), "ordinary")


@needs_sonnet
@pytest.mark.parametrize("name", BY_NAME)
def test_sonnet_gives_what_the_page_says(name: str, sonnet: Lib):
    trap = BY_NAME[name]
    check(trap, measure(trap, sonnet), "sonnet")


@needs_sonnet
def test_the_program_for_sonnet_runs(sonnet: Lib, capsys: pytest.CaptureFixture[str]):
    """The first program of the page, which our pages do not run."""
    block = re.search(r":name: sonnet_program\n\n(.*?)\n```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    exec(block[1], {"__name__": "program"})
    assert capsys.readouterr().out == "True 200\n"
