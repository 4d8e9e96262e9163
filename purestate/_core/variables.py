"""Reading, making and writing variables: one mechanism for parameters, state and every collection."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core import config, trace_guard
from purestate._core.collection import DO_NOT_STORE, AllBut, Bundle, Collection, copy_bundle
from purestate._core.errors import (
    DtypeMismatchError,
    ImmutableCollectionError,
    MissingInitializerError,
    MissingParameterError,
    MissingRNGError,
    MissingStateError,
    ShapeMismatchError,
    VariableError,
    VariableTypeError,
)
from purestate._core.frame import Frame, ambient, collection_for, get_frame, no_frame
from purestate._core.hooks import GetterContext, SetterContext, functions_for, run_chain
from purestate._core.naming import path_here
from purestate._core.path import variable_path
from purestate._core.share import Shared

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
      trainable: False for one that is not to be trained: it gets no gradient, and `specs` says so, for
        `partition_trainable` and `trainable_only`. None leaves it to be said elsewhere.
      axes: a name for each axis, for `specs` to tell.

    Returns:
      The array of that shape, after all active getters.

    Raises:
      FrameError: used outside a transformed function.
      MissingParameterError: `apply` was given no such parameter.
      ShapeMismatchError: the one that was given has another shape.
      DtypeMismatchError: it was asked for before in this run, with a dtype of another kind.
      MissingInitializerError: it is to be made and `init` is None.
      VariableTypeError: `init` or a getter returned something that is not an array; or the name is no string.
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
        if name in bundle:
            value = bundle[name]
    asked = frame.asked
    if (path, name) not in asked:
        asked[path, name] = dtype
    elif asked[path, name] is not dtype:
        _check_same_kind(path, name, asked[path, name], dtype)
    if value is None:
        value = _create_parameter(frame, hooks, path, name, shape, dtype, init)
    elif init.__class__ is Shared:  # pyright: ignore[reportUnnecessaryComparison] (stands for an initializer)
        raise _not_shared(path, name)
    elif config.ever_strict:
        trace_guard.check_strictly(frame.trace_state, f"`ps.get_parameter({name!r})`", path)
    if frame.recorder is not None:
        value = frame.recorder.note(frame, "params", path, name, value, init=init, trainable=trainable, axes=axes)
    if hooks:
        value = run_getters(frame, hooks, "params", path, name, shape, dtype or jnp.float32, init, value)
    try:
        actual = value.shape
    except AttributeError:
        raise _not_an_array(path, name, value) from None
    # A list is never equal to a tuple; most callers pass one or the other all the time.
    if actual != shape and actual != tuple(shape):
        raise ShapeMismatchError(
            f"Parameter {name!r} of {path!r} has shape {tuple(actual)}, but {tuple(shape)} was asked for "
            f"(dtype {jnp.dtype(dtype or jnp.float32).name}). Either the params come from another model, or the input has "
            "another shape than at init."
        )
    if trainable is False:
        value = jax.lax.stop_gradient(value)
    return value


def _create_parameter(
    frame: Frame, hooks: Any, path: str, name: str, shape: Any, dtype: Any, init: Initializer | None
) -> Any:
    if isinstance(init, Shared):
        return init.value
    _check_name(path, name)
    params = frame.collections["params"]
    dtype = jnp.float32 if dtype is None else dtype
    creating = init or _no_initializer(path, name)
    _check_size(path, name, shape)
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
    _check_array(path, name, value)
    keep_new(frame, params, path, name, value, f"Making parameter {name!r}")
    return value


def check_arrays(path: str, name: str, value: Any, what: str) -> None:
    """Raises unless `value` is an array, a number, or a pytree of these."""
    for leaf in jax.tree.leaves(value):
        if isinstance(leaf, (bool, int, float, complex)):
            continue
        if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
            modules = hasattr(leaf, "module_name")
            raise VariableTypeError(
                f"{what} {variable_path(path, name)!r} has to be an array, or a pytree of arrays, but it "
                f"{'contains a Module' if modules else 'is' if leaf is value else 'contains'} "
                f"{'(' if modules else 'a '}{type(leaf).__name__}{')' if modules else ''}."
                + (" Keep a module as an attribute; its variables are stored under its own path." if modules else "")
            )
        if _is_unknown_to_jax(leaf):
            raise _unknown_to_jax(what, path, name, leaf)


def _is_unknown_to_jax(value: Any) -> bool:
    """Whether an array is of objects, strings or dates, which only numpy has."""
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "OSUTMm"


def _unknown_to_jax(what: str, path: str, name: str, value: Any) -> VariableTypeError:
    return VariableTypeError(
        f"{what} {variable_path(path, name)!r} has to be an array of numbers, but it is one of numpy's dtype {value.dtype}, which "
        "JAX does not have."
    )


def _check_name(path: str, name: str) -> None:
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise VariableTypeError(f"A variable of {path!r} is called {name!r}; its name has to be a string, such as 'w'.")


def immutable(frame: Frame, collection: str, path: str, name: str) -> ImmutableCollectionError:
    """The error for a write to a collection that may not change."""
    import difflib  # here, since only errors need it

    where = f"{name!r} of {path!r} in the collection {collection!r}"
    if frame.mutable is None:
        return ImmutableCollectionError(
            f"{where} was set, but parameters do not change while `apply` of this transform runs. Keep what changes as state "
            "(ps.set_state), or use `ps.transform_with_collections` and `apply(variables, rng, ..., mutable=['params'])`."
        )
    asked = list(frame.mutable) if isinstance(frame.mutable, (list, tuple, set, frozenset)) else []
    near = difflib.get_close_matches(collection, [str(given) for given in asked], n=1)
    told = frame.mutable if isinstance(frame.mutable, AllBut) else (asked or False)
    hint = f" Did you mean {collection!r} where you wrote {near[0]!r}?" if near else ""
    return ImmutableCollectionError(
        f"{where} was set, but `apply` was told mutable={told}.{hint} To have it changed, and returned, call "
        f"`apply(variables, rng, ..., mutable=[{collection!r}])`."
    )


def keep_new(frame: Frame, collection: Collection, path: str, name: str, value: Any, what: str) -> None:
    """Puts a new variable into a collection, unless it would die with an inner trace."""
    trace_guard.check_strictly(frame.trace_state, what, path)
    trace_guard.check_outlives_trace(value, frame.trace_state, what, path)
    collection.values.setdefault(path, {})[name] = value
    if collection.initial is not None:
        collection.initial.setdefault(path, {}).setdefault(name, value)


def _no_initializer(path: str, name: str) -> Initializer:
    def init(shape: Any, dtype: Any) -> Any:
        raise MissingInitializerError(
            f"{name!r} of {path!r} has to be made, with shape {tuple(shape)} and dtype {jnp.dtype(dtype).name}, but no "
            "initializer was given. Pass one, such as init=jnp.zeros or init=ps.initializers.TruncatedNormal()."
        )

    return init


def _check_size(path: str, name: str, shape: Any) -> None:
    # XLA ends the process where the size of an array is no 64-bit number.
    sizes = [size for size in shape if isinstance(size, int)] if isinstance(shape, (tuple, list)) else []
    if math.prod(sizes) >= 2**63:
        raise VariableError(f"{variable_path(path, name)!r} cannot be made: no array is as large as {tuple(shape)}.")


def _not_an_array(path: str, name: str, value: Any) -> VariableTypeError:
    return VariableTypeError(
        f"Parameter {name!r} of {path!r} has to be an array, but its initializer, creator or getter returned "
        f"{'None' if value is None else 'a ' + type(value).__name__}."
    )


def _check_array(path: str, name: str, value: Any) -> None:
    if not isinstance(value, (jax.Array, np.ndarray, np.generic)) and not (
        hasattr(value, "shape") and hasattr(value, "dtype")
    ):
        raise _not_an_array(path, name, value)
    if _is_unknown_to_jax(value):
        raise _unknown_to_jax("Parameter", path, name, value)


def missing_parameter(params: Collection, path: str, name: str, shape: Any) -> MissingParameterError:
    """The error for a parameter that `apply` was not given, with what is near by."""
    return MissingParameterError(
        f"`apply` needs parameter {name!r} of {path!r} with shape {tuple(shape)}, and was not given it. "
        f"{_what_is_there(params, path, name)} {_swapped(path, name)}"
        "All parameters are made by `init`: run it on the same function, and pass on what it returned."
    )


def _swapped(path: str, name: str) -> str:
    frames = ambient.get()[0]
    state = frames[-1].collections["state"].values if frames else {}
    is_there = name in _names_in(state.get(path))
    return "The given state has it: are params and state in each other's place? " if is_there else ""


def _what_is_there(kept: Collection, path: str, name: str) -> str:
    """What a collection has where a variable is missed, and what is called nearly the same."""
    import difflib  # here, since only errors need it

    have = [variable_path(module, key) for module, bundle in kept.values.items() for key in _names_in(bundle)]
    if path in kept.values:
        there = f"{path!r} has {_listed(_names_in(kept.values[path]))}."
    else:
        there = f"There is no module {path!r} in {kept.name}{'' if kept.values else ', which are empty'}."
    near = difflib.get_close_matches(variable_path(path, name), have, n=3, cutoff=0.6)
    return there + (f" Near it: {_listed(near)}." if near else "")


def _kind(dtype: Any) -> str:
    for kind in ("bool", "integer", "floating", "complexfloating"):
        if jnp.issubdtype(dtype, jnp.bool_ if kind == "bool" else getattr(jnp, kind)):
            return kind
    return str(dtype)


def _check_same_kind(path: str, name: str, before: Any, now: Any) -> None:
    before, now = (jnp.float32 if dtype is None else dtype for dtype in (before, now))
    if _kind(before) != _kind(now):
        raise DtypeMismatchError(
            f"Parameter {name!r} of {path!r} is asked for with dtype {jnp.dtype(before).name} and with dtype "
            f"{jnp.dtype(now).name} in one run: the same name is one array. Ask for the same dtype at both places and convert "
            "what you get, or give one of them another name."
        )


def _not_shared(path: str, name: str) -> VariableError:
    return VariableError(
        f"Parameter {name!r} of {path!r} is to be shared (ps.share), but params have an array of its own for it, which would "
        f"be left unused. Take {variable_path(path, name)!r} out of them; were they made before it was shared, "
        "`ps.surgery.delete` does."
    )


def _names_in(bundle: Any) -> list[str]:
    return [str(name) for name in bundle] if isinstance(bundle, Iterable) else []


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return (shown or "nothing") + (f" and {len(names) - most} more" if len(names) > most else "")


def _context(frame: Frame, path: str, name: str, shape: Any, dtype: Any, init: Any) -> GetterContext:
    return GetterContext(variable_path(path, name), frame.scope.module, dtype, shape, init, lift_prefix())


def _run_creators(
    frame: Frame, hooks: Any, collection: str, path: str, name: str, shape: Any, dtype: Any, init: Any, creating: Any
) -> Any:
    functions = functions_for(("create", collection), hooks) if hooks else None
    outer = frame.making
    frame.making = [name, 0]
    try:
        if not functions:
            return creating(shape, dtype)
        context = _context(frame, path, name, shape, dtype, init)
        return run_chain(functions, lambda shape, dtype, init: init(shape, dtype), context, shape, dtype, creating)
    finally:
        frame.making = outer


def run_getters(
    frame: Frame, hooks: Any, collection: str, path: str, name: str, shape: Any, dtype: Any, init: Any, value: Any
) -> Any:
    """Runs the getters that are active around a value that is read."""
    functions = functions_for(("get", collection), hooks)
    if not functions:
        return value
    return run_chain(functions, lambda value: value, _context(frame, path, name, shape, dtype, init), value)


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
      MissingStateError: there is none, and `init` or `shape` is None; or `apply` was given a state that lacks it.
      VariableTypeError: `init` returned something that is not an array; or the name is no string.
      JaxUsageError: it is to be made inside a plain JAX transform and would not outlive it.
    """
    frames, hooks = ambient.get()
    if not frames:
        raise no_frame("`ps.get_state`")
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
    frame: Frame, hooks: Any, state: Collection, path: str, name: str, shape: Any, dtype: Any, init: Any
) -> Any:
    if init is None:
        there = _listed(_names_in(state.values[path])) if path in state.values else "no state at all"
        raise MissingStateError(
            f"State {name!r} of {path!r} has no value yet ({path!r} has {there}). Either call what sets it first (in a "
            "normalization layer: run once with is_training=True), or pass shape and init to make it here."
        )
    if shape is None or dtype is None:
        raise MissingStateError(
            f"State {name!r} of {path!r} has no value yet, and {'shape' if shape is None else 'dtype'} is None: pass both "
            "shape and dtype along with init to have it made."
        )
    if not state.creatable:
        raise would_begin_anew(state, path, name) if frame.mutable is None else missing_in(state, path, name)
    _check_name(path, name)
    _check_size(path, name, shape)
    value = _run_creators(frame, hooks, "state", path, name, shape, dtype, init, init)
    if value is not DO_NOT_STORE:
        if state.anew is not None:
            state.anew.append(variable_path(path, name))
        if not hasattr(value, "shape") or isinstance(value, np.ndarray):
            check_arrays(path, name, value, "State")
        keep_new(frame, state, path, name, value, f"Making state {name!r}")
    return value


