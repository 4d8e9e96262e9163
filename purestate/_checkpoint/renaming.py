"""Renames the variables of a file by patterns."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from purestate._checkpoint.errors import CheckpointError
from purestate._core.errors import kind_of
from purestate._editing.paths import near, with_heads

_WILDCARD = re.compile(r"\*+|\?|\[[^\]]+\]")


def renamed(names: Iterable[str], patterns: Any) -> dict[str, str]:
    """Returns the new name of each variable; the first pattern that fits counts."""
    names = list(names)
    if patterns is None:
        return {name: name for name in names}
    if not isinstance(patterns, Mapping):
        raise CheckpointError(
            "`rename` must be a dict from patterns to patterns, such as {'encoder/**':"
            f" 'model/encoder/**'}}, but is {kind_of(patterns)}."
        )
    rules = [(old, *_rule(old, new)) for old, new in patterns.items()]
    for old, regex, _ in rules:
        if not any(regex.fullmatch(name) for name in names):
            raise CheckpointError(
                f"rename: the file has nothing at {old!r}.{near(old, with_heads(names))}"
            )
    new_names = {name: _apply(name, rules) for name in names}
    taken: dict[str, str] = {}
    for name, new in new_names.items():
        if taken.setdefault(new, name) != name:
            raise CheckpointError(
                f"rename: {taken[new]!r} and {name!r} both become {new!r}. Give them"
                " different names."
            )
    return new_names


def _apply(name: str, rules: list[tuple[str, re.Pattern[str], list[str]]]) -> str:
    for _, regex, pieces in rules:
        if match := regex.fullmatch(name):
            filled = zip(pieces, (*match.groups(""), ""), strict=True)
            return "".join(piece + found for piece, found in filled)
    return name


def _rule(old: Any, new: Any) -> tuple[re.Pattern[str], list[str]]:
    """Returns a regular expression, and the texts around its groups in the new name."""
    for pattern in (old, new):
        if not isinstance(pattern, str):
            raise CheckpointError(
                f"rename: a pattern is a string, such as 'encoder/**', but got {kind_of(pattern)}."
            )
    wildcards: list[str] = _WILDCARD.findall(old)
    around_old, around_new = _WILDCARD.split(old), _WILDCARD.split(new)
    if len(around_old) != len(around_new):
        raise CheckpointError(
            f"rename: {old!r} and {new!r} differ in their number of wildcards, {len(wildcards)} and"
            f" {len(around_new) - 1}. Each one on the right stands for the text that the one at its"
            " place on the left matched, so write as many."
        )
    if not wildcards:  # a variable, or a module with all in it
        return re.compile(re.escape(old) + "(/.*)?", re.DOTALL), [new, ""]
    groups = [f"({_regex(wildcard)})" for wildcard in wildcards]
    texts = [re.escape(text) for text in around_old]
    whole = "".join(text + group for text, group in zip(texts, [*groups, ""], strict=True))
    return re.compile(whole, re.DOTALL), around_new


def _regex(wildcard: str) -> str:
    if wildcard[0] == "*":
        return ".*"
    return "." if wildcard == "?" else wildcard.replace("[!", "[^")
