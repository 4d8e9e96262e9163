"""The file: what it holds, and that a damaged one is an error or loads to the same program."""

import os
import subprocess
import sys
import zipfile
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps
from tests.checkpoint.helpers import same
from tests.export.loader import LOADER

KEY, X = jax.random.key(0), np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def load_as_on_the_page(path):
    scope = {}
    exec(LOADER, scope)
    return scope["load"](path)


# All kinds of weights


WEIGHTS = {
    "half": jnp.arange(3, dtype=jnp.bfloat16),
    "tiny": {"int4": jnp.arange(-3, 3, dtype=jnp.int4), "f8": jnp.ones([], jnp.float8_e4m3fn)},
    "keys": jax.random.split(jax.random.key(1, impl="rbg"), 2),
    "double": np.arange(2.0),
    "turned": np.arange(6.0, dtype=np.float32).reshape(2, 3).T,
    "a name/with.dots": {"": jnp.zeros([0, 2])},
    "nothing": None,
    "number": 3,
    "list": [True, (np.complex64(1j),)],
}


@pytest.mark.parametrize("load", [lambda p: vars(ps.load_exported(p)), load_as_on_the_page])
def test_all_kinds_of_weights(tmp_path, load):
    path = tmp_path / "model.zip"
    model = ps.export(lambda params, state, x: x, WEIGHTS, {"more": [X]}, X, path=path)
    loaded = load(path)
    params, state = (loaded["params"], loaded["state"]) if type(loaded) is dict else loaded[1:]
    assert same((params, state), (model.params, model.state))
    assert same(model.params, jax.tree.map(jnp.asarray, WEIGHTS))


# In a process that has neither purestate nor optax


def noisy(x):
    h = ps.dropout(ps.next_rng_key(), 0.2, ps.Linear(4)(x))
    return ps.BatchNorm(True, True, 0.9)(h, is_training=True)


NOISY = ps.transform_with_state(noisy)
OPTIMIZER = optax.adam(1e-2)


def train(params, rest, rng, x):
    def loss(params):
        out, state = NOISY.apply(params, rest["state"], rng, x)
        return (out**2).mean(), state

    (value, state), grads = jax.value_and_grad(loss, has_aux=True)(params)
    updates, opt_state = OPTIMIZER.update(grads, rest["opt_state"])
    return value, optax.apply_updates(params, updates), {"state": state, "opt_state": opt_state}


def run_core(params, state, x):
    return ps.transform(lambda: ps.LSTM(4)(x, state)).apply(params, None)


ELSEWHERE = """
import sys
sys.modules["purestate"] = sys.modules["optax"] = None

x = np.load("x.npy")
call, params, rest = load("train.zip")
for i in range(2):
    value, params, rest = call(params, rest, None, jax.random.key(i), x)
np.savez("train.npz", value, *jax.tree.leaves((params, rest)))
print(type(rest["opt_state"][0]).__name__, rest["opt_state"][0]._fields)

call, params, state = load("lstm.zip")
for i in range(2):
    out, state = call(params, state, None, x)
np.savez("lstm.npz", out, *state)
print(type(state).__name__, state._fields)
"""


def test_training_and_an_lstm_go_on_elsewhere(tmp_path):
    params, state = NOISY.init(KEY, X)
    rest = {"state": state, "opt_state": OPTIMIZER.init(params)}
    specs = (KEY, "float32[b, 3]")
    ps.export(train, params, rest, specs, path=tmp_path / "train.zip")
    core = ps.transform(lambda x: ps.LSTM(4)(x, ps.LSTM(4).initial_state(2))).init(KEY, X)
    hidden = ps.LSTMState(*jnp.ones([2, 2, 4]))
    ps.export(run_core, core, hidden, X, path=tmp_path / "lstm.zip")
    np.save(tmp_path / "x.npy", X)

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = [sys.executable, "-c", LOADER + ELSEWHERE]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "ScaleByAdamState ('count', 'mu', 'nu')",
        "LSTMState ('hidden', 'cell')",
    ]

    value, step = None, jax.jit(train)
    for i in range(2):
        value, params, rest = step(params, rest, jax.random.key(i), X)
    results = np.load(tmp_path / "train.npz").values()
    for got, want in zip(results, jax.tree.leaves((value, params, rest)), strict=True):
        np.testing.assert_array_equal(got, want)
    out = None
    for _ in range(2):
        out, hidden = jax.jit(run_core)(core, hidden, X)
    for got, want in zip(np.load(tmp_path / "lstm.npz").values(), (out, *hidden), strict=True):
        np.testing.assert_array_equal(got, want)


