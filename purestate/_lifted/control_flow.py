"""`cond`, `switch`, `while_loop` and `fori_loop` with functions that use the frame."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purestate._core.errors import BranchError, LoopError
from purestate._core.frame import Frame, get_frame
from purestate._core.sown import SownValues, carried_on, filled, shapes_of_any, start_of_loop
from purestate._lifted.lift_frame import Lifted, fill_keys, names_here, rewind_names
from purestate._lifted.scan import carried_by, carry_on
from purestate._lifted.snapshot import Snapshot, changes, keep, new_names, take_snapshot

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
R = TypeVar("R")

_MISSING: Any = object()


@overload
def cond(
    pred: ArrayLike,
    true_fun: "Callable[[], R]",
    false_fun: "Callable[[], R]",
    **options: Any,
) -> R: ...
@overload
def cond(
    pred: ArrayLike,
    true_fun: "Callable[[A], R]",
    false_fun: "Callable[[A], R]",
    operand: A,
    **options: Any,
) -> R: ...
@overload
def cond(
    pred: ArrayLike,
    true_fun: "Callable[[A, B], R]",
    false_fun: "Callable[[A, B], R]",
    operand1: A,
    operand2: B,
    **options: Any,
) -> R: ...
@overload
def cond(
    pred: ArrayLike,
    true_fun: "Callable[[A, B, C], R]",
    false_fun: "Callable[[A, B, C], R]",
    operand1: A,
    operand2: B,
    operand3: C,
    **options: Any,
) -> R: ...
@overload
def cond(
    pred: ArrayLike,
    true_fun: "Callable[..., R]",
    false_fun: "Callable[..., R]",
    operand1: Any,
    operand2: Any,
    operand3: Any,
    operand4: Any,
    *operands: Any,
    **options: Any,
) -> R: ...
@overload
def cond(
    pred: ArrayLike,
    true_operand: A,
    true_fun: "Callable[[A], R]",
    false_operand: B,
    false_fun: "Callable[[B], R]",
    /,
    **options: Any,
) -> R: ...
def cond(
    pred: Any,
    true_fun: Any,
    false_fun: Any,
    *operands: Any,
    operand: Any = _MISSING,
    **options: Any,
) -> Any:
    """Like `jax.lax.cond`, with branches that use modules, state or random keys.

    Each branch may have modules of its own: `init` makes those of both. In `apply` only the branch
    that is taken changes the state.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     small, large = lambda x: ps.Linear(2)(x), lambda x: ps.nets.MLP([4, 2])(x)
    ...     return ps.cond(x.sum() > 0, small, large, x)
    >>> g = ps.transform(f)
    >>> params = g.init(jax.random.key(0), jnp.ones([1, 3]))
    >>> sorted(params)
    ['linear', 'mlp/~/linear_0', 'mlp/~/linear_1']

    Args:
      pred: a boolean scalar.
      true_fun: called with the operands where `pred` holds.
      false_fun: called with them where it does not.
      *operands: what the branches are given.
      operand: the only operand, by name.
      **options: further keywords of `jax.lax.cond`.

    Returns:
      What the branch returned.

    Raises:
      FrameError: used outside a transformed function; there `jax.lax.cond` does.
      BranchError: operands were given both by position and by name.
      TypeError: the branches return different structures, shapes or dtypes.
    """
    frame = get_frame("`ps.cond` (outside, `jax.lax.cond` does)")
    true_branch, false_branch, operands = _branches_and_operands(
        true_fun, false_fun, operands, operand
    )

    def run(branches: Sequence[Callable[..., Any]]) -> Any:
        on_true, on_false = branches
        try:
            return jax.lax.cond(pred, on_true, on_false, *operands, **options)
        except AttributeError:
            _check_is_number("ps.cond", "pred", pred)
            raise

    return _run_branches(frame, run, [true_branch, false_branch], operands)


def _branches_and_operands(
    true_fun: Any, false_fun: Any, operands: tuple[Any, ...], operand: Any
) -> Any:
    if len(operands) == 2 and operand is _MISSING and callable(false_fun) and callable(operands[1]):
        # The old form, `cond(pred, true_operand, true_fun, false_operand, false_fun)`.
        on_true, on_false = false_fun, operands[1]
        return (lambda a, b: on_true(a)), (lambda a, b: on_false(b)), (true_fun, operands[0])
    return true_fun, false_fun, _only_operand("ps.cond", operands, operand)


def _check_is_number(what: str, name: str, value: Any) -> None:
    """Raises if `value` is a random key, for which JAX has an AttributeError only."""
    if hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jax.dtypes.extended):
        raise BranchError(
            f"`{what}` takes a number as {name}, but was given an array of {value.dtype}."
        )


def _only_operand(what: str, operands: tuple[Any, ...], operand: Any) -> tuple[Any, ...]:
    if operand is _MISSING:
        return operands
    if operands:
        raise BranchError(
            f"`{what}` was given operands by position and `operand=` by name; give all of them by"
            " position."
        )
    return (operand,)


@overload
def switch(
    index: ArrayLike,
    branches: "Sequence[Callable[[], R]]",
    **options: Any,
) -> R: ...
@overload
def switch(
    index: ArrayLike,
    branches: "Sequence[Callable[[A], R]]",
    operand: A,
    **options: Any,
) -> R: ...
@overload
def switch(
    index: ArrayLike,
    branches: "Sequence[Callable[[A, B], R]]",
    operand1: A,
    operand2: B,
    **options: Any,
) -> R: ...
@overload
def switch(
    index: ArrayLike,
    branches: "Sequence[Callable[[A, B, C], R]]",
    operand1: A,
    operand2: B,
    operand3: C,
    **options: Any,
) -> R: ...
@overload
def switch(
    index: ArrayLike,
    branches: "Sequence[Callable[..., R]]",
    operand1: Any,
    operand2: Any,
    operand3: Any,
    operand4: Any,
    *operands: Any,
    **options: Any,
) -> R: ...
def switch(
    index: Any,
    branches: Sequence[Callable[..., Any]],
    *operands: Any,
    operand: Any = _MISSING,
    **options: Any,
) -> Any:
    """Like `jax.lax.switch`, with branches that use modules, state or random keys.

    Each branch may have modules of its own; see `cond`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(i, x):
    ...     return ps.switch(i, [ps.Linear(2, name=name) for name in ("a", "b", "c")], x)
    >>> g = ps.transform(f)
    >>> sorted(g.init(jax.random.key(0), 1, jnp.ones([1, 3])))
    ['a', 'b', 'c']

    Args:
      index: an integer scalar.
      branches: functions, the one at `index` is called with the operands.
      *operands: what the branches are given.
      operand: the only operand, by name.
      **options: further keywords of `jax.lax.switch`.

    Returns:
      What the branch returned.

    Raises:
      FrameError: used outside a transformed function; there `jax.lax.switch` does.
      BranchError: operands were given both by position and by name.
      TypeError: the branches return different structures, shapes or dtypes.
    """
    frame = get_frame("`ps.switch` (outside, `jax.lax.switch` does)")
    operands = _only_operand("ps.switch", operands, operand)

    def run(branches: Sequence[Callable[..., Any]]) -> Any:
        try:
            return jax.lax.switch(index, branches, *operands, **options)
        except AttributeError:
            _check_is_number("ps.switch", "index", index)
            raise

    return _run_branches(frame, run, list(branches), operands)


def _run_branches(
    frame: Frame, run: Callable[..., Any], branches: list[Callable[..., Any]], operands: Any
) -> Any:
    """Runs a JAX conditional over branches, which have to leave the frame with the same variables.

    A branch that creates variables of its own is found out when JAX traces it. All branches are
    then run once for good, one after the other, to create theirs, and the conditional is set up
    again.
    """
    fill_keys(frame)
    # The same function in two places is one branch, traced once, as in JAX.
    unique = {id(branch): branch for branch in branches}
    lifted = {key: Lifted(branch, frame, fills=True) for key, branch in unique.items()}
    sown_in_any: SownValues = {}
    without_jit = getattr(jax.config, "jax_disable_jit")  # noqa: B009 (not in its type)
    if frame.sown is not None or without_jit:
        # Each branch has to return what any of them sows. And without jit JAX runs the taken
        # branch only: look at all, so that each still gets the names that it would have.
        looks = [each.look(*operands, keeps_names=True) for each in lifted.values()]
        sown_in_any = shapes_of_any(looks)
    creates = False

    def pure_branch(key: int) -> Callable[..., Any]:
        @functools.wraps(unique[key])
        def run_branch(*operands: Any) -> Any:
            nonlocal creates
            before = take_snapshot(frame)
            out, after, sown = lifted[key].run(before, *operands)
            creates = creates or bool(new_names(before.values, after.values))
            # Of the variables that were there before, only state can have changed.
            state = {
                store: {
                    module: {name: after.values[store][module][name] for name in bundle}
                    for module, bundle in modules.items()
                }
                for store, modules in before.values.items()
                if frame.collections[store].writable
            }
            return (out, filled(sown, sown_in_any)), Snapshot(state, {}, after.keys)

        return run_branch

    def attempt() -> Any:
        wrapped = {key: pure_branch(key) for key in unique}
        return run([wrapped[id(branch)] for branch in branches])

    (out, sown), after = attempt()
    if creates:
        operands = jax.tree.map(jnp.asarray, operands)  # as JAX gives them to branches
        for each in lifted.values():
            _keep_created(frame, each, operands)
        (out, sown), after = attempt()
    keep(frame, after, sown)
    return out


def _keep_created(frame: Frame, branch: Lifted, operands: Any) -> None:
    """Runs a branch, and keeps the variables that it creates, with their initial values.

    The state that was there stays as it was.
    """
    before = take_snapshot(frame)
    _, after, _ = branch.run(before, *operands)
    created = new_names(before.values, {**after.values, **after.initial})
    keep(frame, Snapshot(created, new_names(before.initial, after.initial), after.keys))


def while_loop(
    cond_fun: "Callable[[A], ArrayLike]", body_fun: "Callable[[A], A]", init_val: A
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

    Args:
      cond_fun: whether to go on; may read the frame, but not change it.
      body_fun: one step.
      init_val: what the first step is given.

    Returns:
      What the last step returned.

    Raises:
      FrameError: used outside a transformed function; there `jax.lax.while_loop` does.
      LoopError: used in `init`, or `cond_fun` changes state or draws keys.
      NewVariableError: the body makes a variable.
    """
    frame = get_frame("`ps.while_loop` (outside, `jax.lax.while_loop` does)")
    if frame.running_init:
        raise LoopError(
            "`ps.while_loop` cannot create variables, since it may run no step at all. In `init`,"
            " run the body once instead: `val = body(val) if ps.running_init() else"
            " ps.while_loop(cond, body, val)`."
        )
    loop = _Loop(body_fun, frame)
    condition = Lifted(cond_fun, frame)

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

    start = loop.carry(init_val, init_val)
    return loop.keep(jax.lax.while_loop(pure_condition, loop.step, start))


