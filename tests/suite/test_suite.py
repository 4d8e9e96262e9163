"""The fast tests touch everything; and the tools that choose them, keep them quick and small, and show how far they are."""

import ast
import importlib
import itertools
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import purestate
from tests.conftest import ALL_TESTS
from tests.docs.test_docs_code import NEEDS
from tests.haiku_parity import table_core, table_layers, table_recurrent
from tests.messages.cases import CASES
from tests.suite import compiling, memory
from tests.suite.covering import covering, variants
from tests.suite.progress import Progress, minutes

ROOT = Path(__file__).parents[2]
# Without those that pytest skips as a whole if a package is missing.
TEST_FILES = sorted(
    path for path in (ROOT / "tests").rglob("test_*.py") if path.parent.name != "neighbours"
)

# What is fast


@pytest.fixture
def fast(request):
    """The names of all fast tests, such as `tests/layers/test_linear.py::test_bias[True]`."""
    items = request.config.stash[ALL_TESTS]
    if not {item.path for item in items} >= set(TEST_FILES):
        pytest.skip("only part of the suite was collected")
    return {item.nodeid for item in items if item.get_closest_marker("slow") is None}


def test_products_of_tables_are_fast_in_part(fast, request):
    items = request.config.stash[ALL_TESTS]
    crossing = "tests/lifted/test_ensembles.py::test_initial_values["
    cases = [item.nodeid for item in items if item.nodeid.startswith(crossing)]
    assert 6 <= len(fast & set(cases)) <= len(cases) / 8


