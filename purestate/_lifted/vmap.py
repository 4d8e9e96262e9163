"""`vmap` of functions that use the frame."""

import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax

from purestate._core.errors import ArgumentError, BatchedStateError, MappingError
from purestate._core.frame import Frame, get_frame
from purestate._core.rng import draw_for_elements
from purestate._core.trace_guard import differs_by_element
from purestate._lifted.collection_modes import COMBINED, Modes
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.mapped import MappedAxis, Own, Packed, nothing, run_mapped
from purestate._lifted.sizes import num_elements
from purestate._lifted.snapshot import Snapshot, take_snapshot

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
    # Errors that need no frame come at once, before the function is called.
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
        axes = _Axes(in_axes, out_axes, axis_name, axis_size, spmd_axis_name)
        elements = _Elements(frame, modes, axes, split_rng, args)
        return run_mapped(frame, Lifted(fun, frame), modes, elements, args)

    return mapped  # pyright: ignore[reportReturnType] (it takes no keywords)


# dm-haiku's switch to make `split_rng` optional, under its name.
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


class _Axes(NamedTuple):
    """The arguments of `jax.vmap`, under its names."""

    in_axes: Any
    out_axes: Any
    axis_name: Hashable | None
    axis_size: int | None
    spmd_axis_name: Any


class _Elements(MappedAxis):
    """The elements of a `jax.vmap`: what differs is stacked by it, and combined afterwards."""

    transform = "ps.vmap"
    fix = "with an axis_name and `jax.lax.pmean` (or psum) over it"
    stacks = True

    def __init__(
        self, frame: Frame, modes: Modes, axes: _Axes, split_rng: bool, args: tuple[Any, ...]
    ):
        self._frame = frame
        self._modes = modes
        self._axes = axes
        self._splits_in_init = split_rng and frame.running_init
        self._args = args
        # A function that draws no key runs in `apply` without one, and there is nothing to split.
        splits = split_rng and frame.keys.source is not None
        self._keys = draw_for_elements(self.size()) if splits else None
        # An element can say which one it is only along an axis with a name.
        name = axes.axis_name
        if name is None and modes.has_own():
            name = f"purestate_elements_{len(frame.elements)}"
        # In a sequence of its own, the keys of an element differ anyway.
        differ = splits and frame.keys.mode == "sequence"
        self.index = None if differ else functools.partial(jax.lax.axis_index, name)
        self._vmap = functools.partial(
            jax.vmap,
            axis_name=name,
            axis_size=axes.axis_size,
            spmd_axis_name=axes.spmd_axis_name,
        )

    def look(self, run: Callable[..., Any]) -> Callable[..., None]:
        def shown(before: Snapshot, *args: Any) -> None:
            # The snapshot comes by closure: all elements see the same.
            self._vmap(lambda args: nothing(run(before, *args)), (self._axes.in_axes,), None)(args)

        return shown

    def size(self) -> int:
        given = self._axes.axis_size
        return num_elements(self._args, self._axes.in_axes) if given is None else given

    def run(self, body: Callable[..., Any], own: Own, args: tuple[Any, ...]) -> Any:
        def element(args: Any, key: Any, own: Own) -> Any:
            # Inside, so that what the element changes is compared with what it began with.
            # Variables come by closure: JAX does not map what it does not see.
            before = take_snapshot(self._frame)
            if key is not None:
                before = before._replace(keys=self._frame.keys.source.element(key))
            return body(before, own, *args)

        # An axis of a mode may get values or not: the outputs of an axis without are empty dicts.
        written_axes = {axis: axis for axis in self._modes.axes()}
        mapped = self._vmap(
            element,
            (self._axes.in_axes, None if self._keys is None else 0, {axis: axis for axis in own}),
            (self._axes.out_axes, Packed(None, written_axes, 0), 0),
        )
        return mapped(args, self._keys, own)

    def keys_after(self, keys: Any) -> Any:
        if self._keys is not None:
            return None  # the keys of an element end with it
        # All elements drew from one sequence. A key that depends on the element shows that they
        # drew a different number of keys.
        if differs_by_element(keys):
            raise BatchedStateError(_KEYS_DIFFER)
        return keys

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
