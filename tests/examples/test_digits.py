"""Tests of `examples/digits.py`: what it learns, that it can be interrupted, and what it says when it cannot go on."""

import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import haiku
import jax
import numpy as np
import pytest
from absl import flags
from rich.console import Console
from scipy import ndimage

import purestate as ps

SCRIPT = Path(__file__).parents[2] / "examples" / "digits.py"
FLAGS = ["--seeds=0,1", "--epochs=3", "--batch_size=256"]
ARTIFACTS = ("checkpoint.npz", "learning_curve.png", "mistakes.png")


def load_example(name: str, source: str) -> Any:
    """Runs `source` as a module of this name. Its flags are taken out again, since other examples have the same."""
    module = types.ModuleType(name)
    module.__file__ = str(SCRIPT)
    sys.modules[name] = module
    exec(compile(source, str(SCRIPT), "exec"), vars(module))
    for flag in list(flags.FLAGS.flags_by_module_dict().get(name, [])):
        delattr(flags.FLAGS, flag.name)
    return module


digits: Any = load_example("digits_example", SCRIPT.read_text())
CONFIG = digits.Config(seeds=(0, 1), epochs=3, batch_size=256, learning_rate=5e-3)

# What is compiled is kept from test to test. A new run is copied, since its arrays are donated.
digits.make_optimizer = functools.cache(digits.make_optimizer)
digits.make_update = functools.cache(digits.make_update)
cached_new_run = functools.cache(digits.new_run)
digits.new_run = lambda config: jax.tree.map(lambda array: array.copy(), cached_new_run(config))


def run_digits(
    out: Path, *, config: Any = CONFIG, resume: bool = False, stop_after: int | None = None
) -> str:
    """Runs the example in this process, and returns what it prints."""
    console = Console(file=io.StringIO(), highlight=False, soft_wrap=True)
    digits.run_digits(config, out, resume, stop_after, console)
    return console.file.getvalue()  # pyright: ignore


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(SCRIPT), *arguments]


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the example as a user does."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in ARTIFACTS}


def assert_same(run: Any, other: Any) -> None:
    """Raises unless two runs have the same names, and the same bits in them."""
    jax.tree.map(
        np.testing.assert_array_equal, digits.named_arrays(run), digits.named_arrays(other)
    )


@pytest.fixture(scope="module")
def data() -> Any:
    return digits.load_data()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run that was never interrupted."""
    out = tmp_path_factory.mktemp("finished")
    (out / "log.txt").write_text(run_digits(out))
    return out


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A good checkpoint before the first epoch, for `CONFIG`."""
    path = tmp_path / "checkpoint.npz"
    digits.save_checkpoint(path, CONFIG, digits.new_run(CONFIG))
    return path


# ---------------------------------------------------------------- data and network


def test_a_stratified_fifth_is_held_out(data: Any):
    assert data.train_images.shape == (digits.NUM_TRAIN, 8, 8, 1)
    assert data.test_images.shape == (360, 8, 8, 1)
    assert data.train_images.min() == 0
    assert data.train_images.max() == 1
    test, train = np.bincount(data.test_labels), np.bincount(data.train_labels)
    np.testing.assert_array_less(np.abs(test - 0.2 * (test + train)), 1)
    again = digits.load_data()
    np.testing.assert_array_equal(data.test_images, again.test_images)


@pytest.mark.slow
def test_the_held_out_digits_do_not_touch_training(data: Any, tmp_path: Path):
    other = data._replace(test_images=1 - data.test_images, test_labels=(data.test_labels + 1) % 10)
    runs = [
        digits.train(
            CONFIG,
            digits.new_run(CONFIG),
            some_data,
            1,
            tmp_path / "checkpoint.npz",
            lambda *_: None,
        )
        for some_data in (data, other)
    ]
    assert_same(*(run._replace(history=()) for run in runs))
    assert (runs[0].history.test_accuracy[0] != runs[1].history.test_accuracy[0]).all()


