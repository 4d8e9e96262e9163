"""A variational autoencoder of binary images (Kingma & Welling 2013, arXiv:1312.6114)."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

IMAGE_SHAPE = (16, 16, 1)
BATCH_SIZE = 32


class Output(NamedTuple):
    mean: jax.Array  # [B, D]
    stddev: jax.Array  # [B, D]
    logits: jax.Array  # [B, 16, 16, 1]


def batches(seed: int) -> Iterator[np.ndarray]:
    """Yields images of one bright rectangle on a dark ground, `[B, 16, 16, 1]`."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:16, :16]
    while True:
        top, left = random.integers(0, 10, [2, BATCH_SIZE, 1, 1])
        height, width = random.integers(3, 8, [2, BATCH_SIZE, 1, 1])
        inside = (
            (top <= rows) & (rows < top + height) & (left <= columns) & (columns < left + width)
        )
        yield inside[..., None].astype(np.float32)


def autoencoder(L: Any) -> Any:
    """Returns the class of the model."""

    @dataclasses.dataclass
    class Encoder(L.Module):
        latent_size: int
        hidden_size: int

        def __call__(self, image: jax.Array) -> tuple[jax.Array, jax.Array]:
            hidden = jax.nn.relu(L.Linear(self.hidden_size)(L.Flatten()(image)))
            mean = L.Linear(self.latent_size, name="mean")(hidden)
            log_stddev = L.Linear(self.latent_size, name="log_stddev")(hidden)
            return mean, jnp.exp(log_stddev)

    @dataclasses.dataclass
    class Decoder(L.Module):
        hidden_size: int

        def __call__(self, latent: jax.Array) -> jax.Array:
            logits = L.nets.MLP([self.hidden_size, int(np.prod(IMAGE_SHAPE))])(latent)
            return L.Reshape(IMAGE_SHAPE)(logits)

    @dataclasses.dataclass
    class Autoencoder(L.Module):
        latent_size: int = 8
        hidden_size: int = 128
        name: str | None = None

        def __call__(self, image: jax.Array) -> Output:
            mean, stddev = Encoder(self.latent_size, self.hidden_size)(image)
            latent = mean + stddev * jax.random.normal(L.next_rng_key(), mean.shape)
            return Output(mean, stddev, Decoder(self.hidden_size)(latent))

    return Autoencoder


def negative_evidence_bound(output: Output, image: jax.Array) -> jax.Array:
    """The mean of -log p(image | latent) + KL(q(latent | image) || N(0, 1)) over the batch."""
    reconstruction = optax.sigmoid_binary_cross_entropy(output.logits, image).sum([1, 2, 3])
    variance = output.stddev**2
    divergence = 0.5 * jnp.sum(output.mean**2 + variance - 1 - jnp.log(variance), axis=-1)
    return jnp.mean(reconstruction + divergence)


def train(L: Any, steps: int = 20) -> tuple[list[float], Any]:
    """Returns the loss of each step, and all that is left at the end."""
    model = L.transform(lambda image: autoencoder(L)()(image))
    optimizer = optax.adam(3e-3)

    def loss_of(params: Any, rng: jax.Array, image: jax.Array) -> jax.Array:
        return negative_evidence_bound(model.apply(params, rng, image), image)

    @jax.jit
    def update(params: Any, opt_state: Any, rng: jax.Array, image: jax.Array) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(params, rng, image)
        changes, opt_state = optimizer.update(gradients, opt_state)
        return loss, optax.apply_updates(params, changes), opt_state

    data = batches(seed=0)
    keys = L.PRNGSequence(0)
    params = model.init(next(keys), next(data))
    opt_state = optimizer.init(params)

    found: list[float] = []
    for _ in range(steps):
        loss, params, opt_state = update(params, opt_state, next(keys), next(data))
        found.append(float(loss))
    return found, {"params": params, "key": next(keys)}


def losses(L: Any, steps: int = 20) -> list[float]:
    """Returns the loss of each training step with `L`, dm-haiku or purestate."""
    return train(L, steps)[0]
