"""Snapshots: what a frame holds, as a pytree, and putting what has changed back into the frame."""

from typing import Any, NamedTuple

import jax

from purestate._core.collection import Collection, new_collection
from purestate._core.frame import Frame
from purestate._core.path import ROOT, variable_path
from purestate._core.sown import SownValues
from purestate._core.trace_guard import (
    check_draw,
    check_outlives_trace,
    current_trace_state,
    warn_of_shared_key,
)

Values = dict[str, dict[str, dict[str, Any]]]
"""`{collection: {module: {name: value}}}`. If one state holds all collections, it is "state"."""


class Snapshot(NamedTuple):
    """What a frame holds, as a pytree. A collection that is absent is read by closure.

    Attributes:
      values: the variables of collections that can change.
      initial: the same, as they were when first created.
      keys: the state of the source of keys; None without one.
    """

    values: Values
    initial: Values
    keys: Any


def take_snapshot(frame: Frame) -> Snapshot:
    """Returns what the frame holds now. Later changes to the frame do not reach it.

    The dicts of modules are shared until one of them is about to change. So a snapshot costs next
    to nothing for a variable that nobody touches.
    """
    values: Values = {}
    initial: Values = {}
    for name, collection in frame.collections.items():
        # Parameters of `apply` cannot change. They are read by closure, so that a transform does
        # not trace through all of them.
        if collection.changes:
            values[name] = dict(collection.values)
            if collection.initial is not None:
                initial[name] = dict(collection.initial)
            collection.own = set()
    source = frame.keys.source
    return Snapshot(values, initial, None if source is None else source.state)


def whole_snapshot(frame: Frame, snapshot: Snapshot) -> Snapshot:
    """Returns a snapshot with the variables that can only be read as well."""
    fixed = {name: kept.values for name, kept in frame.collections.items() if not kept.changes}
    return snapshot._replace(values={**fixed, **snapshot.values})


def changes(before: Snapshot, after: Snapshot) -> Snapshot:
    """Returns what is in `after`, and is not the very same array in `before`."""
    # Keys are a pytree: raw keys, typed keys, or a dict of streams. Whether one is due is part of
    # its structure.
    (old, before_is), (new, after_is) = map(jax.tree.flatten, (before.keys, after.keys))
    same_keys = before_is == after_is and all(a is b for a, b in zip(old, new, strict=True))
    return Snapshot(
        new_values(before.values, after.values),
        new_values(before.initial, after.initial),
        None if same_keys else after.keys,
    )


def new_values(before: Values, after: Values) -> Values:
    """Returns the values of `after` that are not the very same in `before`."""
    found: Values = {}
    for collection, module, name, value in _own_entries(before, after):
        old = before.get(collection, {}).get(module, {})
        # The very same object was not set. A value that is set to an equal one counts as changed.
        if not (name in old and old[name] is value):
            put(found, collection, module, name, value)
    return found


def _own_entries(before: Values, after: Values) -> list[tuple[str, str, str, Any]]:
    """Returns the entries of `after`, without those of modules whose dict is that of `before`."""
    found: Values = {}
    for collection, modules in after.items():
        old = before.get(collection, {})
        found[collection] = {
            module: bundle
            for module, bundle in modules.items()
            if not (module in old and old[module] is bundle)
        }
    return entries(found)


def new_names(before: Values, after: Values) -> Values:
    """Returns the values of `after` whose names are not in `before`."""
    found: Values = {}
    for collection, module, name, value in _own_entries(before, after):
        if name not in before.get(collection, {}).get(module, {}):
            put(found, collection, module, name, value)
    return found


def written(before: Snapshot, changed: Snapshot, values: Values) -> Values:
    """Returns those of some changed values that a run has set, and not only made."""
    found: Values = {}
    for collection, module, name, value in entries(values):
        existed = name in before.values.get(collection, {}).get(module, {})
        made = changed.initial.get(collection, {}).get(module, {}).get(name, value)
        leaves = jax.tree.leaves(value), jax.tree.leaves(made)
        if existed or any(a is not b for a, b in zip(*leaves, strict=False)):
            put(found, collection, module, name, value)
    return found


