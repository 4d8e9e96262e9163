"""Messages of saving and loading."""

import json
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
import safetensors.numpy

import purestate as ps
from tests.messages.helpers import X

checkpoint = ps.checkpoint

FOLDER = tempfile.TemporaryDirectory(prefix="messages-")  # which `record.normalized` leaves out
HERE = Path(FOLDER.name)
PARAMS = {"mlp/~/linear_0": {"w": X, "b": X[0]}}


def saved(name: str, tree: Any = PARAMS, **kwargs: Any) -> Path:
    checkpoint.save_safetensors(HERE / name, tree, **kwargs)
    return HERE / name


def damaged(old: bytes, new: bytes) -> None:
    path = saved("damaged.safetensors")
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    checkpoint.load_safetensors(path)


def cut_short() -> None:
    path = saved("short.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    checkpoint.load_safetensors(path)


def folder_as_a_file() -> Path:
    path = HERE / "folder" / "model.safetensors"
    path.mkdir(parents=True, exist_ok=True)
    return path.parent


def of_a_newer_version() -> None:
    with mock.patch("purestate._checkpoint.tensor_file._VERSION", 2):
        path = saved("newer.safetensors")
    checkpoint.load_safetensors(path)


def of_an_unknown_dtype() -> None:
    x = np.zeros(4, np.uint8)
    spec = safetensors.TensorSpec(
        dtype="float4_e2m1fn_x2", shape=[4], data_ptr=x.ctypes.data, data_len=4
    )
    safetensors.serialize_file({"linear.w": spec}, HERE / "float4.safetensors")
    checkpoint.load_safetensors(HERE / "float4.safetensors")


def on_a_full_disk() -> None:
    with mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")):
        saved("full.safetensors")


def without_safetensors() -> None:
    with mock.patch.dict(sys.modules, {"safetensors": None}):
        saved("params.safetensors")


class OnTwoHosts:
    """An array that other processes have a part of."""

    shape, dtype, is_fully_addressable = (2,), np.dtype(np.float32), False


SAVE: dict[str, Callable[[], Any]] = {
    "to_flat of an array": lambda: checkpoint.to_flat(X),
    "to_flat, a number as a key": lambda: checkpoint.to_flat({"blocks": {0: {"w": X}}}),
    "from_flat, an array inside an array": lambda: checkpoint.from_flat({"a": X, "a.b": X}),
    "save, a text as a leaf": lambda: saved("params", {"linear": {"w": "text"}}),
    "save, an array of texts": lambda: saved("params", {"linear": {"w": np.array(["text"])}}),
    "save, inside jit": lambda: jax.jit(lambda params: saved("params", params))(PARAMS),
    "save, an array on two hosts": lambda: saved("params", {"linear": {"w": OnTwoHosts()}}),
    "save, a name that is not text": lambda: saved("params", {"\udc80": X}),
    "save, a path that is a number": lambda: checkpoint.save_safetensors(3.0, PARAMS),  # pyright: ignore
    "save, no such folder": lambda: saved("new/params.safetensors"),
    "save, a full disk": on_a_full_disk,
    "save, metadata of a number": lambda: saved("params", metadata={"step": 3}),
    "save, metadata that is a text": lambda: saved("params", metadata="step 3"),
    "save, metadata of purestate itself": lambda: saved("params", metadata={"purestate": "1"}),
    "safetensors is not installed": without_safetensors,
}

LOAD: dict[str, Callable[[], Any]] = {
    "load, no such file": lambda: checkpoint.load_safetensors(HERE / "model.safetensors"),
    "load, a folder": lambda: checkpoint.load_safetensors(HERE),
    "load, a folder as a file": lambda: checkpoint.load_safetensors(folder_as_a_file()),
    "load, a flipped bit": lambda: damaged(X.tobytes(), X.tobytes()[:-1] + b"\0"),
    "load, a damaged header": lambda: damaged(b'linear_0.w":{', b'linear_1.w":{'),
    "load, a file cut short": cut_short,
    "load, a newer version": of_a_newer_version,
    "load, an unknown dtype": of_an_unknown_dtype,
}


def sharded(folder: str) -> Path:
    (HERE / folder).mkdir(exist_ok=True)
    saved(f"{folder}/model.safetensors", max_shard_size=8)
    return HERE / folder


def without_a_shard() -> None:
    folder = sharded("without")
    (folder / "model-00001-of-00002.safetensors").unlink()
    checkpoint.load_safetensors(folder)


def with_a_shard_of_another_save() -> None:
    folder = sharded("other")
    one, two = (folder / f"model-0000{i}-of-00002.safetensors" for i in (1, 2))
    two.write_bytes(one.read_bytes())
    checkpoint.load_safetensors(folder)


def with_an_index(content: Any) -> None:
    (HERE / "index").mkdir(exist_ok=True)
    saved("index/a.safetensors")
    path = HERE / "index" / "model.safetensors.index.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    checkpoint.load_safetensors(path)


def with_an_index_of_somebody_else() -> None:
    folder = sharded("theirs")
    with mock.patch.object(Path, "read_text", side_effect=PermissionError(13, "Permission denied")):
        checkpoint.load_safetensors(folder)


def unpickled(content: Any) -> None:
    (HERE / "params.pkl").write_bytes(
        content if isinstance(content, bytes) else pickle.dumps(content)
    )
    checkpoint.load_pickle(HERE / "params.pkl")


SHARDS: dict[str, Callable[[], Any]] = {
    "save, a size that is no size": lambda: saved("params", max_shard_size="5 apples"),
    "shards, one is missing": without_a_shard,
    "shards, one of another save": with_a_shard_of_another_save,
    "shards, an index of text": lambda: with_an_index("text"),
    "shards, an index with a wrong file": lambda: with_an_index(
        {"weight_map": {"linear.w": "a.safetensors"}}
    ),
    "shards, no such index": lambda: checkpoint.load_safetensors(HERE / "no.index.json"),
    "shards, an index of somebody else": with_an_index_of_somebody_else,
}

PICKLES: dict[str, Callable[[], Any]] = {
    "pickle, a function": lambda: unpickled(print),
    "pickle, a persistent object": lambda: unpickled(b"Pid\n."),
    "pickle, text": lambda: unpickled(b"text"),
    "pickle, only a dtype": lambda: unpickled(np.dtype("float32")),
    "pickle, too few bytes": lambda: unpickled(pickle.dumps(X)[:-20]),
    "pickle, a negative size": lambda: unpickled(
        b"cnumpy\nndarray\n(tR(I1\n(I-5\ntcnumpy\ndtype\n(Vf4\ntRI0\nVabcd\ntb."
    ),
    "pickle, an array of objects": lambda: unpickled(np.array([None])),
    "pickle, a changed function": lambda: unpickled(b"cnumpy\nndarray\n}Vname\nVx\nsb."),
    "pickle, no such file": lambda: checkpoint.load_pickle(HERE / "no.pkl"),
    "pickle, a folder": lambda: checkpoint.load_pickle(HERE),
}

OTHER = {
    "mlp/~/linear_O": {"w": X},  # with the letter O
    "mlp/~/linear_0": {"b": X},
}


def into(tree: Any, **kwargs: Any) -> Any:
    return checkpoint.load_safetensors(saved("params.safetensors"), into=tree, **kwargs)


def in_64_bits() -> None:
    path = saved("params64.safetensors", {"linear": {"w": np.ones(3)}})
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    checkpoint.load_safetensors(path, shardings=one)


def over_too_many_devices() -> None:
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), "x")
    spec = jax.sharding.PartitionSpec(None, None, "x")
    into(PARAMS, shardings=jax.sharding.NamedSharding(mesh, spec))


