"""What names, shapes and holders prove, on graphs that the tests make."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import purestate.sonnet.checkpoint as checkpoint
from purestate._checkpoint.errors import CheckpointError
from purestate._convert.errors import UnverifiedWarning
from purestate._tf_checkpoint.object_graph import Node, ObjectGraph, add_variable
from purestate._tf_checkpoint.proof import Proof, Stored
from purestate._tf_checkpoint.targets import Target
from tests.tf_checkpoint import random_models

Files = dict[str, tuple[str, int]]
"""Full name and size by the path of attributes."""


def restored(folder: Path, files: Files, model: dict[str, int], **shared: str) -> dict[str, str]:
    """Returns which path each variable of a model was read from."""
    graph = ObjectGraph("", [Node()])
    values: dict[int, Any] = {}
    for i, (path, (full_name, size)) in enumerate(files.items()):
        add_variable(graph, f"model/{path}", full_name)
        values[len(graph.nodes) - 1] = np.full(size, i, np.float32)
    for path, other in shared.items():
        graph.nodes[1].children[path] = graph.find(1, other) or 0
    prefix = str(folder / "ckpt")
    random_models.write(prefix, graph, values)
    params: dict[str, dict[str, Any]] = {}
    for name, size in model.items():
        module, _, variable = name.rpartition("/")
        params.setdefault(module, {})[variable] = np.zeros(size, np.float32)
    read, _ = checkpoint.restore(prefix, params, {})
    paths = list(files)
    return {f"{m}/{n}": paths[int(x[0])] for m, values in read.items() for n, x in values.items()}


def test_shapes_decide_and_not_the_order(tmp_path: Path):
    """The second Linear was made first. Only its weight shows it: it takes the bias along."""
    files = {"0/w": ("linear/w", 2), "0/b": ("linear/b", 1), "1/w": ("linear/w", 3)}
    files["1/b"] = ("linear/b", 1)
    model = {"linear/w": 3, "linear/b": 1, "linear_1/w": 2, "linear_1/b": 1}
    assert restored(tmp_path, files, model) == {
        "linear/w": "1/w",
        "linear/b": "1/b",
        "linear_1/w": "0/w",
        "linear_1/b": "0/b",
    }


def test_a_list_of_all_variables_says_nothing(tmp_path: Path):
    files = {"a/w": ("linear/w", 2), "a/b": ("linear/b", 1), "c/w": ("linear/w", 3)}
    model = {"linear/w": 3, "linear_1/w": 2, "linear_1/b": 1}
    assert restored(tmp_path, files, model, all="c/w")["linear/w"] == "c/w"


def test_an_object_with_parts_of_two_modules(tmp_path: Path):
    """It is taken to be one module, which does not fit."""
    files = {"a/w": ("linear/w", 2), "a/b": ("linear/b", 1), "c/w": ("linear/w", 3)}
    files["c/b"] = ("linear/b", 4)
    model = {"linear/w": 2, "linear/b": 4, "linear_1/w": 3, "linear_1/b": 1}
    with pytest.raises(CheckpointError, match="Pass `attributes`"):
        restored(tmp_path, files, model)


@pytest.mark.parametrize("order", [("linear", "linear_1"), ("linear_1", "linear")])
def test_names_with_numbers(tmp_path: Path, order: tuple[str, str]):
    files = {f"{i}/w": (f"{name}/w", 2) for i, name in enumerate(order)}
    read = restored(tmp_path, files, {"linear/w": 2, "linear_1/w": 2})
    assert {module: files[path][0] for module, path in read.items()} == {
        "linear/w": "linear/w",
        "linear_1/w": "linear_1/w",
    }


LISTS: list[tuple[Files, dict[str, int]]] = [
    # In a list, as attributes of the module that made them, or as variables of a list.
    ({f"l/{i}/w": ("linear/w", 2) for i in range(2)}, {"linear/w": 2, "linear_1/w": 2}),
    (
        {"a/w": ("net/linear/w", 2), "b/w": ("net/linear/w", 2), "x": ("net/x", 2)},
        {"net/linear/w": 2, "net/linear_1/w": 2, "net/x": 2},
    ),
    ({f"ws/{i}": ("net/w", 2) for i in range(2)}, {"net/w": 2, "net/w_1": 2}),
]


@pytest.mark.parametrize(("files", "model"), LISTS)
def test_in_order_with_a_warning(tmp_path: Path, files: Files, model: dict[str, int]):
    with pytest.warns(UnverifiedWarning, match="in the order of the attributes"):
        read = restored(tmp_path, files, model)
    assert read == dict(zip(model, files, strict=True))


@pytest.mark.parametrize(
    ("files", "model"),
    [
        # Made in either order, and in either place.
        ({"a/w": ("linear/w", 2), "b/w": ("linear/w", 2)}, {"linear/w": 2, "linear_1/w": 2}),
        # Two MLPs that differ in their last layers: the first ones may have been exchanged.
        (
            {f"{i}/{j}/w": (f"mlp/linear_{j}/w", 2 + i * j) for i in range(2) for j in range(2)},
            {f"mlp{m}/linear_{j}/w": 2 + i * j for i, m in enumerate(["", "_1"]) for j in range(2)},
        ),
        # A tf.function numbers its own modules, and `linear_1` may be the third that was made.
        (
            {"a/w": ("linear/w", 2), "b/w": ("linear_1/w", 2), "c/w": ("linear/w", 3)},
            {"linear/w": 3, "linear_1/w": 2, "linear_2/w": 2},
        ),
        # In order, `c` is the third. Its shape says that it is not.
        (
            {f"l/{i}/w": ("linear/w", 3 if i == 2 else 2) for i in range(3)},
            {"linear/w": 3, "linear_1/w": 2, "linear_2/w": 2},
        ),
    ],
)
def test_not_certain(tmp_path: Path, files: Files, model: dict[str, int]):
    with pytest.raises(CheckpointError, match="(?s)equal names and shapes.*Pass `attributes`"):
        restored(tmp_path, files, model)


@pytest.mark.parametrize(
    ("order", "is_allowed"), [("wbWB", True), ("WBwb", True), ("wBWb", False), ("WbwB", False)]
)
def test_an_order_does_not_take_one_object_apart(order: str, is_allowed: bool):
    """`order` says what each variable of the file is; `W` and `B` are of the second Linear."""
    files = [(f"l/{i}/{name}", f"linear/{name}") for i in range(2) for name in "wb"]
    graph = ObjectGraph("", [Node()])
    for path, full_name in files:
        add_variable(graph, f"model/{path}", full_name)
    root = graph.root("model")
    ats = [graph.find(root, path) or 0 for path, _ in files]
    shape, dtype = (2,), np.dtype(np.float32)
    stored = {
        at: Stored(tuple(full_name.split("/")), shape, dtype)
        for at, (_, full_name) in zip(ats, files, strict=True)
    }
    value = np.zeros(shape, dtype)
    places = [(module, name) for module in ("linear", "linear_1") for name in "wb"]
    targets = [Target(True, *place, value) for place in places]
    proof = Proof(graph, root, stored, targets, only_given=False)
    which = ["wbWB".index(letter) for letter in order]
    assert proof.allows({at: targets[i] for at, i in zip(ats, which, strict=True)}) is is_allowed
