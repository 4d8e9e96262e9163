"""The hook that casts: what a module with a policy is given, reads, makes and returns."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from contextvars import ContextVar
from typing import Any

from purestate._core.hooks import (
    CALL,
    GetterContext,
    Hook,
    MethodContext,
    add_lasting_hook,
    custom_creator,
    custom_getter,
)
from purestate._core.parameters_read import note_same_parameter
from purestate._precision.policy import PolicyLike
from purestate._precision.policy_registry import policy_of

_current: ContextVar[Any] = ContextVar("purestate_current_policy", default=None)


def current_policy() -> PolicyLike | None:
    """Returns the policy that is in force here: that of the innermost module that has one.

    >>> import purestate as ps
    >>> class Net(ps.Module):
    ...     def __call__(self):
    ...         return ps.mixed_precision.current_policy()
    >>> policy = ps.mixed_precision.get_named_policy("bfloat16")
    >>> with ps.mixed_precision.push_policy(Net, policy):
    ...     found = ps.transform(lambda: Net()()).apply({}, None)
    >>> found is policy, ps.mixed_precision.current_policy()
    (True, None)

    Returns:
      A policy, or None.
    """
    return _current.get()


def _cast_call(
    next_method: Callable[..., Any], args: Any, kwargs: Any, context: MethodContext
) -> Any:
    policy = policy_of(type(context.module))
    if policy is None:
        return next_method(*args, **kwargs)
    return call_with_policy(policy, next_method, args, kwargs)


def call_with_policy(
    policy: PolicyLike, next_method: Callable[..., Any], args: Any, kwargs: Any
) -> Any:
    """Calls a method of a module that has this policy."""
    casts_variables = _current.get() is not None
    token = _current.set(policy)
    try:
        with ExitStack() if casts_variables else _cast_variables():
            args, kwargs = policy.cast_to_compute((args, kwargs))
            return policy.cast_to_output(next_method(*args, **kwargs))
    finally:
        _current.reset(token)


def _cast_variables() -> AbstractContextManager[Any]:
    stack = ExitStack()
    stack.enter_context(custom_creator(_make_as_param))
    stack.enter_context(custom_getter(_read_as_compute, state=True))
    return stack


def _make_as_param(
    next_creator: Callable[..., Any], shape: Any, dtype: Any, init: Any, context: GetterContext
) -> Any:
    return next_creator(shape, _current.get().param_dtype, init)


def _read_as_compute(next_getter: Callable[[Any], Any], value: Any, context: GetterContext) -> Any:
    cast = _current.get().cast_to_compute(value)
    if cast is not value:
        note_same_parameter(cast, value)
    return next_getter(cast)


_HOOK = Hook(CALL, _cast_call)


def start_casting() -> None:
    """Starts to cast calls of modules. The first policy of a class calls this.

    Before that, calls cost nothing more.
    """
    add_lasting_hook(_HOOK)
