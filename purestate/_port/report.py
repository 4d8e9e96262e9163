"""What the command line prints: differences, and the rest for you."""

import difflib
from collections import defaultdict
from collections.abc import Callable, Sequence

from purestate._port.findings import Finding, PortResult


def diff_of(name: str, old: str, new: str) -> str:
    """Returns the difference of two texts as `patch` and git read it."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def lines_of_report(
    name: str, result: PortResult, place: Callable[[Finding], str]
) -> Sequence[str]:
    """Returns a line for all that is left, and one for each remark with all its lines."""
    left = [f"{name}:{place(f)}: {f.told()}" for f in result.remaining]
    remarks: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for f in result.remarks:
        remarks[f.code, f.reason].append(place(f))
    told = [
        f"{name}:{', '.join(dict.fromkeys(places))}: remark: `{code}`: {reason}"
        for (code, reason), places in remarks.items()
    ]
    return [*left, *told]


def summary(files: int, changed: int, rewritten: int, left: int) -> str:
    """Returns the last line of the report."""
    return (
        f"{files} {_s('file', files)} read, {changed} changed: {rewritten}"
        f" {_s('use', rewritten)} rewritten, {left} left."
    )


def _s(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"
