"""A function with side effects on the frame, as a pure function of what the frame holds.

    snapshot  ->  pure function  ->  restore

JAX transforms want pure functions. `lift_frame(f)` gives `pure(snapshot, ...) -> (out, snapshot)`:
it puts the snapshot's values into the frame, runs `f`, takes a new snapshot, and puts back what
was there. Whoever called JAX with it then restores from the snapshot that came out.

JAX may trace `pure` as often as it likes. Each run hands out module names from the same start,
so that it finds the same parameters; and leaves them taken, so that what comes after is named as if
`f` had been called plainly.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from purestate._core.collection import Bundle, Collection, copy_bundle
from purestate._core.frame import ActiveFrame, Frame, Names, Scope, ambient
from purestate._core.path import ROOT, variable_path
from purestate._core.trace_guard import (
    check_draw,
    check_outlives_trace,
    current_trace_state,
    is_staging,
    warn_of_shared_key,
)

Key = tuple[str, str]
"""Of a module's variables in a snapshot: collection and module."""

Values = dict[Key, dict[str, Any]]


class Snapshot(NamedTuple):
    """What a frame holds, as a pytree. None stands for what is left as it is in the frame.

    Attributes:
      params: all parameters where they can be made, but not set, as in `init`; None where they are
        only read.
      state: what can be set, in all collections, as it is now.
      initial: the same, as it was first.
      keys: the state of the source of keys; None where there is none.
    """

    params: Bundle | None
    state: Values
    initial: Values | None
    keys: Any


def take_snapshot(frame: Frame) -> Snapshot:
    """Returns what the frame holds now. Later changes to the frame do not reach it."""
    params = frame.collections["params"]
    state: Values = {}
    initial: Values = {}
    for name, collection in frame.collections.items():
        if collection.writable:
            for module, bundle in collection.values.items():
                state[name, module] = dict(bundle)
            for module, bundle in (collection.initial or {}).items():
                initial[name, module] = dict(bundle)
    return Snapshot(
        copy_bundle(params.values) if params.creatable and not params.writable else None,
        state,
        initial,
        None if frame.keys is None else frame.keys.internal_state,
    )


def restore(frame: Frame, snapshot: Snapshot) -> None:
    """Puts the values of a snapshot into the frame; what the snapshot does not have, stays."""
    check_outlives(
        frame, {("params", module): bundle for module, bundle in (snapshot.params or {}).items()}
    )
    check_outlives(frame, snapshot.state)
    check_outlives(frame, snapshot.initial or {})
    home = frame.trace_state if frame.key_trace is None else frame.key_trace
    if snapshot.keys is not None and current_trace_state() != home:
        what, where = "A random key drawn inside a transform of purestate", frame.scope.path or ROOT
        check_draw(snapshot.keys, home, what, where)
        if not frame.running_init:  # first values are to be the same for all rows
            warn_of_shared_key(home, what, where)
    if snapshot.params:
        _merge_into(frame.collections["params"].values, snapshot.params)
    for (name, module), bundle in snapshot.state.items():
        _merge_into(writable(frame, name).values, {module: bundle})
    for (name, module), bundle in (snapshot.initial or {}).items():
        _merge_into(writable(frame, name).initial, {module: bundle}, only_new=True)
    if snapshot.keys is not None:
        frame.keys.replace_internal_state(snapshot.keys)


def check_outlives(frame: Frame, values: Values) -> None:
    """Raises where a plain JAX transform that runs inside the frame would take values with it when it ends."""
    if current_trace_state() == frame.trace_state:
        return
    for (_, module), bundle in values.items():
        for name, value in bundle.items():
            check_outlives_trace(
                value, frame.trace_state, f"Setting {name!r}, in a transform of purestate,", module
            )


def writable(frame: Frame, name: str) -> Any:
    """Returns a collection of the frame; makes one that can be set where there is none."""
    if name not in frame.collections:
        frame.collections[name] = Collection(name, {}, {}, creatable=True, writable=True)
    return frame.collections[name]


def _merge_into(into: Any, new: Any, *, only_new: bool = False) -> None:
    for module, bundle in new.items():
        target = into.setdefault(module, {})
        for name, value in bundle.items():
            if not (only_new and name in target):
                target[name] = value


def changes(before: Snapshot, after: Snapshot) -> Snapshot:
    """Keeps of `after` what is not the very same array in `before`."""
    return Snapshot(
        _new_or_none(before.params, after.params),
        new_values(before.state, after.state),
        _new_or_none(before.initial, after.initial),
        None if _same_keys(before.keys, after.keys) else after.keys,
    )


def _same_keys(before: Any, after: Any) -> bool:
    if before is None or after is None:
        return False
    old, new = jax.tree.leaves(before), jax.tree.leaves(after)
    return len(old) == len(new) and all(a is b for a, b in zip(old, new, strict=True))


def _new_or_none(before: Any, after: Any) -> Any:
    return after if before is None or after is None else new_values(before, after)


def new_values(before: Any, after: Any) -> Any:
    """Keeps of `after`, `{module or key: {name: value}}`, what is not the very same in `before`."""
    changed: Any = {}
    for module, bundle in after.items():
        old = before.get(module, {})
        new = {
            name: value
            for name, value in bundle.items()
            if name not in old or old[name] is not value
        }
        if new:
            changed[module] = new
    return changed


