"""What quantization costs in accuracy, and saves in bytes: the numbers of `docs/quantize.md`.

    python -m tests.quantize.measure

It trains two models and prints a row for each way to quantize them: the network of `examples/digits.py`,
and a small transformer that predicts the next character of modules of Python's standard library.
"""

import argparse
import statistics
import sys
import tarfile
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

import purestate as ps


class Task(NamedTuple):
    """A model, how to train it, and how good it is.

    Attributes:
      init_state: `init_state()`: a new state.
      train: `train() -> (params, state)`.
      calibrate: `calibrate(params, state) -> state` with what a batch of training data needs.
      evaluate: `evaluate(params, state) -> (accuracy, loss)` on data held out.
    """

    init_state: Callable[[], Any]
    train: Callable[[], Any]
    calibrate: Callable[[Any, Any], Any]
    evaluate: Callable[[Any, Any], tuple[float, float]]


class How(NamedTuple):
    """A way to quantize a trained model."""

    dtype: str
    per: Any
    activations: str | None = None
    calibrated: bool = False


HOW = {
    "int8 weights": How("int8", "channel"),
    "int8 weights, int8 activations": How("int8", "channel", "int8"),
    "int8 weights, int8 activations calibrated": How("int8", "channel", "int8", True),
    "int4 weights": How("int4", "channel"),
    "int4 weights in groups of 16": How("int4", 16),
    "int4 weights in groups of 16, int8 activations": How("int4", 16, "int8"),
    "float8 weights": How("float8_e4m3fn", "channel"),
    "float8 weights, float8 activations": How("float8_e4m3fn", "channel", "float8_e4m3fn"),
}


def digits(epochs: int, seed: int = 0) -> Task:
    """The network of `examples/digits.py`, and the digits that it has not seen."""
    script = Path(__file__).parents[2] / "examples" / "digits.py"
    example: Any = types.ModuleType("digits_to_quantize")
    sys.modules[example.__name__] = example  # where dataclasses look
    exec(compile(script.read_text(), str(script), "exec"), vars(example))
    for flag in list(flags.FLAGS.flags_by_module_dict().get(example.__name__, [])):
        delattr(flags.FLAGS, flag.name)
    data, network = example.load_data(), example.network
    config = example.Config((seed,), epochs, 64, 5e-3)

    def train() -> Any:
        update = example.make_update(example.make_optimizer(config))
        (state,) = example.new_run(config).train_states
        for _ in range(epochs):
            state, _ = example.train_epoch(update, state, config.batch_size, data)
        return state.params, state.state

    def run(params: Any, state: Any, images: Any) -> Any:
        return jax.jit(lambda p, s: network.apply(p, s, None, images, is_training=False))(
            params, state
        )

    def evaluate(params: Any, state: Any) -> tuple[float, float]:
        logits = run(params, state, data.test_images)[0]
        loss, accuracy = example.loss_and_accuracy(logits, data.test_labels)
        return float(accuracy), float(loss)

    return Task(
        lambda: network.init(jax.random.key(0), data.train_images[:1], is_training=True)[1],
        train,
        lambda params, state: run(params, state, data.train_images[:256])[1],
        evaluate,
    )


LENGTH, SIZE, HEADS, LAYERS = 64, 64, 4, 2


