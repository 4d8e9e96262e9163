"""The graph of Python objects that a checkpoint has beside its tensors."""

import dataclasses
from collections.abc import Iterator

from purestate._checkpoint.errors import CheckpointError, CheckpointFileError
from purestate._editing.paths import near
from purestate._tf_checkpoint.attribute_paths import join_path, split_path, variable_key
from purestate._tf_checkpoint.bundle import Bundle
from purestate._tf_checkpoint.wire import (
    Damage,
    bytes_of,
    field,
    number_of,
    read_fields,
    text_of,
)

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
COUNTER = "save_counter"
"""What `tf.train.Checkpoint` calls the number of times that it was saved."""

_VALUE = "VARIABLE_VALUE"


@dataclasses.dataclass
class Node:
    """An object: a module, a list, a variable.

    Attributes:
      children: the numbers of the objects at its attributes, in the order in which they were set.
      key: the key of its value in the checkpoint, if it is a variable.
      full_name: the name of the variable, with the name scopes in which it was made.
      slots: `(variable, name, slot)` for each slot variable of an optimizer, as numbers of nodes.
    """

    children: dict[str, int] = dataclasses.field(default_factory=dict[str, int])
    key: str | None = None
    full_name: str = ""
    slots: list[tuple[int, str, int]] = dataclasses.field(
        default_factory=list[tuple[int, str, int]]
    )

    @property
    def is_list(self) -> bool:
        """Whether it is a list or tuple: its attributes are 0, 1, 2, ..."""
        return bool(self.children) and all(name.isdigit() for name in self.children)


@dataclasses.dataclass(frozen=True)
class ObjectGraph:
    """All objects of a checkpoint; the first one is the `tf.train.Checkpoint`."""

    prefix: str
    nodes: list[Node]

    def root(self, name: str) -> int:
        """Returns the object that `tf.train.Checkpoint(name=...)` got; "" is the Checkpoint."""
        at = self.find(0, name)
        if at is None:
            roots = list(self.nodes[0].children)
            raise CheckpointError(
                f"The checkpoint {self.prefix!r} has no object {name!r}."
                f"{near(name, roots)} The objects passed to tf.train.Checkpoint were"
                f" {', '.join(map(repr, roots))}: pass root={roots[0]!r} or another one."
                if roots
                else f"The checkpoint {self.prefix!r} has no objects, and so none called {name!r}."
            )
        return at

    def find(self, start: int, path: str) -> int | None:
        """Returns the object at a path of attributes of another one, or None."""
        for name in split_path(path):
            if name not in self.nodes[start].children:
                return None
            start = self.nodes[start].children[name]
        return start

    def variables(self, start: int) -> Iterator[tuple[str, int]]:
        """Yields path and number of each variable of an object, each one once."""
        seen = {start}
        waiting: list[tuple[list[str], int]] = [([], start)]
        for names, at in waiting:
            node = self.nodes[at]
            if node.key is not None:
                yield join_path(names), at
            for name, child in node.children.items():
                if child not in seen:
                    seen.add(child)
                    waiting.append(([*names, name], child))


def read_graph(bundle: Bundle) -> ObjectGraph:
    """Reads the graph of a checkpoint; raises if it has none, or a damaged one."""
    if GRAPH_KEY not in bundle.entries:
        raise CheckpointFileError(
            f"{bundle.prefix!r} has no object graph: it was not written by tf.train.Checkpoint, but"
            " perhaps by tf.compat.v1.train.Saver. `load` reads its arrays by name."
        )
    message: bytes = bundle.read(GRAPH_KEY).item()
    try:
        nodes = [_read_node(bytes_of(each)) for kind, each in read_fields(message) if kind == 1]
        for node in nodes:
            linked = [*node.children.values(), *(a for v, _, s in node.slots for a in (v, s))]
            if any(not 0 <= at < len(nodes) for at in linked):
                raise Damage("an object has an attribute that does not exist")
            if node.key is not None and node.key not in bundle.entries:
                raise Damage(f"the variable {node.key!r} is not in the index")
        if not nodes:
            raise Damage("it has no objects")
    except Damage as error:
        raise CheckpointFileError(
            f"The object graph of the checkpoint {bundle.prefix!r} is damaged: {error}."
        ) from None
    return ObjectGraph(bundle.prefix, nodes)


def _read_node(message: bytes) -> Node:
    node = Node()
    for number, value in read_fields(message):
        if number == 1:
            parts = dict(read_fields(bytes_of(value)))
            node.children[text_of(parts.get(2, b""))] = number_of(parts.get(1, 0))
        elif number == 2:
            parts = dict(read_fields(bytes_of(value)))
            if text_of(parts.get(1, b"")) == _VALUE:
                node.full_name = text_of(parts.get(2, b""))
                node.key = text_of(parts.get(3, b""))
        elif number == 3:
            parts = dict(read_fields(bytes_of(value)))
            name = text_of(parts.get(2, b""))
            node.slots.append((number_of(parts.get(1, 0)), name, number_of(parts.get(3, 0))))
    return node


def add_variable(graph: ObjectGraph, path: str, full_name: str) -> str:
    """Adds a variable at a path of attributes, and the objects on the way; returns its key."""
    at = 0
    names = split_path(path)
    for name in names:
        children = graph.nodes[at].children
        if name not in children:
            graph.nodes.append(Node())
            children[name] = len(graph.nodes) - 1
        at = children[name]
    key = graph.nodes[at].key = variable_key(names)
    graph.nodes[at].full_name = full_name
    return key


def write_graph(graph: ObjectGraph) -> bytes:
    """Returns the message of a graph, which must have no slot variables."""
    return b"".join(field(1, _write_node(node)) for node in graph.nodes)


def _write_node(node: Node) -> bytes:
    message = b"".join(
        field(1, field(1, at) + field(2, name.encode())) for name, at in node.children.items()
    )
    if node.key is not None:
        value = field(1, _VALUE.encode()) + field(2, node.full_name.encode())
        message += field(2, value + field(3, node.key.encode()))
    return message
