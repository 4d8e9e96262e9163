"""`Conv1DLSTM`, `Conv2DLSTM`, `Conv3DLSTM`: bits, and flax's cell with the same weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import check, normal


def step(lib, x, n, batch_size, state_dtype):
    core = getattr(lib, f"Conv{n}DLSTM")((4,) * n, 3, kernel_shape=3)
    state = jax.tree.map(
        lambda s: s.astype(state_dtype) + jnp.asarray(0.3, state_dtype),
        core.initial_state(batch_size),
    )
    return core(x, state)


@pytest.mark.slow
@pytest.mark.parametrize("dtypes", [("float32",) * 2, ("bfloat16",) * 2, ("bfloat16", "float32")])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_bits_of_a_step(n, dtypes):
    x = normal(2, *(4,) * n, 2, dtype=dtypes[0])
    check(lambda lib, x: step(lib, x, n, 2, dtypes[1]), x, eager=n == 1)


def test_bits_without_a_batch():
    check(lambda lib, x: step(lib, x, 2, None, "float32"), normal(4, 4, 2))


@pytest.mark.slow
def test_bits_of_a_sequence():
    def run(lib, xs):
        core = lib.Conv1DLSTM([4], 3, 2)
        return lib.dynamic_unroll(core, xs, core.initial_state(2))

    check(run, normal(3, 2, 4, 2))


@pytest.mark.slow
def test_same_as_flax():
    f = ps.transform(
        lambda xs: ps.dynamic_unroll(core := ps.Conv2DLSTM((5, 4), 3, 3), xs, core.initial_state(2))
    )
    xs = normal(4, 2, 5, 4, 2)
    params = jax.tree.map(lambda x: x + 0.1, f.init(jax.random.key(0), xs))
    outs, last = f.apply(params, None, xs)
    theirs = {
        short: {
            "kernel": params[f"conv2_dlstm/{name}"]["w"],
            "bias": params[f"conv2_dlstm/{name}"]["b"],
        }
        for short, name in (("ih", "input_to_hidden"), ("hh", "hidden_to_hidden"))
    }
    cell = nn.ConvLSTMCell(3, kernel_size=(3, 3))
    carry = (jnp.zeros([2, 5, 4, 3]),) * 2
    for x, out in zip(xs, outs, strict=True):
        carry, y = cell.apply({"params": theirs}, carry, x)
        np.testing.assert_allclose(out, y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last.cell, carry[0], rtol=1e-4, atol=1e-5)
