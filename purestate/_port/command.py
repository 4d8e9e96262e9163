"""The command line: `python -m purestate.port SOURCE`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from purestate._core.errors import PurestateError
from purestate._port.detect import SOURCES, detect
from purestate._port.entry import port_source, require_libcst
from purestate._port.findings import Finding, PortResult
from purestate._port.notebooks import place_in_notebook, port_notebook, program_of
from purestate._port.report import diff_of, lines_of_report, summary

_SKIPPED = {"__pycache__", "node_modules", "site-packages"}


class Ported(NamedTuple):
    """A file that was read: its text, what came of it, and how to say a place in it."""

    path: Path
    old: str
    result: PortResult
    place: Callable[[Finding], str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the porting tool as `python -m purestate.port` does.

    >>> from purestate.port import main
    >>> main(["no_such_file.py"])
    2

    Args:
      arguments: the words after the name of the program; those of this process by default.

    Returns:
      0 if nothing is left to do, 1 if something is, 2 if the files cannot be read.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if not options.source.exists():
        return _cannot(f"{options.source} does not exist.")
    try:
        require_libcst()
        files = _files_of(options.source)
        ported = [_port(path, options) for path in files]
        _write(ported, options)
    except (PurestateError, OSError, ValueError) as error:
        return _cannot(str(error))
    _print_report(ported, options)
    return 1 if any(file.result.remaining for file in ported) else 0


def _cannot(why: str) -> int:
    print(f"purestate.port: {why}", file=sys.stderr)  # noqa: T201
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m purestate.port",
        description="Ports programs of dm-haiku, and of Sonnet 2 with TensorFlow, to purestate."
        " Prints what would change, and writes nothing without -o or --write.",
        epilog="Exits with 0 if nothing is left to do, with 1 if something is.",
    )
    parser.add_argument("source", type=Path, help="a program, a notebook or a folder of them")
    parser.add_argument("-o", "--output", type=Path, help="the file or folder to write to")
    parser.add_argument("--write", action="store_true", help="overwrite the source")
    parser.add_argument("--diff", action="store_true", help="print the difference when writing too")
    parser.add_argument(
        "--from",
        dest="library",
        choices=SOURCES,
        help="what the program is written for; found from its imports by default",
    )
    return parser


def _files_of(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    return sorted(
        path
        for path in source.rglob("*")
        if path.suffix in (".py", ".ipynb") and path.is_file()
        and not any(
            part in _SKIPPED or part.startswith(".") for part in path.relative_to(source).parts
        )
    )  # fmt: skip


def _port(path: Path, options: argparse.Namespace) -> Ported:
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    is_notebook = path.suffix == ".ipynb"
    library = options.library or detect(program_of(text) if is_notebook else text)
    is_written = options.write or options.output is not None

    def line(f: Finding) -> int:
        return f.new_line if is_written else f.line

    if library is None:
        return Ported(path, text, PortResult(text), lambda f: str(line(f)))
    if is_notebook:
        result, cells = port_notebook(text, library, is_written)
        return Ported(path, text, result, lambda f: place_in_notebook(line(f), cells))
    return Ported(path, text, port_source(text, library), lambda f: str(line(f)))


def _write(ported: Sequence[Ported], options: argparse.Namespace) -> None:
    for file in ported:
        target = _target_of(file.path, options)
        if target is None or (target == file.path and file.result.text == file.old):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", encoding="utf-8", newline="") as out:
            out.write(file.result.text)


def _target_of(path: Path, options: argparse.Namespace) -> Path | None:
    if options.output is None:
        return path if options.write else None
    if options.source.is_dir():
        return options.output / path.relative_to(options.source)
    return options.output / path.name if options.output.is_dir() else options.output


def _print_report(ported: Sequence[Ported], options: argparse.Namespace) -> None:
    if options.diff or not (options.write or options.output):
        for file in ported:
            sys.stdout.write(diff_of(file.path.as_posix(), file.old, file.result.text))
    lines = [line for f in ported for line in lines_of_report(f.path.as_posix(), f.result, f.place)]
    changed = sum(file.result.text != file.old for file in ported)
    rewritten = sum(sum(file.result.rewritten.values()) for file in ported)
    left = sum(len(file.result.remaining) for file in ported)
    lines.append(summary(len(ported), changed, rewritten, left))
    print(*lines, sep="\n", file=sys.stderr)  # noqa: T201
