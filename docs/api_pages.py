"""Which public names of purestate the pages under api/ show.

A page says in a directive where its names come from:

    ```{public-api} purestate._core.transform purestate._core.multi_transform
    ```

A private file or room stands for the names of `purestate.__all__` that are defined there; a public module
for its own `__all__`; a public name for itself. So a new name comes up on a page by itself, and one that comes up on none is
found by tests/docs/test_api_pages.py. Needs no Sphinx; conf.py does the rest.
"""

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import purestate

DIRECTORY = Path(__file__).parent / "api"
_DIRECTIVE = re.compile(r"^`{3,}\{public-api\} *(.*)$", re.MULTILINE)


class Symbol(NamedTuple):
    """A public name, such as `purestate.pad` and `same`, and what it stands for."""

    module: str
    name: str
    value: Any

    @property
    def full_name(self) -> str:
        return f"{self.module}.{self.name}"


def public_modules() -> list[ModuleType]:
    """Returns purestate and its public modules, those that `purestate.__all__` names."""
    found = [purestate]
    for module in found:
        values = (getattr(module, name) for name in module.__all__)
        found += [value for value in values if isinstance(value, ModuleType) and value.__name__.startswith("purestate.")]
    return found


def symbols_of(module: ModuleType) -> list[Symbol]:
    """Returns what a public module exports, modules aside."""
    values = ((name, getattr(module, name)) for name in module.__all__)
    return [Symbol(module.__name__, name, value) for name, value in values if not isinstance(value, ModuleType)]


def same_elsewhere(symbol: Symbol) -> str | None:
    """Returns the full name under which a symbol is described, where that is not its own.

    dm-haiku's API has many things under two names. Types are described among the types, everything else where
    purestate itself has it, and what it does not have in the public module that is alone to have it.
    """
    for home in (purestate.typing, purestate):
        for other in symbols_of(home):
            # Two types can be one object (`MutableParams`, `MutableState`), but have their names for a reason.
            if other.value is symbol.value and (other.name == symbol.name or _is_defined(symbol)):
                return None if other.full_name == symbol.full_name else other.full_name
    return None


def _is_defined(symbol: Symbol) -> bool:
    """Whether it is a class or function, and no alias of a type."""
    return _defined_in(symbol).startswith("purestate.")


def _defined_in(symbol: Symbol) -> str:
    return getattr(symbol.value, "__module__", None) or ""


def symbols_from(sources: Sequence[str]) -> list[Symbol]:
    """Returns the symbols that a directive with these sources shows."""
    found: list[Symbol] = []
    flat = symbols_of(purestate)
    for source in sources:
        if named := [s for s in flat if s.full_name == source]:
            found += named
        elif any(part.startswith("_") for part in source.split(".")):
            found += [s for s in flat if f"{_defined_in(s)}.".startswith(f"{source}.") and s not in found]
        else:
            found += symbols_of(importlib.import_module(source))
    return found


def pages() -> dict[str, list[Symbol]]:
    """Returns the pages, each with the symbols that it shows."""
    return {
        page.stem: [s for sources in _DIRECTIVE.findall(page.read_text()) for s in symbols_from(sources.split())]
        for page in sorted(DIRECTORY.glob("*.md"))
    }
