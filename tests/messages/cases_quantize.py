"""Messages of quantization."""

import sys
import types
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp

import purestate as ps
from tests.messages.helpers import X, zeros

q = ps.quantize
F = ps.transform_with_state(lambda x: ps.Linear(2)(x))
PARAMS = {"linear": {"w": zeros(3, 2), "b": zeros(2)}}


def applied(block: Any, params: Any = PARAMS, state: Any = None) -> None:
    with block:
        F.apply(params, {"other": {"x": zeros(1)}} if state is None else state, None, X)


def other_history() -> None:
    with q.fp8_training(history=8):
        state = F.init(jax.random.key(0), X)[1]
    applied(q.fp8_training(history=4), state=state)


class Rule:
    def __init__(self, **options: Any):
        self.module_path = ".*"
        self.act_static_scale = options.get("act_static_scale")
        self.bwd_qtype = options.get("bwd_qtype")


def with_qwix(rules: Any) -> None:
    package = types.ModuleType("qwix")
    package.QuantizationRule = Rule  # pyright: ignore
    with mock.patch.dict(sys.modules, {"qwix": package}):
        q.qwix(rules)


def without_qwix() -> None:
    with mock.patch.dict(sys.modules, {"qwix": None}):
        q.qwix([])


CASES: dict[str, Callable[[], Any]] = {
    "another dtype": lambda: q.quantize_array(zeros(3), "int3"),
    "integers": lambda: q.quantize_array(jnp.arange(3)),
    "no such axis": lambda: q.quantize_array(zeros(3), axis=1),
    "groups along two axes": lambda: q.quantize_array(zeros(6, 2), group_size=2),
    "groups that do not divide": lambda: q.quantize_array(zeros(6, 2), axis=0, group_size=4),
    "nothing to quantize": lambda: q.weights({"linear": {"b": zeros(2)}}),
    "no params": lambda: q.weights({"w": zeros(3, 2)}),  # pyright: ignore
    "quantized already": lambda: q.weights(q.weights(PARAMS), predicate=ps.surgery.glob("*/w")),
    "no axis for groups": lambda: q.weights(PARAMS, "int4", ps.surgery.glob("*/b"), 2),
    "groups of a parameter": lambda: q.weights(PARAMS, "int4", per=2),
    "per": lambda: q.weights(PARAMS, per="row"),
    "calibrated without activations": lambda: q.serving(calibrated=True),
    "activations of another dtype": lambda: q.serving("int4"),
    "activations that do not fit": lambda: applied(q.serving("float8_e4m3fn"), q.weights(PARAMS)),
    "no calibration": lambda: applied(q.calibrate()),
    "no history": lambda: q.fp8_training(history=0),
    "another history": other_history,
    "qwix is missing": without_qwix,
    "no rule of qwix": lambda: with_qwix("int8"),
    "static scales of qwix": lambda: with_qwix(Rule(act_static_scale=True)),
    "gradients of qwix": lambda: with_qwix(Rule(bwd_qtype=jnp.int8)),
}
