"""Notebooks: all code cells are ported as one program, with magics set aside."""

import json
import re
from typing import Any

from purestate._port.entry import port_source
from purestate._port.findings import PortResult

_CELL = "_purestate_cell_"
_MAGIC = "pass  # purestate magic: "
_WHOLE_CELL = re.compile(r"\s*%%(?!time\b|timeit\b|capture\b|prun\b)")


def program_of(text: str) -> str:
    """Returns the code of a notebook as one program, with a mark before each cell."""
    lines: list[str] = []
    for number, cell in enumerate(json.loads(text)["cells"]):
        if _is_code(cell):
            lines += [f"{_CELL}({number})", *_mask(_source(cell).split("\n"))]
    return "\n".join([*lines, ""])


def _is_code(cell: dict[str, Any]) -> bool:
    return cell["cell_type"] == "code" and not _WHOLE_CELL.match(_source(cell))


def _source(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def _mask(lines: list[str]) -> list[str]:
    """Makes statements of magics such as `%matplotlib inline`, `!pip install` and `f?`."""
    masked: list[str] = []
    goes_on = False
    indent = ""
    for line in lines:
        is_magic = goes_on or re.match(r"\s*[%!?]", line) or re.fullmatch(r"\s*[\w.]+\?+", line)
        if is_magic:
            indent = indent if goes_on else line[: len(line) - len(line.lstrip())]
            masked.append(f"{indent}{_MAGIC}{line}")
        else:
            masked.append(line)
        goes_on = bool(is_magic) and line.endswith("\\")
    return masked


def port_notebook(
    text: str, source: str, of_result: bool = False
) -> tuple[PortResult, dict[int, int]]:
    """Ports the code of a notebook.

    Args:
      text: the file.
      source: "haiku" or "sonnet".
      of_result: whether to return the cells of the new program, and not of the old one.

    Returns:
      The result, whose lines are those of all cells as one program, and the number of the cell that
      each line is in.
    """
    program = program_of(text)
    result = port_source(program, source)
    new = _split(result.text)
    notebook = json.loads(text)
    for number, cell in enumerate(notebook["cells"]):
        if number in new and new[number] != _source(cell):
            is_text = isinstance(cell["source"], str)
            cell["source"] = new[number] if is_text else new[number].splitlines(keepends=True)
    made = text if result.text == program else _dump(notebook, text)
    cells = _cells_by_line(result.text if of_result else program)
    return PortResult(made, result.remaining, result.remarks, result.rewritten), cells


def _split(program: str) -> dict[int, str]:
    cells: dict[int, list[str]] = {}
    current: list[str] = []
    for line in program.split("\n"):
        if match := re.fullmatch(rf"{_CELL}\((\d+)\)", line):
            current = cells[int(match[1])] = []
        else:
            masked = re.fullmatch(rf"\s*{re.escape(_MAGIC)}(.*)", line)
            current.append(masked[1] if masked else line)
    if current and not current[-1]:
        current.pop()
    return {number: "\n".join(lines) for number, lines in cells.items()}


def _cells_by_line(program: str) -> dict[int, int]:
    """Returns the number of the cell that each line of the program is in."""
    found, current = dict[int, int](), 0
    for number, line in enumerate(program.split("\n"), 1):
        if match := re.fullmatch(rf"{_CELL}\((\d+)\)", line):
            current = int(match[1])
        found[number] = current
    return found


def place_in_notebook(line: int, cells: dict[int, int]) -> str:
    """Returns "cell 3, line 2" for a line of all cells as one program; cells count from 1."""
    cell = cells.get(line, 0)
    first = min((number for number, of in cells.items() if of == cell), default=0)
    return f"cell {cell + 1}, line {line - first}"


def _dump(notebook: dict[str, Any], old: str) -> str:
    """Writes a notebook with the indents of the old file."""
    for indent in (1, 2, 4, None):
        for ascii_only in (False, True):
            for end in ("\n", ""):
                if json.dumps(json.loads(old), indent=indent, ensure_ascii=ascii_only) + end == old:
                    return json.dumps(notebook, indent=indent, ensure_ascii=ascii_only) + end
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
