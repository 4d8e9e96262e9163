"""Messages of exported functions."""

import sys
import zipfile
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp

import purestate as ps
from tests.messages.cases_checkpoint import HERE
from tests.messages.helpers import X

SPEC = "float32[b, 3]"


def linear() -> Any:
    f = ps.transform(lambda x: ps.Linear(2)(x))
    return f, f.init(0, X)


def exported(specs: Any = SPEC, **options: Any) -> ps.ExportedModel:
    f, params = linear()
    return ps.export(f, params, None, specs, **options)


def with_a_branch() -> None:
    class Net(ps.Module):
        def __call__(self, x: Any) -> Any:
            return x if x.shape[0] > 1 else -x

    ps.export(ps.transform(lambda x: Net()(x)), {}, None, SPEC)


def with_another_class() -> None:
    average = ps.ema({"w": X})
    ps.export(lambda params, state, x: x, average, None, SPEC, path=HERE / "model.zip")


def loaded(change: Callable[[str, bytes], bytes] = lambda name, data: data) -> ps.ExportedModel:
    exported(path=HERE / "model.zip")
    with zipfile.ZipFile(HERE / "model.zip") as file:
        members = {name: change(name, file.read(name)) for name in file.namelist()}
    with zipfile.ZipFile(HERE / "model.zip", "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return ps.load_exported(HERE / "model.zip")


def of_a_newer_version() -> None:
    loaded(lambda name, data: data.replace(b'"version": 1', b'"version": 2'))


def of_another_jax() -> None:
    def change(name: str, data: bytes) -> bytes:
        data = data.replace(jax.__version__.encode(), b"9.8.7")
        return b"" if name == "program.bin" else data

    with mock.patch("jax.__version__", "0.10.2"):
        loaded(change)


def damaged() -> None:
    exported(path=HERE / "model.zip")
    data = (HERE / "model.zip").read_bytes()
    (HERE / "damaged.zip").write_bytes(data[:-1])
    ps.load_exported(HERE / "damaged.zip")


def without_flatbuffers() -> None:
    names = [name for name in sys.modules if name.startswith("jax._src.export.serialization")]
    with mock.patch.dict(sys.modules, dict.fromkeys(names)):
        exported(path=HERE / "model.zip")


def differentiated() -> None:
    model = loaded()
    jax.grad(lambda params: model.apply(params, None, None, X).sum())(model.params)


CASES: dict[str, Callable[[], Any]] = {
    "export, a branch on a size": with_a_branch,
    "export, an option among the specs": lambda: exported((SPEC, True)),
    "export, a spec without brackets": lambda: exported("b, 3"),
    "export, a tree of functions": lambda: ps.export({"f": len}, {}, None, SPEC),
    "export, state of a function without": lambda: ps.export(
        linear()[0], {}, {"ema": {"average": X}}, SPEC
    ),
    "export, a class that JAX cannot write": with_another_class,
    "export, flatbuffers is not installed": without_flatbuffers,
    "exported model, another shape": lambda: exported()(jnp.ones([2, 4])),
    "exported model, another structure": lambda: exported()({"x": X}),
    "exported model, two inputs": lambda: exported()(X, X),
    "exported model, a size of zero": lambda: exported()(jnp.ones([0, 3])),
    "exported model, differentiated": differentiated,
    "load_exported, no such file": lambda: ps.load_exported(HERE / "none.zip"),
    "load_exported, a folder": lambda: ps.load_exported(HERE),
    "load_exported, a damaged file": damaged,
    "load_exported, a newer version": of_a_newer_version,
    "load_exported, another JAX": of_another_jax,
}
