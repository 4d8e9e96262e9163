"""Unrolls under JAX's transforms, against a loop in Python."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import purestate as ps
import purestate.sonnet as snt
from purestate._sonnet.outside import run_outside

XS = jnp.asarray(np.random.RandomState(0).standard_normal((4, 2, 3)), jnp.float32)


def by_hand(core, xs, state):
    """What an unroll means, written out."""
    outputs = []
    for x in xs:
        output, state = core(x, state)
        outputs.append(output)
    return jnp.stack(outputs), state


def program(unroll):
    def f(xs):
        core = snt.DeepRNN([snt.Linear(5), jnp.tanh, snt.LSTM(4), snt.GRU(3)])
        return unroll(core, xs, core.initial_state(xs.shape[1]))

    return ps.transform_with_state(f)


def check(a, b, tolerance=1e-6):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=tolerance), a, b)


@pytest.fixture(scope="module")
def pair():
    by_loop, by_scan = program(by_hand), program(snt.dynamic_unroll)
    params, state = jax.jit(by_scan.init)(jax.random.key(0), XS)
    return by_loop, by_scan, params, state


def test_init_creates_what_a_loop_creates(pair):
    by_loop, _, params, state = pair
    check(by_loop.init(jax.random.key(0), XS), (params, state))


def test_jit(pair):
    by_loop, by_scan, params, state = pair
    check(jax.jit(by_scan.apply)(params, state, None, XS), by_loop.apply(params, state, None, XS))


def test_grad(pair):
    by_loop, by_scan, params, state = pair

    def loss(f):
        return lambda params, xs: jnp.sum(jnp.square(f.apply(params, state, None, xs)[0][0]))

    check(*(jax.jit(jax.grad(loss(f), (0, 1)))(params, XS) for f in (by_loop, by_scan)))


def test_vmap(pair):
    by_loop, by_scan, params, state = pair
    several = jnp.stack([XS, -XS, 2 * XS])
    out = jax.jit(jax.vmap(lambda xs: by_scan.apply(params, state, None, xs)[0]))(several)
    each = [by_loop.apply(params, state, None, xs)[0] for xs in several]
    check(out, jax.tree.map(lambda *parts: jnp.stack(parts), *each))


def test_shard_map(pair):
    by_loop, by_scan, params, state = pair
    devices = jax.devices()
    mesh = Mesh(np.asarray(devices), ("batch",))
    xs = jnp.concatenate([XS] * len(devices), axis=1)
    spec = PartitionSpec(None, "batch")
    run = jax.shard_map(
        lambda xs: by_scan.apply(params, state, None, xs)[0][0],
        mesh=mesh, in_specs=spec, out_specs=spec,
    )  # fmt: skip
    check(jax.jit(run)(xs), by_loop.apply(params, state, None, xs)[0][0])


@pytest.mark.parametrize("transform", ["scan", "vmap", "remat", "remat of the core"])
def test_inside_lifted_transforms(transform, pair):
    by_loop, _, params, state = pair
    several = jnp.stack([XS, -XS])

    def f(several):
        core = snt.DeepRNN([snt.Linear(5), jnp.tanh, snt.LSTM(4), snt.GRU(3)])

        def run(xs):
            stepped = ps.remat(core) if transform == "remat of the core" else core
            return snt.dynamic_unroll(stepped, xs, core.initial_state(2))

        if transform == "scan":
            return ps.scan(lambda carry, xs: (carry, run(xs)), None, several)[1]
        if transform == "vmap":
            return ps.vmap(run, split_rng=False)(several)
        rematted = ps.remat(run) if transform == "remat" else run
        return jax.tree.map(lambda *x: jnp.stack(x), *[rematted(xs) for xs in several])

    g = ps.transform_with_state(f)
    assert jax.eval_shape(g.init, jax.random.key(0), several) == jax.eval_shape(
        lambda: (params, state)
    )
    out = jax.jit(g.apply)(params, state, None, several)[0]
    each = [by_loop.apply(params, state, None, xs)[0] for xs in several]
    check(out, jax.tree.map(lambda *parts: jnp.stack(parts), *each))


class Noisy(snt.RNNCore):
    """Draws a number and counts its steps, in a variable that is no parameter."""

    def __init__(self):
        super().__init__()
        self.count = snt.Variable(0, trainable=False, name="count")

    def __call__(self, inputs, prev_state):
        self.count.assign_add(1)
        noise = jax.random.normal(ps.next_rng_key(), inputs.shape)
        return noise, prev_state

    def initial_state(self, batch_size):
        return jnp.zeros([batch_size])


def noisy(unroll):
    def f(xs):
        core = Noisy()
        return unroll(core, xs, core.initial_state(2))[0]

    return f


@pytest.mark.parametrize("rng_mode", ["sequence", "path"])
@pytest.mark.parametrize("unroll", [snt.static_unroll, snt.dynamic_unroll])
def test_keys_and_state(unroll, rng_mode):
    f = ps.transform_with_state(noisy(unroll), rng_mode=rng_mode)
    params, state = f.init(jax.random.key(0), XS)
    assert int(state["noisy"]["count"]) == 0  # `init` returns first values
    noise, state = jax.jit(f.apply)(params, state, jax.random.key(1), XS)
    assert int(state["noisy"]["count"]) == len(XS)
    assert len(np.unique(noise)) == noise.size  # each step draws other numbers
    again, state = f.apply(params, state, jax.random.key(1), XS)
    check(noise, again)
    assert int(state["noisy"]["count"]) == 2 * len(XS)


class Keeps(snt.RNNCore):
    """Keeps an array that it makes in its first step, as Sonnet's users do."""

    @snt.once
    def _initialize(self, inputs):
        self.scale = 2.0 * jnp.ones(inputs.shape[-1])

    def __call__(self, inputs, prev_state):
        self._initialize(inputs)
        return inputs * self.scale, prev_state


