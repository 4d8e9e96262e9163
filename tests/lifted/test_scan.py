"""`scan` and `map`: as a Python loop over the same body, for values, state, keys and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.core.raises import raises

XS = jnp.arange(12.0).reshape(4, 3) / 12
PARAMS = {"~": {"w": jnp.array([1.0, 2.0, 3.0])}}
STATE = {"~": {"n": jnp.int32(0)}}
KEY = jax.random.key(0, impl="unsafe_rbg")  # quick to compile


def body(carry, x):
    n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
    ps.set_state("n", n + 1)
    carry = jnp.sin(carry * ps.get_parameter("w", [3], init=jnp.ones)) + (0 if x is None else x)
    return carry, {"y": carry * n, "n": n}


def python_loop(f, init, xs, length=None, reverse=False):
    """What `ps.scan` stands for."""
    steps = range(length if xs is None else len(xs))
    ys = {}
    for i in reversed(steps) if reverse else steps:
        init, ys[i] = f(init, None if xs is None else xs[i])
    return init, jax.tree.map(lambda *y: jnp.stack(y), *(ys[i] for i in steps))


def runs(f, *args):
    """The same function with a scan, and with a Python loop: `init`, and a jitted `apply`."""
    results = []
    for scan in (ps.scan, python_loop):
        pair = ps.transform_with_state(lambda *args, scan=scan: f(scan, *args))
        params, state = pair.init(None, *args)
        results.append(((params, state), jax.jit(pair.apply)(PARAMS, state, None, *args)))
    return results


def assert_close(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), a, b)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_as_a_python_loop(steps, reverse):
    ours, loop = runs(lambda scan, xs: scan(body, jnp.ones([3]), xs, reverse=reverse), XS[:steps])
    assert_close(ours, loop)
    assert int(ours[1][1]["~"]["n"]) == steps


def test_without_xs_and_one_after_the_other():
    def f(scan):
        carry, _ = scan(body, jnp.ones([3]), None, length=3)
        return scan(body, carry, None, length=2)

    ours, loop = runs(f)
    assert_close(ours, loop)


def test_one_in_another():
    def f(scan, xs):
        def outer(carry, x):
            carry, ys = scan(body, carry, None, length=2)
            return carry + x, ys

        return scan(outer, jnp.ones([3]), xs)

    ours, loop = runs(f, XS)
    assert_close(ours, loop)
    assert int(ours[1][1]["~"]["n"]) == 8


def test_gradients_are_those_of_the_loop():
    def loss(scan):
        f = ps.transform_with_state(lambda xs: scan(body, jnp.ones([3]), xs)[0].sum())
        return lambda params, xs: f.apply(params, STATE, None, xs)[0]

    ours, loop = (jax.jit(jax.grad(loss(s), (0, 1)))(PARAMS, XS) for s in (ps.scan, python_loop))
    assert_close(ours, loop)


def test_no_step_at_all():
    f = ps.transform_with_state(lambda xs: ps.scan(body, jnp.ones([3]), xs))
    params, state = f.init(None, XS[:0])
    assert (params["~"]["w"].tolist(), int(state["~"]["n"])) == ([1, 1, 1], 0)
    (carry, ys), new = f.apply(params, state, None, XS[:0])
    assert carry.tolist() == [1, 1, 1]
    assert jax.tree.map(jnp.shape, ys) == {"y": (0, 3), "n": (0,)}
    assert new == state


def test_each_step_has_keys_of_its_own_and_so_has_what_follows():
    def f():
        draw = lambda: jax.random.bits(ps.next_rng_key())
        first = draw()
        _, ys = ps.scan(lambda c, _: (c, jnp.stack([draw(), draw()])), 0, None, length=3)
        return first, ys, draw()

    values = np.concatenate([np.ravel(x) for x in jax.jit(ps.transform(f).apply)({}, KEY)])
    assert len(set(values.tolist())) == len(values) == 8


def test_map_is_a_scan_without_a_carry():
    pair = ps.transform_with_state(
        lambda xs: ps.map(lambda t: body(t["a"], t["b"])[0], {"a": xs, "b": 2 * xs})
    )
    out, state = pair.apply(PARAMS, STATE, None, XS)
    np.testing.assert_allclose(out, jnp.sin(XS * PARAMS["~"]["w"]) + 2 * XS, rtol=1e-6)
    assert int(state["~"]["n"]) == 4


def test_what_a_later_step_makes():
    f = ps.transform(
        lambda x: ps.scan(
            lambda c, x: (c, ps.Linear(1)(x) if isinstance(x, jax.core.Tracer) else x[:1]), 0, x
        )
    )
    raises(ps.errors.NewVariableError, "linear/w", call=lambda: f.init(KEY, XS))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ps.scan(body, 0, None), "pass `length`"),
        (lambda: ps.scan(body, 0, 3.0), "a float"),
        (lambda: ps.scan(body, 0, jnp.ones([])), "an array without axes"),
        (lambda: ps.scan(lambda c, x: jnp.ones([2]), 0, XS), "return (carry, y)"),
        (lambda: ps.scan(body, 0, (XS, XS[:2])), "2"),
        (lambda: ps.scan(body, 0, XS, length=3), "3"),
    ],
)
def test_misuse(call, words):
    raises(ps.errors.LoopError, "ps.scan", words, call=lambda: ps.transform(call).apply({}, None))
