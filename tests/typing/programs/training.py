"""A training loop, from the model to the update."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
# in pyright: error: Stub file not found for "optax"
# in mypy: error: missing library stubs

import purestate as ps
from purestate.typing import MutableParams, MutableState


class Batch(NamedTuple):
    image: jax.Array
    label: jax.Array


class Carry(NamedTuple):
    params: MutableParams
    state: MutableState
    optimizer: ps.Optimizer


class Net(ps.Module):
    def __init__(self, classes: int, name: str | None = None):
        super().__init__(name=name)
        self.classes = classes

    def __call__(self, x: jax.Array, *, is_training: bool) -> jax.Array:
        x = ps.Conv2D(8, 3)(x)
        x = ps.BatchNorm(True, True, decay_rate=0.9)(x, is_training)
        return ps.Linear(self.classes)(x.mean((1, 2)))


def forward(x: jax.Array, is_training: bool) -> jax.Array:
    return Net(10)(x, is_training=is_training)


model = ps.transform_with_state(forward)


def loss(
    params: MutableParams, state: MutableState, batch: Batch
) -> tuple[jax.Array, MutableState]:
    logits, state = model.apply(params, state, None, batch.image, True)
    reveal_type(logits)  # Array
    model.apply(params, state, None, batch, True)  # error: "Batch"
    model.apply(params, batch.image, True)
    # in pyright: error: Arguments missing for parameters "x", "is_training"
    # in mypy: error: Missing positional arguments "x", "is_training"
    # in mypy: error: incompatible type "Array"
    return jnp.mean((logits - batch.label) ** 2), state


def step(carry: Carry, batch: Batch) -> tuple[Carry, jax.Array]:
    gradients = ps.value_and_grad(loss, has_aux=True)
    reveal_type(gradients)
    # in both: (dict[str, dict[str, Array]], state: dict[str, dict[str, Any]], batch: Batch) -> tuple[tuple[Array, dict[str, dict[str, Any]]], dict[str, dict[str, Array]]]
    (value, state), grads = gradients(carry.params, carry.state, batch)
    reveal_type(grads)  # dict[str, dict[str, Array]]
    params, optimizer = carry.optimizer.update(grads, carry.params)
    reveal_type(params)  # dict[str, dict[str, Array]]
    return Carry(params, state, optimizer), value


def start(batch: Batch) -> Carry:
    params, state = model.init(jax.random.key(0), batch.image, is_training=True)
    return Carry(params, state, ps.Optimizer(optax.adam(1e-3)).init(params))


def train(batches: Batch) -> None:
    carry, losses = ps.scan(step, start(batches), batches)
    reveal_type(carry)  # Carry
    reveal_type(losses)  # Array
    ps.scan(step, carry, carry)
    # in pyright: error: "Carry"
    # in mypy: error: Argument 1 to "scan"
    trained = ps.bind(model, carry.params, carry.state)
    reveal_type(trained(batches.image, is_training=False))  # Array
    reveal_type(trained.eval()(batches.image))  # Array
    trained(batches, False)  # error: "Batch"
