"""Observers: how `specs`, `check` and looks of transforms see what a run does."""

import contextlib
from collections.abc import Generator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from purestate._core.frame import Frame


class Observer:
    """Sees what a run does. A subclass overrides what it wants to see.

    An observer is notified of new frames while it is in `observing`. It sees the variables and keys
    of a frame once it has added itself to `frame.observers`. A plain run has no observers, and
    calls nothing.
    """

    def began(self, frame: "Frame") -> None:
        """Sees a new frame."""

    def read(
        self, frame: "Frame", collection: str, path: str, name: str, value: Any, **known: Any
    ) -> Any:
        """Sees a variable that is read or created; returns the value that the reader gets.

        Args:
          frame: the running frame.
          collection: the collection of the variable.
          path: the path of its module.
          name: its name.
          value: its value, before any getter.
          **known: what the reader said of it: `init`, `trainable`, `axes`.

        Returns:
          The value, or another in its place.
        """
        return value

    def wrote(self, frame: "Frame", collection: str, path: str, name: str, value: Any) -> None:
        """Sees a variable that is set."""

    def froze(self, path: str, name: str) -> None:
        """Sees a parameter that `ps.freeze` cuts off from the gradient."""

    def drew(self) -> None:
        """Sees that one random key was drawn."""


observing: ContextVar[tuple[Observer, ...]] = ContextVar("purestate_observing", default=())
"""The observers that are notified of new frames."""


@contextlib.contextmanager
def observe(observer: Observer, *, alone: bool = False) -> Generator[None]:
    """Notifies an observer of the frames that begin inside a `with` block.

    Args:
      observer: the observer.
      alone: whether those around it do not see these frames.

    Yields:
      None.
    """
    token = observing.set((observer,) if alone else (*observing.get(), observer))
    try:
        yield
    finally:
        observing.reset(token)
