"""What a loop carries from step to step beside its own value: state, and keys."""

from collections.abc import Callable
from typing import TypeVar

from purestate._core.errors import NewVariableError
from purestate._core.frame import Frame
from purestate._core.keys import SplitFirstError
from purestate._lifted.collection_modes import Modes
from purestate._lifted.lift_frame import fill_keys
from purestate._lifted.snapshot import (
    Snapshot,
    Values,
    entries,
    new_names,
    paths_of,
    put,
    take_snapshot,
)

R = TypeVar("R")

Places = set[tuple[str, str, str]]
"""Variables, as (collection, module, name)."""

FEW = 100
"""How many variables a loop or a branch hands on without asking which of them change."""


def state_to_hand_on(frame: Frame) -> Places | None:
    """Returns an empty set for a model with so much state that a part of it has to be chosen.

    To hand a variable on costs JAX more than anything that purestate does with it. So a function
    that changes one of 50,000 is traced again with that one, and not with all.
    """
    for collection in frame.collections.values():
        modules = collection.values
        if collection.writable and (len(modules) > FEW or sum(map(len, modules.values())) > FEW):
            return set()
    return None


class _NotCarriedError(Exception):
    """A step has changed variables that the loop does not carry; nobody but `carrying` sees it."""

    def __init__(self, places: Places):
        self.places = places


def carrying(frame: Frame, modes: Modes | None, run: Callable[[Snapshot], R]) -> R:
    """Runs a loop that is given what it carries; of a large state that is what the steps change.

    Parameters are read by closure, unless they may be set.

    Args:
      frame: the running frame.
      modes: the mode of each collection; None if all state is carried.
      run: the loop, which calls `carry_on` at the end of each step.

    Returns:
      What `run` returns.
    """
    fill_keys(frame)  # Each step has to leave as many keys as it was given.
    places = state_to_hand_on(frame)
    while True:
        try:
            # Tracing a step shows which state it changes. So the first trace may be in vain.
            return run(_carried_by(frame, modes, places))
        except _NotCarriedError as missed:
            if places is None:
                raise
            places = places | missed.places
        except SplitFirstError:
            frame.keys.source.split_due()


def _carried_by(frame: Frame, modes: Modes | None, places: Places | None) -> Snapshot:
    before = take_snapshot(frame)
    values = {
        name: part for name, part in before.values.items() if frame.collections[name].writable
    }
    if places is not None:
        values = picked(values, places)
    if modes is not None:
        # A collection without variables to carry stays in the snapshot, empty: a step may not read
        # it by closure and then find that it has changed.
        values = {**{name: {} for name in values}, **modes.sort(values).get(None, {})}
    return Snapshot(values, {}, before.keys)


def picked(values: Values, places: Places) -> Values:
    """Returns the variables in some places. All collections stay."""
    found: Values = {collection: {} for collection in values}
    for collection, module, name in sorted(places):
        put(found, collection, module, name, values[collection][module][name])
    return found


def carry_on(carried: Snapshot, before: Snapshot, changed: Snapshot, after: Snapshot) -> Snapshot:
    """Returns what the next step is given; raises if the step has created variables."""
    made = paths_of(new_names(before.values, changed.values))
    if made:
        names = ", ".join(repr(path) for path in made)
        raise NewVariableError(
            f"The loop body creates {names}, which neither exists before the loop nor is created in"
            " its first step: a loop has to carry the same variables from step to step. Create it"
            " before the loop."
        )
    # Only values that a step has set are missed: what it reads is the same in each step. The
    # parameters, and other collections that are only read, are not carried at all.
    new = new_names(carried.values, changed.values)
    missed = {place[:3] for place in entries(new) if place[0] in carried.values}
    if missed:
        raise _NotCarriedError(missed)
    # JAX wants the carry back in the structure that it had: new variables would change that, and
    # those that a step did not touch are passed on.
    values = {
        store: {
            module: {name: after.values[store][module][name] for name in bundle}
            for module, bundle in modules.items()
        }
        for store, modules in carried.values.items()
    }
    return Snapshot(values, {}, after.keys)