def test_augment_is_an_affine_map_of_each_image(data: Any):
    rng = jax.random.key(5)
    images = data.train_images[:20]
    found = np.asarray(digits.augment(rng, images))
    angle_rng, zoom_rng, shift_rng = jax.random.split(rng, 3)
    angles = np.asarray(jax.random.uniform(angle_rng, [20], minval=-0.2, maxval=0.2), np.float64)
    zooms = np.asarray(jax.random.uniform(zoom_rng, [20], minval=0.9, maxval=1.1), np.float64)
    shifts = np.asarray(jax.random.uniform(shift_rng, [20, 2], minval=-1.0, maxval=1.0), np.float64)
    center = np.array([3.5, 3.5])
    for image, out, angle, zoom, shift in zip(images, found, angles, zooms, shifts, strict=True):
        matrix = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = center + shift - matrix @ center
        expected = ndimage.affine_transform(
            image[..., 0].astype(np.float64), matrix, offset, order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(out[..., 0], expected, atol=1e-5)
    assert np.abs(found - images).max() > 0.1


def test_dropout_and_batch_norm_are_at_work_in_training_only(data: Any):
    train_state = digits.new_run(CONFIG).train_states[0]
    images = data.train_images[:8]
    apply = jax.jit(digits.network.apply, static_argnames="is_training")
    params, state = train_state.params, train_state.state
    first, new_state = apply(params, state, jax.random.key(0), images, is_training=True)
    second, _ = apply(params, state, jax.random.key(1), images, is_training=True)
    assert np.abs(first - second).max() > 0
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state, new_state)
    assert all(jax.tree.leaves(moved))
    # The prediction for an image does not depend on those beside it.
    together = digits.predict(params, new_state, images)
    alone = digits.predict(params, new_state, images[:1])
    np.testing.assert_allclose(together[:1], alone, rtol=1e-5, atol=1e-5)


def test_each_epoch_has_an_order_of_its_own_that_follows_from_the_train_state(data: Any):
    seen: list[Any] = []

    def update(train_state: Any, rng: Any, images: Any, labels: Any) -> Any:
        seen.append(images)
        return train_state._replace(step=train_state.step + 1), 0.0, 0.0

    def epoch(train_state: Any) -> tuple[Any, list[bytes]]:
        seen.clear()
        train_state, _ = digits.train_epoch(update, train_state, 479, data)  # a third of them
        return train_state, [image.tobytes() for image in np.concatenate(seen)]

    before = digits.new_run(CONFIG).train_states[0]
    after, first = epoch(before)
    _, second = epoch(after)
    assert after.step == 3
    assert sorted(first) == sorted(second) == sorted(x.tobytes() for x in data.train_images)
    assert first != second
    assert (epoch(before)[1], epoch(after)[1]) == (first, second)


@pytest.mark.slow
def test_trains_to_the_same_bits_under_dm_haiku(data: Any, monkeypatch: pytest.MonkeyPatch):
    # dm-haiku has no train state. Its pairs of functions work with ours.
    haiku_and_ours = types.ModuleType("haiku_and_ours")
    vars(haiku_and_ours).update(vars(haiku), TrainState=ps.TrainState)
    monkeypatch.setitem(sys.modules, "haiku_and_ours", haiku_and_ours)
    source = SCRIPT.read_text()
    assert source.count("import purestate as ps") == 1
    haiku_digits = load_example(
        "digits_example_haiku",
        source.replace("import purestate as ps", "import haiku_and_ours as ps"),
    )
    assert issubclass(haiku_digits.DigitNet, haiku.Module)
    runs = []
    for module in (digits, haiku_digits):
        run = module.new_run(config := module.Config((7,), 1, 64, 5e-3))
        [train_state] = run.train_states
        update = module.make_update(module.make_optimizer(config))
        for step in range(3):
            train_state, _, _ = update(
                train_state, jax.random.key(step), data.train_images[:64], data.train_labels[:64]
            )
        runs.append(run._replace(train_states=(train_state,)))
    assert_same(*runs)


# ---------------------------------------------------------------- a whole run


def test_a_run_reports_every_epoch_and_leaves_its_files(finished: Path):
    log = (finished / "log.txt").read_text()
    epochs = re.findall(
        r"^epoch (\d)/3  loss (\d+\.\d+)  accuracy (\d+\.\d+)%  held-out (\d+\.\d+)%$",
        log,
        re.MULTILINE,
    )
    assert [row[0] for row in epochs] == ["1", "2", "3"]
    assert float(epochs[-1][1]) < float(epochs[0][1])
    assert re.search(r"seed 0 .*%.*wrong", log)
    assert re.search(r"seed 1 .*%.*wrong", log)
    # The mean that is told last is the mean of the last epoch.
    assert re.search(rf"mean +{epochs[-1][3]}% +\(spread: .* to .*, standard deviation .*\)", log)
    assert sorted(path.name for path in finished.iterdir()) == sorted([*ARTIFACTS, "log.txt"])
    for name in ARTIFACTS[1:]:
        assert (finished / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_resumed_in_another_process_it_ends_with_the_same_bits(finished: Path, tmp_path: Path):
    log = run_digits(tmp_path, stop_after=1)
    assert "Stopped after epoch 1 of 3." in log
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]
    resumed = run_command(*FLAGS, "--resume", f"--out={tmp_path}")
    assert resumed.returncode == 0, resumed.stderr
    assert "Going on after epoch 1 of 3" in resumed.stdout
    assert resumed.stderr == ""
    assert contents(tmp_path) == contents(finished)


