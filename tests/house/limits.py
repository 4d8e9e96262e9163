"""The limits of the house, in one table, and of its words in another. `test_limits` holds them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.house.measure import (
    MOST_CODE,
    MOST_COLUMNS,
    MOST_LINES,
    House,
    long_files,
    long_functions,
)

Measured = tuple[int, Sequence[str]]
"""A figure, and what makes it what it is: shown where the limit is broken."""


@dataclass(frozen=True)
class Limit:
    """What is measured, how, and what it may be at most, or has to be `at_least`."""

    name: str
    limit: int
    measure: Callable[[House], Measured]
    at_least: bool = False

    def holds(self, measured: int) -> bool:
        """Whether a figure is within the limit."""
        return measured >= self.limit if self.at_least else measured <= self.limit


def _code_of_file(path: str) -> Callable[[House], Measured]:
    return lambda house: (house.file(path).code, [path])


def _number(offenders: Callable[[House], Sequence[str]]) -> Callable[[House], Measured]:
    return lambda house: (len(offenders(house)), offenders(house))


# A limit may only be lowered; the one that is `at_least` only raised.
LIMITS = (
    Limit(
        "lines of code of _core",
        4400,
        lambda house: (
            sum(f.code for f in house.room("_core")),
            [f.path for f in house.room("_core")],
        ),
    ),
    Limit(
        "lines of code of the spine of _core",
        1900,
        lambda house: (
            sum(f.code for f in house.spine),
            [f"{f.path} {f.code}" for f in house.spine],
        ),
    ),
    Limit("lines of code of _lifted/vmap.py", 130, _code_of_file("_lifted/vmap.py")),
    Limit("lines of code of _lifted/shard_map.py", 130, _code_of_file("_lifted/shard_map.py")),
    Limit("lines of code of _lifted/scan.py", 220, _code_of_file("_lifted/scan.py")),
    Limit("lines of code of _lifted/lift_frame.py", 210, _code_of_file("_lifted/lift_frame.py")),
    Limit(
        "lines of code of _lifted/collection_modes.py",
        170,
        _code_of_file("_lifted/collection_modes.py"),
    ),
    Limit(
        "comments per 1000 lines of code of _lifted",
        80,
        lambda house: (
            1000
            * sum(f.comments for f in house.room("_lifted"))
            // max(1, sum(f.code for f in house.room("_lifted"))),
            [f"{f.path} {f.comments} in {f.code}" for f in house.room("_lifted")],
        ),
        at_least=True,
    ),
    Limit(
        f"functions over {MOST_CODE} lines of code",
        0,
        _number(lambda house: long_functions(house.files)),
    ),
    Limit(f"files over {MOST_LINES} lines", 0, _number(lambda house: long_files(house.files))),
    Limit(
        f"lines over {MOST_COLUMNS} columns",
        0,
        _number(lambda house: [line for file in house.files for line in file.long_lines]),
    ),
    Limit(
        "underscored names across files",
        0,
        _number(lambda house: [name for file in house.files for name in file.private]),
    ),
    Limit("files without a test of their own", 0, _number(lambda house: house.untested)),
)

# How often a word of `words.WORDS` may stand in the English of the house: as often as it did when
# this was last run. `python -m tests.house --lower-words` writes what there is now where it is less.
WORD_LIMITS = {
    "where": 87,
    "is no X": 44,
    "has to be": 42,
    "alone": 10,
    "anew": 4,
    "is none": 7,
    "is told": 1,
    "first value": 6,
    "without a word": 0,
    "rows": 30,
    "averages": 15,
    "no array": 13,
    "asked for": 4,
    "what is": 27,
    "may well": 0,
    "room": 3,
}
