"""Where purestate builds its messages, and what a case shows."""

import ast
import contextlib
import functools
import re
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import purestate as ps

ROOT = Path(ps.__file__).parent
SNAPSHOT = Path(__file__).with_name("snapshot.txt")


class Place(NamedTuple):
    """A call that builds an error or a warning, found again where lines have moved."""

    file: str
    function: str
    number: int

    def __str__(self) -> str:
        return f"{self.file} {self.function} {self.number}"


class Message(NamedTuple):
    kind: str
    text: str


class Shown(NamedTuple):
    messages: tuple[Message, ...]
    places: frozenset[Place]


# --- the places ---


def _is_message(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name.endswith(("Error", "Warning")) or ast.unparse(call.func) == "warnings.warn"


class _Finder(ast.NodeVisitor):
    def __init__(self, file: str):
        self._file = file
        self._inside: list[str] = []
        self._counts: dict[str, int] = {}
        self.found: dict[Place, tuple[int, int]] = {}

    def _visit_definition(self, node: Any) -> None:
        self._inside += [node.name] if isinstance(node, ast.ClassDef) else [node.name, "<locals>"]
        self.generic_visit(node)
        del self._inside[-1 if isinstance(node, ast.ClassDef) else -2 :]

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _visit_definition

    def visit_Call(self, node: ast.Call) -> None:
        if _is_message(node):
            function = ".".join(self._inside).removesuffix(".<locals>")
            self._counts[function] = self._counts.get(function, 0) + 1
            place = Place(self._file, function, self._counts[function])
            self.found[place] = (node.lineno, node.end_lineno or node.lineno)
        self.generic_visit(node)


@functools.cache
def _places_in(path: Path) -> dict[Place, tuple[int, int]]:
    finder = _Finder(path.relative_to(ROOT).as_posix())
    finder.visit(ast.parse(path.read_text()))
    return finder.found


def places() -> set[Place]:
    """All places in purestate that build a message."""
    return {place for path in ROOT.rglob("*.py") for place in _places_in(path)}


def _place_of(file: str, line: int) -> Place | None:
    if not Path(file).is_relative_to(ROOT):
        return None
    around = [
        (last - first, place)
        for place, (first, last) in _places_in(Path(file)).items()
        if first <= line <= last
    ]
    return min(around)[1] if around else None


# --- what a case shows ---


def _plain_new(cls: Any, *args: Any, **kwargs: Any) -> Any:
    plain = OSError if issubclass(cls, OSError) else Exception  # each has its own layout
    return plain.__new__(cls, *args, **kwargs)


@contextlib.contextmanager
def _noting() -> Iterator[tuple[list[tuple[str, Place]], list[Message]]]:
    """Notes each error of our own that is made, with the place that made it, and each warning that purestate gives.

    An error's `__new__` is called by no other frame than the one that builds the error, so that is its place. Warnings of others
    are dropped.
    """
    made: list[tuple[str, Place]] = []
    warned: list[Message] = []

    def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1)
        place = _place_of(caller.f_code.co_filename, caller.f_lineno)
        if place is not None and args:
            made.append((str(args[0]), place))
        return _plain_new(cls, *args, **kwargs)

    def warn(message: Any, category: Any = UserWarning, stacklevel: int = 1, **kwargs: Any) -> None:
        caller = sys._getframe(1)
        place = _place_of(caller.f_code.co_filename, caller.f_lineno)
        if place is not None:
            made.append((str(message), place))
            warned.append(Message(category.__name__, str(message)))

    plain_warn = warnings.warn
    warnings.warn = warn
    ps.errors.PurestateError.__new__ = new
    try:
        yield made, warned
    finally:
        # Not `del`, after which Python would make a ValueError of what is an OSError too, and fail.
        ps.errors.PurestateError.__new__ = _plain_new
        warnings.warn = plain_warn


def show(case: Callable[[], Any]) -> Shown:
    """Runs a case, and returns the warnings and the error that come of it, with the places where these were built."""
    messages: list[Message] = []
    with _noting() as (made, warned):
        try:
            case()
        except Exception as error:
            messages.append(Message(type(error).__name__, str(error)))
            if not isinstance(
                error, ps.errors.PurestateError
            ):  # a builtin, which is raised where it is made
                made += [(str(error), place) for place in _place_raised(error.__traceback__)]
    messages = [*dict.fromkeys(warned), *messages]
    places = frozenset(
        place for text, place in made if any(text in message.text for message in messages)
    )
    return Shown(tuple(Message(kind, normalized(text)) for kind, text in messages), places)


def _place_raised(tb: types.TracebackType | None) -> list[Place]:
    last = traceback.extract_tb(tb)[-1]
    place = _place_of(last.filename, last.lineno or 0)
    return [] if place is None else [place]


def normalized(text: str) -> str:
    """A text without what differs from machine to machine, or is JAX's own."""
    text = re.sub(r"(/[^\s:()'\"]+)+\.py:\d+", "FILE:LINE", text)
    text = re.sub(r"'[^']*/messages-[^/']*", "'FOLDER", text)  # `cases_checkpoint`
    text = re.sub(r"(do not fit '[^']*': ).*", r"\1what JAX says.", text)
    # `cases_export`
    text = re.sub(
        r"(named dimension: |program of 'lambda' cannot be |zip', which )[^\n]*", r"\1...", text
    )
    text = re.sub(r"(for cpu>: )Input shapes .*", r"\1...", text)
    return re.sub(r"0x[0-9a-f]{6,}", "0x", text)


# --- the snapshot ---


def rendered(shown: Shown) -> str:
    """Messages as they stand in the snapshot: each sentence on a line, so that a change shows alone in a diff."""
    lines = []
    for kind, text in shown.messages:
        lines += [
            f"  {kind}",
            *(f"    {line}" for line in re.sub(r"(?<=[.?]) (?=\S)", "\n", text).split("\n")),
        ]
    return "\n".join(lines) or "  nothing"


def read_snapshot() -> dict[str, str]:
    if not SNAPSHOT.exists():
        return {}
    blocks = SNAPSHOT.read_text().strip().split("\n\n")
    return {name: body for name, _, body in (block.partition("\n") for block in blocks)}


def write_snapshot(shown: dict[str, Shown]) -> None:
    SNAPSHOT.write_text("\n\n".join(f"{name}\n{rendered(shown[name])}" for name in shown) + "\n")
