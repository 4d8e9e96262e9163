"""`purify` in every style: as the function itself would run, in `init` and in `apply`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
KEY = jax.random.key(0)


def net(x):
    count = ps.get_state("count", [], init=jnp.zeros)
    ps.set_state("count", count + 1)
    cache = ps.variable("cache", "last", [3], init=jnp.zeros)
    cache.value = x.mean(0)
    x = ps.BatchNorm(True, True, 0.9)(ps.Linear(3, w_init=jnp.ones)(x), is_training=True)
    return x + ps.perturb("p", jnp.zeros_like(x))


def purified(x):
    pure = ps.purify(net)
    out, variables = pure(
        ps.get_variables(), None if not ps.running_init() else ps.next_rng_key(), x
    )
    ps.set_variables(variables)
    return out


def under_jit(x):
    pure = jax.jit(ps.purify(net))
    key = ps.next_rng_key() if ps.running_init() else None
    out, variables = pure(ps.get_variables(), key, x)
    ps.set_variables(variables)
    return out


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), a, b)


@pytest.mark.parametrize("purify", [purified, under_jit])
@pytest.mark.parametrize("mode", ["sequence", "path"])
@pytest.mark.parametrize("style", ["state", "collections"])
def test_as_the_function_itself(style, mode, purify):
    make = ps.transform_with_state if style == "state" else ps.transform_with_collections
    f, g = make(net, rng_mode=mode), make(purify, rng_mode=mode)
    expected, ours = f.init(KEY, X), g.init(KEY, X)
    shapes = jax.tree.map(jnp.shape, expected)
    assert jax.tree.map(jnp.shape, ours) == shapes
    state = lambda tree: (
        tree[1] if style == "state" else {k: v for k, v in tree.items() if k != "params"}
    )
    same(state(ours), state(expected))  # initial values, and not those after the run
    if style == "state":
        same(g.apply(*expected, None, X), f.apply(*expected, None, X))
        return
    for mutable in (["batch_stats", "state", "cache"], True):
        same(*(h.apply(expected, None, X, mutable=mutable) for h in (g, f)))
    with pytest.raises(ps.errors.ImmutableCollectionError):
        g.apply(expected, None, X)


def test_what_is_given_is_not_changed():
    def f(x):
        pure = ps.purify(net)
        given = ps.get_variables()
        before = jax.tree.map(lambda v: v, given)
        pure(given, ps.next_rng_key(), x)
        assert jax.tree.structure(given) == jax.tree.structure(before)

    for make in (ps.transform_with_state, ps.transform_with_collections):
        make(f).init(KEY, X)
