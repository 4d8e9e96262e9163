"""What names mean: `tf.nn.relu` is "tf.nn.relu", whatever the program calls TensorFlow."""

import re

import libcst as cst
from libcst.metadata import (
    CodeRange,
    ExpressionContext,
    ExpressionContextProvider,
    PositionProvider,
    QualifiedName,
    QualifiedNameProvider,
    QualifiedNameSource,
)

from purestate._port.row import Left

ASSIGNED = Left("it gives a name of a package another meaning", "Choose a name of your own.")
_HOMES = (
    (r"tensorflow(\.compat\.v2)?(?=\.|$)", "tf"),
    (r"sonnet(\.v2)?(?=\.|$)", "snt"),
    (r"purestate\.sonnet(?=\.|$)", "snt"),
)


def short(name: str) -> str:
    """Returns a full name with `tf` and `snt` for the packages."""
    for pattern, home in _HOMES:
        if match := re.match(pattern, name):
            return home + name[match.end() :]
    return name


def imported_name(visitor: cst.CSTTransformer | cst.CSTVisitor, node: cst.CSTNode) -> str | None:
    """Returns what a name or `a.b.c` stands for if its first part was imported; else None."""
    tail: list[str] = []
    while isinstance(node, cst.Attribute):
        tail.append(node.attr.value)
        node = node.value
    if not isinstance(node, cst.Name):
        return None
    found = visitor.get_metadata(QualifiedNameProvider, node, set[QualifiedName]())
    for name in found:
        if name.source is QualifiedNameSource.IMPORT:
            return short(".".join([name.name, *reversed(tail)]))
    return None


def is_assigned(visitor: cst.CSTTransformer | cst.CSTVisitor, node: cst.CSTNode) -> bool:
    """Whether code sets or deletes a name or an attribute."""
    context = visitor.get_metadata(ExpressionContextProvider, node, None)
    return context in (ExpressionContext.STORE, ExpressionContext.DEL)


def line_of(visitor: cst.CSTTransformer | cst.CSTVisitor, node: cst.CSTNode) -> int:
    """Returns the line that a node begins at."""
    place = visitor.get_metadata(PositionProvider, node)
    assert isinstance(place, CodeRange)
    return place.start.line


def base_of_chain(node: cst.BaseExpression) -> cst.Call | None:
    """Returns the call that `call(...).a(...).b` begins with."""
    first = None
    while True:
        if isinstance(node, cst.Call):
            first = node
            node = node.func
        elif isinstance(node, cst.Attribute | cst.Subscript):
            node = node.value
        else:
            return first


def code_of(node: cst.CSTNode, longest: int = 60) -> str:
    """Returns the code of a node on one line, cut if it is long."""
    code = " ".join(cst.Module([]).code_for_node(node).split())
    return code if len(code) <= longest else f"{code[: longest - 4]} ..."
