"""Methods whose code runs after they were called: generators and coroutines."""

import inspect
import types
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from purestate._core.frame import Frame
from purestate._core.scope import Scope

# Read from the code itself, since each method of each class is asked at import.
_LATE = (
    inspect.CO_GENERATOR
    | inspect.CO_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
    | inspect.CO_ITERABLE_COROUTINE
)


def runs_late(method: Callable[..., Any]) -> bool:
    """Whether calling a function runs none of its code yet."""
    code = getattr(method, "__code__", None)
    return code is not None and code.co_flags & _LATE != 0


def in_scope(out: Any, frame: Frame, scope: Scope) -> Any:
    """Makes each step of a generator or coroutine run in the scope of the method that returned it.

    Otherwise, two modules would create their variables in the scope of their caller, and share
    them. In a method of the same module the scope is that method's, as in dm-haiku.
    """
    if inspect.isasyncgen(out):
        return _async_steps(out, frame, scope)
    if inspect.iscoroutine(out):
        return _coroutine(out, frame, scope)
    return _steps(out, frame, scope) if inspect.isgenerator(out) else out


def _steps(inner: Any, frame: Frame, scope: Scope) -> Generator[Any, Any, Any]:
    value: Any = None
    error: BaseException | None = None
    while True:
        outside = frame.scope
        if outside.module is not scope.module:
            frame.scope = scope
        try:
            given = inner.send(value) if error is None else inner.throw(error)
        except StopIteration as stop:
            return stop.value
        finally:
            frame.scope = outside
        value = error = None
        try:
            value = yield given
        except GeneratorExit:
            inner.close()
            raise
        except BaseException as caught:  # thrown in, for the method to deal with
            error = caught


_awaited: Any = types.coroutine(_steps)


async def _coroutine(inner: Any, frame: Frame, scope: Scope) -> Any:
    return await _awaited(inner, frame, scope)


async def _async_steps(inner: Any, frame: Frame, scope: Scope) -> AsyncGenerator[Any]:
    while True:
        try:
            item = await _awaited(inner.__anext__(), frame, scope)
        except StopAsyncIteration:
            return
        yield item
