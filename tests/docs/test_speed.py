"""The tables of the page about speed are those that the benchmarks have measured."""

from pathlib import Path

from page_tables import rows

PAGE = (Path(__file__).parents[2] / "docs" / "speed.md").read_text()


def test_tables_are_what_was_measured():
    for table in rows():
        assert "\n".join(table) + "\n\n" in PAGE
