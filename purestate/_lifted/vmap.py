"""`vmap` of functions that use the frame."""

import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax

from purestate._core.errors import ArgumentError, BatchedStateError, MappingError
from purestate._core.frame import get_frame
from purestate._core.path import variable_path
from purestate._core.rng import draw_rows
from purestate._core.trace_guard import differs_by_row
from purestate._lifted.collection_modes import (
    COMBINED,
    Mode,
    Modes,
    check_not_written,
    check_sizes,
    combine,
    keep_values,
    paths_with_collections,
    sown,
    values_of_their_own,
    with_values,
)
from purestate._lifted.lift_frame import (
    Snapshot,
    Values,
    changes,
    lift_frame,
    restore,
    take_snapshot,
)

_REQUIRED: Any = object()


def _axis_size(args: Any, in_axes: Any) -> int:
    def size(axis: int | None, arg: Any) -> list[int]:
        return [] if axis is None else [leaf.shape[axis] for leaf in jax.tree.leaves(arg)]

    sizes = jax.tree.leaves(jax.tree.map(size, in_axes, args, is_leaf=lambda axis: axis is None))
    if not sizes:
        raise MappingError(
            "`ps.vmap` found no array to map over, so it cannot tell how many rows there are: pass"
            " axis_size."
        )
    if len(set(sizes)) > 1:
        raise MappingError(
            "`ps.vmap` was given arrays with different sizes along the mapped axis:"
            f" {sorted(set(sizes))}."
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
    collections: Mapping[str, int | str] | None = None,
) -> Callable[..., Any]:
    """Like `jax.vmap`, for functions that use modules, state or random keys.

    All rows have the same parameters and state, and what is written has to be the same for all
    rows, unless `collections` says otherwise.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.vmap(ps.Linear(2), split_rng=False)(x))
    >>> x = jnp.ones([5, 3])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (5, 2)

    Each row with parameters of its own, an ensemble:

    >>> g = ps.transform(lambda x: ps.vmap(ps.Linear(2), split_rng=True, collections={"params": 0})(x))
    >>> g.init(jax.random.key(0), x)["linear"]["w"].shape
    (5, 3, 2)

    Args:
      fun: a module or function of one row.
      in_axes: which axis of each argument to map over; None for those that all rows share.
      out_axes: where to put the mapped axis in the results.
      axis_name: a name for collectives such as `jax.lax.pmean`.
      axis_size: the number of rows, where no argument tells it.
      split_rng: whether each row gets random keys of its own. Parameters are the same for all rows,
        so where they are made it has to be False: `split_rng=not ps.running_init()`.
      spmd_axis_name: see `jax.vmap`.
      collections: `{collection: mode}`. With an axis (an int) each row has variables of its own,
        slices along that axis. With "mean", "sum" or "first" all rows see the same, and what they
        write is combined so; with "broadcast" they may not write. What is sown, and perturbations,
        are stacked along axis 0.

    Returns:
      A function of arguments with one axis more.

    Raises:
      FrameError: called outside a transformed function; there `jax.vmap` does.
      ArgumentError: `split_rng` is missing.
      MappingError: there is nothing to map over, or the sizes differ.
      BatchedStateError: a variable was made or set to a value that differs from row to row, and
        nothing says how to combine them.
      CollectionModeError: `collections` has a mode that is none, or does not fit the values.
    """
    if split_rng is _REQUIRED:
        if getattr(vmap, "require_split_rng", True):
            raise ArgumentError(
                "`ps.vmap` needs to be told whether each row gets random keys of its own: pass"
                " split_rng=True (dropout masks differ) or split_rng=False (all rows share keys;"
                " needed in `init`). `split_rng=not ps.running_init()` does both."
            )
        split_rng = False
    if isinstance(in_axes, list):  # jax.vmap takes a tuple
        in_axes = tuple(in_axes)
    if not jax.tree.leaves(in_axes) and axis_size is None:
        raise MappingError(
            f"`ps.vmap` of {getattr(fun, '__name__', 'a function')} has in_axes={in_axes}: nothing"
            " is mapped, so the number of rows is unknown. Map at least one argument, or pass"
            " axis_size."
        )

    @functools.wraps(fun)
    def mapped(*args: Any) -> Any:
        frame = get_frame("A function made by `ps.vmap`")
        modes = Modes(frame, collections, "ps.vmap", ("broadcast", *COMBINED))
        pure = lift_frame(fun, frame)
        keys = None
        if split_rng:
            keys = draw_rows(axis_size if axis_size is not None else _axis_size(args, in_axes))
        map_rows = functools.partial(
            jax.vmap, axis_name=axis_name, axis_size=axis_size, spmd_axis_name=spmd_axis_name
        )
        own = values_of_their_own(
            frame, modes, pure, lambda f: map_rows(f, in_axes=in_axes, out_axes=None)(*args)
        )
        size = (
            None if not own else axis_size if axis_size is not None else _axis_size(args, in_axes)
        )
        check_sizes(own, size, "ps.vmap")
        differing: Values = {}
        keys_differ = False

        def with_changes(args: Any, key: Any, own: dict[int, Values]) -> Any:
            nonlocal differing, keys_differ
            before = take_snapshot(frame)
            before = with_values(frame, before, sown(frame, before.state), only=True)
            for part in own.values():
                before = with_values(frame, before, part)
            if key is not None:
                before = before._replace(keys=frame.keys.row(key))
            out, after = pure(before, *args)
            changed = changes(before, after)
            if key is not None:
                changed = changed._replace(keys=None)  # each row's keys end with the row
            keys_differ = differs_by_row(changed.keys)
            written: dict[str, dict[Mode, Values]] = {}
            for part, values in (
                (
                    "state",
                    {
                        **{("params", m): b for m, b in (changed.params or {}).items()},
                        **changed.state,
                    },
                ),
                ("initial", changed.initial or {}),
            ):
                written[part] = {}
                for mode, by_key in modes.split(values).items():
                    for k, bundle in by_key.items():
                        for name, value in bundle.items():
                            # What is the same for all rows needs no combining: an int counter stays
                            # one.
                            where = None if mode in COMBINED and not differs_by_row(value) else mode
                            written[part].setdefault(where, {}).setdefault(k, {})[name] = value
            check_not_written(
                "ps.vmap", modes, written["state"], "'mean', 'sum', 'first' or an axis"
            )
            differing = {
                k: found
                for k, bundle in written["state"].get(None, {}).items()
                if (
                    found := {
                        name: value for name, value in bundle.items() if differs_by_row(value)
                    }
                )
            }
            same = {part: by_mode.pop(None, {}) for part, by_mode in written.items()}
            stacked = {
                axis: {part: by_mode.get(axis, {}) for part, by_mode in written.items()}
                for axis in axes
            }
            combined = {
                mode: {part: by_mode.get(mode, {}) for part, by_mode in written.items()}
                for mode in COMBINED
            }
            return out, (same, changed.keys), _Stacked(stacked), combined

        axes = modes.axes()
        run = map_rows(
            with_changes,
            in_axes=(in_axes, None if keys is None else 0, {axis: axis for axis in own}),
            out_axes=(out_axes, None, _Stacked({axis: axis for axis in axes}), 0),
        )
        try:
            out, (same, new_keys), stacked, combined = run(args, keys, own)
        except ValueError as error:
            if "out_axes" in str(error) and differing:
                raise _batched(modes, differing, split_rng and frame.running_init) from error
            if "out_axes" in str(error) and keys_differ:
                raise BatchedStateError(
                    "Inside `ps.vmap(..., split_rng=False)`, how many random keys are drawn differs"
                    " from row to row (as in a `ps.cond` on data), but all rows draw from one"
                    " sequence. Write `split_rng=True` (outside `init`), or draw the same number of"
                    " keys in each branch."
                ) from error
            raise
        restore(frame, Snapshot(None, {}, None, new_keys))
        keep_values(frame, same["state"], same["initial"])
        for part in stacked.by_axis.values():
            keep_values(frame, part["state"], part["initial"])
        for mode, part in combined.items():
            done = {
                kind: {
                    k: {
                        name: combine(mode, value, variable_path(k[1], name))
                        for name, value in bundle.items()
                    }
                    for k, bundle in values.items()
                }
                for kind, values in part.items()
            }
            keep_values(frame, done["state"], done["initial"])
        return out

    return mapped


