"""What the page about the tool says of its table."""

from pathlib import Path

from purestate._port.table import ROWS, find_row
from tests.port.snippets import SNIPPETS

PAGE = Path(__file__).parents[2] / "docs" / "porting_tool.md"
# They draw random numbers, or need a module or a block: `test_ported_programs.py` runs them.
IN_PROGRAMS = {
    "nn.dropout",
    "random.uniform",
    "random.normal",
    "random.truncated_normal",
    "random.categorical",
    "random.shuffle",
    "random.set_seed",
    "name_scope",
    "zeros_initializer",
    "ones_initializer",
    "constant_initializer",
    "TensorSpec",
}


def test_the_page_counts_the_table():
    functions = [row for row in ROWS if row.emit]
    names = sum(len(row.names) for row in functions)
    counts = (
        f"{len(functions)} functions under {names} names, and {len(ROWS) - len(functions)} types"
    )
    assert f"The table has {counts}, dtypes and constants" in PAGE.read_text()


def test_each_function_was_run_in_tensorflow():
    missing = {row.name for row in ROWS if row.emit and row.name not in SNIPPETS}
    assert missing == IN_PROGRAMS


def test_each_snippet_is_of_the_table():
    assert [name for name in SNIPPETS if name[0] != "." and find_row(name) is None] == []


def test_no_name_is_twice_in_the_table():
    names = [name for row in ROWS for name in row.names]
    assert sorted(names) == sorted(set(names))
