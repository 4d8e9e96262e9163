"""Every public layer and network is on one of the pages about them."""

import ast
import re
from pathlib import Path

import pytest

import purestate

ROOT = Path(__file__).parents[2]
PAGES = "\n".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))


def _imported(file: str, *rooms: str) -> list[str]:
    """The names that a file of the package imports from these rooms, recurrence apart."""
    tree = ast.parse((ROOT / "purestate" / file).read_text())
    return [
        name.asname or name.name
        for statement in ast.walk(tree)
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(rooms)
        if ".recurrent" not in (statement.module or "")
        for name in statement.names
    ]


NAMES = [
    *_imported("__init__.py", "purestate._layers"),
    *(f"nets.{name}" for name in _imported("nets.py", "purestate._nets")),
    *(f"initializers.{name}" for name in purestate.initializers.__all__ if name != "Initializer"),
]


def test_there_are_names():
    assert {
        "Linear",
        "Conv3DTranspose",
        "SNParamsTree",
        "nets.ResNet200",
        "initializers.Orthogonal",
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_layer_is_on_a_page(name: str):
    assert re.search(rf"\bps\.{re.escape(name)}\b", PAGES), (
        f"Write about ps.{name} on the page of its family in docs/."
    )
