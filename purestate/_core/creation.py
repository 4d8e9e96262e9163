"""Creating variables, and what hooks do to those that are created or read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from purestate._core import trace_guard
from purestate._core.collection import Bundle, Collection
from purestate._core.frame import Creating, Frame, ambient
from purestate._core.hooks import OPERATION, GetterContext, functions_for, run_chain
from purestate._core.keyed_initializers import KEY_NAMES, as_initializer, takes_key, with_key
from purestate._core.parameters_read import note_parameter
from purestate._core.path import variable_path
from purestate._core.variable_checks import check_specification

# `Any`, since pyright would take a lambda of two arguments for the beginning of one of three.
Initializer = Callable[[Sequence[int], Any], jax.Array] | Callable[[Any, Any, Any], jax.Array]
"""`init(shape, dtype)`, or `init(key, shape, dtype)` as in `jax.nn.initializers`."""


def keep_new(
    frame: Frame, collection: Collection, path: str, name: str, value: Any, what: str
) -> None:
    """Puts a new value into a collection, unless it would die with an inner trace."""
    trace_guard.check_strictly(frame.home.trace, what, path)
    trace_guard.check_outlives_trace(value, frame.home.trace, what, path)
    if path not in collection.own:
        collection.make_own(path)
    collection.values[path][name] = value
    if collection.initial is not None:
        collection.initial.setdefault(path, {}).setdefault(name, value)


def run_creators(
    frame: Frame,
    hooks: Any,
    kind: str,
    creating: Creating,
    shape: Any,
    dtype: Any,
    init: Any,
    make: Callable[..., Any],
) -> Any:
    """Returns the initial value of a variable: what its initializer and all active creators make.

    Args:
      frame: the running frame.
      hooks: the active hooks.
      kind: "params" or "state", for which creators listen.
      creating: the variable.
      shape: the requested shape.
      dtype: the requested dtype.
      init: the given initializer, or None.
      make: the initializer to run.

    Returns:
      A value, or `DO_NOT_STORE`.
    """
    functions = functions_for(("create", kind), hooks) if hooks else None
    path, name = creating.path, creating.name
    outer, frame.creating = frame.creating, creating
    try:  # a plain function says in its code what it takes; no call is needed to look there
        code = make.__code__
        if code.co_argcount > 2 and code.co_varnames[0] in KEY_NAMES:
            make = with_key(make)
    except AttributeError:
        pass
    try:
        if not functions:
            try:
                return make(shape, dtype)
            except (TypeError, ValueError, AttributeError):
                if not takes_key(make):
                    check_specification(path, name, shape, dtype, init)
                    raise
            return with_key(make)(shape, dtype)
        context = _context(frame, creating.collection, path, name, shape, dtype, init)
        return run_chain(functions, _run_initializer, context, shape, dtype, make)
    finally:
        frame.creating = outer


def _run_initializer(shape: Any, dtype: Any, init: Callable[..., Any]) -> Any:
    return as_initializer(init)(shape, dtype)


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
    """Runs the active getters around a variable that is read."""
    functions = functions_for(("get", hooks_kind(collection)), hooks)
    if functions:
        context = _context(frame, collection, path, name, shape, dtype, init)
        value = run_chain(functions, _unchanged, context, value)
    if collection == "params" and functions_for(OPERATION, hooks):
        note_parameter(value, path, name)
    return value


def run_mappers(frame: Frame, verb: str, collection: str, path: str, name: str, value: Any) -> Any:
    """Runs `ps.map_variables` around what creators and setters do not listen to.

    Args:
      frame: the running frame.
      verb: "make" for a new variable that is a pytree, "write" for a parameter that is set.
      collection: the collection of the variable.
      path: the path of its module.
      name: its name.
      value: its value.

    Returns:
      The value to store.
    """
    functions = functions_for((verb, hooks_kind(collection)), ambient.get()[1])
    if not functions:
        return value
    context = _context(frame, collection, path, name, None, None, None)
    return run_chain(functions, _unchanged, context, value)


def hooks_kind(collection: str) -> str:
    """Returns the kind that hooks listen to: "params", or "state" for all other collections."""
    return collection if collection == "params" else "state"


def _unchanged(value: Any) -> Any:
    return value


def _context(
    frame: Frame, collection: str, path: str, name: str, shape: Any, dtype: Any, init: Any
) -> GetterContext:
    full_name, module = variable_path(path, name), frame.scope.module
    return GetterContext(full_name, module, dtype, shape, init, lift_prefix(), collection)


def lift_prefix() -> str | None:
    """The prefix that lifting modules put before the names of their inner function's parameters."""
    frames = ambient.get()[0]
    if not frames[-1].running_init:
        return None
    prefixes = [getattr(frame.scope.module, "prefix_name", None) for frame in frames]
    named = [prefix for prefix in prefixes if prefix]
    return "/".join(named) + "/" if named else None


# Values that can be changed in place


class _IsMutable(dict[type, bool]):
    """Whether values of a class can be changed in place: a hit is a dict lookup, not a call."""

    def __missing__(self, kind: type) -> bool:
        is_array = hasattr(kind, "shape") and hasattr(kind, "dtype")
        fixed = issubclass(kind, (bool, int, float, complex, type(None)))
        value = self[kind] = issubclass(kind, np.ndarray) or not (is_array or fixed)
        return value


IS_MUTABLE = _IsMutable()


def shield(value: Any) -> Any:
    """Returns a copy of a value that can be changed in place: a numpy array, a dict, a list.

    A reader that changes its copy does not change the frame's value, nor what `apply` was given.
    """
    return jax.tree.map(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, value)


def as_read(value: Any) -> Any:
    """Returns what a module gets that reads a parameter of a class with `IS_MUTABLE`.

    A class of other forms of arrays, such as a quantized one, has a method `read_parameter`.
    """
    read = getattr(value, "read_parameter", None)
    return shield(value) if read is None else read()


def shielded(bundle: Mapping[str, Any]) -> Bundle:
    """Returns a copy of a bundle that can be changed in place without changing the frame."""
    return {
        module: {
            name: shield(value) if IS_MUTABLE[value.__class__] else value
            for name, value in variables.items()
        }
        for module, variables in bundle.items()
    }
