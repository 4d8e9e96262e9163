"""Import statements of Haiku: `import haiku as hk` becomes `import purestate as hk`."""

from collections import Counter

import libcst as cst
from libcst.metadata import (
    ParentNodeProvider,
    PositionProvider,
    QualifiedNameProvider,
    ScopeProvider,
)

from purestate._port import quoted
from purestate._port.findings import Finding
from purestate._port.haiku_names import MOVED, PUBLIC_BY_PRIVATE
from purestate._port.imports import dotted, name_node
from purestate._port.jax_names import GONE
from purestate._port.resolve import code_of, imported_name, line_of

_PRIVATE_FILE = "the file is private in dm-haiku, and purestate has no such file"
_WRITE_PUBLIC = "Import public names of `purestate`."


class HaikuImports(cst.CSTTransformer):
    """Renames the package in imports and in uses by its own name.

    A program that gives the name `haiku` to other things too gets `import purestate as haiku`.

    Attributes:
      findings: imports that are left.
      rewritten: how often each was rewritten.
    """

    METADATA_DEPENDENCIES = (
        ParentNodeProvider,
        PositionProvider,
        QualifiedNameProvider,
        ScopeProvider,
    )

    def __init__(self, keeps_name: bool = False) -> None:
        super().__init__()
        self._keeps_name = keeps_name
        self.findings: list[Finding] = []
        self.rewritten: Counter[str] = Counter()
        self._left: set[int] = set()
        self._in_import = False

    def visit_Import(self, node: cst.Import) -> None:
        self._in_import = True
        for alias in node.names:
            name = dotted(alias.name)
            if name.startswith("haiku._src"):
                self._leave(node, _PRIVATE_FILE, _WRITE_PUBLIC)
                self._left.add(id(alias))
            elif left := GONE.get(name):
                self._leave(node, left.reason, left.instead)

    def leave_Import(self, original_node: cst.Import, updated_node: cst.Import) -> cst.Import:
        self._in_import = False
        return updated_node

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        self._in_import = True
        if isinstance(node.names, cst.ImportStar):
            return
        for alias in node.names:
            full = f"{dotted(node.module)}.{dotted(alias.name)}"
            if left := GONE.get(full) or GONE.get(dotted(node.module)):
                self._leave(node, left.reason, left.instead)

    def leave_ImportAlias(
        self, original_node: cst.ImportAlias, updated_node: cst.ImportAlias
    ) -> cst.ImportAlias:
        name = dotted(updated_node.name)
        if not _is_haiku(name) or id(original_node) in self._left:
            return updated_node
        self.rewritten["import haiku"] += 1
        if self._keeps_name and name == "haiku" and updated_node.asname is None:
            asname = cst.AsName(cst.Name("haiku"))
            return updated_node.with_changes(name=cst.Name("purestate"), asname=asname)
        return updated_node.with_changes(name=name_node(f"purestate{name[5:]}"))

    def leave_ImportFrom(
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.ImportFrom:
        self._in_import = False
        module = dotted(updated_node.module)
        if not _is_haiku(module):
            return updated_node.with_changes(names=original_node.names)
        if isinstance(original_node.names, cst.ImportStar):
            if module.startswith("haiku._src"):
                self._leave(original_node, _PRIVATE_FILE, _WRITE_PUBLIC)
                return original_node
            return self._from(updated_node, module)
        names = [f"{module}.{dotted(alias.name)}" for alias in original_node.names]
        public = [PUBLIC_BY_PRIVATE.get(name) or MOVED.get(name) or name for name in names]
        homes = {name.rpartition(".")[0] for name in public}
        if any(name.startswith("haiku._src") for name in public) or len(homes) > 1:
            known = [name for name in public if not name.startswith("haiku._src")]
            listed = ", ".join(f"`{name.replace('haiku', 'purestate', 1)}`" for name in known)
            how = f"These are public: {listed}." if known else _WRITE_PUBLIC
            self._leave(original_node, _PRIVATE_FILE, how)
            return original_node
        aliases = [
            _renamed(alias, name.rpartition(".")[2])
            for alias, name in zip(original_node.names, public, strict=True)
        ]
        return self._from(updated_node.with_changes(names=aliases), homes.pop())

    def _from(self, node: cst.ImportFrom, module: str) -> cst.ImportFrom:
        self.rewritten["from haiku import"] += 1
        ours = f"purestate{module[5:]}" if _is_haiku(module) else module
        return node.with_changes(module=name_node(ours))

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        if original_node.value != "haiku" or self._in_import or self._keeps_name:
            return updated_node
        if imported_name(self, original_node) not in ("haiku", "haiku.experimental"):
            return updated_node
        self.rewritten["haiku"] += 1
        return updated_node.with_changes(value="purestate")

    def leave_SimpleString(
        self, original_node: cst.SimpleString, updated_node: cst.SimpleString
    ) -> cst.BaseExpression:
        if self._keeps_name:
            return updated_node
        made = quoted.in_quotes(self, original_node, updated_node, _package_in_quotes)
        if not isinstance(made, cst.SimpleString) or made is updated_node:
            return updated_node
        self.rewritten["haiku"] += 1
        return made

    def _leave(self, node: cst.CSTNode, reason: str, instead: str) -> None:
        line = line_of(self, node)
        self.findings.append(Finding(line, code_of(node), reason, instead))


def _package_in_quotes(name: str, written: str) -> str | None:
    is_package = _is_haiku(name) and written.partition(".")[0] == "haiku"
    return f"purestate{written[5:]}" if is_package else None


def _renamed(alias: cst.ImportAlias, name: str) -> cst.ImportAlias:
    """Returns `name as old` if a name has changed."""
    old = dotted(alias.name)
    if old == name:
        return alias
    asname = alias.asname or cst.AsName(cst.Name(old))
    return alias.with_changes(name=cst.Name(name), asname=asname)


def _is_haiku(name: str) -> bool:
    return name == "haiku" or name.startswith("haiku.")
