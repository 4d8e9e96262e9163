"""From a function that uses modules to a pure pair, `init` and `apply`."""

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar

import jax

from purestate._core.collection import Bundle, Collection, copy_bundle
from purestate._core.config import get_config
from purestate._core.errors import (
    ArgumentError,
    EmptyStateWarning,
    FrameError,
    InvalidRNGError,
    NonEmptyStateError,
    kind_of,
)
from purestate._core.failures import as_call_error
from purestate._core.frame import ActiveFrame, Frame
from purestate._core.keys import keys_for
from purestate._core.outlines import outline
from purestate._core.trace_guard import warn_user
from purestate._core.variable_checks import no_bundle

P = ParamSpec("P")
R = TypeVar("R")

Params = Mapping[str, Mapping[str, jax.Array]]
State = Mapping[str, Mapping[str, jax.Array]]
MutableParams = Bundle
MutableState = Bundle
Rng = Any  # jax.Array | int | None, and whatever stands for a key under a JAX transform


class Transformed(NamedTuple, Generic[P, R]):
    """A pure pair without state; see `transform`.

    Attributes:
      init: `init(rng, *args, **kwargs) -> params`.
      apply: `apply(params, rng, *args, **kwargs) -> out`.
    """

    init: Callable[Concatenate[Rng, P], MutableParams]
    apply: Callable[Concatenate[Params, Rng, P], R]


class TransformedWithState(NamedTuple, Generic[P, R]):
    """A pure pair with state; see `transform_with_state`.

    Attributes:
      init: `init(rng, *args, **kwargs) -> (params, state)`.
      apply: `apply(params, state, rng, *args, **kwargs) -> (out, state)`.
    """

    init: Callable[Concatenate[Rng, P], tuple[MutableParams, MutableState]]
    apply: Callable[Concatenate[Params, State, Rng, P], tuple[R, MutableState]]


_WITH_STATE = "apply(params, state, rng, ...)"
_WITHOUT_STATE = "apply(params, rng, ...)"


def run_init(
    f: Callable[..., Any], rng: Any, args: Any, kwargs: Any, rng_mode: str = "sequence"
) -> tuple[MutableParams, MutableState]:
    """Runs `f` in a frame that makes variables; returns them, state as it was first."""
    params: Bundle = {}
    state: Bundle = {}
    collections = {
        "params": Collection("params", params, None, creatable=True, writable=False),
        "state": Collection("state", {}, state, creatable=True, writable=True),
    }
    frame = Frame(collections, new_keys(rng, "init(rng, ...)", (rng,), rng_mode), running_init=True)
    with ActiveFrame(frame):
        call(f, args, kwargs)
        for check in frame.at_end:
            check()
    return (
        collections["params"].values,
        collections["state"].initial,
    )  # pyright: ignore[reportReturnType]


def run_apply(
    f: Callable[..., Any],
    params: Any,
    state: Any,
    rng: Any,
    signature: str,
    args: Any,
    kwargs: Any,
    rng_mode: str = "sequence",
) -> tuple[Any, MutableState]:
    """Runs `f` in a frame that reads the given variables; returns its result and the state."""
    leading = (params, state, rng) if signature == _WITH_STATE else (params, rng)
    params = check_mapping("params", params, signature, leading)
    given, state = state, check_mapping("state", state, signature, leading)
    keys = new_keys(rng, signature, leading, rng_mode)
    new_state = get_config().new_state
    kept = Collection(
        "state", copy_bundle(state), copy_bundle(state), creatable=True, writable=True
    )
    for path, bundle in kept.values.items():
        if bundle.__class__ is not dict and not hasattr(bundle, "keys"):
            raise no_bundle(path, bundle)
    has_some = any(kept.values.values())
    if has_some:
        kept.creatable = new_state != "error"
    if given is not None:
        kept.anew = []
    # Params are only ever read, so not copied.
    collections = {
        "params": Collection("params", params, None, creatable=False, writable=False),
        "state": kept,
    }
    frame = Frame(collections, keys, running_init=False)
    with ActiveFrame(frame):
        out = call(f, args, kwargs)
        for check in frame.at_end:
            check()
    if kept.anew and new_state != "off":
        _warn_of_new_state(kept.anew, "lacks them" if has_some else "is empty")
    return out, kept.values