@pytest.mark.slow
def test_interrupted_within_an_epoch_it_goes_on_from_the_last_whole_one(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train_epoch: Callable[..., Any] = digits.train_epoch
    calls = 0

    def interrupted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:  # the second network in the second epoch
            raise KeyboardInterrupt
        return train_epoch(*args)

    monkeypatch.setattr(digits, "train_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_digits(tmp_path)
    monkeypatch.undo()
    assert "Going on after epoch 1 of 3" in run_digits(tmp_path, resume=True)
    assert contents(tmp_path) == contents(finished)


@pytest.mark.slow
def test_a_finished_run_resumed_stays_the_same(finished: Path, tmp_path: Path):
    (tmp_path / "checkpoint.npz").write_bytes((finished / "checkpoint.npz").read_bytes())
    assert "mean " in run_digits(tmp_path, resume=True)
    assert contents(tmp_path) == contents(finished)


def test_another_run_takes_the_place_of_a_finished_one(finished: Path, tmp_path: Path):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes((finished / "checkpoint.npz").read_bytes())
    run_digits(tmp_path, config=digits.Config((4,), 1, 1437, 5e-3), stop_after=0)
    config, arrays = digits.read_checkpoint(path)
    assert config.seeds == (4,)
    assert arrays["epochs_done"] == 0


@pytest.mark.slow
def test_ctrl_c_is_answered_in_a_sentence(tmp_path: Path):
    # A shell has what it starts in the background ignore Ctrl-C, and all that is started by it too.
    listen = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
        " os.execv(sys.argv[1], sys.argv[1:])"
    )
    run = command("--seeds=0", "--epochs=1000", f"--out={tmp_path}")
    process = subprocess.Popen(
        [sys.executable, "-c", listen, *run],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("epoch    1/1000")
    process.stdout.readline()  # by the second line, the checkpoint after the first epoch is there
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == "digits.py: interrupted. --resume goes on from the last checkpoint.\n"
    _, arrays = digits.read_checkpoint(tmp_path / "checkpoint.npz")
    assert arrays["epochs_done"] >= 1


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    train_epoch: Callable[..., Any] = digits.train_epoch
    calls = 0

    def diverging(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        train_state, metrics = train_epoch(*args)
        return train_state, metrics._replace(test_loss=np.nan) if calls == 4 else metrics

    monkeypatch.setattr(digits, "train_epoch", diverging)
    with pytest.raises(digits.RunError, match="in epoch 2 the loss of seed 1 is not finite"):
        run_digits(tmp_path)
    _, arrays = digits.read_checkpoint(tmp_path / "checkpoint.npz")
    assert arrays["epochs_done"] == 1


# ---------------------------------------------------------------- checkpoints that cannot be used


def test_a_checkpoint_holds_every_bit(checkpoint: Path):
    expected = digits.new_run(CONFIG)
    found = digits.load_checkpoint(checkpoint, CONFIG)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert_same(found, expected)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found.train_states))


def rewrite(path: Path, **changes: Any) -> None:
    """Writes the checkpoint again, with arrays changed or, where the change is None, left out."""
    with np.load(path) as file:
        arrays = dict(file) | changes
    with path.open("wb") as file:
        np.savez(file, **{name: array for name, array in arrays.items() if array is not None})


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(5000))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def half(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def one_bit_flipped(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


def foreign_npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, weights=np.ones(3))


def foreign_header(path: Path) -> None:
    rewrite(path, header=np.array("[1, 2]"))


def pickled(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, header=np.array({"format": digits.FORMAT}, dtype=object))


def other_version(path: Path) -> None:
    rewrite(
        path, header=np.array(json.dumps({"format": "purestate examples/digits.py, version 2"}))
    )


def other_flags(path: Path) -> None:
    config = digits.Config((0, 1), 3, 256, 0.25)
    digits.save_checkpoint(path, config, digits.new_run(config))


def other_shape(path: Path) -> None:
    rewrite(path, **{"train_states/0/params/digit_net/linear/b": np.zeros([11], np.float32)})


def other_dtype(path: Path) -> None:
    rewrite(path, **{"train_states/0/params/digit_net/linear/b": np.zeros([10], np.float16)})


def missing_array(path: Path) -> None:
    rewrite(path, **{"train_states/0/params/digit_net/linear/b": None})


def extra_array(path: Path) -> None:
    rewrite(path, surprise=np.zeros(2, np.int32))


UNUSABLE = {
    garbage: "something that is damaged, cut short or of another program",
    empty: "something that is damaged, cut short or of another program",
    truncated: "something that is damaged, cut short or of another program",
    half: "something that is damaged, cut short or of another program",
    one_bit_flipped: r"one in which '.*' is damaged",
    foreign_npz: "the format None and arrays such as weights",
    foreign_header: "something that is damaged, cut short or of another program",
    pickled: "something that is damaged, cut short or of another program",
    other_version: "the format 'purestate examples/digits.py, version 2'",
    other_flags: "one made with --seeds=0,1 --epochs=3 --batch_size=256 --learning_rate=0.25",
    other_shape: r"digit_net/linear/b: float32\[11\]",
    other_dtype: r"digit_net/linear/b: float16\[10\]",
    missing_array: "digit_net/linear/b: nothing",
    extra_array: r"surprise: int32\[2\]",
}


@pytest.mark.parametrize("spoil", UNUSABLE, ids=lambda spoil: spoil.__name__)
def test_resume_says_what_is_wrong_and_leaves_the_file(
    checkpoint: Path, spoil: Callable[[Path], None]
):
    spoil(checkpoint)
    before = checkpoint.read_bytes()
    with pytest.raises(digits.RunError) as error:
        run_digits(checkpoint.parent, resume=True)
    message = str(error.value)
    assert message.startswith(
        f"The checkpoint {checkpoint} cannot be used, and was left as it is.\n  Expected: "
    )
    assert re.search(rf"\n  Found: .*{UNUSABLE[spoil]}", message), message
    assert "To start anew, move it away or give another --out." in message
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == ["checkpoint.npz"]


@pytest.mark.parametrize("spoil", [garbage, truncated, one_bit_flipped, foreign_npz, other_version])
def test_a_new_run_does_not_replace_what_it_cannot_read(
    checkpoint: Path, spoil: Callable[[Path], None]
):
    spoil(checkpoint)
    before = checkpoint.read_bytes()
    with pytest.raises(digits.RunError, match="cannot be used, and was left as it is"):
        run_digits(checkpoint.parent, stop_after=0)
    assert checkpoint.read_bytes() == before


def test_no_damage_goes_unseen(checkpoint: Path):
    new = digits.new_run(CONFIG)
    good = checkpoint.read_bytes()
    rng = np.random.default_rng(0)
    # Most of the file is weights; half of the places are in its head and tail, where the format is.
    places = np.concatenate(
        [rng.integers(0, len(good), 60), np.arange(0, 400, 13), len(good) - np.arange(1, 400, 13)]
    )
    refused = 0
    for place in places:
        damaged = bytearray(good)
        damaged[place] ^= 1 << rng.integers(8)
        checkpoint.write_bytes(damaged)
        try:
            found = digits.load_checkpoint(checkpoint, CONFIG)
        except digits.RunError:
            refused += 1
        else:  # a date in the zip file, say
            assert_same(found, new)
    assert refused >= 60


def test_resume_without_a_checkpoint_says_so(tmp_path: Path):
    with pytest.raises(
        digits.RunError,
        match=rf"There is no checkpoint {tmp_path}.* to go on from.\nLeave out --resume",
    ):
        run_digits(tmp_path, resume=True)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    before = checkpoint.read_bytes()

    def full_disk(file: Any, **arrays: Any) -> None:
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(
        digits.RunError, match="cannot be saved: .*No space left on device"
    ) as error:
        digits.save_checkpoint(checkpoint, CONFIG, digits.new_run(CONFIG))
    assert "The one saved before it, if any, stays." in str(error.value)
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == ["checkpoint.npz"]


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize(
    ("num_networks", "num_wrong", "title"),
    [
        (1, 0, "No mistakes: all 360 held-out digits are read rightly by the network"),
        (5, 0, "No mistakes: all 360 held-out digits are read rightly by all 5 networks"),
        (1, 3, "3 of 360 held-out digits are read wrongly by the network"),
        (2, 3, "3 of 360 held-out digits are read wrongly by at least one of 2 networks"),
        (
            2,
            50,
            "50 of 360 held-out digits are read wrongly by at least one of 2 networks (these are the 40 hardest)",
        ),
    ],
)
def test_mistakes_are_drawn_with_what_was_seen_and_what_is_right(
    data: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_networks: int,
    num_wrong: int,
    title: str,
):
    figures: list[Any] = []
    figure_class = digits.Figure
    monkeypatch.setattr(
        digits, "Figure", lambda **kwargs: figures.append(figure_class(**kwargs)) or figures[-1]
    )
    predictions = np.tile(data.test_labels, (num_networks, 1))
    predictions[-1, :num_wrong] = (data.test_labels[:num_wrong] + 1) % 10
    digits.draw_mistakes(tmp_path / "mistakes.png", predictions, data)
    assert (tmp_path / "mistakes.png").stat().st_size > 1000
    [figure] = figures
    assert figure.get_suptitle() == title
    assert len(figure.axes) == min(num_wrong, 40)
    times = "" if num_networks == 1 else f" (1 of {num_networks})"
    for i, axes in enumerate(figure.axes):
        right = data.test_labels[i]
        assert axes.get_title() == f"right: {right}"
        assert axes.get_xlabel() == f"seen: {(right + 1) % 10}{times}"


def test_the_hardest_digits_come_first(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    figures: list[Any] = []
    figure_class = digits.Figure
    monkeypatch.setattr(
        digits, "Figure", lambda **kwargs: figures.append(figure_class(**kwargs)) or figures[-1]
    )
    predictions = np.tile(data.test_labels, (3, 1))
    predictions[0, 10] = (data.test_labels[10] + 1) % 10
    predictions[:, 20] = (data.test_labels[20] + np.array([1, 2, 2])) % 10
    digits.draw_mistakes(tmp_path / "mistakes.png", predictions, data)
    first, second = (axes.get_xlabel() for axes in figures[0].axes)
    right = int(data.test_labels[20])
    assert first == f"seen: {(right + 2) % 10} (2 of 3)\nseen: {(right + 1) % 10} (1 of 3)"
    assert second == f"seen: {(data.test_labels[10] + 1) % 10} (1 of 3)"


# ---------------------------------------------------------------- the command line


def test_help_tells_what_it_does_and_every_flag():
    result = run_command("--help")
    assert result.stdout.startswith("Trains a convolutional network to read handwritten digits")
    assert "\n  python examples/digits.py --resume " in result.stdout
    assert "\n  mistakes.png          the held-out digits that were read wrongly\n" in result.stdout
    for flag in (
        "batch_size",
        "epochs",
        "learning_rate",
        "out",
        "[no]resume",
        "seeds",
        "stop_after",
    ):
        assert re.search(rf"\n  --{re.escape(flag)}: [A-Z]", result.stdout), flag
    assert max(map(len, result.stdout.splitlines())) <= 120


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds=1,01"], "has to be whole numbers below 2**31, each once"),
        (["surprise"], "unexpected arguments: surprise"),
        (
            ["--resume", "--out={folder}"],
            "digits.py: There is no checkpoint {folder}/checkpoint.npz to go on from.",
        ),
        (["--out={file}/out"], "digits.py: "),
    ],
)
def test_an_error_is_a_message_and_no_traceback(tmp_path: Path, arguments: list[str], message: str):
    places = {"{folder}": str(tmp_path), "{file}": str(tmp_path / "file")}
    (tmp_path / "file").write_text("not a folder")
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
        message = message.replace(name, place)
    result = run_command(*arguments)
    assert result.returncode == 1
    assert message in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.slow
