"""`RNNCore`: it is abstract, and what is derived from it works with what is here."""

import abc

import jax.numpy as jnp
import pytest

import purestate as ps


class Half(ps.RNNCore):
    def __call__(self, inputs, prev_state):
        return inputs, prev_state


def test_is_abstract():
    assert issubclass(ps.RNNCore, (ps.Module, abc.ABC))
    with pytest.raises(TypeError, match="initial_state"):
        ps.transform(Half).init(None)


def test_subclass_with_a_name_and_state():
    class Counting(ps.RNNCore):
        def __call__(self, inputs, prev_state):
            n = ps.get_state("n", [], init=jnp.zeros)
            ps.set_state("n", n + 1)
            return inputs + prev_state, prev_state

        def initial_state(self, batch_size):
            return ps.get_parameter("first", [], init=jnp.ones)

    def f(xs):
        core = Counting(name="count")
        return ps.dynamic_unroll(core, xs, core.initial_state(None))

    g = ps.transform_with_state(f)
    params, state = g.init(None, jnp.zeros([5]))
    (outs, last), state = g.apply(params, state, None, jnp.zeros([5]))
    assert outs.tolist() == [1.0] * 5
    assert float(last) == 1.0
    assert float(state["count"]["n"]) == 5.0
