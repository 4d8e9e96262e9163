"""Training in float8, against NumPy and ml_dtypes in float64."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import purestate as ps

KEY = jax.random.key(0)
X = jax.random.normal(KEY, [4, 8])
NAME = "quantize_amax_history_w"


def through(x: Any, dtype: str, amax: float) -> Any:
    """Rounds to float8 and back, in NumPy."""
    largest = float(ml_dtypes.finfo(getattr(ml_dtypes, dtype)).max)
    scale = np.float32(amax) / np.float32(largest)
    scaled = np.clip(np.float32(x) / scale, -largest, largest)
    return scaled.astype(getattr(ml_dtypes, dtype)).astype(np.float64) * scale


def test_products_and_gradients_are_those_of_numpy() -> None:
    f = ps.transform_with_state(lambda x: ps.Linear(3, with_bias=False)(x))

    def loss(params: Any, state: Any, x: Any) -> Any:
        out, state = f.apply(params, state, None, x)
        return jnp.sum(jnp.sin(out)), (out, state)

    step = jax.jit(jax.grad(loss, argnums=(0, 2), has_aux=True))
    with ps.quantize.fp8_training(history=2):
        params, state = f.init(KEY, X)
        w = np.asarray(params["linear"]["w"])
        seen: list[float] = []
        for factor in (1.0, 0.5, 3.0, 1.0, 1.0):
            x = np.asarray(factor * X)
            (gradient, x_gradient), (out, state) = step(params, state, x)
            # The scale of this step is that of the two steps before.
            amax = max(seen[-2:]) if seen else np.abs(x).max()
            x8, w8 = through(x, "float8_e4m3fn", amax), through(w, "float8_e4m3fn", np.abs(w).max())
            seen.append(float(np.abs(x).max()))
            assert np.allclose(out, x8 @ w8, rtol=1e-5, atol=1e-5)
            g = np.cos(np.float32(x8 @ w8))
            g8 = through(g, "float8_e5m2", np.abs(g).max())
            # A gradient half way between two values may be rounded to either.
            assert np.allclose(gradient["linear"]["w"], x8.T @ g8, rtol=1e-3, atol=2e-2)
            assert np.allclose(x_gradient, g8 @ w8.T, rtol=1e-3, atol=2e-2)
            assert np.allclose(state["linear"][NAME][0], [*seen[:-3:-1], 0.0][:2])


def shared(x: Any) -> Any:
    linear = ps.Linear(8)
    return linear(x) + linear(2 * x)


MODES: dict[str, Callable[[Any], Any]] = {
    "plain": lambda x: ps.Linear(8)(2 * x),
    "shared": shared,
    "remat": lambda x: ps.remat(lambda x: ps.Linear(8)(x))(2 * x),
    "vmap": lambda x: ps.vmap(lambda x: ps.Linear(8)(x), split_rng=False)(jnp.stack([x, 2 * x])),
    "scan": lambda x: ps.scan(
        lambda c, x: (c, ps.Linear(8)(x)), 0.0, jnp.stack([2 * x, x])
    )[1],
    "scan of shared": lambda x: ps.scan(lambda c, x: (c, shared(x)), 0.0, jnp.stack([x, x]))[1],
    "scan of remat": lambda x: ps.scan(
        lambda c, x: (c, ps.remat(lambda x: ps.Linear(8)(x))(x)), 0.0, jnp.stack([2 * x, x])
    )[1],
    "cond": lambda x: ps.cond(jnp.sum(x) < 1e9, lambda x: ps.Linear(8)(x), lambda x: x, 2 * x),
    "layer_stack": lambda x: ps.layer_stack(2)(lambda x: ps.Linear(8)(2 * jnp.clip(x, -9, 9)))(x),
    "params of each": lambda x: ps.vmap(
        lambda x: ps.Linear(8)(x), split_rng=True, collections={"params": 0}
    )(jnp.stack([2 * x, x])),
}  # fmt: skip


@pytest.mark.one_in(4)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_step_has_one_place_in_the_history(mode: str, compiled: bool) -> None:
    f = ps.transform_with_state(MODES[mode])

    def loss(params: Any, state: Any, x: Any) -> Any:
        out, state = f.apply(params, state, None, x)
        return jnp.mean(jnp.sin(out)), state

    step: Any = jax.grad(loss, has_aux=True)
    step = jax.jit(step) if compiled else step
    plain = step(*f.init(KEY, X), X)[0]
    with ps.quantize.fp8_training(history=3):
        params, state = f.init(KEY, X)
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(state))
        for factor in (1.0, 3.0):
            gradient, state = step(params, state, factor * X)
    (history,) = jax.tree.leaves(state)
    first = history if history.ndim == 2 else history[0]  # of the first layer
    most = 2 * float(np.abs(X).max())
    assert np.allclose(first[0], [3 * most, most, 0.0], rtol=1e-5)
    assert np.allclose(history[..., 2], 0.0)
    assert np.all(history[..., :2] > 0)
    assert jax.tree.structure(gradient) == jax.tree.structure(plain)


def test_training_arrives_where_floats_do() -> None:
    import optax

    f = ps.transform_with_state(lambda x: ps.nets.MLP([32, 1], activation=jnp.tanh)(x))
    x = jax.random.normal(KEY, [256, 4])
    y = jnp.sin(x[:, :1]) * x[:, 1:2]
    optimizer = optax.adam(1e-2)

    def train(steps: int = 200) -> float:
        params, state = f.init(KEY, x)

        @jax.jit
        def run(params: Any, state: Any) -> Any:
            def loss(params: Any, state: Any) -> Any:
                out, state = f.apply(params, state, None, x)
                return jnp.mean((out - y) ** 2), state

            def step(carry: Any, _: Any) -> Any:
                params, state, opt = carry
                (value, state), grads = jax.value_and_grad(loss, has_aux=True)(params, state)
                updates, opt = optimizer.update(grads, opt)
                return (optax.apply_updates(params, updates), state, opt), value

            return jax.lax.scan(step, (params, state, optimizer.init(params)), None, steps)[1]

        return float(run(params, state)[-1])

    floats = train()
    with ps.quantize.fp8_training():
        eights = train()
    start = float(jnp.mean(y**2))
    assert floats < 0.1 * start
    assert eights < floats + 0.05 * start
    assert eights != floats


def test_evaluation_needs_no_mutable_state() -> None:
    f = ps.transform_with_collections(lambda x: ps.Linear(3)(x))
    with ps.quantize.fp8_training():
        variables = f.init(KEY, X)
        out, updated = f.apply(variables, None, X, mutable=["quantize"])
        assert np.array_equal(f.apply({**variables, **updated}, None, X), out)
    assert updated["quantize"]["linear"][NAME].shape == (2, 16)


def test_only_some_modules_in_half_precision() -> None:
    f = ps.transform_with_state(lambda x: ps.nets.MLP([8, 3])(x))
    with ps.quantize.fp8_training(only="*_0"):
        params, state = f.init(KEY, X.astype(jnp.bfloat16))
        assert list(state) == ["mlp/~/linear_0"]
        out, state = f.apply(params, state, None, X.astype(jnp.bfloat16))
    assert out.dtype == jnp.bfloat16
    assert state["mlp/~/linear_0"][NAME].dtype == jnp.float32


def test_state_that_does_not_fit_is_refused() -> None:
    f = ps.transform_with_state(lambda x: ps.Linear(3)(x))
    params, state = f.init(KEY, X)
    with ps.quantize.fp8_training():
        with pytest.raises(ps.errors.QuantizeError, match="with ps.quantize.fp8_training"):
            f.apply(params, {"other": {"x": X}}, None, X)
        state = f.init(KEY, X)[1]
    with ps.quantize.fp8_training(history=4):
        with pytest.raises(ps.errors.QuantizeError, match="history=16"):
            f.apply(params, state, None, X)
