"""Outputs, state and gradients of each case are those that Sonnet recorded."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.sonnet.facade import (
    KEY,
    Program,
    Recorded,
    cases_by_id,
    is_float,
    split,
    with_gradients,
)
from tests.sonnet.table import digest

IDS = list(cases_by_id())


def first_of_each(ids: list[str]) -> list[str]:
    """The first case of each layer, by the first word of its name."""
    firsts: dict[str, str] = {}
    for i in ids:
        firsts.setdefault(i.replace("(", " ").split(" ")[1], i)
    return list(firsts.values())


def mostly_slow(ids: list[str], step: int) -> list[Any]:
    """Each case is fast in `test_names.py`; here, where XLA compiles, every `step`-th layer is."""
    fast = first_of_each(ids)[::step]
    return [pytest.param(i, marks=[] if i in fast else pytest.mark.slow) for i in ids]


GROUPS = {i.partition(":")[0]: i for i in reversed(IDS)}


def load(i: str) -> tuple[Program, Recorded]:
    group, case = cases_by_id()[i]
    return Program(case), Recorded(group, case)


def close(actual: Any, expected: np.ndarray, tolerance: float, what: str) -> None:
    """Compares relative to the largest number that is expected, or to 1."""
    actual = np.asarray(jnp.asarray(actual).astype(expected.dtype))
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected, err_msg=what)
        return
    actual = digest(actual)
    assert actual.shape == expected.shape, f"{what}: {actual.shape}, and {expected.shape} recorded"
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale, err_msg=what)


def compare_outputs(program: Program, recorded: Recorded, number: int, outputs: Any) -> None:
    call = recorded.record["calls"][number]
    assert len(outputs) == len(call["outputs"])
    for i, (x, expected) in enumerate(zip(outputs, call["outputs"], strict=True)):
        close(x, recorded.array(expected), program.case.tolerance, f"output {i} of call {number}")


def compare_state(recorded: Recorded, number: int, state: Any, tolerance: float) -> None:
    """Everything that is not trainable, also what did not change."""
    _, expected = recorded.trees(number + 1)
    assert {m: set(v) for m, v in state.items()} == {m: set(v) for m, v in expected.items()}
    for module, values in expected.items():
        for name, value in values.items():
            what = f"{module}/{name} after call {number}"
            close(state[module][name], digest_if_float(value), tolerance, what)


def digest_if_float(value: Any) -> np.ndarray:
    value = np.asarray(value)
    return digest(value) if is_float(value) else value


def compare_gradients(recorded: Recorded, number: int, params: Any, inputs: Any) -> None:
    """None in Sonnet is zero in JAX."""
    call = recorded.record["calls"][number]
    tolerance = recorded.case.tolerance
    pairs = [
        *((f"{m}/{n}", params[m][n], g) for (m, n), g in zip(recorded.trainable(), call["gradients"], strict=True)),
        *((f"input {i}", inputs[i], g) for i, g in enumerate(call["input_gradients"])),
    ]  # fmt: skip
    for what, actual, place in pairs:
        zero = digest(np.zeros(actual.shape, np.float32))
        expected = zero if place is None else recorded.array(place)
        close(actual, expected, tolerance, f"gradient of {what} in call {number}")


def check(program: Program, recorded: Recorded, number: int, is_compiled: bool) -> None:
    call = recorded.record["calls"][number]
    params, state = recorded.trees(number)
    run = with_gradients(program, number, is_compiled)
    gradients, (outputs, new_state) = run(params, state, program.arrays()[number])
    assert program.outlines[-1] == call["outline"]
    compare_outputs(program, recorded, number, outputs)
    compare_state(recorded, number, new_state, program.case.tolerance)
    compare_gradients(recorded, number, *gradients)


@pytest.mark.whole
@pytest.mark.parametrize("i", mostly_slow(IDS, 6))
def test_each_call_compiled(i):
    program, recorded = load(i)
    for number in range(len(program.case.calls)):
        check(program, recorded, number, is_compiled=True)


@pytest.mark.one_slow_in(3)
@pytest.mark.slow
@pytest.mark.parametrize("i", IDS)
def test_each_call_eagerly(i):
    program, recorded = load(i)
    for number in range(len(program.case.calls)):
        check(program, recorded, number, is_compiled=False)


@pytest.mark.one_slow_in(2)
@pytest.mark.slow
@pytest.mark.parametrize("i", IDS)
def test_all_calls_in_one_program(i):
    program, recorded = load(i)
    params, state = recorded.trees(0)
    outputs, state = jax.jit(program.apply)(params, state, KEY, program.arrays())
    for number, one in enumerate(outputs):
        compare_outputs(program, recorded, number, one)
    compare_state(recorded, len(outputs) - 1, state, program.case.tolerance)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("group", GROUPS)
def test_rng_mode_path(group):
    """Names and numbers are the same if keys depend on the path."""
    recorded = Recorded(group, cases_by_id()[GROUPS[group]][1])
    program = Program(recorded.case, rng_mode="path")
    check(program, recorded, 0, is_compiled=True)
    params, _ = program.init(KEY, program.arrays())
    assert {(m, n) for m in params for n in params[m]} == {
        split(v["path"]) for v in recorded.variables if v["trainable"]
    }


STATEFUL = [
    i
    for i, (group, case) in cases_by_id().items()
    if any(
        not v["trainable"] and v["dtype"].startswith("float")
        for v in Recorded(group, case).variables
    )
]


@pytest.mark.whole
@pytest.mark.parametrize("i", mostly_slow(STATEFUL, 3))
def test_state_carries_no_gradient(i):
    """`assign` cuts gradients in TensorFlow, so what a call stores depends on nothing."""
    program, recorded = load(i)
    assert not any(call["gradient_through_state"] for call in recorded.record["calls"])
    _, state = recorded.trees(0)

    def stored(params: Any, floats: list[Any]) -> jax.Array:
        rest = iter(floats)
        arrays = [[next(rest) if is_float(a) else a for a in call] for call in program.arrays()]
        _, new = program.apply(params, state, KEY, arrays)
        return sum((x.astype(jnp.float32).sum() for x in jax.tree.leaves(new) if is_float(x)), 0.0)

    params, _ = recorded.trees(0)
    floats = [a for call in program.arrays() for a in call if is_float(a)]
    for gradient in jax.tree.leaves(jax.jit(jax.grad(stored, (0, 1)))(params, floats)):
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))
