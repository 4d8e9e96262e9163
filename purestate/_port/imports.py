"""Import statements: those of Sonnet are renamed, those of TensorFlow go when nothing uses them."""

from collections.abc import Callable, Mapping, Sequence

import libcst as cst
import libcst.matchers as m
from libcst.metadata import (
    Assignment,
    GlobalScope,
    ImportAssignment,
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    Scope,
    ScopeProvider,
)

from purestate._port.findings import Finding
from purestate._port.resolve import code_of, line_of, short
from purestate._port.sonnet_names import PUBLIC, SUBMODULES, public_home

# Name that new code uses -> the statement that makes it, and the module behind it.
STATEMENTS: Mapping[str, tuple[str, str]] = {
    "functools": ("import functools", "functools"),
    "math": ("import math", "math"),
    "hk": ("import haiku as hk", "haiku"),
    "jax": ("import jax", "jax"),
    "jnp": ("import jax.numpy as jnp", "jax.numpy"),
    "np": ("import numpy as np", "numpy"),
    "optax": ("import optax", "optax"),
    "ps": ("import purestate as ps", "purestate"),
    "snt": ("import purestate.sonnet as snt", "purestate.sonnet"),
}


def dotted(node: cst.BaseExpression | None) -> str:
    """Returns the text of `a.b.c`."""
    if isinstance(node, cst.Attribute):
        return f"{dotted(node.value)}.{node.attr.value}"
    return node.value if isinstance(node, cst.Name) else ""


def name_node(text: str) -> cst.Attribute | cst.Name:
    """Returns the node of `a.b.c`."""
    node = cst.parse_expression(text)
    assert isinstance(node, cst.Attribute | cst.Name)
    return node


class SonnetImports(cst.CSTTransformer):
    """Makes `import sonnet as snt` an import of `purestate.sonnet`."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.findings: list[Finding] = []
        self.rewritten: list[str] = []

    def leave_ImportAlias(
        self, original_node: cst.ImportAlias, updated_node: cst.ImportAlias
    ) -> cst.ImportAlias:
        name = dotted(updated_node.name)
        if short(name) != "snt" or name.startswith("purestate"):
            return updated_node
        self.rewritten.append("import sonnet")
        asname = updated_node.asname or cst.AsName(cst.Name("sonnet"))
        return updated_node.with_changes(name=name_node("purestate.sonnet"), asname=asname)

    def leave_ImportFrom(
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.ImportFrom:
        module = dotted(updated_node.module)
        home = short(module)
        if home.partition(".")[0] != "snt" or module.startswith("purestate"):
            return updated_node
        public = home if home == "snt" or home[4:] in SUBMODULES else public_home(home)
        names = _names_of(updated_node)
        if public is None or not self._all_public(public, names):
            line = line_of(self, original_node)
            self.findings.append(
                Finding(
                    line,
                    code_of(original_node),
                    "a name in it is private",
                    "Import the public name from `purestate.sonnet`.",
                )
            )
            return updated_node
        self.rewritten.append("from sonnet import")
        return updated_node.with_changes(module=name_node("purestate.sonnet" + public[3:]))

    def _all_public(self, home: str, names: Sequence[str]) -> bool:
        if home == "snt":
            return all(name in PUBLIC for name in names)
        return bool(names) and not any(name.startswith("_") for name in names)


def _names_of(node: cst.ImportFrom) -> list[str]:
    if isinstance(node.names, cst.ImportStar):
        return []
    return [dotted(alias.name) for alias in node.names]


def bindings(wrapper: MetadataWrapper, name: str) -> list[str]:
    """Returns what a name stands for in a program: modules, or "" if it is not imported."""
    found: list[str] = [""] if name in captured(wrapper.module) else []
    for scope in set(wrapper.resolve(ScopeProvider).values()):
        if scope is None:
            continue
        for assignment in scope.assignments:
            if assignment.name != name or assignment.scope is not scope:
                continue
            if isinstance(assignment, ImportAssignment):
                found += sorted(n.name for n in assignment.get_qualified_names_for(name))
            else:
                found.append("")
    return found


def captured(module: cst.Module) -> set[str]:
    """Returns the names that patterns of `match` bind, which libcst's scopes do not know."""
    nodes = m.findall(module, m.MatchAs() | m.MatchStar())
    names = [node.name for node in nodes if isinstance(node, cst.MatchAs | cst.MatchStar)]
    rests = [
        node.rest
        for node in m.findall(module, m.MatchMapping())
        if isinstance(node, cst.MatchMapping)
    ]
    return {name.value for name in (*names, *rests) if name is not None}


def is_rebound(wrapper: MetadataWrapper, name: str) -> bool:
    """Whether a scope that imports a name also binds it to something else."""
    for scope in set(wrapper.resolve(ScopeProvider).values()):
        found = [a for a in scope.assignments if a.name == name] if scope is not None else []
        kinds = {isinstance(a, ImportAssignment) for a in found if a.scope is scope}
        if len(kinds) == 2:
            return True
    return False


_REBOUND = (
    "The program imports this name too. Its uses are ported as those of the import, so give one"
    " of the two another name."
)


def rebound(wrapper: MetadataWrapper, package: str) -> list[Finding]:
    """Reports bindings, other than None, of names that the same scope imports of a package."""
    parents, places = wrapper.resolve(ParentNodeProvider), wrapper.resolve(PositionProvider)
    found: list[Finding] = []
    for scope in set(wrapper.resolve(ScopeProvider).values()):
        names = {
            a.name
            for a in _imports_of(scope)
            if any(short(n.name).startswith(package) for n in a.get_qualified_names_for(a.name))
        }
        others = [] if scope is None else [a for a in scope.assignments if a.name in names]
        for other in others:
            if not isinstance(other, Assignment) or isinstance(other, ImportAssignment):
                continue
            statement = parents.get(parents.get(other.node, other.node))
            is_assigned = isinstance(statement, cst.Assign)
            is_none = is_assigned and m.matches(statement.value, m.Name("None"))
            if other.scope is scope and not is_none:
                line = places[other.node].start.line
                found.append(Finding(line, other.name, _REBOUND, kind="remark"))
    return found


