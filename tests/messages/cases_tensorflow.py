"""Messages of TensorFlow's checkpoints."""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
import optax

import purestate.sonnet.checkpoint as checkpoint
from tests.tf_checkpoint import fixtures

FOLDER = tempfile.TemporaryDirectory(prefix="messages-")  # which `record.normalized` leaves out
HERE = Path(FOLDER.name)
W = np.ones(2, np.float32)
WHERE = {"w": ("linear", "w")}


def copied(name: str) -> str:
    """Returns the prefix of a copy of a recorded checkpoint."""
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    return fixtures.copy(name, folder)


def new_folder(name: str) -> Path:
    shutil.rmtree(HERE / name, ignore_errors=True)
    (HERE / name).mkdir()
    return HERE / name


def data_of(prefix: str) -> Path:
    return Path(prefix + ".data-00000-of-00001")


def with_data(change: Callable[[Path], Any]) -> None:
    prefix = copied("sequential")
    change(data_of(prefix))
    checkpoint.load(prefix)


def as_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    try:
        checkpoint.load(str(path).removesuffix(".data-00000-of-00001"))
    finally:
        path.rmdir()


def flipped(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def with_index(content: bytes) -> None:
    prefix = copied("sequential")
    Path(prefix + ".index").write_bytes(content)
    checkpoint.load(prefix)


def of_an_unknown_dtype() -> None:
    with mock.patch("purestate._tf_checkpoint.bundle.numpy_dtype", return_value=None):
        checkpoint.load(copied("sequential"))


def failing(error: Exception) -> None:
    prefix = copied("sequential")
    with mock.patch.object(Path, "read_bytes", side_effect=error):
        checkpoint.load(prefix)


def with_state_file(text: str) -> None:
    folder = new_folder("state_file")
    (folder / "checkpoint").write_text(text)
    checkpoint.load(folder)


def restored(name: str, root: str = "model", **options: Any) -> None:
    checkpoint.restore(copied(name), *fixtures.params_and_state(name), root, **options)


def damaged_graph() -> None:
    name = "purestate._tf_checkpoint.object_graph.number_of"
    with mock.patch(name, return_value=10**6):
        restored("sequential")


def differing() -> None:
    params, state = fixtures.params_and_state("sequential")
    params["linear"]["w"] = params["linear"]["w"][:2]
    params["linear_3"] = params.pop("linear_2")
    checkpoint.restore(copied("sequential"), params, state)


def large_counter() -> None:
    prefix, where = str(HERE / "counter"), {"c": ("ema", "counter")}
    checkpoint.save(prefix, {}, {"ema": {"counter": np.array(2**40)}}, attributes=where)
    checkpoint.restore(prefix, {}, {"ema": {"counter": jax.numpy.zeros([], np.int32)}})


def saved(params: Any, attributes: Mapping[str, tuple[str, str]] | None, **options: Any) -> None:
    checkpoint.save(HERE / "saved", params, {}, attributes=attributes, **options)


def adam_params() -> Any:
    return fixtures.params_and_state("mlp_adam")[0]


def saved_slots(slots: Any) -> None:
    checkpoint.save(HERE / "new", adam_params(), {}, copied("mlp_adam"), opt_state=slots)


def to_optax(name: str, optimizer: Any, params: Any = None, **options: Any) -> None:
    mine = fixtures.params_and_state(name)[0]
    opt_state = optimizer.init(mine if params is None else params)
    checkpoint.to_optax(copied(name), opt_state, mine, **options)


ADAM, EARLY = optax.adam(0.1), optax.chain(optax.scale_by_rms(), optax.trace(0.9))

CASES: dict[str, Callable[[], Any]] = {
    "load, not a path": lambda: checkpoint.load(None),  # type: ignore
    "load, no such checkpoint": lambda: checkpoint.load(HERE / "ckpt-1"),
    "load, an empty folder": lambda: checkpoint.load(new_folder("empty")),
    "load, a state file without a name": lambda: with_state_file(""),
    "load, a state file of another folder": lambda: with_state_file(
        'model_checkpoint_path: "ckpt-9"'
    ),
    "load, the index is gone": lambda: failing(FileNotFoundError()),
    "load, the index cannot be read": lambda: failing(PermissionError(13, "Permission denied")),
    "load, not an index": lambda: with_index(b"text"),
    "load, a data file is gone": lambda: with_data(Path.unlink),
    "load, a data file is a folder": lambda: with_data(as_a_folder),
    "load, a data file is cut off": lambda: with_data(lambda path: path.write_bytes(b"")),
    "load, a flipped bit": lambda: with_data(flipped),
    "load, an unknown dtype": of_an_unknown_dtype,
    "restore, no such root": lambda: restored("sequential", "net"),
    "restore, without an object graph": lambda: checkpoint.restore(copied("parts"), {}, {}),
    "restore, a damaged object graph": damaged_graph,
    "restore, other variables": differing,
    "restore, in order": lambda: restored("two_linears"),
    "restore, an unknown order": lambda: restored("passed"),
    "restore, attributes that are a list": lambda: restored("passed", attributes=[]),
    "restore, attributes of texts": lambda: restored("passed", attributes={"w": "linear/w"}),
    "restore, too few attributes": lambda: restored("passed", attributes=WHERE),
    "restore, not an array": lambda: checkpoint.restore(
        copied("sequential"), {"linear": {"w": "text"}}, {}
    ),
    "restore, a large counter": large_counter,
    "save, nothing to go by": lambda: saved({"linear": {"w": W}}, None),
    "save, other attributes": lambda: saved({"linear": {"b": W}}, WHERE),
    "save, a shape": lambda: saved({"linear": {"w": jax.ShapeDtypeStruct([2], np.float32)}}, WHERE),
    "save, a dtype of NumPy": lambda: saved({"linear": {"w": np.array("text")}}, WHERE),
    "save, slots of other variables": lambda: saved_slots({"m": {"linear": {"w": W}}}),
    "save, slots of another optimizer": lambda: saved_slots({"trace": adam_params()}),
    "save, several steps": lambda: saved_slots({"step": W}),
    "read_slots, no slots": lambda: checkpoint.read_slots(
        copied("before_a_step"), fixtures.params_and_state("before_a_step")[0], "other"
    ),
    "read_slots, an unknown order": lambda: to_optax(
        "twins_reversed", optax.sgd(0.1, 0.9), attributes=fixtures.where("twins_reversed")
    ),
    "to_optax, another optimizer": lambda: to_optax("mlp_adam", optax.sgd(0.1, 0.9)),
    "to_optax, an unknown optimizer": lambda: to_optax("mlp_adam", optax.lion(0.1)),
    "to_optax, early momentum": lambda: to_optax("rmsprop", EARLY),
    "to_optax, other params": lambda: to_optax("mlp_adam", ADAM, {"linear": {"w": W}}),
    "from_optax, two optimizers": lambda: checkpoint.from_optax(
        optax.chain(ADAM, ADAM).init({"linear": {"w": W}})
    ),
}
