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


class Run:
    """A row, run with one library.

    Step by step, as it comes, where it is small; otherwise compiled.
    """

    def __init__(self, lib: Any, row: Row, dtype: str):
        inputs = inputs_of(row, dtype)
        key, apply_key = jax.random.split(jax.random.key(7))
        f = lib.transform_with_state(lambda *inputs: row.run(lib, *inputs))
        step_by_step = dtype == "float32" and not row.is_net
        self.params, self.state = (f.init if step_by_step else jax.jit(f.init))(key, *inputs)
        self.outputs = f.apply(self.params, self.state, apply_key, *inputs) if step_by_step else None
        self.num_equations = num_equations(jax.make_jaxpr(f.apply)(self.params, self.state, apply_key, *inputs).jaxpr)

        def loss(params: Any, floats: list[Any], state: Any, key: Any) -> Any:
            rest = iter(floats)
            out, new_state = f.apply(params, state, key, *[next(rest) if is_float(x) else x for x in inputs])
            # Gradients that differ from value to value, so that no sum of them is zero.
            terms = [jnp.sum(jnp.sin(x) * x) for x in jax.tree.leaves(out) if is_float(x)]
            return sum(terms, jnp.zeros([])).astype(jnp.float32), (out, new_state)

        self._arguments = (self.params, [x for x in inputs if is_float(x)], self.state, apply_key)
        self._lowered = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)).lower(*self._arguments)
        self.program = self._lowered.as_text()

    def compiled(self) -> Any:
        """Outputs, new state and gradients."""
        return self._lowered.compile()(*self._arguments)


def rows(*dtypes: str) -> Any:
    return [
        pytest.param(row, dtype, id=f"{row.name}-{dtype}") for row in ROWS for dtype in dtypes if dtype in row.dtypes
    ]


@pytest.mark.parametrize(("row", "dtype"), rows("float32", "bfloat16"))
def test_bits(row: Row, dtype: str) -> None:
    theirs, ours = Run(haiku, row, dtype), Run(purestate, row, dtype)
    for collection in ("params", "state"):
        assert_same_bits(getattr(ours, collection), getattr(theirs, collection))
    assert_same_bits(ours.outputs, theirs.outputs)
    assert ours.num_equations <= theirs.num_equations
    if ours.program != theirs.program:  # the same program needs no run
        assert_same_bits(ours.compiled(), theirs.compiled())


@pytest.mark.parametrize(("row", "dtype"), rows("float32", "bfloat16", "float64"))
def test_names_and_dtypes(row: Row, dtype: str) -> None:
    def described(lib: Any) -> Any:
        f = lib.transform_with_state(lambda *inputs: row.run(lib, *inputs))
        params_and_state = jax.eval_shape(f.init, key, *inputs)
        in_order = [(m, list(variables)) for bundle in params_and_state for m, variables in bundle.items()]
        return in_order, params_and_state, jax.eval_shape(f.apply, *params_and_state, key, *inputs)

    with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
        inputs, key = inputs_of(row, dtype), jax.random.key(0)
        assert described(purestate) == described(haiku)
