"""Arrays are known as parameters by their identity, as long as somebody else keeps them."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._core import parameters_read
from purestate._core.parameters_read import (
    note_parameter,
    note_same_parameter,
    parameter_names,
    parameters_among,
)


@pytest.mark.parametrize("make", [jnp.ones, np.ones])
def test_a_value_is_known_by_its_identity(make):
    w = make([2])
    note_parameter(w, "linear", "w")
    assert parameter_names(w) == ("linear", "w")
    assert parameter_names(make([2])) is None
    half = note_same_parameter(jnp.asarray(w).astype(jnp.bfloat16), w)
    assert parameter_names(half) == ("linear", "w")
    assert note_same_parameter(jnp.zeros([1]), jnp.zeros([1])).shape == (1,)
    assert parameters_among((w, 1.0, half), "linear") == {"w": 2}
    assert parameters_among((w, None), "other") == {"linear/w": 0}


def test_nothing_is_kept():
    before = len(parameters_read._names)
    w = jnp.arange(3.0)
    note_parameter(w, "linear", "w")
    note_parameter(2.0, "linear", "b")  # a Python number has no identity that lasts
    assert len(parameters_read._names) == before + 1
    del w
    gc.collect()
    assert len(parameters_read._names) <= before


def test_only_while_somebody_listens():
    f = ps.transform(lambda x: ps.Linear(2)(x))
    x = jnp.ones([1, 3])
    params = f.init(jax.random.key(0), x)
    w = params["linear"]["w"]
    f.apply(params, None, x)
    assert parameter_names(w) is None
    with ps.intercept_ops(lambda next_op, operands, context: next_op(*operands)):
        f.apply(params, None, x)
    assert parameter_names(w) == ("linear", "w")


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("jit", [True, False])
def test_through_what_reading_does(trainable, jit):
    seen = []

    def look(next_op, operands, context):
        seen.append(dict(context.params))
        return next_op(*operands)

    def f(x):
        with ps.custom_getter(lambda next_getter, value, context: next_getter(value * 2)):
            w = ps.get_parameter("w", [3, 2], init=jnp.ones, trainable=trainable)
        return ps.ops.dot_general(x, w) + ps.Linear(2, param_dtype=jnp.bfloat16, name="a")(x)

    g, x = ps.transform(f), jnp.ones([1, 3])
    params = g.init(jax.random.key(0), x)
    with ps.intercept_ops(look):
        (jax.jit(g.apply) if jit else g.apply)(params, None, x)
    assert seen == [{"w": 1}, {"w": 1}]
