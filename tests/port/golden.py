"""The programs of `tests/port/programs`: what goes in, what has to come out, what is reported."""

from functools import cache
from pathlib import Path

from purestate._port.detect import detect
from purestate._port.notebooks import place_in_notebook, port_notebook, program_of
from purestate._port.report import lines_of_report
from purestate.port import PortResult, port_source

FOLDER = Path(__file__).parent / "programs"
NAMES = sorted(path.name.removesuffix(".in.txt") for path in FOLDER.glob("*.in.txt"))
NOTEBOOKS = sorted(path.name.removesuffix(".in.json") for path in FOLDER.glob("*.in.json"))


@cache
def port_program(text: str) -> PortResult:
    """Ports a program of the folder, once."""
    return port_source(text, detect(text) or "haiku")


def port_a_notebook(text: str) -> tuple[PortResult, str]:
    """Ports a notebook of the folder, and returns the report too."""
    result, cells = port_notebook(text, detect(program_of(text)) or "haiku")
    lines = lines_of_report("notebook", result, lambda f: place_in_notebook(f.line, cells))
    return result, "\n".join([*lines, ""])


def report_of(result: PortResult) -> str:
    """Returns what the command line prints of a program."""
    return "\n".join([*lines_of_report("program", result, lambda f: str(f.line)), ""])
