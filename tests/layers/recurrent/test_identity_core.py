"""`IdentityCore`."""

import jax.numpy as jnp

import purestate as ps
from tests.layers.haiku_bits import check, normal


def test_returns_what_it_is_given():
    inputs, state = object(), object()

    def f():
        core = ps.IdentityCore(name="nothing")
        assert core.module_name == "nothing"
        return core(inputs, state), core.initial_state(3)

    (out, next_state), first = ps.transform(f).apply({}, None)
    assert out is inputs
    assert next_state is state
    assert first == ()


def test_bits():
    check(
        lambda lib, xs: lib.dynamic_unroll(lib.IdentityCore(), xs, {"a": jnp.ones([2])}),
        normal(3, 2),
    )
