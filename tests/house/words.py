"""Measures the English: how often the words to hunt stand in docstrings, comments, messages and pages."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

# What to hunt -> the pattern. Most of these are right now and then; many of them make a page that
# nobody would say aloud. Write "re-initialized" for "anew", "receives" for "is told", "initial value"
# for "first value", "silently" for "without a word", "mapped elements" for the rows of a `vmap`,
# "running statistics" for averages, "not an array" for "no array", "subpackage" for a room.
WORDS = {
    "where": r"where",
    "is no X": r"(?:is|are|was|were) no(?! longer)",
    "has to be": r"ha(?:s|ve|d) to be",
    "alone": r"alone",
    "anew": r"anew",
    "is none": r"(?:is|are|was|were) (?-i:none)",  # and not `is None`
    "is told": r"(?:is|are|was|were|be|been) told",
    "first value": r"first values?",
    "without a word": r"without a word",
    "rows": r"rows?",
    "averages": r"(?<!moving )averages",
    "no array": r"no arrays?",
    "asked for": r"asked for",
    "what is": r"what (?:is|are|was|were)",
    "may well": r"may well",
    "room": r"rooms?",
}
_FOR_WORKERS = ("BUILD.md", "docs/README.md")  # "room" is our own word there


def pages_of(root: Path) -> Iterator[Path]:
    """The files whose English counts."""
    for name in ("README.md", "BUILD.md", "CHANGELOG.md"):
        if (root / name).exists():
            yield root / name
    for folder in ("purestate", "docs"):
        for kind in ("*.py", "*.md"):
            yield from sorted(
                page for page in (root / folder).rglob(kind) if "_build" not in page.parts
            )


def prose_of_python(text: str) -> str:
    """Returns the docstrings, messages and comments of a file, without the code in them."""
    texts: list[str] = []
    tree = ast.parse(text)
    formatted = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    within = {id(part) for node in formatted for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        if id(node) in within:
            continue
        if isinstance(node, ast.JoinedStr):
            texts.append(
                "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "X"
                    for part in node.values
                )
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            texts.append(re.sub(r"^\s*(>>>|\.\.\.) .*$", "", node.value, flags=re.MULTILINE))
    comments: list[str] = []
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] == last + 1:  # it goes on
                comments[-1] += " " + token.string.lstrip("# ")
            else:
                comments.append(token.string.lstrip("# "))
            last = token.start[0]
    return "\n\n".join([*texts, *comments])


def prose_of_markdown(text: str) -> str:
    """Returns a page without its blocks of code."""
    lines: list[str] = []
    fence = ""
    for line in text.splitlines():
        mark = re.match(r"`{3,}|~{3,}", line.strip())
        if not fence and mark:
            fence = mark[0]
        elif fence and line.strip() == fence:
            fence = ""
        elif not fence and not line.startswith("    "):
            lines.append(line)
    return "\n".join(lines)


@cache
def prose_of(page: Path) -> str:
    """Returns what a file says in English, code spans left out."""
    text = page.read_text()
    text = prose_of_python(text) if page.suffix == ".py" else prose_of_markdown(text)
    return re.sub(r"``?[^`\n]+``?", "`x`", text)


def count(word: str, root: Path) -> dict[str, int]:
    """Returns how often a word of `WORDS` stands in each file that has it, most often first."""
    pattern = re.compile(rf"\b{WORDS[word]}\b", re.IGNORECASE)
    found = {
        str(page.relative_to(root)): len(pattern.findall(" ".join(prose_of(page).split())))
        for page in pages_of(root)
    }
    if word == "room":
        found = {page: times for page, times in found.items() if page not in _FOR_WORKERS}
    return {
        page: found[page] for page in sorted(found, key=lambda page: -found[page]) if found[page]
    }
