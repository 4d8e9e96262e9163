"""Every example in a docstring of purestate runs."""

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

import pytest

import purestate

MODULES = [
    "purestate",
    *(found.name for found in pkgutil.walk_packages(purestate.__path__, "purestate.")),
]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class _Finder(doctest.DocTestFinder):
    """Also looks at methods of modules: what wraps them lives in purestate/_core/module.py."""

    def _from_module(self, module: ModuleType | None, object: Any) -> bool:  # noqa: A002 (doctest's name)
        if module is not None and inspect.isfunction(object):
            return object.__module__ == module.__name__
        return super()._from_module(module, object)  # pyright: ignore


def _examples(module: ModuleType) -> list[doctest.DocTest]:
    return [test for test in _Finder().find(module, module.__name__) if test.examples]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", MODULES)
def test_docstrings_of_module(name: str):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    report: list[str] = []
    for test in _examples(module):
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


def test_examples_are_found():
    tests = _examples(importlib.import_module("purestate._core.module"))
    names = {test.name.removeprefix("purestate._core.module.") for test in tests}
    # A function, a class, and a method that the metaclass has wrapped.
    assert {"transparent", "Module", "Module.params_dict"} <= names
