"""Which public names of purestate the pages under api/ show.

A directive on a page names the source of its names:

    ```{public-api} purestate._core.transform purestate._state.multi_transform
    ```

A private file or subpackage stands for the names of `purestate.__all__` that it defines, a public module for
its `__all__`, and a public name for itself. So a new name appears on a page automatically, and
tests/docs/test_api_pages.py finds names that are on no page. Works without Sphinx; conf.py does the rest.
"""

import importlib
import pkgutil
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
    """Returns purestate and all modules below it that have no underscore anywhere in their path."""
    names = [found.name for found in pkgutil.walk_packages(purestate.__path__, "purestate.")]
    public = [name for name in names if not any(part.startswith("_") for part in name.split("."))]
    return [purestate, *map(importlib.import_module, public)]


def symbols_of(module: ModuleType) -> list[Symbol]:
    """Returns what a public module exports, modules aside; what needs a library that is missing has no value."""

    def value_of(name: str) -> Any:
        try:
            return getattr(module, name)
        except ImportError:
            return None

    symbols = [Symbol(module.__name__, name, value_of(name)) for name in module.__all__]
    return [symbol for symbol in symbols if not isinstance(symbol.value, ModuleType)]


def same_elsewhere(symbol: Symbol) -> str | None:
    """Returns the full name under which a symbol is described, or None if that is its own name.

    dm-haiku's API has many things under two names. Types are described in `purestate.typing`, and everything else
    in `purestate`. A name that only one public module has is described there.
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
            found += [
                s for s in flat if f"{_defined_in(s)}.".startswith(f"{source}.") and s not in found
            ]
        else:
            found += symbols_of(importlib.import_module(source))
    return found


def pages() -> dict[str, list[Symbol]]:
    """Returns the pages, each with the symbols that it shows."""
    return {
        page.stem: [
            s
            for sources in _DIRECTIVE.findall(page.read_text())
            for s in symbols_from(sources.split())
        ]
        for page in sorted(DIRECTORY.glob("*.md"))
    }
