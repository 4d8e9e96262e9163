"""Under `jax_numpy_dtype_promotion="strict"` every layer runs, and is the program that it is otherwise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._core.frame import get_frame
from tests.haiku_parity.table_layers import Row, inputs_of
from tests.layers.every_layer import ALL, ROWS, in_dtypes, leaves, public_modules, transformed

KEY = jax.random.key(0)

MIXED = {"lstm_two_dtypes", "gru_two_dtypes", "reset_core", "bidirectional_default"}
"""Rows whose own programs mix dtypes: bfloat16 inputs with a state of the default dtype."""

CASES = in_dtypes(
    [
        (row, dtype)
        for row in ROWS
        for dtype in ALL
        if dtype in row.dtypes and not (dtype == "bfloat16" and (row.is_net or row.name in MIXED))
    ]
)


def loss(out: Any) -> Any:
    floats = [x for x in jax.tree.leaves(out) if jnp.issubdtype(x.dtype, jnp.floating)]
    return sum((jnp.sum(x.astype(jnp.float32)) for x in floats), jnp.zeros([]))


def program(row: Row, dtype: str, at_once: bool) -> str:
    """The jaxpr of `init`, and that of `apply` with gradients.

    Args:
      row: what to run.
      dtype: of the inputs.
      at_once: whether to have the layers take the operations that they take where nothing is traced.
    """

    def run(*inputs: Any) -> Any:
        if at_once:
            get_frame("a test").home.staged = False
        return row.run(ps, *inputs)

    f, inputs = ps.transform_with_state(run), inputs_of(row, dtype)

    def loss_of(params: Any, state: Any) -> Any:
        out, state = f.apply(params, state, KEY, *inputs)
        return loss(out), (out, state)

    made, variables = jax.make_jaxpr(f.init, return_shape=True)(KEY, *inputs)
    return f"{made}\n{jax.make_jaxpr(jax.value_and_grad(loss_of, has_aux=True))(*variables)}"


@pytest.mark.one_in(3)
@pytest.mark.parametrize("row, dtype", CASES)
def test_the_program_is_the_same(row, dtype):
    for at_once in (False, True) if dtype == "float32" and not row.is_net else (False,):
        expected = program(row, dtype, at_once)
        with jax.numpy_dtype_promotion("strict"):
            assert program(row, dtype, at_once) == expected


RUN = ("ema", "batch_norm_with", "dropout", "metrics", "avg_pool_valid", "linear", "rms_norm")


@pytest.mark.parametrize("row", [row for row in ROWS if row.name in RUN], ids=lambda row: row.name)
def test_it_runs_with_the_same_bits(row):
    f, inputs = transformed(row), inputs_of(row, "float32")
    results = []
    for mode in ("standard", "strict"):
        with jax.numpy_dtype_promotion(mode):
            variables = f.init(KEY, *inputs)
            results.append(leaves((variables, f.apply(*variables, KEY, *inputs))))
    for path, leaf in results[0].items():
        assert np.asarray(leaf).tobytes() == np.asarray(results[1][path]).tobytes(), path


def test_the_rows_have_every_module():
    seen = set()

    def note(next_method, args, kwargs, context):
        seen.add(type(context.module))
        return next_method(*args, **kwargs)

    with ps.intercept_methods(note):
        for row in ROWS:
            jax.eval_shape(transformed(row).init, KEY, *inputs_of(row, "float32"))
    assert [name for name, cls in public_modules().items() if cls not in seen] == []


@pytest.mark.parametrize("make", [ps.LSTM, ps.GRU, ps.VanillaRNN])
def test_a_state_in_the_dtype_of_the_inputs_goes_with_them(make):
    def step(x):
        core = ps.ResetCore(make(4))
        return core((x, jnp.array([False, True])), core.initial_state(2, dtype=x.dtype))

    with jax.numpy_dtype_promotion("strict"):
        f, x = ps.transform(step), jnp.ones([2, 3], jnp.bfloat16)
        params = f.init(KEY, x)
        found = jax.eval_shape(f.apply, params, None, x)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, found))} == {jnp.dtype(jnp.bfloat16)}
