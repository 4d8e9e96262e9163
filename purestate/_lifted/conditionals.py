"""`cond` and `switch` with branches that use the frame."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purestate._core.errors import BranchError
from purestate._core.frame import Frame, get_frame
from purestate._core.keys import SplitFirstError
from purestate._core.sown import SownValues, filled, shapes_of_any
from purestate._lifted.carried import Places, picked, state_to_hand_on
from purestate._lifted.lift_frame import Lifted, fill_keys
from purestate._lifted.snapshot import (
    Snapshot,
    entries,
    keep,
    new_names,
    new_values,
    take_snapshot,
    without,
)

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
      true_fun: called with the operands if `pred` is true.
      false_fun: called with them if it is false.
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
    # Only the old form has a function as its third operand, and the true function second.
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
    # 1. Branches of one conditional have to return arrays of the same shapes. The reserve of keys
    #    is one of them: it is full at the start, and each branch fills it again.
    fill_keys(frame)
    # The same function in two places is one branch, traced once, as in JAX.
    unique = {id(branch): branch for branch in branches}
    lifted = {key: Lifted(branch, frame, fills=True) for key, branch in unique.items()}
    # 2. What one branch sows, the others return as zeros, so that all have the same outputs.
    sown_in_any: SownValues = {}
    without_jit = getattr(jax.config, "jax_disable_jit")  # noqa: B009 (not in its type)
    if frame.sown is not None or without_jit:
        # Each branch has to return what any of them sows. And without jit JAX runs the taken
        # branch only: look at all, so that each still gets the names that it would have.
        looks = [each.look(*operands, keeps_names=True) for each in lifted.values()]
        sown_in_any = shapes_of_any(looks)
    # 3. Each branch as a pure function of what the frame holds. Of a large state it returns what
    #    any branch changes; which that is, only tracing them shows.
    creates = False
    returned = state_to_hand_on(frame)
    missed: Places = set()

    def pure_branch(key: int) -> Callable[..., Any]:
        @functools.wraps(unique[key])
        def run_branch(*operands: Any) -> Any:
            nonlocal creates
            before = take_snapshot(frame)
            out, after, sown = lifted[key].run(before, *operands)
            # A variable that is new here is an output that other branches do not have. It is left
            # out, and the whole is run again once all variables exist.
            new = new_names(before.values, after.values)
            creates = creates or bool(new)
            # Of the variables that were there before, only state can have changed.
            writable = {
                store: modules
                for store, modules in before.values.items()
                if frame.collections[store].writable
            }
            if returned is not None:
                changed = without(new_values(before.values, after.values), new)
                missed.update(place[:3] for place in entries(changed))
                writable = picked(writable, returned)
            state = {
                store: {
                    module: {name: after.values[store][module][name] for name in bundle}
                    for module, bundle in modules.items()
                }
                for store, modules in writable.items()
            }
            return (out, filled(sown, sown_in_any)), Snapshot(state, {}, after.keys)

        return run_branch

    # 4. Run it; if a branch had no variables yet, make those of all branches, and run it once more.
    #    In `init` each branch may be traced three times; in `apply` once, if nothing is sown.
    def attempt() -> Any:
        # New functions for each attempt: JAX keeps the jaxpr of a branch that it has seen.
        wrapped = {key: pure_branch(key) for key in unique}
        try:
            return run([wrapped[id(branch)] for branch in branches])
        except SplitFirstError:
            frame.keys.source.split_due()
            return attempt()

    (out, sown), after = attempt()
    if creates:
        operands = jax.tree.map(jnp.asarray, operands)  # as JAX gives them to branches
        for each in lifted.values():
            _keep_created(frame, each, operands)
        (out, sown), after = attempt()
    while returned is not None and not missed <= returned:
        returned = set(missed)
        (out, sown), after = attempt()
    keep(frame, after, sown)
    return out


def _keep_created(frame: Frame, branch: Lifted, operands: Any) -> None:
    """Runs a branch, and keeps the variables that it creates, with their initial values.

    The state that was there stays as it was.
    """
    before = take_snapshot(frame)
    # What it returns and sows is dropped: it runs again as a branch.
    _, after, _ = branch.run(before, *operands)
    created = new_names(before.values, {**after.values, **after.initial})
    keep(frame, Snapshot(created, new_names(before.initial, after.initial), after.keys))
