"""Measures the source: lines, code, comments, functions, branches, types, private names, tests."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "purestate"
MIRRORED = ("_core", "_state", "_lifted")
MOST_CODE = 60  # in a function
MOST_LINES = 400  # in a file
MOST_COLUMNS = 100

_FOR_TOOLS = re.compile(r"#\s*(noqa|pyright:|type:|fmt:|ruff:|pragma:)")
_LAYOUT = {
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
_BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.match_case,
    ast.comprehension,
)


@dataclass(frozen=True)
class Function:
    """A function or method: where it is, its code lines and its branches."""

    where: str
    code: int
    branches: int


@dataclass(frozen=True)
class File:
    """The figures of one file; `path` is that below the package."""

    path: str
    lines: int
    code: int
    comments: int
    functions: tuple[Function, ...]
    long_lines: tuple[str, ...]
    arguments: int
    any_arguments: int
    private: tuple[str, ...]

    @property
    def room(self) -> str:
        """The folder of code that the file is in; those without an underscore only re-export."""
        first = self.path.split("/")[0]
        return first if first.startswith("_") and "/" in self.path else "facades"


class House:
    """All files of a tree, and what can only be said of all."""

    def __init__(self, root: Path):
        self.root = root
        package = root / PACKAGE
        modules = {_module_of(path, package) for path in package.rglob("*.py")}
        self.files = tuple(
            _measure_file(path, package, modules) for path in sorted(package.rglob("*.py"))
        )

    def room(self, name: str) -> tuple[File, ...]:
        """Returns the files of a room."""
        return tuple(file for file in self.files if file.room == name)

    def file(self, path: str) -> File:
        """Returns a file by its path below the package."""
        for file in self.files:
            if file.path == path:
                return file
        raise FileNotFoundError(f"{PACKAGE}/{path}: has it moved? Its limit has to move along.")

    @cached_property
    def spine(self) -> tuple[File, ...]:
        """The files that `_core/README.md` lists as its reading order: `1. `frame.py`: ...`."""
        core = self.root / PACKAGE / "_core"
        page = core / "README.md"
        if page.exists():
            names = re.findall(r"^\d+\.\s+\W*(\w+)\.py\b", page.read_text(), re.MULTILINE)
        else:
            run = "run" if (core / "run.py").exists() else "transform"
            names = [name for name in (*SPINE_BEFORE_RUN, run) if (core / f"{name}.py").exists()]
        return tuple(self.file(f"_core/{name}.py") for name in names)

    @cached_property
    def untested(self) -> tuple[str, ...]:
        """The files of the mirrored rooms that have no test file of the same name."""
        return tuple(
            file.path
            for room in MIRRORED
            for file in self.room(room)
            if not file.path.endswith("__init__.py") and not self._test_of(file).exists()
        )

    def _test_of(self, file: File) -> Path:
        path = Path(file.path)
        return self.root / "tests" / file.room.removeprefix("_") / f"test_{path.name}"


# For trees older than the reading order (`--beside`). What is in `run` now was in `transform` once.
SPINE_BEFORE_RUN = ("collection", "scope", "layout", "frame", "naming", "module", "variables")


def _module_of(path: Path, package: Path) -> str:
    parts = (PACKAGE, *path.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _measure_file(path: Path, package: Path, modules: set[str]) -> File:
    text = path.read_text()
    tree = ast.parse(text)
    name = str(path.relative_to(package))
    code, comments = _lines_of_code_and_comments(text, tree)
    arguments = [
        ast.unparse(argument.annotation)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        if argument.annotation is not None
    ]
    return File(
        path=name,
        lines=len(text.splitlines()),
        code=len(code),
        comments=len(comments),
        functions=tuple(_functions_of(tree, code, name)),
        long_lines=tuple(
            f"{name}:{number}"
            for number, line in enumerate(text.splitlines(), 1)
            if len(line) > MOST_COLUMNS
        ),
        arguments=len(arguments),
        any_arguments=arguments.count("Any"),
        private=tuple(_private_names_of(tree, modules, name)),
    )


def _lines_of_code_and_comments(text: str, tree: ast.Module) -> tuple[set[int], set[int]]:
    code: set[int] = set()
    comments: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if not _FOR_TOOLS.match(token.string):
                comments.add(token.start[0])
        elif token.type not in _LAYOUT:
            code |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            code -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return code, comments


def _functions_of(tree: ast.AST, code: set[int], where: str) -> Iterator[Function]:
    for node in ast.iter_child_nodes(tree):
        name = where
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{where}:{node.name}" if ":" not in where else f"{where}.{node.name}"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            within = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            yield Function(name, len(code.intersection(within)), _branches_of(node))
        yield from _functions_of(node, code, name)


def _branches_of(function: ast.AST) -> int:
    return sum(
        len(node.values) - 1 if isinstance(node, ast.BoolOp) else isinstance(node, _BRANCHES)
        for node in ast.walk(function)
    )


def _private_names_of(tree: ast.Module, modules: set[str], where: str) -> Iterator[str]:
    """Underscored names that a file imports from another, or reads off an imported module."""
    imported: dict[str, str] = {}  # name in this file -> module of the package
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in modules:
                    imported[alias.asname or alias.name] = full
                elif _is_private(alias.name):
                    yield f"{where}: {full}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname is not None and alias.name in modules:
                    imported[alias.asname] = alias.name
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in imported
            and _is_private(node.attr)
        ):
            yield f"{where}: {imported[node.value.id]}.{node.attr}"


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def long_functions(files: Sequence[File]) -> list[str]:
    """Returns the functions over `MOST_CODE`, each with its code lines."""
    return [
        f"{function.where} has {function.code}"
        for file in files
        for function in file.functions
        if function.code > MOST_CODE
    ]


def long_files(files: Sequence[File]) -> list[str]:
    """Returns the files over `MOST_LINES`, each with its lines."""
    return [f"{file.path} has {file.lines}" for file in files if file.lines > MOST_LINES]


def comments_per_thousand(files: Sequence[File]) -> int:
    """Returns how many of a thousand lines have a comment, rounded down."""
    return 1000 * sum(file.comments for file in files) // max(1, lines(files))


def lines(files: Sequence[File]) -> int:
    """Returns the number of lines."""
    return sum(file.lines for file in files)
