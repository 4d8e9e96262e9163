"""The cores one by one: names, shapes, first values and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt

X = jnp.asarray(np.random.RandomState(0).standard_normal((3, 50)), jnp.float32)


def first_step(build, x):
    def f(x):
        core = build()
        return core(x, core.initial_state(x.shape[0]))

    return ps.transform_with_state(f)


def params_of(build, x=X):
    return jax.jit(first_step(build, x).init)(jax.random.key(0), x)[0]


SHAPES = {
    "lstm": (lambda: snt.LSTM(6), X, {"lstm": {"b": (24,), "w_h": (6, 24), "w_i": (50, 24)}}),
    "lstm with a projection": (
        lambda: snt.LSTM(6, 4, name="small"),
        X,
        {"small": {"b": (24,), "projection": (6, 4), "w_h": (4, 24), "w_i": (50, 24)}},
    ),
    "gru": (lambda: snt.GRU(6), X, {"gru": {"b": (18,), "w_h": (6, 18), "w_i": (50, 18)}}),
    "vanilla": (
        lambda: snt.VanillaRNN(6),
        X,
        {
            "vanilla_rnn": {"b": (6,)},
            "vanilla_rnn/hidden_to_hidden": {"w": (6, 6)},
            "vanilla_rnn/input_to_hidden": {"w": (50, 6)},
        },
    ),
    "unrolled": (
        lambda: snt.UnrolledLSTM(6),
        jnp.ones([4, 4, 5]),
        {"unrolled_lstm": {"b": (24,), "w_h": (6, 24), "w_i": (5, 24)}},
    ),
    "conv": (
        lambda: snt.Conv1DLSTM([8, 2], 3, 3),
        jnp.ones([1, 8, 2]),
        {
            "conv1_dlstm": {"b": (12,)},
            "conv1_dlstm/hidden_to_hidden": {"w": (3, 3, 12)},
            "conv1_dlstm/input_to_hidden": {"w": (3, 2, 12)},
        },
    ),
    "residual": (
        lambda: snt.deep_rnn_with_residual_connections([snt.GRU(50), snt.GRU(50)]),
        X,
        {
            "gru": {"b": (150,), "w_h": (50, 150), "w_i": (50, 150)},
            "gru_1": {"b": (150,), "w_h": (50, 150), "w_i": (50, 150)},
        },
    ),
    "recurrent dropout": (
        lambda: snt.lstm_with_recurrent_dropout(2, name="core")[0],
        X,
        {"core": {"b": (8,), "w_h": (2, 8), "w_i": (50, 8)}},
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_names_and_shapes(name):
    build, x, expected = SHAPES[name]
    params, _ = jax.eval_shape(first_step(build, x).init, jax.random.key(0), x)
    assert jax.tree.map(lambda leaf: leaf.shape, params) == expected


@pytest.mark.parametrize(
    "build, stddevs",
    [
        # Those of a normal distribution cut off at two standard deviations are 0.88 of it.
        (lambda: snt.LSTM(100), {"w_i": 0.88 / 50**0.5, "w_h": 0.88 / 100**0.5}),
        (lambda: snt.LSTM(100, 64), {"w_h": 0.88 / 64**0.5, "projection": 0.88 / 100**0.5}),
        # Uniform, with a variance of 2 over inputs and outputs.
        (lambda: snt.GRU(100), {"w_i": (2 / 350) ** 0.5, "w_h": (2 / 400) ** 0.5}),
    ],
)
def test_spread_of_first_values(build, stddevs):
    (params,) = params_of(build).values()
    for name, stddev in stddevs.items():
        np.testing.assert_allclose(np.std(params[name]), stddev, rtol=0.03)


def test_forget_bias_is_in_b():
    np.testing.assert_array_equal(
        params_of(lambda: snt.LSTM(2))["lstm"]["b"], [0, 0, 1, 1, 0, 0, 0, 0]
    )
    build = lambda: snt.UnrolledLSTM(2, b_init=snt.initializers.Ones(), forget_bias=-0.5)
    b = params_of(build, jnp.ones([2, 2, 3]))["unrolled_lstm"]["b"]
    np.testing.assert_array_equal(b, [1, 1, 0.5, 0.5, 1, 1, 1, 1])


def test_attributes_are_in_the_order_of_tensorflow():
    core = snt.LSTM(2, 1)
    core(X, core.initial_state(3))
    assert [v.name.split("/")[-1] for v in core.variables] == [
        "w_h:0",
        "w_i:0",
        "b:0",
        "projection:0",
    ]
    assert core.input_to_hidden.shape == (50, 8)
    assert core.hidden_to_hidden.shape == (1, 8)
    residual = snt.deep_rnn_with_residual_connections([core])
    assert sorted(snt.attribute_paths(residual)) == [
        f"_layers/0/_base_core/{name}" for name in ("_w_h", "_w_i", "b", "projection")
    ]


def test_unrolled_lstm_is_an_unrolled_lstm():
    xs = jnp.stack([X, -X, 2 * X])
    unrolled, core = snt.UnrolledLSTM(4), snt.LSTM(4)
    start = core.initial_state(3)
    unrolled(xs, start), core(X, start)
    for mine, its in zip(core.variables, unrolled.variables, strict=True):
        mine.assign(its)
    a, b = unrolled(xs, start), snt.static_unroll(core, xs, start)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-6), a, b)
    # Its gradients too. TensorFlow's, on a CPU, take one gate for another.
    loss = lambda run: lambda xs: jnp.sum(jnp.square(run(xs)[0]))
    np.testing.assert_allclose(
        jax.grad(loss(lambda xs: unrolled(xs, start)))(xs),
        jax.grad(loss(lambda xs: snt.static_unroll(core, xs, start)))(xs),
        rtol=0, atol=1e-5,
    )  # fmt: skip


def test_channels_first():
    x = jnp.asarray(np.random.RandomState(1).standard_normal((2, 6, 5, 3)), jnp.float32)
    inits = {
        "w_i_init": snt.initializers.RandomNormal(seed=1),
        "w_h_init": snt.initializers.RandomNormal(seed=2),
        "b_init": lambda shape, dtype: jnp.arange(shape[0], dtype=dtype),
    }
    last = snt.Conv2DLSTM([6, 5, 3], 4, 3, **inits)
    first = snt.Conv2DLSTM([3, 6, 5], 4, 3, "NCHW", **inits)
    forward = lambda x: jnp.moveaxis(x, -1, 1)
    last(x, last.initial_state(2)), first(forward(x), first.initial_state(2))
    for a, b in zip(first.variables, last.variables, strict=True):
        a.assign(b)
    outputs, state = last(x, last.initial_state(2))
    theirs, their_state = first(forward(x), first.initial_state(2))
    np.testing.assert_allclose(theirs, forward(outputs), rtol=0, atol=1e-6)
    outputs, theirs = last(x, state)[0], first(forward(x), their_state)[0]
    np.testing.assert_allclose(theirs, forward(outputs), rtol=0, atol=1e-6)


def test_dtype():
    core = snt.LSTM(2, dtype=jnp.bfloat16)
    out, state = core(X.astype(jnp.bfloat16), core.initial_state(3))
    assert {leaf.dtype for leaf in (out, *state, *core.variables)} == {jnp.dtype(jnp.bfloat16)}


def test_the_two_parts_of_an_initial_state_can_be_donated():
    cores = [snt.LSTM(2), snt.Conv1DLSTM([4, 1], 2, 1), snt.UnrolledLSTM(2)]
    for core in cores:
        jax.jit(lambda state: jax.tree.map(jnp.sin, state), donate_argnums=0)(core.initial_state(2))


class TestTrainableState:
    VALUES = {"b": jnp.ones([2]), "a": (snt.LSTMState(jnp.zeros([3]), jnp.ones([1])), 5.0)}

    def test_names(self):
        state = snt.TrainableState(self.VALUES)
        assert [v.path[1] for v in state.variables] == ["hidden", "cell", "1", "b"]
        out = state(4)
        assert isinstance(out["a"][0], snt.LSTMState)
        assert [leaf.shape for leaf in jax.tree.leaves(out)] == [(4, 3), (4, 1), (4,), (4, 2)]
        assert sorted(snt.attribute_paths(state))[0] == "_template/a/0/cell"

    def test_mask(self):
        f = ps.transform_with_state(
            lambda: snt.TrainableState.for_core(
                snt.DeepRNN([snt.LSTM(2), snt.GRU(1)]), (snt.LSTMState(True, False), False), "start"
            )(2)
        )
        params, state = f.init(None)
        assert jax.tree.map(jnp.shape, params) == {"start/0": {"hidden": (1, 2)}}
        assert jax.tree.map(jnp.shape, state) == {
            "start": {"1": (1, 1)},
            "start/0": {"cell": (1, 2)},
        }
        params = {"start/0": {"hidden": jnp.asarray([[1.0, 2.0]])}}
        (out, _), _ = f.apply(params, state, None)
        np.testing.assert_array_equal(out.hidden, [[1, 2], [1, 2]])

    @pytest.mark.parametrize("values, mask, error, message", [
        ((1.0, 2.0), (True,), ValueError, "structure of the state"),
        ((1.0, 2.0), True, ValueError, "structure of the state"),
        ({"a": 1.0}, {"b": True}, ValueError, "structure of the state"),
        ((1.0, 2.0), [True, True], TypeError, "structure of the state"),
        (snt.LSTMState(1.0, 2.0), (True, True), TypeError, "structure of the state"),
        ((None, 1.0), None, ValueError, "'0' is None"),
    ])  # fmt: skip
    def test_errors(self, values, mask, error, message):
        with pytest.raises(error, match=message):
            snt.TrainableState(values, mask)

    def test_gradients_reach_it(self):
        f = ps.transform_with_state(lambda: jnp.sum(snt.TrainableState(jnp.ones([2]))(3) ** 2))
        params, state = f.init(None)
        gradients = jax.grad(lambda params: f.apply(params, state, None)[0])(params)
        np.testing.assert_array_equal(gradients["trainable_state"]["state"], [[6, 6]])


class TestRecurrentDropout:
    def masks(self, key, rate=0.25, **kwargs):
        def f():
            core, _ = snt.lstm_with_recurrent_dropout(400, rate, **kwargs)
            return core.initial_state(50)

        return ps.transform_with_state(f).apply({}, {}, key)[0]

    def test_masks(self):
        state, masks = self.masks(jax.random.key(0))
        assert isinstance(state, snt.LSTMState)
        assert masks.cell is None
        assert sorted(np.unique(masks.hidden).tolist()) == pytest.approx([0, 4 / 3])
        assert np.mean(masks.hidden == 0) == pytest.approx(0.25, abs=0.02)
        assert not np.array_equal(masks.hidden[0], masks.hidden[1])

    def test_seeds_and_keys_both_matter(self):
        hidden = lambda key, **kwargs: np.asarray(
            self.masks(jax.random.key(key), **kwargs)[1].hidden
        )
        different = [hidden(0), hidden(1), hidden(0, seed=0), hidden(0, seed=1), hidden(1, seed=1)]
        assert len({mask.tobytes() for mask in different}) == 5
        np.testing.assert_array_equal(hidden(0, seed=1), different[3])

    def test_without_dropout_no_key_is_needed(self):
        assert np.all(self.masks(None, rate=0.0)[1].hidden == 1)
        with pytest.raises(ps.errors.MissingRNGError):
            self.masks(None)

    def test_all_steps_have_one_mask(self):
        train, test = snt.lstm_with_recurrent_dropout(4, 0.5)
        xs = jnp.stack([X, -X, 2 * X])
        start = train.initial_state(3)
        outputs, (last, masks) = snt.dynamic_unroll(train, xs, start)
        np.testing.assert_array_equal(masks.hidden, start[1].hidden)
        state = start[0]
        for x, output in zip(xs, outputs, strict=True):
            out, state = test(x, snt.LSTMState(state.hidden * masks.hidden, state.cell))
            np.testing.assert_allclose(output, out, rtol=0, atol=1e-6)
        assert train.variables == test.variables

    @pytest.mark.parametrize("rate", [1.0, -0.1])
    def test_errors(self, rate):
        with pytest.raises(ValueError, match="at least 0 and less than 1"):
            snt.lstm_with_recurrent_dropout(4, rate)


def step(core, x=X, state=None):
    return core(x, core.initial_state(3) if state is None else state)


def called(core):
    step(core)
    return core


class Half(snt.RNNCore):
    pass


ERRORS = {
    "projection_init alone": (lambda: snt.LSTM(2, projection_init=jnp.zeros), ValueError, "projection_size"),
    "a tuple as state": (lambda: step(snt.LSTM(2), state=(X, X)), AttributeError, "LSTMState"),
    "integers": (lambda: step(snt.LSTM(2), X.astype(int)), TypeError, "made for float32"),
    "half precision": (lambda: step(snt.GRU(2), X.astype(jnp.float16)), TypeError, "float16"),
    "a sequence": (lambda: step(snt.LSTM(2), X[None]), ValueError, "2 axes"),
    "one row": (lambda: step(snt.GRU(2), X[0]), ValueError, "2 axes"),
    "a step": (lambda: step(snt.UnrolledLSTM(2)), ValueError, "3 axes"),
    "no steps": (lambda: step(snt.UnrolledLSTM(2), jnp.ones([0, 3, 1])), ValueError, "one step"),
    "another batch": (lambda: step(snt.LSTM(2), X[:2]), ValueError, "same batch"),
    "another batch of a GRU": (lambda: step(snt.GRU(2), X[:2]), ValueError, "same batch"),
    "another batch of a VanillaRNN": (lambda: step(snt.VanillaRNN(2), X[:2]), ValueError, "same batch"),
    "another size of state": (lambda: step(snt.GRU(2), state=jnp.ones([3, 4])), ValueError, "axis is 2"),
    "another size of inputs": (lambda: step(called(snt.GRU(2)), X[:, :4]), ValueError, "50 features"),
    "another size in space": (
        lambda: step(snt.Conv1DLSTM([4, 2], 1, 1), jnp.ones([3, 5, 2])), ValueError, "input_shape",
    ),
    "no batch size": (lambda: snt.LSTM(2).initial_state(None), ValueError, "batch_size"),
    "a negative batch size": (lambda: snt.GRU(2).initial_state(-1), ValueError, "at least 0"),
    "before the first call": (lambda: snt.LSTM(2).input_to_hidden, AttributeError, "no weights yet"),
    "before the first call of a VanillaRNN": (
        lambda: snt.VanillaRNN(2).hidden_to_hidden, AttributeError, "no weights yet",
    ),
    "too few states": (
        lambda: snt.DeepRNN([snt.GRU(2), snt.GRU(2)])(X, (jnp.ones([3, 2]),)), IndexError, "2 cores",
    ),
    "a function among skip connections": (
        lambda: snt.deep_rnn_with_skip_connections([snt.GRU(2), jnp.tanh]), ValueError, r"layers\[1\]",
    ),
    "a layer among residual connections": (
        lambda: snt.deep_rnn_with_residual_connections([snt.Linear(2)]), ValueError, r"layers\[0\]",
    ),
    "skip connections of nothing": (
        lambda: step(snt.deep_rnn_with_skip_connections([])), ValueError, "at least one core",
    ),
    "residual connections of another size": (
        lambda: step(snt.deep_rnn_with_residual_connections([snt.GRU(2)])), ValueError, "size of its inputs",
    ),
    "a core without a step": (lambda: Half()(X, X), TypeError, "def __call__"),
    "a core without a state": (lambda: Half().initial_state(3), TypeError, "def initial_state"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    run, error, message = ERRORS[name]
    with pytest.raises(error, match=message) as info:
        run()
    assert isinstance(info.value, ps.errors.PurestateError)


def test_layers_may_be_missing():
    out, state = snt.DeepRNN(None)(X, ())
    assert out is X
    assert state == ()
