"""What has no underscore only re-exports, and lists all of it. (The rooms: `lint-imports`, in `make lint`.)"""

import ast
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2] / "purestate"
FACADES = sorted(
    file
    for file in ROOT.rglob("*.py")
    if not any(part.startswith("_") for part in file.relative_to(ROOT).parts[:-1])
)


def name_of(file: pathlib.Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a file, and those that are there only for type checkers, or only without."""
    found: list[ast.stmt] = []
    for node in body:
        tests = ("TYPE_CHECKING", "not TYPE_CHECKING")
        if isinstance(node, ast.If) and ast.unparse(node.test) in tests and not node.orelse:
            found += node.body
        else:
            found.append(node)
    return found


@pytest.mark.parametrize("file", FACADES, ids=name_of)
def test_facades_only_reexport(file):
    for node in statements(ast.parse(file.read_text()).body):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        names = [t.id for t in node.targets] if isinstance(node, ast.Assign) else []
        is_name = bool(names) and all(
            name in ("__all__", "__version__", "__getattr__") for name in names
        )
        is_import = isinstance(node, (ast.ImportFrom, ast.Import))
        is_program = isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
        assert is_docstring or is_name or is_import or is_program, ast.unparse(node)


@pytest.mark.parametrize("file", FACADES, ids=name_of)
def test_all_lists_everything_public(file):
    module = importlib.import_module(name_of(file))
    imported = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    } - {"on_first_use"}
    submodules = {name for name in imported if isinstance(getattr(module, name), type(pathlib))}
    public = {name for name in imported - submodules if not name.startswith("__")}
    assert public <= set(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)