@jax.tree_util.register_pytree_node_class
class _Stacked:
    """What is stacked, by axis: a pytree whose prefix may say an axis for each."""

    def __init__(self, by_axis: dict[int, Any]):
        self.by_axis = by_axis

    def tree_flatten(self) -> Any:
        axes = sorted(self.by_axis)
        return [self.by_axis[axis] for axis in axes], tuple(axes)

    @classmethod
    def tree_unflatten(cls, axes: Any, parts: Any) -> "_Stacked":
        return cls(dict(zip(axes, parts, strict=True)))


def _batched(modes: Modes, differing: Values, splits_in_init: bool) -> BatchedStateError:
    names = ", ".join(paths_with_collections(modes, differing))
    if splits_in_init:
        return BatchedStateError(
            f"`ps.vmap(..., split_rng=True)` makes {names} from keys that differ from row to row,"
            " but all rows have the same parameters. Write `split_rng=not ps.running_init()`; or"
            " give each row parameters of its own with collections={'params': 0}."
        )
    collection = modes.collection_of(
        *next((key, name) for key, bundle in differing.items() for name in bundle)
    )
    return BatchedStateError(
        f"Inside `ps.vmap`, {names} would get values that differ from row to row, but all rows"
        f" share one value. Say what is to become of them: collections={{{collection!r}: mode}},"
        " where the mode is 'mean', 'sum', 'first', or an axis, along which each row keeps its"
        " own. Or make them the same with an axis_name and `jax.lax.pmean` (or psum) over it"
        " before the write."
    )


vmap.require_split_rng = True  # pyright: ignore[reportFunctionMemberAccess]
