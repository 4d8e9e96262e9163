"""Trains a convolutional network to read handwritten digits, and shows the mistakes it still makes.

The data are the 1,797 digits of 8x8 pixels that scikit-learn ships; a fifth of them is held out.

On the rest, one network is trained for each seed. It takes about half a minute on two CPU cores.

Examples:
  python examples/digits.py                              trains five networks
  python examples/digits.py --resume                     goes on where a run was interrupted
  python examples/digits.py --seeds=0 --out=out/quick    trains one network

What it leaves in the folder --out:
  checkpoint.npz        the networks, and all that --resume needs
  learning_curve.png    loss and accuracy, epoch by epoch
  mistakes.png          the held-out digits that were read wrongly
"""

# pyright: basic, reportArgumentType=false
# (the libraries used here say too little about their types for more)

import contextlib
import dataclasses
import functools
import json
import os
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags, logging
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import purestate as ps

NUM_CLASSES = 10
NUM_TRAIN = 1437  # of the 1,797 digits; the other 360 are held out

_SEEDS = flags.DEFINE_list("seeds", "0,1,2,3,4", "The seeds: one network is trained for each.")
_EPOCHS = flags.DEFINE_integer("epochs", 20, "How often each network sees each digit.", 1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "How many digits make a step.", 1, NUM_TRAIN)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 5e-3, "The highest learning rate.", 0.0)
_OUT = flags.DEFINE_string("out", "out/digits", "The folder for the checkpoint and the pictures.")
_RESUME = flags.DEFINE_bool(
    "resume", False, "Go on from the checkpoint in --out, to the same result bit for bit."
)
_STOP_AFTER = flags.DEFINE_integer(
    "stop_after", None, "Stop once so many epochs are done, as if interrupted.", 0
)


@flags.validator(
    "seeds", message="has to be whole numbers below 2**31, each once, such as --seeds=0,1,2"
)
def _are_seeds(values: list[str]) -> bool:
    if not values or not all(value.isdecimal() for value in values):
        return False
    seeds = {int(value) for value in values}
    return len(seeds) == len(values) and max(seeds) < 2**31


class RunError(Exception):
    """The run cannot go on; the message is for the user."""


# ---------------------------------------------------------------- data


