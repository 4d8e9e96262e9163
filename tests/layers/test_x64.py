"""Under `jax_enable_x64` what is made of float32 and bfloat16 stays as narrow as without."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from tests.haiku_parity.table_layers import inputs_of
from tests.layers.every_layer import ALL, ROWS, in_dtypes, leaves, transformed

KEY = jax.random.key(0)

AS_IN_HAIKU = {
    "embed_one_hot": "its one-hot vectors are in JAX's default dtype",
    "embed_matrix": "the matrix is float64",
    "lstm_two_dtypes": "the state is in JAX's default dtype",
    "gru_two_dtypes": "the state is in JAX's default dtype",
    "reset_core": "the state is in JAX's default dtype",
    "static_unroll_state": "the row makes a state in JAX's default dtype",
    "dynamic_unroll_state": "the row makes a state in JAX's default dtype",
}
"""Rows that get wider in dm-haiku too, and why."""

CASES = in_dtypes(
    [
        (row, dtype)
        for row in ROWS
        for dtype in ALL
        if dtype in row.dtypes and row.name not in AS_IN_HAIKU
    ]
)


def dtypes(row: Any, inputs: list[Any]) -> dict[str, Any]:
    """Of all floats in what `init` makes, what `apply` returns, and the gradients."""
    f = transformed(row)

    def loss(params: Any, state: Any) -> Any:
        out, state = f.apply(params, state, KEY, *inputs)
        floats = [x for x in jax.tree.leaves(out) if jnp.issubdtype(x.dtype, jnp.floating)]
        return sum((jnp.sum(x).astype(jnp.float32) for x in floats), jnp.float32(0)), (out, state)

    variables = jax.eval_shape(f.init, KEY, *inputs)
    found = jax.eval_shape(jax.value_and_grad(loss, has_aux=True), *variables)
    return {
        path: leaf.dtype
        for path, leaf in leaves((variables, found)).items()
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    }


@pytest.mark.one_slow_in(2)
@pytest.mark.one_in(3)
@pytest.mark.parametrize("row, dtype", CASES)
def test_no_dtype_gets_wider(row, dtype):
    inputs = inputs_of(row, dtype)
    expected = dtypes(row, inputs)
    with jax.enable_x64(True):
        assert dtypes(row, inputs) == expected
