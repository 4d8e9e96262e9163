"""Models with much state: loops and branches hand on what they change, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import count_calls

import purestate as ps
from purestate._lifted import carried
from tests.suite.jaxprs import every_equation

MUCH = 3 * carried.FEW


class Holder(ps.Module):
    """Has one variable."""

    def __init__(self, i):
        super().__init__(name=f"holder_{i}")

    def __call__(self):
        ps.get_state("n", [], init=lambda shape, dtype: jnp.full(shape, 2.0, dtype))


def counted(place, x):
    """Adds to a variable of the model."""
    n = ps.get_state(place, [], init=jnp.zeros)
    ps.set_state(place, n + x.sum())
    return n


def step(x):
    """Reads a variable, changes two, uses a key."""
    n = counted("a", x)
    if not ps.running_init():
        other = ps.get_state("c", [], init=jnp.ones)
        x = x + other
    counted("b", x * 2)
    return x * 0.5 + n + jax.random.normal(ps.next_rng_key(), x.shape) * 0.01


def while_loop(x):
    if ps.running_init():
        return step(x)
    go_on = lambda c: c[0] < 3
    body = lambda c: (c[0] + 1, step(c[1]))
    return ps.while_loop(go_on, body, (0, x))[1]


def bounded(x):
    if ps.running_init():
        return step(x)
    return ps.while_loop(lambda x: x.sum() < 50, step, x, max_steps=4)


BODIES = {
    "scan": lambda x: ps.scan(lambda h, _: (step(h), h), x, None, length=3)[0],
    "scan, checkpoint": lambda x: ps.scan(
        lambda h, _: (step(h), h), x, None, length=4, checkpoint=True
    )[0],
    "scan of a scan": lambda x: ps.scan(
        lambda h, _: (ps.scan(lambda h, _: (step(h), h), h, None, length=2)[0], None),
        x,
        None,
        length=3,
    )[0],
    "nothing changes": lambda x: ps.scan(lambda h, _: (h * 2, h), x, None, length=3)[0],
    "map": lambda x: ps.map(step, x),
    "fori": lambda x: ps.fori_loop(0, 3, lambda i, x: step(x), x),
    "while": while_loop,
    "while, bounded": bounded,
    "cond": lambda x: ps.cond(x.sum() > 0, step, lambda x: x + counted("c", x), x),
    "cond, no change": lambda x: ps.cond(x.sum() > 0, lambda x: x, lambda x: -x, x),
    "switch": lambda x: ps.switch(
        jnp.argmax(x), [step, lambda x: x - counted("c", x), lambda x: x], x
    ),
    "cond in a scan": lambda x: ps.scan(
        lambda h, _: (ps.cond(h.sum() > 2, step, lambda x: x + 1, h), None), x, None, length=4
    )[0],
    "remat": lambda x: ps.remat(step)(x),
    "jit": lambda x: ps.jit(step)(x),
    "grad": lambda x: ps.grad(lambda x: step(x).sum())(x),
    "own slices": lambda x: ps.scan(
        lambda h, _: (step(h), None), x, None, length=3, collections={"params": 0}
    )[0],
}


def program(body):
    def f(x):
        for place in "abc":
            ps.get_state(place, [], init=jnp.ones)
        for i in range(MUCH):
            Holder(i)()
        return BODIES[body](x)

    return f


STYLES = {
    "state": ps.transform_with_state,
    "path": lambda f: ps.transform_with_state(f, rng_mode="path"),
    "collections": ps.transform_with_collections,
}


def results(style, body, jit):
    """What `init` and two calls of `apply` return."""
    f, x, key = STYLES[style](program(body)), jnp.array([1.0, 2.0]), jax.random.PRNGKey(0)
    way = jax.jit if jit else (lambda g: g)
    if style == "collections":
        variables = way(f.init)(key, x)
        apply = way(lambda v, k, x: f.apply(v, k, x, mutable=["state"]))
        out, changed = apply(variables, key, x)
        return variables, out, changed, apply({**variables, **changed}, key, x)
    params, state = way(f.init)(key, x)
    out, new = way(f.apply)(params, state, key, x)
    return params, state, out, new, way(f.apply)(params, new, key, x)


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("style", STYLES)
def test_results_are_those_of_handing_on_everything(style, body, jit, monkeypatch):
    ours = results(style, body, jit)
    monkeypatch.setattr(carried, "FEW", 10**9)
    everything = results(style, body, jit)
    assert jax.tree.structure(ours) == jax.tree.structure(everything)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(everything), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("body", ["scan", "fori", "while", "cond", "switch"])
def test_jax_sees_only_what_changes(body):
    f, x, key = ps.transform_with_state(program(body)), jnp.array([1.0, 2.0]), jax.random.PRNGKey(0)
    params, state = jax.eval_shape(f.init, key, x)
    jaxpr = jax.make_jaxpr(f.apply)(params, state, key, x).jaxpr
    loops = [
        eqn for eqn in every_equation(jaxpr) if eqn.primitive.name in ("scan", "while", "cond")
    ]
    assert loops
    assert all(len(eqn.outvars) < 10 for eqn in loops)


@pytest.mark.parametrize("init", [True, False])
@pytest.mark.parametrize("body", sorted(set(BODIES) - {"own slices"}))
def test_what_a_transform_costs_does_not_grow_with_the_model(body, init):
    def calls(num):
        counts = []

        def f(x):
            for place in "abc":
                ps.get_state(place, [], init=jnp.ones)
            for i in range(num):
                Holder(i)()
            counts.append(count_calls(lambda: BODIES[body](x)))

        pair, x, key = ps.transform_with_state(f), jnp.array([1.0, 2.0]), jax.random.PRNGKey(0)
        state = jax.eval_shape(pair.init, key, x)
        for _ in range(3):  # the first ones fill the caches of JAX
            if init:
                jax.eval_shape(lambda k, x: pair.init(k, x), key, x)
            else:
                jax.eval_shape(lambda s, x: pair.apply(*s, key, x), state, x)
        return counts[-1]

    few, many = calls(2 * carried.FEW), calls(8 * carried.FEW)
    assert many < 1.1 * few, (few, many)


@pytest.mark.parametrize("body", BODIES)
def test_dicts_that_were_given_stay_as_they_are(body):
    """And those that come out are others: a program may change them in place."""
    f, x, key = ps.transform_with_state(program(body)), jnp.array([1.0, 2.0]), jax.random.PRNGKey(0)
    params, state = f.init(key, x)
    before = {module: dict(variables) for module, variables in state.items()}
    _, new = f.apply(params, state, key, x)
    assert state.keys() == before.keys()
    for module, variables in before.items():
        assert variables.keys() == state[module].keys()
        assert all(variables[name] is state[module][name] for name in variables)
        assert new[module] is not state[module]
