"""Which equations of a jaxpr count."""

import jax
import jax.numpy as jnp

from purestate._core.equations import is_literal, live_equations


def f(x, y):
    jax.debug.callback(lambda value: None, jnp.sin(x))
    unused = jnp.cos(y)
    del unused
    return jnp.tanh(x) * 2.0


def names(**options):
    jaxpr = jax.make_jaxpr(f)(1.0, 2.0).jaxpr
    return [eqn.primitive.name for eqn in live_equations(jaxpr, **options)]


def test_those_that_lead_to_the_result():
    assert names() == ["tanh", "mul"]


def test_those_with_an_effect():
    assert names(effects=True) == ["sin", "debug_callback", "tanh", "mul"]


def test_literals():
    product = jax.make_jaxpr(f)(1.0, 2.0).jaxpr.eqns[-1]
    assert [is_literal(atom) for atom in product.invars] == [False, True]
