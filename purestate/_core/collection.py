"""A collection: a named store of variables, two dicts deep."""

from collections.abc import Iterable, Mapping
from typing import Any, final

from purestate._core.errors import PurestateError

Bundle = dict[str, dict[str, Any]]


class AllBut:
    """All collections except those named, for `mutable=`.

    >>> import purestate as ps
    >>> ps.AllBut("params")
    AllBut('params')

    Args:
      *names: of collections; or one list of them.
    """

    __slots__ = ("names",)

    def __init__(self, *names: str | Iterable[str]):
        self.names = tuple(
            name for part in names for name in ((part,) if isinstance(part, str) else part)
        )

    def __contains__(self, name: object) -> bool:
        return name not in self.names

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AllBut) and set(self.names) == set(other.names)

    def __hash__(self) -> int:
        return hash(frozenset(self.names))

    def __repr__(self) -> str:
        return f"AllBut({', '.join(map(repr, self.names))})"


class Collection:
    """The variables of one kind in one frame.

    Attributes:
      name: how users call it.
      values: what reads return, `{module: {name: value}}`.
      initial: the values as they were when first created, which is what `init` returns (dm-haiku's
        rule); None for a collection whose values never change.
      creatable: whether new variables may be created.
      writable: whether variables may be set.
      given: whether `apply` was called with values for it; None means "start again".
      own: the modules whose dicts may be changed in place. Snapshots share those of all others.
    """

    __slots__ = ("creatable", "given", "initial", "name", "own", "values", "writable")

    def __init__(
        self,
        name: str,
        values: Mapping[str, Any],
        initial: Bundle | None,
        *,
        creatable: bool,
        writable: bool,
        given: bool = False,
    ):
        self.name = name
        self.values: Any = values
        self.initial = initial
        self.creatable = creatable
        self.writable = writable
        self.given = given
        self.own: set[str] = set()

    def make_own(self, module: str) -> None:
        """Copies the dicts of a module, since it is about to be changed."""
        self.values[module] = {**self.values.get(module, {})}
        if self.initial is not None and module in self.initial:
            self.initial[module] = {**self.initial[module]}
        self.own.add(module)

    @property
    def changes(self) -> bool:
        """Whether a run can change it."""
        return self.creatable or self.writable


def new_collection(name: str, *, may_change: bool = True) -> Collection:
    """Returns an empty collection."""
    return Collection(name, {}, {}, creatable=may_change, writable=may_change)


def copy_bundle(bundle: Mapping[str, Any]) -> Bundle:
    """Copies both levels of dicts; the arrays themselves are shared."""
    return {
        module: dict(variables) if isinstance(variables, Mapping) else variables
        for module, variables in bundle.items()
    }


@final
class _DoNotStore:
    """The type of `DO_NOT_STORE`."""

    def __repr__(self) -> str:
        return "DO_NOT_STORE"

    @property
    def shape(self) -> Any:
        raise _NotAnArrayError(
            "DO_NOT_STORE stands for a value that is kept nowhere, so it has no shape."
        )

    @property
    def dtype(self) -> Any:
        raise _NotAnArrayError(
            "DO_NOT_STORE stands for a value that is kept nowhere, so it has no dtype."
        )


class _NotAnArrayError(PurestateError, ValueError):
    """`DO_NOT_STORE` was used as an array."""


DO_NOT_STORE = _DoNotStore()
"""What a creator or setter returns for a variable that is to be kept in no collection.

A getter then has to supply the value each time it is read.
"""
