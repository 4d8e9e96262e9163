"""The `eps` of a norm may be a number of any kind, and an array, traced or not: dm-haiku's bits."""

from collections.abc import Callable
from typing import Any

import haiku
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate

KEY = jax.random.key(0)
X = jnp.asarray(np.random.RandomState(0).standard_normal((2, 4, 6)), jnp.float32)

NORMS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "LayerNorm": lambda lib, x, eps: lib.LayerNorm(-1, True, True, eps)(x),
    "LayerNorm_fast": lambda lib, x, eps: lib.LayerNorm(
        -1, True, True, eps, use_fast_variance=True
    )(x),
    "InstanceNorm": lambda lib, x, eps: lib.InstanceNorm(True, True, eps)(x),
    "GroupNorm": lambda lib, x, eps: lib.GroupNorm(2, eps=eps)(x),
    "RMSNorm": lambda lib, x, eps: lib.RMSNorm(-1, eps)(x),
    "BatchNorm": lambda lib, x, eps: lib.BatchNorm(True, True, 0.9, eps)(x, True),
}
EPS: dict[str, Callable[[], Any]] = {
    "float": lambda: 1e-3,
    "int": lambda: 1,
    "numpy": lambda: np.float32(1e-3),
    "numpy_array": lambda: np.array(1e-3, np.float32),
    "array": lambda: jnp.array(1e-3),
}


@pytest.mark.parametrize("way", ["eager", "jit", "traced"])
@pytest.mark.parametrize("eps", EPS)
@pytest.mark.parametrize("name", NORMS)
def test_eps(name: str, eps: str, way: str) -> None:
    def out(lib: Any) -> Any:
        f = lib.transform_with_state(lambda x, eps: NORMS[name](lib, x, eps))
        params, state = f.init(KEY, X, 1e-3)
        if way == "traced":
            return jax.jit(f.apply)(params, state, KEY, X, EPS[eps]())[0]
        run = lambda params, state: f.apply(params, state, KEY, X, EPS[eps]())[0]
        return (jax.jit(run) if way == "jit" else run)(params, state)

    np.testing.assert_array_equal(out(purestate), out(haiku))


@pytest.mark.parametrize("name", NORMS)
def test_a_learned_eps_has_a_gradient(name: str) -> None:
    f = purestate.transform_with_state(lambda x, eps: NORMS[name](purestate, x, eps))
    params, state = f.init(KEY, X, 1e-3)
    target = jnp.arange(X.size).reshape(X.shape)

    def loss(eps: Any) -> Any:
        return jnp.sum(f.apply(params, state, KEY, X, eps)[0] * target)

    slope = jax.jit(jax.grad(loss))(0.5)
    expected = (loss(0.51) - loss(0.49)) / 0.02
    np.testing.assert_allclose(slope, expected, rtol=0.02, atol=0.05)