class Digits(NamedTuple):
    """Images `[N, 8, 8, 1]`, from 0 for paper to 1 for ink, and what they show, `[N]`."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray  # held out: only looked at to see how good the networks are
    test_labels: np.ndarray


def load_data() -> Digits:
    """Returns the digits, split in the same way every time."""
    raw: Any = load_digits()
    images = (raw.images[..., None] / 16).astype(np.float32)
    labels = raw.target.astype(np.int32)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, stratify=labels, random_state=0
    )
    return Digits(train_images, train_labels, test_images, test_labels)


def augment(rng: jax.Array, images: jax.Array) -> jax.Array:
    """Returns `images` `[B, H, W, 1]`, each rotated, zoomed and shifted a little."""
    angle_rng, zoom_rng, shift_rng = jax.random.split(rng, 3)
    batch, height, width, _ = images.shape
    angles = jax.random.uniform(angle_rng, [batch], minval=-0.2, maxval=0.2)  # radians
    zooms = jax.random.uniform(zoom_rng, [batch], minval=0.9, maxval=1.1)
    shifts = jax.random.uniform(shift_rng, [batch, 2], minval=-1.0, maxval=1.0)  # pixels
    rows, columns = np.indices([height, width])
    y, x = rows - rows.mean(), columns - columns.mean()

    def transform(
        image: jax.Array, angle: jax.Array, zoom: jax.Array, shift: jax.Array
    ) -> jax.Array:
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        from_rows = (cos * y - sin * x) * zoom + rows.mean() + shift[0]
        from_columns = (sin * y + cos * x) * zoom + columns.mean() + shift[1]
        return jax.scipy.ndimage.map_coordinates(image[..., 0], [from_rows, from_columns], order=1)[
            ..., None
        ]

    return jax.vmap(transform)(images, angles, zooms, shifts)


# ---------------------------------------------------------------- network


class DigitNet(ps.Module):
    """Blocks of two convolutions, each at half the resolution of the last, and a linear layer."""

    def __init__(
        self,
        block_channels: Sequence[int] = (32, 64),
        dropout_rate: float = 0.3,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.block_channels = block_channels
        self.dropout_rate = dropout_rate

    def __call__(self, images: jax.Array, is_training: bool) -> jax.Array:
        """Returns the logits `[B, 10]` of `images` `[B, H, W, 1]`."""
        x = images
        for channels in self.block_channels:
            for _ in range(2):
                x = ps.Conv2D(channels, kernel_shape=3, with_bias=False)(
                    x
                )  # the offset of BatchNorm is its bias
                x = ps.BatchNorm(create_scale=True, create_offset=True, decay_rate=0.9)(
                    x, is_training
                )
                x = jax.nn.relu(x)
            x = ps.max_pool(x, window_shape=(2, 2, 1), strides=(2, 2, 1), padding="SAME")
        x = ps.Flatten()(x)
        if is_training:
            x = ps.dropout(ps.next_rng_key(), self.dropout_rate, x)
        return ps.Linear(NUM_CLASSES)(x)


# Two pure functions: network.init makes the parameters and the state, network.apply uses them.
network = ps.transform_with_state(lambda images, is_training: DigitNet()(images, is_training))


@jax.jit
def predict(params: ps.Params, state: ps.State, images: jax.Array) -> jax.Array:
    """Returns the logits of `images`. It needs no random key: dropout is for training only."""
    logits, _ = network.apply(params, state, None, images, is_training=False)
    return logits


# ---------------------------------------------------------------- training


@dataclasses.dataclass(frozen=True)
class Config:
    """What decides the result of a run."""

    seeds: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rate: float


class Metrics(NamedTuple):
    """How well an epoch went; in the history of a run, `[epochs, seeds]`."""

    train_loss: Any
    train_accuracy: Any
    test_loss: Any
    test_accuracy: Any


class Run(NamedTuple):
    """All that a run needs to continue."""

    epochs_done: np.ndarray
    train_states: tuple[ps.TrainState, ...]  # one for each seed
    history: Metrics


def make_optimizer(config: Config) -> optax.GradientTransformation:
    """Returns AdamW. Its learning rate rises for a fifth of the steps, then falls to almost 0."""
    num_steps = config.epochs * (NUM_TRAIN // config.batch_size)
    schedule = optax.cosine_onecycle_schedule(
        num_steps, peak_value=config.learning_rate, pct_start=0.2
    )
    return optax.adamw(schedule, weight_decay=1e-2)


def new_run(config: Config) -> Run:
    """Returns a run before its first epoch, with a fresh network for each seed."""
    optimizer = make_optimizer(config)

    @jax.jit
    def init(rng: jax.Array) -> ps.TrainState:
        init_rng = jax.random.fold_in(rng, 0)  # `train_epoch` takes the others, from 1 on
        params, state = network.init(init_rng, jnp.zeros([1, 8, 8, 1]), is_training=True)
        return ps.TrainState(params, state, optimizer.init(params), rng, jnp.zeros([], jnp.int32))

    unknown = np.full([config.epochs, len(config.seeds)], np.nan, np.float32)
    return Run(
        epochs_done=np.array(0),
        train_states=tuple(init(jax.random.key(seed)) for seed in config.seeds),
        history=Metrics(*(unknown for _ in Metrics._fields)),
    )


def loss_and_accuracy(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns cross-entropy and accuracy of `logits` `[B, 10]` for `labels` `[B]`."""
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, (logits.argmax(axis=-1) == labels).mean()


def loss_fn(
    params: ps.Params, state: ps.State, rng: jax.Array, images: jax.Array, labels: jax.Array
) -> Any:
    """Returns the loss in training; besides it, the new state and the accuracy."""
    logits, state = network.apply(params, state, rng, images, is_training=True)
    loss, accuracy = loss_and_accuracy(logits, labels)
    return loss, (state, accuracy)


