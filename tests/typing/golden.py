"""What type checkers say of the programs in `programs/`, compared with what the programs expect.

A program states an expectation beside the line, or in comments of their own right below it:

    reveal_type(ps.Linear(32))  # Linear
    ps.Linear(3, with_bas=True)  # error: with_bas
    reveal_type(f)
    # in pyright: (x: Array) -> Array
    # in mypy: Any

The text of a `reveal_type` is the whole type, in the form of `normalized`. The text of an error is
a part of its message; for a line with a `reveal_type` it stands below. `# in both:` is for a text too long to stand beside the line, and
`# in mypy: nothing` says that mypy reports no error in that line.
"""

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
PAGE = ROOT / "docs" / "types.md"
CHECKERS = ("pyright", "mypy")

_REVEALED = re.compile(r'(?:Type of ".*" is|Revealed type is) "(.*)"', re.DOTALL)
_IN = re.compile(r"# in (both|pyright|mypy): (.*)")


class Line(NamedTuple):
    """A line of a program, by the name of its file."""

    file: str
    number: int

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


class Report(NamedTuple):
    """What a checker says of one line.

    Attributes:
      types: the types that `reveal_type` shows, normalized.
      errors: the messages of errors.
    """

    types: list[str]
    errors: list[str]


class Expected(NamedTuple):
    """What a program expects a checker to say of one line.

    Attributes:
      types: likewise; None for a `reveal_type` without an expectation.
      errors: a part of each message.
    """

    types: list[str] | None
    errors: list[str]


# What the programs expect


def expectations(path: Path, checker: str) -> dict[Line, Expected]:
    """Returns what a program expects of each line that a checker has to say something of."""
    text = path.read_text()
    reveals = {
        i for i, line in enumerate(text.splitlines(), 1) if line.lstrip().startswith("reveal_type(")
    }
    found = {Line(path.name, i): Expected(None, []) for i in reveals}
    for number, comment in _comments(text):
        said = _said(comment, number, number in reveals, checker)
        if said is None:
            continue
        line = Line(path.name, number)
        types, errors = found.get(line, Expected([], []))
        if said.startswith("error: "):
            errors = [*errors, said.removeprefix("error: ")]
        elif said != "nothing":
            types = [*(types or []), said]
        found[line] = Expected(types, errors)
    return found


def _said(comment: str, number: int, reveals: bool, checker: str) -> str | None:
    """Returns what a comment expects of a checker; None if it expects nothing."""
    match = _IN.fullmatch(comment)
    if match:
        return match[2] if match[1] in ("both", checker) else None
    text = comment.removeprefix("# ")
    return text if reveals or text.startswith("error: ") else None


def _comments(text: str) -> Iterable[tuple[int, str]]:
    """Yields each comment with the number of the line that it speaks of."""
    code = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            if token.string.strip():
                code = token.start[0]
        elif code == token.start[0] or _IN.fullmatch(token.string):
            yield code, token.string


# What the checkers say


def run_pyright(programs: Path = PROGRAMS) -> dict[Line, Report]:
    """Runs pyright on all programs of a folder, once."""
    command = ["pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(programs)]
    said: Any = json.loads(_run(command))
    return _collect(
        (
            Line(Path(one["file"]).name, one["range"]["start"]["line"] + 1),
            one["severity"] == "error",
            str(one["message"]),
        )
        for one in said["generalDiagnostics"]
    )


def run_mypy(cache: Path, programs: Path = PROGRAMS) -> dict[Line, Report]:
    """Runs mypy on all programs of a folder, once."""
    command = ["mypy", "--strict", "--output=json", "--config-file=", f"--cache-dir={cache}"]
    command += ["--follow-imports=silent", f"--python-executable={sys.executable}"]
    said = [json.loads(line) for line in _run([*command, *map(str, files(programs))]).splitlines()]
    return _collect(
        (Line(Path(one["file"]).name, one["line"]), one["severity"] == "error", one["message"])
        for one in said
    )


def files(programs: Path = PROGRAMS) -> list[Path]:
    """Returns the programs of a folder."""
    return sorted(programs.glob("*.py"))


def copy_programs(to: Path) -> Path:
    """Copies the programs into a folder, with the code of the page on types as one of them."""
    for path in files():
        (to / path.name).write_text(path.read_text())
    config: Any = json.loads((PROGRAMS / "pyrightconfig.json").read_text())
    (to / "pyrightconfig.json").write_text(json.dumps({**config, "extraPaths": [str(ROOT)]}))
    (to / "types_page.py").write_text(_code_of_page(PAGE))
    return to


def _code_of_page(page: Path) -> str:
    """Returns the Python code of a page, with its line numbers."""
    spec: Any = importlib.util.spec_from_file_location("code_blocks", ROOT / "docs/code_blocks.py")
    code_blocks: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code_blocks)
    text = page.read_text()
    code = [""] * len(text.splitlines())
    for fence in code_blocks.read_fences(text):
        if fence.info in ("python", "{code-block} python"):
            code[fence.start : fence.end] = fence.lines
    return "\n".join(code) + "\n"


