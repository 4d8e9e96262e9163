"""A causal language model: a transformer that normalizes before each block, over characters."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

TEXT = (
    "In winter the old miller counted his sacks: one for the baker, two for the mouse, and three for the road. "
    "In spring the mouse counted the sacks again, and found that the road had eaten more than the baker. "
)
PAD = 0
CHARACTERS = ["", *sorted(set(TEXT))]  # the first one stands for padding
VOCAB_SIZE = len(CHARACTERS)
SEQUENCE_LENGTH = 32
BATCH_SIZE = 8


def batches(seed: int) -> Iterator[np.ndarray]:
    """Yields pieces of the text of different lengths, `[B, T + 1]`, padded at the end."""
    random = np.random.default_rng(seed)
    text = np.array([CHARACTERS.index(character) for character in TEXT], np.int32)
    position = np.arange(SEQUENCE_LENGTH + 1)
    while True:
        start = random.integers(0, len(text) - SEQUENCE_LENGTH, [BATCH_SIZE, 1])
        length = random.integers(SEQUENCE_LENGTH // 2, SEQUENCE_LENGTH + 2, [BATCH_SIZE, 1])
        yield np.where(position < length, text[start + position], PAD)


def language_model(L: Any) -> Any:
    """Returns the class of the model."""

    @dataclasses.dataclass
    class Transformer(L.Module):
        """A stack of blocks over embeddings `[B, T, D]`."""

        num_layers: int
        num_heads: int
        key_size: int
        dropout_rate: float
        name: str | None = None

        def __call__(self, embeddings: jax.Array, mask: jax.Array) -> jax.Array:
            """Maps `[B, T, D]` to the same shape; each place sees those before it that `mask` `[B, T]` lets it see."""
            length, model_size = embeddings.shape[-2:]
            initializer = L.initializers.VarianceScaling(2 / self.num_layers)
            causal = np.tril(np.ones([1, 1, length, length]))
            mask = mask[:, None, None, :] * causal  # [B, heads, queries, keys]

            def normalized(x: jax.Array) -> jax.Array:
                return L.LayerNorm(axis=-1, create_scale=True, create_offset=True)(x)

            def dropped(x: jax.Array) -> jax.Array:
                return L.dropout(L.next_rng_key(), self.dropout_rate, x)

            h = embeddings
            for _ in range(self.num_layers):
                attend = L.MultiHeadAttention(
                    self.num_heads, self.key_size, model_size=model_size, w_init=initializer
                )
                x = normalized(h)
                h = h + dropped(attend(x, x, x, mask=mask))
                think = L.Sequential(
                    [
                        L.Linear(4 * model_size, w_init=initializer),
                        jax.nn.gelu,
                        L.Linear(model_size, w_init=initializer),
                    ]
                )
                h = h + dropped(think(normalized(h)))
            return normalized(h)

    @dataclasses.dataclass
    class LanguageModel(L.Module):
        transformer: Any
        model_size: int
        name: str | None = None

        def __call__(self, tokens: jax.Array) -> jax.Array:
            """Maps tokens `[B, T]` to logits `[B, T, vocabulary]` of the next ones."""
            initializer = L.initializers.TruncatedNormal(stddev=0.02)
            embed = L.Embed(VOCAB_SIZE, self.model_size, w_init=initializer)
            positions = L.get_parameter(
                "positions", [tokens.shape[-1], self.model_size], init=initializer
            )
            h = self.transformer(embed(tokens) + positions, tokens != PAD)
            return L.Linear(VOCAB_SIZE)(h)

    def predict(tokens: jax.Array) -> jax.Array:
        return LanguageModel(
            Transformer(num_layers=2, num_heads=4, key_size=16, dropout_rate=0.1), 64
        )(tokens)

    return predict


def train(L: Any, steps: int = 20) -> tuple[list[float], Any]:
    """Returns the loss of each step, and all that is left at the end."""
    model = L.transform(language_model(L))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(3e-3, b2=0.99))

    def loss_of(params: Any, rng: jax.Array, tokens: jax.Array) -> jax.Array:
        logits = model.apply(params, rng, tokens[:, :-1])
        following = tokens[:, 1:]
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, following)
        return jnp.mean(cross_entropy, where=following != PAD)

    @jax.jit
    def update(params: Any, opt_state: Any, rng: jax.Array, tokens: jax.Array) -> Any:
        rng, dropout_key = jax.random.split(rng)
        loss, gradients = jax.value_and_grad(loss_of)(params, dropout_key, tokens)
        changes, opt_state = optimizer.update(gradients, opt_state, params)
        return loss, optax.apply_updates(params, changes), opt_state, rng

    data = batches(seed=0)
    rng, init_key = jax.random.split(jax.random.key(0))
    params = model.init(init_key, next(data)[:, :-1])
    opt_state = optimizer.init(params)

    found: list[float] = []
    for _ in range(steps):
        loss, params, opt_state, rng = update(params, opt_state, rng, next(data))
        found.append(float(loss))
    return found, {"params": params}


def losses(L: Any, steps: int = 20) -> list[float]:
    """Returns the loss of each training step with `L`, dm-haiku or purestate."""
    return train(L, steps)[0]
