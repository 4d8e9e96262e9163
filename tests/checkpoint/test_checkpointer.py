"""`Checkpointer`: every leaf comes back, the right steps stay, damage is found, and errors say what to do."""

import gc
import json
import math
import shutil
import subprocess
import sys

import flax.struct
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import purestate as ps
from purestate.checkpoint import Checkpointer
from tests.checkpoint.helpers import bits

X = jnp.linspace(-1, 1, 12).reshape(4, 3)
TX = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1))


def forward(x):
    h = ps.BatchNorm(True, True, 0.9)(ps.Linear(4)(x), is_training=True)
    return ps.Linear(1, name="head")(h)


TRAIN = ps.TrainState.create(ps.transform_with_state(forward), TX, 0, X)


def same(a, b):
    """Whether two trees are equal, to the last bit."""
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        bits(x) == bits(y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with steps 1 and 2 of `TRAIN`."""
    folder = tmp_path_factory.mktemp("saved")
    with Checkpointer(folder) as checkpoints:
        for step in 1, 2:
            checkpoints.save(step, TRAIN._replace(step=jnp.int32(step)), {"loss": 1 / step})
    return folder


# Every leaf


@flax.struct.dataclass
class Pair:
    a: jax.Array
    b: jax.Array


ODD = {
    "names": {"b.c": 3, "": 2.5, "ü\n/層": True, "%2E": 1j, "(0)": {"{}": 1}},
    "empty": {"dict": {}, "tuple": (), "list": [], "none": None, "opt": optax.EmptyState()},
    "keys": [jax.random.key(1), jax.random.split(jax.random.key(2, impl="rbg"), 3)],
    "sizes": (np.zeros([0, 3], jnp.bfloat16), jnp.zeros([]), jnp.ones([1]), jnp.zeros([2, 0])),
    "numbers": (2**40, -1, False, math.pi, math.inf),
    "classes": (Pair(jnp.ones([2]), jnp.zeros([1])), ps.Optimizer(TX).init(TRAIN.params)),
    "order": np.arange(6.0).reshape(2, 3).T,
    "nan": np.array([np.nan, -0.0, np.inf], np.float32),
}
KINDS = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "bfloat16", "complex64", "complex128"),
    *("int2", "int4", "uint2", "uint4", "float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz"),
    *("float8_e8m0fnu", "float8_e3m4", "float4_e2m1fn"),
]
DTYPES = {kind: np.arange(5).astype(np.dtype(getattr(ml_dtypes, kind, kind))) for kind in KINDS}


def test_every_leaf_comes_back(tmp_path):
    tree = {"train": TRAIN, "odd": ODD, "dtypes": DTYPES}
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(0, tree)
        restored = checkpoints.restore(into=tree)
    assert same(restored, tree)
    for number, other in zip(ODD["numbers"], restored["odd"]["numbers"], strict=True):
        assert type(number) is type(other)


def test_into_shapes_only_and_into_nothing(saved):
    with Checkpointer(saved) as checkpoints:
        assert same(
            checkpoints.restore(into=jax.eval_shape(lambda: TRAIN), step=1).params, TRAIN.params
        )
        plain = checkpoints.restore(step=1)
        assert same(plain["params"], dict(TRAIN.params))
        assert list(plain) == list(TRAIN._fields)
        assert plain["step"] == 1


def test_part_of_a_training_state(saved):
    fresh = jax.tree.map(jnp.zeros_like, TRAIN._replace(rng=None))
    with Checkpointer(saved) as checkpoints:
        new, report = checkpoints.restore(into=fresh, only="params/**", strict=False)
        assert not report
        assert same(new, fresh._replace(params=TRAIN.params))
        params = checkpoints.restore(only="params/**")["params"]
        assert same(params, dict(TRAIN.params))
        moved = {"encoder": fresh.params["linear"]}
        moved = checkpoints.restore(
            into=moved, rename={"params/linear": "encoder"}, only="encoder/*"
        )
        assert same(moved["encoder"], TRAIN.params["linear"])


def test_differences_are_named(saved):
    other = TRAIN._replace(params={**TRAIN.params, "head": {"w": jnp.ones([4, 7])}})
    with Checkpointer(saved) as checkpoints:
        with pytest.raises(ps.errors.CheckpointMismatchError) as caught:
            checkpoints.restore(into=other)
    assert caught.value.report.unexpected == ("params/head/b",)
    assert caught.value.report.mismatched == (("params/head/w", "f32[4,1]", "f32[4,7]"),)


@pytest.mark.parametrize("background", [True, False])
def test_arrays_may_change_after_save(tmp_path, background):
    donate = jax.jit(lambda x: x * 0, donate_argnums=0)
    x, y = jnp.arange(1e5), np.arange(1e5)
    with Checkpointer(tmp_path, background=background) as checkpoints:
        checkpoints.save(0, {"x": x, "y": y})
        donate(x).block_until_ready()
        y[:] = 0
        restored = checkpoints.restore()
    assert (restored["x"] == jnp.arange(1e5)).all()
    assert (restored["y"] == np.arange(1e5)).all()


# Which steps stay


def steps_after(folder, losses, **kwargs):
    with Checkpointer(folder, **kwargs) as checkpoints:
        for step, loss in enumerate(losses):
            checkpoints.save(step, {"w": jnp.ones([1])}, None if loss is None else {"loss": loss})
    with Checkpointer(folder, **kwargs) as checkpoints:  # as from another process
        return checkpoints.all_steps(), checkpoints.best_step() if "best" in kwargs else None


@pytest.mark.parametrize(
    ("kwargs", "losses", "expected"),
    [
        ({"keep": 2}, [3, 1, 2, 5], ([2, 3], None)),
        ({"keep": None}, [3, 1, 2], ([0, 1, 2], None)),
        ({"keep": 1, "every": 2}, [3, 1, 2, 5, 6, 7], ([4], None)),
        ({"keep": 1, "best": "loss"}, [3, 1, 2, 5], ([1, 3], 1)),
        ({"keep": 1, "best": "loss", "mode": "max"}, [3, 7, 2, 5], ([1, 3], 1)),
        ({"keep": 1, "best": "loss", "keep_best": 2}, [3, 1, 2, 5], ([1, 2, 3], 1)),
        ({"keep": 1, "best": "loss"}, [3, math.nan, None, 5], ([0, 3], 0)),
        ({"keep": 1, "best": "loss"}, [3, 1, 1, 5], ([2, 3], 2)),
    ],
)
@pytest.mark.whole
def test_which_steps_stay(tmp_path, kwargs, losses, expected):
    assert steps_after(tmp_path, losses, **kwargs) == expected


def test_metrics_and_every(tmp_path):
    with Checkpointer(tmp_path / "new" / "folder", every=10) as checkpoints:
        assert checkpoints.latest_step() is None
        done = [
            checkpoints.save(step, {"w": X}, {"loss": jnp.float32(step)}) for step in (0, 5, 10)
        ]
        assert done == [True, False, True]
        assert checkpoints.save(11, {"w": X}, force=True)
        assert checkpoints.metrics(10) == {"loss": 10.0}
        assert checkpoints.metrics() == {}
        assert checkpoints.all_steps() == [0, 10, 11]
        assert checkpoints.latest_step() == 11
        checkpoints.delete_after(0)
        assert checkpoints.all_steps() == [0]
        assert checkpoints.save(10, {"w": X})
        checkpoints.wait()
    assert repr(checkpoints) == f"Checkpointer({str(tmp_path / 'new' / 'folder')!r})"


def test_half_deleted_steps_do_no_harm(tmp_path):
    for last in 2, 1:  # as in a folder where a program was killed
        (tmp_path / ".deleted" / str(last) / "arrays").mkdir(parents=True)
        with Checkpointer(tmp_path, keep=2) as checkpoints:
            for step in range(checkpoints.latest_step() or 0, 2):
                checkpoints.save(step + 1, {"w": X})
            checkpoints.delete_after(last - 1)
            assert checkpoints.latest_step() == (last - 1 or None)
    assert sorted(path.name for path in tmp_path.iterdir()) == []


# Damage


def restored_or_error(folder):
    with Checkpointer(folder) as checkpoints:
        try:
            expected = TRAIN._replace(step=jnp.int32(2))
            return same(checkpoints.restore(into=expected, step=2), expected)
        except ps.errors.CheckpointFileError as error:
            assert "restore(into, step=1)" in str(error)
            return "error"
        except ps.errors.CheckpointNotFoundError:
            return "error"


def damages(path, number, rng):
    """`number` flipped bits, an overwritten byte, and the file cut short and empty."""
    data = path.read_bytes()
    for place in rng.choice(len(data), min(number, len(data)), replace=False):
        changed = bytearray(data)
        changed[place] ^= 1 << rng.integers(8)
        yield bytes(changed)
    yield data[: len(data) // 2]
    yield b""


# orbax drops the rest of its reads after the first that fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [1, pytest.param(16, marks=pytest.mark.slow)])
def test_damage_is_an_error_or_does_no_harm(saved, tmp_path, number, capsys):
    folder = shutil.copytree(saved, tmp_path / "copy")
    rng, counts = np.random.default_rng(0), {True: 0, "error": 0, False: 0}
    files = sorted(
        path for path in (folder / "2").rglob("*") if path.is_file() and path.stat().st_size
    )
    for path in files:
        intact = path.read_bytes()
        for changed in damages(path, number, rng):
            path.write_bytes(changed)
            counts[restored_or_error(folder)] += 1
        path.write_bytes(intact)
    with capsys.disabled():
        print(
            f" {len(files)} files: {counts['error']} errors, {counts[True]} equal, {counts[False]} wrong"
        )
    assert counts[False] == 0
    assert counts["error"] > 0 < counts[True]
    assert restored_or_error(folder) is True


def test_a_missing_file_is_an_error(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "copy")
    shutil.rmtree(folder / "2" / "arrays")
    with Checkpointer(folder) as checkpoints:
        with pytest.raises(
            ps.errors.CheckpointFileError, match=r"2' is damaged.*restore\(into, step=1\)"
        ):
            checkpoints.restore(TRAIN, step=2)
        checkpoints.delete_after(1)
        assert same(checkpoints.restore(TRAIN).params, TRAIN.params)


def test_a_step_that_cannot_be_read_is_not_deleted(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "copy")
    (folder / "1" / "notes" / "metadata").write_bytes(b"{}")
    with Checkpointer(folder, keep=1, best="loss") as checkpoints:
        checkpoints.save(3, TRAIN, {"loss": 3.0})
        assert checkpoints.all_steps() == [1, 2, 3]
        with pytest.raises(ps.errors.CheckpointFileError, match="1' is damaged"):
            checkpoints.best_step()


# Errors


# orbax drops the rest of its writes after the first that fails.
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_background_save_that_fails(tmp_path):
    checkpoints = Checkpointer(tmp_path / "run", background=True)
    checkpoints.save(0, {"w": X})
    checkpoints.wait()
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(ps.errors.CheckpointFileError, match="could not be saved"):
        checkpoints.save(1, {"w": X})
        checkpoints.close()
    checkpoints.close()
    gc.collect()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda c: c.save(2, TRAIN), "CheckpointError", r"has step 2.*delete_after\(1\)"),
        (lambda c: c.save(1.5, TRAIN), "CheckpointError", "number of a step"),
        (lambda c: c.save(3, {"a": "text"}), "CheckpointError", "only arrays can be saved"),
        (lambda c: c.save(3, TRAIN, {"loss": "low"}), "CheckpointError", "at 'loss'"),
        (lambda c: c.save(3, TRAIN, 0.5), "CheckpointError", "dict of numbers"),
        (lambda c: c.restore(TRAIN, step=7), "CheckpointNotFoundError", "no step 7. It has 1, 2"),
        (lambda c: c.best_step(), "CheckpointError", "best='loss'"),
        (lambda c: c.restore(only="x"), "CheckpointError", "Checkpointer.restore found nothing"),
    ],
)
@pytest.mark.whole
def test_errors(saved, call, error, text):
    with Checkpointer(saved) as checkpoints:
        with pytest.raises(getattr(ps.errors, error), match=text):
            call(checkpoints)
        assert checkpoints.all_steps() == [1, 2]


@pytest.mark.parametrize("call", ["wait", "all_steps", "restore", "latest_step"])
@pytest.mark.whole
def test_a_closed_one_says_so(tmp_path, call):
    with Checkpointer(tmp_path) as checkpoints:
        pass
    checkpoints.close()
    with pytest.raises(ps.errors.CheckpointError, match="is closed"):
        getattr(checkpoints, call)()
    with pytest.raises(ps.errors.CheckpointError, match="is closed"):
        checkpoints.save(0, TRAIN)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"keep": 0}, "`keep` must be a positive integer"),
        ({"every": 2.5}, "`every` must be"),
        ({"keep_best": None}, "`keep_best` must be"),
        ({"mode": "best"}, "`mode` must be 'min' or 'max'"),
        ({"folder": "gs://bucket/run"}, "must be a local folder"),
    ],
)
@pytest.mark.whole
def test_wrong_arguments(tmp_path, kwargs, text):
    with pytest.raises(ps.errors.CheckpointError, match=text):
        Checkpointer(**{"folder": tmp_path, **kwargs})


# Kills, and several devices


def run_script(*args, env=()):
    done = subprocess.run(
        [sys.executable, "-m", *args], capture_output=True, text=True, check=False, env=env or None
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_killed_runs_go_on_to_the_same_bits(tmp_path, capsys):
    kills = 50
    found = run_script("tests.checkpoint.killed_runs", str(tmp_path), str(kills), "0")
    with capsys.disabled():
        print(f" {found}")
    assert found["kills"] == kills
    assert (found["lost"], found["wrong"]) == ([], [])
    assert found["last is equal"]
    assert kills < 50 or found["kills in the call of save"] > 0
    best = max(step for step in range(1, found["steps"] + 1) if (1 - step) % 7 == 0)
    assert found["best"] == best
    assert found["kept"] == sorted({best, found["steps"] - 1, found["steps"]})
    assert found["left over"] == []


def test_onto_another_mesh(tmp_path):
    found = run_script("tests.checkpoint.another_mesh", str(tmp_path))
    assert found == {
        "(2, 4)": True,
        "(8,)": True,
        "one device": True,
        "as into": True,
        "as saved": True,
    }


def test_resized_variables(tmp_path):
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(1, {"embed": {"w": jnp.ones([3, 2])}})
        loaded = checkpoints.restore({"embed": {"w": jnp.zeros([4, 2])}}, resize="embed/*")
    assert loaded["embed"]["w"].sum(1).tolist() == [2, 2, 2, 0]
