"""The signatures of `init` and `apply`: that of the user's function, with arguments before."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax

_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_BUNDLE = Mapping[str, Mapping[str, jax.Array]]
_LEADING = {
    "variables": Mapping[str, _BUNDLE],
    "params": _BUNDLE | None,
    "state": _BUNDLE | None,
    "rng": jax.Array | int | None,
}


def signature_of(f: Any) -> inspect.Signature:
    """Returns the signature of a function; that of `f(*args, **kwargs)` if it has none."""
    try:
        return inspect.signature(f)
    except (TypeError, ValueError):  # some builtins have none
        return inspect.signature(lambda *args, **kwargs: None)


def signature_with(
    leading: tuple[str, ...],
    f: Any,
    returns: Callable[[Any], Any],
    keywords: Mapping[str, Any],
) -> inspect.Signature:
    """Returns the signature of `f` with arguments before and keywords after its own.

    Args:
      leading: the names of the arguments before.
      f: the function.
      returns: gives the annotation of the result, from that of `f`.
      keywords: the keywords after, with their defaults.

    Returns:
      A signature. It is not validated: `f` may have arguments of the same names, which are then
      passed by position.
    """
    signature = signature_of(f)
    first = [inspect.Parameter(name, _POSITIONAL, annotation=_LEADING[name]) for name in leading]
    rest = list(signature.parameters.values())
    last = [rest.pop()] if rest and rest[-1].kind == inspect.Parameter.VAR_KEYWORD else []
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
        for name, value in keywords.items()
    ]
    return inspect.Signature(
        [*first, *rest, *options, *last],
        return_annotation=returns(signature.return_annotation),
        __validate_parameters__=False,
    )


def or_any(annotation: Any) -> Any:
    """Returns an annotation; without one, `Any`."""
    return Any if annotation is inspect.Parameter.empty else annotation
