"""`vmap` of functions that use the frame."""

import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any, ParamSpec, TypeVar

import jax

from purestate._core.errors import ArgumentError, BatchedStateError, MappingError
from purestate._core.frame import get_frame
from purestate._core.rng import draw_for_elements
from purestate._core.trace_guard import differs_by_element
from purestate._lifted.collection_modes import COMBINED, Modes
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.mapped import (
    MappedAxis,
    Packed,
    elements,
    nothing,
    pack,
    slices_read,
    sown_by_runs,
    start,
    unpack,
)
from purestate._lifted.snapshot import Snapshot, changes, keep

P = ParamSpec("P")
R = TypeVar("R")

_REQUIRED: Any = object()
_KEYS_DIFFER = (
    "Inside `ps.vmap(..., split_rng=False)`, the number of random keys that are drawn differs from"
    " element to element (as in a `ps.cond` on data), but all elements draw from one sequence."
    " Write `split_rng=True` (outside `init`), or draw the same number of keys in each branch."
)


def vmap(
    fun: "Callable[P, R]",
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
    *,
    split_rng: bool = _REQUIRED,
    spmd_axis_name: Any = None,
    collections: Mapping[str, int | str] | None = None,
) -> "Callable[P, R]":
    """Like `jax.vmap`, for functions that use modules, state or random keys.

    All elements have the same parameters and state, and have to write the same values, unless
    `collections` says otherwise.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.vmap(ps.Linear(2), split_rng=False)(x))
    >>> x = jnp.ones([5, 3])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (5, 2)

    Each element with parameters of its own, an ensemble:

    >>> def ensemble(x):
    ...     return ps.vmap(ps.Linear(2), split_rng=False, collections={"params": 0})(x)
    >>> ps.transform(ensemble).init(jax.random.key(0), x)["linear"]["w"].shape
    (5, 3, 2)

    Args:
      fun: a module or function of one element.
      in_axes: which axis of each argument to map over; None for those that all elements share.
      out_axes: where to put the mapped axis in the results.
      axis_name: a name for collectives such as `jax.lax.pmean`.
      axis_size: the number of elements, if no argument has the mapped axis.
      split_rng: whether each element gets random keys of its own. Parameters that all elements
        share need the same keys, so `init` needs False: `split_rng=not ps.running_init()`. The
        initial values of variables that each element has for itself differ in any case.
      spmd_axis_name: see `jax.vmap`.
      collections: `{collection: mode}`. With an axis (an int) each element has variables of its
        own, slices along that axis. With "mean", "sum", "max", "min" or "first" all elements see
        the same values, and what they write is combined; with "broadcast" they may not write. Sown
        values and perturbations are stacked along axis 0.

    Returns:
      A function of arguments with one more axis.

    Raises:
      FrameError: called outside a transformed function; use `jax.vmap` there.
      ArgumentError: `split_rng` is missing.
      MappingError: there is nothing to map over, or the sizes differ.
      BatchedStateError: a variable was created or set to a value that differs from element to
        element, and nothing says how to combine the values.
      CollectionModeError: `collections` has an unknown mode, or one that does not fit the values.
    """
    split_rng = _checked_split(split_rng)
    if isinstance(in_axes, list):  # jax.vmap takes a tuple
        in_axes = tuple(in_axes)
    if not jax.tree.leaves(in_axes) and axis_size is None:
        raise MappingError(
            f"`ps.vmap` of {getattr(fun, '__name__', 'a function')} has in_axes={in_axes}: nothing"
            " is mapped, so the number of elements is unknown. Map at least one argument, or pass"
            " axis_size."
        )

    @functools.wraps(fun)
    def mapped(*args: Any) -> Any:
        frame = get_frame("A function made by `ps.vmap`")
        modes = Modes(frame, collections, "ps.vmap", ("broadcast", *COMBINED))
        axis = _Elements(split_rng and frame.running_init)
        lifted = Lifted(fun, frame)
        size = functools.cache(
            lambda: _axis_size(args, in_axes) if axis_size is None else axis_size
        )
        splits = split_rng and frame.keys.source is not None
        keys = draw_for_elements(size()) if splits else None
        # An element can say which one it is only along an axis with a name.
        name = axis_name
        if name is None and modes.has_own():
            name = f"purestate_elements_{len(frame.elements)}"
        # In a sequence of its own, the keys of an element differ anyway.
        differ = splits and frame.keys.mode == "sequence"
        index = None if differ else functools.partial(jax.lax.axis_index, name)
        map_over = functools.partial(
            jax.vmap, axis_name=name, axis_size=axis_size, spmd_axis_name=spmd_axis_name
        )

        def look(run: Callable[..., Any]) -> Callable[..., Any]:
            def shown(before: Snapshot, *args: Any) -> None:
                map_over(lambda args: nothing(run(before, *args)), (in_axes,), None)(args)

            return shown

        own = slices_read(frame, lifted, modes, look, *args)
        if own:
            modes.check_sizes(own, size())

        def body(args: Any, part: Any, own: Any) -> Any:
            before = start(frame, own, None if part is None else frame.keys.source.element(part))
            with elements(frame, modes, own, index):
                out, after, sown = lifted.run(before, *args)
            changed = changes(before, after)
            if part is not None:
                changed = changed._replace(keys=None)  # the keys of an element end with it
            if differs_by_element(changed.keys):
                raise BatchedStateError(_KEYS_DIFFER)
            return out, pack(modes, changed, axis), sown

        run = map_over(
            body,
            (in_axes, None if keys is None else 0, {axis: axis for axis in own}),
            (out_axes, Packed(None, {axis: axis for axis in modes.axes()}, 0), 0),
        )
        out, packed, sown = run(args, keys, own)
        keep(frame, unpack(packed), sown_by_runs(modes, sown))
        return out

    return mapped  # pyright: ignore[reportReturnType] (it takes no keywords)


