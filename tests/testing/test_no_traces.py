"""`ps.testing.no_traces`: a block in which nothing is traced."""

import jax
import jax.numpy as jnp
import pytest

import purestate as ps
from purestate.testing import no_traces

X, Y = jnp.ones([2, 3]), jnp.ones([4, 3])


def test_a_step_that_is_compiled():
    f = ps.transform(lambda x: ps.nets.MLP([3, 2])(x))
    apply = jax.jit(f.apply)
    params = f.init(0, X)
    apply(params, None, X)
    with no_traces():
        apply(params, None, X)
    with pytest.raises(ps.errors.RetraceError, match="JAX traced lambda_apply"), no_traces():
        apply(params, None, Y)
    with no_traces():  # as it says: it was called before
        apply(params, None, Y)


def test_how_often():
    def double(x):
        return 2 * x

    with pytest.raises(ps.errors.RetraceError, match=r"double \(2 times\)"), no_traces():
        jax.jit(double)(X)
        jax.jit(double)(Y)


def test_another_error_is_not_hidden():
    with pytest.raises(ZeroDivisionError), no_traces():
        jax.jit(lambda x: 3 * x)(X)
        raise ZeroDivisionError


def test_blocks_within_blocks():
    triple = jax.jit(lambda x: 3 * x)
    with pytest.raises(ps.errors.RetraceError), no_traces():
        with pytest.raises(ps.errors.RetraceError), no_traces():
            triple(X)
    with no_traces(), no_traces():
        triple(X)
