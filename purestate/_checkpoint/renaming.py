"""Renames the variables of a file by patterns."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from purestate._checkpoint.errors import CheckpointError
from purestate._core.errors import kind_of
from purestate._editing.name_patterns import filled, regex_of, wildcards_of
from purestate._editing.paths import near, with_heads


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


def _apply(name: str, rules: list[tuple[str, re.Pattern[str], str]]) -> str:
    for _, regex, new in rules:
        if match := regex.fullmatch(name):
            return filled(new, match)
    return name


def _rule(old: Any, new: Any) -> tuple[re.Pattern[str], str]:
    for pattern in (old, new):
        if not isinstance(pattern, str):
            raise CheckpointError(
                f"rename: a pattern is a string, such as 'encoder/**', but got {kind_of(pattern)}."
            )
    there, here = len(wildcards_of(old)), len(wildcards_of(new))
    if there != here:
        raise CheckpointError(
            f"rename: {old!r} and {new!r} differ in their number of wildcards, {there} and"
            f" {here}. Each one on the right stands for the text that the one at its"
            " place on the left matched, so write as many."
        )
    return regex_of(old), new
