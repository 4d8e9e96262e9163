"""A function with side effects on the frame, as a pure function of what the frame holds.

    snapshot  ->  pure function  ->  keep what it changed

JAX transforms want pure functions. `Lifted(f, frame).run(snapshot, ...)` returns `(out, snapshot,
sown)`: it puts the snapshot's values into the frame, runs `f`, takes a new snapshot, and puts back
what was there. Whoever called JAX with it then keeps what came out, with `keep`.

What `f` can change is either a value, which is in the snapshot, or a fact in Python: a name that is
taken, an entry in the frame's ledger. JAX may trace `run` as often as it likes. Each run hands out
names from the same start, so that it finds the same variables, and leaves them taken, so that what
comes after is named as if `f` had been called plainly. `look` runs `f` on shapes only, and undoes
the facts as well.
"""

import contextlib
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import jax

from purestate._core.collection import Collection
from purestate._core.config import get_config
from purestate._core.frame import ActiveFrame, Frame, FrameKeys, ambient, current_home
from purestate._core.observer import Observer
from purestate._core.scope import Names, Scope, after_lifting, joined
from purestate._core.sown import SownValues
from purestate._lifted.snapshot import Snapshot, changes, collection_in, take_snapshot


def names_here(frame: Frame) -> Names | None:
    """Returns a copy of the names handed out so far in the running scope."""
    names = frame.scope.names
    return None if names is None else names.copy()


def rewind_names(frame: Frame, names: Names | None) -> None:
    """Makes the running scope hand out names as if only `names` were taken."""
    frame.scope.names = None if names is None else names.copy()


def fill_keys(frame: Frame) -> None:
    """Brings the reserve of keys to its full size, which a loop or branch needs at its start."""
    if frame.keys.source is not None:
        frame.keys.source.reserve_up_to_full()


class _Start(NamedTuple):
    """The facts with which each run of a lifted function begins."""

    scope: Scope
    names: Names | None
    draws: dict[Any, int]
    built: dict[tuple[str, ...], Any]


