"""Reading, making and writing variables: one mechanism for parameters, state and every collection."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core import config, trace_guard
from purestate._core.collection import DO_NOT_STORE, Bundle, Collection, copy_bundle
from purestate._core.errors import (
    MissingInitializerError,
    MissingRNGError,
    MissingStateError,
    ShapeMismatchError,
)
from purestate._core.frame import Frame, ambient, collection_for, get_frame, no_frame
from purestate._core.hooks import GetterContext, SetterContext, functions_for, run_chain
from purestate._core.naming import path_here
from purestate._core.path import variable_path
from purestate._core.share import Shared
from purestate._core.variable_checks import (
    check_array,
    check_arrays,
    check_name,
    check_same_kind,
    check_size,
    check_specification,
    immutable,
    missing_in,
    missing_parameter,
    no_bundle,
    no_initializer,
    no_value_yet,
    not_an_array,
    not_shared,
    would_begin_anew,
)

Initializer = Callable[[Sequence[int], Any], jax.Array]
"""`init(shape, dtype) -> array`."""


def get_parameter(
    name: str,
    shape: Sequence[int],
    dtype: Any = None,
    init: Initializer | None = None,
    *,
    trainable: bool | None = True,
    axes: Sequence[str | None] | None = None,
) -> jax.Array:
    """Returns the parameter `name` of the module that is running; makes it in `init`.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: x * ps.get_parameter("scale", [3], init=jnp.ones))
    >>> params = f.init(None, jnp.ones([2, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'~': {'scale': (3,)}}

    Args:
      name: what it is called within its module.
      shape: the shape that is expected, and that a new parameter gets.
      dtype: what a new parameter gets; float32 where None.
      init: `init(shape, dtype)` makes the first value.
      trainable: False for one that is not to be trained: it gets no gradient, and `specs` says so,
        for `partition_trainable` and `trainable_only`. None leaves it to be said elsewhere.
      axes: a name for each axis, for `specs` to tell.

    Returns:
      The array of that shape, after all active getters.

    Raises:
      FrameError: used outside a transformed function.
      MissingParameterError: `apply` was given no such parameter.
      ShapeMismatchError: the one that was given has another shape.
      DtypeMismatchError: it was asked for before in this run, with a dtype of another kind.
      MissingInitializerError: it is to be made and `init` is None.
      VariableTypeError: `init` or a getter returned something that is not an array; or the name is
        no string.
      JaxUsageError: it is to be made inside a plain JAX transform and would not outlive it.
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
    asked = frame.asked
    if name.__class__ is not str:
        check_name(path, name)
    if (path, name) not in asked:
        asked[path, name] = dtype
    elif asked[path, name] is not dtype:
        check_same_kind(path, name, asked[path, name], dtype)
    if value is None:
        value = _create_parameter(frame, hooks, path, name, shape, dtype, init)
    elif init.__class__ is Shared:  # pyright: ignore[reportUnnecessaryComparison] (stands for an initializer)
        raise not_shared(path, name)
    elif config.ever_strict:
        trace_guard.check_strictly(frame.trace_state, f"`ps.get_parameter({name!r})`", path)
    if frame.recorder is not None:
        value = frame.recorder.note(
            frame, "params", path, name, value, init=init, trainable=trainable, axes=axes
        )
    if hooks:
        value = run_getters(
            frame, hooks, "params", path, name, shape, dtype or jnp.float32, init, value
        )
    try:
        actual = value.shape
    except AttributeError:
        raise not_an_array(path, name, value) from None
    # A list is never equal to a tuple; most callers pass one or the other all the time.
    if actual != shape and actual != tuple(shape):
        raise ShapeMismatchError(
            f"Parameter {name!r} of {path!r} has shape {tuple(actual)}, but {tuple(shape)} was"
            f" asked for (dtype {jnp.dtype(dtype or jnp.float32).name}). Either the params come"
            " from another model, or the input has another shape than at init."
        )
    if trainable is False:
        value = jax.lax.stop_gradient(value)
    return value


def _create_parameter(
    frame: Frame, hooks: Any, path: str, name: str, shape: Any, dtype: Any, init: Initializer | None
) -> Any:
    if isinstance(init, Shared):
        return init.value
    params = frame.collections["params"]
    dtype = jnp.float32 if dtype is None else dtype
    creating = init or no_initializer(path, name)
    check_size(path, name, shape)
    try:
        value = _run_creators(frame, hooks, "params", path, name, shape, dtype, init, creating)
    except (MissingRNGError, MissingInitializerError):
        if params.creatable:
            raise
        raise missing_parameter(params, path, name, shape) from None
    if value is DO_NOT_STORE:
        return value
    if not params.creatable:
        raise missing_parameter(params, path, name, shape)
    check_array(path, name, value)
    keep_new(frame, params, path, name, value, f"Making parameter {name!r}")
    return value


def keep_new(
    frame: Frame, collection: Collection, path: str, name: str, value: Any, what: str
) -> None:
    """Puts a new variable into a collection, unless it would die with an inner trace."""
    trace_guard.check_strictly(frame.trace_state, what, path)
    trace_guard.check_outlives_trace(value, frame.trace_state, what, path)
    collection.values.setdefault(path, {})[name] = value
    if collection.initial is not None:
        collection.initial.setdefault(path, {}).setdefault(name, value)


def _context(
    frame: Frame, path: str, name: str, shape: Any, dtype: Any, init: Any
) -> GetterContext:
    return GetterContext(
        variable_path(path, name), frame.scope.module, dtype, shape, init, lift_prefix()
    )


def _run_creators(
    frame: Frame,
    hooks: Any,
    collection: str,
    path: str,
    name: str,
    shape: Any,
    dtype: Any,
    init: Any,
    creating: Any,
) -> Any:
    functions = functions_for(("create", collection), hooks) if hooks else None
    outer = frame.making
    frame.making = [name, 0]
    try:
        if not functions:
            try:
                return creating(shape, dtype)
            except (TypeError, ValueError, AttributeError):
                check_specification(path, name, shape, dtype, init)
                raise
        context = _context(frame, path, name, shape, dtype, init)
        return run_chain(
            functions,
            lambda shape, dtype, init: init(shape, dtype),
            context,
            shape,
            dtype,
            creating,
        )
    finally:
        frame.making = outer


def run_getters(
    frame: Frame,
    hooks: Any,
    collection: str,
    path: str,
    name: str,
    shape: Any,
    dtype: Any,
    init: Any,
    value: Any,
) -> Any:
    """Runs the getters that are active around a value that is read."""
    functions = functions_for(("get", collection), hooks)
    if not functions:
        return value
    return run_chain(
        functions, lambda value: value, _context(frame, path, name, shape, dtype, init), value
    )


def get_state(
    name: str,
    shape: Sequence[int] | None = None,
    dtype: Any = jnp.float32,
    init: Initializer | None = None,
    *,
    collection: str | None = None,
) -> jax.Array:
    """Returns the state `name` of the module that is running; makes it where it is missing.

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
      name: what it is called within its module.
      shape: what a new state gets.
      dtype: what a new state gets.
      init: `init(shape, dtype)` makes the first value.
      collection: where it belongs, if not to "state"; see `variable`.

    Returns:
      The value that was set last, after all active getters.

    Raises:
      FrameError: used outside a transformed function.
      MissingStateError: there is none, and `init` or `shape` is None; or `apply` was given a state
        that lacks it.
      VariableTypeError: `init` returned something that is not an array; or the name is no string.
      JaxUsageError: it is to be made inside a plain JAX transform and would not outlive it.
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
    else:
        state = collection_for(frame, collection, path, name)
    if path in state.values and name in state.values[path]:
        value = state.values[path][name]
        if config.ever_strict:
            trace_guard.check_strictly(frame.trace_state, f"`ps.get_state({name!r})`", path)
    else:
        value = _create_state(frame, hooks, state, path, name, shape, dtype, init)
    if frame.recorder is not None:
        collection = frame.labels.get((path, name), state.name)
        value = frame.recorder.note(frame, collection, path, name, value, init=init)
    if hooks:
        value = run_getters(frame, hooks, "state", path, name, shape, dtype, init, value)
    return value


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
            f"State {name!r} of {path!r} has no value yet, and"
            f" {'shape' if shape is None else 'dtype'} is None: pass both shape and dtype along"
            " with init to have it made."
        )
    if not state.creatable:
        raise (
            would_begin_anew(state, path, name)
            if frame.mutable is None
            else missing_in(state, path, name)
        )
    check_size(path, name, shape)
    value = _run_creators(frame, hooks, "state", path, name, shape, dtype, init, init)
    if value is not DO_NOT_STORE:
        if state.anew is not None:
            state.anew.append(variable_path(path, name))
        if not hasattr(value, "shape") or isinstance(value, np.ndarray):
            check_arrays(path, name, value, "State")
        keep_new(frame, state, path, name, value, f"Making state {name!r}")
    return value


def set_state(name: str, value: Any, *, collection: str | None = None) -> None:
    """Sets the state `name` of the module that is running.

    `init` returns what a state was first; `apply` what it was last. See `get_state`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.set_state("last", x))
    >>> params, state = f.init(None, jnp.ones([]))
    >>> float(f.apply(params, state, None, jnp.zeros([]))[1]["~"]["last"])
    0.0

    Args:
      name: what it is called within its module.
      value: an array, or a pytree of arrays.
      collection: where it belongs, if not to "state"; see `variable`.

    Raises:
      FrameError: used outside a transformed function.
      VariableTypeError: `value` holds something that is no array; or the name is no string.
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
            context = SetterContext(
                variable_path(path, name), frame.scope.module, dtype, shape, lift_prefix()
            )
            value = run_chain(functions, lambda value: value, context, value)
    if value is DO_NOT_STORE:
        return
    try:
        value.shape  # noqa: B018 (an array, most of the time)
    except AttributeError:
        check_arrays(path, name, value, "State")
    if value.__class__ is np.ndarray:
        check_arrays(path, name, value, "State")
    if name.__class__ is not str:
        check_name(path, name)
    if collection is None:
        state = frame.collections["state"]
    else:
        state = collection_for(frame, collection, path, name)
    if not state.writable:
        raise immutable(frame, state.name, path, name)
    keep_new(frame, state, path, name, value, f"`ps.set_state({name!r})`")
    if frame.recorder is not None:
        frame.recorder.note_set(
            frame, frame.labels.get((path, name), state.name), path, name, value
        )


def get_params() -> Bundle:
    """Returns a copy of the parameters that there are so far, of all modules.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     y = ps.Linear(1)(x)
    ...     return y + sum((p**2).sum() for p in jax.tree.leaves(ps.get_params()))
    >>> ps.transform(f).init(jax.random.key(0), jnp.ones([1, 1])).keys()
    dict_keys(['linear'])

    Returns:
      `{module: {name: array}}`.

    Raises:
      FrameError: used outside a transformed function.
    """
    return copy_bundle(get_frame("`ps.get_params`").collections["params"].values)


def get_initial_state() -> Bundle:
    """Returns a copy of the state as it was when `apply` began, or when first made.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def f():
    ...     ps.get_state("n", [], init=jnp.zeros)
    ...     ps.set_state("n", jnp.ones([]))
    ...     return ps.get_initial_state(), ps.get_current_state()
    >>> (first, last), _ = ps.transform_with_state(f).apply({}, None, None)
    >>> float(first["~"]["n"]), float(last["~"]["n"])
    (0.0, 1.0)

    Returns:
      `{module: {name: value}}`.

    Raises:
      FrameError: used outside a transformed function.
    """
    initial = get_frame("`ps.get_initial_state`").collections["state"].initial
    return copy_bundle(initial or {})


def get_current_state() -> Bundle:
    """Returns a copy of the state as it is now; see `get_initial_state`.

    >>> import purestate as ps
    >>> ps.transform(ps.get_current_state).apply({}, None)
    {}

    Returns:
      `{module: {name: value}}`.

    Raises:
      FrameError: used outside a transformed function.
    """
    return copy_bundle(get_frame("`ps.get_current_state`").collections["state"].values)


def current_name() -> str:
    """Returns the path of the module that is running, `"~"` outside any module.

    >>> import purestate as ps
    >>> ps.transform(ps.current_name).apply({}, None)
    '~'

    Returns:
      The path, such as `"mlp/~/linear_0"`.

    Raises:
      FrameError: used outside a transformed function.
    """
    frame = get_frame("`ps.current_name`")
    return path_here(frame, frame.scope)


def running_init() -> bool:
    """Returns whether it is `init` that runs, and not `apply`.

    >>> import purestate as ps
    >>> ps.transform(ps.running_init).apply({}, None)
    False

    Returns:
      True in `init`.

    Raises:
      FrameError: used outside a transformed function.
    """
    return get_frame("`ps.running_init`").running_init


def lift_prefix() -> str | None:
    """The prefix that lifting modules put before the names of their inner function's parameters."""
    frames = ambient.get()[0]
    if not frames[-1].running_init:
        return None
    prefixes = [
        frame.scope.module.prefix_name
        for frame in frames
        if getattr(frame.scope.module, "prefix_name", None)
    ]
    return "/".join(prefixes) + "/" if prefixes else None
