"""Checkpoints of random Sonnet models: restored rightly, with a warning or an error.

Layers often have equal shapes, so that only names tell them apart, and they are first called in a
random order. The truth is noted while the modules are made; see `tests/tf_checkpoint/record.py`.
"""

import collections
import os
import random
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet.checkpoint as checkpoint
from purestate._checkpoint.errors import CheckpointError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of TensorFlow's own imports
    snt = pytest.importorskip("sonnet")
    tf = pytest.importorskip("tensorflow")
    from tests.tf_checkpoint import record

PROGRAMS = 60


class Builder:
    """Builds one model; the random numbers decide everything."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.layers: list[Any] = []
        self._sizes = self.random.choice([[2], [2, 3, 4], range(1, 40), range(1, 40)])

    def size(self) -> int:
        return self.random.choice(self._sizes)

    def module(self, depth: int) -> Any:
        pick = self.random.choice
        kind = pick(["linear", "linear", "norm", "mlp", "net", "net", "other", "sequential"])
        if kind in ("net", "other") and depth:
            passed = [self.module(depth - 1) for _ in range(pick([0, 0, 0, 1, 2]))]
            return (Net if kind == "net" else Other)(self, depth - 1, passed)
        if kind == "sequential" and depth:
            return snt.Sequential([self.module(depth - 1) for _ in range(pick([1, 2, 3]))])
        if kind == "norm":
            layer = snt.BatchNorm(True, True)
        elif kind == "mlp":
            layer = snt.nets.MLP([self.size(), self.size()])
        else:
            layer = snt.Linear(self.size(), name=pick([None] * 6 + ["head"]))
        self.layers.append(layer)
        return layer

    def attribute(self, number: int) -> str:
        return self.random.choice("azmk") + str(number)


class Net(snt.Module):
    """A module of modules: its own, in attributes, lists and dicts, and some from outside."""

    def __init__(self, builder: Builder, depth: int, passed: list[Any]):
        super().__init__()
        pick = builder.random.choice
        if pick([True, False]):
            self.scale = tf.Variable([1.0, 1.0], name="scale")
        for i, module in enumerate(passed):
            setattr(self, f"passed_{i}", module)
        for i in range(pick([1, 2, 3])):
            kind = pick(["one", "one", "one", "list", "dict"])
            name = builder.attribute(i)
            if kind == "one":
                setattr(self, name, builder.module(depth))
                continue
            items = [builder.module(depth) for _ in range(pick([1, 2, 3]))]
            named = {builder.attribute(j): item for j, item in enumerate(items)}
            setattr(self, name, items if kind == "list" else named)


class Other(Net):
    """Of another name."""


def made(seed: int) -> tuple[Any, dict[int, Any]]:
    """Returns a model whose variables all differ, and the place of each one."""
    builder = Builder(seed)
    with record.Log() as log:
        net = builder.module(3)
        builder.random.shuffle(builder.layers)
        for layer in builder.layers:
            x = tf.ones([1, builder.size()])
            layer(x, True) if isinstance(layer, snt.BatchNorm) else layer(x)
    for i, v in enumerate(net.variables):
        v.assign(tf.cast(tf.fill(v.shape, i + 1), v.dtype))
    return net, log.places()


def test_random_models(tmp_path: Path) -> None:
    tally: collections.Counter[str] = collections.Counter()
    for seed in range(PROGRAMS):
        net, places = made(seed)
        path = tf.train.Checkpoint(model=net).write(str(tmp_path / "ckpt"))
        values: dict[str, dict[str, dict[str, np.ndarray]]] = {"params": {}, "state": {}}
        for v in net.variables:
            kind, module, name = places[id(v)]
            values[kind].setdefault(module, {})[name] = v.numpy()
        blank = jax.tree.map(np.zeros_like, values)

        def is_right(blank: Any = blank, values: Any = values, path: str = path, **kw: Any) -> bool:
            read = checkpoint.restore(path, blank["params"], blank["state"], **kw)
            pairs = zip(
                jax.tree.leaves(read),
                jax.tree.leaves((values["params"], values["state"])),
                strict=True,
            )
            return all(np.array_equal(one, other) for one, other in pairs)

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ps.errors.UnverifiedWarning)
            try:
                told = is_right()
            except CheckpointError:
                tally["error"] += 1
            else:
                assert told or caught, seed
                tally["warned" if caught else "right"] += 1
        attributes = {
            path.removeprefix("model/"): places[id(v)][1:]
            for path, v in record.attributes(model=net).items()
        }
        assert is_right(attributes=attributes), seed
    assert tally["right"] > PROGRAMS / 5, tally
