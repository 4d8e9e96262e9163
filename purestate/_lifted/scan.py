"""`scan` and `map` with bodies that use the frame."""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import LoopError, NewVariableError, kind_of
from purestate._core.frame import Frame, get_frame
from purestate._lifted.collection_modes import (
    COMBINED,
    Mode,
    Modes,
    all_values,
    check_not_written,
    check_sizes,
    combine,
    keep_values,
    sown,
    values_of_their_own,
    with_values,
)
from purestate._lifted.lift_frame import (
    Snapshot,
    Values,
    changes,
    fill_keys,
    lift_frame,
    names_here,
    new_names,
    paths_of,
    restore,
    rewind_names,
    take_snapshot,
)


def carried(frame: Frame) -> Snapshot:
    """What a loop carries from step to step: the state and the keys. Parameters it reads by closure."""
    fill_keys(frame)
    return take_snapshot(frame)._replace(params=None, initial=None)


def lift_step(f: Callable[..., Any], frame: Frame) -> Callable[..., tuple[Any, Snapshot]]:
    """Returns a step of a loop as a pure function of what the loop carries. It may make nothing new."""
    pure = lift_frame(f, frame, fill=True)

    def step(snapshot: Snapshot, *args: Any) -> tuple[Any, Snapshot]:
        out, after = pure(snapshot, *args)
        made = [
            path
            for inside, outside in (
                (after.params, frame.collections["params"].values),
                (after.state, snapshot.state),
            )
            for path in paths_of(new_names(outside, inside))
        ]
        if made:
            names = ", ".join(repr(path) for path in sorted(made))
            raise NewVariableError(
                f"The loop body makes {names}, not made before the loop or in its first step: "
                "a loop has to carry the same variables from step to step. Make them before it."
            )
        return out, after._replace(params=None, initial=None)

    return step


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    *,
    collections: Mapping[str, int | str] | None = None,
    **options: Any,
) -> tuple[Any, Any]:
    """Like `jax.lax.scan`, with a body that uses modules, state or random keys.

    The parameters are the same for all steps, the state is carried from step to step, and each step
    gets keys of its own. In `init` the first step runs outside the loop, to make the variables.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(xs):
    ...     cell = ps.Linear(2)
    ...     return ps.scan(lambda h, x: (jnp.tanh(cell(h) + x), h), jnp.zeros([2]), xs)
    >>> g = ps.transform(f)
    >>> xs = jnp.ones([5, 2])
    >>> last, hs = g.apply(g.init(jax.random.key(0), xs), None, xs)
    >>> hs.shape
    (5, 2)

    Each step with parameters of its own, as layers of a tower:

    >>> def tower(x):
    ...     return ps.scan(lambda x, _: (ps.Linear(2)(x), None), x, None, length=3, collections={"params": 0})[0]
    >>> ps.transform(tower).init(jax.random.key(0), xs)["linear"]["w"].shape
    (3, 2, 2)

    Args:
      f: `f(carry, x) -> (carry, y)`.
      init: the first carry.
      xs: a pytree of arrays `[T, ...]`, or None.
      length: T; needed where `xs` is None.
      reverse: whether to go from the last x to the first.
      unroll: how many steps to put into one turn of the loop.
      collections: `{collection: mode}`. By default state is carried ("carry"), and parameters are
        the same for all steps. With "broadcast" it is the same and not to be written; with an axis
        (an int) each step has variables of its own, slices along that axis; with "mean", "sum" or
        "first" all steps see the same, and what they write is combined so. What is sown, and
        perturbations, are stacked along axis 0.
      **options: further keywords of `jax.lax.scan`.

    Returns:
      The last carry, and the ys, stacked `[T, ...]`.

    Raises:
      FrameError: used outside a transformed function; there `jax.lax.scan` does.
      NewVariableError: a later step makes a variable that the first did not make.
      CollectionModeError: `collections` has a mode that is none, or does not fit what is done.
    """
    frame = get_frame("`ps.scan` (outside, `jax.lax.scan` does)")
    modes = Modes(frame, collections, "ps.scan", ("carry", "broadcast", *COMBINED))
    length = _num_steps(jax.tree.leaves(xs), length)
    first_y = None
    first: list[Values] = []
    names = names_here(frame)
    if frame.running_init:
        if not length:
            _, y = _pair(f(init, jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), xs)))
            return init, jax.tree.map(lambda y: jnp.zeros((0, *y.shape), y.dtype), y)
        at, rest = (-1, slice(None, -1)) if reverse else (0, slice(1, None))
        there = take_snapshot(frame)
        init, first_y = _pair(f(init, jax.tree.map(lambda x: x[at], xs)))
        first = _take_out_steps(frame, modes, there)
        first_y = jax.tree.map(lambda y: jnp.expand_dims(y, 0), first_y)
        xs = jax.tree.map(lambda x: x[rest], xs)
        length -= 1
        if not length:
            _keep_steps(frame, modes, None, first, reverse)
            return init, first_y
        rewind_names(frame, names)  # the first step is not another call, but the body's first
    step = _ScanStep(f, frame, modes)
    own = step.own(init, xs)
    check_sizes(own, length, "ps.scan")

    def body(carry: Any, x: Any) -> Any:
        carry, snapshot = carry
        x, own = x
        out, snapshot, written = step(snapshot, own, carry, x)
        carry, y = _pair(out)
        return (carry, snapshot), (y, written)

    by_step = {
        axis: jax.tree.map(lambda leaf, axis=axis: jnp.moveaxis(leaf, axis, 0), v)
        for axis, v in own.items()
    }
    start = (init, step.carried())
    (carry, snapshot), (ys, written) = jax.lax.scan(
        body, start, (xs, by_step), length, reverse, unroll, **options
    )
    restore(frame, snapshot)
    _keep_steps(frame, modes, written, first, reverse)
    if first_y is not None:
        ys = jax.tree.map(
            lambda y, ys: jnp.concatenate([ys, y] if reverse else [y, ys]), first_y, ys
        )
    return carry, ys