@pytest.mark.parametrize("under", ["outside", "eager", "jit"])
def test_arrays_made_once_outlive_the_loop(under):
    def f(xs):
        core = Keeps()
        outputs = snt.dynamic_unroll(core, xs, ())[0]
        return outputs, core.scale * core(xs[0], ())[0]

    g = ps.transform_with_state(f)
    run = {"outside": f, "eager": lambda xs: g.apply({}, {}, None, xs)[0]}
    run["jit"] = jax.jit(run["eager"])
    outputs, twice = run[under](XS)
    check(outputs, 2 * XS)
    check(twice, 4 * XS[0])


def test_one_step(pair):
    by_loop, by_scan, params, state = pair
    check(by_scan.apply(params, state, None, XS[:1]), by_loop.apply(params, state, None, XS[:1]))


def test_a_state_that_changes_its_dtype_and_shape_in_the_first_step():
    def core(x, total):
        total = total + x
        return total, total

    for unroll in (snt.static_unroll, snt.dynamic_unroll):
        for run in (unroll, jax.jit(unroll, static_argnums=0)):
            outputs, last = run(core, XS, 0)
            check(outputs, jnp.cumsum(XS, axis=0))
            check(last, jnp.sum(XS, axis=0))


def test_gradients_of_frozen_rows_are_zero():
    core = lambda x, total: (total + x, total + x)
    loss = lambda xs: jnp.sum(
        snt.dynamic_unroll(core, xs, jnp.zeros([2, 3]), jnp.asarray([1, 3]))[0]
    )
    gradient = jax.jit(jax.grad(loss))(XS)
    check(gradient, jax.grad(loss)(XS))  # the loop in Python
    # Row 0 has one step, whose output is repeated 4 times; row 1 has three, then repeats the last.
    check(gradient[:, 0, 0], jnp.asarray([4.0, 0, 0, 0]))
    check(gradient[:, 1, 0], jnp.asarray([4.0, 3, 2, 0]))


