"""The house in figures, as tables: the rooms, the limits, the words.

    python -m tests.house                       # --files has each file too
    python -m tests.house --beside 608029f      # then and now: a revision, or a folder
    python -m tests.house --markdown            # or --json
    python -m tests.house --lower-words         # takes what the words are now as their limits

What counts as what:

    code        lines without blank ones, comments and docstrings
    comments    lines with a comment, those for tools (`noqa`, `pyright:`) left out, per 1000 lines
    functions   each with its signature and all that is defined in it, which also counts by itself
    branches    most in a function: `if`, `for`, `while`, `except`, `case`, `and`, `or`, in expressions too
    Any %       of the annotated arguments, `*args` and `**kwargs` left out
    private     names with an underscore, used in another file than their own
    untested    files of `_core`, `_state` and `_lifted` without a test file of the same name
"""

import argparse
import contextlib
import io
import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from tests.house import limits, words
from tests.house.measure import (
    MOST_CODE,
    MOST_COLUMNS,
    MOST_LINES,
    ROOT,
    File,
    House,
    comments_per_thousand,
    lines,
    long_files,
    long_functions,
)

Row = dict[str, int | None]
Table = dict[str, Row]


def _share_of_any(files: Sequence[File]) -> int:
    arguments = sum(file.arguments for file in files)
    return round(100 * sum(file.any_arguments for file in files) / max(1, arguments))


FIGURES: dict[str, Callable[[Sequence[File]], int]] = {
    "files": len,
    "lines": lines,
    "code": lambda files: sum(file.code for file in files),
    "comments": comments_per_thousand,
    "functions": lambda files: sum(len(file.functions) for file in files),
    f"code > {MOST_CODE}": lambda files: len(long_functions(files)),
    "branches": lambda files: max(
        (f.branches for file in files for f in file.functions), default=0
    ),
    f"lines > {MOST_LINES}": lambda files: len(long_files(files)),
    f"columns > {MOST_COLUMNS}": lambda files: sum(len(file.long_lines) for file in files),
    "arguments": lambda files: sum(file.arguments for file in files),
    "Any %": _share_of_any,
    "private": lambda files: sum(len(file.private) for file in files),
}


def figures_of(files: Sequence[File], house: House) -> Row:
    """Returns every figure of some files."""
    paths = {file.path for file in files}
    row: Row = {name: figure(files) for name, figure in FIGURES.items()}
    return {**row, "untested": sum(path in paths for path in house.untested)}


def rooms_of(house: House) -> Table:
    """Returns the figures of each room, of the spine of `_core`, and of all."""
    rooms = {room: house.room(room) for room in sorted({file.room for file in house.files})}
    parts = {**rooms, "all": house.files, "spine": house.spine}
    return {name: figures_of(files, house) for name, files in parts.items()}


def files_of(house: House) -> Table:
    """Returns the figures of each file."""
    return {file.path: figures_of([file], house) for file in house.files}


def limits_of(house: House) -> Table:
    """Returns what is limited, and what it is; None where a tree has no such file."""

    def measured(limit: limits.Limit) -> int | None:
        try:
            return limit.measure(house)[0]
        except FileNotFoundError:
            return None

    return {limit.name: {"measured": measured(limit)} for limit in limits.LIMITS}


def words_of(house: House) -> Table:
    """Returns how often each word stands in the English of a tree."""
    return {word: {"measured": sum(words.count(word, house.root).values())} for word in words.WORDS}


@contextlib.contextmanager
def tree_of(where: str, root: Path) -> Generator[Path]:
    """Gives the folder of a tree: `where` is that folder, or a revision of the repository in `root`."""
    if Path(where).is_dir():
        yield Path(where).resolve()
        return
    packed = subprocess.run(
        ["git", "-C", str(root), "archive", "--format=tar", where], check=True, capture_output=True
    )
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


def _beside(now: Table, before: Table | None) -> dict[str, dict[str, str]]:
    """Joins two tables: a cell is `before → now`, or the figure where both are the same."""
    if before is None:
        return {
            name: {key: _shown(value) for key, value in row.items()} for name, row in now.items()
        }
    joined: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name, {}), now.get(name, {})
        joined[name] = {
            key: _shown(new.get(key))
            if old.get(key) == new.get(key)
            else f"{_shown(old.get(key))} → {_shown(new.get(key))}"
            for key in dict.fromkeys([*old, *new])
        }
    return joined


def _shown(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _with_limits(rows: dict[str, dict[str, str]], now: Table, which: str) -> None:
    """Adds to each row what it may be, and whether it is."""
    for name, row in rows.items():
        if which == "words":
            limit = limits.Limit(name, limits.WORD_LIMITS[name], lambda house: (0, ()))
        else:
            (limit,) = (limit for limit in limits.LIMITS if limit.name == name)
        figure = now[name]["measured"]
        row["limit"] = f"{'≥' if limit.at_least else '≤'} {limit.limit:,}"
        if figure is None:
            row[""] = "no such file"
        else:
            row[""] = "" if limit.holds(figure) else f"{figure - limit.limit:+,}"


def _print(title: str, rows: dict[str, dict[str, str]], *, markdown: bool) -> None:
    columns = list(next(iter(rows.values())))
    table = [[title, *columns], *([name, *row.values()] for name, row in rows.items())]
    if markdown:
        table.insert(1, ["---", *["---:"] * len(columns)])
        print("\n".join(f"| {' | '.join(row)} |" for row in table), end="\n\n")
        return
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        cells = [row[0].ljust(widths[0])] + [
            cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        print("  ".join(cells).rstrip())
    print()


def lower_words() -> None:
    """Writes what the words are now into `limits.py`, where it is less than their limit."""
    path = Path(limits.__file__)
    text = path.read_text()
    for word, row in words_of(House(ROOT)).items():
        lowered = min(row["measured"] or 0, limits.WORD_LIMITS[word])
        text = re.sub(rf'^    "{word}": \d+,$', f'    "{word}": {lowered},', text, flags=re.M)
    path.write_text(text)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> None:
    """Measures the tree in `root`, and prints what the arguments ask for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.house",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--files", action="store_true", help="each file too")
    parser.add_argument("--beside", metavar="REVISION_OR_FOLDER", help="what to compare with")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--lower-words", action="store_true", help="lower the limits of words")
    options = parser.parse_args(arguments)
    if options.lower_words:
        lower_words()
        return

    tables = {
        "rooms": rooms_of,
        **({"files": files_of} if options.files or options.json else {}),
        "limits": limits_of,
        "words": words_of,
    }
    house = House(root)
    now = {name: table(house) for name, table in tables.items()}
    before = None
    if options.beside:
        with tree_of(options.beside, root) as folder:
            other = House(folder)
            before = {name: table(other) for name, table in tables.items()}
    if options.json:
        print(json.dumps({"now": now, **({"before": before} if before else {})}, indent=2))
        return
    for name in tables:
        rows = _beside(now[name], before[name] if before else None)
        if name in ("limits", "words"):
            _with_limits(rows, now[name], name)
        _print(name, rows, markdown=options.markdown)


if __name__ == "__main__":
    main()
