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

R = TypeVar("R")


class _Outside:
    """The lasting frame, and the lock that lets one thread at a time use it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        # Garbage is collected at any time, also while the frame is in use. So a module that ends
        # only leaves its path here.
        self.ended: deque[str] = deque()
        self.frame = _lasting_frame(0)


def _lasting_frame(seed: int) -> Frame:
    collections = {
        name: Collection(name, {}, None, creatable=True, writable=True)
        for name in ("params", "state")
    }
    keys = FrameKeys(keys_for(seed, "sequence"), "sequence")
    return Frame(collections, ByCollection(AllBut()), keys, running_init=False)


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
        while OUTSIDE.ended:
            _forget(OUTSIDE.frame, OUTSIDE.ended.popleft())
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


def forget_with(module: object, path: str) -> None:
    """Has the lasting frame drop the variables of a module once nothing refers to it."""
    weakref.finalize(module, OUTSIDE.ended.append, path)


def _forget(frame: Frame, path: str) -> None:
    ledger = frame.ledger
    paths = {path, *ledger.built.get(("below", path), ())}
    for collection in frame.collections.values():
        for own in paths:
            collection.values.pop(own, None)
    ledger.built = {place: fact for place, fact in ledger.built.items() if place[1] not in paths}
    ledger.dtypes = {
        place: dtype for place, dtype in ledger.dtypes.items() if place[0] not in paths
    }


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
