"""Programs in the manner of Sonnet's users give what Sonnet gave, in each way to run them.

Five steps of training from the same weights. Losses and weights agree to 1e-5 of their size: float32
has 1e-7, sums are taken in another order, and Adam and RMSProp divide by the root of small gradients.
"""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sonnet_programs.facade import WAYS
from tests.sonnet_programs.programs import PROGRAMS

BY_NAME = {kind.__name__: kind for kind in PROGRAMS}
TOLERANCE = 1e-5


@cache
def recordings() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(Path(__file__).parent / "recordings.npz") as file:
        arrays = dict(file)
    return json.loads(str(arrays.pop("facts"))), arrays


def differences(name: str, way: str) -> tuple[Any, float, float]:
    """Runs a program; returns the result, and how far its losses and variables are off."""
    facts, arrays = recordings()
    result = WAYS[way](BY_NAME[name])
    expected = np.array(facts[name]["losses"])
    in_losses = np.max(np.abs(result.losses - expected) / np.maximum(np.abs(expected), 0.1))
    worst = 0.0
    for part, values in result.values.items():
        for index, value in enumerate(values):
            recorded = arrays[f"{name}/{part}/{index}"]
            assert value.shape == recorded.shape
            assert value.dtype.kind == recorded.dtype.kind  # int64 there is int32 in JAX
            if value.size:
                size = max(float(np.abs(recorded).max()), 0.1)
                worst = max(worst, float(np.abs(value - recorded).max()) / size)
    return result, float(in_losses), worst


# The programs that are fast tests, in one way each. Compiling the small operations of an eager step
# takes longest.
FAST = {
    "ImpalaLearner": "functional",
    "VqVae": "snt.function",
    "ResidualClassifier": "transform_with_state",
    "AveragedWeights": "eager",
}
RUNS = [
    pytest.param(name, way, marks=() if FAST.get(name) == way else pytest.mark.slow)
    for name in BY_NAME
    for way in WAYS
]


@pytest.mark.one_slow_in(2)
@pytest.mark.whole
@pytest.mark.parametrize(("name", "way"), RUNS)
def test_losses_weights_and_names(name, way):
    result, in_losses, in_variables = differences(name, way)
    assert in_losses < TOLERANCE
    assert in_variables < TOLERANCE
    expected = recordings()[0][name]["variables"]
    if way != "transform_with_state":
        assert result.described == expected
    for part, found in result.described.items():  # inside equal names are numbered
        last = lambda rows: [
            [row[0].rpartition("/")[2].rstrip("_0123456789:")] + row[1:] for row in rows
        ]
        assert last(found) == last(expected[part])


if __name__ == "__main__":
    for name in sys.argv[1:] or BY_NAME:
        for way in WAYS:
            print(name, way, "{:.1e} {:.1e}".format(*differences(name, way)[1:]), flush=True)
