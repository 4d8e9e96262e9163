"""The API of Sonnet, name by name: arguments with order and defaults, methods, bases."""

import inspect
from typing import Any

import pytest

import purestate.sonnet as snt
from tests.sonnet.record_api import described, parameters
from tests.sonnet.store import recording

RECORDS: dict[str, Any] = recording("api").records
ABSENT = {
    # JAX has `jax.jit` and `jax.shard_map` for what these do.
    "distribute.Replicator",
    "distribute.TpuReplicator",
    "distribute.create_variables_eagerly",
}
OF_JAX = {f"functional.{n}" for n in ("jit", "grad", "value_and_grad", "device_get", "device_put")}
"""JAX's own functions, which Sonnet wrote again for TensorFlow: with JAX's arguments here."""

NAMES = [name for name in RECORDS if name not in ABSENT]
CLASSES = [name for name in NAMES if RECORDS[name]["kind"] == "class"]
FUNCTIONS = [name for name in NAMES if RECORDS[name]["kind"] == "function"]


def found(path: str) -> Any:
    value: Any = snt
    for part in path.split("."):
        value = getattr(value, part)
    return value


def without_self(given: Any) -> Any:
    return [p for p in given or [] if p[0] != "self"]


def begins_with(actual: Any, recorded: Any, what: str) -> None:
    """The same parameters in the same order; more may follow by keyword, with defaults."""
    actual, recorded = without_self(actual), without_self(recorded)
    assert actual[: len(recorded)] == recorded, what
    assert all(p[1] in ("KEYWORD_ONLY", "VAR_KEYWORD") for p in actual[len(recorded) :]), what


@pytest.mark.whole
@pytest.mark.parametrize("name", NAMES)
def test_is_there(name):
    kind = RECORDS[name]["kind"]
    value = found(name)
    assert kind == "class" or not inspect.isclass(value)
    assert inspect.ismodule(value) == (kind == "module")
    assert callable(value) or kind == "module"


@pytest.mark.parametrize("place", ["", "nets", "initializers", "regularizers", "optimizers", "pad"])
def test_all_lists_them(place):
    names = {n.rpartition(".")[2] for n in NAMES if n.rpartition(".")[0] == place}
    module = found(place) if place else snt
    assert names <= set(module.__all__)


@pytest.mark.whole
@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in OF_JAX])
def test_parameters_of_functions(name):
    recorded = RECORDS[name]["parameters"]
    begins_with(parameters(found(name)), recorded, name)


@pytest.mark.whole
@pytest.mark.parametrize("name", CLASSES)
def test_parameters_of_constructors(name):
    begins_with(parameters(found(name).__init__), RECORDS[name]["init"], name)


@pytest.mark.whole
@pytest.mark.parametrize("name", CLASSES)
def test_methods_and_properties(name):
    cls, record = found(name), RECORDS[name]
    for method, recorded in record["methods"].items():
        begins_with(parameters(getattr(cls, method)), recorded, f"{name}.{method}")
    for attribute in record["properties"]:
        assert isinstance(inspect.getattr_static(cls, attribute), property), attribute
    assert list(getattr(cls, "_fields", ())) == record["fields"]


@pytest.mark.whole
@pytest.mark.parametrize("name", CLASSES)
def test_bases(name):
    """Each public base of Sonnet is one here, as `isinstance` is used for dispatch."""
    bases = {c.__name__ for c in found(name).__mro__}
    public = {path.rpartition(".")[2] for path in CLASSES}
    assert {b for b in RECORDS[name]["bases"] if b in public} <= bases


@pytest.mark.parametrize("name", [n for n in CLASSES if RECORDS[n]["abstract"]])
def test_abstract_classes(name):
    assert set(RECORDS[name]["abstract"]) <= set(described(found(name))["abstract"])


def test_modules_have_what_tensorflow_gives_them():
    for attribute in ("name_scope", "submodules", "variables", "trainable_variables"):
        assert isinstance(inspect.getattr_static(snt.Module, attribute), property)