def _pair(out: Any) -> Any:
    """Returns what a body returned; raises if it is an array, which has two halves but is no pair."""
    if hasattr(out, "shape"):
        raise LoopError(
            f"The body of `ps.scan` has to return (carry, y), but it returned {kind_of(out)}."
        )
    return out


def _num_steps(xs: list[Any], length: Any) -> int:
    """Returns how many steps there are, along the first axis of each array; raises if they do not agree."""
    lengths: list[Any] = []
    for leaf in xs:
        try:
            lengths.append(leaf.shape[0])
        except (AttributeError, IndexError):
            what = "an array without axes" if hasattr(leaf, "shape") else kind_of(leaf)
            raise LoopError(
                f"`ps.scan` goes along the first axis of each array in xs, but xs has {what} in it."
                " What is the same in all steps the body can use as it is, from outside."
            ) from None
    if length is None and not lengths:
        raise LoopError(
            "`ps.scan` has no arrays in xs to tell the number of steps from: pass `length`."
        )
    steps = operator.index(lengths[0] if length is None else length)
    if any(size != steps for size in lengths):
        raise LoopError(
            "`ps.scan` goes along the first axis of each array in xs, all of one length, but these"
            " have the lengths "
            f"{', '.join(str(size) for size in dict.fromkeys(lengths))}{'' if length is None else f', and length={length}'}."
        )
    return steps


class _ScanStep:
    """One step as a pure function of what is carried and of the step's own variables."""

    def __init__(self, f: Callable[..., Any], frame: Frame, modes: Modes):
        self._frame = frame
        self._modes = modes
        self._pure = lift_frame(f, frame, fill=True)

    def own(self, init: Any, xs: Any) -> dict[int, Values]:
        """Returns the variables of which each step has its own slice."""

        def look(run: Callable[..., None]) -> None:
            run(init, jax.tree.map(lambda x: x[0], xs))

        return values_of_their_own(self._frame, self._modes, self._pure, look)

    def carried(self) -> Snapshot:
        """What is carried from step to step: the state that has no other mode, and the keys."""
        snapshot = carried(self._frame)
        return snapshot._replace(state=self._modes.split(snapshot.state).get(None, {}))

    def __call__(
        self, carry: Snapshot, own: dict[int, Values], *args: Any
    ) -> tuple[Any, Snapshot, Any]:
        """Returns what the step returns, what it carries on, and what it has written of other modes."""
        frame, modes = self._frame, self._modes
        before = take_snapshot(frame)
        before = with_values(frame, before, sown(frame, before.state), only=True)
        before = before._replace(
            state={**before.state, **_joined(before.state, carry.state)}, keys=carry.keys
        )
        for part in own.values():
            before = with_values(frame, before, jax.tree.map(lambda leaf: leaf, part))
        out, after = self._pure(before, *args)
        if not self._frame.running_init:
            after = after._replace(params=None)
        changed = changes(before, after)
        state = {**{("params", m): b for m, b in (changed.params or {}).items()}, **changed.state}
        by_mode = modes.split(state)
        _check_nothing_new(frame, modes, before, by_mode)
        kept = modes.split(after.state).get(None, {})
        initial = modes.split(changed.initial or {})
        written = {
            str(mode): part for mode, part in by_mode.items() if mode not in (None, "broadcast")
        }
        first = {
            str(mode): part for mode, part in initial.items() if mode not in (None, "broadcast")
        }
        return out, Snapshot(None, kept, None, after.keys), (written, first)


