"""The ledger: facts in Python that a run leaves in its frame."""

from typing import Any


class Ledger:
    """Facts in Python that a run leaves in its frame, beside the values in its collections.

    What a function changes in its frame is either a value, which a snapshot carries through a JAX
    transform, or a fact, which stands here. A function that runs only to find out its shapes works
    on a copy (`Lifted.look`), so that it leaves nothing behind.

    Attributes:
      dtypes: {(module, name): the dtype that a parameter was first requested with}.
      labels: {(module, name): the collection of a variable}, if one state holds all collections
        and it is not plain "state".
      inner_labels: the labels of frames that ran within this one, for `lift`.
      draws: {(source of keys, module path): number of keys drawn}, for `rng_mode="path"`.
      set_up: the modules whose `set_up` has run.
      updaters: the updaters of lifted functions that have not been used yet.
      unsynced: the modules whose own layer has warned that their state differs between shards.
      recreated: the state that `apply` had to create, since it was not given it.
      built: {(kind, path, ...): what a module remembers to have built, in all of its methods}. Its
        values are never changed in place.
    """

    __slots__ = (
        "built",
        "draws",
        "dtypes",
        "inner_labels",
        "labels",
        "recreated",
        "set_up",
        "unsynced",
        "updaters",
    )

    def __init__(self) -> None:
        self.dtypes: dict[tuple[str, str], Any] = {}
        self.labels: dict[tuple[str, str], str] = {}
        self.inner_labels: list[dict[tuple[str, str], str]] = []
        self.draws: dict[tuple[int, str], int] = {}
        self.set_up: dict[int, Any] = {}
        self.updaters: dict[int, Any] = {}
        self.recreated: list[str] = []
        self.built: dict[tuple[str, ...], Any] = {}
        self.unsynced: list[str] = []

    def copy(self) -> "Ledger":
        """Returns a ledger with the same facts. Later facts of one do not reach the other."""
        new = Ledger()
        for name in Ledger.__slots__:
            setattr(new, name, getattr(self, name).copy())
        return new
