"""Writes the revealed types into the programs: `python -m tests.typing.update`. Read the diff.

Expectations of errors are not written: a person says which part of a message matters.
"""

import tempfile
from pathlib import Path

from tests.typing.golden import Line, Report, files, run_mypy, run_pyright

_COLUMNS = 100


def updated(path: Path, pyright: dict[Line, Report], mypy: dict[Line, Report]) -> str:
    """Returns the text of a program with the types that the checkers reveal."""
    lines: list[str] = []
    below_reveal = False
    for number, text in enumerate(path.read_text().splitlines(), 1):
        is_reveal = text.lstrip().startswith("reveal_type(")
        is_type = text.lstrip().startswith("# in ") and ": error: " not in text
        if is_reveal:
            said = [
                "; ".join(report.get(Line(path.name, number), Report([], [])).types)
                for report in (pyright, mypy)
            ]
            lines += _with_types(text.partition("  # ")[0], *said)
        elif not (below_reveal and is_type):
            lines.append(text)
        below_reveal = is_reveal or (below_reveal and is_type)
    return "\n".join(lines) + "\n"


def _with_types(code: str, pyright: str, mypy: str) -> list[str]:
    if pyright == mypy and len(code) + len(pyright) + 4 <= _COLUMNS:
        return [f"{code}  # {pyright}"]
    indent = " " * (len(code) - len(code.lstrip()))
    if pyright == mypy:
        return [code, f"{indent}# in both: {pyright}"]
    return [code, f"{indent}# in pyright: {pyright}", f"{indent}# in mypy: {mypy}"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        pyright, mypy = run_pyright(), run_mypy(Path(cache))
    for path in files():
        text = updated(path, pyright, mypy)
        if text != path.read_text():
            path.write_text(text)
            print(f"{path.name}: types written")
