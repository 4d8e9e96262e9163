"""Slots of Sonnet's optimizers in states of optax, and the other way round.

| Sonnet | optax |
|---|---|
| `Adam`: `m`, `v`, `step` | `adam`: `mu`, `nu`, `count` |
| `Momentum`: `accumulated_momentum` | `sgd(momentum=...)`: `trace` |
| `RMSProp`: `ms`, `mg`, `mom` | `rmsprop(momentum=...)`: `nu`, `mu`, `-trace` |

Momentum of RMSProp is that of finished updates, which Sonnet subtracts and optax adds.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._checkpoint.errors import CheckpointError, CheckpointMismatchError
from purestate._tf_checkpoint.bundle import open_bundle
from purestate._tf_checkpoint.matching import Attributes, match
from purestate._tf_checkpoint.object_graph import read_graph
from purestate._tf_checkpoint.slot_order import find_slots
from purestate._tf_checkpoint.targets import Bundles, Target, Targets

# Field of a state, slot of Sonnet, and sign, by the name of the state's class.
_FIELDS: dict[str, list[tuple[str, str, int]]] = {
    "ScaleByAdamState": [("count", "step", 1), ("mu", "m", 1), ("nu", "v", 1)],
    "ScaleByRmsState": [("nu", "ms", 1)],
    "ScaleByRStdDevState": [("mu", "mg", 1), ("nu", "ms", 1)],
    "TraceState": [("trace", "accumulated_momentum", 1)],
}
_AFTER_RMS = [("trace", "mom", -1)]
_RMS = ("ScaleByRmsState", "ScaleByRStdDevState")
_SCHEDULE = "ScaleByScheduleState"  # its count is that of steps, which only Adam has


def read_slots(
    prefix: str | os.PathLike[str],
    params: Bundles,
    optimizer: str = "optimizer",
    root: str = "model",
    *,
    attributes: Attributes | None = None,
) -> dict[str, Any]:
    """Reads the slots of an optimizer, with the names of the params.

    Sonnet keeps them in the order of the variables in its first `apply`. They are taken to be those
    of `net.trainable_variables`, unless names or shapes show another order.

    >>> import os, tempfile, numpy as np, optax, purestate.sonnet.checkpoint as checkpoint
    >>> prefix = os.path.join(tempfile.mkdtemp(), "ckpt")
    >>> params = {"linear": {"w": np.ones(2, np.float32)}}
    >>> opt_state, where = optax.adam(0.1).init(params), {"w": ("linear", "w")}
    >>> checkpoint.save(prefix, params, {}, attributes=where, opt_state=opt_state)
    >>> checkpoint.read_slots(prefix, params)["m"]
    {'linear': {'w': array([0., 0.], dtype=float32)}}

    Args:
      prefix: see `restore`.
      params: the params of the model, all of them. State is not needed, as it has no slots.
      optimizer: what the optimizer is called in `tf.train.Checkpoint(optimizer=opt)`.
      root: what the model is called.
      attributes: see `restore`.

    Returns:
      `{slot: {module path: {name: array}}}` and single values, such as `step`. The names are those
      of Sonnet: `m` and `v` of Adam, `accumulated_momentum` of Momentum, `mom`, `ms` and `mg` of
      RMSProp.

    Raises:
      CheckpointError: the optimizer does not exist, it has no slots, or they are in another order
        than `net.trainable_variables`.
      CheckpointMismatchError: the checkpoint lacks some of the params.
      UnverifiedWarning: as a warning, see `restore`.
      CheckpointFileError: the file is damaged, or cannot be read.
    """
    bundle = open_bundle(prefix)
    graph = read_graph(bundle)
    found = match(bundle, graph, root, Targets(params, {}), attributes, only_given=True)
    return find_slots(bundle, graph, root, optimizer, found).read(bundle)


def to_optax(
    prefix: str | os.PathLike[str],
    opt_state: Any,
    params: Bundles,
    optimizer: str = "optimizer",
    root: str = "model",
    *,
    attributes: Attributes | None = None,
) -> Any:
    """Puts the slots of an optimizer of Sonnet into a state of optax.

    >>> import os, tempfile, numpy as np, optax, purestate.sonnet.checkpoint as checkpoint
    >>> prefix = os.path.join(tempfile.mkdtemp(), "ckpt")
    >>> params = {"linear": {"w": np.ones(2, np.float32)}}
    >>> slots = {"step": np.int64(7), "m": params, "v": params}  # of an optimizer of Sonnet
    >>> where = {"w": ("linear", "w")}
    >>> checkpoint.save(prefix, params, {}, attributes=where, opt_state=slots)
    >>> opt_state = checkpoint.to_optax(prefix, optax.adam(0.1).init(params), params)
    >>> opt_state[0].count, opt_state[0].mu
    (Array(7, dtype=int32), {'linear': {'w': Array([1., 1.], dtype=float32)}})

    `optax.adam`, `optax.sgd` and `optax.rmsprop` compute what `snt.optimizers.Adam`, `SGD`,
    `Momentum` and `RMSProp` do, given the same numbers. Beware of the defaults: `RMSProp` has
    epsilon 1e-10 and no momentum.

    Args:
      prefix: see `restore`.
      opt_state: what `init` of the optax optimizer returned.
      params: the params of the model, all of them.
      optimizer: what the optimizer is called in `tf.train.Checkpoint(optimizer=opt)`.
      root: what the model is called.
      attributes: see `restore`.

    Returns:
      The state, with `mu`, `nu`, `trace` and `count` of the checkpoint.

    Raises:
      CheckpointError: see `read_slots`; or the state is of another optimizer.
      CheckpointMismatchError: a slot is missing, or has another shape or dtype.
      UnverifiedWarning: as a warning, see `restore`.
      CheckpointFileError: the file is damaged, or cannot be read.
    """
    slots = read_slots(prefix, params, optimizer, root, attributes=attributes)
    _check_layout(opt_state)
    filled: list[str] = []

    def fill(state: Any, fields: list[tuple[str, str, int]]) -> Any:
        lacks = [slot for _, slot, _ in fields if slot not in slots]
        if lacks:
            raise CheckpointError(
                f"{type(state).__name__} of `opt_state` needs the slots"
                f" {', '.join(repr(slot) for _, slot, _ in fields)}, and {optimizer!r} of the"
                f" checkpoint {os.fsdecode(prefix)!r} has"
                f" {', '.join(map(repr, slots))}: they are of different optimizers."
            )
        filled.extend(slot for _, slot, _ in fields)
        values = {
            name: _filled(getattr(state, name), slots[slot], slot, sign)
            for name, slot, sign in fields
        }
        return state._replace(**values)

    def set_count(state: Any) -> Any:
        if "step" not in slots:
            return state
        return state._replace(count=_filled(state.count, slots["step"], "step", 1))

    result = _replaced(opt_state, _is_rms(opt_state), fill, set_count)
    if not filled:
        raise _no_state(opt_state)
    return result


def from_optax(opt_state: Any) -> dict[str, Any]:
    """Returns the slots that an optimizer of Sonnet has, from a state of optax; see `to_optax`.

    >>> import jax.numpy as jnp, optax, purestate.sonnet.checkpoint as checkpoint
    >>> opt_state = optax.adam(0.1).init({"linear": {"w": jnp.ones([2])}})
    >>> checkpoint.from_optax(opt_state)["m"]
    {'linear': {'w': Array([0., 0.], dtype=float32)}}

    Args:
      opt_state: the state of `optax.adam`, `optax.sgd` with momentum, or `optax.rmsprop`.

    Returns:
      What `read_slots` returns, and `save` takes as `opt_state`.

    Raises:
      CheckpointError: it is the state of another optimizer.
    """
    _check_layout(opt_state)
    slots: dict[str, Any] = {}

    def note(state: Any, fields: list[tuple[str, str, int]]) -> Any:
        for name, slot, sign in fields:
            if slot in slots:
                raise CheckpointError(
                    f"`opt_state` has two of {type(state).__name__}, and an optimizer of Sonnet has"
                    " one. Pass the state of one of its parts."
                )
            value = getattr(state, name)
            if slot == "step":
                value = np.asarray(value, np.int64)  # as in Sonnet; JAX may have no int64
            slots[slot] = value if sign > 0 else jax.tree.map(jnp.negative, value)
        return state

    _replaced(opt_state, _is_rms(opt_state), note, lambda state: state)
    if not slots:
        raise _no_state(opt_state)
    return slots


def _states(state: Any) -> Iterator[Any]:
    """Yields the states of a chain that have no further ones inside."""
    if type(state).__name__ in (*_FIELDS, _SCHEDULE):
        yield state
    elif isinstance(state, (tuple, list)):
        if not state:
            yield state
        for each in state:
            yield from _states(each)
    elif isinstance(state, Mapping):
        for each in state.values():
            yield from _states(each)


def _is_rms(opt_state: Any) -> bool:
    return any(type(state).__name__ in _RMS for state in _states(opt_state))


def _check_layout(opt_state: Any) -> None:
    """Raises if momentum is taken before the learning rate, other than Sonnet does in RMSProp."""
    names = [type(state).__name__ for state in _states(opt_state)]
    for before, after in pairwise(names):
        if before in _RMS and after == "TraceState":
            raise CheckpointError(
                "`opt_state` has momentum right after the root mean square, so without the"
                " learning rate. Sonnet's RMSProp has the learning rate in its momentum: use"
                " optax.rmsprop(..., momentum=...)."
            )


def _replaced(
    state: Any,
    is_rms: bool,
    fill: Callable[[Any, list[tuple[str, str, int]]], Any],
    set_count: Callable[[Any], Any],
) -> Any:
    """Returns a state in which each known state is what `fill` returns for it."""
    kind = type(state).__name__
    if kind == _SCHEDULE:
        return set_count(state)
    if kind in _FIELDS:
        return fill(state, _AFTER_RMS if is_rms and kind == "TraceState" else _FIELDS[kind])
    if isinstance(state, (tuple, list)):
        parts = [_replaced(each, is_rms, fill, set_count) for each in state]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    if isinstance(state, dict):
        return {key: _replaced(each, is_rms, fill, set_count) for key, each in state.items()}
    return state


def _filled(value: Any, slot: Any, name: str, sign: int) -> Any:
    """Returns what a state has in place of a value: a number, or a tree of arrays."""
    if not isinstance(slot, Mapping):
        return Target(False, "optimizer", name, value).fitted(np.asarray(slot).reshape(()))
    values: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for module, variables in value.items():
        values[module] = dict(variables)
        for variable, leaf in variables.items():
            if not hasattr(leaf, "dtype"):  # a mask of optax
                continue
            there = slot.get(module, {}).get(variable)
            target = Target(False, module, variable, leaf)
            if there is None:
                problems.append(f"{target.shown}: nothing in the checkpoint")
            elif problem := target.problem(there.shape, there.dtype):
                problems.append(
                    f"{target.shown}: {problem[0]} in the checkpoint, {problem[1]} here"
                )
            else:
                values[module][variable] = target.fitted(there if sign > 0 else -there)
    if problems:
        raise CheckpointMismatchError(
            f"The slots {name!r} of the checkpoint do not fit `opt_state`:\n  "
            + "\n  ".join(problems)
            + "\nPass what `init` of the optax optimizer returns for the params of this model."
        )
    return type(value)(values) if not isinstance(value, dict) else values


def _no_state(opt_state: Any) -> CheckpointError:
    parts = opt_state if type(opt_state) in (tuple, list) else [opt_state]
    kinds = sorted({type(part).__name__ for part in parts})
    return CheckpointError(
        f"`opt_state` has none of the states {', '.join(_FIELDS)} of optax, but"
        f" {', '.join(kinds) or 'nothing'}. Pass what `init` of optax.adam, optax.sgd with"
        " momentum, or optax.rmsprop returned."
    )
