"""`cond`, `switch`, `while_loop` and `fori_loop` with functions that use the frame."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.collection import AllBut
from purestate._core.errors import BranchError, LoopError
from purestate._core.frame import Frame, get_frame
from purestate._lifted.collection_modes import keep_values, sown, with_values
from purestate._lifted.lift_frame import (
    Lifted,
    Snapshot,
    Values,
    fill_keys,
    lift_frame,
    names_here,
    new_names,
    restore,
    rewind_names,
    take_snapshot,
)
from purestate._lifted.scan import carried, lift_step
from purestate._state.intermediates import captured

_MISSING: Any = object()


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
    ...     return ps.cond(x.sum() > 0, lambda x: ps.Linear(2)(x), lambda x: ps.nets.MLP([4, 2])(x), x)
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
    """Runs a JAX conditional over branches, which all have to leave the frame with the same variables.

    A branch that makes variables of its own is found out when JAX traces it. All branches are then
    run once for good, one after the other, to make theirs, and the conditional is set up again.
    """
    fill_keys(frame)
    # The same function at two places is one branch, traced once, as in JAX.
    unique = {id(branch): branch for branch in branches}
    lifted = {key: lift_frame(branch, frame, fill=True) for key, branch in unique.items()}
    if getattr(jax.config, "jax_disable_jit"):  # noqa: B009 (not in its type)
        # JAX then runs the taken branch alone. Look at all, so that each still has the names it
        # would have.
        for pure in lifted.values():
            jax.eval_shape(pure, take_snapshot(frame), *operands)
    made = False
    sown_in_any = _sown_in_any(frame, lifted.values(), operands)

    def pure_branch(key: int) -> Callable[..., Any]:
        @functools.wraps(unique[key])
        def run_branch(*operands: Any) -> Any:
            nonlocal made
            before = take_snapshot(frame)
            before = with_values(frame, before, sown(frame, before.state), only=True)
            out, after = lifted[key](before, *operands)
            put_aside = sown(frame, after.state)
            after = with_values(frame, after, put_aside, only=True)
            made = made or bool(
                new_names(before.params, after.params) or new_names(before.state, after.state)
            )
            # Of the variables that were there before, only state can have changed.
            state = {
                module: {name: after.state[module][name] for name in bundle}
                for module, bundle in before.state.items()
            }
            return (out, _with_zeros(put_aside, sown_in_any)), Snapshot(
                None, state, None, after.keys
            )

        return run_branch

    def attempt() -> Any:
        wrapped = {key: pure_branch(key) for key in unique}
        return run([wrapped[id(branch)] for branch in branches])

    (out, put_aside), after = attempt()
    if made:
        operands = jax.tree.map(jnp.asarray, operands)  # as JAX gives them to branches
        for pure in lifted.values():
            before = take_snapshot(frame)
            _, kept = pure(before, *operands)
            # A branch keeps the variables it makes, with their first values; the state that was
            # there stays as it was.
            restore(frame, kept._replace(state=new_names(before.state, kept.initial)))
        (out, put_aside), after = attempt()
    restore(frame, after)
    keep_values(frame, put_aside)
    return out


def _may_sow(frame: Frame) -> bool:
    """Whether anyone may have asked for what is sown."""
    asked = captured(frame)
    return isinstance(asked, AllBut) or any(name not in ("params", "state") for name in asked)


def _sown_in_any(frame: Frame, branches: Iterable[Lifted], operands: Any) -> Values:
    """Returns the shapes of what any of the branches sows; where nobody asks for it, nothing is run."""
    if not _may_sow(frame):
        return {}
    shapes: Values = {}
    for pure in branches:

        def look(*operands: Any, pure: Lifted = pure) -> Values:
            before = take_snapshot(frame)
            _, after = pure(
                with_values(frame, before, sown(frame, before.state), only=True), *operands
            )
            return sown(frame, after.state)

        for key, bundle in jax.eval_shape(look, *operands).items():
            for name, value in bundle.items():
                into = shapes.setdefault(key, {})
                # A tuple is as long as the longest.
                if not (
                    name in into and isinstance(value, tuple) and len(value) <= len(into[name])
                ):
                    into[name] = value
    return shapes


def _with_zeros(values: Values, shapes: Values) -> Values:
    """Returns values with zeros for what another branch has sown."""

    def filled(key: Any, name: str, shape: Any) -> Any:
        value = values.get(key, {}).get(name, ())
        if isinstance(shape, tuple):
            return (
                *value,
                *(
                    jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), part)
                    for part in shape[len(value) :]
                ),
            )
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape) if value == () else value

    return {
        key: {name: filled(key, name, shape) for name, shape in bundle.items()}
        for key, bundle in shapes.items()
    }


def while_loop(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any
) -> Any:
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
            "`ps.while_loop` cannot make variables, since it may run no step at all. In `init`, run"
            " the body once instead: `val = body(val) if ps.running_init() else ps.while_loop(cond,"
            " body, val)`."
        )
    step = lift_step(body_fun, frame)
    condition = lift_frame(cond_fun, frame)

    def pure_condition(carry: Any) -> Any:
        value, snapshot = carry
        out, after = condition(snapshot, value)
        if not _is_same(snapshot, after):
            raise LoopError(
                "The condition of `ps.while_loop` sets state or draws random keys. It runs once"
                " more often than the body, and what it changes is lost: do that in the body."
            )
        return out

    def pure_body(carry: Any) -> Any:
        value, snapshot = carry
        return step(snapshot, value)

    value, snapshot = jax.lax.while_loop(pure_condition, pure_body, (init_val, carried(frame)))
    restore(frame, snapshot)
    return value


def _is_same(before: Snapshot, after: Snapshot) -> bool:
    parts = ((before.state, after.state), (before.keys, after.keys))
    return all(
        jax.tree.structure(old) == jax.tree.structure(new)
        and all(a is b for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True))
        for old, new in parts
    )


def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any, **options: Any
) -> Any:
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
    step = lift_step(body_fun, frame)

    def body(i: Any, carry: Any) -> Any:
        value, snapshot = carry
        return step(snapshot, i, value)

    value, snapshot = jax.lax.fori_loop(lower, upper, body, (init_val, carried(frame)), **options)
    restore(frame, snapshot)
    return value