def _warn_of_new_state(paths: list[str], why: str) -> None:
    shown = ", ".join(map(repr, paths[:8])) + (
        f" and {len(paths) - 8} more" if len(paths) > 8 else ""
    )
    warn_user(
        f"`apply` made state anew, since the one that it was given {why}: {shown}. What it had"
        " before, such as moving averages, is gone if the state was left behind by mistake. Pass"
        " on what `init` or the last `apply` returned, or None as the state to begin anew.",
        EmptyStateWarning,
    )


def call(f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
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
            " variables, or keeps an array somewhere. Use ps.vmap, ps.scan, ..., or `ps.purify(f)`,"
            " which is pure."
        )
        raise
    except Exception as error:
        ours = as_call_error(error, args, kwargs)
        if ours is None:
            raise
        raise ours.with_traceback(error.__traceback__) from error.__cause__


def new_keys(rng: Any, signature: str, given: tuple[Any, ...], rng_mode: str = "sequence") -> Any:
    """Returns what a frame draws its keys from; `given` is all that was given to `signature`, for the error."""
    if rng is None:
        return None
    try:
        return keys_for(rng, rng_mode)
    except InvalidRNGError as error:
        raise InvalidRNGError(
            "`rng` was expected to be a random key, an int, a dict of keys by stream, or None, but"
            f" got {outline(rng)}. {_in_order(signature, given)} ({error})"
        ) from None


def _in_order(signature: str, given: tuple[Any, ...]) -> str:
    return (
        f"Expected {signature}, got {signature.split('(')[0]}({', '.join(map(outline, given))},"
        " ...): is the order right?"
    )


def check_mapping(
    name: str, value: Any, signature: str, given: tuple[Any, ...]
) -> Mapping[str, Any]:
    """Returns a dict that was given to `apply`, or says what is wrong with it."""
    if value is None:
        return {}
    # Some containers of TensorFlow wrap a dict without being a Mapping.
    if not isinstance(value, Mapping) and type(value).__name__ != "_DictWrapper":
        raise ArgumentError(
            f"`{name}` was expected to be a dict of dicts, {{module: {{name: array}}}}, but got"
            f" {outline(value)}. {_in_order(signature, given)}"
        )
    return value


def check_not_compiled(f: Any) -> None:
    """Raises if `f` is a jitted or pmapped function, whose traces would keep a frame's variables."""
    if not callable(f):
        raise ArgumentError(f"`ps.transform` and its kin take a function, but got {outline(f)}.")
    if hasattr(f, "lower") and hasattr(f, "clear_cache"):  # what jax.jit and jax.pmap return
        raise FrameError(
            f"{getattr(f, '__name__', 'The function')} is compiled already (jax.jit or jax.pmap),"
            " so its side effects would be lost. Transform the plain function, and compile what"
            " comes out: jax.jit(ps.transform(f).apply)."
        )


def _signature(f: Any) -> inspect.Signature:
    try:
        return inspect.signature(f)
    except (TypeError, ValueError):  # some builtins have none
        return inspect.signature(lambda *args, **kwargs: None)


_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_LEADING = {
    "variables": Mapping[str, Params],
    "params": Params | None,
    "state": State | None,
    "rng": jax.Array | int | None,
}


def _with_leading(
    signature: inspect.Signature, names: tuple[str, ...], returns: Any, keywords: Mapping[str, Any]
) -> inspect.Signature:
    leading = [inspect.Parameter(name, _POSITIONAL, annotation=_LEADING[name]) for name in names]
    rest = list(signature.parameters.values())
    last = [rest.pop()] if rest and rest[-1].kind == inspect.Parameter.VAR_KEYWORD else []
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
        for name, value in keywords.items()
    ]
    # Not validated: f may have arguments of the same names, to be passed by position.
    return inspect.Signature(
        [*leading, *rest, *options, *last], return_annotation=returns, __validate_parameters__=False
    )