def _run(command: Sequence[str]) -> str:
    # This tree comes before a purestate that is installed.
    env = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT, env=env
    )
    if done.returncode not in (0, 1):
        raise AssertionError(f"{command[0]} did not run: {done.stdout}{done.stderr}")
    if not done.stdout:
        raise AssertionError(f"{command[0]} said nothing. {done.stderr}")
    return done.stdout


def _collect(said: Iterable[tuple[Line, bool, str]]) -> dict[Line, Report]:
    found: dict[Line, Report] = {}
    for line, is_error, message in said:
        report = found.setdefault(line, Report([], []))
        revealed = _REVEALED.fullmatch(message)
        if is_error:
            report.errors.append(message)
        elif revealed:
            report.types.append(normalized(revealed[1]))
    return found


def normalized(revealed: str) -> str:
    """Returns a type in one form for both checkers: as pyright shows it, without defaults."""
    text = re.sub(r"\b(?:\w+\.)+(?=\w)", "", revealed)  # the modules of names
    text = re.sub(r"\bUnknown\b", "Any", text)  # what pyright calls an Any that nobody wrote
    text = text.replace("*Any, **Any", "...").replace("*args: Any, **kwargs: Any", "...")
    text = _without_def(_without_fallback(_with_round_parameters(text)))
    return re.sub(r" = [^,()\[\]]+(\([^()]*\))?", " =", text)


def _with_round_parameters(text: str) -> str:
    """Returns `Model[(x: int), str]` for mypy's `Model[[x: int], str]`."""
    out = list(text)
    for i in range(1, len(text)):
        if text[i] == "[" and text[i - 1] in "[ ":
            out[i], out[_closing(text, i)] = "(", ")"
    return "".join(out)


def _without_fallback(text: str) -> str:
    """Returns `LSTMState` for mypy's `tuple[Array, Array, fallback=LSTMState]`."""
    while "fallback=" in text:
        end = text.index("fallback=")
        start = max(i for i in _starts(text[:end], "tuple[") if _closing(text, i + 5) > end)
        close = _closing(text, start + 5)
        text = text[:start] + text[end + len("fallback=") : close] + text[close + 1 :]
    return text


def _without_def(text: str) -> str:
    """Returns `(x: int) -> None` for mypy's `def (x: int)`."""
    text = re.sub(r"\bdef \[[^\]]*\] \(", "def (", text)
    while "def (" in text:
        start = text.index("def (")
        close = _closing(text, start + 4)
        arrow = "" if text[close + 1 :].startswith(" ->") else " -> None"
        text = text[:start] + text[start + 4 : close + 1] + arrow + text[close + 1 :]
    return text


def _starts(text: str, part: str) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(part), text)]


def _closing(text: str, opening: int) -> int:
    """Returns where the bracket is closed that is opened at an index."""
    depth = 0
    for i in range(opening, len(text)):
        depth += (text[i] in "[(") - (text[i] in "])")
        if depth == 0:
            return i
    raise ValueError(f"A bracket is not closed in {text!r}.")


# Both compared


def differences(expected: Mapping[Line, Expected], reported: Mapping[Line, Report]) -> list[str]:
    """Returns a text for each line about which a program and a checker disagree."""
    found: list[str] = []
    for line in sorted({*expected, *reported}):
        types, errors = expected.get(line, Expected([], []))
        shown, raised = reported.get(line, Report([], []))
        if types is None:
            found.append(f"{line}: no expectation beside it, but the type is {_list(shown)}")
        elif types != shown:
            found.append(f"{line}: expected the type {_list(types)}, but got {_list(shown)}")
        found += [
            f"{line}: expected an error with {part!r}, but got {_list(raised)}"
            for part in errors
            if not any(part in message for message in raised)
        ]
        found += [
            f"{line}: unexpected error: {message}"
            for message in raised
            if not any(part in message for part in errors)
        ]
    return found


def _list(texts: Sequence[str]) -> str:
    return "; ".join(texts) if texts else "nothing"
