"""Patterns of names with wildcards, and new names from what the wildcards matched."""

import re

_WILDCARD = re.compile(r"\*+|\?|\[[^\]]+\]")


def wildcards_of(pattern: str) -> list[str]:
    """Returns the wildcards of a pattern: `*`, `?` and `[ab]`."""
    return _WILDCARD.findall(pattern)


def regex_of(pattern: str, separator: str = "/") -> re.Pattern[str]:
    """Returns a regular expression with a group for each wildcard.

    A pattern without wildcards is a variable, or a module with all in it: the group is the rest.
    """
    wildcards = wildcards_of(pattern)
    if not wildcards:
        return re.compile(re.escape(pattern) + f"({re.escape(separator)}.*)?", re.DOTALL)
    groups = [f"({_regex(wildcard)})" for wildcard in wildcards]
    texts = [re.escape(text) for text in _WILDCARD.split(pattern)]
    whole = "".join(text + group for text, group in zip(texts, [*groups, ""], strict=True))
    return re.compile(whole, re.DOTALL)


def filled(pattern: str, match: re.Match[str]) -> str:
    """Returns a pattern with what `match` found in the place of its wildcards, or at its end."""
    pieces = _WILDCARD.split(pattern) if wildcards_of(pattern) else [pattern, ""]
    return "".join(
        piece + found for piece, found in zip(pieces, (*match.groups(""), ""), strict=True)
    )


def _regex(wildcard: str) -> str:
    if wildcard[0] == "*":
        return ".*"
    return "." if wildcard == "?" else wildcard.replace("[!", "[^")
