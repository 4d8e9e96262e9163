"""What an operation is: a function of arrays that layers call, and that can be intercepted.

A product, a convolution, an attention, a look-up, a normalization. Several functions may be one
operation, if they take the same operands.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from purestate._core.frame import ambient
from purestate._core.hooks import OPERATION
from purestate._ops.inlined import argument_names, remembered_by_jax

_F = TypeVar("_F", bound=Callable[..., Any])


def operation(
    name: str,
    *,
    operands: int,
    traced: tuple[str, ...] = (),
    beside: Callable[..., None] | None = None,
) -> Callable[[_F], _F]:
    """Makes a function of arrays an operation, which `intercept_ops` sees.

    Without an interceptor it is what `inlined` makes of it: no more than that is added to a trace.

    Args:
      name: what interceptors know it by.
      operands: how many of the first arguments are arrays. The others are static.
      traced: those of the others that may be arrays too.
      beside: what runs before it with the same arguments, outside of what JAX remembers, if values
        that are sown were requested.

    Returns:
      A decorator.
    """

    def decorate(f: _F) -> _F:
        remembered: Any = None

        @functools.wraps(f)
        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal remembered
            frames, hooks = ambient.get()
            for hook in hooks:
                if hook.event == OPERATION:
                    from purestate._ops.interception import intercepted

                    return intercepted(name, f, operands, args, kwargs, beside)
            if beside is not None and frames and frames[-1].sown is not None:
                beside(*args, **kwargs)
            if frames and frames[-1].home.staged:
                if remembered is None:
                    options = argument_names(f)[operands:]
                    static = tuple(option for option in options if option not in traced)
                    remembered = remembered_by_jax(f, static)
                return remembered(*args, **kwargs)
            return f(*args, **kwargs)

        return run  # pyright: ignore[reportReturnType]

    return decorate
