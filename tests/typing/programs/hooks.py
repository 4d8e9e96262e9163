"""Functions that look into a run: interceptors, getters, creators, setters."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import purestate as ps


def interceptor(
    method: Callable[..., Any], args: Any, kwargs: Any, context: ps.MethodContext
) -> Any:
    reveal_type(context.module)  # Any
    reveal_type(context.method_name)  # str
    reveal_type(context.orig_method)  # (...) -> Any
    context.modul  # error: modul
    return method(*args, **kwargs)


def getter(
    next_getter: Callable[[Any], Any], value: jax.Array, context: ps.GetterContext
) -> jax.Array:
    reveal_type(context.full_name)  # str
    reveal_type(context.module)  # Any
    reveal_type(context.original_dtype)  # Any
    out: jax.Array = next_getter(value.astype(jnp.bfloat16))
    return out


def creator(
    next_creator: Callable[..., Any], shape: Any, dtype: Any, init: Any, context: ps.GetterContext
) -> Any:
    return next_creator(shape, dtype, init)


with ps.intercept_methods(interceptor), ps.custom_getter(getter), ps.custom_creator(creator):
    pass
with ps.intercept_methods(lambda method, args, kwargs, context: method(*args, **kwargs)):
    pass
with ps.custom_getter(lambda next_getter, value, context: next_getter(value), state=True):
    pass
with ps.intercept_methods(getter):
    # in pyright: error: "Interceptor"
    # in mypy: error: "Interceptor"
    pass
with ps.custom_getter(creator):
    # in pyright: error: "Getter"
    # in mypy: error: "Getter"
    pass
with ps.custom_setter(lambda value: value):
    # in pyright: error: "Setter"
    # in mypy: error: Argument 1 to "custom_setter"
    pass
