"""Sown values in loops, maps and branches: against a Python loop, for every kind of `reduce`."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

T = 4
X = jnp.array([3.0, -1.0, 2.0, -5.0])
REDUCES = {
    "sum": operator.add,
    "max": jnp.maximum,
    "product": operator.mul,
    "last": lambda a, b: b,
    "all": lambda a, b: jnp.concatenate([a, b]),  # changes the shape
}


def loss(x, reduce):
    ps.sow("loss", x, "losses", reduce=reduce)
    return x


def through(name, reduce):
    """Runs `loss` on each element of x, in a JAX transform."""
    body = lambda x: loss(x, reduce)
    return {
        "scan": lambda x: ps.scan(lambda c, x: (c, body(x)), 0, x)[1],
        "map": lambda x: ps.map(body, x),
        "vmap": lambda x: ps.vmap(body, split_rng=False)(x),
        "nested": lambda x: ps.scan(
            lambda c, x: (c, ps.vmap(body, split_rng=False)(x)), 0, x.reshape(2, 2)
        )[1],
        "remat_scan": lambda x: ps.scan(lambda c, x: (c, ps.remat(body)(x)), 0, x)[1],
        "fori_loop": lambda x: ps.fori_loop(0, T, lambda i, c: (body(x[i]), c)[1], 0),
        "while_loop": lambda x: ps.while_loop(lambda i: i < T, lambda i: (body(x[i]), i + 1)[1], 0),
        "cond_in_scan": lambda x: ps.scan(
            lambda c, x: (c, ps.cond(x > -9, body, lambda x: x, x)), 0, x
        )[1],
        "layer_stack": lambda x: ps.layer_stack(T, with_per_layer_inputs=True)(
            lambda c, x: (c, body(x))
        )(0.0, x),
    }[name]


PLACES = [
    "scan", "map", "vmap", "nested", "remat_scan", "fori_loop", "while_loop", "cond_in_scan",
]  # fmt: skip


def losses(f, jit, x=X):
    g = ps.transform_with_collections(f)
    apply = lambda x: g.apply({}, None, x, mutable=["losses"])[1]["losses"]["~"]["loss"]
    return (jax.jit(apply) if jit else apply)(x)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("reduce", REDUCES)
@pytest.mark.parametrize("place", PLACES)
def test_before_inside_and_after(place, reduce, jit):
    """One name from outside and inside: `reduce` goes over all values, each once, in order."""
    reduce_by = REDUCES[reduce]
    before, after, elements = jnp.array(7.0), jnp.array(0.5), X
    run = through(place, reduce_by)
    if reduce == "all":
        if place not in ("scan", "map", "vmap", "remat_scan"):
            return  # a loop carries, and a branch returns, values of one shape
        before, after, elements = before[None], after[None], X[:, None]
    fold = functools.partial(functools.reduce, reduce_by)
    first = lambda: loss(before, reduce_by)
    last = lambda: loss(after, reduce_by)
    for f, values in (
        (lambda x: (first(), run(x), last()), [before, *elements, after]),
        (lambda x: (first(), run(x)), [before, *elements]),
        (lambda x: (run(x), last()), [*elements, after]),
        (lambda x: (run(x), run(x)), [*elements, *elements]),
    ):
        np.testing.assert_allclose(losses(f, jit, elements), fold(values), rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("reduce", ["sum", "max", "product", "last"])
@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("around", ["nothing", "before", "after", "both"])
def test_branches(around, taken, reduce, jit):
    """A branch that is not taken sows nothing, whatever is neutral to `reduce`."""
    reduce_by = REDUCES[reduce]
    before, after = jnp.array(-7.0), jnp.array(-3.0)

    def f(x):
        if around in ("before", "both"):
            loss(before, reduce_by)
        ps.cond(x > 0, lambda x: loss(-x, reduce_by), lambda x: x, x)
        if around in ("after", "both"):
            loss(after, reduce_by)

    x = jnp.array(2.0 if taken else -2.0)
    values = [before] * (around in ("before", "both"))
    values += [-x] * taken
    values += [after] * (around in ("after", "both"))
    expected = functools.reduce(reduce_by, values) if values else 0.0
    assert float(losses(f, jit, x)) == float(expected)


def test_branches_that_all_sow():
    f = lambda x: ps.switch(
        1, [lambda x: loss(x, jnp.maximum), lambda x: loss(x - 9, jnp.maximum)], x
    )
    assert float(losses(f, False, jnp.array(2.0))) == -7.0


@pytest.mark.parametrize("style", ["state", "collections"])
@pytest.mark.parametrize("loop", ["fori_loop", "while_loop"])
def test_capture_leaves_a_model_with_loops_running(loop, style):
    def f(x):
        net = ps.nets.MLP([3, 3])
        if ps.running_init():
            return net(x)
        if loop == "fori_loop":
            return ps.fori_loop(0, 3, lambda i, x: net(x), x)
        return ps.while_loop(lambda v: v[0] < 3, lambda v: (v[0] + 1, net(v[1])), (0, x))[1]

    x = jnp.ones([2, 3])
    make = ps.transform_with_state if style == "state" else ps.transform_with_collections
    g = make(f)
    variables = g.init(jax.random.key(0), x)
    given = variables if style == "state" else (variables,)
    plain = g.apply(*given, None, x)
    captured = ps.capture_intermediates(g).apply(*given, None, x)
    (out, found), plain = (captured[0], plain[0]) if style == "state" else (captured, plain)
    np.testing.assert_array_equal(out, plain)
    # The outputs are those of the last step.
    np.testing.assert_array_equal(found["mlp"]["__call__"][0], out)


def test_a_loop_without_steps_sows_zeros():
    f = lambda x: ps.while_loop(lambda i: i < 0, lambda i: (loss(x[i], jnp.maximum), i)[1], 0)
    assert float(losses(f, True)) == 0
    both = lambda x: (loss(jnp.array(-4.0), jnp.maximum), f(x))
    assert float(losses(both, True)) == -4


def test_gradients_of_sown_losses():
    def f(w):
        ps.scan(lambda c, x: (c, loss((w * x) ** 2, operator.add)), 0, X)
        loss(w, operator.add)

    g = ps.transform_with_collections(f)
    total = lambda w: g.apply({}, None, w, mutable=["losses"])[1]["losses"]["~"]["loss"]
    np.testing.assert_allclose(jax.grad(total)(2.0), 2 * 2.0 * (X**2).sum() + 1, rtol=1e-6)
