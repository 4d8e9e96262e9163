import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate._sonnet.errors import SonnetAttributeError, SonnetTypeError
from purestate._sonnet.moving_averages import ExponentialMovingAverage
from tests.sonnet_parts.tables import AVERAGES, recorded


@pytest.mark.parametrize("row", range(len(AVERAGES)))
def test_numbers_and_variables_of_sonnet(row):
    decay, values = AVERAGES[row]
    expected = recorded("averages")[row]
    ema = ExponentialMovingAverage(decay)
    seen = [ema(jnp.array(value)) for value in values]
    np.testing.assert_allclose(seen, expected["seen"], rtol=1e-6)
    kept = {v.name: v.numpy() for v in ema.variables}
    names = [name.split("/")[1] for name in kept]
    assert names == [name.split("/")[1] for name in expected["slots"]]
    for mine, theirs in zip(kept.values(), expected["slots"].values(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
    ema.reset()
    np.testing.assert_allclose(ema(jnp.array(values[0])), expected["after reset"], rtol=1e-5)


def test_in_a_transformed_function():
    f = ps.transform_with_state(lambda x: ExponentialMovingAverage(0.9)(x))
    params, state = f.init(None, jnp.float32(1.0))
    assert {
        name: value.dtype.name for name, value in state["exponential_moving_average"].items()
    } == {
        "counter": "int32",
        "hidden": "float32",
        "average": "float32",
    }
    seen = []
    for x in (1.0, 2.0, 3.0):
        value, state = jax.jit(f.apply)(params, state, None, jnp.float32(x))
        seen.append(float(value))
    np.testing.assert_allclose(seen, [1.0, 1.5263158, 2.0701103], rtol=1e-6)


def test_no_gradient_flows_through_what_is_kept():
    f = ps.transform_with_state(lambda x: ExponentialMovingAverage(0.9)(x))
    params, state = f.init(None, jnp.float32(1.0))
    assert jax.grad(lambda x: f.apply(params, state, None, x)[0])(2.0) == 0.0


def test_the_decay_may_be_a_variable_or_traced():
    decay = snt.Variable(0.5, trainable=False, name="decay")
    ema = ExponentialMovingAverage(decay)
    assert [float(ema(1.0)), float(ema(4.0))] == [1.0, 3.0]
    f = ps.transform_with_state(lambda d, x: ExponentialMovingAverage(d)(x))
    params, state = f.init(None, 0.5, 1.0)
    assert jax.jit(f.apply)(params, state, None, 0.5, 3.0)[0] == 3.0


def test_mapped_over_a_batch():
    f = ps.transform_with_state(lambda x: ExponentialMovingAverage(0.9)(x))
    params, state = f.init(None, jnp.float32(1.0))
    states = jax.tree.map(lambda s: jnp.stack([s, s]), state)
    out, states = jax.vmap(f.apply, (None, 0, None, 0))(params, states, None, jnp.array([1.0, 5.0]))
    np.testing.assert_allclose(out, [1.0, 5.0], rtol=1e-6)
    assert states["exponential_moving_average"]["counter"].tolist() == [1, 1]


def test_errors():
    ema = ExponentialMovingAverage(0.9)
    with pytest.raises(SonnetAttributeError, match="no value yet"):
        ema.value  # noqa: B018
    with pytest.raises(SonnetAttributeError, match="no value yet"):
        ema.reset()
    with pytest.raises(SonnetTypeError, match="int32"):
        ema(3)
    ema(jnp.ones([2]))
    with pytest.raises(ps.errors.ShapeMismatchError):
        ema(jnp.ones([]))
    assert int(ema._counter) == 1