def _joined(old: Values, new: Values) -> Values:
    return {key: {**old.get(key, {}), **bundle} for key, bundle in new.items()}


def _check_nothing_new(
    frame: Frame, modes: Modes, before: Snapshot, written: dict[Mode, Values]
) -> None:
    carried_on = written.get(None, {})
    made = paths_of(new_names(all_values(frame, before), carried_on))
    if made:
        names = ", ".join(repr(path) for path in sorted(made))
        raise NewVariableError(
            f"The loop body makes {names}, not made before the loop or in its first step: "
            "a loop has to carry the same variables from step to step. Make them before it."
        )
    check_not_written("ps.scan", modes, written, "'carry', 'mean', 'sum', 'first' or an axis")


def _take_out_steps(frame: Frame, modes: Modes, there: Snapshot) -> list[Values]:
    """Takes what the first step, run outside the loop, has made for itself alone out of the frame.

    Returns it, and what it was first, so that it can be put before what the other steps make.
    """
    after = take_snapshot(frame)
    changed = changes(there, after)
    made = {**{("params", m): b for m, b in (changed.params or {}).items()}, **changed.state}
    own = [_of_steps(modes, values) for values in (made, changed.initial or {})]
    for key, bundle in own[0].items():
        collection = frame.collections[key[0]]
        for name in bundle:
            if name in there.state.get(key, {}):  # it was there before: steps begin with that
                collection.values[key[1]][name] = there.state[key][name]
                continue
            for values in (collection.values, collection.initial or {}):
                values.get(key[1], {}).pop(name, None)
                if not values.get(key[1], True):
                    del values[key[1]]
    return own


def _of_steps(modes: Modes, values: Values) -> Values:
    """Keeps what is neither carried nor the same for all steps."""
    found: Values = {}
    for mode, part in modes.split(values).items():
        if mode not in (None, "broadcast"):
            found.update(_joined(found, part))
    return found


def _keep_steps(
    frame: Frame, modes: Modes, written: Any, first: list[Values], reverse: bool
) -> None:
    """Puts what the steps have written for themselves, stacked or combined, into the frame."""
    parts: list[Values] = []
    for position in range(2):
        values: Values = {}
        for part in (written[position] if written else {}).values():
            values.update(_joined(values, part))
        alone: Values = first[position] if first else {}
        stacked: Values = {}
        for key in {**alone, **values}:
            for name in {**alone.get(key, {}), **values.get(key, {})}:
                ones = [
                    *(
                        [jax.tree.map(lambda x: jnp.asarray(x)[None], alone[key][name])]
                        if name in alone.get(key, {})
                        else []
                    ),
                    *([values[key][name]] if name in values.get(key, {}) else []),
                ]
                every = jax.tree.map(lambda *x: jnp.concatenate(x[::-1] if reverse else x), *ones)
                mode = modes.of(key, name)
                if isinstance(mode, int):
                    done = jax.tree.map(lambda x, mode=mode: jnp.moveaxis(x, 0, mode), every)
                else:
                    done = combine(mode, every, paths_of({key: {name: None}})[0])
                stacked.setdefault(key, {})[name] = done
        parts.append(stacked)
    keep_values(frame, *parts)


def map(f: Callable[[Any], Any], xs: Any) -> Any:  # noqa: A001 (JAX's name)
    """Like `jax.lax.map`, with a function that uses modules, state or random keys.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda xs: ps.map(ps.Linear(2), xs))
    >>> xs = jnp.ones([5, 3])
    >>> f.apply(f.init(jax.random.key(0), xs), None, xs).shape
    (5, 2)

    Args:
      f: a function of one element of `xs`.
      xs: a pytree of arrays `[T, ...]`.

    Returns:
      The results, stacked `[T, ...]`.

    Raises:
      FrameError: used outside a transformed function; there `jax.lax.map` does.
    """
    get_frame("`ps.map` (outside, `jax.lax.map` does)")

    @functools.wraps(f)
    def body(carry: Any, x: Any) -> Any:
        return carry, f(x)

    return scan(body, (), xs)[1]