def _unused_imports(wrapper: MetadataWrapper, dead: Callable[[str], bool]) -> set[cst.CSTNode]:
    """Returns the parts of import statements that go, as nothing uses them."""
    unused: set[cst.CSTNode] = set()
    for scope in set(wrapper.resolve(ScopeProvider).values()):
        for assignment in _imports_of(scope):
            names = assignment.get_qualified_names_for(assignment.name)
            if not list(assignment.references) and any(dead(n.name) for n in names):
                unused.add(assignment.as_name)
    return unused


def _imports_of(scope: Scope | None) -> list[ImportAssignment]:
    if scope is None:
        return []
    return [a for a in scope.assignments if isinstance(a, ImportAssignment) and a.scope is scope]


class _Exchange(cst.CSTTransformer):
    """Takes out imports that nothing uses, and puts the first of the new ones in their place."""

    def __init__(self, unused: set[cst.CSTNode], new: Sequence[str]):
        super().__init__()
        self.new = list(new)
        self._unused = unused
        self._depth = 0
        self._lines: Sequence[cst.EmptyLine] = ()

    def visit_IndentedBlock(self, node: cst.IndentedBlock) -> None:
        self._depth += 1

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        self._depth -= 1
        if updated_node.body:
            return updated_node
        return updated_node.with_changes(body=[cst.parse_statement("pass")])

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement] | cst.RemovalSentinel:
        body = [
            made
            for old, now in zip(original_node.body, updated_node.body, strict=True)
            if (made := self._without(old, now)) is not None
        ]
        leading = (*self._lines, *updated_node.leading_lines)
        self._lines = ()
        if body:
            return updated_node.with_changes(body=body, leading_lines=leading)
        if self.new and not self._depth:
            made = [cst.parse_statement(statement) for statement in self.new]
            self.new = []
            made[0] = made[0].with_changes(leading_lines=leading)
            return cst.FlattenSentinel(made)
        self._lines = [line for line in leading if line.comment or self._lines]
        return cst.RemoveFromParent()

    def _without(
        self, original: cst.BaseSmallStatement, updated: cst.BaseSmallStatement
    ) -> cst.BaseSmallStatement | None:
        """Returns an import without the names that nothing uses, or None if no name is left."""
        if not isinstance(original, cst.Import | cst.ImportFrom):
            return updated
        if isinstance(original.names, cst.ImportStar):
            return updated
        names = [alias for alias in original.names if not self._is_unused(alias)]
        if len(names) == len(original.names):
            return updated
        if not names:
            return None
        names[-1] = names[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        return updated.with_changes(names=names)

    def _is_unused(self, alias: cst.ImportAlias) -> bool:
        if alias.asname is not None:
            return alias.asname.name in self._unused
        return alias.name in self._unused or _root(alias.name) in self._unused

    def _take_lines(self, node: cst.BaseCompoundStatement) -> cst.BaseCompoundStatement:
        lines, self._lines = self._lines, ()
        return node.with_changes(leading_lines=(*lines, *node.leading_lines)) if lines else node

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.BaseStatement:
        return self._take_lines(updated_node)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.BaseStatement:
        return self._take_lines(updated_node)


def _root(node: cst.BaseExpression) -> cst.BaseExpression:
    while isinstance(node, cst.Attribute):
        node = node.value
    return node


def with_imports(
    module: cst.Module,
    roots: set[str],
    dead: Callable[[str], bool] = lambda name: name.partition(".")[0] == "tensorflow",
) -> cst.Module:
    """Returns a program with imports for new names, and without imports that are of no use.

    Args:
      module: the program.
      roots: the names that new code uses.
      dead: says of the full name of an import if it goes once nothing uses it.
    """
    wrapper = MetadataWrapper(module)
    exchange = _Exchange(_unused_imports(wrapper, dead), _missing_imports(wrapper, roots))
    return _add_imports(wrapper.module.visit(exchange), exchange.new)


def _missing_imports(wrapper: MetadataWrapper, roots: set[str]) -> list[str]:
    """Returns the statements for names that new code uses and the program does not import."""
    there = {
        a.name
        for scope in set(wrapper.resolve(ScopeProvider).values())
        if isinstance(scope, GlobalScope)
        for a in scope.assignments
    }
    return [STATEMENTS[root][0] for root in STATEMENTS if root in roots and root not in there]


def _add_imports(module: cst.Module, statements: Sequence[str]) -> cst.Module:
    """Adds import statements after the last one at the top of a program."""
    if not statements:
        return module
    new = [cst.parse_statement(statement) for statement in statements]
    place = _end_of_imports(module.body)
    return module.with_changes(body=[*module.body[:place], *new, *module.body[place:]])


def _is_import(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.SimpleStatementLine) and isinstance(
        node.body[0], cst.Import | cst.ImportFrom
    )


def _end_of_imports(body: Sequence[cst.CSTNode]) -> int:
    end = 0
    for index, node in enumerate(body):
        if _is_import(node) or (index == 0 and _is_docstring(node)):
            end = index + 1
        elif end and not _is_import(node):
            break
    return end


def _is_docstring(node: cst.CSTNode) -> bool:
    if not isinstance(node, cst.SimpleStatementLine) or not isinstance(node.body[0], cst.Expr):
        return False
    return isinstance(node.body[0].value, cst.SimpleString | cst.ConcatenatedString)
