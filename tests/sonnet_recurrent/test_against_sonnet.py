"""Outputs and gradients against those recorded from Sonnet, outside and in a transformed function."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from tests.sonnet_recurrent.cases import CORES, GRADIENTS, LENGTHS, PROGRAMS, XS, weighted
from tests.sonnet_recurrent.recordings import recorded

LIB = SimpleNamespace(array=jnp.asarray, zeros=jnp.zeros, sum=jnp.sum)
# Each core and each kind of length is among these; the others take a second each.
FAST = (
    "gru, dynamic_unroll, some",
    "lstm, static_unroll, none and too many",
    "counting, dynamic_unroll",
)


def check(answer, name):
    leaves = jax.tree.leaves(answer)
    expected = recorded(name)
    assert len(leaves) == len(expected)
    for leaf, array in zip(leaves, expected, strict=True):
        assert leaf.dtype == array.dtype
        np.testing.assert_allclose(leaf, array, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in PROGRAMS
])  # fmt: skip
def test_outside(name):
    check(PROGRAMS[name](snt, LIB), name)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in PROGRAMS
])  # fmt: skip
def test_inside(name):
    f = ps.transform_with_state(lambda: PROGRAMS[name](snt, LIB))
    params, state = jax.jit(f.init)(jax.random.key(0))
    answer, after = jax.jit(f.apply)(params, state, None)
    check(answer, name)
    assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.mark.parametrize("unroll", ["static_unroll", "dynamic_unroll"])
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name == "lstm" else pytest.mark.slow) for name in GRADIENTS
])  # fmt: skip
def test_gradients(name, unroll):
    paths = []

    def f(xs):
        core = CORES[name](snt)
        start = core.initial_state(xs.shape[1])
        outputs, _ = getattr(snt, unroll)(core, xs, start, jnp.asarray(LENGTHS["some"]))
        paths[:] = [variable.path for variable in core.trainable_variables]
        return weighted(outputs, LIB)

    g = ps.transform_with_state(f)
    params, state = jax.jit(g.init)(jax.random.key(0), XS)
    gradients = jax.jit(jax.grad(lambda params: g.apply(params, state, None, XS)[0]))(params)
    assert len(paths) == len(jax.tree.leaves(params))
    for (module, variable), expected in zip(paths, recorded(f"gradient {name}"), strict=True):
        np.testing.assert_allclose(gradients[module][variable], expected, rtol=0, atol=1e-5)
