"""`ExponentialMovingAverage` and `EMAParamsTree`: a loop in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import normal

VALUES = np.asarray(normal(6, 2, 3))


def run(values, *args, **options):
    f = ps.transform_with_state(lambda x: ps.ExponentialMovingAverage(*args, **options)(x))
    params, state = f.init(None, values[0])
    outs = []
    for value in values:
        out, state = f.apply(params, state, None, value)
        outs.append(out)
    return np.stack(outs), state["exponential_moving_average"]


@pytest.mark.parametrize("zero_debias", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.3, 0.99])
def test_loop_in_float64(decay, zero_debias):
    outs, state = run(VALUES, decay, zero_debias)
    # Kingma and Ba 2015, arXiv:1412.6980, section 3: a sum of (1 - d) d^(t - i) v_i, over 1 - d^t.
    for t, out in enumerate(outs, 1):
        weights = (1 - decay) * decay ** np.arange(t - 1, -1, -1.0)
        expected = np.tensordot(weights, np.float64(VALUES[:t]), 1) / (
            1 - decay**t if zero_debias else 1
        )
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(outs[-1], state["average"])
    assert int(state["counter"]) == 6


def test_what_never_changes_is_its_own_average():
    outs, _ = run(np.full([5, 2], 3.0, np.float32), 0.9)
    np.testing.assert_allclose(outs, 3.0, rtol=1e-5)


def test_warm_up():
    outs, _ = run(VALUES, 0.9, zero_debias=False, warmup_length=2)
    np.testing.assert_allclose(outs[:2], VALUES[:2], rtol=1e-6)
    expected = np.float64(VALUES[1])
    for value, out in zip(VALUES[2:], outs[2:], strict=True):
        expected = 0.9 * expected + 0.1 * value
        np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_without_update():
    f = ps.transform_with_state(lambda x, update: ps.ExponentialMovingAverage(0.5)(x, update))
    params, state = f.init(None, 1.0, True)
    _, state = f.apply(params, state, None, 1.0, True)
    out, after = f.apply(params, state, None, 4.0, False)
    np.testing.assert_allclose(out, (0.25 * 1 + 0.5 * 4) / 0.75, rtol=1e-6)
    assert after == state


def test_read_before_the_first_call():
    def f():
        ema = ps.ExponentialMovingAverage(0.9)
        ema.initialize([2], jnp.bfloat16)
        return ema.average

    average, _ = ps.transform_with_state(f).apply(
        {}, ps.transform_with_state(f).init(None)[1], None
    )
    assert (average.dtype, average.tolist()) == (jnp.bfloat16, [0.0, 0.0])


def test_tree():
    f = ps.transform_with_state(lambda tree: ps.EMAParamsTree(0.5, ignore_regex=".*/b")(tree))
    trees = [{"mlp/~/linear_0": {"w": VALUES[i], "b": VALUES[i, 0]}} for i in range(3)]
    _, state = f.init(None, trees[0])
    assert list(state) == ["ema_params_tree/mlp___tilde___linear_0__w"]
    for tree in trees:
        averages, state = f.apply({}, state, None, tree)
    np.testing.assert_array_equal(averages["mlp/~/linear_0"]["b"], VALUES[2, 0])
    expected = np.tensordot([0.125, 0.25, 0.5], np.float64(VALUES[:3]), 1) / 0.875
    np.testing.assert_allclose(averages["mlp/~/linear_0"]["w"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"warmup_length": -1}, "negative, got -1"), ({"warmup_length": 2}, "zero_debias=False")],
)
def test_errors(options, says):
    with pytest.raises(ps.errors.LayerError, match=says):
        ps.transform(lambda: ps.ExponentialMovingAverage(0.9, **options)).apply({}, None)


def test_an_array_in_place_of_its_shape():
    f = ps.transform_with_state(lambda: ps.ExponentialMovingAverage(0.9).initialize(jnp.ones([2])))
    with pytest.warns(DeprecationWarning, match=r"ema\.initialize\(x\.shape, x\.dtype\)"):
        _, state = f.init(None)
    assert jax.tree.map(jnp.shape, state) == {
        "exponential_moving_average": {"hidden": (2,), "average": (2,)}
    }
