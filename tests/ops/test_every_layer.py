"""Each product of each layer is an operation, and an interceptor that does nothing changes no bit."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.haiku_parity.table_layers import Row, inputs_of
from tests.layers.every_layer import ROWS, leaves, transformed
from tests.suite.covering import variants

PRODUCTS = {"dot_general", "conv_general_dilated"}

# Layers with products that are not those of an input with a weight: of a power iteration, of windows
# with a kernel that takes them out, of tokens with the places that they have at an expert.
OTHER_PRODUCTS = ("spectral_norm", "sn_params_tree", "conv_local", "mixture_of_experts")

_SLOW = variants([row.name for row in ROWS])
CASES = [
    pytest.param(
        row, id=row.name, marks=[pytest.mark.slow] if row.name in _SLOW or row.is_net else []
    )
    for row in ROWS
]


def pass_on(next_op: Any, operands: Any, context: Any) -> Any:
    return next_op(*operands)


def without_products(next_op: Any, operands: Any, context: Any) -> Any:
    """Zeros in place of each operation, which reach all of its operands."""
    shape = jax.eval_shape(next_op, *operands)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)


def products(jaxpr: Any) -> int:
    found = 0
    for eqn in jaxpr.eqns:
        found += eqn.primitive.name in PRODUCTS
        for sub in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
        ):
            inner = getattr(sub, "jaxpr", sub)
            if hasattr(inner, "eqns"):
                found += products(inner)
    return found


def variables_of(row: Row) -> tuple[Any, ...]:
    f = transformed(row)
    inputs, key = inputs_of(row, "float32"), jax.random.key(0)
    shapes = jax.eval_shape(f.init, key, *inputs)
    draw = np.random.RandomState(0)
    bundles = jax.tree.map(
        lambda leaf: (
            jnp.asarray(draw.uniform(0.5, 1.5, leaf.shape), leaf.dtype)
            if jnp.issubdtype(leaf.dtype, jnp.floating)
            else jnp.zeros(leaf.shape, leaf.dtype)
        ),
        shapes,
    )
    return f, bundles, key, inputs


@pytest.mark.parametrize("row", CASES)
def test_every_product_is_an_operation(row: Row) -> None:
    f, bundles, key, inputs = variables_of(row)
    with ps.intercept_ops(without_products):
        jaxpr = jax.make_jaxpr(f.apply)(*bundles, key, *inputs)
    left = products(jaxpr.jaxpr)
    if row.name.startswith(OTHER_PRODUCTS):
        plain = products(jax.make_jaxpr(f.apply)(*bundles, key, *inputs).jaxpr)
        assert left < plain or row.name.startswith("s")
    else:
        assert left == 0


@pytest.mark.parametrize("row", CASES)
def test_passing_on_is_the_same_program(row: Row) -> None:
    f, bundles, key, inputs = variables_of(row)

    def results() -> tuple[str, dict[str, Any]]:
        jaxpr = jax.make_jaxpr(f.apply)(*bundles, key, *inputs)
        # The equations of `jnp.einsum` are in another order if its product is passed on.
        by_value = row.name.startswith("einsum")
        return (
            ("", leaves(jax.jit(f.apply)(*bundles, key, *inputs))) if by_value else (str(jaxpr), {})
        )

    plain, out = results()
    with ps.intercept_ops(pass_on):
        passed, out_passed = results()
    assert passed == plain
    for name in out:
        np.testing.assert_allclose(out_passed[name], out[name], rtol=1e-6)
