"""Every Python block in the documentation runs, and prints or raises what the page shows."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
# Pages about packages that are not in the extra `test`. `tests/neighbours/test_pages.py` runs them.
NEEDS = {
    "neighbours.md": (
        "clu",
        "diffrax",
        "distrax",
        "grain",
        "jaxtyping",
        "jraph",
        "mctx",
        "numpyro",
        "qwix",
        "tensorboardX",
        "treescope",
    ),
    "tensorflow.md": ("sonnet", "tensorflow"),
}
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if "_build" not in page.parts and page.name not in {"README.md", *NEEDS}
)


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


code_blocks = _load("code_blocks")


def test_there_are_pages():
    with_code = {page.name for page in PAGES if code_blocks.read_code_blocks(page.read_text())}
    assert {
        "index.md",
        "get_started.md",
        "how_it_works.md",
        "jax_transforms.md",
        "hooks.md",
        "errors.md",
    } <= with_code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_code_of_page(page: Path):
    code_blocks.check_page(page)


def _write(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


def test_wrong_output_is_found(tmp_path: Path):
    page = _write(tmp_path, "```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(code_blocks.WrongBlock, match="but this came out"):
        code_blocks.check_page(page)
    assert code_blocks.update_page(page) == 1
    assert page.read_text() == "```python\nprint(1)\n```\n\n```text\n1\n```\n"
    assert code_blocks.check_page(page) == 1


def test_error_that_does_not_come_is_found(tmp_path: Path):
    with pytest.raises(code_blocks.WrongBlock, match="nothing was"):
        code_blocks.check_page(_write(tmp_path, "```python raises=ValueError\nint('1')\n```\n"))


def test_other_error_is_found(tmp_path: Path):
    with pytest.raises(TypeError):
        code_blocks.check_page(_write(tmp_path, "```python raises=ValueError\nint([])\n```\n"))


def test_blocks_share_one_namespace_and_fences_nest(tmp_path: Path):
    shown = "````md\n```python\n1 / 0\n```\n````\n\n"
    text = shown + "```python\na = 2\n```\n\ntext\n\n```python\nprint(a)\n```\n```text\n2\n```\n"
    assert code_blocks.check_page(_write(tmp_path, text)) == 2


def test_unknown_option_is_found(tmp_path: Path):
    with pytest.raises(code_blocks.WrongBlock, match="raises=SomeError"):
        code_blocks.check_page(_write(tmp_path, "```python skip\n1 / 0\n```\n"))
