"""Checks on variables, and the errors for missing or invalid ones."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.collection import Collection
from purestate._core.errors import (
    ArgumentError,
    DtypeMismatchError,
    ImmutableCollectionError,
    MissingInitializerError,
    MissingParameterError,
    MissingStateError,
    PurestateError,
    ShapeMismatchError,
    VariableError,
    VariableTypeError,
    kind_of,
)
from purestate._core.frame import Frame, ambient
from purestate._core.outlines import outline_argument
from purestate._core.path import variable_path


def check_arrays(path: str, name: str, value: Any, what: str) -> None:
    """Raises unless `value` is an array, a number, or a pytree of these."""
    for leaf in jax.tree.leaves(value):
        if isinstance(leaf, (bool, int, float, complex)):
            continue
        if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
            modules = hasattr(leaf, "module_name")
            raise VariableTypeError(
                f"{what} {variable_path(path, name)!r} must be an array or a pytree of arrays, but"
                f" it {'contains a Module' if modules else 'is' if leaf is value else 'contains'}"
                f" {'(' if modules else 'a '}{type(leaf).__name__}{')' if modules else ''}."
                + (
                    " Keep a module as an attribute; its variables are stored under its own path."
                    if modules
                    else _call_it_first(leaf)
                )
            )
        if _is_unknown_to_jax(leaf):
            raise _unknown_to_jax(what, path, name, leaf)


def _is_unknown_to_jax(value: Any) -> bool:
    """Whether an array is of objects, strings or dates, which only numpy has."""
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "OSUTMm"


def _unknown_to_jax(what: str, path: str, name: str, value: Any) -> VariableTypeError:
    return VariableTypeError(
        f"{what} {variable_path(path, name)!r} must be an array of numbers, but has numpy's dtype"
        f" {value.dtype}, which JAX does not support."
    )


def check_name(path: str, name: str) -> None:
    """Raises unless a name is a string."""
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise VariableTypeError(
            f"The name of a variable of {path!r} must be a string, such as 'w', but is {name!r}."
        )


def immutable(frame: Frame, collection: str, path: str, name: str) -> ImmutableCollectionError:
    """The error for a write to a collection that may not change."""
    where = f"{name!r} of {path!r} in the collection {collection!r}"
    return frame.layout.immutable(frame, where, collection)


def no_initializer(path: str, name: str) -> Callable[[Any, Any], Any]:
    """An initializer that says that one is needed."""

    def init(shape: Any, dtype: Any) -> Any:
        raise MissingInitializerError(
            f"{name!r} of {path!r} does not exist yet, and there is no initializer to create it"
            f" with shape {tuple(shape)} and dtype {jnp.dtype(dtype).name}. Pass one, such as"
            " init=jnp.zeros or init=ps.initializers.TruncatedNormal()."
        )

    return init


def check_size(path: str, name: str, shape: Any) -> None:
    """Raises for a number, and for a size that would make XLA end the process."""
    if isinstance(shape, int):
        raise VariableTypeError(
            f"{variable_path(path, name)!r} needs a shape, such as [3, 4], but was given {shape}:"
            f" write [{shape}]."
        )
    sizes = (
        [size for size in shape if isinstance(size, int)]
        if isinstance(shape, (tuple, list))
        else []
    )
    if math.prod(sizes) >= 2**63:
        raise VariableError(
            f"{variable_path(path, name)!r} cannot be created: the shape {tuple(shape)} is too"
            " large for an array."
        )


def check_specification(path: str, name: str, shape: Any, dtype: Any, init: Any) -> None:
    """Raises if a shape, a dtype or an initializer is invalid.

    Called only after a failure, since a creator can accept other values.
    """
    what = variable_path(path, name)
    if init is not None and not callable(init):
        raise VariableTypeError(
            f"The initializer of {what!r} must be a function, `init(shape, dtype) -> array`, such"
            f" as jnp.zeros or ps.initializers.Constant(1.0), but is {outline_argument(init)}."
        )
    if isinstance(init, type):
        raise VariableTypeError(
            f"The initializer of {what!r} is {kind_of(init)}. Pass an instance instead:"
            f" init={init.__name__}(...)."
        )
    if not isinstance(shape, (tuple, list)):
        if not hasattr(shape, "__iter__") or isinstance(shape, (str, bytes, dict)):
            raise VariableTypeError(
                f"{what!r} needs a shape, such as [3, 4], but was given {outline_argument(shape)}."
            )
    elif any(
        size is None or isinstance(size, (float, complex, str, bytes, list, tuple, dict))
        for size in shape
    ):
        raise VariableTypeError(
            f"{what!r} needs a shape of whole numbers, such as [3, 4], but was given {shape!r}."
        )
    elif any(isinstance(size, int) and size < 0 for size in shape):
        raise VariableTypeError(f"{what!r} cannot be made: {tuple(shape)} has a size below 0.")
    try:
        is_dtype = (
            jnp.issubdtype(dtype, jax.dtypes.extended) or jnp.dtype(dtype).kind not in "OSUTMm"
        )
    except (TypeError, ValueError):
        is_dtype = False
    if not is_dtype:
        raise VariableTypeError(
            f"{what!r} needs a dtype, such as jnp.float32, but was given {outline_argument(dtype)}."
        )


def no_bundle(path: str, bundle: Any) -> ArgumentError:
    """The error for a module in params, or in state, that has no dict."""
    return ArgumentError(
        f"`apply` was given {outline_argument(bundle)} for the module {path!r}, which needs a dict"
        " {name: array}. Pass what `init` returned."
    )


def wrong_shape(path: str, name: str, actual: Any, shape: Any, dtype: Any) -> ShapeMismatchError:
    """Returns the error for a parameter that has another shape than requested."""
    return ShapeMismatchError(
        f"Parameter {name!r} of {path!r} has shape {tuple(actual)}, but {tuple(shape)} was"
        f" requested (dtype {jnp.dtype(dtype or jnp.float32).name}). Either the params come"
        " from another model, or the input has another shape than at init."
    )


def not_an_array(frame: Frame, path: str, name: str, value: Any) -> PurestateError:
    """The error for a parameter whose value is not an array."""
    given = frame.collections["params"].values.get(path, {})
    if frame.given is not None and name in given and given[name] is value:
        if is_hole(value):
            return hole(path, name)
        return VariableTypeError(
            f"Parameter {name!r} of {path!r} must be an array, but `apply` was given"
            f" {kind_of(value)} for it. Pass what `init` returned."
        )
    return made_no_array(path, name, value)


def made_no_array(path: str, name: str, value: Any) -> VariableTypeError:
    """The error for a parameter that was created as something else than an array."""
    return VariableTypeError(
        f"Parameter {name!r} of {path!r} must be an array, but its initializer, creator or getter"
        f" returned {kind_of(value)}.{_call_it_first(value)}"
    )


def _call_it_first(value: Any) -> str:
    """What to say if an initializer returned an initializer."""
    if not callable(value) or hasattr(value, "module_name"):
        return ""
    return (
        " Is the given initializer one that makes initializers? Then call it first, with"
        " parentheses: jax.nn.initializers.glorot_uniform(), ps.initializers.RandomNormal()."
    )


def is_hole(value: Any) -> bool:
    """Whether a value marks a place in a tree that was left empty."""
    # `ps.surgery` leaves None, and optax a MaskedNode(), which has no leaves.
    return value is None or (not hasattr(value, "shape") and not jax.tree.leaves(value))


def hole(path: str, name: str) -> MissingParameterError:
    """The error for params with a hole in the place of a parameter."""
    return MissingParameterError(
        f"`apply` needs parameter {name!r} of {path!r}, but the given params have a hole in its"
        " place (None, or optax's MaskedNode). They are one part of a tree that was split:"
        " `ps.surgery.filter`, `ps.surgery.partition` and optax masks do this. Put the parts"
        " together first: `ps.surgery.combine(part, rest)`."
    )


def check_array(path: str, name: str, value: Any) -> None:
    """Raises unless a parameter that was made is an array that JAX has."""
    if not isinstance(value, (jax.Array, np.ndarray, np.generic)) and not (
        hasattr(value, "shape") and hasattr(value, "dtype")
    ):
        raise made_no_array(path, name, value)
    if _is_unknown_to_jax(value):
        raise _unknown_to_jax("Parameter", path, name, value)


def missing_parameter(params: Collection, path: str, name: str, shape: Any) -> PurestateError:
    """The error for a parameter that `apply` was not given, with similar names."""
    if path in params.values and not hasattr(params.values[path], "keys"):
        return no_bundle(path, params.values[path])
    if name in params.values.get(path, ()):
        return hole(path, name)
    return MissingParameterError(
        f"`apply` needs parameter {name!r} of {path!r} with shape {tuple(shape)}, and was not given"
        f" it. {_what_is_there(params, path, name)} {_swapped(path, name)}All parameters are made"
        " by `init`: run it on the same function, and pass on what it returned."
    )


def _swapped(path: str, name: str) -> str:
    frames = ambient.get()[0]
    state = frames[-1].collections["state"].values if frames else {}
    is_there = name in _names_in(state.get(path))
    return (
        "The given state has it: are params and state in each other's place? " if is_there else ""
    )


def _what_is_there(kept: Collection, path: str, name: str) -> str:
    """Says what a collection has in place of a missing variable, with similar names."""
    import difflib  # here, since only errors need it

    have = [
        variable_path(module, key)
        for module, bundle in kept.values.items()
        for key in _names_in(bundle)
    ]
    if path in kept.values:
        there = f"{path!r} has {_listed(_names_in(kept.values[path]))}."
    else:
        has = f"has no module {path!r}" if kept.values else "is empty"
        there = f"The collection {kept.name!r} {has}."
    near = difflib.get_close_matches(variable_path(path, name), have, n=3, cutoff=0.6)
    return there + (f" Near it: {_listed(near)}." if near else "")


def _kind(dtype: Any) -> str:
    for kind in ("bool", "integer", "floating", "complexfloating"):
        if jnp.issubdtype(dtype, jnp.bool_ if kind == "bool" else getattr(jnp, kind)):
            return kind
    return str(dtype)


def check_same_kind(path: str, name: str, before: Any, now: Any) -> None:
    """Raises if one parameter is requested with dtypes of two kinds."""
    before, now = (jnp.float32 if dtype is None else dtype for dtype in (before, now))
    if _kind(before) != _kind(now):
        raise DtypeMismatchError(
            f"Parameter {name!r} of {path!r} is requested with dtype {jnp.dtype(before).name} and"
            f" with dtype {jnp.dtype(now).name} in one run, but one name stands for one array."
            " Request the same dtype in both places and convert the array, or give one of the two"
            " another name."
        )


def not_shared(path: str, name: str) -> VariableError:
    """The error for params that still have an array of their own for a shared parameter."""
    return VariableError(
        f"Parameter {name!r} of {path!r} is shared (ps.share), but the given params have an array"
        f" of its own for it, which would stay unused. Remove {variable_path(path, name)!r} from"
        " the params, for example with `ps.surgery.delete`."
    )


def _names_in(bundle: Any) -> list[str]:
    return [str(name) for name in bundle] if hasattr(bundle, "keys") else []


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return (shown or "nothing") + (f" and {len(names) - most} more" if len(names) > most else "")


def no_value_yet(state: Collection, path: str, name: str) -> MissingStateError:
    """The error for state that is read before it was set, with nothing to make it from."""
    there = _listed(_names_in(state.values[path])) if path in state.values else "no state at all"
    return MissingStateError(
        f"State {name!r} of {path!r} has no value yet ({path!r} has {there}). Set it first (a"
        " normalization layer does so with is_training=True), or pass shape and init to create it"
        " here."
    )


def would_begin_anew(state: Collection, path: str, name: str) -> MissingStateError:
    """The error for a read of state that `apply` was not given, though it was given some."""
    return MissingStateError(
        f"`apply` reads state {name!r} of {path!r}, which is missing from the given state:"
        f" {_what_is_there(state, path, name)} It would be re-initialized silently. Pass the whole"
        " state that `init` or the last `apply` returned, or create it in `init` (a normalization"
        " layer does so with is_training=True). To re-initialize all state, pass None as the state."
        " With ps.config.set(new_state='warn') `apply` may create single entries."
    )


def cannot_create(frame: Frame, kept: Collection, path: str, name: str) -> PurestateError:
    """The error for a variable that is missing from a collection and may not be created there."""
    if kept.name == "params":
        return missing_parameter(kept, path, name, ())
    if frame.layout.by_collection:
        return missing_in(kept, path, name)
    return would_begin_anew(kept, path, name)


def missing_in(
    collection: Collection, path: str, name: str, asked: str | None = None
) -> MissingStateError:
    """The error for a variable that is missing from a collection and may not be created there.

    Args:
      collection: the collection that would hold it.
      path: the path of its module.
      name: its name.
      asked: the collection that it was requested in; None for that of `collection`.

    Returns:
      The error.
    """
    import difflib  # here, since only errors need it

    frames = ambient.get()[0]
    asked = asked or collection.name
    there = (
        [other for other, kept in frames[-1].collections.items() if kept.values and other != asked]
        if frames
        else []
    )
    near = difflib.get_close_matches(asked, there, n=1)
    hint = f" Did you mean the collection {near[0]!r}?" if near else ""
    if frames and (frames[-1].running_init or not frames[-1].layout.by_collection):
        return MissingStateError(
            f"{name!r} of {path!r} is not in the collection {asked!r}:"
            f" {_what_is_there(collection, path, name)}{hint} Create it before it is read:"
            " `ps.variable(collection, name, shape, init=...)`."
        )
    have = [
        variable_path(module, key)
        for module, bundle in collection.values.items()
        for key in _names_in(bundle)
    ]
    return MissingStateError(
        f"`apply` needs {name!r} of {path!r} in the collection {collection.name!r}, but was not"
        f" given it and may not create it. {collection.name!r} has {_listed(have)}.{hint} Pass all"
        f" that `init` returned, or pass mutable=[{collection.name!r}] to create it."
    )
