"""Fits the variables of a file into a model, by name, shape and dtype."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from purestate._checkpoint.errors import CheckpointMismatchError
from purestate._editing.array_format import format_array
from purestate._editing.differences import shape_of
from purestate._editing.paths import key_string, near

_MOST = 8  # problems of each kind that a message lists


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What a file and a model do not share; names have slashes between their keys.

    Attributes:
      missing: the names that only the model has.
      unexpected: the names that only the file has, after `rename`.
      mismatched: the names that differ in shape or dtype, each with the two.
      resized: the names with other shapes that `resize` allows, each with the two.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, str, str], ...]
    resized: tuple[tuple[str, str, str], ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any difference that `resize` does not allow."""
        return bool(self.missing or self.unexpected or self.mismatched)


class Variable(NamedTuple):
    """A variable of the file: its name in the file, its keys, and its name after `rename`."""

    name: str
    keys: tuple[str, ...]
    target: str


# Whether a variable is meant, by its name and a function that looks up shape and dtype. It is only
# called if they are needed: they may be in one of many files.
Selects = Callable[[str, Callable[[], Any]], bool]


class Fit(NamedTuple):
    """Which variable of the file goes to which leaf of the model, and the rest."""

    found: dict[int, str]
    report: LoadReport


def fit(
    into: Any,
    variables: list[Variable],
    outline: Callable[[str], Any],
    selects: Selects,
    resizes: Selects,
) -> Fit:
    """Finds the variable of the file for each leaf of the model."""
    unmoved = {v.keys: v for v in variables if v.target == "/".join(v.keys)}
    by_target: dict[str, list[Variable]] = {}
    for v in variables:
        by_target.setdefault(v.target, []).append(v)
    found: dict[int, str] = {}
    missing: list[str] = []
    mismatched: list[tuple[str, str, str]] = []
    resized: list[tuple[str, str, str]] = []
    used: set[str] = set()
    for number, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path(into)):
        keys = tuple(key_string(key) for key in path)
        shown = "/".join(keys)
        known = functools.partial(_same, leaf)
        if not selects(shown, known):
            continue
        # The same keys count first: "a/b" of "c" and "a" of "b/c" have one name with slashes.
        candidates = [unmoved[keys]] if keys in unmoved else by_target.get(shown, [])
        if len(candidates) != 1:
            missing.append(shown)
            continue
        used.add(candidates[0].name)
        there = outline(candidates[0].name)
        differs = (shown, format_array(there), _format(leaf))
        if _fits(there, leaf):
            found[number] = candidates[0].name
        elif _can_resize(there, leaf) and resizes(shown, known):
            found[number] = candidates[0].name
            resized.append(differs)
        else:
            mismatched.append(differs)
    unexpected = [
        v.target
        for v in variables
        if v.name not in used and selects(v.target, functools.partial(outline, v.name))
    ]
    report = LoadReport(tuple(missing), tuple(unexpected), tuple(mismatched), tuple(resized))
    return Fit(found, report)


def _same(leaf: Any) -> Any:
    return leaf


def _fits(there: Any, leaf: Any) -> bool:
    return tuple(there.shape) == shape_of(leaf) and _same_dtype(there, leaf)


def _can_resize(there: Any, leaf: Any) -> bool:
    return len(there.shape) == len(shape_of(leaf)) and _same_dtype(there, leaf)


def _same_dtype(there: Any, leaf: Any) -> bool:
    return not hasattr(leaf, "dtype") or there.dtype == leaf.dtype


def _format(leaf: Any) -> str:
    return format_array(leaf) if hasattr(leaf, "dtype") else f"a number of shape {shape_of(leaf)}"


def mismatch_error(path: str, report: LoadReport) -> CheckpointMismatchError:
    """The error that lists all differences."""
    kinds: Mapping[str, list[str]] = {
        "Only the model has": [
            f"{name!r}{_near(name, report.unexpected)}" for name in report.missing
        ],
        "Only the file has": [repr(name) for name in report.unexpected],
        "Another shape or dtype": [
            f"{name!r}: {here} in the file, {there} in the model"
            for name, here, there in report.mismatched
        ],
    }
    lines: list[str] = []
    for title, problems in kinds.items():
        lines += [f"  {title}: {problem}" for problem in problems[:_MOST]]
        if len(problems) > _MOST:
            lines.append(f"  and {len(problems) - _MOST} more")
    return CheckpointMismatchError(
        f"{path!r} and the model do not have the same variables:\n" + "\n".join(lines) + "\nPass"
        " `rename` for variables with other names, `only` to load a part, or strict=False to load"
        " all that fit.",
        report,
    )


def _near(name: str, names: tuple[str, ...]) -> str:
    found = near(name, names).strip(" .") if names else ""
    return f" ({found[0].lower()}{found[1:]})" if found.startswith("Near it") else ""
