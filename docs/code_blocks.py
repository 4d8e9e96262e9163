"""Runs the Python code blocks of a page, and checks or rewrites the output that is shown after them.

On a page, in order and in one fresh namespace:

- a block fenced as `python` is run;
- a block fenced as `python raises=SomeError` is run too, and must raise exactly that class;
- a block fenced as `text` right after it shows the printed output and, if the block raised, the line
  `SomeError: message`. Whitespace does not count, and `...` stands for anything.

    python docs/code_blocks.py docs/*.md            # run and check
    python docs/code_blocks.py --update docs/*.md   # run and rewrite the outputs

After you reword an error message, `--update` brings the pages up to date. Outputs that contain `...` and still match
are not changed.
"""

import contextlib
import doctest
import io
import re
import sys
import textwrap
import types
from pathlib import Path
from typing import Any, NamedTuple

_FENCE = re.compile(r"(`{3,})\s*(.*)")
_WIDTH = 100


class Fence(NamedTuple):
    """A fenced block: the text after the opening backticks, the lines inside, and the first line number."""

    info: str
    lines: list[str]
    start: int  # index of the first line inside

    @property
    def end(self) -> int:
        """The index of the closing fence."""
        return self.start + len(self.lines)


class CodeBlock(NamedTuple):
    """A block to run, with the output that the page shows for it, if any."""

    code: Fence
    raises: str | None
    output: Fence | None


class WrongBlock(AssertionError):
    """A block did something else than the page says."""


def read_fences(text: str) -> list[Fence]:
    """Returns the fenced blocks of a page; those inside a longer fence are part of that one."""
    fences: list[Fence] = []
    opening: re.Match[str] | None = None
    lines: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines()):
        match = _FENCE.fullmatch(line.rstrip())
        if opening is None:
            if match:
                opening, lines, start = match, [], number + 1
        elif match and len(match[1]) >= len(opening[1]) and not match[2]:
            fences.append(Fence(opening[2], lines, start))
            opening = None
        else:
            lines.append(line)
    if opening is not None:
        raise WrongBlock(f"The fence before line {start} is never closed.")
    return fences


def read_code_blocks(text: str) -> list[CodeBlock]:
    """Returns the Python blocks of a page, each with the output that follows it."""
    page = text.splitlines()
    fences = read_fences(text)
    blocks: list[CodeBlock] = []
    for fence, after in zip(fences, [*fences, None][1:], strict=True):
        language, _, options = fence.info.partition(" ")
        if language != "python":
            continue
        match = re.fullmatch(r"raises=(\w+)", options)
        if options and not match:
            raise WrongBlock(
                f"Line {fence.start}: {fence.info!r} is neither 'python' nor 'python raises=SomeError'."
            )
        follows = (
            after is not None
            and after.info == "text"
            and not "".join(page[fence.end + 1 : after.start - 1]).strip()
        )
        blocks.append(CodeBlock(fence, match[1] if match else None, after if follows else None))
    return blocks


def run_block(block: CodeBlock, namespace: dict[str, Any], page: Path) -> str:
    """Runs a block; returns what it printed and, if it is to raise, the error."""
    # With as many empty lines before it as on the page, so that a traceback shows the page's line.
    source = "\n" * block.code.start + "\n".join(block.code.lines) + "\n"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(source, page.name, "exec"), namespace)
        except Exception as error:
            if type(error).__name__ != block.raises:
                raise
            # Some errors tell the line, which changes with each edit of the page.
            message = re.sub(rf"({re.escape(page.name)}):\d+", r"\1:...", str(error))
            return f"{printed.getvalue()}{block.raises}: {message}\n"
    if block.raises is not None:
        raise WrongBlock(
            f"{page}:{block.code.start}: {block.raises} was to be raised, and nothing was."
        )
    return printed.getvalue()


def is_same_output(shown: str, actual: str) -> bool:
    """Whether what the page shows is what came out, up to whitespace and `...`."""
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(shown, actual, options)


def run_page(page: Path) -> list[tuple[CodeBlock, str]]:
    """Runs all blocks of a page in one fresh module; returns each with its output."""
    module = types.ModuleType(f"page_{page.stem}")
    sys.modules[module.__name__] = (
        module  # some of Python's own tools look a class's module up there
    )
    try:
        return [
            (block, run_block(block, module.__dict__, page))
            for block in read_code_blocks(page.read_text())
        ]
    finally:
        del sys.modules[module.__name__]


def check_page(page: Path) -> int:
    """Runs a page and raises if an output differs; returns how many blocks there were."""
    results = run_page(page)
    for block, actual in results:
        if block.output is not None and not is_same_output(
            "\n".join(block.output.lines) + "\n", actual
        ):
            raise WrongBlock(
                f"{page}:{block.output.start}: the page shows\n\n"
                + "\n".join(block.output.lines)
                + "\n\nbut this came "
                f"out:\n\n{actual}\nIf that is right, run `python docs/code_blocks.py --update {page}`."
            )
    return len(results)


def update_page(page: Path) -> int:
    """Runs a page and rewrites the outputs that differ; returns how many."""
    lines = page.read_text().splitlines()
    changed = 0
    for block, actual in reversed(run_page(page)):
        if block.output is None or is_same_output("\n".join(block.output.lines) + "\n", actual):
            continue
        wrapped = [
            part
            for line in actual.splitlines()
            for part in (_wrap(line) if block.raises else [line])
        ]
        lines[block.output.start : block.output.end] = wrapped
        changed += 1
    if changed:
        page.write_text("\n".join(lines) + "\n")
    return changed


def _wrap(line: str) -> list[str]:
    return textwrap.wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]


if __name__ == "__main__":
    arguments = sys.argv[1:]
    update = "--update" in arguments
    for name in arguments:
        if name != "--update":
            count = update_page(Path(name)) if update else check_page(Path(name))
            print(f"{name}: {count} {'outputs rewritten' if update else 'blocks run'}")
