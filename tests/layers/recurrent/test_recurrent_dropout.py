"""`RecurrentDropout`: loops in float64 with the same mask, when it is drawn, and where it does nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import normal, num_equations

CORES = {
    "lstm": lambda: ps.LSTM(4),
    "gru": lambda: ps.GRU(4),
    "vanilla_rnn": lambda: ps.VanillaRNN(4),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(params, x, h, c, mask):
    w, b = params["lstm/linear"]["w"], params["lstm/linear"]["b"]
    i, g, f, o = np.split(np.concatenate([x, h * mask], -1) @ w + b, 4, -1)
    c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(params, x, h, c, mask):
    w_i, w_h, b = (params["gru"][name] for name in ("w_i", "w_h", "b"))
    z = sigmoid(x @ w_i[:, :4] + (h * mask) @ w_h[:, :4] + b[:4])
    r = sigmoid(x @ w_i[:, 4:8] + (h * mask) @ w_h[:, 4:8] + b[4:8])
    a = np.tanh(x @ w_i[:, 8:] + (r * h * mask) @ w_h[:, 8:] + b[8:])
    return (1 - z) * h + z * a, c


def vanilla_rnn(params, x, h, c, mask):
    first, second = params["vanilla_rnn/linear"], params["vanilla_rnn/linear_1"]
    return np.maximum(x @ first["w"] + first["b"] + (h * mask) @ second["w"] + second["b"], 0), c


def run(make, rate, is_training, unroll="dynamic_unroll"):
    def f(xs, rate):
        core = ps.RecurrentDropout(make(), rate, is_training)
        start = core.initial_state(xs.shape[1] if xs.ndim > 2 else None)
        return *getattr(ps, unroll)(core, xs, start), start.mask

    g = ps.transform(f)
    return g, (lambda xs: jax.tree.map(lambda x: x + 0.1, g.init(jax.random.key(0), xs, rate)))


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("unroll", ["static_unroll", "dynamic_unroll"])
@pytest.mark.parametrize("step", [lstm, gru, vanilla_rnn])
def test_loop_in_float64(step, unroll, batch):
    g, init = run(CORES[step.__name__], 0.4, True, unroll)
    xs = normal(6, *batch, 2)
    params = init(xs)
    outs, last, mask = g.apply(params, jax.random.key(3), xs, 0.4)
    assert mask.shape == (*batch, 4)
    assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / 0.6)}
    np.testing.assert_array_equal(last.mask, mask)
    params = jax.tree.map(np.float64, params)
    h = c = np.zeros([*batch, 4])
    for x, out in zip(np.float64(xs), outs, strict=True):
        h, c = step(params, x, h, c, np.float64(mask))
        np.testing.assert_allclose(out, h, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(jax.tree.leaves(last.state)[0], outs[-1])


@pytest.mark.parametrize(("rate", "is_training"), [(0.4, False), (0, True), (0.0, True)])
@pytest.mark.parametrize("name", CORES)
def test_nothing_where_nothing_is_dropped(name, rate, is_training):
    def plain(xs):
        core = CORES[name]()
        return ps.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))

    def wrapped(xs):
        core = ps.RecurrentDropout(CORES[name](), rate, is_training)
        outs, last = ps.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))
        assert last.mask is None
        return outs, last.state

    f, g = ps.transform(plain), ps.transform(wrapped)
    xs = normal(3, 2, 2)
    params = f.init(jax.random.key(0), xs)
    jax.tree.map(np.testing.assert_array_equal, g.init(jax.random.key(0), xs), params)
    jax.tree.map(
        np.testing.assert_array_equal, g.apply(params, None, xs), f.apply(params, None, xs)
    )
    counts = [num_equations(jax.make_jaxpr(h.apply)(params, None, xs).jaxpr) for h in (f, g)]
    assert counts[0] == counts[1]


def test_masks_differ_between_rows_and_keys_and_have_the_rate():
    g = ps.transform(lambda: ps.RecurrentDropout(ps.LSTM(100), 0.3, True).initial_state(50))
    first, second = (g.apply({}, jax.random.key(seed)) for seed in (0, 1))
    assert len(np.unique(first.mask, axis=0)) == 50
    assert (first.mask != second.mask).any()
    assert (
        abs(float((first.mask == 0).mean()) - 0.3) < 0.03
    )  # 5000 draws: a standard deviation is 0.0065
    assert not np.asarray(first.state.cell).any()


def test_what_a_gru_keeps_is_not_scaled_up():
    def f(xs):
        core = ps.RecurrentDropout(ps.GRU(4, b_init=ps.initializers.Constant(-50.0)), 0.5, True)
        start = core.initial_state(None)
        return ps.dynamic_unroll(core, xs, start._replace(state=jnp.ones([4])))[0]

    g = ps.transform(f)
    xs = jnp.zeros([100, 2])
    np.testing.assert_allclose(
        g.apply(g.init(jax.random.key(0), xs), jax.random.key(1), xs), 1.0, rtol=1e-6
    )


def test_traced_rate():
    g, init = run(CORES["gru"], 0.5, True)
    xs = normal(3, 2, 2)
    params = init(xs)
    traced, plain = (
        jax.jit(g.apply)(params, jax.random.key(1), xs, 0.5),
        g.apply(params, jax.random.key(1), xs, 0.5),
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), traced, plain)


@pytest.mark.slow
def test_within_other_cores():
    def f(xs, should_reset):
        layers = [ps.RecurrentDropout(make(), 0.5, True) for make in CORES.values()]
        core = ps.ResetCore(ps.DeepRNN(layers))
        return ps.dynamic_unroll(
            core, (xs, should_reset), core.initial_state(20), return_all_states=True
        )[1]

    g = ps.transform(f)
    xs, should_reset = jnp.ones([4, 20, 2]), jnp.zeros([4, 20], bool).at[2, 10:].set(True)
    states = g.apply(
        g.init(jax.random.key(0), xs, should_reset), jax.random.key(1), xs, should_reset
    )
    for state in states:  # a new sequence has a new mask
        np.testing.assert_array_equal(state.mask[0], state.mask[1])
        np.testing.assert_array_equal(state.mask[0, :10], state.mask[3, :10])
        assert (state.mask[1, 10:] != state.mask[2, 10:]).any()
        np.testing.assert_array_equal(state.mask[2], state.mask[3])


@pytest.mark.slow
def test_images():
    def f(xs):
        core = ps.RecurrentDropout(ps.Conv1DLSTM([5], 2, 3), 0.5, True)
        start = core.initial_state(2)
        return ps.dynamic_unroll(core, xs, start)[0], start.mask

    g = ps.transform(f)
    outs, mask = g.apply(
        g.init(jax.random.key(0), jnp.ones([3, 2, 5, 1])), jax.random.key(1), jnp.ones([3, 2, 5, 1])
    )
    assert outs.shape == (3, *mask.shape) == (3, 2, 5, 2)


def test_state_of_bfloat16_stays():
    def f(x):
        core = ps.RecurrentDropout(ps.GRU(4), 0.5, True)
        start = core.initial_state(2)
        return core(x, start._replace(state=start.state.astype(x.dtype)))

    g = ps.transform(f)
    out, state = g.apply(
        g.init(jax.random.key(0), x := jnp.ones([2, 3], jnp.bfloat16)), jax.random.key(1), x
    )
    assert out.dtype == state.state.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("make", "rate", "message"),
    [
        (lambda: ps.DeepRNN([ps.GRU(2), jnp.tanh]), 0.5, "DeepRNN 'deep_rnn' has cores in it"),
        (lambda: ps.ResetCore(ps.GRU(2)), 0.5, "ResetCore 'reset_core' has cores in it"),
        (lambda: jnp.tanh, 0.5, "takes a core"),
        (lambda: ps.GRU(2), 1.0, "got 1.0"),
        (lambda: ps.GRU(2), -0.1, "got -0.1"),
    ],
)
def test_what_does_not_fit(make, rate, message):
    with pytest.raises(ps.errors.LayerError, match=f"'recurrent_dropout'.*{message}"):
        ps.transform(lambda: ps.RecurrentDropout(make(), rate, True)).apply({}, None)


def test_traced_is_training():
    f = ps.transform(lambda is_training: (ps.RecurrentDropout(ps.GRU(2), 0.5, is_training), 0)[1])
    with pytest.raises(ps.errors.LayerError, match="'recurrent_dropout'.*is_training is traced"):
        jax.jit(f.apply)({}, None, True)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (jnp.zeros([2]), "was given a state of type"),
        (ps.RecurrentDropoutState(jnp.zeros([2]), None), "has no mask"),
    ],
)
def test_states_that_do_not_fit(state, message):
    f = ps.transform(lambda x: ps.RecurrentDropout(ps.GRU(2), 0.5, True)(x, state))
    with pytest.raises(ps.errors.LayerError, match=f"'recurrent_dropout'.*{message}"):
        f.init(jax.random.key(0), jnp.ones([3]))


def test_training_needs_a_key():
    with pytest.raises(ps.errors.MissingRNGError):
        ps.transform(lambda: ps.RecurrentDropout(ps.GRU(2), 0.5, True).initial_state(2)).apply(
            {}, None
        )
