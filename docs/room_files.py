"""The subpackages of purestate, their files and imports, read from the source. Works without Sphinx."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "purestate"


def _first_line(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def _rooms_imported_by(file: Path) -> set[str]:
    modules = [
        node.module
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
    ]
    return {
        part
        for module in modules
        for part in (module or "").split(".")[1:2]
        if part.startswith("_")
    }


def files_of(room: str) -> list[tuple[str, str]]:
    """Returns the files of a subpackage (`"_core"`, or `""` for the public ones) and their docstrings."""
    folder = ROOT / room
    files = (
        sorted(folder.rglob("*.py"))
        if room
        else sorted([*ROOT.glob("*.py"), *ROOT.glob("experimental/**/*.py")])
    )
    return [
        (str(file.relative_to(folder)), _first_line(file)) for file in files if file.read_text()
    ]


def imports_of(room: str) -> list[str]:
    """Returns the subpackages that one imports."""
    imported = {other for file in (ROOT / room).rglob("*.py") for other in _rooms_imported_by(file)}
    return sorted(imported - {room})


def rooms() -> list[str]:
    """Returns the subpackages; each comes after those that it imports."""
    left = sorted(path.name for path in ROOT.glob("_*") if (path / "__init__.py").exists())
    found: list[str] = []
    while left:
        ready = [room for room in left if set(imports_of(room)) <= set(found)]
        assert ready, f"these subpackages import each other: {left}"
        found += ready
        left = [room for room in left if room not in ready]
    return found
