"""`init` and `apply` are pure: random programs, inputs left alone, eager = jit, no tracer gets out."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import purestate as ps


class Counter(ps.Module):
    def __call__(self):
        n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
        ps.set_state("n", n + 1)
        return n


# A program is a nested list of steps; each takes [2, 3] to [2, 3].
LEAVES = st.sampled_from(["linear", "bias", "norm", "count", "noise", "state"])
WRAPPERS = st.sampled_from(
    ["scope", "module", "remat", "scan", "cond", "vmap", "twice", "grad", "jit"]
)
PROGRAMS = st.recursive(
    LEAVES, lambda inner: st.tuples(WRAPPERS, st.lists(inner, min_size=1, max_size=3)), max_leaves=6
)


def step(program, x):
    if program == "linear":
        return jnp.tanh(ps.Linear(3)(x))
    if program == "bias":
        return ps.Bias(b_init=ps.initializers.RandomNormal())(x)
    if program == "norm":
        return ps.BatchNorm(True, True, 0.9)(x, is_training=True)
    if program == "count":
        return x + Counter()()
    if program == "noise":
        return x + jax.random.normal(ps.next_rng_key(), x.shape)
    if program == "state":
        ps.set_state("last", ps.get_state("last", x.shape, x.dtype, init=jnp.zeros) + 1)
        return x
    wrapper, steps = program

    def run(x):
        for inner in steps:
            x = step(inner, x)
        return x

    if wrapper == "scope":
        with ps.name_scope("scope"):
            return run(x)
    module = ps.to_module(run)()
    if wrapper == "module":
        return module(x)
    if wrapper == "twice":
        return module(module(x))
    if wrapper == "remat":
        return ps.remat(run)(x)
    if wrapper == "jit":
        return ps.jit(run)(x)
    if wrapper == "scan":
        return ps.scan(lambda c, _: (run(c), None), x, None, length=2)[0]
    if wrapper == "cond":
        return ps.cond(x[0, 0] > 0, run, lambda x: x, x)
    if wrapper == "vmap":
        # Mapped over an axis that does not matter to what is written.
        return (
            x
            + ps.vmap(lambda y: run(x).sum() + y.sum(), split_rng=False)(jnp.zeros([2, 1]))[:, None]
        )
    assert wrapper == "grad"
    return x + ps.grad(lambda s: (run(x) * s).sum())(1.0)


def leaves_equal(a, b, close=False):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if close:
            np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-3)
        else:
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("count", [5, pytest.param(15, marks=pytest.mark.slow)])
def test_random_programs_are_pure(count):
    settings(max_examples=count, deadline=None, derandomize=True)(given(PROGRAMS)(check_pure))()


def check_pure(program):
    f = ps.transform_with_state(lambda x: step(program, x))
    x, key = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), jax.random.key(0)
    params, state = f.init(key, x)
    assert all(
        isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer)
        for leaf in jax.tree.leaves((params, state))
    )
    given = copy.deepcopy((params, state))
    out, new_state = f.apply(params, state, key, x)
    leaves_equal((params, state), given)
    leaves_equal(f.apply(params, state, key, x), (out, new_state))
    leaves_equal(f.init(key, x), (params, state))
    # The same under jit, up to how XLA fuses; and so under an abstract run.
    leaves_equal(jax.jit(f.apply)(params, state, key, x), (out, new_state), close=True)
    leaves_equal(jax.jit(f.init)(key, x), (params, state), close=True)
    shapes = jax.eval_shape(f.apply, params, state, key, x)
    assert jax.tree.map(lambda s: (s.shape, s.dtype), shapes) == jax.tree.map(
        lambda a: (a.shape, a.dtype), (out, new_state)
    )


def test_results_share_no_dict_with_arguments():
    f = ps.transform_with_state(
        lambda: (ps.get_parameter("w", [], init=jnp.ones), ps.get_state("s", [], init=jnp.ones))
    )
    params, state = f.init(None)
    _, new_state = f.apply(params, state, None)
    assert new_state == state
    assert new_state is not state
    assert new_state["~"] is not state["~"]


def test_every_kind_of_mapping_is_taken():
    import collections
    import types

    f = ps.transform(lambda x: ps.Linear(2)(x))
    x = jnp.ones([1, 3])
    params = f.init(jax.random.key(0), x)
    expected = f.apply(params, None, x)
    lazy = collections.defaultdict(dict, params)
    leaves_equal(f.apply(lazy, None, x), expected)
    assert set(lazy) == set(params)
    leaves_equal(f.apply(types.MappingProxyType(params), None, x), expected)