class Lifted:
    """The pure form of a function in a frame.

    Args:
      f: the function.
      frame: the frame.
      fills: whether the reserve of keys is full when it ends. Loops and branches need this: each
        step and branch has to leave as many keys.
      names_stay: whether dm-haiku, too, keeps the names of modules made inside taken afterwards.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        frame: Frame,
        *,
        fills: bool = False,
        names_stay: bool = False,
    ):
        self._f = f
        self._frame = frame
        self.fills = fills
        self._names_stay = names_stay
        self._start: _Start | None = None

    def run(
        self, snapshot: Snapshot, /, *args: Any, **kwargs: Any
    ) -> tuple[Any, Snapshot, SownValues]:
        """Runs the function on a snapshot; returns its result, a snapshot, and what it sowed."""
        frame = self._frame
        if self._start is None:
            # Names begin where the first run begins. Any later run is the same one, traced again.
            ledger = frame.ledger
            self._start = _Start(
                frame.scope, names_here(frame), ledger.draws.copy(), ledger.built.copy()
            )
        scope, names, draws, built = self._start
        # `finally` puts back whatever is swapped here. It is the same frame inside: a copy
        # would end the names that go on, and the handles of variables.
        outside = (frame.collections, frame.keys, frame.home, frame.scope, frame.sown)
        names_outside, draws_outside = scope.names, frame.ledger.draws
        built_outside = frame.ledger.built
        try:
            frame.collections = _collections(frame, snapshot)
            frame.keys = _keys(frame.keys, snapshot.keys)
            to_fill = frame.keys.source if self.fills else None
            start = None if to_fill is None else to_fill.state
            # Tracers of the JAX transform are at home here, and what they make may be kept.
            frame.home = current_home()
            frame.scope = scope
            # Values sown inside are an output of the pure function, so they go to a record of
            # their own.
            frame.sown = None if frame.sown is None else frame.sown.nested()
            scope.names = None if names is None else names.copy()
            frame.ledger.draws = draws.copy()
            frame.ledger.built = built.copy()
            if ambient.get()[0][-1:] == (frame,):
                out = self._f(*args, **kwargs)
            else:  # called by a JAX transform that runs after the frame has ended
                with ActiveFrame(frame):
                    out = self._f(*args, **kwargs)
            if to_fill is not None:
                to_fill.refill(start)
            return out, take_snapshot(frame), {} if frame.sown is None else frame.sown.values
        finally:
            frame.collections, frame.keys, frame.home, frame.scope, frame.sown = outside
            # Facts in Python, which JAX does not hand out: names stay taken, and draws stay
            # counted, as if the function had been called plainly.
            scope.names = self._names_after(names_outside, scope.names)
            for where, count in draws_outside.items():
                frame.ledger.draws[where] = max(count, frame.ledger.draws.get(where, 0))
            frame.ledger.built = {**built_outside, **frame.ledger.built}

    def _names_after(self, before: Names | None, inside: Names | None) -> Names | None:
        if self._names_stay:
            return joined(before, inside)
        if get_config().lifted_names == "haiku":
            return before
        return after_lifting(before, inside)

    def changing(self, *args: Any, **kwargs: Any) -> tuple[Any, Snapshot, SownValues]:
        """Runs the function on what the frame holds; returns its result, and what it changed.

        What it reads comes by closure. A transform that runs the function once needs no more, and
        variables that the function does not touch cost nothing.
        """
        before = take_snapshot(self._frame)
        out, after, sown = self.run(before, *args, **kwargs)
        return out, changes(before, after), sown

    def look(
        self,
        *args: Any,
        observer: Observer | None = None,
        through: Callable[..., Any] | None = None,
        keeps_names: bool = False,
        keeps_labels: bool = False,
        with_result: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Runs the function on shapes only, and leaves the frame as it was: the only abstract run.

        Args:
          *args: for the function.
          observer: sees the variables that it reads and sets.
          through: `through(run)(snapshot, *args)` runs it under a JAX transform; `run` has the same
            arguments. None runs it plainly, on what the frame holds.
          keeps_names: whether the names that it makes stay taken, for a branch after which JAX
            traces another one.
          keeps_labels: whether it stays known which collections the variables belong to that it
            reads, for a run that follows.
          with_result: whether to return the shapes of its result as well. If not, the result may be
            anything, and not only arrays.
          **kwargs: for the function.

        Returns:
          The shapes of what it sows; with `with_result`, of `(out, sown)`.
        """
        before = take_snapshot(self._frame)

        def run(before: Snapshot, /, *args: Any, **kwargs: Any) -> Any:
            out, _, sown = self.run(before, *args, **kwargs)
            return (out, sown) if with_result else sown

        with (
            self._leaving_keys(),
            self.undone(observer, keeps_names=keeps_names, keeps_labels=keeps_labels),
        ):
            if through is None:
                return jax.eval_shape(lambda *a, **k: run(before, *a, **k), *args, **kwargs)
            run_through = through(run)
            # By closure, since JAX would look at each variable of the model.
            return jax.eval_shape(lambda *a, **k: run_through(before, *a, **k), *args, **kwargs)

    @contextlib.contextmanager
    def _leaving_keys(self) -> Generator[None]:
        """Leaves the reserve of keys as it is at the end of a run, which a look drops."""
        fills, self.fills = self.fills, False
        try:
            yield
        finally:
            self.fills = fills

    @contextlib.contextmanager
    def undone(
        self,
        observer: Observer | None = None,
        *,
        keeps_names: bool = False,
        keeps_labels: bool = False,
    ) -> Generator[None]:
        """Undoes what runs inside a `with` block leave: names, and facts in the ledger.

        Args:
          observer: sees the variables that they read and set.
          keeps_names: see `look`.
          keeps_labels: see `look`.

        Yields:
          None.
        """
        frame, start = self._frame, self._start
        ledger, observers, names = frame.ledger, frame.observers, names_here(frame)
        # Facts go to a copy of the ledger, which is dropped. Observers may add to what they see, so
        # the one of this look comes last.
        frame.ledger = ledger.copy()
        frame.observers = observers if observer is None else (*observers, observer)
        try:
            yield
        finally:
            if keeps_names:
                ledger.draws, ledger.built = frame.ledger.draws, frame.ledger.built
            else:
                self._start = start
                rewind_names(frame, names)
            # The mode of a variable goes by its collection, and under `transform_with_state` only
            # the call that reads it says which that is. The look has heard it before the run does.
            if keeps_labels:
                state = frame.collections["state"].values
                for (module, name), label in frame.ledger.labels.items():
                    if name in state.get(module, ()):
                        ledger.labels[module, name] = label
            frame.ledger, frame.observers = ledger, observers


def _collections(frame: Frame, snapshot: Snapshot) -> dict[str, Collection]:
    """Returns the collections for a run: of the snapshot, or of the frame if absent there."""
    inside: dict[str, Collection] = {}
    for name in {**frame.collections, **snapshot.values}:
        kept = collection_in(frame, name)
        if name not in snapshot.values and not kept.changes:
            # No copy of what cannot change: parameters are the most, and `vmap` runs this for each
            # call.
            inside[name] = kept  # only read
            continue
        inside[name] = Collection(
            name,
            dict(snapshot.values[name] if name in snapshot.values else kept.values),
            None if kept.initial is None else dict(snapshot.initial.get(name, kept.initial)),
            creatable=kept.creatable,
            writable=kept.writable,
            given=kept.given,
        )
    return inside


def _keys(keys: FrameKeys, state: Any) -> FrameKeys:
    source = keys.source
    if source is not None:
        source = source.again(source.state if state is None else state)
    return FrameKeys(source, keys.mode)
