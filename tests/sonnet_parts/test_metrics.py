import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate._sonnet.errors import (
    NoVariablesError,
    SonnetAttributeError,
    SonnetTypeError,
    SonnetValueError,
)
from purestate._sonnet.metrics import Mean, Metric, Sum

VALUES = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


@pytest.mark.parametrize("make, reference", [(Sum, np.cumsum), (Mean, None)])
def test_outside(make, reference):
    metric = make()
    seen = [metric(value) for value in VALUES]
    sums = np.cumsum(VALUES.astype(np.float64), 0)
    expected = sums if make is Sum else sums / np.arange(1, 6)[:, None]
    np.testing.assert_allclose(seen, expected, rtol=1e-5)
    metric.reset()
    np.testing.assert_allclose(metric(VALUES[1]), VALUES[1], rtol=1e-6)


def test_in_a_transformed_function_over_steps():
    f = ps.transform_with_state(lambda x: Mean()(x))
    params, state = f.init(None, VALUES[0])
    assert jax.tree.map(lambda x: (x.dtype.name, x.tolist()), state) == {
        "mean": {"count": ("int32", 0), "sum": ("float32", [0.0, 0.0, 0.0])}
    }
    for value in VALUES:
        mean, state = jax.jit(f.apply)(params, state, None, value)
    np.testing.assert_allclose(mean, VALUES.mean(0), rtol=1e-5)
    assert params == {}


def test_in_a_scan():
    def total(xs):
        metric = Sum()
        metric.initialize(xs[0])
        return ps.scan(lambda carry, x: (carry, metric(x)), 0, xs)[1]

    f = ps.transform_with_state(total)
    out, state = f.apply(*f.init(None, VALUES), None, VALUES)
    np.testing.assert_allclose(out, np.cumsum(VALUES, 0), rtol=1e-5)
    np.testing.assert_allclose(state["sum"]["sum"], VALUES.sum(0), rtol=1e-5)


def test_no_gradient_flows_through_what_is_kept():
    def loss(x):
        metric = Sum()
        metric(x)
        return jnp.sum(metric.value * x)

    f = ps.transform_with_state(loss)
    params, state = f.init(None, VALUES[0])
    gradient = jax.grad(lambda x: f.apply(params, state, None, x)[0])(VALUES[0])
    np.testing.assert_allclose(gradient, VALUES[0], rtol=1e-6)  # and not twice as much


def test_the_mean_of_integers():
    mean = Mean()
    assert [float(mean(3)), float(mean(4))] == [3.0, 3.5]
    assert mean.sum.dtype == jnp.int32


@pytest.mark.parametrize("make, error", [(Sum, SonnetValueError), (Mean, SonnetAttributeError)])
def test_there_is_no_value_before_the_first(make, error):
    with pytest.raises(error, match="has no value yet"):
        make().value  # noqa: B018
    with pytest.raises(SonnetAttributeError, match="has no value yet"):
        make().reset()


@pytest.mark.parametrize("make", [Sum, Mean])
def test_values_of_another_shape_or_kind(make):
    metric = make()
    metric(jnp.ones([2], jnp.int32))
    for wrong in (1, [1, 2, 3], [[1, 2]]):
        with pytest.raises(ps.errors.ShapeMismatchError, match=r"shape \[2\]"):
            metric(jnp.array(wrong))
    with pytest.raises(SonnetTypeError, match="int32"):
        metric(jnp.array([0.5, 0.5]))
    assert metric.value.tolist() == [1, 1]


def test_names_and_variables():
    metric = Mean(name="loss")
    metric(1.0)
    assert [v.name for v in metric.variables] == ["loss/count:0", "loss/sum:0"]
    with pytest.raises(NoVariablesError):
        metric.trainable_variables  # noqa: B018


def test_a_metric_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Metric()
    assert issubclass(Metric, snt.Module)