def test_named_tuples_are_those_that_are_imported(tmp_path):
    opt_state = OPTIMIZER.init(X)
    ps.export(lambda params, state, x: state, {}, opt_state, X, path=tmp_path / "model.zip")
    loaded = ps.load_exported(tmp_path / "model.zip")
    assert jax.tree.structure(loaded.state) == jax.tree.structure(opt_state)
    assert jax.tree.structure(loaded(X)) == jax.tree.structure(opt_state)


def test_jax_itself_writes_our_named_tuples():
    state = ps.RecurrentDropoutState(ps.LSTMState(*jnp.ones([2, 2, 4])), None)
    exported = jax.export.export(jax.jit(lambda state: state))(state)
    again = jax.export.deserialize(exported.serialize())
    assert again.in_tree == exported.in_tree
    assert same(again.call(state), state)


def test_gradients_of_a_loaded_program(tmp_path):
    path = tmp_path / "model.zip"
    for order in (0, 1):
        ps.export(lambda p, s, x: (p * x**2).sum(), X, None, X, path=path, vjp_order=order)
        loaded = ps.load_exported(path)
        loss = jax.grad(lambda params, x: loaded.apply(params, None, None, x), argnums=(0, 1))
        if order:
            jax.tree.map(np.testing.assert_allclose, loss(X, X), (X**2, 2 * X * X))
        else:
            with pytest.raises(ps.errors.ExportError, match="vjp_order=1"):
                loss(X, X)


# Damage


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "model.zip"
    model = ps.export(lambda p, s, x: x * p["w"], {"w": jnp.float32(3)}, None, X, path=path)
    return path, model, path.read_bytes()


def outcome(path, model):
    """The error's message, or None if the same program and weights are loaded."""
    try:
        loaded = ps.load_exported(path)
    except ps.errors.CheckpointFileError as error:
        assert str(path) in str(error)
        return str(error)
    assert loaded.exported.mlir_module_serialized == model.exported.mlir_module_serialized
    assert (loaded.exported.in_tree, loaded.exported.in_avals, loaded.exported.out_avals) == (
        model.exported.in_tree,
        model.exported.in_avals,
        model.exported.out_avals,
    )
    assert same((loaded.params, loaded.state), (model.params, model.state))
    return None


@pytest.mark.parametrize("flip, step", [(0xFF, 7), pytest.param(1, 1, marks=pytest.mark.slow)])
def test_bytes_flipped(small, flip, step):
    path, model, data = small
    harmless = 0
    with zipfile.ZipFile(path) as file:
        members = sum(info.compress_size for info in file.infolist())
    try:
        for place in range(0, len(data), step):
            damaged = bytearray(data)
            damaged[place] ^= flip
            path.write_bytes(damaged)
            harmless += outcome(path, model) is None
    finally:
        path.write_bytes(data)
    # Dates, versions and rights of the members are not looked at, but every byte of a member is.
    assert 0 < harmless <= (len(data) - members) / step + 1


def test_each_length(small):
    path, model, data = small
    try:
        for length in range(0, len(data), 50):
            path.write_bytes(data[:length])
            assert outcome(path, model) is not None, length
    finally:
        path.write_bytes(data)


def test_damage_on_the_page(small, tmp_path):
    _, _, data = small
    path = tmp_path / "damaged.zip"
    with zipfile.ZipFile(small[0]) as file:
        places = [data.index(file.read(info)) for info in file.infolist()]
    for place in places:
        damaged = bytearray(data)
        damaged[place + 9] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"):
            load_as_on_the_page(path)


def test_a_killed_export_leaves_the_old_file(small):
    path, model, data = small
    with mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")):
        with pytest.raises(ps.errors.CheckpointFileError, match="The file is as it was"):
            ps.export(lambda p, s, x: x, {}, None, X, path=path)
    assert path.read_bytes() == data
    assert outcome(path, model) is None
