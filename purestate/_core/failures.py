"""Errors of JAX and Python inside a transformed function: which module and call they come from."""

import contextlib
import sys
from typing import Any

import jax

from purestate._core.errors import CALL_ERRORS, CallError, PurestateError, call_error_class
from purestate._core.outlines import outline_arguments

_TOLD = "_told_by_purestate"
_WHERE = "This came up in "


def tell_module(
    error: Exception, module: Any, method_name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Has `error` name the innermost module that it came through, unless its own message does."""
    path = module._path
    if path is None or module._stands_in or _TOLD in vars(error):
        return
    vars(error)[_TOLD] = True
    where = f"{_WHERE}`{type(module).__name__}.{method_name}` of module {path!r}"
    if not isinstance(error, PurestateError):
        with contextlib.suppress(
            Exception
        ):  # an error that refuses notes must not hide behind another
            error.add_note(f"{where}, called with ({outline_arguments(args, kwargs)}).")
    elif f"'{path}'" not in str(error) and f"'{path}/" not in str(
        error
    ):  # logs often show only the message of our errors
        error.args = (f"{error}\n{where}.", *error.args[1:])


CALL_ERRORS[jax.errors.JaxRuntimeError] = call_error_class(jax.errors.JaxRuntimeError)

# An error inside these libraries is about the arguments that their caller passed.
_LIBRARIES = {
    "jax",
    "jaxlib",
    "numpy",
    "ml_dtypes",
    "opt_einsum",
    "scipy",
    *sys.stdlib_module_names,
}


def _kind_of(error: Exception) -> type[CallError] | None:
    if (
        type(error).__module__.partition(".")[0] == "numpy"
    ):  # has classes of its own below the builtin ones
        return next(
            (CALL_ERRORS[base] for base in type(error).__mro__ if base in CALL_ERRORS), None
        )
    return CALL_ERRORS.get(type(error))


def as_call_error(
    error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> CallError | None:
    """Returns what to raise instead of an error of JAX or Python on a value passed to purestate.

    This is so if the last frame outside JAX, numpy and Python belongs to purestate. Errors of the
    user's own code do not change, nor do errors with a class of JAX, such as
    `jax.errors.ConcretizationTypeError`. Errors on a device do change; most often it ran out of
    memory.
    """
    kind = _kind_of(error)
    if kind is None:
        return None
    called_at = called = None
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        library = str(frame.f_globals.get("__name__")).partition(".")[0]
        if library == "purestate":
            called = called or frame.f_code.co_qualname.partition(".")[0]
        elif library not in _LIBRARIES:
            called, called_at = None, f"{frame.f_code.co_filename}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    if called is None:
        return None
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(_WHERE)]
    if called_at is None:
        notes.append(
            f"The transformed function was called with ({outline_arguments(args, kwargs)})."
        )
    else:
        notes.append(
            f"{'It' if called in WRAPPERS else f'`ps.{called}`'} was called at {called_at}."
        )
    return kind("\n".join([str(error), *notes]))


# What wraps methods of modules, which `tell_module` names. `purestate.sonnet` adds its own.
WRAPPERS = {"_scoped", "ModuleMetaclass"}
