"""How the suite runs. `make test` runs the fast tests, and `make test-all` also those marked `slow`.

A test that crosses several tables (transforms, effects, layers, modes) is fast in as many cases as show
each entry of each table once; of a table of layers, one row of each layer. The rest of the product is
marked `slow` below. `@pytest.mark.whole` keeps every case of a test fast, and `@pytest.mark.one_in(3)`
every third of those that are left: for a long table whose entries other fast tests show too. What is slow
for another reason has the mark where it is defined. With `@pytest.mark.one_slow_in(3)` every third of the
slow cases is left in `make test-slow`; the others are marked `rare`, and run in `make test-all` only.
"""

import gc
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from tests.suite import memory
from tests.suite.compiling import optimize_little, share_compiled
from tests.suite.covering import covering
from tests.suite.progress import ShowProgress

ALL_TESTS = pytest.StashKey[list[pytest.Item]]()
"""All that were collected, before `-m` chose some."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--optimize`."""
    parser.addoption(
        "--optimize", action="store_true", help="compile as programs of users are, in parallel too"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Lets a parallel run compile with little optimization, and only once; shows how far it is."""
    share_compiled()
    is_parallel = getattr(config.option, "dist", "no") != "no"
    if is_parallel and not hasattr(config, "workerinput"):
        config.pluginmanager.register(ShowProgress(config))
        if not config.getoption("optimize"):
            optimize_little()


def rows_of(case: Any) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Returns, for each table that a test crosses, the arguments that it gives and the row of this case.

    pytest once numbered the rows of each table. Now it numbers the cases, so objects stand for rows.
    """
    tables = [marker.args[0] for marker in case.iter_markers("parametrize")]
    names = [re.split(r"\s*,\s*", t) if isinstance(t, str) else list(t) for t in tables]
    given = {name: id(value) for name, value in case.callspec.params.items()}
    by_fixtures = [[name] for name in given if not any(name in table for table in names)]
    return {tuple(table): tuple(given[name] for name in table) for table in names + by_fixtures}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks most of each product of tables as slow."""
    config.stash[ALL_TESTS] = list(items)
    functions: defaultdict[str, list[Any]] = defaultdict(list)
    for item in items:
        if hasattr(item, "callspec") and not any(map(item.get_closest_marker, ("slow", "whole"))):
            functions[item.nodeid.partition("[")[0]].append(item)
    for cases in functions.values():
        step = marker.args[0] if (marker := cases[0].get_closest_marker("one_in")) else 1
        enough = covering([rows_of(case) for case in cases])[::step]
        for place in set(range(len(cases))) - set(enough):
            cases[place].add_marker(pytest.mark.slow)
    slow: defaultdict[str, list[Any]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("one_slow_in") and item.get_closest_marker("slow"):
            slow[item.nodeid.partition("[")[0]].append(item)
    for cases in slow.values():
        step = cases[0].get_closest_marker("one_slow_in").args[0]
        for place, case in enumerate(cases):
            # From one entry of the last table to the next, other entries of the first ones come up.
            if (place + place // step) % step:
                case.add_marker(pytest.mark.rare)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Collects no garbage while tests are read, which makes many objects and drops few."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Clears JAX's caches after a test that made this process too large."""
    result = yield
    memory.keep_small()
    return result
