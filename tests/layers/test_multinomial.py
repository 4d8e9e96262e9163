import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps


@pytest.mark.parametrize("num_samples", [1, 2, 5])
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3)])
def test_shape(num_samples, shape):
    out = ps.multinomial(jax.random.key(0), jnp.zeros(shape), num_samples)
    assert out.shape == (*shape[:-1], num_samples)


def test_frequencies():
    probabilities = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    with np.errstate(divide="ignore"):
        logits = jnp.asarray(np.log(probabilities) + 3.0)  # unnormalized
    samples = ps.multinomial(jax.random.key(0), logits, 20_000)
    frequencies = [np.bincount(row, minlength=3) / 20_000 for row in np.asarray(samples)]
    np.testing.assert_allclose(frequencies, probabilities, atol=0.015)
