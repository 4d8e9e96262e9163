"""Every public name is on exactly one page of the API, and under its own name or as a link."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

import purestate

DOCS = Path(__file__).parents[2] / "docs"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


api_pages = _load("api_pages")
PUBLIC = sorted(
    {
        symbol.full_name: symbol
        for m in api_pages.public_modules()
        for symbol in api_pages.symbols_of(m)
    }.items()
)


def _shown() -> dict[str, list[str]]:
    shown: dict[str, list[str]] = {}
    for page, symbols in api_pages.pages().items():
        for symbol in symbols:
            shown.setdefault(symbol.full_name, []).append(page)
    return shown


def _is_type_in_both_places(name: str) -> bool:
    # `purestate.Params` is shown as `purestate.typing.Params`, whose page says so.
    return name.removeprefix("purestate.") in purestate.typing.__all__


def test_every_public_name_is_on_one_page():
    shown = _shown()
    missing = [
        f"{name} (defined in {api_pages._defined_in(symbol) or 'an unknown place'})"
        for name, symbol in PUBLIC
        if name not in shown and not _is_type_in_both_places(name)
    ]
    assert not missing, (
        "No page of docs/api/ shows these names. Name the file they are defined in, or their public module, in the "
        "{public-api} directive of the page where they belong (or add a page, and list it in docs/api/index.md): "
        + ", ".join(missing)
    )
    twice = {name: pages for name, pages in shown.items() if len(pages) > 1}
    assert not twice


def test_pages_show_nothing_that_is_not_public():
    assert set(_shown()) <= {name for name, _ in PUBLIC}


def test_pages_are_listed():
    index = (DOCS / "api" / "index.md").read_text().splitlines()
    assert [page for page in api_pages.pages() if page != "index" and page not in index] == []


def test_every_public_name_is_described_somewhere():
    shown = _shown()
    for name, symbol in PUBLIC:
        other = api_pages.same_elsewhere(symbol)
        assert other is None or (other in shown and other != name), name


def test_every_page_of_the_api_shows_something():
    assert [page for page, symbols in api_pages.pages().items() if not symbols] == []


def test_new_name_without_page_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(purestate, "__all__", [*purestate.__all__, "brand_new"])
    monkeypatch.setattr(purestate, "brand_new", object(), raising=False)
    assert "purestate.brand_new" in {s.full_name for s in api_pages.symbols_of(purestate)} - set(
        _shown()
    )


def test_new_layer_comes_up_by_itself(monkeypatch: pytest.MonkeyPatch):
    new = type("BrandNew", (), {"__module__": "purestate._layers.brand_new"})
    monkeypatch.setattr(purestate, "__all__", [*purestate.__all__, "BrandNew"])
    monkeypatch.setattr(purestate, "BrandNew", new, raising=False)
    assert _shown()["purestate.BrandNew"] == ["layers"]
