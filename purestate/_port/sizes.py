"""Sizes of arrays: in JAX they are numbers of Python and numpy, also while it compiles."""

from collections.abc import Callable, Mapping

import libcst as cst

from purestate._port.signatures import parse_signature
from purestate._port.table import find_row

ParentOf = Callable[[cst.CSTNode], cst.CSTNode | None]
NameOf = Callable[[cst.CSTNode], str | None]

_TAKE_SIZES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("reshape", "zeros", "ones", "broadcast_to", "scatter_nd"), ("shape",)),
    **{f"random.{name}": ("shape",) for name in ("uniform", "normal", "truncated_normal")},
    "constant": ("shape",),
    "fill": ("dims",),
    "tile": ("multiples",),
    "transpose": ("perm",),
    "pad": ("paddings",),
    "eye": ("num_rows", "num_columns"),
    "one_hot": ("depth",),
    "linspace": ("num",),
    "sequence_mask": ("maxlen",),
    "math.top_k": ("k",),
}
"""Which arguments JAX needs as numbers that are known while it compiles."""

_BUILTINS = {"int", "max", "min", "abs", "list", "tuple", "sum"}
_UNPACK = {"list", "tuple", "len", "iter", "enumerate", "zip", "sorted"}
_STOP = {"shape", "size", "rank"}


def context_of(node: cst.CSTNode, parent_of: ParentOf, name_of: NameOf) -> str:
    """Says how code is used: "subscript", "tuple", "shape", "size", or "".

    One number is taken of a "subscript". A "tuple" is unpacked. A "shape" is the shape of a new
    array. A "size" is part of the code that computes such a shape.
    """
    return _Place(parent_of, name_of).context(node)


class _Place:
    def __init__(self, parent_of: ParentOf, name_of: NameOf):
        self._parent = parent_of
        self._name = name_of

    def context(self, node: cst.CSTNode) -> str:
        parent = self._parent(node)
        if isinstance(parent, cst.Subscript) and parent.value is node:
            return self._of_subscript(parent)
        if isinstance(parent, cst.Arg) and self._takes_sizes(parent):
            return "shape"
        is_in_sizes = self._is_in_sizes(node)
        if self._is_unpacked(parent):
            return "shape" if is_in_sizes else "tuple"
        return "size" if is_in_sizes else ""

    def _of_subscript(self, node: cst.Subscript) -> str:
        index = node.slice[0].slice
        if len(node.slice) != 1:
            return ""
        if isinstance(index, cst.Index):
            return "subscript" if _is_number(index.value) else ""
        return self.context(node)

    def _is_unpacked(self, parent: cst.CSTNode | None) -> bool:
        """Whether code that may be a tuple stands before it as well as an array does."""
        if isinstance(parent, cst.StarredElement):
            return True
        if isinstance(parent, cst.Element):
            around = self._parent(parent)
            arg = self._parent(around) if around is not None else None
            return isinstance(arg, cst.Arg) and self._function(arg) == "concat"
        if not isinstance(parent, cst.Arg):
            return False
        if parent.star == "*":
            return True
        function = self._function(parent)
        call = self._parent(parent)
        is_only = isinstance(call, cst.Call) and len(call.args) == 1
        return is_only and function in ("unstack", "reduce_prod", *_UNPACK)

    def _function(self, arg: cst.Arg) -> str:
        """Returns the function that an argument is given to: "concat", "int" or ""."""
        call = self._parent(arg)
        if not isinstance(call, cst.Call):
            return ""
        row = find_row(self._name(call.func) or "")
        if row is not None:
            return row.name
        return call.func.value if isinstance(call.func, cst.Name) else ""

    def _takes_sizes(self, arg: cst.Arg) -> bool:
        call = self._parent(arg)
        function = self._function(arg)
        if not isinstance(call, cst.Call) or function not in _TAKE_SIZES or arg.star:
            return False
        row = find_row(function)
        if row is None:
            return False
        if arg.keyword is not None:
            return arg.keyword.value in _TAKE_SIZES[function]
        index = next(i for i, other in enumerate(call.args) if other is arg)
        params = parse_signature(row.signature).params
        return index < len(params) and params[index].name in _TAKE_SIZES[function]

    def _is_in_sizes(self, node: cst.CSTNode) -> bool:
        """Whether code is part of an expression that an argument of sizes is computed by."""
        parent = self._parent(node)
        if isinstance(parent, cst.Arg):
            if self._takes_sizes(parent):
                return True
            function = self._function(parent)
            call = self._parent(parent)
            is_row = find_row(function) is not None and function not in _STOP
            return (
                call is not None and (is_row or function in _BUILTINS) and self._is_in_sizes(call)
            )
        is_sum = isinstance(
            parent,
            cst.Element | cst.StarredElement | cst.List | cst.Tuple | cst.BinaryOperation
            | cst.UnaryOperation | cst.Subscript,
        )  # fmt: skip
        return is_sum and self._is_in_sizes(parent)


def _is_number(index: cst.BaseExpression) -> bool:
    """Whether an index takes one size; None and `...` take more, and lists are of numpy."""
    if isinstance(index, cst.Name) and index.value == "None":
        return False
    if isinstance(index, cst.Attribute) and index.attr.value == "newaxis":
        return False
    return not isinstance(index, cst.Ellipsis | cst.List | cst.Tuple)


def is_static_shape(node: cst.BaseExpression) -> bool:
    """Whether code is `x.shape`, `x.get_shape()`, a slice of them, or a sum with one of them."""
    if isinstance(node, cst.BinaryOperation):
        is_sum = isinstance(node.operator, cst.Add)
        return is_sum and (is_static_shape(node.left) or is_static_shape(node.right))
    if isinstance(node, cst.Subscript):
        is_slice = len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Slice)
        return is_slice and is_static_shape(node.value)
    if isinstance(node, cst.Call):
        func = node.func
        name = func.attr.value if isinstance(func, cst.Attribute) else ""
        return name == "TensorShape" or (name == "get_shape" and not node.args)
    return isinstance(node, cst.Attribute) and node.attr.value == "shape"


def joined_as_tuples(
    original: cst.BinaryOperation, new: cst.BinaryOperation
) -> cst.BinaryOperation:
    """Makes tuples of lists that are added to a shape, which is a tuple in JAX."""
    if not isinstance(original.operator, cst.Add):
        return new
    if is_static_shape(original.left) and isinstance(new.right, cst.List):
        return new.with_changes(right=_as_tuple(new.right))
    if is_static_shape(original.right) and isinstance(new.left, cst.List):
        return new.with_changes(left=_as_tuple(new.left))
    return new


def _as_tuple(node: cst.List) -> cst.Tuple:
    return cst.Tuple(
        node.elements if len(node.elements) != 1 else [_with_comma(node.elements[0])],
        lpar=[*node.lpar, cst.LeftParen(node.lbracket.whitespace_after)],
        rpar=[cst.RightParen(node.rbracket.whitespace_before), *node.rpar],
    )


def _with_comma(element: cst.BaseElement) -> cst.BaseElement:
    is_there = isinstance(element.comma, cst.Comma)
    return element if is_there else element.with_changes(comma=cst.Comma())
