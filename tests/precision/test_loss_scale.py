"""Dynamic loss scaling, against NumPy, jmp and the same optimizer without it."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import jmp
import numpy as np
import optax
import pytest

import purestate as ps
from purestate.errors import LossScaleError
from purestate.mixed_precision import LossScaleState, dynamic_loss_scale, loss_scale

PARAMS = {"linear": {"w": jnp.array([1.0, -0.0, 3.0]), "b": jnp.array([0.5])}}


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.signbit(a), np.signbit(b)), a, b)


def close(a, b):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), a, b)


# The whole run, against NumPy in float64 and against jmp


def by_numpy(rates, finite, grads, initial, growth_interval, factor, minimum):
    """SGD with momentum that skips steps, and the scales, in the plainest Python."""
    p, m, scale, count, scales = np.zeros(2), np.zeros(2), float(initial), 0, []
    for is_finite, g in zip(finite, grads, strict=True):
        scales.append(scale)
        if is_finite:
            m = 0.9 * m + g
            p = p - rates * m
            count += 1
            if count == growth_interval:
                count = 0
                if scale * factor <= float(np.finfo(np.float32).max):
                    scale *= factor
        else:
            count = 0
            scale = max(minimum, scale / factor)
    return p, m, scale, count, scales


OPTIONS = {
    "usual": {"initial": 2.0**15, "growth_interval": 5, "factor": 2.0, "minimum": 1.0},
    "grows each time": {"initial": 1.0, "growth_interval": 1, "factor": 4.0, "minimum": 1.0},
    "to the largest float32": {"initial": 2.0**120, "growth_interval": 3, "factor": 8.0, "minimum": 1.0},
    "falls to the minimum": {"initial": 64.0, "growth_interval": 50, "factor": 2.0, "minimum": 1.0},
    "below one": {"initial": 4.0, "growth_interval": 7, "factor": 2.0, "minimum": 2.0**-10},
    "factor of 1.5": {"initial": 100.0, "growth_interval": 4, "factor": 1.5, "minimum": 1.0},
}  # fmt: skip
BAD = [np.inf, -np.inf, np.nan]


def run_of(tx, params, finite, grads, how):
    """All steps, in a Python loop, one compiled step each, or in one scan."""

    def step(carry, inputs):
        params, state = carry
        bad, g = inputs
        scale = loss_scale(state)
        scaled = jax.grad(lambda p: (p["m"]["w"] * g).sum() * scale)(params)
        # The first element overflows, as the product with `bad` does.
        scaled["m"]["w"] = scaled["m"]["w"].at[0].multiply(bad)
        updates, state = tx.update(scaled, state, params)
        return (optax.apply_updates(params, updates), state), scale

    bads = jnp.array([1.0 if ok else BAD[i % 3] for i, ok in enumerate(finite)], jnp.float32)
    inputs = (bads, jnp.array(grads, jnp.float32))
    carry = params, tx.init(params)
    if how == "scan":
        carry, scales = jax.jit(lambda carry, inputs: jax.lax.scan(step, carry, inputs))(carry, inputs)  # fmt: skip
        return *carry, scales
    one, scales = (jax.jit(step) if how == "jit" else step), []
    for i in range(len(finite)):
        carry, scale = one(carry, jax.tree.map(lambda a, i=i: a[i], inputs))
        scales.append(scale)
    return *carry, scales


@pytest.mark.parametrize("how", ["scan", "jit", "eager"])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_run_is_that_of_numpy_and_of_jmp(name, how):
    options = OPTIONS[name]
    steps = 25 if how == "eager" else 120
    random = np.random.default_rng(sorted(OPTIONS).index(name))
    finite = random.random(steps) < (0.3 if "falls" in name or "below" in name else 0.9)
    grads = random.normal(size=[steps, 2]) * 1e-3
    tx = dynamic_loss_scale(optax.sgd(0.1, momentum=0.9), **options)
    params, state, scales = run_of(tx, {"m": {"w": jnp.zeros(2)}}, finite, grads, how)

    p, m, scale, count, expected = by_numpy(0.1, finite, grads, **options)
    np.testing.assert_allclose(scales, expected, rtol=1e-5)
    np.testing.assert_allclose(params["m"]["w"], p, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.inner_state[0].trace["m"]["w"], m, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.scale, scale, rtol=1e-5)
    assert (int(state.finite_steps), int(state.skipped)) == (count, steps - finite.sum())
    assert len(set(expected)) > 2  # it did move

    jmps = jmp.DynamicLossScale(
        jnp.float32(options["initial"]),
        period=options["growth_interval"],
        factor=options["factor"],
        min_loss_scale=jnp.float32(options["minimum"]),
    )
    for is_finite, found in zip(finite, scales, strict=True):
        np.testing.assert_allclose(found, jmps.loss_scale, rtol=1e-6)
        # jmp forgets `min_loss_scale` on its way through a pytree, and so here it is carried by hand.
        jmps = jmps.adjust(jnp.array(bool(is_finite)))


# What it is for


def test_small_gradients_in_float16_survive():
    policy = ps.mixed_precision.get_named_policy("params=float32,compute=float16,output=float32")

    def net(x):
        return ps.Linear(1, with_bias=False)(x)

    f, x = ps.transform(net), jnp.full([1, 1], 2.0**-13)
    params = {"linear": {"w": jnp.ones([1, 1])}}

    def grad(scale):
        with ps.mixed_precision.push_policy(ps.Linear, policy):
            # The gradient of the output is 2 ** -13, and the product of both is 2 ** -26.
            return jax.grad(lambda p: f.apply(p, None, x).sum() * 2.0**-13 * scale)(params)

    assert float(grad(1.0)["linear"]["w"][0, 0]) == 0.0  # lost
    tx = dynamic_loss_scale(optax.sgd(1.0), initial=2.0**12)
    state = tx.init(params)
    updates, state = tx.update(grad(loss_scale(state)), state, params)
    assert float(updates["linear"]["w"][0, 0]) == -(2.0**-26)


def test_a_float16_net_finds_its_scale_and_learns():
    policy = ps.mixed_precision.get_named_policy("params=float32,compute=float16,output=float16")
    x = jax.random.normal(jax.random.key(1), [32, 4])
    y = x.sum(1, keepdims=True)
    f = ps.transform(lambda x: ps.nets.MLP([16, 1])(x))
    tx = dynamic_loss_scale(optax.adam(0.03), initial=2.0**24, growth_interval=20)
    with ps.mixed_precision.push_policy(ps.nets.MLP, policy):
        params = f.init(jax.random.key(0), x)

        def step(carry, _):
            params, state = carry

            def scaled(p):
                loss = ((f.apply(p, None, x) - y).astype(jnp.float32) ** 2).mean()
                return loss * loss_scale(state), loss

            grads, loss = jax.grad(scaled, has_aux=True)(params)
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), (loss, state.scale)

        carry = (params, tx.init(params))
        (_, state), (losses, scales) = jax.jit(lambda c: jax.lax.scan(step, c, length=150))(carry)
    assert losses[-1] < 0.02 * losses[0]
    assert 2 <= int(state.skipped) < 30  # 2 ** 24 is too much for float16
    assert len(set(np.asarray(scales).tolist())) > 3


# A skipped step changes no bit


OPTIMIZERS = {
    "sgd": optax.sgd(0.1, momentum=0.9),
    "adamw": optax.adamw(0.1, weight_decay=0.1),
    "adafactor": optax.adafactor(0.1),
    "lion": optax.lion(0.1),
    "noisy": optax.noisy_sgd(0.1, eta=0.1, key=jax.random.key(0)),  # a typed key in its state
    "schedule": optax.sgd(optax.linear_schedule(1.0, 0.0, 10)),
    "clipped": optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1)),
    "labels": optax.multi_transform(
        {"a": optax.adam(0.1), "b": optax.sgd(0.1)}, ps.labels({"*/w": "a"}, "b")
    ),
    "frozen": ps.trainable_only(optax.adamw(0.1), ps.surgery.glob("*/w")),
}


@pytest.mark.whole
@pytest.mark.parametrize("bad", [np.inf, np.nan], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_skipped_step_changes_no_bit_and_a_finite_one_is_that_of_inner(name, bad):
    inner = OPTIMIZERS[name]
    tx = dynamic_loss_scale(inner, initial=256.0)
    assert type(tx) is type(inner)
    update = jax.jit(tx.update)
    grads = jax.tree.map(lambda p: jnp.sin(p + 1), PARAMS)
    scaled = jax.tree.map(lambda g: 256.0 * g, grads)
    updates, state = update(scaled, tx.init(PARAMS), PARAMS)
    expected, expected_state = jax.jit(inner.update)(grads, inner.init(PARAMS), PARAMS)
    close(updates, expected)
    plain = lambda tree: jax.tree.map(lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, tree)  # fmt: skip
    close(plain(state.inner_state), plain(expected_state))

    scaled["linear"]["w"] = scaled["linear"]["w"].at[1].set(bad)
    updates, skipped = update(scaled, state, PARAMS)
    same(optax.apply_updates(PARAMS, updates), PARAMS)
    same(plain(skipped.inner_state), plain(state.inner_state))
    assert (float(skipped.scale), int(skipped.skipped), int(skipped.finite_steps)) == (128.0, 1, 0)
    assert jax.tree.structure(skipped) == jax.tree.structure(state)


def test_state_is_arrays_of_the_same_types_after_each_step():
    tx = dynamic_loss_scale(optax.adam(0.1))
    state = tx.init(PARAMS)
    shapes = jax.eval_shape(lambda s: tx.update(PARAMS, s, PARAMS)[1], state)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(shapes), strict=True):
        assert isinstance(a, jax.Array)
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)


# Dtypes


@pytest.mark.parametrize("of_params, of_grads", [("float32", "float16"), ("float16", "float16"), ("bfloat16", "float32"), ("float32", "float32")])  # fmt: skip
def test_dtypes_of_gradients_and_params(of_params, of_grads):
    params = {"linear": {"w": jnp.ones([2], of_params)}}
    tx = dynamic_loss_scale(optax.adam(0.1), initial=2.0**14)
    state = tx.init(params)
    small = 2.0**-17 if of_params == "float16" else 2.0**-30
    grads = {"linear": {"w": jnp.array([small * 2.0**14, 1.0], of_grads)}}
    updates, new = tx.update(grads, state, params)
    mu = new.inner_state[0].mu["linear"]["w"]
    assert mu.dtype == of_params
    np.testing.assert_allclose(np.asarray(mu, np.float64), [0.1 * small, 0.1 * 2.0**-14], rtol=0.1)
    assert optax.apply_updates(params, updates)["linear"]["w"].dtype == of_params


def test_complex_integers_and_holes():
    params = {"m": {"c": jnp.array([1.0 + 2.0j]), "i": jnp.array([3]), "hole": None}}
    tx = dynamic_loss_scale(optax.sgd(0.5), initial=4.0)
    f = lambda p: (jnp.abs(p["m"]["c"]) ** 2).sum() * 4.0
    grads = jax.grad(f, allow_int=True)(params)
    tx = dynamic_loss_scale(ps.trainable_only(optax.sgd(0.5), ps.surgery.glob("m/c")), initial=4.0)
    updates, state = tx.update(grads, tx.init(params), params)
    np.testing.assert_allclose(updates["m"]["c"], [-(1.0 - 2.0j)])
    bad = {"m": {**grads["m"], "c": jnp.array([complex(0, np.nan)])}}
    updates, state = tx.update(bad, state, params)
    assert int(state.skipped) == 1
    assert updates["m"]["c"][0] == 0
    assert np.signbit(updates["m"]["c"].imag).all()
    assert updates["m"]["hole"] is None
    # An integer whose gradient is one too: the update of a skipped step is zero.
    tx = dynamic_loss_scale(optax.sgd(1.0), initial=4.0)
    updates, _ = tx.update({"i": jnp.array([2]), "x": jnp.array([np.inf])}, tx.init({"i": jnp.array([3]), "x": jnp.ones(1)}))  # fmt: skip
    assert updates["i"].tolist() == [0]
    # Nothing to train is finite.
    assert int(tx.update({}, tx.init({}))[1].finite_steps) == 1


# With what is around it


def run(step, params, state, num=6):
    """Six steps of `step(params, state, x)`; the third overflows."""
    for i in range(num):
        x = jnp.inf if i == 2 else 1.0 + i
        params, state = step(params, state, x)
    return params, state


def grads_of(params, scale, x):
    return jax.tree.map(lambda p: jnp.sin(p) * x * scale, params)


def expected_run(inner=None):
    """The same without the step that overflows, by the inner optimizer itself."""
    inner = inner or optax.adam(0.1)
    params, state = PARAMS, inner.init(PARAMS)
    for i in (0, 1, 3, 4, 5):
        updates, state = inner.update(grads_of(params, 1.0, 1.0 + i), state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_in_an_optimizer_outside_and_inside_and_in_a_train_state():
    tx = dynamic_loss_scale(optax.adam(0.1))

    @jax.jit
    def outside(params, opt, x):
        return opt.update(grads_of(params, loss_scale(opt), x), params)

    params, opt = run(outside, PARAMS, ps.Optimizer(tx).init(PARAMS))
    close(params, expected_run())
    assert (float(loss_scale(opt)), int(opt.opt_state.skipped)) == (2.0**14, 1)

    def forward(params, x):
        optimizer = ps.Optimizer(tx).init(params)
        scale = loss_scale(ps.get_current_state())
        return optimizer.update(grads_of(params, scale, x), params)

    f = ps.transform_with_state(forward)
    inside = jax.jit(lambda params, state, x: f.apply({}, state, None, params, x))
    params, state = run(inside, PARAMS, f.init(None, PARAMS, 1.0)[1])
    close(params, expected_run())
    assert float(loss_scale(state)) == 2.0**14

    net = ps.transform(lambda: ps.get_parameter("w", [3], init=jnp.ones).sum())
    train = ps.TrainState.create(net, tx, 0)
    start = train.params
    step = jax.jit(lambda _, train, x: (_, train.update(tx, grads_of(train.params, loss_scale(train), x))))  # fmt: skip
    _, train = run(step, None, train)
    inner, params = optax.adam(0.1), start
    state = inner.init(params)
    for i in (0, 1, 3, 4, 5):
        updates, state = inner.update(grads_of(params, 1.0, 1.0 + i), state, params)
        params = optax.apply_updates(params, updates)
    close(train.params, params)
    assert (int(train.step), float(loss_scale(train))) == (6, 2.0**14)


def around(tx):
    def step(params, state, x):
        updates, state = tx.update(grads_of(params, loss_scale(state), x), state, params)
        return optax.apply_updates(params, updates), state

    return jax.jit(step)


CLIPPED = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.1, weight_decay=0.1))
INJECTED = optax.inject_hyperparams(optax.adam)(0.1)
AROUND = {
    "chain outside": (optax.chain(dynamic_loss_scale(optax.adam(0.1)), optax.identity()), None),
    "chain inside": (dynamic_loss_scale(CLIPPED), CLIPPED),
    "trainable_only outside": (ps.trainable_only(dynamic_loss_scale(optax.adam(0.1)), ps.surgery.glob("*")), None),
    "inject_hyperparams": (dynamic_loss_scale(INJECTED), INJECTED),
    "multi_transform outside": (optax.multi_transform({"a": dynamic_loss_scale(optax.adam(0.1))}, ps.labels({"*": "a"})), None),
}  # fmt: skip


@pytest.mark.whole
@pytest.mark.parametrize("name", AROUND)
def test_with_transforms_around_it(name):
    tx, inner = AROUND[name]
    params, state = run(around(tx), PARAMS, tx.init(PARAMS))
    close(params, expected_run(inner))
    assert float(loss_scale(state)) == 2.0**14


def test_multi_steps_inside_skips_one_micro_step():
    inner = optax.MultiSteps(optax.adam(0.1), every_k_schedule=2)
    tx = dynamic_loss_scale(inner)
    params, state = run(around(tx), PARAMS, tx.init(PARAMS))
    close(params, expected_run(inner))  # five micro steps
    assert float(loss_scale(state)) == 2.0**14
    assert int(state.inner_state.mini_step) == 1


def test_extra_arguments_reach_the_inner_optimizer():
    inner = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1, factor=0.5))
    tx = dynamic_loss_scale(inner, initial=8.0)
    state, plain = tx.init(PARAMS), inner.init(PARAMS)
    for value in (1.0, 2.0, 3.0, 4.0):
        grads = jax.tree.map(lambda p: 8.0 * jnp.cos(p), PARAMS)
        updates, state = tx.update(grads, state, PARAMS, value=value)
        expected, plain = inner.update(jax.tree.map(jnp.cos, PARAMS), plain, PARAMS, value=value)
        close(updates, expected)
    assert float(state.inner_state[1].scale) < 1


def test_in_vmap_each_has_a_scale_of_its_own():
    tx = dynamic_loss_scale(optax.adam(0.1))
    several = jax.tree.map(lambda p: jnp.stack([p, p]), PARAMS)
    grads = jax.tree.map(lambda p: p.at[1].set(jnp.inf), jax.tree.map(jnp.ones_like, several))
    updates, state = jax.vmap(tx.update)(grads, jax.vmap(tx.init)(several), several)
    assert state.scale.tolist() == [2.0**15, 2.0**14]
    assert (updates["linear"]["w"][1] == 0).all()
    assert (updates["linear"]["w"][0] != 0).all()


def test_it_never_compiles_twice():
    tx, traces = dynamic_loss_scale(optax.adam(0.1), growth_interval=2), []

    @jax.jit
    def step(params, state, x):
        traces.append(1)
        updates, state = tx.update(grads_of(params, loss_scale(state), x), state, params)
        return optax.apply_updates(params, updates), state

    run(step, PARAMS, tx.init(PARAMS))
    assert len(traces) == 1


def test_a_saved_state_goes_on_with_the_same_bits(tmp_path):
    tx = dynamic_loss_scale(optax.adam(0.1), growth_interval=2)
    step = around(tx)
    whole = run(step, PARAMS, tx.init(PARAMS), 8)
    params, state = run(step, PARAMS, tx.init(PARAMS), 4)
    ps.checkpoint.save_safetensors(tmp_path / "run.safetensors", (params, state))
    blank = jax.eval_shape(lambda: (PARAMS, tx.init(PARAMS)))
    params, state = ps.checkpoint.load_safetensors(tmp_path / "run.safetensors", into=blank)
    assert isinstance(state, LossScaleState)
    assert (float(state.scale), int(state.skipped)) == (2.0**15, 1)
    for i in range(4, 8):
        params, state = step(params, state, 1.0 + i)
    same((params, state), whole)


def test_pickle():
    tx = dynamic_loss_scale(ps.trainable_only(PlainSgd(), True), 4.0, growth_interval=3)
    again = pickle.loads(pickle.dumps(tx))
    same(again.update(PARAMS, again.init(PARAMS))[0], tx.update(PARAMS, tx.init(PARAMS))[0])


class PlainSgd:
    """An optimizer without optax."""

    def init(self, params):
        return ()

    def update(self, grads, state, params=None):
        return jax.tree.map(lambda g: -g, grads), state


def test_an_optimizer_without_optax():
    tx = dynamic_loss_scale(PlainSgd(), 4.0)
    updates, _ = tx.update(PARAMS, tx.init(PARAMS))
    close(updates, jax.tree.map(lambda g: -g / 4, PARAMS))


# Several devices

DEVICES = """
import jax, jax.numpy as jnp, numpy as np, optax, warnings
import purestate as ps
from jax.sharding import PartitionSpec as P
from purestate.mixed_precision import dynamic_loss_scale, loss_scale

