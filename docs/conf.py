"""How Sphinx builds the documentation; see README.md."""

import re
import sys
from pathlib import Path
from types import FunctionType
from typing import Any, get_origin

sys.path.insert(0, str(Path(__file__).parent))

import api_pages
import room_files
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import stringify_annotation

import purestate

project = "purestate"
author = "the purestate authors"
release = purestate.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "README.md"]
html_theme = "furo"
html_title = "purestate"
html_static_path = ["_static"]
html_css_files = ["purestate.css"]
pygments_style = "friendly"

myst_heading_anchors = 3

autodoc_default_options = {
    "members": True,
    "special-members": "__call__",
    "member-order": "bysource",
}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
python_trailing_comma_in_multi_line_signatures = False
toc_object_entries_show_parents = "hide"
default_role = "code-or-link"


class CodeOrLink(PyXRefRole):
    """Single backticks in a docstring: a link if they name something public, otherwise code."""

    def __call__(self, name: str, rawtext: str, text: str, *args: Any, **kwargs: Any) -> Any:
        match = re.fullmatch(r"(?:ps\.)?([A-Za-z_][\w.]*)", text)
        if match is None:
            return [nodes.literal(rawtext, text, classes=["code"])], []
        return super().__call__("py:obj", rawtext, f"{text} <{match[1]}>", *args, **kwargs)


class PublicApi(SphinxDirective):
    """`{public-api} SOURCE ...`: describes the public names from there; see api_pages.py."""

    has_content = False
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        symbols = api_pages.symbols_from(self.arguments[0].split())
        lines = ["````{eval-rst}", ".. py:currentmodule:: purestate", ""]
        elsewhere: list[str] = []
        for symbol in symbols:
            if other := api_pages.same_elsewhere(symbol):
                elsewhere.append(f"- ``{symbol.full_name}`` is :py:obj:`{other}`")
            else:
                lines += [_described(symbol), ""]
        if elsewhere:
            lines += ["Described elsewhere:", "", *elsewhere, ""]
        return self.parse_text_to_nodes("\n".join([*lines, "````"]))


class Rooms(SphinxDirective):
    """`{rooms}`: a section for each subpackage, with its imports and files; see room_files.py.

    Its lines describe subpackages, `_core: text`; one without a line has the docstring of its `__init__.py`.
    """

    has_content = True

    def run(self) -> list[nodes.Node]:
        said = dict(line.split(": ", 1) for line in self.content if line.strip())
        unknown = set(said) - set(room_files.rooms())
        if unknown:
            raise self.error(f"Unknown subpackages: {sorted(unknown)}")
        lines: list[str] = []
        for room in room_files.rooms():
            files = dict(room_files.files_of(room))
            about = said.get(room) or files.get("__init__.py", "")
            imports = (
                ", ".join(f"`{other}`" for other in room_files.imports_of(room))
                or "no other subpackage"
            )
            lines += [f"## {room}", "", about, "", f"Imports {imports}.", "", *_table_of(files)]
        lines += [
            "## What is public",
            "",
            "These only re-export.",
            "",
            *_table_of(dict(room_files.files_of(""))),
        ]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def _table_of(files: dict[str, str]) -> list[str]:
    rows = [
        f"| `{name}` | {about} |"
        for name, about in files.items()
        if not name.endswith("__init__.py") or "/" in name
    ]
    return ["| file | |", "|---|---|", *rows, ""]


def _described(symbol: api_pages.Symbol) -> str:
    value = symbol.value
    if value is None:
        return f".. py:data:: {symbol.full_name}\n\n   Needs a library that was missing when this page was built."
    if isinstance(value, type) and not get_origin(value):
        bases = "\n   :show-inheritance:" if issubclass(value, Exception) else ""
        return f".. autoclass:: {symbol.full_name}{bases}"
    if isinstance(value, FunctionType):
        return f".. autofunction:: {symbol.full_name}"
    if get_origin(value):
        meaning = re.sub(r"~?[\w.]+\.(\w+)", r"\1", stringify_annotation(value))
        head = f".. py:type:: {symbol.full_name}\n   :canonical: {meaning}"
    else:
        head = f".. py:data:: {symbol.full_name}\n   :value: {value!r}"
    return "\n".join([head, "", *(f"   {line}" for line in _text_after_assignment(symbol))])


def _text_after_assignment(symbol: api_pages.Symbol) -> list[str]:
    """The string under the line that makes a constant or a type: Python forgets it, Sphinx reads the source."""
    for name, module in list(sys.modules.items()):
        if name.startswith("purestate._") and getattr(module, symbol.name, None) is symbol.value:
            lines = ModuleAnalyzer.for_module(name).find_attr_docs().get(("", symbol.name))
            if lines:
                return lines
    return []


def _tidy_docstring(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    if (
        lines and lines[0] == type.__call__.__doc__
    ):  # what Python says of a method without docstring
        lines.clear()
    # Docstrings are plain text with code in backticks, such as `Array`s. reStructuredText needs a gap after them.
    lines[:] = [
        re.sub(r"(`[^`]+`)(\w?)", lambda m: m[1] + ("\\ " + m[2] if m[2] else ""), line)
        for line in lines
    ]


def _tidy_signature(
    app: Sphinx, what: str, name: str, value: Any, options: Any, arguments: Any, returns: Any
) -> Any:
    if what == "class" and hasattr(value, "_fields"):
        return f"({', '.join(value._fields)})", None
    if what == "class" and (
        getattr(value, "_is_protocol", False) or re.search("[Mm]ade by `", value.__doc__ or "")
    ):
        return "", None
    if arguments is not None:
        arguments = arguments.replace("Callable[[Sequence[int], Any], Array]", "Initializer")
    return arguments, returns


def _skip_fields(
    app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any
) -> bool | None:
    """Skips fields of a NamedTuple: its docstring describes them, and Sphinx knows only their numbers."""
    return True if type(value).__name__ == "_tuplegetter" else None


def _pages_made_from_purestate(app: Sphinx, env: Any, *_: Any) -> list[str]:
    # What they show depends on purestate, not on their own text.
    return [name for name in env.found_docs if name.startswith("api/") or name == "rooms"]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_role("code-or-link", CodeOrLink())
    app.add_directive("public-api", PublicApi)
    app.add_directive("rooms", Rooms)
    app.connect("env-get-outdated", _pages_made_from_purestate)
    app.connect("autodoc-process-docstring", _tidy_docstring)
    app.connect("autodoc-process-signature", _tidy_signature)
    app.connect("autodoc-skip-member", _skip_fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
