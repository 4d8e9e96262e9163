"""`while_loop` and `fori_loop` with bodies that use the frame."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax.typing import ArrayLike

from purestate._core.errors import LoopError
from purestate._core.frame import Frame, get_frame
from purestate._core.sown import SownValues, carried_on, start_of_loop
from purestate._lifted.carried import carry_on, carrying
from purestate._lifted.checkpointed import bounded_while, segment_size
from purestate._lifted.lift_frame import Lifted, names_here, rewind_names
from purestate._lifted.snapshot import Snapshot, changes, keep, merged, take_snapshot

A = TypeVar("A")


def while_loop(
    cond_fun: "Callable[[A], ArrayLike]",
    body_fun: "Callable[[A], A]",
    init_val: A,
    *,
    max_steps: int | None = None,
    checkpoint: bool | int = True,
) -> A:
    """Like `jax.lax.while_loop`, with a body that uses modules, state or random keys.

    A loop may run no step at all, so it cannot make variables: in `init`, call the body directly.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     net = ps.Linear(1)
    ...     if ps.running_init():
    ...         return net(x)
    ...     return ps.while_loop(lambda x: x.sum() > 1e-3, lambda x: abs(net(x)) / 9, x)
    >>> g = ps.transform(f)
    >>> x = jnp.ones([1, 1])
    >>> bool(g.apply(g.init(jax.random.key(0), x), None, x).sum() <= 1e-3)
    True

    With `max_steps` it has a gradient in reverse mode:

    >>> def halved(x):
    ...     step = lambda x: x / 2
    ...     return ps.while_loop(lambda x: x > 1, step, x, max_steps=100)
    >>> float(jax.grad(lambda x: ps.transform(halved).apply({}, None, x))(6.0))
    0.125

    Args:
      cond_fun: whether to go on; may read the frame, but not change it.
      body_fun: one step.
      init_val: what the first step is given.
      max_steps: the loop ends after this many steps in any case. Under `vmap` each element runs
        them all.
      checkpoint: with `max_steps`, the value before each segment of about sqrt(max_steps) steps is
        kept for the gradient, and the rest is computed again. An int is the number of steps in a
        segment. False keeps the value before each step, which is faster.

    Returns:
      What the last step returned.

    Raises:
      FrameError: used outside a transformed function; there `jax.lax.while_loop` does.
      LoopError: used in `init`; `cond_fun` changes state or draws keys; or `max_steps` or
        `checkpoint` is invalid.
      NewVariableError: the body makes a variable.
    """
    frame = get_frame("`ps.while_loop` (outside, `jax.lax.while_loop` does)")
    if frame.running_init:
        raise LoopError(
            "`ps.while_loop` cannot create variables, since it may run no step at all. In `init`,"
            " run the body once instead: `val = body(val) if ps.running_init() else"
            " ps.while_loop(cond, body, val)`."
        )
    # Checked before the body is traced, so that the error comes first.
    size = None
    if max_steps is not None:
        size = segment_size(checkpoint or True, max_steps, "ps.while_loop")
    loop = _Loop(body_fun, frame)
    condition = Lifted(cond_fun, frame)

    # JAX runs the condition once more than the body. A change would be applied a different number
    # of times than a reader of the program expects, so there may be none.
    def pure_condition(carry: Any) -> Any:
        value, snapshot, _ = carry
        before = loop.start(snapshot)
        out, after, _ = condition.run(before, value)
        changed = changes(before, after)
        if any(changed.values.values()) or changed.keys is not None:
            raise LoopError(
                "The condition of `ps.while_loop` sets state or draws random keys. It runs once"
                " more often than the body, and what it changes is lost: do that in the body."
            )
        return out

    def run(start: Any) -> Any:
        if max_steps is None:
            return jax.lax.while_loop(pure_condition, loop.step, start)
        kept = None if checkpoint is False else size
        return bounded_while(pure_condition, loop.step, start, max_steps, kept)

    return loop.run(run, init_val, init_val)


class _Loop:
    """The body of a loop with a number of steps that only the device knows.

    It carries the value, the state and keys, and what the steps have sown.
    """

    def __init__(self, body: Callable[..., Any], frame: Frame):
        self._frame = frame
        self._lifted = Lifted(body, frame, fills=True)

    def run(self, run: Callable[[Any], Any], value: Any, *args: Any) -> Any:
        """Runs the loop from `value` on, for a body that is called with `args`; returns the last.

        The state and keys that the last step leaves go into the frame.
        """
        # A loop carries arrays of one shape from step to step, so sown values cannot be
        # stacked: each step reduces them further, from the neutral element of the reduction on.
        sown: SownValues = {}
        if self._frame.sown is not None:
            shapes = self._lifted.look(*args)
            sown = start_of_loop(self._frame.sown.reducers, shapes)
        value, carried, sown = carrying(
            self._frame, None, lambda carried: run((value, carried, sown))
        )
        keep(self._frame, carried, sown)
        return value

    def start(self, carried: Snapshot) -> Snapshot:
        """Returns the snapshot that a step begins with."""
        # Parameters are read by closure. Carried values replace those of the frame.
        before = take_snapshot(self._frame)
        return Snapshot(merged(before.values, carried.values), before.initial, carried.keys)

    def step(self, carry: Any, *first: Any) -> Any:
        """Runs one step."""
        value, carried, sown = carry
        before = self.start(carried)
        out, after, new = self._lifted.run(before, *first, value)
        if self._frame.sown is not None:
            sown = carried_on(self._frame.sown.reducers, sown, new)
        return out, carry_on(carried, before, changes(before, after), after), sown


def fori_loop(
    lower: int | jax.Array,
    upper: int | jax.Array,
    body_fun: "Callable[[Any, A], A]",
    init_val: A,
    **options: Any,
) -> A:
    """Like `jax.lax.fori_loop`, with a body that uses modules, state or random keys.

    In `init` the first step runs outside the loop, to make the variables.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     net = ps.Linear(2)
    ...     return ps.fori_loop(0, 3, lambda i, x: net(x), x)
    >>> g = ps.transform(f)
    >>> x = jnp.ones([1, 2])
    >>> g.apply(g.init(jax.random.key(0), x), None, x).shape
    (1, 2)

    Args:
      lower: the first index.
      upper: the index after the last.
      body_fun: `body_fun(i, value) -> value`.
      init_val: what the first step is given.
      **options: further keywords of `jax.lax.fori_loop`.

    Returns:
      What the last step returned.

    Raises:
      FrameError: used outside a transformed function; there `jax.lax.fori_loop` does.
      NewVariableError: a later step makes a variable that the first did not make.
    """
    frame = get_frame("`ps.fori_loop` (outside, `jax.lax.fori_loop` does)")
    # The number of steps may be known only to the device, but variables are made while tracing:
    # run the first step here. The steps of the loop then find them under the same names.
    if frame.running_init:
        names = names_here(frame)
        init_val = body_fun(lower, init_val)
        lower += 1
        try:
            if upper - lower == 0:
                return init_val
        # Bounds that are traced: the loop is set up, and the device finds that no step is left.
        except jax.errors.ConcretizationTypeError:
            pass
        rewind_names(frame, names)
    loop = _Loop(body_fun, frame)
    body = lambda i, carry: loop.step(carry, i)  # noqa: E731
    run = lambda start: jax.lax.fori_loop(lower, upper, body, start, **options)  # noqa: E731
    return loop.run(run, init_val, lower, init_val)
