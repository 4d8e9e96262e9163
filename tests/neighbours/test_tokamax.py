"""`implementation="tokamax"` with the real package, on the platform that is there."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

pytest.importorskip("tokamax")
# Or tokamax reads the command line of pytest as its own.
pytest.importorskip("absl.flags").FLAGS.mark_as_parsed()

KEYS = jax.random.split(jax.random.key(0), 5)
MASK = jax.random.bernoulli(KEYS[3], 0.5, [2, 1, 32, 32]).at[..., 0].set(True)
BIAS = jax.random.normal(KEYS[4], [1, 4, 32, 32])


@pytest.mark.parametrize("options", [
    {"is_causal": True}, {"mask": MASK}, {"bias": BIAS}, {"is_causal": True, "window": 4},
    {"logits_soft_cap": 2.0, "mask": MASK},
])  # fmt: skip
def test_attention(options: Any) -> None:
    q = jax.random.normal(KEYS[0], [2, 32, 4, 16])
    k, v = (jax.random.normal(key, [2, 32, 2, 16]) for key in KEYS[1:3])

    def run(implementation: Any) -> Any:
        def loss(*operands: Any) -> Any:
            out = ps.ops.dot_product_attention(*operands, implementation=implementation, **options)
            return jnp.sin(out).sum()

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(q, k, v)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        run("tokamax"),
        run(None),
    )


def test_in_a_layer() -> None:
    f = lambda implementation: ps.transform(
        lambda x: ps.MultiHeadAttention(
            2, 8, w_init=ps.initializers.RandomNormal(), value_size=4, implementation=implementation
        )(x, x, x)
    )
    x = jax.random.normal(KEYS[0], [3, 5, 4])
    params = f(None).init(KEYS[1], x)
    expected = f(None).apply(params, None, x)
    np.testing.assert_allclose(f("tokamax").apply(params, None, x), expected, rtol=1e-3, atol=1e-3)