def tell_signature(
    function: Any, leading: tuple[str, ...], of: Any, returns: Callable[[Any], Any], **keywords: Any
) -> None:
    """Gives `init` or `apply` the signature of the function `of`, with arguments before and keywords after."""
    function.__name__ += "_fn"  # as in dm-haiku: jaxprs, profiles and what is read off them show it
    signature = _signature(of)
    function.__signature__ = _with_leading(
        signature, leading, returns(signature.return_annotation), keywords
    )
    function.original_function = original_function(of)


def original_function(f: Any) -> Any:
    """The function that a transformed pair, or one of its halves, was made from."""
    if isinstance(f, (Transformed, TransformedWithState)):
        f = f.init
    return getattr(f, "original_function", f)


def or_any(annotation: Any) -> Any:
    return Any if annotation is inspect.Parameter.empty else annotation


def checked_first(apply: Callable[..., Any]) -> Callable[..., Any]:
    """Returns an `apply` that has `check` look at what it is given."""
    from purestate._core.check import check  # here, since few programs are strict

    checked = check(apply)

    def strict_apply(*args: Any, **kwargs: Any) -> Any:
        checked(*args, **kwargs)
        return apply(*args, **kwargs)

    strict_apply.__name__ = apply.__name__
    return strict_apply


def transform_with_state(
    f: Callable[P, R], *, rng_mode: str = "sequence", strict: bool = False
) -> TransformedWithState[P, R]:
    """Turns a function that uses modules and state into two pure functions.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def forward(x, is_training):
    ...     return ps.BatchNorm(True, True, decay_rate=0.9)(x, is_training)
    >>> f = ps.transform_with_state(forward)
    >>> x = jnp.ones([4, 2])
    >>> params, state = f.init(jax.random.key(0), x, is_training=True)
    >>> out, state = f.apply(params, state, None, x, is_training=True)
    >>> out.shape
    (4, 2)

    Args:
      f: a function that makes and uses modules, parameters, state and random keys.
      rng_mode: "sequence" splits the given key again and again, so that a first value depends on
        what was made before it, as in dm-haiku. With "path" it depends on the path of the variable
        instead: others may be added, removed or reordered.
      strict: whether `apply` first has `check` look at what it is given, each time it is traced
        (without `jax.jit`, each time it is called).

    Returns:
      `init(rng, *args, **kwargs) -> (params, state)` and
      `apply(params, state, rng, *args, **kwargs) -> (out, state)`. Both are pure: they leave their
      arguments alone, and can be given to any JAX transform. `rng` is a key, an int, a dict of keys
        by stream (see
      `next_rng_key`), or None.

    Raises:
      FrameError: `f` is compiled already.
      ArgumentError: `f` is not a function.
      CheckError: from `apply`, where `strict`.
    """
    check_not_compiled(f)

    def init(rng: Rng, *args: Any, **kwargs: Any) -> tuple[MutableParams, MutableState]:
        return run_init(f, rng, args, kwargs, rng_mode)

    def apply(
        params: Any, state: Any, rng: Rng, *args: Any, **kwargs: Any
    ) -> tuple[Any, MutableState]:
        # Without a state to tell otherwise, the caller may well have meant a transform that has
        # none.
        signature = _WITHOUT_STATE if state is None else _WITH_STATE
        return run_apply(f, params, state, rng, signature, args, kwargs, rng_mode)

    tell_signature(init, ("rng",), f, lambda _: tuple[Params, State])
    if strict:
        apply = checked_first(apply)
    tell_signature(apply, ("params", "state", "rng"), f, lambda out: tuple[or_any(out), State])
    return TransformedWithState(init, apply)


def transform(
    f: Callable[P, R], *, apply_rng: bool = True, rng_mode: str = "sequence", strict: bool = False
) -> Transformed[P, R]:
    """Turns a function that uses modules, but no state, into two pure functions.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.nets.MLP([8, 2])(x))
    >>> x = jnp.ones([4, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> jax.jit(f.apply)(params, None, x).shape
    (4, 2)

    Args:
      f: a function that makes and uses modules, parameters and random keys.
      apply_rng: only True is possible; `without_apply_rng` drops the key.
      rng_mode: "sequence" or "path"; see `transform_with_state`.
      strict: whether `apply` first checks what it is given; see `transform_with_state`.

    Returns:
      `init(rng, *args, **kwargs) -> params` and `apply(params, rng, *args, **kwargs) -> out`.

    Raises:
      FrameError: `f` is compiled already.
      ArgumentError: `f` is not a function.
      NonEmptyStateError: from `init` and `apply`, if `f` makes state.
    """
    if not apply_rng:
        raise FrameError(
            "transform(f, apply_rng=False) was dropped long ago: `apply` always takes a key. Write "
            "`ps.without_apply_rng(ps.transform(f))` for an `apply` that takes none."
        )
    return without_state(transform_with_state(f, rng_mode=rng_mode, strict=strict))


