"""Whole programs: what comes out, what is reported, and that porting the result changes nothing."""

import ast
import json

import pytest

from purestate._port.detect import detect
from purestate._port.notebooks import program_of
from purestate.port import port_source
from tests.port.golden import (
    FOLDER,
    NAMES,
    NOTEBOOKS,
    port_a_notebook,
    port_program,
    report_of,
)


def result_of(name):
    return port_program((FOLDER / f"{name}.in.txt").read_text())


def test_there_are_programs_of_each_style():
    assert {name.partition("_")[0] for name in NAMES} == {"haiku", "sonnet"}
    assert len(NAMES) >= 12
    assert NOTEBOOKS


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_out(name):
    assert result_of(name).text == (FOLDER / f"{name}.out.txt").read_text()
    assert report_of(result_of(name)) == (FOLDER / f"{name}.report.txt").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_python(name):
    ast.parse(result_of(name).text)


@pytest.mark.parametrize("name", NAMES)
def test_porting_again_changes_nothing(name):
    first = result_of(name)
    again = port_source(first.text, detect((FOLDER / f"{name}.in.txt").read_text()))
    assert again.text == first.text
    told = [(f.new_line, f.code, f.reason) for f in first.remaining]
    assert [(f.line, f.code, f.reason) for f in again.remaining] == told
    assert again.rewritten == {}


@pytest.mark.parametrize("name", NAMES)
def test_the_lines_of_what_is_left(name):
    source = (FOLDER / f"{name}.in.txt").read_text().splitlines()
    for found in result_of(name).remaining:
        begin = found.code.split("(")[0].split(" ")[0].split(".")[-1]
        assert begin in source[found.line - 1]


@pytest.mark.parametrize("name", NAMES)
def test_comments_stay(name):
    def comments(text):
        return sorted(part.partition("# ")[2] for part in text.splitlines() if "# " in part)

    added = "creates the variables, if they do not exist"
    old = comments((FOLDER / f"{name}.in.txt").read_text())
    assert [c for c in comments(result_of(name).text) if c != added] == old


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks(name):
    old = (FOLDER / f"{name}.in.json").read_text()
    result, report = port_a_notebook(old)
    assert result.text == (FOLDER / f"{name}.out.json").read_text()
    assert report == (FOLDER / f"{name}.report.txt").read_text()
    before, after = json.loads(old), json.loads(result.text)
    for cell, new in zip(before["cells"], after["cells"], strict=True):
        assert {**cell, "source": 0} == {**new, "source": 0}
        source, ported = "".join(cell["source"]), "".join(new["source"])
        if cell["cell_type"] != "code" or source.startswith("%%bash"):
            assert ported == source
        magics = [line for line in source.splitlines() if line.lstrip()[:1] in ("%", "!")]
        assert magics == [line for line in ported.splitlines() if line.lstrip()[:1] in ("%", "!")]
    assert port_a_notebook(result.text)[0].text == result.text
    assert detect(program_of(old)) == "sonnet"
