"""Small models of purestate that the tests of converters share, and how they are compared."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps

KEY = jax.random.key(0)
INIT = ps.initializers.VarianceScaling()
DIFFERENCES: list[tuple[str, str, float]] = []  # model, direction, largest difference


class Case(NamedTuple):
    """A model: the function, the example for `init`, and the arguments of `apply` to compare."""

    f: Any
    example: tuple[Any, ...]
    args: tuple[Any, ...]


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def case(f: Callable[..., Any], *example: Any) -> Case:
    return Case(ps.transform_with_state(f), example, example)


def training_case(f: Callable[..., Any], x: Any) -> Case:
    """A model with running statistics: `init` in training, and compared without."""
    return Case(ps.transform_with_state(f), (x, True), (x, False))


def equal(a: Any, b: Any) -> bool:
    """Whether two trees are equal, bit for bit."""
    same = jax.tree.map(
        lambda x, y: np.array_equal(np.asarray(x), np.asarray(y)) and x.dtype == y.dtype, a, b
    )
    return all(jax.tree.leaves(same))


def random_values(tree: Any, seed: int = 0) -> Any:
    """Returns a tree with other floats, above zero so that they can be variances."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: (
            jnp.asarray(rng.uniform(0.1, 0.5, x.shape), x.dtype)
            if jnp.issubdtype(x.dtype, jnp.floating)
            else x
        ),
        tree,
    )


def difference(a: Any, b: Any) -> float:
    """The largest difference, relative to the largest value if that is above 1."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.abs(a - b).max() / max(1, np.abs(b).max()))


def close(distance: float | None, model: str, direction: str) -> None:
    """Asserts that outputs are close, and notes the difference for the table."""
    assert distance is not None
    # flax's LayerNorm subtracts squares of means, which loses bits: 2.3e-5 on JAX 0.12.
    assert distance <= 5e-5
    DIFFERENCES.append((model, direction, distance))


def unroll(core: Any, x: Any) -> Any:
    return ps.dynamic_unroll(core, x, core.initial_state(x.shape[0]), time_major=False)[0]


def norm(x: Any, **kwargs: Any) -> Any:
    return ps.LayerNorm(-1, True, True, **kwargs)(x)


def attention(x: Any, **kwargs: Any) -> Any:
    return ps.MultiHeadAttention(2, 4, w_init=INIT, **kwargs)(x, x, x)


SAME = ((1, 1), (1, 1))


def cnn(x: Any, is_training: bool) -> Any:
    h = ps.Conv2D(6, 3, padding=SAME)(x)
    h = jax.nn.relu(ps.BatchNorm(True, True, 0.9)(h, is_training))
    h = ps.Conv2D(8, 3, padding=SAME, stride=2, feature_group_count=2)(h)
    h = jax.nn.relu(ps.BatchNorm(True, True, 0.9)(h, is_training))
    return ps.Linear(4)(h.mean([1, 2]))


def encoder_block(x: Any) -> Any:
    h = norm(x + attention(x))
    return norm(h + ps.Linear(8)(jax.nn.relu(ps.Linear(16)(h))))


def two_grus(x: Any) -> Any:
    make = lambda: ps.GRU(6, reset_after=True)
    return unroll(make(), unroll(make(), x))


def two_lstms(x: Any) -> Any:
    h = unroll(ps.LSTM(6), x)
    return ps.Linear(3)(unroll(ps.LSTM(6), h))