def test_the_checkpoint_of_other_flags_is_an_error_on_the_command_line(checkpoint: Path):
    before = checkpoint.read_bytes()
    result = run_command("--resume", f"--out={checkpoint.parent}")
    assert result.returncode == 1
    assert result.stderr == (
        f"digits.py: The checkpoint {checkpoint} cannot be used, and was left as it is.\n"
        "  Expected: one made with --seeds=0,1,2,3,4 --epochs=20 --batch_size=64 --learning_rate=0.005\n"
        "  Found:    one made with --seeds=0,1 --epochs=3 --batch_size=256 --learning_rate=0.005\n"
        "To start anew, move it away or give another --out. To go on from it, use the program and flags that made it.\n"
    )
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("values", [[], [""], ["-1"], ["a"], ["1", "1"], ["4294967296"], ["1.5"]])
def test_seeds_are_checked(values: list[str]):
    assert digits._are_seeds(["0", "7"])
    assert not digits._are_seeds(values)


@pytest.mark.rare
@pytest.mark.slow
def test_reads_99_percent_of_the_held_out_digits(tmp_path: Path):
    result = run_command(f"--out={tmp_path}")
    assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "checkpoint.npz") as file:
        assert file["epochs_done"] == 20
        accuracies = file["history/test_accuracy"][-1]
    assert accuracies.shape == (5,)
    assert accuracies.mean() >= 0.99, accuracies
    assert f"mean      {accuracies.mean():7.2%}" in result.stdout
