"""State that differs between the shards of a `jax.shard_map`, and comes out as one value.

With `check_vma=False` JAX does not know which values differ, and keeps those of the first shard. So
the body is traced once more, to a jaxpr, and `varying` says which of its outputs differ.
"""

import itertools
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax

from purestate._core import config
from purestate._core.errors import BatchedStateError, JaxUsageWarning
from purestate._core.frame import Frame, ambient
from purestate._core.observer import observing
from purestate._core.path import split_variable_path, variable_path
from purestate._core.trace_guard import ShardMap, device_axes, running_shard_map, warn_user
from purestate._core.varying import Axes, Exchanged, mentioned, varying

_traced_again: ContextVar[list[Frame] | None] = ContextVar("purestate_traced_again", default=None)
"""The frames that have ended in the body that is traced once more; None outside."""


class _Output(NamedTuple):
    """An output of a body that differs between shards, and comes out as one value.

    Attributes:
      keys: the path to it in what the body returns.
      name: the full name of the state that is the same array; None if no state is.
      axes: the axes along which it differs.
    """

    keys: list[Any]
    name: str | None
    axes: Axes


_outputs: "weakref.WeakKeyDictionary[Any, list[_Output]]" = weakref.WeakKeyDictionary()
"""For each call of a `jax.shard_map` whose body runs, and was traced once more."""


def check_state_of_shards(frame: Frame) -> None:
    """Raises, or warns, if state of a frame differs between shards but comes out as one value.

    Args:
      frame: a frame that has ended, inside `jax.shard_map` or `jax.pmap`.

    Raises:
      BatchedStateError: it does, and `unsynced_state` of `ps.config` is "error".
    """
    frames = _traced_again.get()
    if frames is not None:
        frames.append(frame)
        return
    action = config.get_config().unsynced_state
    if action == "off" or any(outer.mapped_axes for outer in ambient.get()[0]):
        return  # `ps.shard_map` combines state itself
    state = {(module, name): value for module, name, value in _state_of(frame)}
    shard_map = running_shard_map()
    if not state or shard_map is None or shard_map.check_vma:
        return
    if shard_map.call not in _outputs:
        _outputs[shard_map.call] = _unsynced_outputs(shard_map)
    unsynced: dict[str, Axes] = {}
    for output in _outputs[shard_map.call]:
        pairs = [pair for pair in itertools.pairwise(output.keys) if pair in state]
        name = variable_path(*pairs[-1]) if pairs else output.name
        if name is not None and split_variable_path(name)[0] not in frame.ledger.unsynced:
            unsynced[name] = unsynced.get(name, frozenset()) | output.axes
    if not unsynced:
        return
    message = _message(list(unsynced), frozenset().union(*unsynced.values()), shard_map.is_pmap)
    if action == "error":
        raise BatchedStateError(message)
    _outputs[shard_map.call] = []  # one warning says it all
    warn_user(message, JaxUsageWarning)


def _message(names: list[str], differing: Axes, is_pmap: bool) -> str:
    axes = sorted(differing, key=str)
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    listed = f"{', '.join(map(repr, names[:8]))}{more}"
    differs, it = ("differs", "it is") if len(names) == 1 else ("differ", "they are")
    along = repr(axes[0]) if len(axes) == 1 else repr(tuple(axes))
    if is_pmap:
        where, say, only = "devices of jax.pmap", "out_axes say", "first device is kept"
        own = "pass out_axes=0"
    else:
        where, say = "shards of jax.shard_map", "out_specs say"
        only = "first shard is kept, since check_vma=False"
        own = f"return value[None] with out_specs=PartitionSpec({along})"
    return (
        f"State {listed} {differs} between the {where} over {', '.join(map(repr, axes))}, but the"
        f" {say} that {it} the same on all: the value of the {only}. For one value of all, pass"
        f" cross_replica_axis={along} to a layer or metric that takes it, or call"
        f" jax.lax.pmean(value, {along}) before ps.set_state. To keep the value of each, {own}. To"
        " allow it: ps.config.set(unsynced_state='off')."
    )