f = ps.transform(lambda x: ps.Linear(1)(x))
x = jax.random.normal(jax.random.key(1), [8, 3])
tx = dynamic_loss_scale(optax.adam(0.1), growth_interval=2)
params = f.init(jax.random.key(0), x)

def step(params, state, x, axis=None):
    scale = loss_scale(state)
    loss = lambda p: ((f.apply(p, None, x) - 1) ** 2).mean() * scale
    grads = jax.grad(loss)(params)
    if axis:
        grads = jax.lax.pmean(grads, axis)
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state

def run(step, params, state, x):
    for i in range(5):
        # In the second step, one example overflows: on the last device only.
        params, state = step(params, state, x.at[7, 0].set(jnp.inf) if i == 1 else x)
    return params, state

expected = run(jax.jit(step), params, tx.init(params), x)
assert int(expected[1].skipped) == 1 and float(expected[1].scale) == 2.0**15
mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

def mapped(params, state, x):
    # Varying copies, so that the gradients are those of one device, and not yet sums.
    own = jax.lax.pcast(params, "data", to="varying")
    scale = loss_scale(state)
    grads = jax.grad(lambda p: ((f.apply(p, None, x) - 1) ** 2).mean() * scale)(own)
    updates, state = tx.update(jax.lax.pmean(grads, "data"), state, params)
    return optax.apply_updates(params, updates), state

