"""Pages about packages that are not in the extra `test` run as all others do, if these packages are installed."""

import importlib.util

import pytest

from tests.docs.test_docs_code import DOCS, NEEDS, code_blocks


@pytest.mark.parametrize("page", NEEDS)
def test_code_of_page(page: str):
    missing = [package for package in NEEDS[page] if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    assert code_blocks.check_page(DOCS / page)
