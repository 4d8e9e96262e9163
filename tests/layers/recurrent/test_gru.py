"""`GRU`: bits, flax's cell, a loop in float64, errors."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import check, normal


@pytest.mark.slow
@pytest.mark.parametrize("dtypes", [("float32",) * 2, ("bfloat16",) * 2, ("bfloat16", "float32")])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_bits_of_a_step(batch_size, dtypes):
    def run(lib, x):
        core = lib.GRU(4, b_init=lib.initializers.RandomNormal())
        return core(
            x, core.initial_state(batch_size).astype(dtypes[1]) + jnp.asarray(0.3, dtypes[1])
        )

    shape = (3,) if batch_size is None else (batch_size, 3)
    check(run, normal(*shape, dtype=dtypes[0]), eager=batch_size == 2)


@pytest.mark.slow
@pytest.mark.parametrize("unroll", ["static_unroll", "dynamic_unroll"])
def test_bits_of_a_sequence(unroll):
    def run(lib, xs):
        core = lib.GRU(
            4, w_i_init=lib.initializers.RandomNormal(), w_h_init=lib.initializers.Orthogonal()
        )
        return getattr(lib, unroll)(core, xs, core.initial_state(2))

    check(run, normal(5, 2, 3))


def test_bits_with_a_state_that_broadcasts():
    check(lambda lib, x: lib.GRU(4)(x, jnp.full([1, 4], 0.3)), normal(2, 3))


def made(**options):
    def run(xs):
        core = ps.GRU(4, **options)
        return ps.dynamic_unroll(core, xs, core.initial_state(2))

    f = ps.transform(run)
    xs = normal(6, 2, 3)
    return f, jax.tree.map(lambda x: x + 0.1, f.init(jax.random.key(0), xs)), xs


@pytest.mark.parametrize("reset_after", [False, True])
def test_loop_in_float64(reset_after):
    f, params, xs = made(reset_after=reset_after)
    outs, last = f.apply(params, None, xs)
    w_i, w_h, b = (np.float64(params["gru"][name]) for name in ("w_i", "w_h", "b"))
    b_h = np.float64(params["gru"].get("b_h", 0))

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    h = np.zeros([2, 4])
    for x, out in zip(np.float64(xs), outs, strict=True):
        z = sigmoid(x @ w_i[:, :4] + h @ w_h[:, :4] + b[:4])
        r = sigmoid(x @ w_i[:, 4:8] + h @ w_h[:, 4:8] + b[4:8])
        h_a = r * (h @ w_h[:, 8:] + b_h) if reset_after else (r * h) @ w_h[:, 8:]
        a = np.tanh(x @ w_i[:, 8:] + h_a + b[8:])
        h = (1 - z) * h + z * a
        np.testing.assert_allclose(out, h, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(last, outs[-1])


@pytest.mark.parametrize("reset_after", [False, True])
def test_same_as_flax(reset_after):
    # In flax the reset gate comes after the product with the weights. With a diagonal matrix that is the same.
    # And what is kept there is what is replaced here: 1 - sigmoid(x) is sigmoid(-x).
    f, params, xs = made(reset_after=reset_after)
    if not reset_after:
        diagonal = jnp.diag(jnp.array([0.5, -1.0, 2.0, 0.1]))
        params["gru"]["w_h"] = params["gru"]["w_h"].at[:, 8:].set(diagonal)
    outs, _ = f.apply(params, None, xs)

    w_i, w_h, b = (
        jnp.split(params["gru"][name], 3, axis) for name, axis in (("w_i", 1), ("w_h", 1), ("b", 0))
    )
    theirs = {
        "iz": {"kernel": -w_i[0], "bias": -b[0]},
        "hz": {"kernel": -w_h[0]},
        "ir": {"kernel": w_i[1], "bias": b[1]},
        "hr": {"kernel": w_h[1]},
        "in": {"kernel": w_i[2], "bias": b[2]},
        "hn": {"kernel": w_h[2], "bias": params["gru"].get("b_h", jnp.zeros([4]))},
    }
    h = jnp.zeros([2, 4])
    for x, out in zip(xs, outs, strict=True):
        h, _ = nn.GRUCell(4).apply({"params": theirs}, h, x)
        np.testing.assert_allclose(out, h, rtol=1e-5, atol=1e-6)


def test_reset_after_adds_one_parameter_and_changes_no_other():
    def params_of(**options):
        f = ps.transform(lambda x: ps.GRU(4, **options)(x, jnp.zeros([2, 4])), rng_mode="path")
        return f.init(jax.random.key(0), jnp.ones([2, 3]))["gru"]

    before, after = params_of(), params_of(reset_after=True)
    assert {name: x.shape for name, x in after.items() if name not in before} == {"b_h": (4,)}
    for name, x in before.items():
        np.testing.assert_array_equal(x, after[name])


def test_reset_after_with_two_products():
    f, params, xs = made(reset_after=True)
    found = str(jax.make_jaxpr(f.apply)(params, None, xs))
    assert found.count("dot_general") == 2


@pytest.mark.parametrize("shape", [(), (1, 1, 1)])
def test_inputs_of_a_wrong_rank(shape):
    f = ps.transform(lambda x: ps.GRU(4)(x, jnp.zeros([4])))
    with pytest.raises(ps.errors.LayerError, match="'gru'.*dynamic_unroll"):
        f.init(jax.random.key(0), jnp.ones(shape))
