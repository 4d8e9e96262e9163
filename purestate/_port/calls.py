"""Decides how a call is rewritten, and builds the new code once its arguments are new too."""

import re
from dataclasses import dataclass, replace
from typing import Protocol

import libcst as cst

from purestate._port.order import left_for_order
from purestate._port.row import Code, Left, Row
from purestate._port.rules_sizes import JOINED, JOINED_ARRAY, by_numpy
from purestate._port.signatures import (
    Bound,
    DoesNotBind,
    Signature,
    bind,
    parse_signature,
)
from purestate._port.templates import fill, is_atom, parenthesized, places_in

NO_PARAMS = Signature(())


@dataclass(frozen=True)
class Facts:
    """What to know of a program before it is rewritten.

    Attributes:
      has_pipelines: whether it uses `tf.data`.
      pipelines: the functions that run in input pipelines.
      module_classes: the classes that are modules.
      uses_sonnet: whether it imports Sonnet.
    """

    has_pipelines: bool = False
    pipelines: frozenset[str] = frozenset()
    module_classes: frozenset[str] = frozenset()
    uses_sonnet: bool = False


class Resolver(Protocol):
    """What knows the names of a program, and if code is inside a module."""

    facts: Facts

    @property
    def in_module(self) -> bool:
        """Whether the code is inside a class of modules."""
        ...

    def name_of(self, node: cst.CSTNode) -> str | None:
        """Returns "tf.nn.relu" for a name of TensorFlow, else None."""
        ...

    def kind_of(self, node: cst.BaseExpression) -> str:
        """Returns what code makes: "list", "array", or "" if it is not known."""
        ...

    def in_quotes(self, template: str) -> str | Left:
        """Returns code whose strings may stand in the f-strings around it."""
        ...


@dataclass(frozen=True)
class Emission:
    """How one call is rewritten: the template, and the position of each argument in the call.

    Attributes:
      is_size: whether numpy computes it, which takes lists for arrays.
      receiver: the place of the object that a method is called on; "" for functions.
    """

    name: str
    template: str
    places: dict[str, int]
    rest: tuple[int, ...] = ()
    rest_name: str = ""
    signature: Signature = NO_PARAMS
    remark: str = ""
    receiver: str = ""
    is_size: bool = False


def decide(resolver: Resolver, node: cst.Call, row: Row, context: str = "") -> Emission | Left:
    """Returns how such a call is rewritten, or why it is not."""
    signature = parse_signature(row.signature)
    names = {
        str(i): name for i, arg in enumerate(node.args) if (name := resolver.name_of(arg.value))
    }
    try:
        bound = bind(
            node,
            signature,
            row.old_names,
            names,
            resolver.in_module,
            context,
            resolver.facts.uses_sonnet,
        )
    except DoesNotBind as error:
        return Left(str(error), _instead_of(row))
    is_size = context in ("shape", "size")
    if row.name == "concat":
        bound = replace(bound, kind=resolver.kind_of(bound.value("values")))
    code = row.emit if isinstance(row.emit, str) else row.emit(bound)
    if isinstance(code, Left):
        return code
    code = Code(code) if isinstance(code, str) else code
    unused = _without_place(bound, code.template, row)
    if unused:
        return Left(f"its argument `{unused[0]}` has no counterpart", _instead_of(row))
    if left := left_for_order(bound, code.template):
        return left
    template = resolver.in_quotes(by_numpy(code.template) if is_size else code.template)
    if isinstance(template, Left):
        return template
    name = f"tf.{row.name}"
    remark = " ".join(filter(None, (row.remark, code.remark)))
    return Emission(
        name,
        template,
        bound.places,
        bound.rest,
        signature.rest or "",
        signature,
        remark,
        is_size=is_size,
    )


def _instead_of(row: Row) -> str:
    if isinstance(row.emit, str):
        return f"Write `{re.sub(r'[{}]', '', row.emit)}`."
    return ""


def _without_place(bound: Bound, template: str, row: Row) -> list[str]:
    """Returns the arguments that were given, matter, and have no place in the new code."""
    known = {*places_in(template), *row.drops, "name"}
    if template in (JOINED, JOINED_ARRAY):
        known.add("values")
    return [name for name in bound.places if name not in known and bound.has(name)]


def finish(emission: Emission, updated: cst.Call, parent: cst.CSTNode | None) -> cst.BaseExpression:
    """Builds the new code of a call whose arguments are rewritten."""
    if emission.template in (JOINED, JOINED_ARRAY):
        joined = _joined(updated.args[emission.places["values"]].value)
        if emission.template == JOINED:
            return joined
        return fill(JOINED_ARRAY.replace(JOINED, "{joined}"), {"joined": joined})
    values = {
        name: _as_held(
            updated.args[index].value, "" if emission.is_size else emission.signature[name].holds
        )
        for name, index in emission.places.items()
        if not _is_default_none(emission, name, updated)
    }
    if emission.receiver:
        assert isinstance(updated.func, cst.Attribute)
        values[emission.receiver] = updated.func.value
    holds = "" if emission.is_size else emission.signature.rest_holds
    rest = [
        updated.args[i].with_changes(value=_as_held(updated.args[i].value, holds))
        for i in emission.rest
    ]
    made = fill(emission.template, values, updated, {emission.rest_name: rest}, emission.places)
    return made if is_atom(made) or _stands_free(parent) else parenthesized(made)


def _is_default_none(emission: Emission, name: str, updated: cst.Call) -> bool:
    value = updated.args[emission.places[name]].value
    is_none = isinstance(value, cst.Name) and value.value == "None"
    return is_none and emission.signature[name].default is None


def _stands_free(parent: cst.CSTNode | None) -> bool:
    """Whether an operator may stand here without parentheses."""
    return isinstance(
        parent,
        cst.Arg | cst.Assign | cst.AnnAssign | cst.AugAssign | cst.Return | cst.Expr | cst.Element
        | cst.DictElement | cst.Index | cst.Lambda | cst.Param,
    )  # fmt: skip


def _as_held(node: cst.BaseExpression, holds: str) -> cst.BaseExpression:
    """Makes arrays of lists, which JAX does not take for arrays."""
    if holds == "t" and _is_list(node):
        return fill("jnp.asarray({x})", {"x": node})
    if holds == "ts" and isinstance(node, cst.List | cst.Tuple):
        elements = [
            element
            if isinstance(element, cst.StarredElement)
            else element.with_changes(value=_as_held(element.value, "t"))
            for element in node.elements
        ]
        return node.with_changes(elements=elements)
    return node


def _is_list(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.List | cst.Tuple | cst.ListComp)


def _joined(values: cst.BaseExpression) -> cst.BaseExpression:
    """Returns one tuple of the sizes in a list of shapes and lists."""
    assert isinstance(values, cst.List | cst.Tuple)
    elements: list[cst.BaseElement] = []
    for element in values.elements:
        part = element.value
        if isinstance(part, cst.List | cst.Tuple):
            elements += [
                inner.with_changes(comma=cst.MaybeSentinel.DEFAULT) for inner in part.elements
            ]
        else:
            elements.append(cst.StarredElement(part))
    return cst.Tuple(elements)