INTO: dict[str, Callable[[], Any]] = {
    "load, another model": lambda: into(OTHER),
    "load, a model with many other names": lambda: into({f"block_{i}": {"w": X} for i in range(9)}),
    "load, strict=False without into": lambda: into(None, strict=False),
    "load, rename without into": lambda: into(None, rename={"mlp": "encoder"}),
    "load, rename of a list": lambda: into(PARAMS, rename=["mlp"]),
    "load, rename of a number": lambda: into(PARAMS, rename={"mlp": 3}),
    "load, rename of nothing": lambda: into(PARAMS, rename={"mlp/linear_0": "linear"}),
    "load, rename with other wildcards": lambda: into(PARAMS, rename={"mlp/**": "encoder"}),
    "load, rename of two to one name": lambda: into(
        PARAMS, rename={"mlp/~/linear_0/b": "mlp/~/linear_0/w"}
    ),
    "load, resize without into": lambda: into(None, resize="mlp/**"),
    "load, resize without values": lambda: into(
        {"mlp/~/linear_0": {"w": jax.ShapeDtypeStruct((99, *X.shape[1:]), X.dtype), "b": X[0]}},
        resize="*/w",
    ),
    "load, only a number": lambda: into(PARAMS, only=3),
    "load, only of nothing": lambda: into(PARAMS, only="encoder/**"),
    "load, only of nothing, without into": lambda: into(None, only="encoder/**"),
    "load, shardings of text": lambda: into(PARAMS, shardings={"mlp/~/linear_0": "x"}),
    "load, a sharding for nothing": lambda: into(
        PARAMS, shardings={"mlp": jax.sharding.SingleDeviceSharding(jax.devices()[0])}
    ),
    "load, a sharding with too many axes": over_too_many_devices,
    "load, 64 bits onto devices": in_64_bits,
}

CASES: dict[str, Callable[[], Any]] = {**SAVE, **LOAD, **SHARDS, **PICKLES, **INTO}
