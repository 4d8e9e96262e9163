"""Patterns of module paths."""

import difflib
import functools
import re
from collections.abc import Iterable


def parts_of(path: str) -> list[str]:
    """Returns the parts of a path, without `~`, the mark of a constructor."""
    return [part for part in path.split("/") if part != "~"]


_WILDCARD = re.compile(r"\*|\?|\[[^\]]+\]")


@functools.cache
def _regex(pattern: str) -> re.Pattern[str]:
    pieces = ["(?:[^/]+/)*" if part == "**" else _of_part(part) for part in parts_of(pattern)]
    return re.compile("".join(pieces))


def _of_part(part: str) -> str:
    wildcards = [_of_wildcard(wildcard) for wildcard in _WILDCARD.findall(part)]
    texts = [re.escape(text) for text in _WILDCARD.split(part)]
    return "".join(a + b for a, b in zip(texts, [*wildcards, "/"], strict=True))


def _of_wildcard(wildcard: str) -> str:
    if wildcard == "*":
        return "[^/]*"
    return "[^/]" if wildcard == "?" else wildcard.replace("[!", "[^")


def fits(pattern: str, path: str) -> bool:
    """Whether a pattern fits the path of a module as a whole.

    `*` stands for any characters of one part, `**` for any number of parts, also for none. `~`
    counts in neither.
    """
    return _regex(pattern).fullmatch("/".join(parts_of(path)) + "/") is not None


def near(pattern: str, paths: Iterable[str]) -> list[str]:
    """Returns the paths that are most like a pattern."""
    known = {"/".join(parts_of(path)): path for path in paths}
    names = difflib.get_close_matches(pattern.replace("*", ""), known, n=3, cutoff=0.4)
    return [known[name] for name in names]
