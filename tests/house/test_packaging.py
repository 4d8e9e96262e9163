"""What is published: the README as a page of a package index, and the contents of the source archive."""

import re
import tomllib
from pathlib import Path

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