def no_keyword(name: str, kwargs: Mapping[str, Any]) -> None:
    if name in kwargs:
        raise ArgumentError(
            f"`apply` was given `{name}=...` by name, but takes no {name} of its own any more. If"
            f" the function that was transformed has an argument called {name!r}, pass it by"
            " position, or call it something else."
        )


def no_state(state: Mapping[str, Any]) -> None:
    if state:
        names = ", ".join(repr(name) for name in list(state)[:4])
        raise NonEmptyStateError(
            f"The function makes state (in {names}), which this transform has no place for. Use"
            " `ps.transform_with_state` (or `ps.multi_transform_with_state`), and carry the state"
            " along."
        )


def _check_pair(f: Any, what: str, made_by: str) -> None:
    if not (hasattr(f, "init") and hasattr(f, "apply")):
        raise ArgumentError(
            f"`ps.{what}` takes what `ps.{made_by}` returned, but was given {kind_of(f)}: write"
            f" ps.{what}(ps.{made_by}(f))."
        )


def without_state(f: TransformedWithState[P, R]) -> Transformed[P, R]:
    """Drops the state argument and result of a pair whose function makes no state.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.without_state(ps.transform_with_state(lambda x: ps.Bias()(x)))
    >>> params = f.init(None, jnp.ones([2, 2]))
    >>> f.apply(params, None, jnp.ones([2, 2])).shape
    (2, 2)

    Args:
      f: what `transform_with_state` returned.

    Returns:
      A pair like that of `transform`.

    Raises:
      ArgumentError: `f` is something else.
      NonEmptyStateError: from `init` and `apply`, if the function makes state after all.
    """
    _check_pair(f, "without_state", "transform_with_state")

    def init(*args: Any, **kwargs: Any) -> MutableParams:
        params, state = f.init(*args, **kwargs)  # pyright: ignore[reportCallIssue]
        no_state(state)
        return params

    def apply(params: Any, *args: Any, **kwargs: Any) -> Any:
        no_keyword("state", kwargs)
        out, state = f.apply(params, None, *args, **kwargs)  # pyright: ignore
        no_state(state)
        return out

    original = original_function(f)
    tell_signature(init, ("rng",), original, lambda _: Params)
    tell_signature(apply, ("params", "rng"), original, or_any)
    return Transformed(init, apply)  # pyright: ignore[reportArgumentType]


def with_empty_state(f: Transformed[P, R]) -> TransformedWithState[P, R]:
    """Adds a state argument and result, always empty, to a pair that has none.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.with_empty_state(ps.transform(lambda x: ps.Bias()(x)))
    >>> params, state = f.init(None, jnp.ones([2, 2]))
    >>> state
    {}

    Args:
      f: what `transform` returned.

    Returns:
      A pair like that of `transform_with_state`.

    Raises:
      ArgumentError: `f` is something else.
    """
    _check_pair(f, "with_empty_state", "transform")

    def init(*args: Any, **kwargs: Any) -> tuple[MutableParams, MutableState]:
        return f.init(*args, **kwargs), {}  # pyright: ignore[reportCallIssue]

    def apply(params: Any, state: Any, *args: Any, **kwargs: Any) -> tuple[Any, MutableState]:
        del state
        return f.apply(params, *args, **kwargs), {}  # pyright: ignore

    original = original_function(f)
    tell_signature(init, ("rng",), original, lambda _: tuple[Params, State])
    tell_signature(
        apply, ("params", "state", "rng"), original, lambda out: tuple[or_any(out), State]
    )
    return TransformedWithState(init, apply)  # pyright: ignore[reportArgumentType]
