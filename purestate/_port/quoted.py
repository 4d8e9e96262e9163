"""Annotations in quotes: the names in `"tf.Tensor"` become new ones too."""

from collections.abc import Callable

import libcst as cst
from libcst.metadata import ParentNodeProvider, Scope, ScopeProvider

from purestate._port.imports import dotted
from purestate._port.resolve import imported_name, short
from purestate._port.row import Left

Visitor = cst.CSTTransformer | cst.CSTVisitor
Rename = Callable[[str, str], str | Left | None]
"""From a full name, and the name as it is written, to the new one, or why it stays."""

_TYPING = ("typing.", "typing_extensions.", "collections.abc.")
_NOT_READ = Left(
    "it is an annotation in quotes that this tool cannot read",
    "Rename what stands in the quotes.",
)


def in_quotes(
    visitor: Visitor, original: cst.SimpleString, updated: cst.SimpleString, rename: Rename
) -> cst.SimpleString | Left:
    """Returns a string with new names if it is an annotation, or why it stays."""
    scope = visitor.get_metadata(ScopeProvider, original, None)
    if not isinstance(scope, Scope) or not _is_annotation(visitor, original):
        return updated
    return _renamed(updated, scope, rename)


def _is_annotation(visitor: Visitor, node: cst.SimpleString) -> bool:
    """Whether a string is a type, or part of one."""
    child: cst.CSTNode = node
    while (parent := visitor.get_metadata(ParentNodeProvider, child, None)) is not None:
        if isinstance(parent, cst.Annotation):
            return True
        if isinstance(parent, cst.Call):
            is_first = bool(parent.args) and parent.args[0] is child
            return is_first and imported_name(visitor, parent.func) == "typing.cast"
        if isinstance(parent, cst.Subscript):
            ending = dotted(parent.value).rpartition(".")[2]
            if ending == "Literal" or (ending == "Annotated" and parent.slice[0] is not child):
                return False
            if (imported_name(visitor, parent.value) or "").startswith(_TYPING):
                return True
        if isinstance(parent, cst.BaseStatement | cst.BaseSmallStatement | cst.Lambda):
            return False
        assert isinstance(parent, cst.CSTNode)
        child = parent
    return False


def _renamed(node: cst.SimpleString, scope: Scope, rename: Rename) -> cst.SimpleString | Left:
    try:
        expression = cst.parse_expression(node.raw_value.strip())
    except cst.ParserSyntaxError:
        return node
    names = _Names(scope, rename)
    made = expression.visit(names)
    assert isinstance(made, cst.BaseExpression)
    if names.left is not None:
        return names.left
    if not names.changed:
        return node
    code = cst.Module([]).code_for_node(made)
    if node.quote in code or "\\" in node.raw_value:
        return _NOT_READ
    return node.with_changes(value=f"{node.prefix}{node.quote}{code}{node.quote}")


class _Names(cst.CSTTransformer):
    """Renames each `a.b.c` whose first part is an import."""

    def __init__(self, scope: Scope, rename: Rename):
        super().__init__()
        self.left: Left | None = None
        self.changed = False
        self._scope = scope
        self._rename = rename

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        return not dotted(node)

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        return self._made(updated_node)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        return self._made(updated_node)

    def _made(self, node: cst.Attribute | cst.Name) -> cst.BaseExpression:
        written = dotted(node)
        first, dot, rest = written.partition(".")
        for found in self._scope.get_qualified_names_for(first):
            if found.source.name != "IMPORT":
                continue
            new = self._rename(short(f"{found.name}{dot}{rest}"), written)
            if isinstance(new, Left):
                self.left = new
            elif new is not None and new != written:
                self.changed = True
                return cst.parse_expression(new)
        return node
