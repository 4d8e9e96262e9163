"""The rooms: imports point down, there is no cycle, and names without an underscore only re-export."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent / "purestate"
LEVELS = {
    "_core": 0, "_state": 1, "_lifted": 2, "_editing": 2, "_layers": 3, "_nets": 4, "_precision": 5, "_views": 5, "_inspection": 5,
    "_sharding": 5, "_checkpoint": 5, "_testing": 5, "_flax": 5,
}  # fmt: skip
FILES = sorted(ROOT.rglob("*.py"))


def name_of(file: pathlib.Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: pathlib.Path) -> set[str]:
    """The modules of purestate that a file imports, wherever in the file."""
    modules = {name_of(f) for f in FILES}
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules else node.module or "")
    return {name for name in found if name.split(".")[0] == "purestate"}


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return next((part for part in parts[1:] if part.startswith("_")), None)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_rooms_import_downwards(file):
    room = room_of(name_of(file))
    if room is None:
        return
    assert room in LEVELS, f"a new room, {room}: give it a level"
    for other in imports_of(file):
        other_room = room_of(other)
        assert other_room is not None, f"{name_of(file)} imports the facade {other}"
        assert other_room == room or LEVELS[other_room] < LEVELS[room], (
            f"{name_of(file)} imports {other}"
        )


@pytest.mark.parametrize("file", [f for f in FILES if room_of(name_of(f)) is None], ids=name_of)
def test_facades_only_reexport(file):
    for node in ast.parse(file.read_text()).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        names = [t.id for t in node.targets] if isinstance(node, ast.Assign) else []
        is_name = bool(names) and all(
            name in ("__all__", "__version__", "__getattr__") for name in names
        )
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        inner = node.body if is_for_types else [node]
        is_import = all(isinstance(n, (ast.ImportFrom, ast.Import)) for n in inner)
        assert is_docstring or is_name or is_import, ast.unparse(node)


def test_no_cycles():
    graph = {name_of(file): imports_of(file) for file in FILES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module in done:
            return
        for other in graph.get(module, ()):
            visit(other, (*path, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_only_public_jax(file):
    text = file.read_text()
    assert "jax._src" not in text
    if name_of(file) != "purestate._core.trace_guard":
        assert "jax.core" not in text
        assert "jax.interpreters" not in text


@pytest.mark.parametrize("file", [f for f in FILES if room_of(name_of(f)) is None], ids=name_of)
def test_all_lists_everything_public(file):
    module = __import__(name_of(file), fromlist=["__all__"])
    imported = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    } - {"on_first_use"}
    submodules = {name for name in imported if isinstance(getattr(module, name), type(pathlib))}
    assert {name for name in imported - submodules if not name.startswith("__")} <= set(
        module.__all__
    )
    assert len(set(module.__all__)) == len(module.__all__)
