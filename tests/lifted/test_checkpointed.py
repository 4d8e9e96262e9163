"""Checkpointed loops: the results and gradients of plain ones, and what they keep, counted."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._lifted.checkpointed import segment_size
from tests.lifted.derivatives import KEY, MODES, STYLES, pair, same

XS = jnp.linspace(-1.0, 1.0, 42).reshape(14, 3)


def step(h, x):
    h = jnp.tanh(ps.Linear(3)(h) + x)
    n = ps.get_state("n", [], init=jnp.zeros)
    ps.set_state("n", n + h.mean())
    ps.sow("h", h)
    return h, h * jax.random.bernoulli(ps.next_rng_key(), 0.5, [3])


def gradients(apply, variables, *args):
    rest = {name: bundle for name, bundle in variables.items() if name != "params"}

    def total(params, *args):
        out, after = apply({"params": params, **rest}, KEY, *args)
        return sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(out)), after

    return jax.value_and_grad(total, (0, 1), has_aux=True)(variables["params"], *args)


CUTS = [True, 1, 3, 5, 7, 14, 100]


@pytest.mark.one_in(2)
@pytest.mark.one_slow_in(2)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("checkpoint", CUTS)
def test_scan_as_without(checkpoint, style, mode, reverse):
    """Parameters, state, keys, sown values and gradients; with a segment that is shorter, and none."""

    def program(**options):
        return pair(
            lambda xs: ps.scan(step, jnp.zeros(3), xs, reverse=reverse, **options), style, mode
        )

    (init, apply), (plain_init, plain) = program(checkpoint=checkpoint), program()
    variables = plain_init(KEY, XS)
    same(init(KEY, XS), variables, rtol=1e-5)
    same(gradients(apply, variables, XS), gradients(plain, variables, XS), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unroll", [1, 2])
def test_scan_of_layers(unroll):
    """A tower whose layers have parameters of their own, in init and apply."""

    def program(**options):
        layer = lambda h, _: (jnp.tanh(ps.Linear(3)(h)), None)
        return ps.transform(
            lambda x: ps.scan(
                layer, x, None, length=10, unroll=unroll, collections={"params": 0}, **options
            )[0]
        )

    f, plain = program(checkpoint=True), program()
    params = f.init(KEY, XS)
    same(params, plain.init(KEY, XS))
    grad = lambda f: jax.jit(jax.grad(lambda p: f.apply(p, None, XS).sum()))(params)
    same(grad(f), grad(plain), rtol=1e-5)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("around", ["remat", "vmap", "layer_stack", "grad"])
def test_scan_in_other_transforms(around):
    ways = {
        "remat": lambda f, xs: ps.remat(f)(xs),
        "vmap": lambda f, xs: ps.vmap(f, split_rng=False)(xs[:, None]),
        "layer_stack": lambda f, xs: ps.layer_stack(2)(lambda xs: xs + f(xs))(xs),
        "grad": lambda f, xs: ps.grad(lambda xs: f(xs).sum())(xs),
    }

    def program(**options):
        body = lambda h, x: (jnp.tanh(ps.Linear(3)(h) + x),) * 2
        f = lambda xs: ps.scan(body, jnp.zeros(3), xs, **options)[1]
        return ps.transform(lambda xs: ways[around](f, xs))

    f, plain = program(checkpoint=4), program()
    params = f.init(KEY, XS)
    same(f.apply(params, KEY, XS), plain.apply(params, KEY, XS), rtol=1e-5)
    grad = lambda f: jax.grad(lambda p: (f.apply(p, None, XS) ** 2).sum())(params)
    same(grad(f), grad(plain), rtol=1e-4, atol=1e-5)


def test_no_steps():
    f = ps.transform_with_state(lambda xs: ps.scan(step, jnp.zeros(3), xs, checkpoint=True))
    params, state = f.init(KEY, XS)
    (h, ys), _ = f.apply(params, state, KEY, XS[:0])
    assert ys.shape == (0, 3)
    assert (h == 0).all()


def stored(f, params, *args):
    """Returns how many numbers the gradient keeps beside its inputs, by JAX's own residuals."""
    _, back = jax.vjp(lambda p: f.apply(p, None, *args).sum(), params)
    inputs = {id(leaf) for leaf in jax.tree.leaves((params, args))}
    return sum(leaf.size for leaf in jax.tree.leaves(back) if id(leaf) not in inputs)


def test_what_scan_keeps():
    """Of 400 steps, a carry of each of 20 segments in place of all that each step computes."""
    body = lambda h, _: (jnp.sin(jnp.tanh(ps.Linear(8)(h))), None)
    program = lambda **options: ps.transform(
        lambda x: ps.scan(body, x, None, length=400, **options)[0]
    )
    params = program().init(KEY, jnp.ones([8]))
    plain, cut = (stored(program(**o), params, jnp.ones([8])) for o in ({}, {"checkpoint": True}))
    assert plain > 400 * 8 * 2
    assert 20 * 8 <= cut < 20 * 8 + 200


