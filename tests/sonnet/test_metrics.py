"""Metrics read and reset what the state holds, also before any update in the same run.

The numbers are those of Sonnet 2, which keeps the variables on the object: after values 1 and 4.
"""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate.errors import ShapeMismatchError

METRICS = {
    "Mean": snt.Mean,
    "Sum": snt.Sum,
    "ExponentialMovingAverage": lambda: snt.ExponentialMovingAverage(0.5),
}


def variable(metric):
    average = isinstance(metric, snt.ExponentialMovingAverage)
    return (metric.average if average else metric.sum).value()


def reset_value(metric):
    metric.reset()
    return metric.value


def reset_update(metric):
    metric.reset()
    return metric(8.0)


def update_reset_value(metric):
    metric(8.0)
    return reset_value(metric)


def value_update(metric):
    return metric.value, metric(7.0)


DO = {
    "value": lambda metric: metric.value,
    "variable": variable,
    "reset": reset_value,
    "reset, update": reset_update,
    "update, reset": update_reset_value,
    "reset, update, update": lambda metric: (reset_update(metric), metric(2.0))[1],
    "value, update": value_update,
}

# After 1 and 4 the sum is 5. Of the moving average, hidden is 0.5, then 2.25, and that is divided by
# 1 - 0.5 ** 2. With 7 hidden is 4.625, over 0.875; after the reset 8 and 2 give 4, and 3 over 0.75.
AFTER = {
    "Mean": (2.5, 5.0, np.nan, 8.0, np.nan, 5.0, (2.5, 4.0)),
    "Sum": (5.0, 5.0, 0.0, 8.0, 0.0, 10.0, (5.0, 12.0)),
    "ExponentialMovingAverage": (3.0, 3.0, 0.0, 8.0, 0.0, 4.0, (3.0, 4.625 / 0.875)),
}
# In the state afterwards: the variables by name.
STATE = {
    ("Mean", "reset"): {"sum": 0.0, "count": 0},
    ("Mean", "reset, update"): {"sum": 8.0, "count": 1},
    ("Sum", "reset"): {"sum": 0.0},
    ("Sum", "reset, update"): {"sum": 8.0},
    ("ExponentialMovingAverage", "reset"): {"hidden": 0.0, "average": 0.0, "counter": 0},
    ("ExponentialMovingAverage", "reset, update"): {"hidden": 4.0, "average": 8.0, "counter": 1},
}


def updated(metric):
    metric(1.0)
    metric(4.0)
    return metric


def in_init(make, do):
    """The same run has the updates before."""
    found = []
    ps.transform_with_state(lambda: found.append(do(updated(make())))).init(None)
    return found[0], None


def in_apply(make, do, wrap=lambda f: f):
    """A new run makes the metric again, and has its state. That of `init` has no update yet."""
    _, state = ps.transform_with_state(lambda: make()(1.0)).init(None)
    run = ps.transform_with_state(lambda x: make()(x))
    for x in (1.0, 4.0):
        _, state = run.apply({}, state, None, x)
    return wrap(ps.transform_with_state(lambda: do(make())).apply)({}, state, None)


def in_a_lifted_function(make, do):
    _, state = ps.transform_with_state(lambda: updated(make()).value).init(None)
    _, state = ps.transform_with_state(lambda: updated(make()).value).apply({}, state, None)

    def f():
        metric = make()
        return ps.cond(True, lambda: do(metric), lambda: do(metric))

    return ps.transform_with_state(f).apply({}, state, None)


def outside(make, do):
    metric = updated(make())
    out = do(metric)
    names = {v.name.split("/")[-1].removesuffix(":0"): v.value() for v in metric.variables}
    return out, {"": names}


def a_copy(make, do):
    return do(copy.deepcopy(updated(make()))), None


def compiled_outside(make, do):
    metric = updated(make())
    return snt.function(lambda: do(metric))(), None


def functional(make, do):
    metric = make()
    run = snt.functional.transform_with_state(metric)
    _, state = run.init(jnp.array(1.0))
    for x in (1.0, 4.0):
        _, state = run.apply({}, state, jnp.array(x))
    return snt.functional.transform_with_state(lambda: do(metric)).apply({}, state)


