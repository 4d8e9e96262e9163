"""Variables of TensorFlow inside modules: from `tf.Variable` to `snt.Variable`."""

from typing import Any

import libcst as cst

from purestate._port.calls import Emission
from purestate._port.calls import decide as decide_call
from purestate._port.row import Code, Left, row
from purestate._port.signatures import UNKNOWN, Bound
from purestate._port.table import advice_on


def _variable(call: Bound) -> Code | Left:
    value = call.value("initial_value")
    is_plain = isinstance(value, cst.Lambda) or call.literal("initial_value") is not UNKNOWN
    initial = "{initial_value}" if is_plain else "lambda: {initial_value}"
    kept = ("trainable", "name", "dtype")
    options = "".join(f", {name}={{{name}}}" for name in kept if name in call.places)
    if call.has("shape") or call.has("aggregation"):
        return Left("its shape may change, or replicas share it", "Make an array of a fixed shape.")
    return Code(f"snt.Variable({initial}{options})")


VARIABLE = row(
    "Variable",
    "initial_value, trainable=None, validate_shape=True, caching_device=None, name=None,"
    " variable_def=None, dtype=None, import_scope=None, constraint=None, synchronization=None,"
    " aggregation=None, shape=None",
    _variable,
    drops="validate_shape caching_device import_scope synchronization",
)


def decide(rewriter: Any, node: cst.Call, calls: dict[cst.CSTNode, Emission]) -> bool:
    """Decides about `tf.Variable(...)`; returns whether to go on to its arguments."""
    if not (rewriter.in_module or rewriter.facts.uses_sonnet):
        rewriter.leave_it(node, advice_on("tf.Variable"))
        return False
    decision = decide_call(rewriter, node, VARIABLE)
    if isinstance(decision, Left):
        rewriter.leave_it(node, decision)
        return False
    calls[node] = decision
    rewriter.leave_untouched(node.func)
    return True


def mention_of(name: str) -> str:
    """Returns what TensorFlow's classes of variables and modules are called here."""
    return {"tf.Variable": "snt.Variable", "tf.Module": "snt.Module"}.get(name, "")
