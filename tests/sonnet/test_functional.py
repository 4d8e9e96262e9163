"""`snt.functional.transform`: pure functions of modules from outside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate.errors import MissingParameterError, MissingRNGError

X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_params_are_those_of_the_modules(wrap):
    net = snt.bind(lambda: snt.nets.MLP([4, 2]), 0, X)
    f = snt.functional.transform(lambda x: net(x))
    params = f.init(X)
    for variable in net.variables:
        module, name = variable.path
        np.testing.assert_array_equal(params[module][name], variable)
    np.testing.assert_allclose(wrap(f.apply)(params, X), net(X), atol=1e-6)
    double = jax.tree.map(lambda p: 2 * p, params)
    assert not np.allclose(wrap(f.apply)(double, X), net(X))
    np.testing.assert_array_equal(
        net.variables[0], params["/".join(net.variables[0].path[:1])]["b"]
    )


def test_apply_leaves_the_modules_alone():
    average = snt.ExponentialMovingAverage(0.5)
    average(jnp.ones([]))
    f = snt.functional.transform_with_state(lambda x: average(x))
    params, state = f.init(jnp.array(3.0))
    assert params == {}
    out, after = f.apply(params, state, jnp.array(3.0))
    assert float(average.value) == 1.0
    counters = [bundle["counter"] for bundle in (*state.values(), *after.values())]
    assert [int(counter) for counter in counters] == [1, 2]
    assert float(out) == pytest.approx((0.25 * 1 + 0.5 * 3) / 0.75)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_init_may_create_the_variables(wrap):
    net = snt.Linear(2)
    f = snt.functional.transform(lambda x: net(x))
    params = wrap(f.init)(X)
    (bundle,) = params.values()
    np.testing.assert_allclose(wrap(f.apply)(params, X), X @ bundle["w"] + bundle["b"], atol=1e-6)


def test_missing_params_are_an_error():
    net = snt.bind(lambda: snt.nets.MLP([4, 2]), 0, X)
    f = snt.functional.transform(lambda x: net(x))
    params = f.init(X)
    params.pop(next(iter(params)))
    with pytest.raises(MissingParameterError, match="was not given"):
        f.apply(params, X)


def test_variables_that_apply_would_create_are_an_error():
    f = snt.functional.transform(lambda x: snt.Linear(2)(x))
    with pytest.raises(MissingParameterError, match="All parameters are made by `init`"):
        f.apply({}, X)


def test_state_needs_transform_with_state():
    average = snt.ExponentialMovingAverage(0.5)
    with pytest.raises(ValueError, match="transform_with_state"):
        snt.functional.transform(lambda x: average(x)).init(X)


def test_a_random_key_is_an_argument():
    dropout = snt.Dropout(0.5)
    f = snt.functional.transform(lambda x: dropout(x, is_training=True))
    with pytest.raises(MissingRNGError):
        jax.jit(f.apply)({}, X)

    def with_key(key, x):
        with ps.with_rng(key):
            return dropout(x, is_training=True)

    g = snt.functional.transform(with_key)
    a, b = (jax.jit(g.apply)({}, jax.random.key(i), jnp.ones([50])) for i in range(2))
    assert not np.array_equal(a, b)


def test_gradients_flow_to_params():
    with snt.functional.variables():
        net = snt.Linear(1)
    f = snt.functional.transform(lambda x: net(x))
    params = f.init(X)
    grads = jax.grad(lambda p: jnp.sum(f.apply(p, X)))(params)
    ((module, bundle),) = grads.items()
    np.testing.assert_allclose(bundle["w"][:, 0], X.sum(0), atol=1e-6)