def make_update(
    optimizer: optax.GradientTransformation,
) -> Callable[..., tuple[ps.TrainState, jax.Array, jax.Array]]:
    """Returns the function that makes one step of training, compiled once for all networks."""

    # Nobody needs the old train state after a step: donated, its memory is used for the new one.
    @functools.partial(jax.jit, donate_argnums=0)
    def update(train_state: ps.TrainState, rng: jax.Array, images: jax.Array, labels: jax.Array):
        augment_rng, network_rng = jax.random.split(rng)
        images = augment(augment_rng, images)
        gradient_fn = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, (state, accuracy)), gradients = gradient_fn(
            train_state.params, train_state.state, network_rng, images, labels
        )
        return train_state.update(optimizer, gradients, state), loss, accuracy

    return update


def train_epoch(
    update: Callable[..., Any], train_state: ps.TrainState, batch_size: int, data: Digits
) -> tuple[ps.TrainState, Metrics]:
    """Trains a network on every digit once, but for the last few that do not fill a batch."""
    num_batches = NUM_TRAIN // batch_size
    # All that is random follows from the train state, so a resumed run draws the same.
    epoch_rng = jax.random.fold_in(train_state.rng, train_state.step // num_batches + 1)
    order_rng, steps_rng = jax.random.split(epoch_rng)
    order = np.asarray(jax.random.permutation(order_rng, NUM_TRAIN))
    batches = order[: num_batches * batch_size].reshape(num_batches, batch_size)
    results = []
    for batch, rng in zip(batches, jax.random.split(steps_rng, num_batches), strict=True):
        train_state, *result = update(
            train_state, rng, data.train_images[batch], data.train_labels[batch]
        )
        results.append(result)
    train_loss, train_accuracy = np.mean(results, axis=0)
    test_logits = predict(train_state.params, train_state.state, data.test_images)
    test_loss, test_accuracy = loss_and_accuracy(test_logits, data.test_labels)
    return train_state, Metrics(
        float(train_loss), float(train_accuracy), float(test_loss), float(test_accuracy)
    )


def train(
    config: Config,
    run: Run,
    data: Digits,
    last_epoch: int,
    checkpoint: Path,
    report: Callable[..., None],
) -> Run:
    """Trains all networks up to `last_epoch`; after each epoch `checkpoint` is saved.

    Args:
      config: what decides the result.
      run: where to start from; it is used up.
      data: the digits.
      last_epoch: how many epochs are done in the end.
      checkpoint: the file to save.
      report: called with the epoch, the seed and the metrics, whenever a network is through an
        epoch.

    Returns:
      The run after `last_epoch`.

    Raises:
      RunError: the loss is no longer finite, or the checkpoint cannot be saved.
    """
    update = make_update(make_optimizer(config))
    for epoch in range(int(run.epochs_done) + 1, last_epoch + 1):
        train_states = []
        history = Metrics(*(column.copy() for column in run.history))
        for i, (seed, train_state) in enumerate(zip(config.seeds, run.train_states, strict=True)):
            train_state, metrics = train_epoch(update, train_state, config.batch_size, data)
            if not np.isfinite(metrics).all():
                raise RunError(
                    f"Training stopped: in epoch {epoch} the loss of seed {seed} is not finite any"
                    f" more.\nTry a smaller --learning_rate than {config.learning_rate}."
                )
            train_states.append(train_state)
            for column, value in zip(history, metrics, strict=True):
                column[epoch - 1, i] = value
            report(epoch, seed, metrics)
        run = Run(np.array(epoch), tuple(train_states), history)
        save_checkpoint(checkpoint, config, run)
    return run


# ---------------------------------------------------------------- checkpoint

# Why a plain .npz and not Orbax, the choice for large models: a file can be replaced in one go, a
# folder cannot; and the file has a checksum for each array, while Orbax 0.12.8 restores wrong
# weights from damaged files without a word.
FORMAT = "purestate examples/digits.py, version 1"


def map_rngs(change: Callable[[Any], Any], run: Run) -> Run:
    """Returns `run` with its random keys changed: a file cannot hold them, but their numbers."""
    states = tuple(state._replace(rng=change(state.rng)) for state in run.train_states)
    return run._replace(train_states=states)


def named_arrays(run: Run) -> dict[str, np.ndarray]:
    """Returns the arrays of `run` by path: `train_states/0/params/digit_net/linear/w`."""
    leaves, _ = jax.tree.flatten_with_path(map_rngs(jax.random.key_data, run))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in leaves
    }


