"""MNIST: a classifier of images with L2 regularization, and a moving average of its parameters."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

NUM_CLASSES = 10
BATCH_SIZE = 64


class Batch(NamedTuple):
    image: np.ndarray  # [B, 28, 28, 1], of uint8
    label: np.ndarray  # [B]


def batches(seed: int) -> Iterator[Batch]:
    """Yields noisy copies of one picture for each class."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, [NUM_CLASSES, 28, 28, 1])
    while True:
        label = random.integers(0, NUM_CLASSES, BATCH_SIZE)
        noise = random.integers(-128, 129, [BATCH_SIZE, 28, 28, 1])
        yield Batch(np.clip(pictures[label] + noise, 0, 255).astype(np.uint8), label)


def train(L: Any, steps: int = 20) -> tuple[list[float], Any]:
    """Returns the loss of each step, and all that is left at the end."""

    def network(image: jax.Array) -> jax.Array:
        classify = L.Sequential(
            [
                L.Flatten(),
                L.Linear(300),
                jax.nn.relu,
                L.Linear(100),
                jax.nn.relu,
                L.Linear(NUM_CLASSES),
            ]
        )
        return classify(image.astype(jnp.float32) / 255)

    model = L.without_apply_rng(L.transform(network))
    average = L.without_apply_rng(
        L.transform_with_state(lambda params: L.EMAParamsTree(0.9)(params))
    )
    optimizer = optax.adam(1e-3)

    def loss_of(params: Any, batch: Batch) -> jax.Array:
        logits = model.apply(params, batch.image)
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, batch.label).mean()
        weights = [value for _, name, value in L.data_structures.traverse(params) if name == "w"]
        return cross_entropy + 1e-4 * sum(0.5 * jnp.sum(w**2) for w in weights)

    @jax.jit
    def update(params: Any, opt_state: Any, average_state: Any, batch: Batch) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(params, batch)
        changes, opt_state = optimizer.update(gradients, opt_state)
        params = optax.apply_updates(params, changes)
        average_params, average_state = average.apply({}, average_state, params)
        return loss, params, opt_state, average_state, average_params

    data = batches(seed=0)
    params = average_params = model.init(jax.random.key(0), next(data).image)
    opt_state = optimizer.init(params)
    _, average_state = average.init(None, params)

    found: list[float] = []
    for _ in range(steps):
        loss, params, opt_state, average_state, average_params = update(
            params, opt_state, average_state, next(data)
        )
        found.append(float(loss))

    held_out = next(data)
    accuracy = jnp.mean(model.apply(average_params, held_out.image).argmax(-1) == held_out.label)
    return found, {
        "params": params,
        "average": average_params,
        "state": average_state,
        "accuracy": accuracy,
    }


def losses(L: Any, steps: int = 20) -> list[float]:
    """Returns the loss of each training step with `L`, dm-haiku or purestate."""
    return train(L, steps)[0]
