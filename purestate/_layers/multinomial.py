"""Draws from a categorical distribution."""

import jax
import jax.numpy as jnp


def multinomial(rng: jax.Array, logits: jax.Array, num_samples: int) -> jax.Array:
    """Draws indices, each as often as its logit says.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> ps.multinomial(jax.random.key(0), jnp.array([0.0, 100.0]), num_samples=3).tolist()
    [1, 1, 1]

    Args:
      rng: a random key, such as `ps.next_rng_key()`.
      logits: `[..., C]`, unnormalized log probabilities.
      num_samples: how many to draw from each distribution.

    Returns:
      `[..., num_samples]`, from 0 to C - 1.
    """
    if num_samples == 1:
        return jax.random.categorical(rng, logits)[..., None]
    samples = jax.random.categorical(rng, logits, shape=(num_samples, *logits.shape[:-1]))
    return jnp.moveaxis(samples, 0, -1)
