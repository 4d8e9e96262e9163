"""Variables by collection and name, as handles: Flax's way over the same frame."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.collection import Collection
from purestate._core.creation import keep_new, run_getters, run_mappers, shield
from purestate._core.errors import FrameError, ShapeMismatchError
from purestate._core.frame import Creating, Frame, ambient, get_frame
from purestate._core.naming import path_here
from purestate._core.path import variable_path
from purestate._core.variable_checks import (
    cannot_create,
    check_arrays,
    check_name,
    immutable,
    missing_in,
    missing_parameter,
)
from purestate._core.variables import get_parameter, get_state, set_state


class Variable:
    """A handle for one variable: `handle.value` reads it, `handle.value = new` sets it.

    Made by `variable`. It stays good while the transformed function runs, in other modules too.
    """

    __slots__ = ("_frame", "_scope", "_trainable", "collection", "name")

    def __init__(self, frame: Frame, collection: str, name: str, trainable: bool = True):
        self._frame = frame
        self._trainable = trainable
        self._scope = frame.scope
        self.collection = collection
        self.name = name

    def _at_home(self, run: Callable[..., Any], *args: Any) -> Any:
        """Runs something in the module that the handle was made in."""
        frame = get_frame("A variable's `value`")
        if frame is not self._frame:
            raise FrameError(
                f"{self!r} was made in another run of init or apply, or in another transformed"
                " function. A handle is good for the run that made it: call `ps.variable` again."
            )
        outer = frame.scope
        frame.scope = self._scope
        try:
            return run(*args)
        finally:
            frame.scope = outer

    @property
    def value(self) -> Any:
        """The current value."""
        value = self._at_home(get_variable, self.collection, self.name)
        return value if self._trainable else jax.lax.stop_gradient(value)

    @value.setter
    def value(self, value: Any) -> None:
        self._at_home(set_variable, self.collection, self.name, value)

    def __repr__(self) -> str:
        return (
            f"Variable({self.collection!r}, {variable_path(self._scope.path or '', self.name)!r})"
        )


def variable(
    collection: str,
    name: str,
    shape: Sequence[int] | None = None,
    dtype: Any = jnp.float32,
    init: Callable[..., Any] | None = None,
    *,
    trainable: bool = True,
    axes: Sequence[str | None] | None = None,
) -> Variable:
    """Returns a handle for the variable `name` of the running module; creates it if missing.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def running_mean(x):
    ...     mean = ps.variable("batch_stats", "mean", x.shape[-1:], init=jnp.zeros)
    ...     mean.value = 0.9 * mean.value + 0.1 * x.mean(0)
    ...     return x - mean.value
    >>> f = ps.transform_with_collections(running_mean)
    >>> variables = f.init(None, jnp.ones([4, 2]))
    >>> out, updated = f.apply(variables, None, jnp.ones([4, 2]), mutable="batch_stats")
    >>> updated["batch_stats"]["~"]["mean"].tolist()
    [0.10000000149011612, 0.10000000149011612]

    Args:
      collection: its collection: "params", "state", or a name of your own. Under
        `transform_with_state`, one state holds all collections except "params".
      name: its name within the module.
      shape: the shape of a new variable.
      dtype: the dtype of a new variable.
      init: `init(shape, dtype)` returns the initial value. Without `shape`, `init()` returns an
        array or a pytree of arrays.
      trainable: for "params", whether it is trained; see `get_parameter`.
      axes: a name for each axis, which `specs` returns.

    Returns:
      A handle with a `value`.

    Raises:
      FrameError: used outside a transformed function.
      CollectionError: the name is in another collection of the same module.
      MissingStateError: it does not exist and may not be created.
      VariableTypeError: `init` returned something that is not an array.
    """
    frame = get_frame("`ps.variable`")
    if init is not None and shape is None:
        _make_tree(frame, collection, name, init, trainable, axes)
    elif init is not None and collection == "params":
        get_parameter(name, shape or (), dtype, init, trainable=trainable, axes=axes)
    elif init is not None:
        get_state(name, shape, dtype, init, collection=collection)
    return Variable(frame, collection, name, trainable)


def _values_here(frame: Frame, collection: str, name: str) -> tuple[Collection, str, Any]:
    path = path_here(frame, frame.scope)
    check_name(path, name)
    kept = frame.layout.store(frame, collection, path, name)
    return kept, path, kept.values.get(path, {})


def _make_tree(
    frame: Frame, collection: str, name: str, init: Callable[[], Any], trainable: bool, axes: Any
) -> None:
    """Makes a variable whose value may be a pytree."""
    kept, path, values = _values_here(frame, collection, name)
    if name in values:
        return
    if not kept.creatable:
        raise cannot_create(frame, kept, path, name)
    outer, frame.creating = frame.creating, Creating(collection, path, name)
    try:
        value = init()
    finally:
        frame.creating = outer
    check_arrays(path, name, value, "Variable")
    value = jax.tree.map(jnp.asarray, value)
    value = run_mappers(frame, "make", collection, path, name, value)
    keep_new(frame, kept, path, name, value, f"Making {name!r}")
    for observer in frame.observers:
        observer.read(
            frame, collection, path, name, value, init=init, trainable=trainable, axes=axes
        )


def get_variable(collection: str, name: str) -> Any:
    """Returns the value of the variable `name` of the running module.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def f():
    ...     ps.variable("cache", "index", [], jnp.int32, init=jnp.zeros)
    ...     return ps.get_variable("cache", "index")
    >>> int(ps.transform_with_state(f).apply({}, None, None)[0])
    0

    Args:
      collection: which collection it is in.
      name: its name within the module.

    Returns:
      The value, after all active getters.

    Raises:
      FrameError: used outside a transformed function.
      MissingStateError: it does not exist.
      MissingParameterError: it does not exist, in "params".
    """
    frame = get_frame("`ps.get_variable`")
    kept, path, values = _values_here(frame, collection, name)
    if name not in values or (collection == "params" and values[name] is None):  # a hole
        if collection == "params":
            raise missing_parameter(kept, path, name, ())
        raise missing_in(kept, path, name, collection)
    if collection != "params":
        return get_state(name, collection=collection)
    value = values[name]
    # A transform that looks ahead shows one element of a variable that each element has its own of.
    for observer in frame.observers:
        value = observer.read(frame, collection, path, name, shield(value), trainable=None)
    shape = getattr(value, "shape", None)
    if shape is None:
        value = shield(value)
        return run_getters(frame, ambient.get()[1], "params", path, name, None, None, None, value)
    return get_parameter(name, shape, value.dtype, trainable=None)


def set_variable(collection: str, name: str, value: Any) -> None:
    """Sets the variable `name` of the running module.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     ps.set_variable("cache", "last", x)
    >>> g = ps.transform_with_state(f)
    >>> float(g.apply({}, None, None, jnp.ones([]))[1]["~"]["last"])
    1.0

    Args:
      collection: its collection. In "params" the variable must exist.
      name: its name within the module.
      value: an array, or a pytree of arrays.

    Raises:
      FrameError: used outside a transformed function.
      ImmutableCollectionError: the collection may not change.
      CollectionError: the name is in another collection of the same module.
      VariableTypeError: `value` holds something that is not an array.
    """
    if collection == "params":
        set_parameter(name, value)
    else:
        set_state(name, value, collection=collection)


def set_parameter(name: str, value: Any) -> None:
    """Sets the parameter `name` of the running module, if parameters may change.

    They may under `transform_with_collections`, if "params" is mutable.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def f():
    ...     ps.set_parameter("w", 2 * ps.get_parameter("w", [], init=jnp.ones))
    >>> g = ps.transform_with_collections(f)
    >>> variables = g.init(None)
    >>> _, updated = g.apply(variables, None, mutable=["params"])
    >>> float(variables["params"]["~"]["w"]), float(updated["params"]["~"]["w"])
    (1.0, 2.0)

    Args:
      name: its name within the module.
      value: an array of the same shape as the parameter.

    Raises:
      FrameError: used outside a transformed function.
      ImmutableCollectionError: parameters may not change.
      MissingParameterError: the module has no parameter of this name.
      ShapeMismatchError: it has another shape.
      VariableTypeError: `value` is not an array.
    """
    frame = get_frame("`ps.set_parameter`")
    params, path, values = _values_here(frame, "params", name)
    if not params.writable:
        raise immutable(frame, "params", path, name)
    check_arrays(path, name, value, "Parameter")
    value = run_mappers(frame, "write", "params", path, name, value)
    if name not in values and params.creatable:  # in `init`
        keep_new(frame, params, path, name, value, f"`ps.set_parameter({name!r})`")
        return
    if name not in values:
        raise missing_parameter(params, path, name, jnp.shape(value))
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (values[name], value)]
    if shapes[0] != shapes[1]:
        raise ShapeMismatchError(
            f"Parameter {name!r} of {path!r} has shape {shapes[0]}, and was set to a value of shape"
            f" {shapes[1]}."
        )
    keep_new(frame, params, path, name, value, f"`ps.set_parameter({name!r})`")


def has_variable(collection: str, name: str) -> bool:
    """Returns whether the running module has the variable `name`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def f():
    ...     before = ps.has_variable("cache", "index")
    ...     ps.variable("cache", "index", [], jnp.int32, init=jnp.zeros)
    ...     return before, ps.has_variable("cache", "index")
    >>> ps.transform_with_state(f).apply({}, None, None)[0]
    (False, True)

    Args:
      collection: which collection to look in.
      name: its name within the module.

    Returns:
      Whether it was given, or has been made.

    Raises:
      FrameError: used outside a transformed function.
    """
    frame = get_frame("`ps.has_variable`")
    path = path_here(frame, frame.scope)
    check_name(path, name)
    kept = frame.layout.find(frame, collection, path, name)
    return kept is not None and name in kept.values.get(path, ())


def has_parameter(name: str) -> bool:
    """Returns whether the running module has the parameter `name`.

    >>> import purestate as ps
    >>> ps.transform(lambda: ps.has_parameter("w")).apply({"~": {"w": 0.0}}, None)
    True

    Args:
      name: its name within the module.

    Returns:
      Whether it was given, or has been made.

    Raises:
      FrameError: used outside a transformed function.
    """
    return has_variable("params", name)


def has_state(name: str, *, collection: str | None = None) -> bool:
    """Returns whether the running module has the state `name`.

    >>> import purestate as ps
    >>> ps.transform_with_state(lambda: ps.has_state("n")).apply({}, None, None)[0]
    False

    Args:
      name: its name within the module.
      collection: which collection to look in.

    Returns:
      Whether it was given, or has been made or set.

    Raises:
      FrameError: used outside a transformed function.
    """
    return has_variable(collection or "state", name)


def is_mutable(collection: str) -> bool:
    """Returns whether variables in a collection may be set.

    >>> import purestate as ps
    >>> f = ps.transform_with_collections(lambda: ps.is_mutable("batch_stats"))
    >>> f.apply({}, None), f.apply({}, None, mutable=["batch_stats"])
    (False, (True, {}))

    Args:
      collection: its name.

    Returns:
      In `init`, True; in `apply` of `transform_with_collections`, what `mutable` said; of
      `transform_with_state`, True for all but "params".

    Raises:
      FrameError: used outside a transformed function.
    """
    frame = get_frame("`ps.is_mutable`")
    return frame.layout.may_change(frame, collection)
