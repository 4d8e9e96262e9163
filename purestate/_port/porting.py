"""Ports the text of a program: rewrites it until nothing changes, and tells lines."""

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import libcst as cst

from purestate._port.findings import Finding, PortResult
from purestate._port.haiku import port_haiku_once
from purestate._port.sonnet import port_sonnet_once

MOST_PASSES = 10
"""One rewrites, one finds the rest; more are needed only for nested tapes."""


_NOT_PYTHON = (
    "what the tool makes of the program is not Python, so all of it is left. Please report this"
)


class Pass(NamedTuple):
    """What one pass over a program made of it."""

    text: str
    findings: Sequence[Finding]
    rewritten: Counter[str]


PASSES: dict[str, Callable[[str], tuple[str, Sequence[Finding], Counter[str]]]] = {
    "haiku": port_haiku_once,
    "sonnet": port_sonnet_once,
}


def port_text(text: str, source: str) -> PortResult:
    """Ports the text of a program; see `port_source`."""
    try:
        cst.parse_module(text)
    except (cst.ParserSyntaxError, cst.CSTValidationError) as error:
        line = error.raw_line if isinstance(error, cst.ParserSyntaxError) else 1
        message = error.message if isinstance(error, cst.ParserSyntaxError) else str(error)
        return PortResult(text, (Finding(line, "", f"it is not Python: {message}", new_line=line),))
    now, rewritten, remarks = text, Counter[str](), list[Finding]()
    left: Sequence[Finding] = ()
    for _ in range(MOST_PASSES):
        made = Pass(*PASSES[source](now))
        to_source = line_map(now, text)
        remarks += [f.at(to_source(f.line), 0) for f in made.findings if f.kind == "remark"]
        rewritten += made.rewritten
        left = [f for f in made.findings if f.kind == "left"]
        if made.text == now:
            break
        if not _is_python(made.text):
            return PortResult(text, (Finding(1, "", _NOT_PYTHON, new_line=1),))
        now = made.text
    to_source, to_new = line_map(now, text), line_map(text, now)
    remaining = [f.at(to_source(f.line), f.line) for f in left]
    remarks = [f.at(f.line, to_new(f.line)) for f in dict.fromkeys(remarks)]
    return PortResult(
        now,
        tuple(sorted(remaining, key=lambda f: f.line)),
        tuple(sorted(remarks, key=lambda f: f.line)),
        dict(rewritten.most_common()),
    )


def _is_python(text: str) -> bool:
    try:
        cst.parse_module(text)
    except (cst.ParserSyntaxError, cst.CSTValidationError):
        return False
    return True


def line_map(old: str, new: str) -> Callable[[int], int]:
    """Returns what maps a line of one text to the line of another that it came from."""
    if old == new:
        return lambda line: line
    matcher = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines())
    blocks = matcher.get_opcodes()

    def find(line: int) -> int:
        for _, start, end, new_start, new_end in blocks:
            if start < line <= end:
                return max(1, min(new_start + line - start, max(new_end, new_start + 1)))
        return line

    return find
