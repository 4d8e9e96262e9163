"""Bit for bit the same as dm-haiku: names, first values, outputs, state and gradients of every layer."""

import contextlib
from typing import Any

import haiku
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate
from tests.haiku_parity.table_layers import ROWS, Row, inputs_of


def assert_same_bits(ours: Any, theirs: Any) -> None:
    """Same structure, shapes, dtypes and bytes."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        where = jax.tree_util.keystr(path)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), where
        # Bytes, since arrays that compare equal may differ: 0.0 and -0.0.
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), (where, a, b)


def num_equations(jaxpr: Any) -> int:
    inner = jax.tree.leaves([eqn.params for eqn in jaxpr.eqns], is_leaf=lambda x: hasattr(x, "eqns"))
    return len(jaxpr.eqns) + sum(num_equations(x) for x in inner if hasattr(x, "eqns"))


def is_float(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def some_values(x: Any) -> Any:
    return jnp.asarray(np.sin(1.0 + np.arange(x.size)).reshape(x.shape), x.dtype)


class Program:
    """A function and its arguments, compiled only if need be."""

    def __init__(self, f: Any, *args: Any):
        self._lowered, self._args = jax.jit(lambda *args: f(*args)).lower(*args), args
        self.text = self._lowered.as_text()

    def run(self) -> Any:
        return self._lowered.compile()(*self._args)


def assert_same_results(ours: Program, theirs: Program) -> None:
    if ours.text != theirs.text:  # the same program needs no run
        assert_same_bits(ours.run(), theirs.run())


def transformed(lib: Any, row: Row) -> Any:
    return lib.transform_with_state(lambda *inputs: row.run(lib, *inputs))


def gradients(f: Any, params: Any, state: Any, key: Any, inputs: list[Any]) -> Program:
    """Outputs, new state and gradients."""

    def loss(params: Any, floats: list[Any], state: Any, key: Any) -> Any:
        rest = iter(floats)
        out, new_state = f.apply(params, state, key, *[next(rest) if is_float(x) else x for x in inputs])
        # Gradients that differ from value to value, so that no sum of them is zero.
        terms = [jnp.sum(jnp.sin(x) * x) for x in jax.tree.leaves(out) if is_float(x)]
        return sum(terms, jnp.zeros([])).astype(jnp.float32), (out, new_state)

    floats = [x for x in inputs if is_float(x)]
    return Program(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True), params, floats, state, key)


def rows(*dtypes: str) -> Any:
    return [
        pytest.param(row, dtype, id=f"{row.name}-{dtype}") for row in ROWS for dtype in dtypes if dtype in row.dtypes
    ]


@pytest.mark.parametrize(("row", "dtype"), rows("float32", "bfloat16"))
def test_bits(row: Row, dtype: str) -> None:
    inputs = inputs_of(row, dtype)
    key, apply_key = jax.random.split(jax.random.key(7))
    ours, theirs = transformed(purestate, row), transformed(haiku, row)
    if row.is_net:
        assert_same_results(Program(ours.init, key, *inputs), Program(theirs.init, key, *inputs))
        params, state = jax.tree.map(some_values, jax.eval_shape(theirs.init, key, *inputs))
    else:
        params, state = theirs.init(key, *inputs)
        assert_same_bits(ours.init(key, *inputs), (params, state))
        arguments = (params, state, apply_key, *inputs)
        assert_same_bits(ours.apply(*arguments), theirs.apply(*arguments))
    assert_same_results(*(gradients(f, params, state, apply_key, inputs) for f in (ours, theirs)))


@pytest.mark.parametrize(("row", "dtype"), rows("float32", "bfloat16", "float64"))
def test_names_dtypes_and_equations(row: Row, dtype: str) -> None:
    def described(lib: Any) -> Any:
        f = transformed(lib, row)
        in_order = []

        def init(*args: Any) -> Any:
            bundles = f.init(*args)
            # What comes out of a JAX function is sorted.
            in_order.extend((module, list(variables)) for bundle in bundles for module, variables in bundle.items())
            return bundles

        bundles = jax.eval_shape(init, key, *inputs)
        jaxpr, out = jax.make_jaxpr(f.apply, return_shape=True)(*bundles, key, *inputs)
        return (in_order, bundles, out), num_equations(jaxpr.jaxpr)

    with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
        inputs, key = inputs_of(row, dtype), jax.random.key(0)
        (ours, our_equations), (theirs, their_equations) = described(purestate), described(haiku)
    assert ours == theirs
    assert our_equations <= their_equations
