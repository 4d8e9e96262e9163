"""Every error of the core has a section on the page of errors, with code that raises it."""

import re
from pathlib import Path

import purestate as ps

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
# Bases, which are never raised themselves.
BASES = {"PurestateError", "PurestateWarning", "VariableError"}


def test_every_error_of_the_core_is_raised_in_its_section():
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
    core = [name for name in ps.errors.__all__ if getattr(ps.errors, name).__module__ == "purestate._core.errors"]
    without = [name for name in core if name not in BASES and f"raises={name}\n" not in sections.get(name, "")]
    assert not without, f"docs/errors.md needs a section '### {without[0]}' with wrong code, the reason and right code"


def test_sections_are_errors():
    assert set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)) <= set(ps.errors.__all__)
