"""Writes params and state as a checkpoint that TensorFlow reads."""

import os
from collections.abc import Iterator, Mapping
from itertools import starmap
from typing import Any

import jax
import numpy as np

from purestate._checkpoint.errors import CheckpointError
from purestate._tf_checkpoint.bundle import Bundle, open_bundle
from purestate._tf_checkpoint.crc32c import masked_crc32c
from purestate._tf_checkpoint.dtypes import STRING, dtype_number, numpy_dtype
from purestate._tf_checkpoint.matching import Attributes, check_attributes, match
from purestate._tf_checkpoint.messages import Entry
from purestate._tf_checkpoint.object_graph import (
    COUNTER,
    GRAPH_KEY,
    Node,
    ObjectGraph,
    add_variable,
    read_graph,
    write_graph,
)
from purestate._tf_checkpoint.optax_states import from_optax
from purestate._tf_checkpoint.slot_order import Slots, find_slots, flattened
from purestate._tf_checkpoint.strings import write_strings
from purestate._tf_checkpoint.targets import Bundles, Target, Targets
from purestate._tf_checkpoint.writing import Tensor, write_bundle


def save(
    prefix: str | os.PathLike[str],
    params: Bundles,
    state: Bundles,
    like: str | os.PathLike[str] | None = None,
    root: str = "model",
    *,
    attributes: Attributes | None = None,
    opt_state: Any = None,
    optimizer: str = "optimizer",
) -> None:
    """Writes a checkpoint that `tf.train.Checkpoint(model=net).restore(prefix)` reads.

    >>> import os, tempfile, numpy as np, purestate.sonnet.checkpoint as checkpoint
    >>> prefix = os.path.join(tempfile.mkdtemp(), "ckpt")
    >>> attributes = {"w": ("linear", "w"), "b": ("linear", "b")}
    >>> params = {"linear": {"w": np.ones([2, 3]), "b": np.zeros(3)}}
    >>> checkpoint.save(prefix, params, {}, attributes=attributes)
    >>> params["linear"]["b"] += 1
    >>> checkpoint.save(prefix + "-2", params, {}, like=prefix)
    >>> checkpoint.load(prefix + "-2")["model/b"]
    array([1., 1., 1.])

    Args:
      prefix: the files will be `PREFIX.index` and `PREFIX.data-00000-of-00001`. Use a new prefix
        each time. If this is stopped while it replaces a checkpoint, the files that are left may be
        an error to read.
      params: `{module path: {name: array}}`.
      state: the same.
      like: a checkpoint of the same model. All but params and state is taken from it, such as
        the objects of the model and the slots of an optimizer. See `restore` for how they are
        matched.
      root: what the model is called in `tf.train.Checkpoint(model=net)`.
      attributes: `{path of attributes: (module path, name)}`; see `restore`. Without `like`, it
        says what the objects of the model are. The dtypes in the file are then those of the arrays,
        but a single int32 of JAX is written as int64, which Sonnet's counters are.
      opt_state: new slots of the optimizer: a state of optax, or what `read_slots` or `from_optax`
        returned. Without it, they are those of `like`.
      optimizer: what the optimizer is called in `tf.train.Checkpoint(optimizer=opt)`.

    Raises:
      CheckpointMismatchError: model and `like` differ in a variable, a shape or a dtype.
      CheckpointError: neither `like` nor `attributes` is given, or `opt_state` does not fit.
      UnverifiedWarning: as a warning, see `restore`.
      CheckpointFileError: a file cannot be read or written.
    """
    target_prefix = os.fsdecode(prefix)
    targets = Targets(params, state)
    if like is not None:
        old = open_bundle(like)
        new = _new_values(old, targets, root, attributes, opt_state, optimizer)
        write_bundle(target_prefix, _replaced(old, new))
        return
    if not attributes:
        raise CheckpointError(
            "save needs `like` or `attributes` to know the objects of the model: the prefix of a"
            " checkpoint that TensorFlow wrote of it, or the attributes of each variable, such as"
            " {'_layers/0/w': ('linear', 'w')}."
        )
    slots = {} if opt_state is None else _slots_of(opt_state)
    write_bundle(target_prefix, _all_new(targets, root, attributes, slots, optimizer))


