"""Parameters and state, taken apart and put together: Flax's BiasAdderWithRunningMean.

Run: python examples/state/bias_adder.py
"""

from typing import Any

import jax
import jax.numpy as jnp

import purestate as ps


class BiasAdderWithRunningMean(ps.Module):
    """Adds a bias to the running mean of its inputs."""

    def __init__(self, momentum: float = 0.9):
        super().__init__()
        self.momentum = momentum

    def __call__(self, x: jax.Array) -> jax.Array:
        mean = ps.variable("batch_stats", "mean", x.shape[1:], init=jnp.zeros)
        bias = ps.get_parameter("bias", x.shape[1:], init=jnp.zeros)
        # Flax has this under `if is_initialized:`. There is no need to: `init` returns first values
        # in any case.
        mean.value = self.momentum * mean.value + (1.0 - self.momentum) * jnp.mean(
            x, axis=0, keepdims=True
        )
        return mean.value + bias


def update_step(
    apply_fun: Any, x: jax.Array, optimizer: ps.optim.GradientDescentOptimizer, state: Any
) -> Any:
    def loss(params: Any) -> Any:
        y, updated_state = apply_fun(
            {"params": params, **state}, None, x, mutable=list(state.keys())
        )
        return ((x - y) ** 2).sum(), updated_state

    (value, updated_state), grads = jax.value_and_grad(loss, has_aux=True)(optimizer.target)
    return optimizer.apply_gradient(grads), updated_state, value


def main() -> None:
    model = ps.transform_with_collections(lambda x: BiasAdderWithRunningMean()(x))
    step = jax.jit(update_step, static_argnums=0)
    for x in (jnp.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [5.0, 6.0, 10.0]]), jnp.ones([4, 2])):
        variables = model.init(None, x)
        state, params = ps.data_structures.pop(variables, "params")
        optimizer = ps.optim.GradientDescent(learning_rate=0.02).create(params)

        for i in range(10):
            optimizer, state, value = step(model.apply, x, optimizer, state)
            (bias,), (mean,) = (
                list(tree.values()) for tree in (optimizer.target, state["batch_stats"])
            )
            print(i, f"{value:.6f}", bias["bias"], mean["mean"])


if __name__ == "__main__":
    main()