def transformer(ids: jax.Array) -> jax.Array:
    """A transformer of characters, `[B, T]` to logits `[B, T, 128]`."""
    positions = ps.get_parameter("positions", [LENGTH, SIZE], init=jnp.zeros)
    mask = jnp.tril(jnp.ones([1, 1, ids.shape[1], ids.shape[1]], bool))

    def block(x: Any) -> Any:
        h = ps.LayerNorm(-1, True, True)(x)
        w_init = ps.initializers.VarianceScaling(0.5)
        x = x + ps.MultiHeadAttention(HEADS, SIZE // HEADS, w_init=w_init)(h, h, h, mask)
        h = ps.LayerNorm(-1, True, True)(x)
        return x + ps.nets.MLP([4 * SIZE, SIZE], activation=jax.nn.gelu)(h)

    x = ps.layer_stack(LAYERS)(block)(ps.Embed(128, SIZE)(ids) + positions)
    return ps.Linear(128)(ps.LayerNorm(-1, True, True)(x))


def language_model(steps: int) -> Task:
    """A small transformer, and the end of a text that it has not seen."""
    text = "".join(
        Path(str(module.__file__)).read_text()
        for module in (argparse, textwrap, statistics, tarfile)
    )
    ids = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int32)
    f = ps.transform_with_state(transformer)

    def batches(part: Any, count: int, size: int, seed: int) -> Any:
        starts = np.random.RandomState(seed).randint(0, len(part) - LENGTH - 1, count * size)
        found = np.stack([part[start : start + LENGTH + 1] for start in starts])
        return found.reshape(count, size, LENGTH + 1)

    def loss(params: Any, state: Any, ids: Any) -> Any:
        logits, state = f.apply(params, state, None, ids[:, :-1])
        each = optax.softmax_cross_entropy_with_integer_labels(logits, ids[:, 1:])
        return each.mean(), (state, (logits.argmax(-1) == ids[:, 1:]).mean())

    def train() -> Any:
        optimizer = optax.adamw(optax.cosine_onecycle_schedule(steps, 5e-3))
        params, state = f.init(jax.random.key(0), np.zeros([1, LENGTH], np.int32))

        def step(carry: Any, ids: Any) -> Any:
            params, state, opt = carry
            grads, (state, _) = jax.grad(loss, has_aux=True)(params, state, ids)
            updates, opt = optimizer.update(grads, opt, params)
            return (optax.apply_updates(params, updates), state, opt), None

        carry = (params, state, optimizer.init(params))
        data = batches(ids[:-20000], steps, 32, seed=0)
        return jax.jit(lambda carry, data: jax.lax.scan(step, carry, data)[0][:2])(carry, data)

    def run(params: Any, state: Any, ids: Any) -> Any:
        return jax.jit(lambda params, state: loss(params, state, ids))(params, state)

    held_out = batches(ids[-20000:], 1, 256, seed=1)[0]

    def evaluate(params: Any, state: Any) -> tuple[float, float]:
        value, (_, accuracy) = run(params, state, held_out)
        return float(accuracy), float(value)

    return Task(
        lambda: f.init(jax.random.key(0), np.zeros([1, LENGTH], np.int32))[1],
        train,
        lambda params, state: run(params, state, batches(ids[:-20000], 1, 64, seed=2)[0])[1][0],
        evaluate,
    )


def quantized(params: Any, how: How) -> Any:
    """The weights of a model; a kernel whose groups do not divide it stays as it is."""

    def predicate(module: str, name: str, value: Any) -> bool:
        return value.ndim > 1 and min(value.shape[-2:]) > 1 and value.shape[-2] % 16 == 0

    return ps.quantize.weights(
        params, how.dtype, predicate if how.per != "channel" else None, how.per
    )


class Result(NamedTuple):
    """How good a model is, and how large."""

    accuracy: float
    loss: float
    bytes: int


def results(task: Task, trained: Any) -> Iterator[tuple[str, Result]]:
    """Measures a trained model as it is, and in each way to quantize it."""
    params, state = trained
    yield "float32", Result(*task.evaluate(params, state), ps.quantize.bytes_of(params))
    with ps.quantize.calibrate():
        merged = ps.data_structures.merge(task.init_state(), state)
        calibrated = task.calibrate(params, merged)
    for name, how in HOW.items():
        small = quantized(params, how)
        with ps.quantize.serving(how.activations, calibrated=how.calibrated):
            found = task.evaluate(small, calibrated if how.calibrated else state)
        yield name, Result(*found, ps.quantize.bytes_of(small))


def trained_in_float8(task: Task) -> Result:
    """Trains in float8, and evaluates in float8."""
    with ps.quantize.fp8_training():
        params, state = task.train()
        return Result(*task.evaluate(params, state), ps.quantize.bytes_of(params))


def main() -> None:
    for title, tasks in (
        ("digits", [digits(20, seed) for seed in (0, 1, 2)]),
        ("language model", [language_model(400)]),
    ):
        print(f"| {title} | accuracy | loss | bytes |\n|---|---|---|---|")
        rows: dict[str, list[Result]] = {}
        for task in tasks:
            for name, result in results(task, task.train()):
                rows.setdefault(name, []).append(result)
            rows.setdefault("trained in float8", []).append(trained_in_float8(task))
        for name, each in rows.items():
            accuracy, loss, size = np.mean(each, axis=0)
            print(f"| {name} | {accuracy:.2%} | {loss:.4f} | {size:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
