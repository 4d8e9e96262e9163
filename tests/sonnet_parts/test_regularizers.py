import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate.sonnet as snt
from purestate._sonnet import regularizers
from purestate._sonnet.errors import SonnetValueError
from tests.sonnet_parts.tables import REGULARIZED, recorded


@pytest.mark.parametrize("row", range(len(REGULARIZED)))
def test_the_loss_is_that_of_sonnet(row):
    name, scale, arrays = REGULARIZED[row]
    loss = getattr(regularizers, name)(scale)([jnp.array(array) for array in arrays])
    np.testing.assert_allclose(loss, recorded("regularizers")[row], rtol=1e-6)


@pytest.mark.parametrize("name", ["L1", "L2", "OffDiagonalOrthogonal"])
def test_transforms(name):
    regularizer = getattr(regularizers, name)(0.5)
    w = jnp.array([[1.0, -2.0], [3.0, 0.5]])
    loss = lambda w: regularizer([w])
    np.testing.assert_allclose(jax.jit(loss)(w), loss(w), rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(loss)(jnp.stack([w, 2 * w]))[0], loss(w), rtol=1e-6)
    step = 1e-3
    for index in np.ndindex(2, 2):
        change = jnp.zeros([2, 2]).at[index].set(step)
        slope = (loss(w + change) - loss(w - change)) / (2 * step)
        np.testing.assert_allclose(jax.grad(loss)(w)[index], slope, rtol=1e-2, atol=1e-3)


def test_a_traced_scale_and_a_variable():
    w = snt.Variable(jnp.array([1.0, -2.0]), name="w")
    x = w.numpy()
    assert jax.jit(lambda scale: regularizers.L1(scale)([x]))(0.5) == 1.5
    assert regularizers.L2(snt.Variable(0.5, name="scale"))([w]) == 2.5


@pytest.mark.parametrize("name", ["L1", "L2", "OffDiagonalOrthogonal"])
def test_errors(name):
    make = getattr(regularizers, name)
    with pytest.raises(SonnetValueError, match="at least 0; got -0.1"):
        make(-0.1)
    with pytest.raises(SonnetValueError, match=r"Write \[array\]"):
        make(0.1)(jnp.ones([2, 2]))
    assert repr(make(0.5)) == f"{name}(scale=0.5)"


def test_a_vector_has_no_off_diagonal():
    with pytest.raises(SonnetValueError, match="two axes"):
        regularizers.OffDiagonalOrthogonal(0.1)([jnp.ones([3])])
