import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.leaky_clip_by_value import leaky_clip_by_value
from tests.sonnet_parts.tables import CLIPS, recorded


@pytest.mark.parametrize("row", range(len(CLIPS)))
@pytest.mark.parametrize("compiled", [False, True])
def test_values_and_gradients_of_sonnet(row, compiled):
    x, low, high, dy = (jnp.array(part) for part in CLIPS[row])
    clip = jax.jit(leaky_clip_by_value) if compiled else leaky_clip_by_value
    y, pullback = jax.vjp(lambda x: clip(x, low, high), x)
    expected_y, expected_dx = recorded("clips")[row]
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(pullback(dy)[0], expected_dx)


def test_mapped():
    x, dy = jnp.array([[-2.0, 0.0], [3.0, 1.0]]), jnp.array([[1.0, 1.0], [-1.0, 1.0]])
    one = lambda x, dy: jax.vjp(lambda x: leaky_clip_by_value(x, -1.0, 0.5), x)[1](dy)[0]
    np.testing.assert_array_equal(jax.vmap(one)(x, dy), one(x, dy))


def test_the_bounds_get_no_gradient():
    f = lambda low: jnp.sum(leaky_clip_by_value(jnp.array([-2.0, 0.0]), low, 1.0))
    assert jax.grad(f)(-1.0) == 0.0


def test_integers_and_bounds_of_another_dtype():
    assert leaky_clip_by_value(jnp.array([1, 2, 3]), 0, 2).tolist() == [1, 2, 2]
    x = jnp.ones([2], jnp.float16)
    assert leaky_clip_by_value(x, jnp.float32(0.0), 2.0, name="clip").dtype == jnp.float16


@pytest.mark.parametrize("low", [[0.0, 0.0], [[0.0]]])
def test_a_bound_may_not_make_the_result_larger(low):
    with pytest.raises(SonnetValueError, match="or broadcast to the shape of"):
        leaky_clip_by_value(jnp.float32(1.0), jnp.array(low), 2.0)