RUNS = {
    "init": in_init,
    "apply": in_apply,
    "compiled apply": lambda make, do: in_apply(make, do, jax.jit),
    "lifted": in_a_lifted_function,
    "outside": outside,
    "copy": a_copy,
    "snt.function": compiled_outside,
    "functional": functional,
}


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("how", RUNS)
def test_against_numbers_by_hand(how, kind):
    for what, expected in zip(DO, AFTER[kind], strict=True):
        out, state = RUNS[how](METRICS[kind], DO[what])
        np.testing.assert_allclose(out, expected, rtol=1e-6, err_msg=what)
        if state is not None and (kind, what) in STATE:
            (bundle,) = state.values()
            assert {name: float(value) for name, value in bundle.items()} == STATE[kind, what]


@pytest.mark.parametrize("kind", METRICS)
def test_reset_in_the_first_run(kind):
    """In Sonnet too there is nothing to reset before `initialize`."""

    def f(x):
        metric = METRICS[kind]()
        metric.initialize(x)
        metric.reset()
        return metric(x)

    pair = ps.transform_with_state(f)
    _, state = pair.init(None, 3.0)
    for x in (3.0, 5.0):
        out, state = pair.apply({}, state, None, x)
        assert float(out) == x
    for do in (DO["value"], DO["reset"]):
        with pytest.raises((ValueError, AttributeError), match="no value yet"):
            ps.transform_with_state(lambda do=do: do(METRICS[kind]())).init(None)


def test_the_state_of_another_metric_is_not_read():
    def f():
        first, second = snt.Sum(), snt.Sum()
        first(1.0)
        return second.sum is None, first.value

    _, state = ps.transform_with_state(f).init(None)
    (none, total), _ = ps.transform_with_state(f).apply({}, state, None)
    assert none
    assert float(total) == 1.0


@pytest.mark.parametrize("shapes", [((3,), (2,)), ((), (3,)), ((3,), ())], ids=str)
@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("reset", [False, True])
def test_a_value_of_another_shape_than_the_state_has(kind, shapes, reset):
    def f(x, reset=False):
        metric = METRICS[kind]()
        if reset:
            metric.reset()
        return metric(x)

    pair = ps.transform_with_state(f)
    _, state = pair.init(None, jnp.ones(shapes[0]))
    with pytest.raises(ShapeMismatchError, match="shape"):
        pair.apply({}, state, None, jnp.ones(shapes[1]), reset)


def test_running_statistics_of_batch_norm_before_a_call():
    x = jnp.arange(6.0).reshape(3, 2)
    pair = ps.transform_with_state(lambda: snt.BatchNorm(True, True, 0.5)(x, is_training=True))
    params, state = pair.init(None)
    _, state = pair.apply(params, state, None)

    def f():
        norm = snt.BatchNorm(True, True, 0.5)
        return norm.moving_mean.value, norm.moving_variance.average.value()

    (mean, variance), after = jax.jit(ps.transform_with_state(f).apply)(params, state, None)
    np.testing.assert_allclose(mean, [[2.0, 3.0]], rtol=1e-6)
    np.testing.assert_allclose(variance, [[8 / 3, 8 / 3]], rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_reset_in_one_branch_and_value_before_the_update_in_a_scan():
    _, state = ps.transform_with_state(lambda x: snt.Mean()(x)).init(None, 1.0)
    _, state = ps.transform_with_state(lambda x: snt.Mean()(x)).apply({}, state, None, 6.0)

    def branch(flag):
        mean = snt.Mean()
        ps.cond(flag, mean.reset, lambda: None)
        return mean(2.0)

    for flag, expected in ((True, 2.0), (False, 4.0)):
        out, _ = jax.jit(ps.transform_with_state(branch).apply)({}, state, None, flag)
        assert float(out) == expected

    def loop(xs):
        mean = snt.Mean()
        return ps.scan(lambda carry, x: (carry, (mean.value, mean(x))), 0, xs)[1]

    (before, after), _ = ps.transform_with_state(loop).apply({}, state, None, jnp.array([2.0, 10]))
    assert (before.tolist(), after.tolist()) == ([6.0, 4.0], [4.0, 6.0])
