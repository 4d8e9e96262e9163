"""How the suite runs. `make test` runs the fast tests, and `make test-all` also those marked `slow`.

A test that crosses several tables (transforms, effects, layers, modes) is fast in as many cases as show
each entry of each table once. The rest of the product is marked `slow` below. `@pytest.mark.whole` keeps
every case of a test fast. What is slow for another reason has the mark where it is defined.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from tests.suite import memory
from tests.suite.covering import covering
from tests.suite.progress import ShowProgress

ALL_TESTS = pytest.StashKey[list[pytest.Item]]()
"""All that were collected, before `-m` chose some."""


def pytest_configure(config: pytest.Config) -> None:
    """Lets the fast tests compile with little optimization, and shows how far a parallel run is."""
    if config.option.markexpr == "not slow":
        # Nearly all the time is spent in XLA's compiler. Processes that tests start inherit it.
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    if getattr(config.option, "dist", "no") != "no" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(ShowProgress(config))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks most of each product of tables as slow."""
    config.stash[ALL_TESTS] = list(items)
    functions: defaultdict[str, list[Any]] = defaultdict(list)
    for item in items:
        if hasattr(item, "callspec") and not any(map(item.get_closest_marker, ("slow", "whole"))):
            functions[item.nodeid.partition("[")[0]].append(item)
    for cases in functions.values():
        enough = covering([case.callspec.indices for case in cases])
        for place in set(range(len(cases))) - set(enough):
            cases[place].add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Clears JAX's caches after a test that made this process too large."""
    result = yield
    memory.keep_small()
    return result