def save_checkpoint(path: Path, config: Config, run: Run) -> None:
    """Saves all of it or nothing: until the new file is complete, the old one stays."""
    header = json.dumps({"format": FORMAT, "config": dataclasses.asdict(config)})
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, header=np.array(header), **named_arrays(run))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise RunError(
            f"The checkpoint {path} cannot be saved: {error}.\nThe one saved before it, if any,"
            " stays."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> tuple[Config, dict[str, np.ndarray]]:
    """Returns the config and the arrays of a checkpoint.

    Raises:
      RunError: it is damaged, or it is something else.
    """
    expected = f"a checkpoint of the format {FORMAT!r}"
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        if damaged:
            raise RunError(unusable(path, expected, f"one in which {damaged!r} is damaged"))
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        header = json.loads(str(arrays.pop("header", "{}")))
        if header.get("format") != FORMAT:
            names = ", ".join(sorted(arrays)[:3])
            raise RunError(
                unusable(
                    path,
                    expected,
                    f"the format {header.get('format')!r} and arrays such as {names}",
                )
            )
        return Config(**header["config"] | {"seeds": tuple(header["config"]["seeds"])}), arrays
    except RunError:
        raise
    except Exception as error:  # reading bytes that may be anything, anything may go wrong
        found = (
            f"something that is damaged, cut short or of another program ({type(error).__name__}:"
            f" {error})"
        )
        raise RunError(unusable(path, expected, found)) from error


def load_checkpoint(path: Path, config: Config) -> Run:
    """Returns the run that was saved in `path`, which has to be one with this config.

    Raises:
      RunError: there is none, or it is damaged, or it was made in another way.
    """
    if not path.exists():
        raise RunError(
            f"There is no checkpoint {path} to go on from.\nLeave out --resume to start anew, or"
            " give the --out of the run that you want to go on with."
        )
    saved_config, arrays = read_checkpoint(path)
    if saved_config != config:
        raise RunError(
            unusable(
                path, f"one made with {as_flags(config)}", f"one made with {as_flags(saved_config)}"
            )
        )
    new = new_run(config)  # for its structure
    expected = {
        name: f"{array.dtype}{list(array.shape)}" for name, array in named_arrays(new).items()
    }
    found = {name: f"{array.dtype}{list(array.shape)}" for name, array in arrays.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise RunError(
                unusable(
                    path,
                    f"{name}: {expected.get(name, 'nothing')}",
                    f"{name}: {found.get(name, 'nothing')}",
                )
            )
    run: Run = jax.tree.unflatten(jax.tree.structure(new), [arrays[name] for name in expected])
    # Copied to JAX, since what is donated must not be NumPy's memory.
    run = run._replace(train_states=jax.tree.map(jnp.array, run.train_states))
    return map_rngs(jax.random.wrap_key_data, run)


def unusable(path: Path, expected: str, found: str) -> str:
    """Returns the message for a checkpoint that cannot be used."""
    return (
        f"The checkpoint {path} cannot be used, and was left as it is.\n  Expected: {expected}\n "
        f" Found:    {found}\nTo start anew, move it away or give another --out. To go on from it,"
        " use the program and flags that made it."
    )


def as_flags(config: Config) -> str:
    """Returns the flags that give this config."""
    values = dataclasses.asdict(config) | {"seeds": ",".join(map(str, config.seeds))}
    return " ".join(f"--{name}={value}" for name, value in values.items())


# ---------------------------------------------------------------- what the user sees


@contextlib.contextmanager
def progress(config: Config, epochs_done: int, console: Console) -> Generator[Callable[..., None]]:
    """Shows the progress: a bar in a terminal, elsewhere (in a log) a line for each epoch.

    Yields:
      The `report` function for `train`.
    """
    columns = (
        TextColumn("epoch {task.fields[epoch]}/" + str(config.epochs)),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    latest: dict[int, Metrics] = {}

    with Progress(*columns, console=console, expand=True, disable=not console.is_terminal) as bar:
        seeds = len(config.seeds)
        done, total = epochs_done * seeds, config.epochs * seeds
        task = bar.add_task("", completed=done, total=total, epoch=epochs_done, text="compiling")

        def report(epoch: int, seed: int, metrics: Metrics) -> None:
            latest[seed] = metrics
            mean = Metrics(*np.mean(list(latest.values()), axis=0))  # over the seeds
            text = (
                f"loss {mean.train_loss:.4f}  accuracy {mean.train_accuracy:.2%}  held-out"
                f" {mean.test_accuracy:.2%}"
            )
            bar.update(task, advance=1, epoch=epoch, text=text)
            if not console.is_terminal and seed == config.seeds[-1]:
                console.print(f"epoch {epoch:>{len(str(config.epochs))}}/{config.epochs}  {text}")

        yield report


def draw_learning_curve(path: Path, config: Config, history: Metrics) -> None:
    """Draws loss and accuracy by epoch: the mean over the seeds, and the range they are in."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    spread = f": mean and range of {len(config.seeds)} networks" if len(config.seeds) > 1 else ""
    figure.suptitle(f"Reading handwritten digits{spread}", fontsize=14)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    epochs = np.arange(1, config.epochs + 1)
    panels = (
        (loss_axes, "loss", "{:.3f}", history.train_loss, history.test_loss),
        (accuracy_axes, "accuracy", "{:.2%}", history.train_accuracy, history.test_accuracy),
    )
    for axes, title, number, *columns in panels:
        for column, color, label in zip(
            columns, ("C0", "C1"), ("training, distorted", "held out"), strict=True
        ):
            mean = column.mean(axis=1)
            axes.fill_between(
                epochs, column.min(axis=1), column.max(axis=1), color=color, alpha=0.2, linewidth=0
            )
            axes.plot(
                epochs,
                mean,
                color=color,
                marker=".",
                label=f"{label}: {number.format(mean[-1])} in the end",
            )
        axes.set(title=title, xlabel="epoch", xlim=(0, config.epochs + 1))
        axes.locator_params(axis="x", steps=(1, 2, 5, 10), integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    loss_axes.set_yscale("log")
    # The first epochs may fall off the picture, so that the differences between the last ones can
    # be seen.
    lowest = min(history.train_accuracy[-1].min(), history.test_accuracy[-1].min())
    accuracy_axes.set_ylim(min(0.8, 0.9 * lowest), 1.005)
    accuracy_axes.locator_params(axis="y", steps=(1, 2, 5, 10))
    accuracy_axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    figure.savefig(path, dpi=120)


def draw_mistakes(path: Path, predictions: np.ndarray, data: Digits) -> None:
    """Draws the held-out digits that any network gets wrong, with prediction and label.

    Args:
      path: the file to write.
      predictions: what each network reads, `[seeds, N]`.
      data: the digits.
    """
    num_networks, num_digits = predictions.shape
    networks_wrong = (predictions != data.test_labels).sum(axis=0)
    mistakes = np.argsort(-networks_wrong, kind="stable")[
        : np.count_nonzero(networks_wrong)
    ]  # the hardest first
    drawn, per_row = mistakes[:40], 8
    rows = -(-len(drawn) // per_row)

    all_readers, some_reader = "the network", "the network"
    if num_networks > 1:
        all_readers, some_reader = (
            f"all {num_networks} networks",
            f"at least one of {num_networks} networks",
        )
    title = f"No mistakes: all {num_digits} held-out digits are read rightly by {all_readers}"
    if len(mistakes) > 0:
        title = f"{len(mistakes)} of {num_digits} held-out digits are read wrongly by {some_reader}"
    if len(drawn) < len(mistakes):
        title += f" (these are the {len(drawn)} hardest)"

    figure = Figure(figsize=(12, 1 + 2.1 * rows), layout="compressed")
    figure.suptitle(title, x=0.005, ha="left", fontsize=14)
    for place, i in enumerate(drawn, start=1):
        right = data.test_labels[i]
        seen = Counter(
            digit for digit in predictions[:, i].tolist() if digit != right
        ).most_common()
        times = " ({} of {})" if num_networks > 1 else ""
        axes = figure.add_subplot(rows, per_row, place, xticks=[], yticks=[])
        axes.imshow(data.test_images[i, ..., 0], cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(f"right: {right}", color="tab:green")
        axes.set_xlabel(
            "\n".join(f"seen: {digit}" + times.format(n, num_networks) for digit, n in seen),
            color="tab:red",
        )
    figure.savefig(path, dpi=120, bbox_inches="tight", pad_inches=0.2)


def report_result(config: Config, predictions: np.ndarray, data: Digits, console: Console) -> None:
    """Prints the accuracy of each network on held-out digits, the mean and the spread."""
    right = predictions == data.test_labels
    accuracies = right.mean(axis=1)
    console.print(
        f"\nHeld-out accuracy on {right.shape[1]} digits never trained on, after epoch"
        f" {config.epochs}:"
    )
    for seed, accuracy, row in zip(config.seeds, accuracies, right, strict=True):
        console.print(f"  seed {seed:<3}  {accuracy:7.2%}  ({(~row).sum()} wrong)")
    spread = (
        f"{accuracies.min():.2%} to {accuracies.max():.2%}, standard deviation"
        f" {accuracies.std():.2%}"
    )
    console.print(f"  mean      {accuracies.mean():7.2%}  (spread: {spread})\n")


# ---------------------------------------------------------------- the run


def run_digits(
    config: Config, out: Path, resume: bool, stop_after: int | None, console: Console
) -> Run:
    """Trains, and when all epochs are done reports and draws what came out.

    Raises:
      RunError: it cannot go on, and why.
    """
    checkpoint = out / "checkpoint.npz"
    if resume:
        run = load_checkpoint(checkpoint, config)
        console.print(
            f"Going on after epoch {run.epochs_done} of {config.epochs}, from {checkpoint}"
        )
    else:
        if checkpoint.exists():
            read_checkpoint(checkpoint)  # what this program did not make it does not replace
        out.mkdir(parents=True, exist_ok=True)
        run = new_run(config)
        save_checkpoint(
            checkpoint, config, run
        )  # so that a folder that cannot be written to is known now

    data = load_data()
    last_epoch = config.epochs if stop_after is None else min(stop_after, config.epochs)
    with progress(config, int(run.epochs_done), console) as report:
        run = train(config, run, data, last_epoch, checkpoint, report)
    if run.epochs_done < config.epochs:
        console.print(
            f"Stopped after epoch {run.epochs_done} of {config.epochs}. --resume goes on from"
            f" {checkpoint}"
        )
        return run

    predictions = np.array(
        [predict(s.params, s.state, data.test_images).argmax(axis=-1) for s in run.train_states]
    )
    report_result(config, predictions, data, console)
    draw_learning_curve(out / "learning_curve.png", config, run.history)
    draw_mistakes(out / "mistakes.png", predictions, data)
    console.print(f"Wrote checkpoint.npz, learning_curve.png and mistakes.png to {out}")
    return run


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    logging.set_verbosity(logging.WARNING)  # JAX would tell which hardware it looks for
    config = Config(
        tuple(map(int, _SEEDS.value)), _EPOCHS.value, _BATCH_SIZE.value, _LEARNING_RATE.value
    )
    console = Console(highlight=False, soft_wrap=True)
    try:
        run_digits(config, Path(_OUT.value), _RESUME.value, _STOP_AFTER.value, console)
    except (RunError, OSError) as error:
        sys.exit(f"digits.py: {error}")
    except KeyboardInterrupt:
        print("digits.py: interrupted. --resume goes on from the last checkpoint.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    app.run(main)