def _state_of(frame: Frame) -> Iterator[tuple[str, str, Any]]:
    """The variables of a frame that are not parameters, and may change in it."""
    for collection in frame.collections.values():
        if collection.name != "params" and collection.changes:
            for module, variables in collection.values.items():
                for name, value in variables.items():
                    yield module, name, value


def _unsynced_outputs(shard_map: ShardMap) -> list[_Output]:
    """Traces a body once more, and returns the outputs that are not what `out_specs` say."""
    names: list[str | None] = []
    paths: list[Any] = []
    out_specs: list[Any] = []
    frames: list[Frame] = []
    args, tree = jax.tree.flatten(shard_map.args)

    def body(*split: Any) -> Any:
        parts = iter(split)
        given = [arg if spec is _STATIC else next(parts) for spec, arg in specs_and_args]
        out = shard_map.body(*jax.tree.unflatten(tree, given))
        leaves = jax.tree_util.tree_leaves_with_path(out)
        paths.extend(path for path, _ in leaves)
        out_specs.extend(jax.tree.leaves(jax.tree.broadcast(shard_map.out_specs, out)))
        names.extend(_names_of([leaf for _, leaf in leaves], frames))
        frames.clear()  # so that no tracer outlives this trace
        return [leaf for _, leaf in leaves]

    again = _traced_again.set(frames)
    # Frames around are hidden: a body that uses one fails here, and leaves no names behind in it.
    # Observers around see only the first trace.
    alone = ambient.set(((), ambient.get()[1]))
    unseen = observing.set(())
    try:
        specs_and_args = list(zip(_specs_of(args, shard_map), args, strict=True))
        split = [(spec, arg) for spec, arg in specs_and_args if spec is not _STATIC]
        shards = [_shard(spec, arg, shard_map.mesh) for spec, arg in split]
        # JAX knows this setting, so it does not reuse these traces later, unchecked.
        with config.context(unsynced_state="off"):
            jaxpr = jax.make_jaxpr(body)(*shards).jaxpr
    except Exception:  # what cannot be traced like this stays unchecked
        return []
    finally:
        observing.reset(unseen)
        ambient.reset(alone)
        _traced_again.reset(again)
    outputs: list[_Output] = []
    differing = varying(jaxpr, [mentioned(spec) for spec, _ in split])
    for path, name, spec, axes in zip(paths, names, out_specs, differing, strict=True):
        unsaid = axes - mentioned(spec)
        known = {a for a in unsaid if a in device_axes() and Exchanged(a) not in axes}
        if known:
            keys = [getattr(key, "key", getattr(key, "name", None)) for key in path]
            outputs.append(_Output(keys, name, frozenset(known)))
    return outputs


_STATIC = object()
"""Stands for the spec of an argument that is not an array."""


def _specs_of(args: list[Any], shard_map: ShardMap) -> list[Any]:
    """The spec of each argument, in the order of the leaves of all."""
    given = jax.tree.map(
        lambda spec: _STATIC if spec is None else spec,
        shard_map.in_specs,
        is_leaf=lambda spec: spec is None,
    )
    specs = jax.tree.leaves(jax.tree.broadcast(given, shard_map.args))
    return [
        spec
        if spec is _STATIC or isinstance(spec, jax.sharding.PartitionSpec)
        else jax.typeof(arg).sharding.spec  # nothing was said, so JAX takes the array's own
        for spec, arg in zip(specs, args, strict=True)
    ]


def _shard(spec: Any, whole: Any, mesh: Any) -> jax.ShapeDtypeStruct:
    """What one shard gets of an argument."""
    kind: Any = jax.typeof(whole)
    shape = jax.sharding.NamedSharding(mesh, spec).shard_shape(kind.shape)
    return jax.ShapeDtypeStruct(shape, kind.dtype, weak_type=getattr(kind, "weak_type", False))


def _names_of(leaves: list[Any], frames: list[Frame]) -> list[str | None]:
    """The full name of the state that each leaf is; None if it is not state as it was set."""
    names = {
        id(leaf): variable_path(module, name)
        for frame in frames
        for module, name, value in _state_of(frame)
        for leaf in jax.tree.leaves(value)
    }
    return [names.get(id(leaf)) for leaf in leaves]
