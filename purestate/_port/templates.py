"""Code with places for arguments: `"jnp.mean({x}, axis={axis})"`. A missing argument goes."""

import re
from collections.abc import Mapping, Sequence
from functools import cache

import libcst as cst
import libcst.matchers as m

_PLACE = "_place_"


@cache
def _parsed(template: str) -> cst.BaseExpression:
    return cst.parse_expression(re.sub(r"\{(\w+)\}", rf"{_PLACE}\1", template))


def places_in(template: str) -> set[str]:
    """Returns the names of the arguments that a template has places for."""
    return set(re.findall(r"\{(\w+)\}", template))


def roots_in(template: str) -> set[str]:
    """Returns the names that the code of a template begins with, such as `jnp`."""
    return set(re.findall(r"(?<![\w.{])(jax|jnp|np|ps|snt|optax|functools|math)(?=\.)", template))


class _Fill(cst.CSTTransformer):
    """Puts arguments into their places, in parentheses if they need some."""

    def __init__(
        self, values: Mapping[str, cst.BaseExpression], rest: Mapping[str, Sequence[cst.Arg]]
    ):
        super().__init__()
        self._values = values
        self._rest = rest
        self._free: set[int] = set()

    def visit_Arg(self, node: cst.Arg) -> None:
        self._free.add(id(node.value))

    def visit_Lambda(self, node: cst.Lambda) -> None:
        self._free.add(id(node.body))

    def visit_Element(self, node: cst.Element) -> None:
        self._free.add(id(node.value))

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        args: list[cst.Arg] = []
        for arg in updated_node.args:
            name = _place_of(arg.value)
            if name is not None and name in self._rest:
                args += self._rest[name]
            elif name is None:
                args.append(arg)
        return updated_node.with_changes(args=_with_commas(args))

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        name = _place_of(original_node)
        if name is None or name not in self._values:
            return updated_node
        value = self._values[name].deep_clone()
        if is_atom(value) or (id(original_node) in self._free and not _needs_parentheses(value)):
            return value
        return parenthesized(value)


def _place_of(node: cst.CSTNode) -> str | None:
    if isinstance(node, cst.Name) and node.value.startswith(_PLACE):
        return node.value.removeprefix(_PLACE)
    return None


def _with_commas(args: list[cst.Arg]) -> list[cst.Arg]:
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    last = len(args) - 1
    return [
        arg.with_changes(comma=comma if i < last else cst.MaybeSentinel.DEFAULT)
        for i, arg in enumerate(args)
    ]


def is_atom(node: cst.BaseExpression) -> bool:
    """Whether an expression can be followed by `.name` or an operator without parentheses."""
    return bool(getattr(node, "lpar", ())) or isinstance(
        node,
        cst.Name | cst.Attribute | cst.Call | cst.Subscript | cst.Float | cst.List | cst.Dict
        | cst.ListComp | cst.SimpleString | cst.Set,
    )  # fmt: skip


def _needs_parentheses(node: cst.BaseExpression) -> bool:
    """Whether code stands without parentheses only if it is the one argument, by position."""
    return isinstance(node, cst.NamedExpr | cst.GeneratorExp | cst.Yield)


def parenthesized(node: cst.BaseExpression) -> cst.BaseExpression:
    """Returns an expression in parentheses."""
    return node.with_changes(
        lpar=(cst.LeftParen(), *node.lpar), rpar=(*node.rpar, cst.RightParen())
    )


def fill(
    template: str,
    values: Mapping[str, cst.BaseExpression],
    call: cst.Call | None = None,
    rest: Mapping[str, Sequence[cst.Arg]] | None = None,
    places: Mapping[str, int] | None = None,
) -> cst.BaseExpression:
    """Returns the code of a template; a plain call is laid out as the `call` that it replaces."""
    made = _parsed(template).visit(_Fill(values, rest or {}))
    assert isinstance(made, cst.BaseExpression)
    if call is None:
        return made
    if isinstance(made, cst.Call) and made.args and _is_plain(template):
        made = _laid_out(_in_old_order(made, template, values, places or {}), call)
    return made.with_changes(lpar=(*call.lpar, *made.lpar), rpar=(*made.rpar, *call.rpar))


def _is_plain(template: str) -> bool:
    """Whether a template is a call of a name, so that its arguments stand as the old ones did."""
    parsed = _parsed(template)
    return isinstance(parsed, cst.Call) and isinstance(parsed.func, cst.Attribute | cst.Name)


def _in_old_order(
    made: cst.Call,
    template: str,
    values: Mapping[str, cst.BaseExpression],
    places: Mapping[str, int],
) -> cst.Call:
    """Returns a call whose arguments stand as the old ones did, if all of them have names."""
    parsed = _parsed(template)
    assert isinstance(parsed, cst.Call)
    names = [_place_of(arg.value) for arg in parsed.args]
    order = [places.get(name, -1) for name in names if name in values and name is not None]
    if len(order) != len(made.args) or not all(arg.keyword for arg in made.args):
        return made
    args = [arg for _, arg in sorted(zip(order, made.args, strict=True), key=lambda x: x[0])]
    return made.with_changes(args=args)


def _laid_out(made: cst.Call, call: cst.Call) -> cst.Call:
    """Gives the arguments the line breaks and commas of the old ones."""
    old = call.args
    if not old:
        return made
    args: list[cst.Arg] = []
    for i, arg in enumerate(made.args):
        is_last = i == len(made.args) - 1
        model = old[-1] if is_last else old[min(i, len(old) - 1)]
        comma = model.comma
        if not is_last and not isinstance(comma, cst.Comma):
            comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        args.append(arg.with_changes(comma=comma, whitespace_after_arg=model.whitespace_after_arg))
    return made.with_changes(
        args=args,
        whitespace_after_func=call.whitespace_after_func,
        whitespace_before_args=call.whitespace_before_args,
    )


def comments_in(node: cst.CSTNode) -> list[str]:
    """Returns the comments inside a piece of code."""
    found = m.findall(node, m.Comment())
    return sorted(comment.value for comment in found if isinstance(comment, cst.Comment))