vmap.require_split_rng = True  # pyright: ignore[reportFunctionMemberAccess]


def _checked_split(split_rng: Any) -> bool:
    if split_rng is _REQUIRED:
        if getattr(vmap, "require_split_rng", True):
            raise ArgumentError(
                "`ps.vmap` needs to know whether each element gets random keys of its own: pass"
                " split_rng=True (dropout masks differ) or split_rng=False (all elements share"
                " keys; needed in `init`). `split_rng=not ps.running_init()` does both."
            )
        return False
    return bool(split_rng)


def _axis_size(args: Any, in_axes: Any) -> int:
    def size(axis: int | None, arg: Any) -> list[int]:
        return [] if axis is None else [leaf.shape[axis] for leaf in jax.tree.leaves(arg)]

    sizes = jax.tree.leaves(jax.tree.map(size, in_axes, args, is_leaf=lambda axis: axis is None))
    if not sizes:
        raise MappingError(
            "`ps.vmap` found no array to map over, so it cannot tell how many elements there are:"
            " pass axis_size."
        )
    if len(set(sizes)) > 1:
        raise MappingError(
            "`ps.vmap` was given arrays with different sizes along the mapped axis:"
            f" {sorted(set(sizes))}."
        )
    return sizes[0]


class _Elements(MappedAxis):
    """The elements of a `jax.vmap`: what differs is stacked by it, and combined afterwards."""

    transform = "ps.vmap"
    fix = "with an axis_name and `jax.lax.pmean` (or psum) over it"

    def __init__(self, splits_in_init: bool):
        self._splits_in_init = splits_in_init

    def differs(self, store: str, value: Any) -> bool:
        return differs_by_element(value)

    def why(self, names: str) -> str:
        if self._splits_in_init:
            return (
                f"`ps.vmap(..., split_rng=True)` makes {names} from keys that differ from element"
                " to element, but all elements share one value. Write `split_rng=not"
                " ps.running_init()`."
            )
        return (
            f"Inside `ps.vmap`, {names} would get values that differ from element to element, but"
            " all elements share one value."
        )