def entries(values: Values) -> list[tuple[str, str, str, Any]]:
    """Returns (collection, module, name, value) of each variable."""
    return [
        (collection, module, name, value)
        for collection, modules in values.items()
        for module, bundle in modules.items()
        for name, value in bundle.items()
    ]


def put(values: Values, collection: str, module: str, name: str, value: Any) -> None:
    """Puts a value among others."""
    values.setdefault(collection, {}).setdefault(module, {})[name] = value


def merged(a: Values, b: Values) -> Values:
    """Returns both, with the values of `b` for names that are in both."""
    done = {collection: dict(modules) for collection, modules in a.items()}
    for collection, modules in b.items():
        into = done.setdefault(collection, {})
        for module, bundle in modules.items():
            into[module] = {**into.get(module, {}), **bundle}
    return done


def without(a: Values, b: Values) -> Values:
    """Returns the values of `a` whose names are not in `b`. Their collections stay."""
    done: Values = {collection: {} for collection in a}
    for collection, module, name, value in entries(a):
        if name not in b.get(collection, {}).get(module, {}):
            put(done, collection, module, name, value)
    return done


def paths_of(values: Values) -> list[str]:
    """Returns the full names of variables, sorted."""
    return sorted(variable_path(module, name) for _, module, name, _ in entries(values))


def keep(frame: Frame, changed: Snapshot, sown: SownValues | None = None) -> None:
    """Puts what a lifted function has changed into the frame; what it has not changed, stays.

    Args:
      frame: the frame that the function was lifted in.
      changed: see `changes`.
      sown: what the function has sown.
    """
    # Checked before anything is kept, so that an error leaves the frame as it was.
    for values in (changed.values, changed.initial):
        check_outlives(frame, values)
    if changed.keys is not None:
        _check_keys(frame, changed.keys)
        frame.keys.source.go_on_from(changed.keys)
    for collection, module, name, value in entries(changed.values):
        kept = _about_to_change(frame, collection, module)
        kept.values[module][name] = value
    for collection, module, name, value in entries(changed.initial):
        # `init` returns these. One that is there already was made before the lifted function ran.
        kept = _about_to_change(frame, collection, module)
        if kept.initial is not None:  # the first value stays the initial one
            kept.initial.setdefault(module, {}).setdefault(name, value)
    if sown and frame.sown is not None:
        frame.sown.join(sown)


def _about_to_change(frame: Frame, name: str, module: str) -> Collection:
    collection = collection_in(frame, name)
    if module not in collection.own:
        collection.make_own(module)
    return collection


def collection_in(frame: Frame, name: str) -> Collection:
    """Returns a collection of the frame; a new one if it has none of that name."""
    if name not in frame.collections:
        may_change = frame.layout.may_change(frame, name)
        frame.collections[name] = new_collection(name, may_change=may_change)
    return frame.collections[name]


def check_outlives(frame: Frame, values: Values) -> None:
    """Raises if a plain JAX transform inside the frame would take values with it when it ends."""
    home = frame.home.trace
    # Within another transform of purestate this is in order: it keeps what this one keeps.
    if current_trace_state() != home:
        for _, module, name, value in entries(values):
            what = f"Setting {name!r}, in a transform of purestate,"
            check_outlives_trace(value, home, what, module)


def _check_keys(frame: Frame, keys: Any) -> None:
    home = frame.home.trace if frame.keys.home is None else frame.keys.home
    if current_trace_state() != home:
        what, where = "A random key drawn inside a transform of purestate", frame.scope.path or ROOT
        # A key that JAX traces ends with its trace: the next draw would fail far from here.
        check_draw(keys, home, what, where)
        if not frame.running_init:  # initial values are the same for all elements on purpose
            warn_of_shared_key(home, what, where)