class _Loop:
    """The body of a loop with a number of steps that only the device knows.

    It carries the value, the state and keys, and what the steps have sown.
    """

    def __init__(self, body: Callable[..., Any], frame: Frame):
        self._frame = frame
        self._lifted = Lifted(body, frame, fills=True)

    def carry(self, value: Any, *args: Any) -> Any:
        """Returns what the first step is given: `value`, for a body that is called with `args`."""
        sown: SownValues = {}
        if self._frame.sown is not None:
            shapes = self._lifted.look(*args)
            sown = start_of_loop(self._frame.sown.reducers, shapes)
        return value, carried_by(self._frame), sown

    def start(self, carried: Snapshot) -> Snapshot:
        """Returns the snapshot that a step begins with."""
        before = take_snapshot(self._frame)
        return Snapshot({**before.values, **carried.values}, before.initial, carried.keys)

    def step(self, carry: Any, *first: Any) -> Any:
        """Runs one step."""
        value, carried, sown = carry
        before = self.start(carried)
        out, after, new = self._lifted.run(before, *first, value)
        if self._frame.sown is not None:
            sown = carried_on(self._frame.sown.reducers, sown, new)
        return out, carry_on(carried, before, changes(before, after), after), sown

    def keep(self, carry: Any) -> Any:
        """Puts what is carried in the end into the frame, and returns the value."""
        value, carried, sown = carry
        keep(self._frame, carried, sown)
        return value


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
    if frame.running_init:
        names = names_here(frame)
        init_val = body_fun(lower, init_val)
        lower += 1
        try:
            if upper - lower == 0:
                return init_val
        except jax.errors.ConcretizationTypeError:
            pass
        rewind_names(frame, names)
    loop = _Loop(body_fun, frame)
    start = loop.carry(init_val, lower, init_val)
    body = lambda i, carry: loop.step(carry, i)  # noqa: E731
    return loop.keep(jax.lax.fori_loop(lower, upper, body, start, **options))
