"""Reading, creating and setting variables: one mechanism for parameters and all state."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core import config, trace_guard
from purestate._core.collection import DO_NOT_STORE, Collection
from purestate._core.creation import (
    IS_MUTABLE,
    Initializer,
    as_read,
    keep_new,
    lift_prefix,
    run_creators,
    run_getters,
    shield,
)
from purestate._core.errors import (
    MissingInitializerError,
    MissingRNGError,
    MissingStateError,
)
from purestate._core.frame import Creating, Frame, ambient, no_frame
from purestate._core.hooks import SetterContext, functions_for, run_chain
from purestate._core.layout import other_collection
from purestate._core.naming import path_here
from purestate._core.parameters_read import note_same_parameter
from purestate._core.path import variable_path
from purestate._core.share import Shared
from purestate._core.variable_checks import (
    cannot_create,
    check_array,
    check_arrays,
    check_name,
    check_same_kind,
    check_size,
    immutable,
    missing_parameter,
    no_bundle,
    no_initializer,
    no_value_yet,
    not_an_array,
    not_shared,
    wrong_shape,
)


def get_parameter(
    name: str,
    shape: Sequence[int],
    dtype: Any = None,
    init: Initializer | None = None,
    *,
    trainable: bool | None = True,
    axes: Sequence[str | None] | None = None,
) -> jax.Array:
    """Returns the parameter `name` of the running module. `init` creates it.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: x * ps.get_parameter("scale", [3], init=jnp.ones))
    >>> params = f.init(None, jnp.ones([2, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'~': {'scale': (3,)}}

    Args:
      name: its name within the module.
      shape: the expected shape, which is also that of a new parameter.
      dtype: the dtype of a new parameter; None means float32.
      init: `init(shape, dtype)` returns the initial value.
      trainable: False for a parameter that is not trained: its gradient is zero, and `specs` says
        so, for `partition_trainable` and `trainable_only`. None leaves the decision to another
        call.
      axes: a name for each axis, which `specs` returns.

    Returns:
      The array of that shape, after all active getters.

    Raises:
      FrameError: used outside a transformed function.
      MissingParameterError: `apply` was given no such parameter.
      ShapeMismatchError: the one that was given has another shape.
      DtypeMismatchError: it was requested before in this run, with a dtype of another kind.
      MissingInitializerError: it does not exist yet and `init` is None.
      VariableTypeError: `init` or a getter returned something that is not an array, or the name is
        not a string.
      JaxUsageError: it would be created inside a plain JAX transform, and not outlive it.
    """
    frames, hooks = ambient.get()
    if not frames:
        raise no_frame("`ps.get_parameter`")
    frame = frames[-1]
    path = frame.scope.path
    if path is None or frame.boundary >= 0:
        path = path_here(frame, frame.scope)
    params = frame.collections["params"].values
    value = None
    if path in params:
        bundle = params[path]
        try:
            if name in bundle:
                value = bundle[name]
        except TypeError:
            check_name(path, name)
            raise no_bundle(path, bundle) from None
    dtypes = frame.ledger.dtypes
    if name.__class__ is not str:
        check_name(path, name)
    if (path, name) not in dtypes:
        dtypes[path, name] = dtype
    elif dtypes[path, name] is not dtype:
        check_same_kind(path, name, dtypes[path, name], dtype)
    if value is None:
        value = _create_parameter(frame, hooks, path, name, shape, dtype, init)
    elif init.__class__ is Shared:  # pyright: ignore[reportUnnecessaryComparison]
        raise not_shared(path, name)
    else:
        if IS_MUTABLE[value.__class__]:
            value = as_read(value)
        if config.ever_strict:
            trace_guard.check_strictly(frame.home.trace, f"`ps.get_parameter({name!r})`", path)
    for observer in frame.observers:
        value = observer.read(
            frame, "params", path, name, value, init=init, trainable=trainable, axes=axes
        )
    if hooks:
        value = run_getters(
            frame, hooks, "params", path, name, shape, dtype or jnp.float32, init, value
        )
    try:
        actual = value.shape
    except AttributeError:
        raise not_an_array(frame, path, name, value) from None
    # A list is never equal to a tuple; most callers pass one or the other all the time.
    if actual != shape and actual != tuple(shape):
        raise wrong_shape(path, name, actual, shape, dtype)
    if trainable is False:
        value = note_same_parameter(jax.lax.stop_gradient(value), value)
    return value


def _create_parameter(
    frame: Frame, hooks: Any, path: str, name: str, shape: Any, dtype: Any, init: Initializer | None
) -> Any:
    if isinstance(init, Shared):
        return init.value
    params = frame.collections["params"]
    dtype = jnp.float32 if dtype is None else dtype
    make = init or no_initializer(path, name)
    check_size(path, name, shape)
    creating = Creating("params", path, name)
    try:
        value = run_creators(frame, hooks, "params", creating, shape, dtype, init, make)
    except (MissingRNGError, MissingInitializerError):
        if params.creatable:
            raise
        raise missing_parameter(params, path, name, shape) from None
    if value is DO_NOT_STORE:
        return value
    if not params.creatable:
        raise missing_parameter(params, path, name, shape)
    check_array(path, name, value)
    kept = shield(value) if IS_MUTABLE[value.__class__] else value
    keep_new(frame, params, path, name, kept, f"Making parameter {name!r}")
    return value


def get_state(
    name: str,
    shape: Sequence[int] | None = None,
    dtype: Any = jnp.float32,
    init: Initializer | None = None,
    *,
    collection: str | None = None,
) -> jax.Array:
    """Returns the state `name` of the running module, and creates it if it is missing.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def count():
    ...     n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
    ...     ps.set_state("n", n + 1)
    ...     return n
    >>> f = ps.transform_with_state(count)
    >>> params, state = f.init(None)
    >>> _, state = f.apply(params, state, None)
    >>> int(state["~"]["n"])
    1

    Args:
      name: its name within the module.
      shape: the shape of a new state.
      dtype: the dtype of a new state.
      init: `init(shape, dtype)` returns the initial value.
      collection: its collection; None means "state". See `variable`.

    Returns:
      The value that was set last, after all active getters.

    Raises:
      FrameError: used outside a transformed function.
      MissingStateError: it does not exist, and `init` or `shape` is None; or it is missing from the
        state given to `apply`.
      VariableTypeError: `init` returned something that is not an array, or the name is not a
        string.
      JaxUsageError: it would be created inside a plain JAX transform, and not outlive it.
    """
    frames, hooks = ambient.get()
    if not frames:
        raise no_frame("`ps.get_state`")
    if name.__class__ is not str:
        check_name(frames[-1].scope.path or "~", name)
    frame = frames[-1]
    path = frame.scope.path
    if path is None or frame.boundary >= 0:
        path = path_here(frame, frame.scope)
    if collection is None:
        state = frame.collections["state"]
        labels = frame.ledger.labels
        if labels and (path, name) in labels and labels[path, name] != "state":
            raise other_collection(path, name, "state", labels[path, name])
    else:
        state = frame.layout.store(frame, collection, path, name)
    if path in state.values and name in state.values[path]:
        value = state.values[path][name]
        if IS_MUTABLE[value.__class__]:
            value = shield(value)
        if config.ever_strict:
            trace_guard.check_strictly(frame.home.trace, f"`ps.get_state({name!r})`", path)
    else:
        if collection is None:
            _check_only_here(frame, path, name)
        value = _create_state(frame, hooks, state, path, name, shape, dtype, init)
    for observer in frame.observers:
        belongs = frame.layout.collection_of(frame, state.name, path, name)
        value = observer.read(frame, belongs, path, name, value, init=init)
    if hooks:
        kind = collection or "state"
        value = run_getters(frame, hooks, kind, path, name, shape, dtype, init, value)
    return value


def _check_only_here(frame: Frame, path: str, name: str) -> None:
    """Raises if plain state is about to get the name of a variable of another collection."""
    if frame.layout.by_collection:
        for other, kept in frame.collections.items():
            if other not in ("params", "state") and name in kept.values.get(path, ()):
                raise other_collection(path, name, "state", other)


def _create_state(
    frame: Frame,
    hooks: Any,
    state: Collection,
    path: str,
    name: str,
    shape: Any,
    dtype: Any,
    init: Any,
) -> Any:
    if init is None:
        raise no_value_yet(state, path, name)
    if shape is None or dtype is None:
        raise MissingStateError(
            f"State {name!r} of {path!r} does not exist yet, and"
            f" {'shape' if shape is None else 'dtype'} is None. Pass shape, dtype and init to"
            " create it."
        )
    if not state.creatable:
        raise cannot_create(frame, state, path, name)
    check_size(path, name, shape)
    belongs = frame.layout.collection_of(frame, state.name, path, name)
    creating = Creating(belongs, path, name)
    value = run_creators(frame, hooks, "state", creating, shape, dtype, init, init)
    if value is not DO_NOT_STORE:
        if not frame.running_init:
            frame.ledger.recreated.append(variable_path(path, name))
        if not hasattr(value, "shape") or isinstance(value, np.ndarray):
            check_arrays(path, name, value, "State")
            kept = shield(value)
        else:
            kept = value
        keep_new(frame, state, path, name, kept, f"Making state {name!r}")
    return value


def set_state(name: str, value: Any, *, collection: str | None = None) -> None:
    """Sets the state `name` of the running module.

    `init` returns the initial value of a state, and `apply` the last one. See `get_state`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.set_state("last", x))
    >>> params, state = f.init(None, jnp.ones([]))
    >>> float(f.apply(params, state, None, jnp.zeros([]))[1]["~"]["last"])
    0.0

    Args:
      name: its name within the module.
      value: an array, or a pytree of arrays.
      collection: its collection; None means "state". See `variable`.

    Raises:
      FrameError: used outside a transformed function.
      VariableTypeError: `value` holds something that is not an array, or the name is not a string.
      ImmutableCollectionError: the collection may not change.
      JaxUsageError: used inside a plain JAX transform that `value` would not outlive.
    """
    frames, hooks = ambient.get()
    if not frames:
        raise no_frame("`ps.set_state`")
    frame = frames[-1]
    path = frame.scope.path
    if path is None or frame.boundary >= 0:
        path = path_here(frame, frame.scope)
    if hooks:
        functions = functions_for(("set", "state"), hooks)
        if functions:
            shape = jax.tree.map(lambda leaf: getattr(leaf, "shape", None), value)
            dtype = jax.tree.map(lambda leaf: getattr(leaf, "dtype", None), value)
            full_name, module = variable_path(path, name), frame.scope.module
            context = SetterContext(
                full_name, module, dtype, shape, lift_prefix(), collection or "state"
            )
            value = run_chain(functions, lambda value: value, context, value)
    if value is DO_NOT_STORE:
        return
    if IS_MUTABLE[value.__class__]:
        check_arrays(path, name, value, "State")
        value = shield(value)
    if name.__class__ is not str:
        check_name(path, name)
    if collection is None:
        state = frame.collections["state"]
        labels = frame.ledger.labels
        if labels and (path, name) in labels and labels[path, name] != "state":
            raise other_collection(path, name, "state", labels[path, name])
        if name not in state.values.get(path, ()):
            _check_only_here(frame, path, name)
    else:
        state = frame.layout.store(frame, collection, path, name)
    if not state.writable:
        raise immutable(frame, state.name, path, name)
    keep_new(frame, state, path, name, value, f"`ps.set_state({name!r})`")
    for observer in frame.observers:
        belongs = frame.layout.collection_of(frame, state.name, path, name)
        observer.wrote(frame, belongs, path, name, value)
