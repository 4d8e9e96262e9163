"""Values at creation are distributed as in Sonnet."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.sonnet.cases_distributions import INITIALIZERS, LAYERS
from tests.sonnet.facade import KEY, lib, snt, split
from tests.sonnet.store import recording

RECORDS = recording("distributions").records
FAR = 6.0
"""How many standard errors are too many, for any of some 3000 comparisons."""


def alike(values: Any, record: Any) -> None:
    """Mean, standard deviation, quantiles and bounds are within what chance allows."""
    values = np.asarray(values, np.float64)
    assert list(values.shape) == record["shape"]
    if "quantiles" not in record:
        np.testing.assert_allclose([values.min(), values.max()], [record["min"], record["max"]])
        return
    number, std = values.size, record["std"]
    error = FAR * (1 / number + 1 / record["samples"]) ** 0.5
    assert abs(values.mean() - record["mean"]) < error * std
    assert abs(values.std() - std) < error * std
    levels = np.linspace(0.01, 0.99, 25)
    below = (values.ravel()[:, None] < record["quantiles"]).mean(0)
    np.testing.assert_array_less(np.abs(below - levels), error * (levels * (1 - levels)) ** 0.5)
    slack = 1e-3 * std
    outside = (values < record["min"] - slack) | (values > record["max"] + slack)
    # One sample in `samples` is expected beyond the extremes that were recorded.
    assert outside.sum() < 3 + 10 * number / record["samples"]


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", LAYERS)
def test_variables_of_layers(name):
    def f() -> jax.Array:
        LAYERS[name](snt, lib)
        return jnp.zeros(())

    params, state = ps.transform_with_state(f).init(KEY)
    made = {(m, n): v for tree in (params, state) for m in tree for n, v in tree[m].items()}
    records = {split(path): record for path, record in RECORDS["layers"][name]}
    assert set(made) == set(records)
    for path, record in records.items():
        alike(made[path], record)


def drawn(make: Any, shape: Any, seed: int = 0) -> jax.Array:
    f = ps.transform(lambda: make(snt.initializers)(shape, jnp.float32))
    return f.apply({}, jax.random.key(seed))


@pytest.mark.one_in(8)
@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializers(name):
    make, shape = INITIALIZERS[name]
    alike(drawn(make, shape), RECORDS["initializers"][name])


def test_two_draws_differ():
    make, shape = INITIALIZERS["TruncatedNormal() [200, 100]"]
    assert not np.array_equal(drawn(make, shape, 0), drawn(make, shape, 1))
