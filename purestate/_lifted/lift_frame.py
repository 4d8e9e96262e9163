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

from purestate._core.collection import Bundle, copy_bundle
from purestate._core.frame import ActiveFrame, Frame, Names, Scope, ambient
from purestate._core.rng import PRNGSequence
from purestate._core.trace_guard import current_trace_state, is_staging

Keys = tuple[Any, tuple[Any, ...]] | None


class Snapshot(NamedTuple):
    """What a frame holds, as a pytree. None stands for what is left as it is in the frame.

    Attributes:
      params: all parameters; None in `apply`, which only reads them.
      state: all state, as it is now.
      initial: all state, as it was first.
      keys: the state of the key sequence; None where there is none.
    """

    params: Bundle | None
    state: Bundle
    initial: Bundle | None
    keys: Keys


def take_snapshot(frame: Frame) -> Snapshot:
    """Returns what the frame holds now. Later changes to the frame do not reach it."""
    params, state = frame.collections["params"], frame.collections["state"]
    return Snapshot(
        copy_bundle(params.values) if params.creatable else None,
        copy_bundle(state.values),
        copy_bundle(state.initial or {}),
        None if frame.keys is None else frame.keys.internal_state,
    )


def restore(frame: Frame, snapshot: Snapshot) -> None:
    """Puts the values of a snapshot into the frame; what the snapshot does not have, stays."""
    params, state = frame.collections["params"], frame.collections["state"]
    if snapshot.params:
        _merge_into(params.values, snapshot.params)
    if snapshot.state:
        _merge_into(state.values, snapshot.state)
    if snapshot.initial:
        _merge_into(state.initial, snapshot.initial, only_new=True)
    if snapshot.keys is not None:
        frame.keys.replace_internal_state(snapshot.keys)


def _merge_into(into: Any, new: Bundle, *, only_new: bool = False) -> None:
    for module, bundle in new.items():
        target = into.setdefault(module, {})
        for name, value in bundle.items():
            if not (only_new and name in target):
                target[name] = value


def changes(before: Snapshot, after: Snapshot) -> Snapshot:
    """Keeps of `after` what is not the very same array in `before`."""
    same_keys = (
        before.keys is not None
        and after.keys is not None
        and before.keys[0] is after.keys[0]
        and len(before.keys[1]) == len(after.keys[1])
        and all(a is b for a, b in zip(before.keys[1], after.keys[1], strict=True))
    )
    return Snapshot(
        _new_or_none(before.params, after.params),
        _new_values(before.state, after.state),
        _new_or_none(before.initial, after.initial),
        None if same_keys else after.keys,
    )


def _new_or_none(before: Bundle | None, after: Bundle | None) -> Bundle | None:
    return after if before is None or after is None else _new_values(before, after)


def _new_values(before: Bundle, after: Bundle) -> Bundle:
    changed: Bundle = {}
    for module, bundle in after.items():
        old = before.get(module, {})
        new = {name: value for name, value in bundle.items() if name not in old or old[name] is not value}
        if new:
            changed[module] = new
    return changed


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
    counts = {base: max(a.counts.get(base, 0), b.counts.get(base, 0)) for base in {**a.counts, **b.counts}}
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
            # The first run tells where the names begin; any later one is the same run, traced again.
            self._start = (frame.scope, names_here(frame))
        scope, names = self._start
        params, state = frame.collections["params"], frame.collections["state"]
        outside = (
            params.values,
            state.values,
            state.initial,
            frame.keys,
            frame.trace_state,
            frame.scope,
            frame.staging,
        )
        names_outside = scope.names
        try:
            if snapshot.params is not None:
                params.values = copy_bundle(snapshot.params)
            elif params.creatable:
                params.values = copy_bundle(params.values)  # what is made in here stays in here
            state.values = copy_bundle(snapshot.state)
            state.initial = copy_bundle((state.initial or {}) if snapshot.initial is None else snapshot.initial)
            if snapshot.keys is not None:
                frame.keys = PRNGSequence(snapshot.keys)
            elif frame.keys is not None:
                frame.keys = PRNGSequence(frame.keys.internal_state)
            frame.trace_state = current_trace_state()
            frame.staging = is_staging(frame.trace_state)
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
            (
                params.values,
                state.values,
                state.initial,
                frame.keys,
                frame.trace_state,
                frame.scope,
                frame.staging,
            ) = outside
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
