"""What an operation is: a function of arrays that layers call, and that can be intercepted.

A product, a convolution, an attention, a look-up, a normalization. Several functions may be one
operation, if they take the same operands.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from purestate._core.frame import ambient
from purestate._core.hooks import OPERATION
from purestate._ops.inlined import argument_names, remembered_by_jax

_F = TypeVar("_F", bound=Callable[..., Any])


def operation(
    name: str,
    *,
    operands: int,
    array_option: str | None = None,
    beside: Callable[..., None] | None = None,
    one_gradient: bool = True,
) -> Callable[[_F], _F]:
    """Makes a function of arrays an operation, which `intercept_ops` sees.

    Without an interceptor it is what `inlined` makes of it: no more than that is added to a trace.

    Args:
      name: what interceptors know it by.
      operands: how many of the first arguments are arrays. The others are static.
      array_option: one of the others that is a number, or an array that is traced.
      beside: what runs before it with the same arguments, outside of what JAX remembers, if values
        that are sown were requested.
      one_gradient: whether the gradients of its parts may be added up before those of what else
        takes the same operand, which rounds in another order.

    Returns:
      A decorator.
    """
    # From JAX 0.11 on, a function that is remembered has a gradient of its own.
    is_remembered = one_gradient or not hasattr(jax, "Inline")

    def decorate(f: _F) -> _F:
        remembered: dict[bool, Any] = {}  # by whether that option is an array

        @functools.wraps(f)
        def run(*args: Any, **kwargs: Any) -> Any:
            frames, hooks = ambient.get()
            for hook in hooks:
                if hook.event == OPERATION:
                    from purestate._ops.interception import intercepted

                    return intercepted(name, f, operands, args, kwargs, beside)
            if beside is not None and frames and frames[-1].sown is not None:
                beside(*args, **kwargs)
            if is_remembered and frames and frames[-1].home.staged:
                is_array = array_option in kwargs and kwargs[array_option].__class__ is not float
                if is_array not in remembered:
                    options = argument_names(f)[operands:]
                    static = (o for o in options if not (is_array and o == array_option))
                    remembered[is_array] = remembered_by_jax(f, tuple(static))
                return remembered[is_array](*args, **kwargs)
            return f(*args, **kwargs)

        return run  # pyright: ignore[reportReturnType]

    return decorate
