"""Running a function in a frame: as `init`, which creates variables, and as `apply`."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from typing import Any

import jax

from purestate._core import compiled
from purestate._core.collection import Bundle, Collection, copy_bundle
from purestate._core.config import get_config
from purestate._core.errors import (
    ArgumentError,
    EmptyStateWarning,
    FrameError,
    InvalidRNGError,
    kind_of,
)
from purestate._core.failures import as_call_error
from purestate._core.frame import ActiveFrame, Frame, FrameKeys, ambient
from purestate._core.keys import keys_for
from purestate._core.layout import OneState
from purestate._core.outlines import outline
from purestate._core.pairs import Program
from purestate._core.trace_guard import device_axes, user_location, warn_user
from purestate._core.variable_checks import no_bundle

WITH_STATE = "apply(params, state, rng, ...)"
WITHOUT_STATE = "apply(params, rng, ...)"
_ONE_STATE = OneState()


def run_init(program: Program, rng: Any, args: Any, kwargs: Any) -> tuple[Bundle, Bundle]:
    """Runs a function in a frame that creates variables; returns their initial values."""
    keys = new_keys(rng, "init(rng, ...)", (rng,), program.rng_mode)
    collections = _ONE_STATE.initialized({})
    frame = Frame(collections, _ONE_STATE, keys, running_init=True)
    run(program.body, frame, args, kwargs)
    return frame.collections["params"].values, frame.collections["state"].initial or {}


def run_apply(
    program: Program, params: Any, state: Any, rng: Any, signature: str, args: Any, kwargs: Any
) -> tuple[Any, Bundle]:
    """Runs a function in a frame that reads variables; returns its result and the state."""
    leading = (params, state, rng) if signature == WITH_STATE else (params, rng)
    params = check_mapping("params", params, signature, leading)
    given, state = state, check_mapping("state", state, signature, leading)
    keys = new_keys(rng, signature, leading, program.rng_mode)
    settings = get_config()
    new_state, stale_state = settings.new_state, settings.stale_state
    if stale_state != "off":
        from purestate._core.stale_state import check_fresh  # few programs need it

        check_fresh({"state": state}, stale_state)
    kept = Collection(
        "state",
        copy_bundle(state),
        copy_bundle(state),
        creatable=True,
        writable=True,
        given=given is not None,
    )
    for path, bundle in kept.values.items():
        if bundle.__class__ is not dict and not hasattr(bundle, "keys"):
            raise no_bundle(path, bundle)
    has_some = any(kept.values.values())
    if has_some:
        kept.creatable = new_state != "error"
    # Params are only ever read, so they are not copied.
    collections = {
        "params": Collection("params", params, None, creatable=False, writable=False),
        "state": kept,
    }
    frame = Frame(collections, _ONE_STATE, keys, running_init=False)
    out = run(program.body, frame, args, kwargs)
    if kept.given and frame.ledger.recreated and new_state != "off":
        _warn_of_new_state(frame.ledger.recreated, "lacks them" if has_some else "is empty")
    new = frame.collections["state"].values
    if stale_state != "off":
        from purestate._core.stale_state import note_replaced

        note_replaced({"state": state}, {"state": new})
    return out, new


def _warn_of_new_state(paths: list[str], why: str) -> None:
    more = f" and {len(paths) - 8} more" if len(paths) > 8 else ""
    warn_user(
        f"`apply` re-initialized state, since the state that it was given {why}:"
        f" {', '.join(map(repr, paths[:8]))}{more}. If the state was left behind by mistake, its"
        " values, such as running statistics, are lost. Pass on what `init` or the last `apply`"
        " returned, or None as the state to start again on purpose.",
        EmptyStateWarning,
    )


def run(f: Callable[..., Any], frame: Frame, args: Any, kwargs: Any) -> Any:
    """Runs a function in a frame, and checks what has to hold at the end."""
    if frame.home.staged and not ambient.get()[0] and not compiled.is_known_to_jax():
        raise FrameError(
            f"A function was compiled{user_location()} in a thread or task that copied the context"
            " of another one. That context has an open block, such as `ps.freeze` or"
            " `ps.config.context`, which JAX does not know about here. It would reuse a function"
            " that was compiled without the block. Enter the block in the thread that calls the"
            " compiled function."
        )
    with ActiveFrame(frame):
        out = _call(f, args, kwargs)
        for updater in frame.ledger.updaters.values():
            updater.assert_used()
    if device_axes():
        from purestate._core.unsynced_state import check_state_of_shards  # few programs need it

        check_state_of_shards(frame)
    return out


def _call(f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    try:
        out = f(*args, **kwargs)
        if isinstance(out, (Generator, Coroutine, AsyncGenerator)):
            raise FrameError(
                f"The function that was transformed returned {kind_of(out)}, whose code has not run"
                " yet, and would run without a frame. Transform a plain function: return list(...)"
                " of a generator, and await outside."
            )
        return out
    except jax.errors.UnexpectedTracerError as error:
        error.add_note(
            "This came up inside a function transformed by purestate. Often a plain JAX transform"
            " (jax.vmap, jax.lax.scan, ...) is used inside it on a function that makes or changes"
            " variables, or keeps an array somewhere. Use ps.vmap, ps.scan, ..., or"
            " `ps.purify(f)`, which is pure."
        )
        raise
    except Exception as error:
        ours = as_call_error(error, args, kwargs)
        if ours is None:
            raise
        raise ours.with_traceback(error.__traceback__) from error.__cause__


def has_shapes_only(args: Any) -> bool:
    """Whether `jax.ShapeDtypeStruct` stands for an array somewhere in the arguments."""
    try:
        return jax.ShapeDtypeStruct in map(type, jax.tree.leaves(args))
    except Exception:  # keys that cannot be sorted; the function may never look at them
        return False


def new_keys(rng: Any, signature: str, given: tuple[Any, ...], rng_mode: str) -> FrameKeys:
    """Returns what a frame draws its keys from.

    Args:
      rng: a key, an int, a dict of keys by stream, or None.
      signature: how `init` or `apply` is called, for the error.
      given: all leading arguments that it was called with, for the error.
      rng_mode: "sequence" or "path".

    Returns:
      The keys of a frame.

    Raises:
      InvalidRNGError: `rng` is something else.
    """
    if rng is None:
        return FrameKeys(None, rng_mode)
    try:
        return FrameKeys(keys_for(rng, rng_mode), rng_mode)
    except InvalidRNGError as error:
        # The hint of `error` describes the value, such as "this looks like several keys".
        raise InvalidRNGError(
            "`rng` was expected to be a random key, an int, a dict of keys by stream, or None, but"
            f" got {outline(rng)}.{error.hint} {_in_order(signature, given)}"
        ) from None


def _in_order(signature: str, given: tuple[Any, ...]) -> str:
    called = f"{signature.split('(')[0]}({', '.join(map(outline, given))}, ...)"
    return f"Expected {signature}, got {called}: is the order right?"


def check_mapping(
    name: str, value: Any, signature: str, given: tuple[Any, ...]
) -> Mapping[str, Any]:
    """Returns a dict that was given to `apply`, or raises."""
    if value is None:
        return {}
    if value.__class__ is dict:
        return value
    # Some containers of TensorFlow wrap a dict without being a Mapping.
    if not isinstance(value, Mapping) and type(value).__name__ != "_DictWrapper":
        raise ArgumentError(
            f"`{name}` was expected to be a dict of dicts, {{module: {{name: array}}}}, but got"
            f" {outline(value)}. {_in_order(signature, given)}"
        )
    return value
