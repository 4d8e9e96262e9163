"""`static_unroll` and `dynamic_unroll`: a Python loop, bits, what a core may do in a loop, sequence lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import check, normal, num_equations

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
            core,
            xs,
            core.initial_state(2),
            time_major=time_major,
            reverse=reverse,
            return_all_states=True,
            **options,
        )
        return list(
            found if time_major else jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), found)
        ), expected

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


@pytest.mark.slow
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
    grads = jax.grad(lambda params: g.apply(params, None, jnp.ones([7])))(
        {"~": {"w": jnp.array(2.0)}}
    )
    assert float(grads["~"]["w"]) == 7 * 2.0**6


@pytest.mark.parametrize(
    ("xs", "time_major", "message"),
    [
        ((), True, "no arrays"),
        (np.ones([0, 2]), True, r"\(0, 2\)"),
        (np.ones([2, 0]), False, "axis 1"),
    ],
)
def test_static_unroll_without_steps(xs, time_major, message):
    with pytest.raises(ps.errors.LayerError, match=message):
        ps.static_unroll(lambda x, s: (x, s), xs, (), time_major=time_major)


LENGTHS = np.array([5, 2, 0])
# What is run, the options it is run with, and the order in which it goes through the steps.
RUNS = [
    ("static_unroll", {}, 1),
    ("dynamic_unroll", {}, 1),
    ("dynamic_unroll", {"reverse": True, "unroll": 2}, -1),
]


def row_by_row(params, xs, start, order):
    """tanh(x W + b + h V + c) over the steps of each row alone, in float64: outputs and states at all steps."""
    (b, w), (c, v) = (map(np.float64, (bundle["b"], bundle["w"])) for bundle in params.values())
    outs, states = np.zeros([2, *xs.shape[:2], 4])
    for row, length in enumerate(LENGTHS):
        h = np.float64(start[row])
        for t in range(len(xs))[::order]:
            if t < length:
                outs[t, row] = h = np.tanh(np.float64(xs[t, row]) @ w + b + h @ v + c)
            states[t, row] = h
    return outs, states


@pytest.mark.parametrize("time_major", [True, False])
@pytest.mark.parametrize(("unroll", "options", "order"), RUNS)
def test_sequence_length_is_a_loop_over_each_row_alone(unroll, options, order, time_major):
    start = normal(3, 4, seed=1)
    layout = (lambda x: x) if time_major else (lambda x: jnp.swapaxes(x, 0, 1))

    def f(xs, lengths, **more):
        core = ps.VanillaRNN(4, activation=jnp.tanh)
        return getattr(ps, unroll)(
            core,
            layout(xs),
            start,
            time_major=time_major,
            sequence_length=lengths,
            **options,
            **more,
        )

    xs = normal(5, 3, 2)
    g = ps.transform(f)
    params = jax.tree.map(lambda x: x + 0.1, g.init(jax.random.key(0), xs, LENGTHS))
    outs, states = row_by_row(params, xs, start, order)
    found, last = jax.jit(g.apply)(params, None, xs, LENGTHS)
    np.testing.assert_allclose(layout(found), outs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last, states[-1 if order > 0 else 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layout(found)[outs == 0], 0)
    if unroll == "dynamic_unroll":
        _, found = g.apply(params, None, xs, LENGTHS, return_all_states=True)
        np.testing.assert_allclose(layout(found), states, rtol=1e-5, atol=1e-6)


class UnitVectors(ps.RNNCore):
    """Adds up inputs of length one; its derivative at an input of zeros is not finite."""

    def __call__(self, inputs, prev_state):
        total = prev_state + ps.get_parameter("w", [], init=jnp.ones) * inputs / jnp.linalg.norm(
            inputs, axis=-1, keepdims=True
        )
        return jnp.sin(total), total

    def initial_state(self, batch_size):
        return jnp.zeros([batch_size, 2])


@pytest.mark.slow
@pytest.mark.parametrize(("unroll", "options", "order"), RUNS)
@pytest.mark.parametrize(
    ("make", "lengths"), [(lambda: ps.LSTM(4), LENGTHS), (UnitVectors, np.array([5, 2, 1]))]
)
def test_padding_touches_nothing(make, lengths, unroll, options, order):
    def loss(params, xs):
        outs, last = g.apply(params, None, xs)
        return sum(jnp.sum(jnp.cos(x + 1)) for x in jax.tree.leaves((outs, last))), (outs, last)

    def f(xs):
        core = make()
        return getattr(ps, unroll)(
            core, xs, core.initial_state(3), sequence_length=lengths, **options
        )

    g = ps.transform(f)
    is_padding = np.arange(5)[:, None] >= lengths
    xs = np.array(normal(5, 3, 2))
    params = g.init(jax.random.key(0), xs)
    results = []
    for padding in (7.0, np.nan, np.inf):
        xs[is_padding] = padding
        results.append(jax.grad(loss, argnums=(0, 1), has_aux=True)(params, jnp.asarray(xs)))
        (_, from_inputs), _ = results[-1]
        np.testing.assert_array_equal(from_inputs[is_padding], 0)
        assert (np.abs(from_inputs[~is_padding]).sum(-1) > 0).all()
    for other in results[1:]:
        jax.tree.map(np.testing.assert_array_equal, results[0], other)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(results))


@pytest.mark.parametrize("unroll", UNROLLS)
def test_sequence_length_without_a_batch_and_outside(unroll):
    outs, last = getattr(ps, unroll)(
        lambda x, s: ({"x": x["x"] + s, "n": x["n"]}, s + 1),
        {"x": jnp.arange(4.0), "n": jnp.arange(4)},
        jnp.zeros([]),
        sequence_length=3,
    )
    assert outs["x"].tolist() == [0.0, 2.0, 4.0, 0.0]
    assert outs["n"].tolist() == [0, 1, 2, 0]
    assert outs["n"].dtype == jnp.int32
    assert float(last) == 3.0


def test_sequence_length_of_no_steps():
    f = ps.transform(
        lambda xs: ps.dynamic_unroll(
            ps.GRU(4), xs, jnp.ones([2, 4]), sequence_length=np.array([0, 0])
        )
    )
    xs = jnp.ones([0, 2, 3])
    outs, last = f.apply(f.init(jax.random.key(0), xs), None, xs)
    assert outs.shape == (0, 2, 4)
    assert last.tolist() == np.ones([2, 4]).tolist()


def test_no_equations_without_a_sequence_length():
    def count(**options):
        g = ps.transform(lambda xs: ps.dynamic_unroll(ps.GRU(4), xs, jnp.zeros([2, 4]), **options))
        xs = normal(5, 2, 3)
        params = g.init(jax.random.key(0), xs)
        return num_equations(jax.make_jaxpr(g.apply)(params, None, xs).jaxpr)

    assert count() == count(sequence_length=None) < count(sequence_length=np.array([5, 5]))


@pytest.mark.parametrize("unroll", UNROLLS)
@pytest.mark.parametrize(
    ("lengths", "time_major", "message"),
    [
        ([1.0, 2.0], True, r"integers.*float32 of shape \(2,\)"),
        (np.ones([2, 1], int), True, r"shape \(2, 1\)"),
        ([1, 2, 3], True, r"shape \(3,\).*\(4, 2, 3\).*time_major=False"),
        ([1, 2], False, r"shape \(2,\).*\(4, 2, 3\).*time_major=True"),
        ([1, 5], True, r"0 to 4; got \[1, 5\]"),
        ([-1, 3], True, r"0 to 4; got \[-1, 3\]"),
    ],
)
def test_sequence_lengths_that_do_not_fit(unroll, lengths, time_major, message):
    with pytest.raises(ps.errors.LayerError, match=f"{unroll}.*{message}"):
        getattr(ps, unroll)(
            lambda x, s: (x, s),
            jnp.ones([4, 2, 3]),
            (),
            time_major=time_major,
            sequence_length=np.asarray(lengths),
        )


@pytest.mark.parametrize("unroll", UNROLLS)
@pytest.mark.parametrize("core", [lambda x, s: (x, s + 1), lambda x, s: (x.sum(), s)])
def test_sequence_length_needs_a_batch_in_outputs_and_states(unroll, core):
    with pytest.raises(ps.errors.LayerError, match=r"begin with the batch.* shape \(\)"):
        getattr(ps, unroll)(
            core, jnp.ones([4, 2, 3]), jnp.zeros([]), sequence_length=jnp.array([1, 2])
        )