class TestOutside:
    def test_variables_are_made_by_the_first_step_and_stay_where_they_are(self):
        core = snt.GRU(4)
        start = core.initial_state(2)
        first = snt.dynamic_unroll(core, XS, start)
        w_h = core.hidden_to_hidden.value()
        check(snt.dynamic_unroll(core, XS, start), first)
        assert core.hidden_to_hidden.value() is w_h  # not carried through the loop
        check(first, by_hand(core, XS, start))

    def test_where_a_loop_is_traced_it_is_a_loop(self):
        core, noisy = snt.GRU(4), Noisy()
        start = core.initial_state(2)
        expected = snt.dynamic_unroll(core, XS, start)
        noisy(XS[0], start)
        traced = []

        def function(x, state):
            traced.append(x)
            return core(x, state)[0] + noisy(x, state)[0][:, :1], core(x, state)[1]

        def run():
            # What a transform of purestate does in the frame of modules outside.
            unroll = lambda carry, xs: (carry, snt.dynamic_unroll(function, xs, start))
            return ps.scan(unroll, None, jnp.stack([XS, XS]))[1]

        w_h, count = core.hidden_to_hidden.value(), int(noisy.count)
        _, last = run_outside(run, (), {})
        check(last, jnp.stack([expected[1]] * 2))
        assert len(traced) < 2 * len(XS)
        assert int(noisy.count) == count + 2 * len(XS)
        np.testing.assert_array_equal(core.hidden_to_hidden, w_h)

    def test_it_compiles_nothing_again(self):
        core = snt.GRU(4)
        start = core.initial_state(2)
        run = lambda: snt.dynamic_unroll(core, XS, start, jnp.asarray([2, 4]))
        run()
        with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
            compiled = []
            logger = logging.getLogger("jax._src.interpreters.pxla")
            patch.setattr(logger, "handle", lambda record: compiled.append(record.getMessage()))
            run()
        assert not compiled

    def test_state_is_carried(self):
        core = Noisy()
        noise, _ = snt.dynamic_unroll(core, XS, core.initial_state(2))
        assert int(core.count) == len(XS)
        assert len(np.unique(noise)) == noise.size

    def test_gradient_of_the_inputs(self):
        core = snt.LSTM(3)
        loss = lambda unroll: lambda xs: jnp.sum(unroll(core, xs, core.initial_state(2))[0] ** 2)
        check(jax.grad(loss(snt.dynamic_unroll))(XS), jax.grad(loss(by_hand))(XS))

    def test_a_function_in_jit_leaves_the_keys_of_modules_alone(self):
        core = lambda x, total: (total + x, total + x)
        run = jax.jit(lambda xs: snt.dynamic_unroll(core, xs, jnp.zeros([2, 3]))[0])
        check(run(XS), jnp.cumsum(XS, axis=0))
        snt.GRU(3)(XS[0], jnp.zeros([2, 3]))  # would meet a dead tracer as its key

    def test_a_module_in_jit_says_what_to_do(self):
        core = snt.GRU(4)
        start = core.initial_state(2)
        snt.dynamic_unroll(core, XS, start)
        with pytest.raises(ps.errors.JaxUsageError, match="snt.function"):
            jax.jit(lambda xs: snt.dynamic_unroll(core, xs, start))(XS)


@pytest.mark.parametrize("unroll", [snt.static_unroll, snt.dynamic_unroll])
@pytest.mark.parametrize("xs, lengths, message", [
    ({"a": XS, "b": XS[:2]}, None, "2 and 4 steps"),
    (XS[:0], None, "at least one step"),
    ((), None, "an empty structure"),
    (jnp.ones([]), None, "without axes"),
    (XS, jnp.asarray([1, 2, 3]), r"one length for each of"),
    (XS, jnp.asarray([[1], [2]]), r"one length for each of"),
])  # fmt: skip
def test_errors(unroll, xs, lengths, message):
    core = lambda x, state: (jax.tree.leaves(x)[0], state)
    with pytest.raises(ValueError, match=message):
        unroll(core, xs, (), lengths)