def _slots_of(opt_state: Any) -> Mapping[str, Any]:
    return opt_state if isinstance(opt_state, Mapping) else from_optax(opt_state)


def _new_values(
    old: Bundle,
    targets: Targets,
    root: str,
    attributes: Attributes | None,
    opt_state: Any,
    optimizer: str,
) -> dict[str, np.ndarray]:
    graph = read_graph(old)
    found = match(old, graph, root, targets, attributes)
    new: dict[str, np.ndarray] = {}
    for at, target in found.items():
        key = graph.nodes[at].key
        assert key is not None
        new[key] = _as_stored(target, old.shape_and_dtype(key)[1])
    if opt_state is not None:
        slots = find_slots(old, graph, root, optimizer, found)
        for key, target in slots.targets(_slots_of(opt_state)):
            new[key] = _as_stored(target, old.shape_and_dtype(key)[1])
    return new


def _as_stored(target: Target, dtype: np.dtype) -> np.ndarray:
    return target.array().astype(dtype)


def _replaced(old: Bundle, new: dict[str, np.ndarray]) -> Iterator[Tensor]:
    """Yields all tensors of a checkpoint, some with new values."""
    for key, entry in old.entries.items():
        if key in new:
            yield _numeric(key, new[key], entry.dtype)
        elif entry.dtype == STRING or numpy_dtype(entry.dtype) is None:
            yield key, entry, old.raw_checked(key)
        else:
            yield _numeric(key, old.read(key), entry.dtype)


def _all_new(
    targets: Targets,
    root: str,
    attributes: Attributes,
    slots: Mapping[str, Any],
    optimizer: str,
) -> list[Tensor]:
    """Returns the tensors of a model that TensorFlow has never saved."""
    graph = ObjectGraph("", [Node()])
    new: list[tuple[str, Target]] = []
    found: dict[str, Target] = {}
    for path, target in check_attributes(targets, attributes):
        key = add_variable(graph, f"{root}/{path}" if root else path, target.shown)
        found[key] = target
        new.append((key, target))
    order = [
        target
        for at in flattened(graph, graph.root(root))
        if (target := found[graph.nodes[at].key or ""]).is_param
    ]
    planned = Slots(f"{optimizer!r} of the new checkpoint", {}, {})
    for slot, value in slots.items():
        if not isinstance(value, Mapping):
            planned.numbers[slot] = add_variable(graph, f"{optimizer}/{slot}", slot)
            continue
        planned.lists[slot] = [
            (target, add_variable(graph, f"{optimizer}/{slot}/{i}", f"{slot}/{target.shown}"))
            for i, target in enumerate(order)
        ]
    new += planned.targets(slots)
    counter = Target(False, "", COUNTER, np.zeros([], np.int64))  # TensorFlow misses it otherwise
    new.append((add_variable(graph, COUNTER, COUNTER), counter))
    data, crc = write_strings([write_graph(graph)])
    tensors = [(GRAPH_KEY, Entry(STRING, (), crc=crc), data), *starmap(_new_tensor, new)]
    return sorted(tensors, key=lambda tensor: tensor[0].encode())  # as TensorFlow does


def _new_tensor(key: str, target: Target) -> Tensor:
    value = target.array()
    if isinstance(target.leaf, jax.Array) and value.shape == () and value.dtype == np.int32:
        value = value.astype(np.int64)  # all counters of Sonnet are, and JAX may have no int64
    number = dtype_number(value.dtype)
    if number is None:
        raise CheckpointError(
            f"{target.shown!r} is of dtype {value.dtype}, which TensorFlow does not have."
        )
    return _numeric(key, value, number)


def _numeric(key: str, value: np.ndarray, number: int) -> Tensor:
    data = value.tobytes()
    return key, Entry(number, value.shape, crc=masked_crc32c(data)), data
