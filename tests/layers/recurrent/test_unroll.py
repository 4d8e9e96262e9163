"""`static_unroll` and `dynamic_unroll`: a Python loop, bits, and what a core may do in a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import check, normal

UNROLLS = ["static_unroll", "dynamic_unroll"]


def loop(core, xs, state):
    """All outputs and all states."""
    outs, states = [], []
    for t in range(len(jax.tree.leaves(xs)[0])):
        out, state = core(jax.tree.map(lambda x: x[t], xs), state)
        outs.append(out)
        states.append(state)
    return [jax.tree.map(lambda *leaves: jnp.stack(leaves), *found) for found in (outs, states)]


def close(a, b):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), a, b)


def run(f, *inputs):
    g = ps.transform(f)
    return g.apply(g.init(jax.random.key(0), *inputs), jax.random.key(1), *inputs)


@pytest.mark.parametrize("time_major", [True, False])
@pytest.mark.parametrize("unroll", UNROLLS)
def test_same_as_a_loop(unroll, time_major):
    def f(xs):
        core = ps.LSTM(4)
        expected_outs, expected_states = loop(core, xs, core.initial_state(2))
        if not time_major:
            xs = jnp.swapaxes(xs, 0, 1)
        outs, last = getattr(ps, unroll)(core, xs, core.initial_state(2), time_major=time_major)
        if not time_major:
            outs = jnp.swapaxes(outs, 0, 1)
        return (outs, last), (expected_outs, jax.tree.map(lambda s: s[-1], expected_states))

    close(*run(f, normal(5, 2, 3)))


@pytest.mark.parametrize("options", [{"unroll": 1}, {"unroll": 2}, {"unroll": 5}, {"unroll": True}])
@pytest.mark.parametrize("time_major", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_all_states(reverse, time_major, options):
    def f(xs):
        core = ps.GRU(4)
        order = slice(None, None, -1) if reverse else slice(None)
        expected = jax.tree.map(lambda x: x[order], loop(core, xs[order], core.initial_state(2)))
        xs = xs if time_major else jnp.swapaxes(xs, 0, 1)
        found = ps.dynamic_unroll(
            core, xs, core.initial_state(2), time_major=time_major, reverse=reverse, return_all_states=True, **options
        )
        return list(found if time_major else jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), found)), expected

    close(*run(f, normal(5, 2, 3)))


@pytest.mark.parametrize("unroll", UNROLLS)
def test_trees_and_functions_outside_of_a_transformed_function(unroll):
    def core(inputs, state):
        total = state["total"] + inputs["x"]
        return [total, inputs["y"][0] * 2], {"total": total}

    xs = {"x": jnp.arange(4.0), "y": (jnp.ones([4, 3]),)}
    outs, last = getattr(ps, unroll)(core, xs, {"total": jnp.zeros([])})
    assert outs[0].tolist() == [0.0, 1.0, 3.0, 6.0]
    assert outs[1].tolist() == [[2.0] * 3] * 4
    assert float(last["total"]) == 6.0


@pytest.mark.parametrize("unroll", UNROLLS)
def test_a_state_that_is_a_python_number(unroll):
    outs, last = getattr(ps, unroll)(lambda x, s: (x + 1, s + 1), jnp.arange(8), 0)
    assert outs.tolist() == list(range(1, 9))
    assert int(last) == 8


@pytest.mark.parametrize("unroll", UNROLLS)
def test_bits(unroll):
    def run(lib, xs):
        core = lib.DeepRNN([lib.LSTM(4), lib.nets.MLP([3])])
        return getattr(lib, unroll)(core, xs, core.initial_state(2), time_major=False)

    check(run, normal(2, 4, 3), eager=unroll == "static_unroll")


@pytest.mark.parametrize("unroll", UNROLLS)
def test_bits_of_state_in_the_core(unroll):
    def run(lib, xs):
        norm = lib.BatchNorm(True, True, 0.9)
        return getattr(lib, unroll)(lambda x, s: (norm(x, is_training=True), s), xs, jnp.zeros([2]))

    check(run, normal(4, 2, 3))


def test_each_step_has_a_random_key_of_its_own():
    def f(xs):
        return ps.dynamic_unroll(lambda x, s: (jax.random.normal(ps.next_rng_key()), s), xs, ())[0]

    assert len(set(run(f, jnp.ones([20])).tolist())) == 20


def test_gradients_through_time():
    # d/dw of w**T is T * w**(T-1).
    def f(xs):
        w = ps.get_parameter("w", [], init=jnp.ones)
        return ps.dynamic_unroll(lambda x, s: ((), s * w), xs, jnp.ones([]))[1]

    g = ps.transform(f)
    grads = jax.grad(lambda params: g.apply(params, None, jnp.ones([7])))({"~": {"w": jnp.array(2.0)}})
    assert float(grads["~"]["w"]) == 7 * 2.0**6


@pytest.mark.parametrize(
    ("xs", "time_major", "message"),
    [((), True, "no arrays"), (np.ones([0, 2]), True, r"\(0, 2\)"), (np.ones([2, 0]), False, "axis 1")],
)
def test_static_unroll_without_steps(xs, time_major, message):
    with pytest.raises(ps.errors.LayerError, match=message):
        ps.static_unroll(lambda x, s: (x, s), xs, (), time_major=time_major)
