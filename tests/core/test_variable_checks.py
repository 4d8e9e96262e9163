"""Checks of variables: an error says who asked, for what, what was there, and what to write instead."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.core.raises import raises

X = jnp.ones([2, 3])
NET = ps.transform(lambda x: ps.nets.MLP([4, 2])(x))


@pytest.fixture
def params():
    return NET.init(jax.random.key(0), X)


def test_a_missing_module_lists_what_is_near(params):
    params["mlp/~/linear0"] = params.pop("mlp/~/linear_0")
    words = [
        "'w' of 'mlp/~/linear_0'",
        "(3, 4)",
        "no module 'mlp/~/linear_0'",
        "'mlp/~/linear0/w'",
        "`init`",
    ]
    raises(ps.errors.MissingParameterError, *words, call=lambda: NET.apply(params, None, X))


def test_a_missing_parameter_lists_its_siblings(params):
    params["mlp/~/linear_1"]["W"] = params["mlp/~/linear_1"].pop("w")
    words = ["'mlp/~/linear_1' has 'b', 'W'", "'mlp/~/linear_1/W'"]
    raises(ps.errors.MissingParameterError, *words, call=lambda: NET.apply(params, None, X))
    raises(ps.errors.MissingParameterError, "is empty", call=lambda: NET.apply({}, None, X))


def test_a_wrong_shape_shows_both(params):
    words = ["'w' of 'mlp/~/linear_0'", "(3, 4)", "(5, 4)"]
    raises(
        ps.errors.ShapeMismatchError, *words, call=lambda: NET.apply(params, None, jnp.ones([2, 5]))
    )


@pytest.mark.parametrize("bad", [None, "abc", 3.0, [1, 2]])
def test_an_initializer_that_makes_no_array(bad):
    f = ps.transform(lambda: ps.get_parameter("w", [], init=lambda s, d: bad))
    raises(
        ps.errors.VariableTypeError,
        "'w' of '~'",
        type(bad).__name__ if bad else "None",
        call=lambda: f.init(None),
    )


def test_arguments_in_the_wrong_order(params):
    f = ps.transform_with_state(lambda x: ps.Linear(1)(x))
    error = raises(
        ps.errors.ArgumentError,
        "apply(params, state, rng",
        "(2, 3)",
        call=lambda: f.apply(X, params, None, X),
    )
    assert "1." not in str(error), "no dump of arrays"
    raises(
        ps.errors.InvalidRNGError,
        "apply(params, rng",
        "`rng` was expected",
        call=lambda: NET.apply(params, params, X),
    )


def test_no_initializer():
    f = ps.transform(lambda: ps.get_parameter("w", [3]))
    raises(
        ps.errors.MissingInitializerError, "'w' of '~'", "init=jnp.zeros", call=lambda: f.init(None)
    )
    raises(ps.errors.MissingParameterError, "'w' of '~'", call=lambda: f.apply({}, None))


def test_state_that_is_not_there():
    f = ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9)(x, is_training=False))
    raises(
        ps.errors.MissingStateError,
        "'average' of 'batch_norm/~/mean_ema'",
        "is_training",
        call=lambda: f.init(None, X),
    )
    g = ps.transform_with_state(lambda: ps.get_state("s", init=jnp.zeros))
    raises(ps.errors.MissingStateError, "shape is None", call=lambda: g.init(None))


def test_a_creator_may_know_what_to_do_with_any_dtype_and_initializer():
    def creator(next_creator, shape, dtype, init, context):
        return jnp.full(shape, len(dtype) + len(init))

    def f():
        with ps.custom_creator(creator):
            return ps.get_parameter("w", [2], "weird", init="marker")

    assert ps.transform(f).init(None)["~"]["w"].tolist() == [11, 11]


@pytest.mark.parametrize("get", [ps.get_parameter, ps.get_state])
@pytest.mark.parametrize(
    "dtype", [jax.random.key(0).dtype, jax.dtypes.prng_key, float, "bfloat16", np.int8]
)
def test_all_that_jax_takes_for_a_dtype(get, dtype):
    init = (
        jnp.zeros
        if dtype in (float, "bfloat16", np.int8)
        else lambda shape, dtype: jax.random.key(1)
    )
    params, state = ps.transform_with_state(lambda: get("w", (), dtype, init=init)).init(None)
    (value,) = jax.tree.leaves((params, state))
    assert value.dtype == init((), dtype).dtype