over = jax.jit(jax.shard_map(mapped, mesh=mesh, in_specs=(P(), P(), P("data")), out_specs=P()))
one = run(over, params, tx.init(params), x)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pmapped = jax.pmap(lambda p, s, x: step(p, s, x, "data"), axis_name="data", in_axes=(0, 0, 0))
    copies = lambda tree: jax.tree.map(lambda a: jnp.stack([a] * 4), tree)
    many = run(lambda p, s, x: pmapped(p, s, x.reshape(4, 2, 3)), copies(params), copies(tx.init(params)), x)

data = jax.sharding.NamedSharding(mesh, P("data"))
by_jit = run(jax.jit(step), params, tx.init(params), jax.device_put(x, data))

# Parameters spread over the devices: an overflow in one part of a gradient skips all of it.
spread = jax.device_put({"m": {"w": jnp.ones([8])}}, data)
update = jax.jit(tx.update)
updates, state = update(spread, tx.init(spread), spread)
bad = jax.device_put({"m": {"w": jnp.ones([8]).at[7].set(jnp.nan)}}, data)
updates, state = update(bad, state, spread)
assert not np.asarray(updates["m"]["w"]).any() and int(state.skipped) == 1

close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
jax.tree.map(close, one, expected)
jax.tree.map(close, by_jit, expected)
for i in range(4):
    jax.tree.map(close, jax.tree.map(lambda a: a[i], many), expected)
