"""Messages of operations and rules."""

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import purestate as ps
from tests.messages.helpers import X, init


def intercepted(interceptor: Any) -> Any:
    with ps.intercept_ops(interceptor):
        return init(lambda: ps.Linear(2)(X))


def _one_operand(next_op: Any, operands: Any, context: Any) -> Any:
    return next_op(operands[0])


def _unknown_option(next_op: Any, operands: Any, context: Any) -> Any:
    return next_op(*operands, scale=2.0)


def _another_shape(next_op: Any, operands: Any, context: Any) -> Any:
    return next_op(*operands)[0]


def _nothing(next_op: Any, operands: Any, context: Any) -> Any:
    return None


def _two(next_op: Any, operands: Any, context: Any) -> Any:
    return next_op(*operands), next_op(*operands)


OPS: dict[str, Callable[[], Any]] = {
    "intercept_ops of a class": lambda: ps.intercept_ops(dict),  # pyright: ignore
    "intercept_ops of None": lambda: ps.intercept_ops(None),  # pyright: ignore
    "next_op of one operand": lambda: intercepted(_one_operand),
    "next_op with an unknown option": lambda: intercepted(_unknown_option),
    "an interceptor returns another shape": lambda: intercepted(_another_shape),
    "an interceptor returns nothing": lambda: intercepted(_nothing),
    "an interceptor returns a tuple": lambda: intercepted(_two),
    "a mask of a norm": lambda: init(
        lambda: ps.LayerNorm(-1, True, True)(X, mask=np.ones([5], bool))
    ),
    "a mask of a norm, of numbers": lambda: init(lambda: ps.RMSNorm(-1)(X, mask=X)),
    "an axis that is too short to reflect": lambda: init(
        lambda: ps.Conv1D(1, 5, padding="REFLECT")(X)
    ),
}


def two(x: Any) -> Any:
    return ps.Linear(2, name="head")(ps.nets.MLP([3, 4], name="encoder")(x))


def configured(rules: Any) -> Any:
    return init(ps.configured(two, rules), X)


def loaded(text: str, name: str = "rules.json") -> Any:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path(name).write_text(text)
        return ps.rules.load(name)


RULES: dict[str, Callable[[], Any]] = {
    "configured with no rules": lambda: configured([ps.rules.freeze()]),
    "configured with something else": lambda: configured({"head": "freeze"}),
    "a pattern that fits no module": lambda: configured({"**/haed": ps.rules.freeze()}),
    "a pattern that is like none": lambda: configured({"xyz": ps.rules.freeze()}),
    "a pattern, no modules": lambda: init(ps.configured(lambda: 1, {"xyz": ps.rules.freeze()})),
    "two rules that clash": lambda: configured(
        {"head": ps.rules.freeze(), "h*": ps.rules.freeze(False)}
    ),
    "two policies that clash": lambda: configured(
        {"head": ps.rules.precision("bfloat16"), "h*": ps.rules.precision("float32")}
    ),
    "a rule that changes nothing": lambda: configured({"head": ps.rules.ops(attention="float32")}),
    "axes of a parameter that is not there": lambda: configured(
        {"head": ps.rules.axes(kernel=("a", "b"))}
    ),
    "rules.remat of an unknown policy": lambda: ps.rules.remat("dots"),
    "rules.precision of an int": lambda: ps.rules.precision("int32"),
    "rules.ops of an unknown operation": lambda: ps.rules.ops(matmul="float32"),
    "rules.ops of no dtype": lambda: ps.rules.ops(dot="fast"),
    "rules.axes of a string": lambda: ps.rules.axes(w="embed"),  # pyright: ignore
    "rules.out_sharding of a string": lambda: ps.rules.out_sharding("data"),
    "explain_rules of a function": lambda: ps.explain_rules(two),
    "rules of a lambda in a file": lambda: ps.rules.to_data(
        {"head": ps.rules.ops(dot=lambda *args: args[0](*args[1]))}
    ),
    "rules from data, unknown": lambda: ps.rules.from_data({"head": [{"rule": "melt"}]}),
    "rules from data, options": lambda: ps.rules.from_data({"head": [{"rule": "freeze", "a": 1}]}),
    "rules from data, a function that is not found": lambda: ps.rules.from_data(
        {"head": [{"rule": "ops", "dot": {"function": "nowhere:f"}}]}
    ),
    "rules from a broken file": lambda: loaded("{"),
    "rules from a broken TOML file": lambda: loaded("= 1", "rules.toml"),
    "rules from a list": lambda: loaded("[]"),
}

CASES = {**OPS, **RULES}
