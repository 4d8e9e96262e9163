"""Every error has a section on the page of errors, with code that raises it."""

import re
from pathlib import Path

import purestate as ps

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
# Bases, which are never raised themselves.
BASES = {"PurestateError", "PurestateWarning", "VariableError"}
# Raised only where a package is missing, which it is not where the page is run.
TOLD = {"MissingPackageError", "FlaxNotInstalledError"}


def test_every_error_is_raised_in_its_section():
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
    without = [
        name
        for name in set(ps.errors.__all__) - BASES - TOLD
        if f"raises={name}\n" not in sections.get(name, "")
    ]
    assert not without, (
        f"docs/errors.md needs a section '### {without[0]}' with wrong code, the reason and right code"
    )
    assert set(sections) >= TOLD


def test_sections_are_errors():
    assert set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)) <= set(ps.errors.__all__)
