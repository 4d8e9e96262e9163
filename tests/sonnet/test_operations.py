"""Each product of Sonnet's layers is an operation, with the names of the variables in it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from tests.ops.test_every_layer import pass_on, products, without_products
from tests.sonnet.layers_with_products import ROWS, Row, inputs_of, variables_of

HAVE_PRODUCTS = {"dot_general", "conv_general_dilated", "conv_transpose"}
CASES = [pytest.param(row, id=name) for name, row in ROWS.items()]


class Seen:
    """An interceptor that notes which operations there are, and the parameters in them."""

    def __init__(self) -> None:
        self.params: dict[str, set[str]] = {}
        self.paths: set[str] = set()

    def __call__(self, next_op: Any, operands: Any, context: Any) -> Any:
        self.paths.add(context.path)
        self.params.setdefault(context.op, set()).update(context.params)
        for name, position in context.params.items():
            assert operands[position].shape, name
        return next_op(*operands)


@pytest.mark.parametrize("row", CASES)
def test_every_product_is_an_operation(row: Row) -> None:
    f, (params, state), x = variables_of(row)
    plain = jax.make_jaxpr(f.apply)(params, state, None, x)
    assert bool(products(plain.jaxpr)) == bool(row.operands.keys() & HAVE_PRODUCTS)
    with ps.intercept_ops(without_products):
        jaxpr = jax.make_jaxpr(f.apply)(params, state, None, x)
    assert products(jaxpr.jaxpr) == 0


@pytest.mark.parametrize("row", CASES)
def test_parameters_are_named(row: Row) -> None:
    f, (params, state), x = variables_of(row)
    seen = Seen()
    with ps.intercept_ops(seen):
        jax.eval_shape(f.apply, params, state, None, x)
    assert seen.params == row.operands
    assert "~" not in seen.paths


@pytest.mark.parametrize(
    "name", ["Linear", "Conv2DTranspose", "Embed", "UnrolledLSTM", "LayerNorm"]
)
def test_parameters_are_named_outside(name: str) -> None:
    row = ROWS[name]
    layer, x, seen = row.make(), inputs_of(row), Seen()
    plain = row.call(layer, x)
    with ps.intercept_ops(seen):
        out = row.call(layer, x)
    assert seen.params == row.operands
    np.testing.assert_allclose(out, plain, rtol=1e-6)


def test_parameters_are_named_if_numpy_holds_them() -> None:
    f, (params, state), x = variables_of(ROWS["Linear"])
    seen = Seen()
    with ps.intercept_ops(seen):
        f.apply(jax.tree.map(np.asarray, params), state, None, x)
    assert seen.params == {"dot_general": {"w"}}


@pytest.mark.parametrize("row", CASES)
def test_passing_on_is_the_same_program(row: Row) -> None:
    f, (params, state), x = variables_of(row)

    plain = str(jax.make_jaxpr(f.apply)(params, state, None, x))
    with ps.intercept_ops(pass_on):
        passed = str(jax.make_jaxpr(f.apply)(params, state, None, x))
    if row is ROWS["UnrolledLSTM"]:  # compiles its loop, unless operations are intercepted
        assert passed.count("dot_general") == plain.count("dot_general") == 2
    else:
        assert passed == plain


def test_a_transposed_convolution_is_the_one_of_lax() -> None:
    def by_lax(next_op: Any, operands: Any, context: Any) -> Any:
        assert context.op == "conv_transpose"
        return jax.lax.conv_transpose(*operands, **context.options)

    for name in ("Conv1DTranspose", "Conv2DTranspose"):
        f, (params, state), x = variables_of(ROWS[name])
        plain, _ = f.apply(params, state, None, x)
        with ps.intercept_ops(by_lax):
            other, _ = f.apply(params, state, None, x)
        np.testing.assert_allclose(other, plain, rtol=1e-5, atol=1e-6)


def test_normalize_gets_what_is_needed_to_do_it_again() -> None:
    def again(next_op: Any, operands: Any, context: Any) -> Any:
        inputs, scale, offset, mask, mean, variance = operands
        assert (context.options["kind"], mask) == ("batch", None)
        eps = context.options["eps"]
        return (inputs - mean) / jnp.sqrt(variance + eps) * scale + offset

    for name in ("LayerNorm", "InstanceNorm", "BatchNorm", "BatchNorm-test"):
        f, (params, state), x = variables_of(ROWS[name])
        plain, _ = f.apply(params, state, None, x)
        with ps.intercept_ops(again):
            other, _ = f.apply(params, state, None, x)
        np.testing.assert_allclose(other, plain, rtol=1e-4, atol=1e-5)


def test_ids_out_of_range_are_nan_for_an_interceptor_too() -> None:
    f = ps.transform_with_state(lambda ids: snt.Embed(3, 2)(ids))
    params, state = f.init(jax.random.key(0), jnp.array([0]))
    with ps.intercept_ops(pass_on):
        out, _ = jax.jit(f.apply)(params, state, None, jnp.array([2, 3, -1]))
    assert np.isnan(out).all(axis=1).tolist() == [False, True, True]


def doubled(next_op: Any, operands: Any, context: Any) -> Any:
    return 2 * next_op(*operands)


def test_a_rule_reaches_a_module_by_its_path() -> None:
    def forward(x: Any) -> Any:
        return snt.nets.MLP([4, 2], activation=jnp.asarray)(x)

    f, x = ps.transform_with_state(forward), jnp.ones([2, 3])
    params, state = f.init(jax.random.key(0), x)
    rules = {"**/linear_1": ps.rules.ops(dot=doubled)}
    g = ps.transform_with_state(ps.configured(forward, rules))
    plain, _ = f.apply(params, state, None, x)
    out, _ = g.apply(params, state, None, x)
    np.testing.assert_allclose(out, 2 * plain, rtol=1e-6)  # the biases are zeros
