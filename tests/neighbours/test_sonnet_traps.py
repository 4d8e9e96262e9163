"""Each trap of "Coming from Sonnet": the page has what was measured, and our facade has Sonnet's.

Without dm-sonnet and TensorFlow, what was recorded of Sonnet takes its place.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import purestate as ps
from purestate import sonnet as facade
from tests.neighbours.sonnet_trap_table import TRAPS
from tests.neighbours.sonnet_traps import (
    DOCS,
    KEY,
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


@pytest.mark.one_in(20)
@pytest.mark.parametrize("name", BY_NAME)
def test_facade_gives_what_sonnet_gave(name: str):
    trap = BY_NAME[name]
    check(trap, measure(trap, facade_lib()), "sonnet")


@pytest.mark.one_in(20)
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


@pytest.mark.slow
def test_the_page_runs_on_eight_devices():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(DOCS / "code_blocks.py"), str(PAGE)]
    done = subprocess.run(
        command,
        cwd=DOCS.parent,
        env={**os.environ, **flags, "PYTHONPATH": str(DOCS.parent)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "blocks run" in done.stdout


def count_calls(f: Callable[[], object]) -> int:
    """Returns how many functions of Python are called."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        f()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("what", ["init", "apply"])
def test_a_trace_costs_what_the_page_says(what: str):
    x, counts = jnp.ones([2, 8]), []
    for package in (ps, facade):
        pair = ps.transform_with_state(lambda x, package=package: package.nets.MLP([8] * 50)(x))
        variables = pair.init(KEY, x)
        traced = {
            "init": lambda pair=pair: jax.eval_shape(lambda: pair.init(KEY, x)),
            "apply": lambda pair=pair, v=variables: jax.eval_shape(lambda: pair.apply(*v, None, x)),
        }[what]
        traced()
        counts.append(count_calls(traced))
    assert f"| `{what}` |" in PAGE.read_text()
    assert 1.1 < counts[1] / counts[0] < 1.3
