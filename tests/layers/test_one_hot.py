import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int32, jnp.bool_])
def test_rows_of_the_identity(dtype):
    x = np.array([[0, 2], [1, 1]])
    out = ps.one_hot(x, 3, dtype)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, np.eye(3)[x])


def test_outside_are_zeros():
    np.testing.assert_array_equal(ps.one_hot(np.array([-1, 3]), 3), np.zeros([2, 3]))
