"""`scan` and `map` with bodies that use the frame."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from purestate._core.errors import LoopError, kind_of
from purestate._core.frame import Frame, get_frame
from purestate._core.path import variable_path
from purestate._lifted.carried import carry_on, carrying
from purestate._lifted.checkpointed import scan_in_segments, segment_size
from purestate._lifted.collection_modes import COMBINED, Modes, combine
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.mapped import Own, elements, slices_read, sown_by_runs, with_own
from purestate._lifted.sizes import num_steps
from purestate._lifted.snapshot import (
    Snapshot,
    Values,
    changes,
    entries,
    keep,
    merged,
    put,
    take_snapshot,
    without,
)

Carry = TypeVar("Carry")
X = TypeVar("X")
Y = TypeVar("Y")


def scan(
    f: "Callable[[Carry, X], tuple[Carry, Y]]",
    init: Carry,
    xs: X,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    *,
    collections: Mapping[str, int | str] | None = None,
    checkpoint: bool | int = False,
    **options: Any,
) -> "tuple[Carry, Y]":
    """Like `jax.lax.scan`, with a body that uses modules, state or random keys.

    The parameters are the same for all steps, the state is carried from step to step, and each step
    gets keys of its own. In `init` the first step runs outside the loop, to create the variables.

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
    ...     layer = lambda x, _: (ps.Linear(2)(x), None)
    ...     return ps.scan(layer, x, None, length=3, collections={"params": 0})[0]
    >>> ps.transform(tower).init(jax.random.key(0), xs)["linear"]["w"].shape
    (3, 2, 2)

    Args:
      f: `f(carry, x) -> (carry, y)`.
      init: the first carry.
      xs: a pytree of arrays `[T, ...]`, or None.
      length: T; needed if `xs` is None.
      reverse: whether to go from the last x to the first.
      unroll: how many steps to put into one turn of the loop.
      collections: `{collection: mode}`. By default state is carried ("carry"), and parameters are
        the same for all steps. With "broadcast" all steps see the same values, and may not write;
        with an axis (an int) each step has variables of its own, slices along that axis; with
        "mean", "sum", "max", "min" or "first" all steps see the same values, and what they write is
        combined. Sown values and perturbations are stacked along axis 0.
      checkpoint: whether the gradient keeps only the carry before each segment of about sqrt(T)
        steps, and computes the steps again; an int is the number of steps in a segment. The segment
        that is computed again is stored step by step; `scan(remat(f), ...)` stores only its
        carries.
      **options: further keywords of `jax.lax.scan`.

    Returns:
      The last carry, and the ys, stacked `[T, ...]`.

    Raises:
      FrameError: used outside a transformed function; use `jax.lax.scan` there.
      LoopError: `xs` and `length` do not fit together, or `checkpoint` is invalid.
      NewVariableError: a later step creates a variable that the first one did not create.
      CollectionModeError: `collections` has an unknown mode, or one that does not fit the values.
    """
    frame = get_frame("`ps.scan` (outside, `jax.lax.scan` does)")
    modes = Modes(frame, collections, "ps.scan", ("carry", "broadcast", *COMBINED))
    length = num_steps(jax.tree.leaves(xs), length)
    # 1. What each step gets: its x, and its own slices of variables.
    step = _Step(f, frame, modes)
    each = step.inputs(init, xs, length)
    # 2. In `init`, the variables.
    first: list[_Written] = []
    first_y: Any = None
    if frame.running_init:
        # The first step runs outside the loop: it creates the variables, which a loop only carries.
        if not length:
            return init, step.without_steps(init, xs)
        at, rest = (-1, slice(None, -1)) if reverse else (0, slice(1, None))
        init, first_y, written = step.first(init, jax.tree.map(lambda leaf: leaf[at], each))
        first.append(written)
        first_y = jax.tree.map(lambda y: jnp.expand_dims(y, 0), first_y)
        if length == 1:
            step.keep_own(first, reverse)
            return init, first_y
        each = jax.tree.map(lambda leaf: leaf[rest], each)
        length -= 1
    # 3. The loop. Each step has to carry on as many keys as it was given.
    step.lifted.fills = True
    start = init
    # If `each` has arrays, JAX takes their length, which may be symbolic (`jax.export`).
    steps = None if jax.tree.leaves(each) else length
    if checkpoint is False:
        run = functools.partial(jax.lax.scan, length=steps, unroll=unroll)
    else:
        size = segment_size(checkpoint, length, "ps.scan")
        run = functools.partial(scan_in_segments, length=length, size=size, unroll=unroll)
    (carry, carried), (ys, written, sown) = carrying(
        frame, modes, lambda carried: run(step, (start, carried), each, reverse=reverse, **options)
    )
    # 4. What was carried goes back into the frame; what each step wrote for itself is stacked,
    #    behind that of the first step, or before it if the loop ran in reverse.
    keep(frame, carried, sown_by_runs(modes, sown))
    step.keep_own([*first, written], reverse)
    if first:
        both = [ys, first_y] if reverse else [first_y, ys]
        ys = jax.tree.map(lambda *parts: jnp.concatenate(parts), *both)
    return carry, ys


class _Inputs(NamedTuple):
    """What each step gets, with the steps along the first axis of every array.

    Attributes:
      x: the element of xs.
      own: the step's own slices of variables, by the axis that they have in the frame.
      index: the number of the step, if keys depend on it.
    """

    x: Any
    own: Own
    index: Any


class _Written(NamedTuple):
    """What steps have written that is neither carried nor the same for all.

    Attributes:
      values: the values.
      initial: the values as they were when first created.
    """

    values: Values
    initial: Values


class _Step:
    """One step, as a pure function of the carry and of the step's own variables."""

    def __init__(self, f: Callable[..., Any], frame: Frame, modes: Modes):
        self._frame = frame
        self._modes = modes
        self.lifted = Lifted(f, frame)

    def inputs(self, init: Any, xs: Any, length: int) -> _Inputs:
        """Returns what the steps get."""
        frame, modes = self._frame, self._modes
        # The look needs an x of one step; its shape is all that is known of it before the loop.
        x = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), xs)
        own = slices_read(
            frame, self.lifted, modes, lambda run: lambda before, x: run(before, init, x), x
        )
        modes.check_sizes(own, length)
        # `jax.lax.scan` slices along the first axis only.
        by_step = {
            axis: jax.tree.map(lambda leaf, axis=axis: jnp.moveaxis(leaf, axis, 0), part)
            for axis, part in own.items()
        }
        # Keys by path do not change from step to step, so the number of the step has to.
        counts = modes.has_own() and frame.keys.mode == "path" and frame.keys.source is not None
        return _Inputs(xs, by_step, jnp.arange(length) if counts else None)

    def _run(self, carried: Snapshot | None, carry: Any, each: _Inputs) -> Any:
        # Variables come from three places: read by closure, carried, and the step's own slices.
        before = take_snapshot(self._frame)
        if carried is not None:
            values = merged(before.values, carried.values)
            before = before._replace(values=values, keys=carried.keys)
        before = with_own(self._frame, before, each.own)
        index = None if each.index is None else lambda: each.index
        with elements(self._frame, self._modes, each.own, index):
            out, after, sown = self.lifted.run(before, carry, each.x)
        carry, y = _pair(out)
        changed = changes(before, after)
        self._modes.check_not_written(before, changed)
        return carry, y, before, changed, after, sown

    def __call__(self, carry: Any, each: _Inputs) -> Any:
        """Runs one step of the loop."""
        carry, carried = carry
        carry, y, before, changed, after, sown = self._run(carried, carry, each)
        by_mode = self._modes.sort(changed.values)
        # Only what all steps share is carried. The rest leaves the loop with y, stacked by it.
        shared = changed._replace(values=by_mode.get(None, {}))
        carried = carry_on(carried, before, shared, after)
        return (carry, carried), (y, self._own(changed), sown)

    def _own(self, changed: Snapshot) -> _Written:
        """Picks the values that are neither carried nor the same for all steps."""
        parts: list[Values] = [{}, {}]
        for i, values in enumerate((changed.values, changed.initial)):
            for mode, part in self._modes.sort(values).items():
                if mode not in (None, "broadcast"):
                    parts[i] = merged(parts[i], part)
        return _Written(parts[0], parts[1])

    def first(self, carry: Any, each: _Inputs) -> tuple[Any, Any, _Written]:
        """Runs the first step outside the loop; keeps what all steps share in the frame."""
        carry, y, _, changed, _, _ = self._run(None, carry, each)
        # The first step has variables of its own like any other: they wait for those of the loop.
        own = self._own(changed)
        shared = [
            {store: part for store, part in without_own.items() if part}
            for without_own in (
                without(changed.values, own.values),
                without(changed.initial, own.initial),
            )
        ]
        keep(self._frame, Snapshot(shared[0], shared[1], changed.keys))
        return carry, y, jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], own)

    def without_steps(self, init: Any, xs: Any) -> Any:
        """Runs one step on zeros, to create the variables of a loop that runs none."""
        x = jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), xs)
        index = jnp.zeros([], jnp.int32) if self._frame.keys.mode == "path" else None
        # A loop of no steps has variables all the same, as dm-haiku's has; their values come from
        # keys and not from x. Variables that each step has for itself have size 0 along the axis of
        # steps.
        _, y, own = self.first(init, _Inputs(x, {}, index))
        self.keep_own([jax.tree.map(lambda leaf: leaf[:0], own)], reverse=False)
        return jax.tree.map(lambda y: jnp.zeros((0, *y.shape), y.dtype), y)

    def keep_own(self, parts: list[_Written], reverse: bool) -> None:
        """Puts what the steps have written for themselves into the frame, stacked or combined.

        Args:
          parts: of the first step, if it ran outside the loop, and of the loop.
          reverse: whether the first step has the last x.
        """
        done: list[Values] = []
        for i in range(2):
            values: Values = {}
            for store, module, name, _ in entries(parts[-1][i]):
                ones = [part[i][store][module][name] for part in parts]
                every = jax.tree.map(lambda *x: jnp.concatenate(x[::-1] if reverse else x), *ones)
                mode = self._modes.of(store, module, name)
                if isinstance(mode, int):
                    every = jax.tree.map(lambda x, to=mode: jnp.moveaxis(x, 0, to), every)
                else:
                    every = combine(mode, every, variable_path(module, name))
                put(values, store, module, name, every)
            done.append(values)
        keep(self._frame, Snapshot(done[0], done[1], None))


def _pair(out: Any) -> Any:
    """Returns what a body returned; raises if it is an array, which unpacks but is not a pair."""
    # An array of length two would unpack without an error, into a wrong carry and a wrong y.
    if hasattr(out, "shape"):
        raise LoopError(
            f"The body of `ps.scan` has to return (carry, y), but it returned {kind_of(out)}."
        )
    return out


def map(f: "Callable[[X], Y]", xs: X) -> Y:  # noqa: A001 (JAX's name)
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