def test_what_while_loop_keeps():
    def program(**options):
        def f(x):
            net = ps.Linear(8)
            if ps.running_init():
                return net(x)
            body = lambda v: (v[0] + 1, jnp.sin(jnp.tanh(net(v[1]))))
            return ps.while_loop(lambda v: v[0] < 300, body, (0, x), max_steps=400, **options)[1]

        return ps.transform(f)

    x = jnp.ones([8])
    params = program().init(KEY, x)
    every, cut = (stored(program(checkpoint=c), params, x) for c in (False, True))
    assert 400 * 8 <= every < 400 * 8 + 1000  # values and counters, and nothing of what a step does
    assert 20 * 8 <= cut < 20 * 8 + 300


OPTIONS = [{}, {"checkpoint": False}, {"checkpoint": 4}, {"checkpoint": 50}]


@pytest.mark.one_slow_in(2)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_while_loop(options, style, mode, compiled):
    """As the same number of steps in a Python loop, with its gradient; state, keys, sown values too."""

    def program(loop):
        def f(x):
            net = ps.Linear(3)

            def body(value):
                i, x = value
                ps.set_state("n", ps.get_state("n") + x.mean())
                noise = jax.random.normal(ps.next_rng_key(), [3])
                return i + 1, jnp.tanh(net(x)) + 0.1 * noise

            ps.get_state("n", [], init=jnp.zeros)
            value = (0, x)
            if ps.running_init():
                return body(value)[1]
            return loop(body, value)[1]

        return pair(f, style, mode)

    def by_while(body, value):
        return ps.while_loop(lambda v: v[0] < 9, body, value, max_steps=15, **options)

    def by_for(body, value):
        return ps.fori_loop(0, 9, lambda i, v: body(v), value)

    (init, apply), (_, plain) = program(by_while), program(by_for)
    variables = init(KEY, XS[0])
    get = jax.jit(gradients, static_argnums=0) if compiled else gradients
    mine, truth = get(apply, variables, XS[0]), gradients(plain, variables, XS[0])
    if mode == "path" and style == "state":
        assert float(np.abs(truth[1][1]).sum()) > 0
    same(mine, truth, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("steps", [0, 1, 6, 7])
def test_the_most_steps(steps, options):
    """The loop ends there, whatever the condition says."""
    f = ps.transform(
        lambda x: ps.while_loop(lambda x: x > 0, lambda x: x + 1, x, max_steps=steps, **options)
    )
    assert f.apply({}, None, 1.0) == 1 + steps
    assert f.apply({}, None, -1.0) == -1


def test_elements_of_vmap():
    """Each stops by itself, and has its own gradient."""

    def f(x):
        loop = lambda x: ps.while_loop(
            lambda x: x > 1, lambda x: x / 2, x, max_steps=20, checkpoint=True
        )
        return ps.vmap(loop, split_rng=False)(x)

    x = jnp.array([0.5, 3.0, 100.0])
    f = ps.transform(f)
    assert f.apply({}, None, x).tolist() == [0.5, 0.75, 100 / 128]
    assert jax.grad(lambda x: f.apply({}, None, x).sum())(x).tolist() == [1, 1 / 4, 1 / 128]


def test_a_nan_after_the_end_does_no_harm():
    """The body does not run when the loop has ended, so its gradient there is not a NaN."""
    f = ps.transform(
        lambda x: ps.while_loop(
            lambda x: x > 1, lambda x: jnp.sqrt(x - 1), x, max_steps=5, checkpoint=True
        )
    )
    assert np.isfinite(jax.grad(lambda x: f.apply({}, None, x))(2.0))


@pytest.mark.parametrize("steps", [0, 1, 2, 10, 100, 1000])
def test_segment_size(steps):
    assert segment_size(True, steps, "this") == max(1, math.isqrt(steps))
    assert segment_size(7, steps, "this") == min(7, max(1, steps))


WRONG = {
    "scan_zero": lambda: ps.scan(lambda c, x: (c, x), 0.0, XS, checkpoint=0),
    "scan_text": lambda: ps.scan(lambda c, x: (c, x), 0.0, XS, checkpoint="sqrt"),
    "while": lambda: ps.while_loop(
        lambda x: x > 0, lambda x: x, 1.0, max_steps=9, checkpoint="sqrt"
    ),
    "steps": lambda: ps.while_loop(lambda x: x > 0, lambda x: x, 1.0, max_steps=2.5),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options(case):
    with pytest.raises(ps.errors.LoopError, match="checkpoint|max_steps"):
        ps.transform(WRONG[case]).apply({}, None)
