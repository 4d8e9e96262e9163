"""Random models of `purestate.sonnet`, and the checkpoints that TensorFlow would write of them.

Modules are made in one order and held in another, in attributes, lists and dicts. Some are shared,
some are made elsewhere, some are taken out of the module that made them.
"""

import random
from itertools import starmap
from typing import Any

import numpy as np

import purestate.sonnet as snt
from purestate._tf_checkpoint.attribute_paths import variable_key
from purestate._tf_checkpoint.crc32c import masked_crc32c
from purestate._tf_checkpoint.dtypes import STRING, dtype_number
from purestate._tf_checkpoint.messages import Entry
from purestate._tf_checkpoint.object_graph import GRAPH_KEY, Node, ObjectGraph, write_graph
from purestate._tf_checkpoint.strings import write_strings
from purestate._tf_checkpoint.writing import Tensor, write_bundle


class Linear(snt.Module):
    def __init__(self, builder: "Builder", name: str | None = None):
        super().__init__(name)
        self.w = builder.variable("w", 2)
        if builder.random.random() < 0.7:
            self.b = builder.variable("b", 1)


class Many(snt.Module):
    """Variables of one name, in lists and dicts, which are not in the order in which they came."""

    def __init__(self, builder: "Builder"):
        super().__init__()
        made = [builder.variable(builder.random.choice(["s", "s", "t"]), 1) for _ in range(3)]
        builder.shuffle(made)
        self.some, self.more = made[:2], {"a": made[2]}


class Tower(snt.Module):
    """Layers with names of their own, like `snt.nets.MLP`."""

    def __init__(self, builder: "Builder"):
        super().__init__()
        made = [Linear(builder, f"linear_{i}") for i in range(builder.random.choice([1, 2, 3]))]
        self._layers = made


class Net(snt.Module):
    """A module of modules; the builder decides which."""

    def __init__(self, builder: "Builder", depth: int):
        super().__init__()
        if builder.random.random() < 0.3:
            self.scale = builder.variable("scale", 1)
        builder.fill(self, depth)


class Other(Net):
    """Of another name."""


class Holder(snt.Module):
    """It makes nothing itself: it holds what others made."""

    def __init__(self, builder: "Builder", held: list[Any]):
        super().__init__()
        builder.hold(self, held)


class Builder:
    """Builds one model; the random numbers decide everything.

    Args:
      seed: of the random numbers.
      is_plain: whether each module makes all that it holds, in the order in which it holds it.

    Attributes:
      variables: all variables, in the order in which they were made.
    """

    def __init__(self, seed: int, is_plain: bool = False):
        self.random = random.Random(seed)
        self._is_plain = is_plain
        self.variables: list[Any] = []
        self._sizes = self.random.choice([[2], [2, 3], [2, 3, 4, 5, 6, 7], [*range(1, 40)]])
        self._shares = self.random.random() < 0.4 and not is_plain
        self._made: list[Any] = []

    def variable(self, name: str, axes: int) -> Any:
        shape = [self.random.choice(self._sizes) for _ in range(axes)]
        trainable = self.random.random() < 0.8
        made = snt.Variable(np.zeros(shape, np.float32), trainable=trainable, name=name)
        self.variables.append(made)
        return made

    def module(self, depth: int) -> Any:
        if self._shares and self._made and self.random.random() < 0.2:
            return self.random.choice(self._made)
        kind = self.random.choice(["linear"] * 3 + ["many", "tower"] + ["net", "other", "both"] * 2)
        if kind == "both" and depth and not self._is_plain:
            made = self._exchanged(Tower(self), Tower(self))
        elif kind in ("net", "other") and depth:
            made = (Net if kind == "net" else Other)(self, depth - 1)
        elif kind == "many":
            made = Many(self)
        elif kind == "tower":
            made = Tower(self)
        else:
            names = [None] * 8 + ["linear_1", "head", "linear_2"]
            made = Linear(self, self.random.choice(names))
        self._made.append(made)
        return made

    def shuffle(self, made: list[Any]) -> None:
        if not self._is_plain:
            self.random.shuffle(made)

    def fill(self, holder: Any, depth: int) -> None:
        """Makes modules and holds them in another order."""
        made = [self.module(depth) for _ in range(self.random.choice([1, 2, 3, 4]))]
        if self._is_plain:
            self.hold(holder, made)
            return
        self.random.shuffle(made)
        if self.random.random() < 0.3:
            made = [Holder(self, made[:2]), *made[2:]]
        if self._shares and self.variables and self.random.random() < 0.3:
            made.append(self.random.choice(self.variables))
        self.hold(holder, made)

    def hold(self, holder: Any, made: list[Any]) -> None:
        while made:
            name = self.random.choice("azmk") + str(self.random.randrange(1000))
            size = self.random.choice([1, 1, 2, 3])
            some, made = made[:size], made[size:]
            kind = self.random.choice(["list", "dict", "both"])
            if size == 1:
                setattr(holder, name, some[0])
            elif kind == "list":
                setattr(holder, name, some)
            elif kind == "dict":
                setattr(holder, name, {f"k{i}": each for i, each in enumerate(some)})
            else:
                setattr(holder, name, [{"deep": [some[0]]}, *some[1:]])

    def _exchanged(self, one: Any, other: Any) -> Any:
        """Returns a holder of what two towers are made of, perhaps of one layer of each."""
        pairs = [*zip(one._layers, other._layers, strict=False)]
        rest = [*one._layers[len(pairs) :], *other._layers[len(pairs) :]]
        if self.random.random() < 0.5:
            return Holder(self, [one, other])
        swap = [self.random.random() < 0.5 for _ in pairs]
        held = [snt.Sequential([p[s] for p, s in zip(pairs, swap, strict=True)])]
        held.append(snt.Sequential([p[not s] for p, s in zip(pairs, swap, strict=True)] + rest))
        self.random.shuffle(held)
        return Holder(self, held)


