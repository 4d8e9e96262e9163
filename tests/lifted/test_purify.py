"""`purify` makes any transform usable inside: JAX's, and those of others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import purestate as ps

X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)


def net(x):
    return jnp.tanh(ps.Linear(3)(x))


def odeint(f, y, steps=10):
    """A third-party integrator, which knows nothing of purestate."""
    return jax.lax.fori_loop(0, steps, lambda i, y: y + f(y) / steps, y)


def transformed(use):
    """A function that makes its variables plainly in init, and uses `pure` with `use` in apply."""

    def f(x):
        pure = ps.purify(net)
        if ps.running_init():
            out, variables = pure(ps.get_variables(), ps.next_rng_key(), x)
            ps.set_variables(variables)
            return out
        return use(pure, ps.get_variables(), x)

    pair = ps.transform(f)
    params = pair.init(jax.random.key(0), X)
    assert sorted(params) == ["linear"]
    return params, pair.apply(params, None, X), jax.jit(pair.apply)(params, None, X)


def by_hand(params):
    return lambda x: jnp.tanh(x @ params["linear"]["w"] + params["linear"]["b"])


def custom(pure, variables):
    @jax.custom_vjp
    def g(variables, x):
        return pure(variables, None, x)[0]

    def forward(variables, x):
        return g(variables, x), (variables, x)

    def backward(saved, cotangent):
        return jax.vjp(lambda v, x: pure(v, None, x)[0], *saved)[1](2 * cotangent)

    g.defvjp(forward, backward)
    return g


def sharded(pure, variables, x):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    f = jax.shard_map(
        lambda v, x: pure(v, None, x)[0], mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data")
    )
    return f(variables, x)


USES = {
    "jacrev": (
        lambda pure, v, x: jax.jacrev(lambda x: pure(v, None, x)[0])(x[0]),
        lambda g, x: jax.jacrev(g)(x[0]),
    ),
    "jacfwd": (
        lambda pure, v, x: jax.jacfwd(lambda x: pure(v, None, x)[0])(x[0]),
        lambda g, x: jax.jacfwd(g)(x[0]),
    ),
    "hessian": (
        lambda pure, v, x: jax.hessian(lambda x: pure(v, None, x)[0].sum())(x[0]),
        lambda g, x: jax.hessian(lambda x: g(x).sum())(x[0]),
    ),
    "vmap": (lambda pure, v, x: jax.vmap(lambda x: pure(v, None, x)[0])(x), lambda g, x: g(x)),
    "jit": (lambda pure, v, x: jax.jit(pure)(v, None, x)[0], lambda g, x: g(x)),
    "checkpoint": (lambda pure, v, x: jax.checkpoint(pure)(v, None, x)[0], lambda g, x: g(x)),
    "odeint": (
        lambda pure, v, x: odeint(lambda y: pure(v, None, y)[0], x),
        lambda g, x: odeint(g, x),
    ),
    "linearize": (
        lambda pure, v, x: jax.linearize(lambda x: pure(v, None, x)[0], x)[1](x),
        lambda g, x: jax.jvp(g, (x,), (x,))[1],
    ),
    "associative_scan": (
        lambda pure, v, x: jax.lax.associative_scan(lambda a, b: a * pure(v, None, b)[0], x),
        lambda g, x: jax.lax.associative_scan(lambda a, b: a * g(b), x),
    ),
    "shard_map": (sharded, lambda g, x: g(x)),
    "custom_vjp": (
        lambda pure, v, x: jax.grad(lambda x: custom(pure, v)(v, x).sum())(x),
        lambda g, x: 2 * jax.grad(lambda x: g(x).sum())(x),
    ),
}


@pytest.mark.parametrize("name", USES)
def test_any_transform(name):
    use, reference = USES[name]
    params, eager, jitted = transformed(use)
    expected = reference(by_hand(params), X)
    np.testing.assert_allclose(eager, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jitted, expected, rtol=1e-5, atol=1e-6)


def test_a_backward_pass_after_the_frame_has_ended():
    def f(x):
        pure = ps.purify(net)
        if ps.running_init():
            out, variables = pure(ps.get_variables(), ps.next_rng_key(), x)
            ps.set_variables(variables)
            return out
        return custom(pure, None)(ps.get_variables(), x)

    pair = ps.transform(f)
    params = pair.init(jax.random.key(0), X)
    grads = jax.grad(lambda p: pair.apply(p, None, X).sum())(params)
    expected = jax.grad(lambda p: by_hand(p)(X).sum())(params)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, 2 * b, rtol=1e-5, atol=1e-6)


def test_state_and_keys_go_through():
    def count(x):
        n = ps.get_state("n", [], init=jnp.zeros)
        ps.set_state("n", n + 1)
        return x + jax.random.normal(ps.next_rng_key(), []) * 0 + n

    def f(x):
        pure = ps.purify(count)

        def body(variables, inputs):
            out, variables = pure(variables, *inputs)
            return variables, out

        if ps.running_init():
            ps.get_state("n", [], init=jnp.zeros)
        variables, outs = jax.lax.scan(
            body, ps.get_variables(), (ps.next_rng_keys(3), jnp.zeros([3]))
        )
        ps.set_variables(variables)
        return outs

    pair = ps.transform_with_state(f)
    params, state = pair.init(jax.random.key(0), X)
    assert float(state["~"]["n"]) == 0
    outs, state = pair.apply(params, state, jax.random.key(0), X)
    assert outs.tolist() == [0, 1, 2]
    assert float(state["~"]["n"]) == 3


def test_init_gives_the_first_state_not_the_last():
    def f():
        pure = ps.purify(lambda: ps.set_state("n", ps.get_state("n", [], init=jnp.zeros) + 5))
        _, variables = jax.jit(pure)(ps.get_variables(), None)
        ps.set_variables(variables)

    pair = ps.transform_with_state(f)
    params, state = pair.init(None)
    assert float(state["~"]["n"]) == 0
    assert float(pair.apply(params, state, None)[1]["~"]["n"]) == 5


def test_it_is_pure():
    def f(x):
        pure = ps.purify(lambda x: (ps.set_state("n", x), ps.Linear(3)(x))[1])
        if ps.running_init():
            _, variables = pure(ps.get_variables(), ps.next_rng_key(), x)
            assert ps.get_params() == {}
            assert ps.get_current_state() == {}
            ps.set_variables(variables)
        out = [pure(ps.get_variables(), None, x)[0] for _ in range(2)]
        np.testing.assert_array_equal(*out)
        return out[0]

    params, state = ps.transform_with_state(f).init(jax.random.key(0), X)
    assert sorted(params) == ["linear"]


def test_keys_are_only_those_given():
    def f():
        return ps.purify(ps.next_rng_key)(ps.get_variables(), None)

    with pytest.raises(ps.errors.MissingRNGError):
        ps.transform(f).apply({}, jax.random.key(0))
    with pytest.raises(ps.errors.FrameError):
        ps.purify(net)
