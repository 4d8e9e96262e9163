"""Whether code makes a list of arrays or one array, as far as a program shows it."""

import libcst as cst
from libcst.metadata import Assignment, Scope

from purestate._port.imports import dotted
from purestate._port.sizes import NameOf, ParentOf
from purestate._port.table import find_row

_LISTS = {"split", "unstack", "meshgrid", "nest.flatten"}
_UNCLEAR = {
    "cond", "while_loop", "scan", "map_fn", "vectorized_map", "function", "name_scope",
    "nn.moments", "clip_by_global_norm", "math.top_k", "nest.map_structure",
    "nest.pack_sequence_as", "TensorSpec", "TensorShape", "dtypes.as_dtype",
    "zeros_initializer", "ones_initializer", "constant_initializer",
}  # fmt: skip
_LIST_TYPES = {"list", "List", "tuple", "Tuple", "Sequence"}
_DEPTH = 8


class Kinds:
    """Finds out what code makes: "list", "array", or "" if it is not known."""

    def __init__(self, parent_of: ParentOf, name_of: NameOf, scope: Scope | None):
        self._parent = parent_of
        self._name = name_of
        self._scope = scope
        self._depth = 0

    def of(self, node: cst.CSTNode) -> str:
        """Returns what an expression makes."""
        if isinstance(node, cst.List | cst.Tuple | cst.ListComp):
            return "list"
        if isinstance(node, cst.BinaryOperation):
            return "list" if "list" in (self.of(node.left), self.of(node.right)) else ""
        if isinstance(node, cst.Call):
            return self._of_call(node)
        if isinstance(node, cst.Subscript):
            is_slice = len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Slice)
            return self.of(node.value) if is_slice else ""
        if isinstance(node, cst.IfExp):
            kinds = {self.of(node.body), self.of(node.orelse)}
            return kinds.pop() if len(kinds) == 1 else ""
        return self._of_name(node.value) if isinstance(node, cst.Name) else ""

    def _of_call(self, node: cst.Call) -> str:
        if isinstance(node.func, cst.Name) and node.func.value in ("list", "tuple", "sorted"):
            return "list"
        name = self._name(node.func)
        row = find_row(name) if name else None
        if row is None or not row.emit or row.name in _UNCLEAR:
            return ""
        return "list" if row.name in _LISTS else "array"

    def _of_name(self, name: str) -> str:
        if self._scope is None or self._depth == _DEPTH:
            return ""
        self._depth += 1
        kinds = {self._of_binding(found) for found in self._scope[name]}
        self._depth -= 1
        # A list that is joined is often given the result under its own name.
        if "list" in kinds:
            return "list"
        return kinds.pop() if len(kinds) == 1 else ""

    def _of_binding(self, found: object) -> str:
        if not isinstance(found, Assignment):
            return ""
        node = found.node
        if isinstance(node, cst.Param):
            return self._of_param(node)
        parent = self._parent(node)
        if isinstance(parent, cst.Param):
            return self._of_param(parent)
        if isinstance(parent, cst.AnnAssign):
            return self._of_annotation(parent.annotation)
        if isinstance(parent, cst.NamedExpr):
            return self.of(parent.value)
        statement = self._parent(parent) if isinstance(parent, cst.AssignTarget) else None
        return self.of(statement.value) if isinstance(statement, cst.Assign) else ""

    def _of_param(self, node: cst.Param) -> str:
        if node.star == "*":
            return "list"
        return self._of_annotation(node.annotation) if node.annotation else ""

    def _of_annotation(self, node: cst.Annotation) -> str:
        written = node.annotation
        if isinstance(written, cst.Subscript):
            written = written.value
        if dotted(written).rpartition(".")[2] in _LIST_TYPES:
            return "list"
        return "array" if self._name(written) == "tf.Tensor" else ""
