"""Sonnet's mixed precision: decorated functions compute in a type that is set for the process."""

import contextlib
import functools
import inspect
import itertools
from collections.abc import Callable, Collection, Generator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from purestate._core.compiled import process_depends_on
from purestate._sonnet.custom_getter import custom_variable_getter
from purestate._sonnet.module import Module
from purestate._sonnet.outside import OUTSIDE, in_a_frame
from purestate._sonnet.variable import Variable, value_of

F = TypeVar("F", bound=Callable[..., Any])

_mode: Any = None
_numbers = itertools.count()


def enable(dtype: DTypeLike | None) -> None:
    """Sets the type that decorated functions compute in, for the whole process.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> snt.mixed_precision.enable(jnp.bfloat16)
    >>> snt.mixed_precision.get_mode().name
    'bfloat16'
    >>> snt.mixed_precision.disable()

    Args:
      dtype: a type of floats, such as jnp.bfloat16; None for none.
    """
    global _mode
    _mode = None if dtype is None else jnp.dtype(dtype)
    # A function that was compiled before is compiled again.
    process_depends_on("sonnet mixed precision", None if _mode is None else _mode.name)


def disable() -> None:
    """Has decorated functions compute in the types of their arguments again.

    >>> import purestate.sonnet as snt
    >>> snt.mixed_precision.disable()
    >>> snt.mixed_precision.get_mode() is None
    True
    """
    enable(None)


def get_mode() -> Any:
    """Returns the type that decorated functions compute in; None if none is set.

    >>> import purestate.sonnet as snt
    >>> snt.mixed_precision.get_mode() is None
    True

    Returns:
      A dtype or None.
    """
    return _mode


@contextlib.contextmanager
def scope(dtype: DTypeLike | None) -> Generator[None]:
    """Sets the type that decorated functions compute in, for a `with` block.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> with snt.mixed_precision.scope(jnp.float16):
    ...     snt.mixed_precision.get_mode().name
    'float16'

    Args:
      dtype: a type of floats; None for none.

    Yields:
      None.
    """
    before = _mode
    enable(dtype)
    try:
        yield
    finally:
        enable(before)


def modes(valid_types: Collection[DTypeLike]) -> Callable[[F], F]:
    """Returns a decorator: the function computes in the type that is set, if it is one of these.

    Arrays of floats among the arguments are cast to that type, and so are the variables that
    modules read inside. Arrays of floats in the result are cast to float32.

    The first call of each module in that type stays as it is, since it creates the variables; so
    does that of a function, for all functions with the same decorator together. In `apply` of a
    transformed function variables exist, so that the first call is cast as well.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> @snt.mixed_precision.modes([jnp.float32, jnp.bfloat16])
    ... def add(x, y):
    ...     return x + y
    >>> with snt.mixed_precision.scope(jnp.bfloat16):
    ...     [add(jnp.array(1.0), jnp.array(0.001)).item() for _ in range(2)]
    [1.0010000467300415, 1.0]

    Args:
      valid_types: the types that the function may compute in.

    Returns:
      A decorator of functions, methods and callable objects.
    """
    valid = frozenset(jnp.dtype(dtype) for dtype in valid_types)
    key = f"{next(_numbers)}"
    functions_seen: list[bool] = []

    def decorate(f: F) -> F:
        takes_self = _takes_self(f)

        @functools.wraps(f)
        def run(*args: Any, **kwargs: Any) -> Any:
            mode = _mode
            if mode is None or mode not in valid:
                return f(*args, **kwargs)
            owner = args[0] if takes_self and args else _owner(f)
            if owner is None:
                if functions_seen:
                    return _cast_call(f, mode, args, kwargs)
                out = f(*args, **kwargs)
                functions_seen.append(True)
                return out
            if _was_called(owner, key):
                return _cast_call(f, mode, args, kwargs)
            out = f(*args, **kwargs)
            _note_call(owner, key)
            return out

        return run  # pyright: ignore[reportReturnType]

    return decorate


def _takes_self(f: Callable[..., Any]) -> bool:
    """Whether a function is a method that is not bound yet."""
    if inspect.ismethod(f) or not inspect.isfunction(f):
        return False
    names = list(inspect.signature(f).parameters)
    return names[:1] == ["self"]


def _owner(f: Callable[..., Any]) -> Any:
    """Returns the object of a bound method, or a callable object itself; None for a function."""
    if inspect.ismethod(f):
        return f.__self__
    return None if inspect.isfunction(f) else f


def _was_called(owner: Any, key: str) -> bool:
    if not isinstance(owner, Module):
        return key in getattr(owner, "_mp_seen", ())
    with in_a_frame() as frame:
        if frame is not OUTSIDE.frame and not frame.running_init:
            return True
        return ("mixed", owner.module_name, key) in frame.ledger.built


def _note_call(owner: Any, key: str) -> None:
    if isinstance(owner, Module):
        # The frame's own fact, so that a trace that is undone does not count.
        with in_a_frame() as frame:
            frame.ledger.built["mixed", owner.module_name, key] = True
    else:
        owner._mp_seen = {*getattr(owner, "_mp_seen", ()), key}


def _cast_call(f: Callable[..., Any], mode: Any, args: Any, kwargs: Any) -> Any:
    """Runs a function with arguments and variables of another type, and casts back its result."""
    to_mode = _cast_to(mode.name)
    args, kwargs = jax.tree.map(to_mode, (args, kwargs))
    with custom_variable_getter(to_mode):
        out = f(*args, **kwargs)
    return jax.tree.map(_cast_to("float32"), out)


@functools.cache  # one function for each type, so that JAX finds what it has compiled
def _cast_to(dtype: str) -> Callable[[Any], Any]:
    def cast(leaf: Any) -> Any:
        is_array = isinstance(leaf, (jax.Array, Variable))
        if is_array and jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.asarray(value_of(leaf)).astype(dtype)
        return leaf

    return cast
