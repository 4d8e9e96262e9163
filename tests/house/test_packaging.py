"""What is published: the README as a page of a package index, and the contents of the source archive."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_links_of_the_readme_work_outside_the_repository():
    links = re.findall(r"\]\(([^)]*)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not re.match(r"https://|#", link)] == []


def test_paths_in_the_readme_exist():
    paths = re.findall(r"`((?:docs|examples|tests)/[\w/.]*)`", (ROOT / "README.md").read_text())
    assert len(paths) >= 2
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_source_archive_has_what_its_tests_need():
    sdist = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]
    included = {path.removeprefix("/") for path in sdist["include"]}
    assert all((ROOT / path).exists() for path in included)
    needed = {*PROJECT["tool"]["pytest"]["ini_options"]["testpaths"]}
    needed |= {
        path for path in PROJECT["tool"]["pytest"]["ini_options"]["pythonpath"] if path != "."
    }
    needed |= {"purestate", "docs", "examples", "Makefile", PROJECT["project"]["readme"]}
    assert needed <= included


PAGES = [
    ROOT / "BUILD.md",
    ROOT / "CHANGELOG.md",
    ROOT / "purestate" / "_core" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_paths_on_pages_exist(page):
    """Files in the repository; those of the package may be written without its name."""
    folders = "docs|examples|tests|benchmarks|purestate|_[a-z]+"
    paths = re.findall(rf"`((?:{folders})/[\w/.]*)`", page.read_text())
    written = {"docs/_build/html", "docs/pictures/NAME.svg"}  # not kept, or a pattern
    there = (ROOT, ROOT / "purestate")
    assert [
        path
        for path in paths
        if path not in written and not any((folder / path).exists() for folder in there)
    ] == []
