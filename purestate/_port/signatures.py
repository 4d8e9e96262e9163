"""The signature of a function in a table, and the arguments of a call bound to it."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import libcst as cst

UNKNOWN = object()
"""The value of an argument that is not a literal."""

MISSING = object()


@dataclass(frozen=True)
class Param:
    """A parameter: its name, its default, and if it holds a tensor ("t") or several ("ts")."""

    name: str
    holds: str
    default: Any


@dataclass(frozen=True)
class Signature:
    """The parameters of a function; `rest` is the name of its `*args`, if it has any.

    Attributes:
      rest_holds: what each of these holds.
    """

    params: tuple[Param, ...]
    rest: str | None = None
    rest_holds: str = ""

    def __getitem__(self, name: str) -> Param:
        return next(param for param in self.params if param.name == name)


@cache
def parse_signature(text: str) -> Signature:
    """Reads `"x:t, axis=None, *rest, name=None"`."""
    params: list[Param] = []
    rest, rest_holds = None, ""
    for part in _split_at_commas(text):
        head, equals, default = part.partition("=")
        name, _, holds = head.strip().partition(":")
        if name.startswith("*"):
            rest, rest_holds = name[1:], holds
        else:
            value = ast.literal_eval(default.strip()) if equals else MISSING
            params.append(Param(name, holds.strip(), value))
    return Signature(tuple(params), rest, rest_holds)


def _split_at_commas(text: str) -> list[str]:
    parts, depth = [""], 0
    for letter in text:
        depth += letter in "([{"
        depth -= letter in ")]}"
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


class DoesNotBind(Exception):
    """A call has arguments that the table does not know."""


@dataclass(frozen=True)
class Bound:
    """The arguments of a call by parameter: the position of each in the call, and its code.

    Attributes:
      places: the index of each argument in `call.args`.
      rest: the indices of those that `*args` takes.
      values: the expressions, as they stood in the call.
      names: what each expression is called in full if it is a name of TensorFlow ("tf.int32").
      signature: what they were bound against.
      in_module: whether the call is inside a class of modules.
      uses_sonnet: whether the program imports Sonnet.
      kind: what `tf.concat` joins: "list", "array", or "" if it is not known.
      context: how the result is used; see `purestate._port.sizes.context_of`.
    """

    call: cst.Call
    places: dict[str, int]
    rest: tuple[int, ...]
    names: dict[str, str]
    signature: Signature
    in_module: bool = False
    context: str = ""
    uses_sonnet: bool = False
    kind: str = ""

    def has(self, name: str) -> bool:
        """Whether an argument was given, and is not its default."""
        if name not in self.places:
            return False
        default = self.signature[name].default
        value = self.literal(name)
        return value is UNKNOWN or not (type(value) is type(default) and value == default)

    def value(self, name: str) -> cst.BaseExpression:
        """Returns the code of an argument."""
        return self.call.args[self.places[name]].value

    def literal(self, name: str) -> Any:
        """Returns the value of an argument or its default; `UNKNOWN` if that takes running code."""
        if name not in self.places:
            return self.signature[name].default
        return literal_of(self.value(name))

    def is_simple(self, name: str) -> bool:
        """Whether code may repeat an argument: a name, an attribute or a number."""
        return name not in self.places or is_simple(self.value(name))


def literal_of(node: cst.BaseExpression) -> Any:
    """Returns the value of a literal, or `UNKNOWN`."""
    try:
        return ast.literal_eval(cst.Module([]).code_for_node(node).strip())
    except (ValueError, SyntaxError, TypeError, MemoryError):
        return UNKNOWN


def is_simple(node: cst.BaseExpression) -> bool:
    """Whether code may stand twice without being computed twice."""
    if isinstance(node, cst.Attribute):
        return is_simple(node.value)
    if isinstance(node, cst.UnaryOperation):
        return is_simple(node.expression)
    if isinstance(node, cst.List | cst.Tuple):
        return all(is_simple(element.value) for element in node.elements)
    if isinstance(node, cst.Subscript):
        return is_simple(node.value) and not re.search(r"[^\w\s:,.\[\]-]", _code(node))
    return isinstance(node, cst.Name | cst.Integer | cst.Float)


def bind(
    call: cst.Call,
    signature: Signature,
    old_names: dict[str, str],
    names: dict[str, str],
    in_module: bool = False,
    context: str = "",
    uses_sonnet: bool = False,
) -> Bound:
    """Binds the arguments of a call as Python would; raises `DoesNotBind` if they do not fit."""
    places: dict[str, int] = {}
    rest: list[int] = []
    free = [param.name for param in signature.params]
    for index, arg in enumerate(call.args):
        is_of_rest = signature.rest is not None and len(places) >= len(_positional(signature))
        if arg.star and not (arg.star == "*" and is_of_rest):
            raise DoesNotBind(
                f"what `{arg.star}{_code(arg.value)}` holds is known only at run time"
            )
        if arg.keyword is not None:
            name = old_names.get(arg.keyword.value, arg.keyword.value)
        elif is_of_rest:
            rest.append(index)
            continue
        elif index < len(free):
            name = free[index]
        else:
            raise DoesNotBind(f"it has more than {len(free)} arguments")
        if name not in free:
            raise DoesNotBind(f"its argument `{name}` is unknown to this tool")
        if name in places:
            raise DoesNotBind(f"its argument `{name}` is given twice")
        places[name] = index
    missing = [p.name for p in signature.params if p.default is MISSING and p.name not in places]
    if missing:
        raise DoesNotBind(f"its argument `{missing[0]}` is missing")
    resolved = {name: names[str(i)] for name, i in places.items() if str(i) in names}
    return Bound(call, places, tuple(rest), resolved, signature, in_module, context, uses_sonnet)


def _positional(signature: Signature) -> Sequence[Param]:
    if signature.rest is None:
        return signature.params
    return [param for param in signature.params if param.default is MISSING]


def _code(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node)
