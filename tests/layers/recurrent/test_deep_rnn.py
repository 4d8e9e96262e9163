"""`DeepRNN`, `deep_rnn_with_skip_connections` and `..._residual_connections`: bits, the layers by hand, errors."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import check, normal


def deep(lib):
    return lib.DeepRNN([lib.LSTM(4), jnp.tanh, lib.Linear(3), lib.GRU(2), jax.nn.relu])


def skipping(lib):
    return lib.deep_rnn_with_skip_connections([lib.LSTM(4), lib.GRU(2), lib.VanillaRNN(3)])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("make", [deep, skipping])
def test_bits_of_a_step(make, dtype):
    def run(lib, x):
        core = make(lib)
        return core(x, jax.tree.map(lambda s: s.astype(x.dtype), core.initial_state(2)))

    check(run, normal(2, 3, dtype=dtype), eager=dtype == "float32")


@pytest.mark.slow
@pytest.mark.parametrize("make", [deep, skipping])
def test_bits_of_a_sequence(make):
    def run(lib, xs):
        core = make(lib)
        options = {"reverse": True, "return_all_states": True, "unroll": 2}
        return lib.dynamic_unroll(core, xs, core.initial_state(2), **options)

    check(run, normal(5, 2, 3))


def test_names():
    def names(lib):
        return (
            deep(lib).module_name,
            skipping(lib).module_name,
            lib.DeepRNN([], name="deep").module_name,
        )

    ours, theirs = (lib.transform(lambda lib=lib: names(lib)).apply({}, None) for lib in (ps, hk))
    assert ours == theirs


def test_layers_by_hand():
    def f(x):
        first, second, linear = ps.GRU(4), ps.VanillaRNN(2), ps.Linear(3)
        core = ps.DeepRNN([first, linear, second])
        skip = ps.deep_rnn_with_skip_connections([first, ps.GRU(5)])
        states = core.initial_state(2)
        a, b = first(x, states[0])
        c, d = second(linear(a), states[1])
        last = skip.layers[1]
        e, _ = last(jnp.concatenate([x, a], -1), last.initial_state(2))
        return (core(x, states), skip(x, skip.initial_state(2))[0]), (
            (c, (b, d)),
            jnp.concatenate([a, e], -1),
        )

    g = ps.transform(f)
    ours, by_hand = g.apply(g.init(jax.random.key(0), normal(2, 3)), None, normal(2, 3))
    jax.tree.map(np.testing.assert_array_equal, ours, by_hand)


def test_inputs_that_are_trees():
    class Both(ps.RNNCore):
        def __call__(self, inputs, prev_state):
            return {"a": inputs["a"][..., :1] * 2, "b": None}, prev_state

        def initial_state(self, batch_size):
            return ()

    def f():
        core = ps.deep_rnn_with_skip_connections([Both(), Both()])
        return core({"a": jnp.ones([2, 3]), "b": None}, core.initial_state(2))

    out, state = ps.transform(f).apply({}, None)
    assert out["a"].tolist() == [[2.0, 2.0]] * 2
    assert out["b"] is None
    assert state == ((), ())


def test_skip_connections_need_cores():
    with pytest.raises(ps.errors.LayerError, match=r"layers\[1\] is .*Linear"):
        ps.transform(lambda: ps.deep_rnn_with_skip_connections([ps.GRU(1), ps.Linear(1)])).apply(
            {}, None
        )


@pytest.mark.parametrize("num_states", [0, 1, 3])
def test_as_many_states_as_cores(num_states):
    f = ps.transform(
        lambda x: ps.DeepRNN([ps.GRU(1), ps.GRU(1)])(x, (jnp.zeros([1]),) * num_states)
    )
    with pytest.raises(
        ps.errors.LayerError,
        match=f"'deep_rnn' .* each of its 2 cores, .* but was given {num_states}",
    ):
        f.init(jax.random.key(0), jnp.ones([1]))


def test_residual_connections_by_hand():
    def f(x):
        first, second = ps.LSTM(3), ps.GRU(3)
        core = ps.deep_rnn_with_residual_connections([first, second])
        states = core.initial_state(2)
        a, s = first(x, states[0])
        b, t = second(x + a, states[1])
        return core(x, states), (x + a + b, (s, t))

    g = ps.transform(f)
    ours, by_hand = g.apply(g.init(jax.random.key(0), normal(2, 3)), None, normal(2, 3))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), ours, by_hand)


def test_gradient_goes_through_many_layers_with_residual_connections():
    # Cores that return nearly nothing: without the connections nothing of the inputs would arrive.
    class Tiny(ps.RNNCore):
        def __call__(self, inputs, prev_state):
            return {"x": inputs["x"] / 1000}, prev_state

        def initial_state(self, batch_size):
            return ()

    core = ps.transform(
        lambda x: ps.deep_rnn_with_residual_connections([Tiny() for _ in range(10)])(
            {"x": x}, ((),) * 10
        )
    )
    grads = jax.grad(lambda x: core.apply({}, None, x)[0]["x"].sum())(jnp.ones([2]))
    np.testing.assert_allclose(grads, 1.001**10, rtol=1e-5)


def test_residual_connections_need_cores():
    with pytest.raises(
        ps.errors.LayerError, match=r"residual_connections takes.*layers\[1\] is .*Linear"
    ):
        ps.transform(
            lambda: ps.deep_rnn_with_residual_connections([ps.GRU(1), ps.Linear(1)])
        ).apply({}, None)


@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_residual_connections_need_one_shape(batch_size):
    def f():
        core = ps.deep_rnn_with_residual_connections(
            [ps.GRU(3), ps.GRU(1)]
        )  # [B, 1] would broadcast
        return core(
            jnp.ones([3] if batch_size is None else [batch_size, 3]), core.initial_state(batch_size)
        )

    with pytest.raises(
        ps.errors.LayerError, match=r"layers\[1\] was given .*3,?\) and returned .*1,?\)"
    ):
        ps.transform(f).init(jax.random.key(0))


def test_residual_connections_need_one_tree():
    class Both(ps.RNNCore):
        def __call__(self, inputs, prev_state):
            return (inputs, inputs), prev_state

        def initial_state(self, batch_size):
            return ()

    f = ps.transform(lambda: ps.deep_rnn_with_residual_connections([Both()])(jnp.ones([3]), ((),)))
    with pytest.raises(
        ps.errors.LayerError, match=r"layers\[0\] was given \(3,\) and returned \(\(3,\), \(3,\)\)"
    ):
        f.apply({}, None)
