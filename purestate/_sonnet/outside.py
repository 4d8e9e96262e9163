"""The frame of modules that are made outside a transformed function, as Sonnet's users write it.

A run of `init` or `apply` has a frame that ends with it. This one lasts: it holds the variables of
all modules made outside. A module drops its own when nothing refers to it any more.
"""

import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from purestate._core.collection import AllBut, Collection
from purestate._core.failures import as_call_error
from purestate._core.frame import ActiveFrame, Frame, FrameKeys, ambient
from purestate._core.keys import keys_for
from purestate._core.layout import ByCollection
from purestate._core.path import outer_path, split_number
from purestate._core.scope import Names

R = TypeVar("R")
Place = tuple[str, str | None]
"""The path of a module and the name of a variable; None for the whole module."""


class _Outside:
    """The lasting frame, and the lock that lets one thread at a time use it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        # Garbage is collected at any time, also while the frame is in use. So a module that ends
        # only leaves its path here.
        self.ended: deque[Place] = deque()
        # What has a place now. If JAX traces a function twice, a second module may take the path of
        # a first one, which then ends.
        self.alive: weakref.WeakValueDictionary[Place, Any] = weakref.WeakValueDictionary()
        # The paths of modules without the numbers of equal names; see `copying`.
        self.plain_names: dict[str, str] = {}
        self.frame = _lasting_frame(0)


def _lasting_frame(seed: int) -> Frame:
    collections = {
        name: Collection(name, {}, None, creatable=True, writable=True)
        for name in ("params", "state")
    }
    keys = FrameKeys(keys_for(seed, "sequence"), "sequence")
    frame = Frame(collections, ByCollection(AllBut()), keys, running_init=False)
    frame.given = None  # no run has made its modules before, so each new one is another one
    return frame


OUTSIDE = _Outside()


@contextlib.contextmanager
def in_a_frame(frame: Frame | None = None) -> Generator[Frame]:
    """Uses the frame that is running, or else that of modules made outside.

    Args:
      frame: the frame that is meant; if it is not the lasting one, nothing is entered for it.

    Yields:
      The innermost frame.
    """
    frames = ambient.get()[0]
    if frames or frame not in (None, OUTSIDE.frame):
        yield frames[-1] if frames else OUTSIDE.frame
        return
    with _entered() as lasting:
        yield lasting


@contextlib.contextmanager
def _entered() -> Generator[Frame]:
    """Makes the lasting frame the innermost one, without the variables of modules that ended."""
    with OUTSIDE.lock:
        if OUTSIDE.ended:
            _forget_ended(OUTSIDE.frame)
        with ActiveFrame(OUTSIDE.frame):
            yield OUTSIDE.frame


def run_outside(f: Callable[..., R], args: Any, kwargs: Any) -> R:
    """Runs a function in the lasting frame; an error of JAX or Python names module and call."""
    with _entered():
        try:
            return f(*args, **kwargs)
        except Exception as error:
            ours = as_call_error(error, args, kwargs)
            if ours is None:
                raise
            raise ours.with_traceback(error.__traceback__) from error.__cause__


def forget_with(owner: object, path: str, name: str | None = None) -> None:
    """Has the lasting frame drop variables once nothing refers to their owner.

    Args:
      owner: a module, a variable of no module, or what copies of modules share.
      path: the path of the module.
      name: the name of the variable; None for all of the module.
    """
    OUTSIDE.alive[path, name] = owner
    weakref.finalize(owner, OUTSIDE.ended.append, (path, name)).atexit = False


def _forget_ended(frame: Frame) -> None:
    """Drops values and facts of all modules and variables that ended since the last use."""
    modules: set[str] = set()
    while OUTSIDE.ended:
        path, name = OUTSIDE.ended.popleft()
        if (path, name) in OUTSIDE.alive:
            continue
        if name is None:
            modules.add(path)
        else:
            _forget_variable(frame, path, name)
    if modules:
        _forget_modules(frame, modules)


def _forget_variable(frame: Frame, path: str, name: str) -> None:
    for collection in frame.collections.values():
        if name in collection.values.get(path, ()):
            collection.make_own(path)
            del collection.values[path][name]
    ledger, place = frame.ledger, ("variables", path)
    ledger.dtypes.pop((path, name), None)
    taken: dict[str, int] = ledger.built.get(place, {})
    ledger.built[place] = {key: number for key, number in taken.items() if key != name}


def _forget_modules(frame: Frame, paths: set[str]) -> None:
    ledger = frame.ledger
    paths |= {below for path in paths for below in ledger.built.get(("below", path), ())}
    for path in paths:
        OUTSIDE.plain_names.pop(path, None)
        for collection in frame.collections.values():
            collection.values.pop(path, None)
            collection.own.discard(path)
        names = ledger.built.get(("names", outer_path(path)), frame.scope.names)
        if names is not None:
            names.used.pop(path, None)
    ledger.built = {at: fact for at, fact in ledger.built.items() if at[1] not in paths}
    ledger.dtypes = {at: dtype for at, dtype in ledger.dtypes.items() if at[0] not in paths}


def paths_taken(frame: Frame) -> set[str]:
    """Returns the paths that modules have taken."""
    everywhere = [fact for place, fact in frame.ledger.built.items() if place[0] == "names"]
    everywhere += [] if frame.scope.names is None else [frame.scope.names]
    return {path for names in everywhere for path in names.used}


def take_names(frame: Frame, paths: set[str]) -> None:
    """Takes paths that were given back although their modules stayed, held by an attribute."""
    for path in paths:
        if (path, None) in OUTSIDE.alive:
            base, number = split_number(path)
            _names_in(frame, outer_path(path)).take(path, base, number or 0)


def _names_in(frame: Frame, path: str) -> Names:
    """Returns the names handed out in a module, to be changed; "" is outside any."""
    if not path:
        frame.scope.names = frame.scope.names or Names("")
        return frame.scope.names
    names = frame.ledger.built.get(("names", path))
    new = frame.ledger.built["names", path] = Names(f"{path}/") if names is None else names.copy()
    return new


def set_seed(seed: Any) -> None:
    """Sets the random key of modules that are made outside a transformed function.

    They draw their keys from one sequence, which begins with seed 0. Inside a transformed function
    keys come from the `rng` given to `init` and `apply`.

    >>> import purestate.sonnet as snt
    >>> snt.set_seed(42)

    Args:
      seed: an int or a key.
    """
    with OUTSIDE.lock:
        OUTSIDE.frame.keys.source = keys_for(seed, "sequence")
