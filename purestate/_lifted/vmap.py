"""`vmap` of functions that use the frame."""

import functools
from collections.abc import Callable, Hashable
from typing import Any

import jax

from purestate._core.errors import ArgumentError, BatchedStateError, MappingError
from purestate._core.frame import get_frame
from purestate._core.rng import PRNGSequence, next_rng_keys
from purestate._lifted.lift_frame import changes, lift_frame, restore, take_snapshot

_REQUIRED: Any = object()


def _axis_size(args: Any, in_axes: Any) -> int:
    def size(axis: int | None, arg: Any) -> list[int]:
        return [] if axis is None else [leaf.shape[axis] for leaf in jax.tree.leaves(arg)]

    sizes = jax.tree.leaves(jax.tree.map(size, in_axes, args, is_leaf=lambda axis: axis is None))
    if not sizes:
        raise MappingError(
            "`ps.vmap` found no array to map over, so it cannot tell how many rows there are: pass axis_size."
        )
    if len(set(sizes)) > 1:
        raise MappingError(
            f"`ps.vmap` was given arrays with different sizes along the mapped axis: {sorted(set(sizes))}."
        )
    return sizes[0]


def vmap(
    fun: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
    *,
    split_rng: bool = _REQUIRED,
    spmd_axis_name: Any = None,
) -> Callable[..., Any]:
    """Like `jax.vmap`, for functions that use modules, state or random keys.

    All rows have the same parameters and state. What is written has to be the same for all rows.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.vmap(ps.Linear(2), split_rng=False)(x))
    >>> x = jnp.ones([5, 3])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (5, 2)

    Args:
      fun: a module or function of one row.
      in_axes: which axis of each argument to map over; None for those that all rows share.
      out_axes: where to put the mapped axis in the results.
      axis_name: a name for collectives such as `jax.lax.pmean`.
      axis_size: the number of rows, where no argument tells it.
      split_rng: whether each row gets random keys of its own. Parameters are the same for all rows,
        so where they are made it has to be False: `split_rng=not ps.running_init()`.
      spmd_axis_name: see `jax.vmap`.

    Returns:
      A function of arguments with one axis more.

    Raises:
      FrameError: called outside a transformed function; there `jax.vmap` does.
      ArgumentError: `split_rng` is missing.
      MappingError: there is nothing to map over, or the sizes differ.
      BatchedStateError: a variable was made or set to a value that differs from row to row.
    """
    if split_rng is _REQUIRED:
        if getattr(vmap, "require_split_rng", True):
            raise ArgumentError(
                "`ps.vmap` needs to be told whether each row gets random keys of its own: pass split_rng=True (dropout masks "
                "differ) or split_rng=False (all rows share keys; needed in `init`). `split_rng=not ps.running_init()` does both."
            )
        split_rng = False
    if isinstance(in_axes, list):  # jax.vmap takes a tuple
        in_axes = tuple(in_axes)
    if not jax.tree.leaves(in_axes) and axis_size is None:
        raise MappingError(
            f"`ps.vmap` of {getattr(fun, '__name__', 'a function')} has in_axes={in_axes}: nothing is mapped, so the number of "
            "rows is unknown. Map at least one argument, or pass axis_size."
        )

    @functools.wraps(fun)
    def mapped(*args: Any) -> Any:
        frame = get_frame("A function made by `ps.vmap`")
        pure = lift_frame(fun, frame)
        keys = None
        if split_rng:
            keys = next_rng_keys(axis_size if axis_size is not None else _axis_size(args, in_axes))
        written: list[str] = []

        def with_changes(args: Any, key: Any) -> Any:
            before = take_snapshot(frame)
            if key is not None:
                before = before._replace(keys=PRNGSequence(key).internal_state)
            out, after = pure(before, *args)
            changed = changes(before, after)
            if key is not None:
                changed = changed._replace(keys=None)  # each row's keys end with the row
            written[:] = [
                f"{module}/{name}" for part in changed[:3] for module, b in (part or {}).items() for name in b
            ]
            return out, changed

        run = jax.vmap(
            with_changes,
            in_axes=(in_axes, None if keys is None else 0),
            out_axes=(out_axes, None),
            axis_name=axis_name,
            axis_size=axis_size,
            spmd_axis_name=spmd_axis_name,
        )
        try:
            out, changed = run(args, keys)
        except ValueError as error:
            if "out_axes" in str(error) and written:
                raise _batched(sorted(set(written)), split_rng and frame.running_init) from error
            raise
        restore(frame, changed)
        return out

    return mapped


def _batched(written: list[str], splits_in_init: bool) -> BatchedStateError:
    names = ", ".join(written)
    if splits_in_init:
        return BatchedStateError(
            f"`ps.vmap(..., split_rng=True)` makes {names} from keys that differ from row to row, but all rows have the same "
            "parameters. Write `split_rng=not ps.running_init()`."
        )
    return BatchedStateError(
        f"Inside `ps.vmap`, {names} would get values that differ from row to row, but all rows share one value. Make them the "
        "same with an axis_name and `jax.lax.pmean` (or psum) over it before the write, or return them as results."
    )


vmap.require_split_rng = True  # pyright: ignore[reportFunctionMemberAccess]
