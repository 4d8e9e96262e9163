"""Which variables a function reads, found by running it on shapes."""

from typing import Any

from purestate._core.collection import Bundle
from purestate._core.frame import Frame
from purestate._core.observer import Observer
from purestate._core.path import variable_path
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.snapshot import Values, entries, put


class Reads(Observer):
    """Finds the variables that exist and are read, those that are set, and whether keys are drawn.

    Attributes:
      values: those that are read, as the frame holds them, by store.
      written: the full names of those that are set.
      draws: whether a key is drawn.
    """

    def __init__(self, frame: Frame):
        self._frame = frame
        self._there = {name: kept.values for name, kept in frame.collections.items()}
        self.values: Values = {}
        self.written: list[str] = []
        self.draws = False

    def read(
        self, frame: Frame, collection: str, path: str, name: str, value: Any, **known: Any
    ) -> Any:
        """Notes a variable that existed before the function ran."""
        # Others are new: the function makes them.
        store = self._frame.layout.store_of(self._frame, collection)
        there = self._there.get(store, {}).get(path, {})
        if name in there:
            put(self.values, store, path, name, there[name])
        return value

    def wrote(self, frame: Frame, collection: str, path: str, name: str, value: Any) -> None:
        """Notes a variable that is set."""
        self.written.append(variable_path(path, name))

    def drew(self) -> None:
        """Notes that a key was drawn."""
        self.draws = True


def reads_of(frame: Frame, lifted: Lifted, *args: Any, **kwargs: Any) -> Reads:
    """Returns what a function reads and draws, and leaves the frame as it was."""
    reads = Reads(frame)
    # The labels stay, so that the run that follows finds each variable in its collection.
    lifted.look(*args, observer=reads, keeps_labels=True, **kwargs)
    for store, path, name, value in entries(reads.values):
        # If a map around this one only looks ahead, its observer has one element of the variable.
        belongs = frame.layout.collection_of(frame, store, path, name)
        for observer in frame.observers:
            value = observer.read(frame, belongs, path, name, value)
        put(reads.values, store, path, name, value)
    return reads


def params_of(reads: Reads) -> Bundle:
    """Returns the parameters among the variables that were read."""
    return reads.values.get("params", {})


def names_in(bundle: Bundle) -> set[str]:
    """Returns the full names of the variables in a bundle."""
    return {variable_path(path, name) for path, variables in bundle.items() for name in variables}