def test_one_in_three(fast, request):
    items = [item.nodeid for item in request.config.stash[ALL_TESTS]]
    docstrings = "tests/docs/test_docstrings.py::test_docstrings_of_module["
    cases, quick = (
        [name for name in names if name.startswith(docstrings)] for names in (items, fast)
    )
    assert len(quick) == -(-len(cases) // 3) > 20


def path_of(name):
    return ROOT / name.partition("::")[0]


def test_every_file_of_tests(fast):
    assert sorted(set(TEST_FILES) - set(map(path_of, fast))) == []


def test_every_room_has_a_folder_of_tests():
    rooms = {path.name for path in (ROOT / "purestate").glob("_*/")} - {"__pycache__"}
    assert {f"_{path.parent.name}" for path in TEST_FILES} >= rooms - {"_testing"}


def test_every_page(fast):
    docs = ROOT / "docs"
    pages = {str(path.relative_to(docs)) for path in docs.rglob("*.md")} - {"README.md", *NEEDS}
    shown = "tests/docs/test_docs_code.py::test_code_of_page"
    assert {f"{shown}[{page}]" for page in pages if not page.startswith("_build")} <= fast


def test_every_message(fast):
    shown = "tests/messages/test_messages.py::test_it_says_what_the_snapshot_says"
    assert {f"{shown}[{name}]" for name in CASES} <= fast


LAYERS = [row.name for row in table_layers.ROWS + table_recurrent.ROWS]


@pytest.mark.parametrize(
    ("test", "names"),
    [
        ("test_layers.py::test_names_dtypes_and_equations", LAYERS),
        ("test_layers.py::test_bits", [name for name in LAYERS if name not in variants(LAYERS)]),
        ("test_core.py::test_same_as_haiku", list(table_core.ROWS)),
    ],
    ids=["layers", "bits of layers", "core"],
)
def test_every_program_of_the_parity_tables(fast, test, names):
    cases = [name for name in fast if name.startswith(f"tests/haiku_parity/{test}[")]
    assert [name for name in names if not any(f"[{name}-" in case for case in cases)] == []


def words_of(tree):
    """The identifiers in a program, also in strings, as names of functions stand in many tables."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg=str(word)):
                yield word
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.alias(name=word):
                yield word
            case ast.Constant(value=str(text)):
                yield from re.findall(r"\w+", text)


def test_every_public_name(fast):
    functions = {name.partition("[")[0] for name in fast}
    # The snapshot has the class of each error above its message. Fast tests raise them all.
    snapshot = (ROOT / "tests/messages/snapshot.txt").read_text()
    used = set(re.findall(r"^  (\w+)$", snapshot, re.MULTILINE))
    for path in (ROOT / "tests").rglob("*.py"):
        program = ast.parse(path.read_text())
        file = path.relative_to(ROOT).as_posix()
        for node in program.body:
            name = getattr(node, "name", "")
            if not name.startswith("test_") or f"{file}::{name}" in functions:
                used.update(words_of(node))
    modules = [
        purestate,
        *(
            importlib.import_module(f"purestate.{module.name}")
            for module in pkgutil.iter_modules(purestate.__path__)
            if not module.name.startswith("_")
        ),
    ]
    public = {name for module in modules for name in module.__all__}
    assert len(public) > 300
    assert sorted(public - used) == []


# How cases are chosen


@pytest.mark.parametrize("sizes", [(5,), (3, 2), (2, 7, 3), (4, 4, 4, 2)])
def test_each_entry_of_each_table_once_and_no_more_than_needed(sizes):
    cases = [
        dict(zip("abcd", entries, strict=False))
        for entries in itertools.product(*map(range, sizes))
    ]
    chosen = [cases[place] for place in covering(cases)]
    for table, size in zip("abcd", sizes, strict=False):
        assert {case[table] for case in chosen} == set(range(size))
    assert len(chosen) == max(sizes)


def test_entries_of_a_long_table_meet_all_of_the_short_ones():
    cases = [
        dict(zip("abc", entries, strict=False))
        for entries in itertools.product(range(8), "xy", "xy")
    ]
    chosen = [cases[place] for place in covering(cases)]
    assert {(case["b"], case["c"]) for case in chosen} == set(itertools.product("xy", "xy"))


def test_cases_without_a_product_all_stay():
    assert covering([{"name": 0, "out": 0}, {"name": 1, "out": 1}, {"name": 2, "out": 2}]) == [
        0,
        1,
        2,
    ]
    assert covering([]) == []


def test_variants():
    names = ["linear", "linear_no_bias", "linearity", "gru_wide", "gru", "conv_first", "conv_mask"]
    assert variants(names) == {"linear_no_bias", "gru_wide"}


# How large a process may grow


def test_what_was_compiled_is_dropped_where_a_process_is_too_large():
    traced = []
    f = jax.jit(lambda x: traced.append(x) or x + 1)
    for limit, times in [(1e15, 1), (1e15, 1), (0, 1), (1e15, 2)]:
        f(jnp.ones(3))
        assert len(traced) == times
        assert memory.keep_small(limit) == (limit == 0)


@pytest.mark.skipif(not memory.STATISTICS.exists(), reason="this system has no /proc")
def test_what_is_in_memory_is_measured():
    before = memory.bytes_in_memory()
    held = b"x" * 200_000_000
    assert 150e6 < memory.bytes_in_memory() - before < 250e6
    del held


# What is shown


def test_a_line_for_each_twentieth():
    now = iter(range(0, 10_000, 2))
    progress = Progress(200, clock=lambda: next(now))
    lines = [line for _ in range(200) if (line := progress.finish_test())]
    assert len(lines) == 20
    assert lines[0] == "  5%  0:02 so far, about 0:38 to go"
    assert lines[9] == " 50%  0:20 so far, about 0:20 to go"
    assert lines[-1] == "100%  0:40 so far"


def test_failures_are_counted():
    progress = Progress(2, clock=lambda: 0)
    assert progress.finish_test() == " 50%  0:00 so far, about 0:00 to go"
    progress.failed = 1
    assert progress.finish_test() == "100%  0:00 so far, 1 failed"


def test_minutes():
    assert [minutes(0.4), minutes(59.6), minutes(605)] == ["0:00", "1:00", "10:05"]


# What was compiled is kept


def test_what_one_process_has_compiled_is_there_for_the_next(tmp_path):
    program = (
        "from pathlib import Path; from tests.suite import compiling; import jax;"
        f" compiling.FOLDER = Path({str(tmp_path)!r}); compiling.share_compiled();"
        " jax.jit(lambda x: x * 3 + 1)(2.0)"
    )
    environment = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    run = [sys.executable, "-c", program]
    subprocess.run(run, cwd=ROOT, env=environment, check=True)
    assert list(tmp_path.glob(f"{compiling.processor()}/jit__lambda*"))


def test_whoever_runs_the_tests_may_say_where(monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    monkeypatch.setattr(compiling, "FOLDER", Path("here"))
    compiling.share_compiled()
    assert jax.config.jax_compilation_cache_dir == before
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "elsewhere"