print("same")
"""


@pytest.mark.slow
def test_all_devices_agree():
    out = subprocess.run(
        [sys.executable, "-c", DEVICES],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(ps.__file__).parents[1]),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        },
    )
    assert (out.stdout, out.returncode) == ("same\n", 0), out.stderr


# Errors

ADAM = optax.adam(0.1)
ERRORS = {
    "no optimizer": (lambda: dynamic_loss_scale(0.1), "takes an optax optimizer"),
    "initial of zero": (lambda: dynamic_loss_scale(ADAM, 0.0), "initial must be a number from `minimum` on, but is 0.0"),
    "initial below minimum": (lambda: dynamic_loss_scale(ADAM, 1.0, minimum=2.0), "initial"),
    "infinite": (lambda: dynamic_loss_scale(ADAM, np.inf), "initial"),
    "factor of one": (lambda: dynamic_loss_scale(ADAM, factor=1.0), "factor must be a number above 1"),
    "half a step": (lambda: dynamic_loss_scale(ADAM, growth_interval=0.5), "growth_interval must be a whole number"),
    "endless": (lambda: dynamic_loss_scale(ADAM, growth_interval=np.inf), "growth_interval"),
    "a word": (lambda: dynamic_loss_scale(ADAM, "large"), "initial"),
    "negative minimum": (lambda: dynamic_loss_scale(ADAM, minimum=-1.0), "minimum must be a number above 0"),
    "without a state": (lambda: loss_scale(ADAM.init(PARAMS)), "no state of dynamic_loss_scale"),
    "two": (lambda: loss_scale([dynamic_loss_scale(ADAM).init(PARAMS)] * 2), "2 states"),
    "traced": (lambda: jax.jit(lambda s: dynamic_loss_scale(ADAM, s).init(PARAMS))(2.0), "initial"),
}  # fmt: skip


@pytest.mark.whole
@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    call, match = ERRORS[name]
    with pytest.raises(LossScaleError, match=match):
        call()
