"""What quantization costs in accuracy stays within limits: on digits, and on a small language model."""

from collections.abc import Callable

import jax
import numpy as np
import pytest

import purestate as ps
from tests.quantize.measure import (
    HOW,
    LENGTH,
    Task,
    digits,
    language_model,
    quantized,
    results,
    trained_in_float8,
    transformer,
)

TASKS: dict[str, Callable[[], Task]] = {
    "digits": lambda: digits(6),
    "language model": lambda: language_model(200),
}
# How much of the accuracy may be lost, how much may be added to the loss, and how many times
# smaller the params are at least.
LIMITS = {
    "int8 weights": (0.005, 0.01, 3.4),
    "int8 weights, int8 activations": (0.01, 0.02, 3.4),
    "int8 weights, int8 activations calibrated": (0.01, 0.02, 3.4),
    "int4 weights": (0.03, 0.08, 6.0),
    "int4 weights in groups of 16": (0.02, 0.05, 4.5),
    "int4 weights in groups of 16, int8 activations": (0.02, 0.05, 4.5),
    "float8 weights": (0.01, 0.02, 3.4),
    "float8 weights, float8 activations": (0.01, 0.03, 3.4),
    "trained in float8": (0.03, 0.08, 1.0),
}


@pytest.mark.parametrize("how", HOW)
def test_bytes_of_a_transformer(how: str) -> None:
    f = ps.transform(transformer)
    params = f.init(jax.random.key(0), np.zeros([1, LENGTH], np.int32))
    small = quantized(params, HOW[how])
    assert ps.quantize.bytes_of(params) / ps.quantize.bytes_of(small) >= LIMITS[how][2]


@pytest.mark.rare
@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_accuracy_and_bytes(name: str) -> None:
    task = TASKS[name]()
    found = dict(results(task, task.train()))
    found["trained in float8"] = trained_in_float8(task)
    floats = found.pop("float32")
    assert floats.accuracy > {"digits": 0.95, "language model": 0.35}[name]
    assert found.keys() == LIMITS.keys()
    for how, (accuracy, loss, ratio) in LIMITS.items():
        assert found[how].accuracy > floats.accuracy - accuracy, how
        assert found[how].loss < floats.loss + loss, how
        assert floats.bytes / found[how].bytes >= ratio, how