def new_names(old: Any, new: Any) -> Any:
    """Keeps of `new`, `{module or key: {name: value}}`, the variables that `old` does not have."""
    if old is None or new is None:
        return {}
    kept = {
        module: {name: value for name, value in bundle.items() if name not in old.get(module, {})}
        for module, bundle in new.items()
    }
    return {module: bundle for module, bundle in kept.items() if bundle}


def paths_of(values: Any) -> list[str]:
    """Returns the full names of variables in a part of a snapshot."""
    return [
        variable_path(key if isinstance(key, str) else key[1], name)
        for key, bundle in values.items()
        for name in bundle
    ]


def names_here(frame: Frame) -> Names | None:
    """Returns a copy of the names handed out so far in the running scope."""
    names = frame.scope.names
    return None if names is None else names.copy()


def rewind_names(frame: Frame, names: Names | None) -> None:
    """Makes the running scope hand out names as if only `names` were taken."""
    frame.scope.names = None if names is None else names.copy()


def _join_names(a: Names | None, b: Names | None) -> Names | None:
    if a is None or b is None:
        return a or b
    counts = {
        base: max(a.counts.get(base, 0), b.counts.get(base, 0)) for base in {**a.counts, **b.counts}
    }
    return Names(a.prefix, {**a.used, **b.used}, counts)


class Lifted:
    """The pure form of `f` in `frame`: `pure(snapshot, *args, **kwargs) -> (out, snapshot)`."""

    def __init__(self, f: Callable[..., Any], frame: Frame, *, fill: bool = False):
        self._f = f
        self._frame = frame
        self._fill = fill
        self._start: tuple[Scope, Names | None] | None = None

    def __call__(self, snapshot: Snapshot, /, *args: Any, **kwargs: Any) -> tuple[Any, Snapshot]:
        frame = self._frame
        if self._start is None:
            # The first run tells where the names begin; any later one is the same run, traced
            # again.
            self._start = (frame.scope, names_here(frame))
        scope, names = self._start
        params = frame.collections["params"]
        outside = [
            (collection, collection.values, collection.initial)
            for collection in frame.collections.values()
        ]
        keys, trace_state, staging, scope_outside = (
            frame.keys,
            frame.trace_state,
            frame.staging,
            frame.scope,
        )
        key_trace, names_outside = frame.key_trace, scope.names
        try:
            if snapshot.params is not None:
                params.values = copy_bundle(snapshot.params)
            elif params.creatable and not params.writable:
                params.values = copy_bundle(params.values)  # what is made in here stays in here
            for collection, _, initial in outside:
                if collection.writable:
                    collection.values = {}
                    collection.initial = (
                        copy_bundle(initial or {}) if snapshot.initial is None else {}
                    )
            for name in {name for name, _ in snapshot.state}:
                if not writable(frame, name).writable:  # other values of what can only be read
                    frame.collections[name].values = copy_bundle(frame.collections[name].values)
            for (name, module), bundle in snapshot.state.items():
                frame.collections[name].values.setdefault(module, {}).update(bundle)
            for (name, module), bundle in (snapshot.initial or {}).items():
                writable(frame, name).initial[module] = dict(bundle)
            if frame.keys is not None:
                frame.keys = frame.keys.again(
                    frame.keys.internal_state if snapshot.keys is None else snapshot.keys
                )
            frame.trace_state = current_trace_state()
            frame.staging = is_staging(frame.trace_state)
            frame.key_trace = None
            frame.scope = scope
            scope.names = None if names is None else names.copy()
            if ambient.get()[0][-1:] == (frame,):
                out = self._f(*args, **kwargs)
            else:  # called later, by a JAX transform that runs when the frame no longer does
                with ActiveFrame(frame):
                    out = self._f(*args, **kwargs)
            if self._fill:
                fill_keys(frame)
            return out, take_snapshot(frame)
        finally:
            frame.keys, frame.trace_state, frame.staging, frame.scope = (
                keys,
                trace_state,
                staging,
                scope_outside,
            )
            frame.key_trace = key_trace
            for (
                collection
            ) in frame.collections.values():  # those that were not there before end up empty
                if collection.writable:
                    collection.values, collection.initial = {}, {}
            for collection, values, initial in outside:
                collection.values, collection.initial = values, initial
            scope.names = _join_names(names_outside, scope.names)


def lift_frame(f: Callable[..., Any], frame: Frame, *, fill: bool = False) -> Lifted:
    """Returns the pure form of `f`, a function of a snapshot of `frame` and of `f`'s arguments.

    With `fill`, the reserve of keys is full when it ends, as loops and branches need it, whose
    every step and branch has to leave as many keys.
    """
    return Lifted(f, frame, fill=fill)


def lift_changes(f: Callable[..., Any], frame: Frame) -> Callable[..., tuple[Any, Snapshot]]:
    """Returns `f` as `(out, what it changed in the frame)`.

    What it reads comes by closure, from the frame as it is when it runs. That is all that a
    transform needs which runs `f` once, and costs nothing for variables that `f` does not touch.
    """
    pure = lift_frame(f, frame)

    def closed(*args: Any, **kwargs: Any) -> tuple[Any, Snapshot]:
        before = take_snapshot(frame)
        out, after = pure(before, *args, **kwargs)
        return out, changes(before, after)

    return closed


def fill_keys(frame: Frame) -> None:
    """Brings the reserve of keys to its full size, as it has to be where a loop or branch begins and ends."""
    if frame.keys is not None:
        frame.keys.reserve_up_to_full()
