"""Arguments that assign a name, wait or yield: when they are computed matters."""

import re

import libcst as cst
import libcst.matchers as m

from purestate._port.row import Left
from purestate._port.signatures import Bound

_ACTS = m.NamedExpr() | m.Await() | m.Yield()
_MOVED = Left(
    "an argument assigns a name, awaits or yields, and the new code would compute it at another"
    " time",
    "Compute that argument in a line before.",
)


def left_for_order(bound: Bound, template: str) -> Left | None:
    """Says that new code would compute an argument twice, never, later or in a lambda."""
    acting = {i for i, arg in enumerate(bound.call.args) if acts(arg.value)}
    if not acting:
        return None
    places = [place for part in re.findall(r"\{(\w+)", template) for place in _indices(bound, part)]
    is_kept = acting <= set(places) and places == sorted(set(places))
    return None if is_kept and "lambda" not in template else _MOVED


def _indices(bound: Bound, place: str) -> list[int]:
    if place == bound.signature.rest:
        return list(bound.rest)
    return [bound.places[place]] if place in bound.places else []


def acts(node: cst.BaseExpression) -> bool:
    """Whether code assigns a name with `:=`, awaits or yields."""
    return bool(m.findall(node, _ACTS))
