"""What is checked of variables, and what is told of those that are missing, taken or wrong."""

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
                f"{what} {variable_path(path, name)!r} has to be an array, or a pytree of arrays,"
                " but it"
                f" {'contains a Module' if modules else 'is' if leaf is value else 'contains'}"
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
        f"{what} {variable_path(path, name)!r} has to be an array of numbers, but it is one of"
        f" numpy's dtype {value.dtype}, which JAX does not have."
    )


def check_name(path: str, name: str) -> None:
    """Raises unless a name is a string."""
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise VariableTypeError(
            f"A variable of {path!r} is called {name!r}; its name has to be a string, such as 'w'."
        )


def immutable(frame: Frame, collection: str, path: str, name: str) -> ImmutableCollectionError:
    """The error for a write to a collection that may not change."""
    where = f"{name!r} of {path!r} in the collection {collection!r}"
    return frame.layout.immutable(frame, where, collection)


def no_initializer(path: str, name: str) -> Callable[[Any, Any], Any]:
    """An initializer that says that one is needed."""

    def init(shape: Any, dtype: Any) -> Any:
        raise MissingInitializerError(
            f"{name!r} of {path!r} has to be made, with shape {tuple(shape)} and dtype"
            f" {jnp.dtype(dtype).name}, but no initializer was given. Pass one, such as"
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
            f"{variable_path(path, name)!r} cannot be made: no array is as large as {tuple(shape)}."
        )


def check_specification(path: str, name: str, shape: Any, dtype: Any, init: Any) -> None:
    """Raises if a shape, a dtype or an initializer is invalid.

    Only asked when that failed: a creator may well know what to do with others.
    """
    what = variable_path(path, name)
    if init is not None and not callable(init):
        raise VariableTypeError(
            f"The initializer of {what!r} has to be a function, `init(shape, dtype) -> array`, such"
            f" as jnp.zeros or ps.initializers.Constant(1.0), but it is {outline_argument(init)}."
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
        f"What `apply` was given has {outline_argument(bundle)} for the module {path!r}, where a"
        " dict, {name: array}, is needed. Pass what `init` returned."
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
        f"Parameter {name!r} of {path!r} has to be an array, but its initializer, creator or getter"
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
    """The error for a parameter that `apply` was not given, with what is near by."""
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
    """What a collection has where a variable is missed, and what is called nearly the same."""
    import difflib  # here, since only errors need it

    have = [
        variable_path(module, key)
        for module, bundle in kept.values.items()
        for key in _names_in(bundle)
    ]
    if path in kept.values:
        there = f"{path!r} has {_listed(_names_in(kept.values[path]))}."
    else:
        there = (
            f"There is no module {path!r} in"
            f" {kept.name}{'' if kept.values else ', which are empty'}."
        )
    near = difflib.get_close_matches(variable_path(path, name), have, n=3, cutoff=0.6)
    return there + (f" Near it: {_listed(near)}." if near else "")


def _kind(dtype: Any) -> str:
    for kind in ("bool", "integer", "floating", "complexfloating"):
        if jnp.issubdtype(dtype, jnp.bool_ if kind == "bool" else getattr(jnp, kind)):
            return kind
    return str(dtype)


def check_same_kind(path: str, name: str, before: Any, now: Any) -> None:
    """Raises if one name is asked for as numbers of two kinds."""
    before, now = (jnp.float32 if dtype is None else dtype for dtype in (before, now))
    if _kind(before) != _kind(now):
        raise DtypeMismatchError(
            f"Parameter {name!r} of {path!r} is asked for with dtype {jnp.dtype(before).name} and"
            f" with dtype {jnp.dtype(now).name} in one run: the same name is one array. Ask for the"
            " same dtype at both places and convert what you get, or give one of them another"
            " name."
        )


def not_shared(path: str, name: str) -> VariableError:
    """The error for params that still have an array of their own for a shared parameter."""
    return VariableError(
        f"Parameter {name!r} of {path!r} is to be shared (ps.share), but params have an array of"
        f" its own for it, which would be left unused. Take {variable_path(path, name)!r} out of"
        " them; were they made before it was shared, `ps.surgery.delete` does."
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
        f"State {name!r} of {path!r} has no value yet ({path!r} has {there}). Either call what sets"
        " it first (in a normalization layer: run once with is_training=True), or pass shape and"
        " init to make it here."
    )


def would_begin_anew(state: Collection, path: str, name: str) -> MissingStateError:
    """The error for a read of state that `apply` was not given, though it was given some."""
    return MissingStateError(
        f"`apply` reads state {name!r} of {path!r}, which the given state lacks:"
        f" {_what_is_there(state, path, name)} It would begin anew, without a word. Pass the whole"
        " state that `init` or the last `apply` returned; make it in `init` (a normalization"
        " layer: with is_training=True); or pass None as the state to begin anew on purpose."
        " ps.config.set(new_state='warn') lets single entries be made here."
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
      collection: where it would be kept.
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
            f" {_what_is_there(collection, path, name)}{hint} Make it before it is read:"
            " `ps.variable(collection, name, shape, init=...)`."
        )
    have = [
        variable_path(module, key)
        for module, bundle in collection.values.items()
        for key in _names_in(bundle)
    ]
    return MissingStateError(
        f"`apply` needs {name!r} of {path!r} in the collection {collection.name!r}, was not given"
        f" it, and may not make it. {collection.name!r} has {_listed(have)}.{hint} Pass all that"
        f" `init` returned, or have it made with mutable=[{collection.name!r}]."
    )
