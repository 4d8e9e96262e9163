"""The programs that XLA is given, and makes, are those of the same models by hand in JAX."""

from trace import contenders, equations

import jax
import pytest
from models import MODELS

NAMES = [
    "mlp",
    "lstm",
    "batch_norm",
    pytest.param("gpt", marks=pytest.mark.slow),
    pytest.param("resnet18", marks=pytest.mark.slow),
]


def traced(form, args):
    return jax.jit(lambda *a: form(*a)).trace(*args)


@pytest.mark.parametrize("name", NAMES)
def test_equations_and_instructions_are_no_more_than_by_hand(name):
    forms, args = contenders(MODELS[name])
    found = {}
    for form in ("by hand", "purestate"):
        program = traced(forms[form], args)
        text = program.lower().compile().as_text()
        found[form] = (
            equations(program.jaxpr.jaxpr),
            sum(" = " in line for line in text.splitlines()),
        )
    for ours, by_hand in zip(found["purestate"], found["by hand"], strict=True):
        assert ours <= by_hand, found
