"""A recurrent network that learns to write a text character by character."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

TEXT = (
    "the river runs down to the sea, and the sea sends rain up to the hill; "
    "the hill gives the rain to the river, and the river runs down once more. "
)
CHARACTERS = sorted(set(TEXT))
SEQUENCE_LENGTH = 24
BATCH_SIZE = 16
HIDDEN_SIZE = 48


class Batch(NamedTuple):
    """Characters and those that follow them, by their numbers: time comes first, `[T, B]`."""

    current: np.ndarray
    following: np.ndarray


def encode(text: str) -> np.ndarray:
    return np.array([CHARACTERS.index(character) for character in text], np.int32)


def decode(ids: Any) -> str:
    return "".join(CHARACTERS[i] for i in np.asarray(ids))


def batches(seed: int) -> Iterator[Batch]:
    """Yields pieces of the text from anywhere in it."""
    random = np.random.default_rng(seed)
    text = encode(TEXT)
    while True:
        start = random.integers(0, len(text) - SEQUENCE_LENGTH, BATCH_SIZE)
        pieces = text[start + np.arange(SEQUENCE_LENGTH + 1)[:, None]]
        yield Batch(pieces[:-1], pieces[1:])


def train(L: Any, steps: int = 20) -> tuple[list[float], Any]:
    """Returns the loss of each step, and all that is left at the end."""

    def core() -> Any:
        return L.DeepRNN(
            [
                L.Embed(len(CHARACTERS), HIDDEN_SIZE),
                L.LSTM(HIDDEN_SIZE),
                jax.nn.relu,
                L.LSTM(HIDDEN_SIZE),
                L.nets.MLP([HIDDEN_SIZE, len(CHARACTERS)]),
            ]
        )

    def sequence_loss(batch: Batch) -> jax.Array:
        network = core()
        logits, _ = L.dynamic_unroll(network, batch.current, network.initial_state(BATCH_SIZE))
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.following).mean()

    def write(beginning: jax.Array, length: int) -> jax.Array:
        """Goes on from a beginning of the text `[T]`, by drawing each next character."""
        network = core()
        logits, state = L.dynamic_unroll(network, beginning, network.initial_state(None))

        def write_one(carry: Any, _: None) -> Any:
            logits, state = carry
            character = jax.random.categorical(L.next_rng_key(), logits)
            return network(character, state), character

        _, written = L.scan(write_one, (logits[-1], state), None, length=length)
        return written

    learner = L.without_apply_rng(L.transform(sequence_loss))
    writer = L.transform(write)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(5e-3))

    @jax.jit
    def update(params: Any, opt_state: Any, batch: Batch) -> Any:
        loss, gradients = jax.value_and_grad(learner.apply)(params, batch)
        changes, opt_state = optimizer.update(gradients, opt_state)
        return loss, optax.apply_updates(params, changes), opt_state

    data = batches(seed=0)
    params = learner.init(jax.random.key(0), next(data))
    opt_state = optimizer.init(params)

    found: list[float] = []
    for _ in range(steps):
        loss, params, opt_state = update(params, opt_state, next(data))
        found.append(float(loss))

    written = jax.jit(writer.apply, static_argnums=3)(
        params, jax.random.key(1), encode("the river "), 60
    )
    return found, {"params": params, "written": written}


def losses(L: Any, steps: int = 20) -> list[float]:
    """Returns the loss of each training step with `L`, dm-haiku or purestate."""
    return train(L, steps)[0]