def would_begin_anew(state: Collection, path: str, name: str) -> MissingStateError:
    """The error for a read of state that `apply` was not given, though it was given some."""
    return MissingStateError(
        f"`apply` reads state {name!r} of {path!r}, which the given state lacks: {_what_is_there(state, path, name)} It "
        "would begin anew, without a word. Pass the whole state that `init` or the last `apply` returned; make it in `init` "
        "(a normalization layer: with is_training=True); or pass None as the state to begin anew on purpose. "
        "ps.config.set(new_state='warn') lets single entries be made here."
    )


def missing_in(collection: Collection, path: str, name: str, asked: str | None = None) -> MissingStateError:
    """The error for a variable that is not in a collection, `asked` by name, and may not be made there."""
    frames = ambient.get()[0]
    if frames and (frames[-1].running_init or frames[-1].mutable is None):
        return MissingStateError(
            f"{name!r} of {path!r} is not in the collection {asked or collection.name!r}: "
            f"{_what_is_there(collection, path, name)} Make it before it is read: `ps.variable(collection, name, shape, init=...)`."
        )
    have = [variable_path(module, key) for module, bundle in collection.values.items() for key in _names_in(bundle)]
    return MissingStateError(
        f"`apply` needs {name!r} of {path!r} in the collection {collection.name!r}, was not given it, and may not make it. "
        f"{collection.name!r} has {_listed(have)}. Pass all that `init` returned, or have it made with "
        f"mutable=[{collection.name!r}]."
    )


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
            context = SetterContext(variable_path(path, name), frame.scope.module, dtype, shape, lift_prefix())
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
        _check_name(path, name)
    if collection is None:
        state = frame.collections["state"]
    else:
        state = collection_for(frame, collection, path, name)
    if not state.writable:
        raise immutable(frame, state.name, path, name)
    keep_new(frame, state, path, name, value, f"`ps.set_state({name!r})`")
    if frame.recorder is not None:
        frame.recorder.note_set(frame, frame.labels.get((path, name), state.name), path, name, value)


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
    prefixes = [frame.scope.module.prefix_name for frame in frames if getattr(frame.scope.module, "prefix_name", None)]
    return "/".join(prefixes) + "/" if prefixes else None
