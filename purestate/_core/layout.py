"""Layouts: which store keeps the variables of a collection, and which may change."""

from typing import TYPE_CHECKING, Any

from purestate._core.collection import AllBut, Bundle, Collection, copy_bundle, new_collection
from purestate._core.errors import CollectionError, ImmutableCollectionError

if TYPE_CHECKING:
    from purestate._core.frame import Frame


class OneState:
    """One state holds all collections but the parameters: `transform` and `transform_with_state`.

    The labels in the frame's ledger say which variable belongs to which collection. A variable
    without a label is plain "state"; in `apply`, also one that no module has read yet.
    """

    __slots__ = ()
    by_collection = False

    def store(self, frame: "Frame", collection: str, path: str, name: str) -> Collection:
        """Returns the store of a variable, and notes the collection that it belongs to."""
        if collection != "state" and collection in frame.collections:
            return frame.collections[collection]
        state = frame.collections["state"]
        label = frame.ledger.labels.get((path, name))
        if label is None and collection != "state":
            # In `init` every variable that exists has a label, unless it is plain state.
            exists = frame.running_init and name in (state.initial or {}).get(path, ())
            label = "state" if exists else collection
            frame.ledger.labels[path, name] = label
        if label not in (None, collection):
            raise other_collection(path, name, collection, label)
        return state

    def find(self, frame: "Frame", collection: str, path: str, name: str) -> Collection | None:
        """Returns the store that a variable would be in; None if it cannot exist."""
        if collection in frame.collections and collection != "state":
            return frame.collections[collection]
        label = frame.ledger.labels.get((path, name))
        if label is None and frame.running_init:
            label = "state"
        return frame.collections["state"] if label in (None, collection) else None

    def collection_of(self, frame: "Frame", store: str, path: str, name: str) -> str:
        """Returns the collection that a variable in `store` belongs to."""
        return frame.ledger.labels.get((path, name), store) if store == "state" else store

    def store_of(self, frame: "Frame", collection: str) -> str:
        """Returns the name of the store that a collection is kept in."""
        return collection if collection in frame.collections else "state"

    def may_change(self, frame: "Frame", collection: str) -> bool:
        """Returns whether variables of a collection may be set."""
        return collection != "params"

    def immutable(self, frame: "Frame", where: str, collection: str) -> ImmutableCollectionError:
        """The error for a write to the parameters."""
        del frame, collection
        return ImmutableCollectionError(
            f"{where} was set, but parameters do not change under this transform. Keep values that"
            " change as state (ps.set_state), or use `ps.transform_with_collections` and"
            " `apply(variables, rng, ..., mutable=['params'])`."
        )

    def sowing(self) -> tuple[str, ...]:
        """Returns the collections that `apply` itself returns sown values of."""
        return ()

    def initialized(self, given: dict[str, Bundle]) -> dict[str, Collection]:
        """Returns the collections that `init` begins with, with some values in them."""
        params, state = given.get("params", {}), copy_bundle(given.get("state", {}))
        return {
            "params": Collection("params", params, None, creatable=True, writable=False),
            "state": Collection("state", state, {}, creatable=True, writable=True),
        }

    def for_init(self) -> "OneState":
        """Returns the layout that `init` has."""
        return self


class ByCollection:
    """Each collection is kept by itself: `transform_with_collections`.

    Attributes:
      mutable: the names of the collections that may change.
    """

    __slots__ = ("mutable",)
    by_collection = True

    def __init__(self, mutable: AllBut | tuple[str, ...]):
        self.mutable = mutable

    def store(self, frame: "Frame", collection: str, path: str, name: str) -> Collection:
        """Returns the store of a variable."""
        if collection not in frame.collections:
            may_change = collection in self.mutable
            frame.collections[collection] = new_collection(collection, may_change=may_change)
        return frame.collections[collection]

    def find(self, frame: "Frame", collection: str, path: str, name: str) -> Collection | None:
        """Returns the store that a variable would be in; None if it cannot exist."""
        return frame.collections.get(collection)

    def collection_of(self, frame: "Frame", store: str, path: str, name: str) -> str:
        """Returns the collection that a variable in `store` belongs to."""
        return store

    def store_of(self, frame: "Frame", collection: str) -> str:
        """Returns the name of the store that a collection is kept in."""
        return collection

    def may_change(self, frame: "Frame", collection: str) -> bool:
        """Returns whether variables of a collection may be set."""
        return collection in self.mutable

    def immutable(self, frame: "Frame", where: str, collection: str) -> ImmutableCollectionError:
        """The error for a write to a collection that may not change."""
        import difflib  # here, since only errors need it

        asked = [str(name) for name in self.mutable] if isinstance(self.mutable, tuple) else []
        near = difflib.get_close_matches(collection, asked, n=1)
        given = self.mutable if isinstance(self.mutable, AllBut) else (asked or False)
        hint = f" Is {near[0]!r} meant to be {collection!r}?" if near else ""
        return ImmutableCollectionError(
            f"{where} was set, but `apply` was called with mutable={given}.{hint} To change and"
            f" return it, call `apply(variables, rng, ..., mutable=[{collection!r}])`."
        )

    def sowing(self) -> AllBut | tuple[str, ...]:
        """Returns the collections that `apply` itself returns sown values of."""
        return self.mutable

    def initialized(self, given: dict[str, Bundle]) -> dict[str, Collection]:
        """Returns the collections that `init` begins with, with some values in them."""
        names = {"params": None, "state": None, **given}
        return {
            name: Collection(
                name, copy_bundle(given.get(name, {})), {}, creatable=True, writable=True
            )
            for name in names
        }

    def for_init(self) -> "ByCollection":
        """Returns the layout that `init` has."""
        return ByCollection(AllBut())


def other_collection(path: str, name: str, asked: str, label: Any) -> CollectionError:
    """The error for a variable that is requested in a collection that it does not belong to."""
    return CollectionError(
        f"{name!r} of {path!r} is in the collection {label!r}, but was requested in {asked!r}. A"
        " module has one variable of a name: use the same collection in both places"
        f" (`ps.get_state({name!r}, collection={label!r})`), or give one of them another name."
    )
