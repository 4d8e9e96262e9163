"""Steps of the optimizers are those that Sonnet recorded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate.sonnet as snt
from tests.sonnet.cases_optimizers import GRADS, OPTIMIZATIONS, PARAMS
from tests.sonnet.store import recording

BY_NAME = {case.name: case for case in OPTIMIZATIONS}


def made(case, place):
    return getattr(place, case.optimizer)(*case.args, **case.kwargs)


def close(params, expected):
    for name, place in expected.items():
        value = recording("optimizers").get(place)
        scale = max(1.0, np.abs(value).max())
        np.testing.assert_allclose(params[name], value, rtol=0, atol=1e-5 * scale)


def tree(arrays):
    return jax.tree.map(jnp.asarray, arrays)


@pytest.mark.whole
@pytest.mark.parametrize("name", BY_NAME)
def test_as_a_transform_of_optax(name):
    optimizer = made(BY_NAME[name], snt.optimizers)
    params = tree(PARAMS)
    state = optimizer.init(params)
    for grads, expected in zip(GRADS, recording("optimizers").records[name]["params"], strict=True):
        updates, state = optimizer.update(tree(grads), state, params)
        params = jax.tree.map(jnp.add, params, updates)
        close(params, expected)


@pytest.mark.whole
@pytest.mark.parametrize("name", BY_NAME)
def test_functional(name):
    case = BY_NAME[name]
    optimizer = getattr(snt.functional, case.optimizer.lower())(*case.args, **case.kwargs)
    params = tree(PARAMS)
    state = optimizer.init(params)
    for grads, expected in zip(
        GRADS, recording("optimizers").records[name]["functional"], strict=True
    ):
        params, state = optimizer.apply(state, tree(grads), params)
        close(params, expected)


@pytest.mark.parametrize("name", [n for n in BY_NAME if "Adam" in n or "RMSProp" in n])
@pytest.mark.slow
def test_compiled(name):
    optimizer = made(BY_NAME[name], snt.optimizers)

    @jax.jit
    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return jax.tree.map(jnp.add, params, updates), state

    params = tree(PARAMS)
    state = optimizer.init(params)
    for grads in GRADS:
        params, state = step(params, state, tree(grads))
    close(params, recording("optimizers").records[name]["params"][-1])


def test_transforms_are_of_optax():
    optax = pytest.importorskip("optax")
    chained = optax.chain(optax.clip(0.1), snt.optimizers.SGD(1.0))
    state = chained.init(tree(PARAMS))
    updates, _ = chained.update(tree({"a": np.asarray([5.0, -0.05]), "b": PARAMS["b"]}), state)
    np.testing.assert_allclose(updates["a"], [-0.1, 0.05])
