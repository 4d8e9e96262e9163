"""A module that keeps its own random key: Treex's dropout.

The key is state, in a collection of its own: not among the parameters, and so without a gradient.
No key is passed to `apply`. Run: python examples/state/dropout_with_key.py
"""

import jax
import jax.numpy as jnp

import purestate as ps


class Dropout(ps.Module):
    """Sets half of the numbers to zero, others each time."""

    def __init__(self, key: jax.Array):
        super().__init__()
        self.first_key = key

    def __call__(self, x: jax.Array) -> jax.Array:
        kept = ps.variable("rng", "key", init=lambda: self.first_key)
        key, kept.value = jax.random.split(kept.value)  # one to use now, and one to keep
        return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x / 0.5, 0.0)


def main() -> None:
    x = jnp.ones([6])
    f = ps.transform_with_collections(lambda x: Dropout(jax.random.key(0))(x))
    variables = f.init(None, x)
    print(list(variables))
    apply = jax.jit(f.apply, static_argnames="mutable")
    for _ in range(3):
        out, updated = apply(variables, None, x, mutable="rng")
        again, _ = apply(variables, None, x, mutable="rng")
        use, keep = jax.random.split(variables["rng"]["dropout"]["key"])
        is_kept = updated["rng"]["dropout"]["key"] == keep
        is_used = (out == 2.0 * jax.random.bernoulli(use, 0.5, x.shape)).all()
        print(
            out, "same key, same mask:", (out == again).all(), "split as said:", is_kept & is_used
        )
        variables |= updated


if __name__ == "__main__":
    main()
