"""`closure_convert`: what a function does and how it depends on its variables, for code that knows neither."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.ode import odeint

import purestate as ps
from tests.lifted.derivatives import KEY, MODES, STYLES, WAYS, X, identical, pair, same


def net(x):
    return jnp.tanh(ps.Linear(3)(x)) + ps.get_state("shift", [], init=jnp.ones)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def solve(f, x, *captured):
    """Somebody's function: it knows only arrays, and has a gradient of its own."""
    return f(f(x, *captured), *captured)


def solve_fwd(f, x, *captured):
    return solve(f, x, *captured), (x, captured)


def solve_bwd(f, kept, g):
    x, captured = kept
    return jax.vjp(lambda x, *c: f(f(x, *c), *c), x, *captured)[1](g)


solve.defvjp(solve_fwd, solve_bwd)


def converted(f, x):
    pure, captured = ps.closure_convert(f, x)
    return solve(pure, x, *captured)


def twice(f, x):
    """The same in plain calls, with one set of variables."""
    pure = ps.purify(f)
    if ps.running_init():
        _, variables = pure(ps.get_variables(), ps.next_rng_key(), x)
        ps.set_variables(variables)
    variables = ps.get_variables()
    return pure(variables, None, pure(variables, None, x)[0])[0]


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("way", WAYS)
def test_as_plain_calls(way, style, mode, jitted):
    init, apply = pair(lambda x: WAYS[way](lambda x: converted(net, x), x), style, mode)
    _, plain = pair(lambda x: WAYS[way](lambda x: twice(net, x), x), style, mode)
    plain_init, _ = pair(lambda x: WAYS[way](net, x), style, mode)
    variables = init(KEY, X)
    identical(variables, plain_init(KEY, X))
    if jitted:
        apply = jax.jit(apply)
    same(apply(variables, KEY, X), plain(variables, KEY, X), rtol=1e-5)

    def grads(apply):
        total = lambda p, x: (apply({**variables, "params": p}, KEY, x)[0] ** 2).sum()
        return jax.grad(total, (0, 1))(variables["params"], X)

    same(grads(apply), grads(plain), rtol=1e-4, atol=1e-5)


def test_a_solver_of_jax():
    """`odeint`, whose gradient is an adjoint equation, against Euler's steps of the same field."""
    field = lambda y, t: -jnp.tanh(ps.Linear(3)(y)) * t

    def solved(y):
        pure, captured = ps.closure_convert(field, y, 0.0)
        return odeint(pure, y, jnp.array([0.0, 1.0]), *captured)[-1]

    f, g = ps.transform(solved), ps.transform(field)
    params = f.init(KEY, X[0])

    def euler(params, y, steps=4000):
        step = lambda i, y: y + g.apply(params, None, y, (i + 0.5) / steps) / steps
        return jax.lax.fori_loop(0, steps, step, y)

    total = lambda run: jax.grad(lambda p, y: (run(p, y) ** 2).sum(), (0, 1))(params, X[0])
    same(total(lambda p, y: f.apply(p, None, y)), total(euler), rtol=1e-2, atol=1e-3)


def test_what_is_captured():
    """The variables that are read, and arrays that are differentiated; nothing else."""
    found = []

    def f(x, scale):
        ps.Linear(2, name="other")(x)
        pure, captured = ps.closure_convert(lambda x: net(x) * scale, x)
        found.append(captured)
        return pure(x, *captured).sum()

    f = ps.transform_with_state(f)
    params, state = f.init(KEY, X, 2.0)
    found.clear()
    jax.grad(lambda scale: f.apply(params, state, None, X, scale)[0])(2.0)
    variables, scale = found[0]
    assert {store: list(bundle) for store, bundle in variables.items()} == {
        "params": ["linear"],
        "state": ["~"],
    }
    assert scale.shape == ()


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_keys(mode, streams):
    """Each call draws the same; another conversion, and what follows, other keys."""

    def f(x):
        noise = lambda x: x + jax.random.normal(ps.next_rng_key("noise"), x.shape)
        pure, captured = ps.closure_convert(noise, x)
        again, other = ps.closure_convert(noise, x)
        return pure(x, *captured), pure(x, *captured), again(x, *other), noise(x)

    f = ps.transform(f, rng_mode=mode)
    key = {"noise": KEY} if streams else KEY
    a, b, c, d = f.apply(f.init(key, X), key, X)
    identical(a, b)
    assert len({float(v[0, 0]) for v in (a, c, d)}) == 3


def test_shapes_stand_for_arguments_and_the_function_outlives_the_run():
    kept = []

    def f(x):
        kept.append(ps.closure_convert(net, jax.ShapeDtypeStruct(x.shape, x.dtype)))
        return net(x)

    f = ps.transform_with_state(f)
    params, state = f.init(KEY, X)
    assert list(params) == ["linear", "linear_1"]
    kept.clear()
    f.apply(params, state, None, X)
    ((pure, captured),) = kept
    plain = ps.transform_with_state(net)
    same(jax.jit(pure)(X, *captured), plain.apply(params, state, None, X)[0])
    same(ps.bind(f, params, state)(X).shape, (4, 3))


def test_frozen():
    def f(x):
        with ps.freeze("linear/*"):
            return converted(ps.Linear(3), x).sum()

    f = ps.transform(f)
    params = f.init(KEY, X)
    assert not any(map(np.any, jax.tree.leaves(jax.grad(lambda p: f.apply(p, None, X))(params))))


def test_state_that_would_be_lost():
    f = ps.transform_with_state(
        lambda x: ps.closure_convert(lambda x: ps.set_state("last", x), x)[1]
    )
    with pytest.raises(ps.errors.CollectionError, match="'~/last'.*purify"):
        f.init(None, X)
    with pytest.raises(ps.errors.FrameError, match="jax.closure_convert"):
        ps.closure_convert(net, X)
