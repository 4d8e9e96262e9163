"""`once`: a function or method that runs one time."""

import functools
import inspect
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from purestate._core.frame import get_frame
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.module import Module

F = TypeVar("F", bound=Callable[..., Any])
# The functions of one name, told apart by their order, which is the same in another process.
_numbers: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)


def once(f: F) -> F:
    """Makes a method run once for each object, and a function once; then it does nothing.

    A function that JAX traces several times runs it once in each trace, so that variables which
    the method creates are part of each.

    >>> import purestate.sonnet as snt
    >>> @snt.once
    ... def greet():
    ...     print("Hello")
    >>> greet()
    Hello
    >>> greet()

    Args:
      f: returns None. If it raises, it counts as not having run.

    Returns:
      A function that runs `f` once.

    Raises:
      SonnetValueError: `f` returned a value.
    """
    name = f"{f.__module__}.{f.__qualname__}"
    key = f"{name}.{next(_numbers[name])}"
    seen: list[bool] = []
    is_method = list(inspect.signature(f).parameters)[:1] == ["self"]  # Sonnet's rule

    @functools.wraps(f)
    def run(*args: Any, **kwargs: Any) -> None:
        self: Any = args[0] if is_method and args and hasattr(args[0], "__dict__") else None
        if isinstance(self, Module) and hasattr(self, "module_name"):
            # The frame's own fact, so that a trace that is undone does not count.
            built = get_frame("A method with @snt.once").ledger.built
            place = ("once", self.module_name, key)
            if place not in built:
                _check_none(f, f(*args, **kwargs))
                get_frame("A method with @snt.once").ledger.built[place] = True
        elif self is not None:
            owner: Any = self
            done: set[str] = getattr(owner, "_sonnet_once", set())
            owner._sonnet_once = done
            if key not in done:
                _check_none(f, f(*args, **kwargs))
                done.add(key)
        elif not seen:
            _check_none(f, f(*args, **kwargs))
            seen.append(True)

    return run  # pyright: ignore[reportReturnType]


def _check_none(f: Callable[..., Any], out: object) -> None:
    if out is not None:
        raise SonnetValueError(
            f"`{f.__qualname__}` is decorated with @snt.once and returned a value, which later"
            " calls would not return. Keep the value as an attribute, and return nothing."
        )
