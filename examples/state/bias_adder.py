"""Parameters and state, taken apart and put together: Flax's BiasAdderWithRunningMean.

`ps.TrainState` takes them apart, and the loss function puts them together.

Run: python examples/state/bias_adder.py
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax  # pyright: ignore[reportMissingTypeStubs]

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


model = ps.transform_with_collections(lambda x: BiasAdderWithRunningMean()(x))
optimizer = optax.sgd(0.02)


@jax.jit
def update_step(train: ps.TrainState, x: jax.Array) -> Any:
    def loss(params: Any) -> Any:
        y, updated_state = model.apply(
            {"params": params, **train.state}, None, x, mutable=list(train.state)
        )
        return ((x - y) ** 2).sum(), updated_state

    (value, updated_state), grads = jax.value_and_grad(loss, has_aux=True)(train.params)
    return train.update(optimizer, grads, updated_state), value


def main() -> None:
    for x in (jnp.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [5.0, 6.0, 10.0]]), jnp.ones([4, 2])):
        train = ps.TrainState.create(model, optimizer, 0, x)
        for i in range(10):
            train, value = update_step(train, x)
            (bias,), (mean,) = train.params.values(), train.state["batch_stats"].values()
            print(i, f"{value:.6f}", bias["bias"], mean["mean"])


if __name__ == "__main__":
    main()
