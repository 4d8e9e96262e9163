"""The script of each picture runs and draws, and each picture that a page shows has a script."""

import re
import runpy
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SCRIPTS = sorted(script for script in (DOCS / "pictures").glob("*.py") if script.stem != "drawing")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_script_draws(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn = tmp_path / f"{script.stem}.svg"
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", [str(script), str(drawn)])
    runpy.run_path(str(script), run_name="__main__")
    root = ET.parse(drawn).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(root.findall(".//{http://www.w3.org/2000/svg}path")) > 10
    assert drawn.stat().st_size < 60_000
    assert script.with_suffix(".svg").is_file(), f"Run `python {script}` and commit what it draws."


def test_pages_show_all_pictures_and_no_others():
    text = "\n".join(page.read_text() for page in DOCS.glob("*.md") if page.name != "README.md")
    assert set(re.findall(r"pictures/(\w+)\.svg", text)) == {script.stem for script in SCRIPTS}