def build(seed: int, is_plain: bool = False) -> tuple[Any, list[Any]]:
    """Returns a model and all variables that were made, in order; see `Builder`."""
    builder = Builder(seed, is_plain)
    return Net(builder, 2), builder.variables


def graph_of(net: Any, variables: list[Any]) -> tuple[ObjectGraph, dict[int, int]]:
    """Returns the object graph, and for each variable in it, which of the variables it is."""
    numbers = {id(variable): i for i, variable in enumerate(variables)}
    graph = ObjectGraph("", [Node(children={"model": 1}), Node()])
    which: dict[int, int] = {}
    known = {id(net): 1}
    waiting: list[tuple[Any, list[str]]] = [(net, ["model"])]
    for value, names in waiting:
        node = graph.nodes[known[id(value)]]
        if id(value) in numbers:
            which[known[id(value)]] = numbers[id(value)]
            node.key, node.full_name = variable_key(names), value.name.removesuffix(":0")
            continue
        for name, child in _attributes(value):
            if id(child) not in known:
                known[id(child)] = len(graph.nodes)
                graph.nodes.append(Node())
                waiting.append((child, [*names, name]))
            node.children[name] = known[id(child)]
    return graph, which


def _attributes(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, (list, tuple)):
        return [(str(i), each) for i, each in enumerate(value)]
    if isinstance(value, dict):
        return list(value.items())
    return [
        (name, each)
        for name, each in vars(value).items()
        if (name == "_layers" or not name.startswith("_"))
        and isinstance(each, (snt.Module, snt.Variable, list, dict))
    ]


def write(prefix: str, graph: ObjectGraph, values: dict[int, np.ndarray]) -> None:
    """Writes a checkpoint, given the value of each variable by its number in the graph."""
    data, crc = write_strings([write_graph(graph)])
    tensors = [(GRAPH_KEY, Entry(STRING, (), crc=crc), data)]
    tensors += starmap(_tensor, ((graph.nodes[at].key or "", x) for at, x in values.items()))
    write_bundle(prefix, sorted(tensors, key=lambda tensor: tensor[0].encode()))


def _tensor(key: str, x: np.ndarray) -> Tensor:
    number, data = dtype_number(x.dtype), x.tobytes()
    assert number is not None
    return key, Entry(number, x.shape, crc=masked_crc32c(data)), data
