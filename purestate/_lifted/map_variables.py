"""`map_variables`: a function that sees its variables transformed, while they are stored raw."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from purestate._core.collection import DO_NOT_STORE
from purestate._core.creation import hooks_kind
from purestate._core.errors import CollectionError
from purestate._core.frame import get_frame
from purestate._core.hooks import ActiveHooks, GetterContext, Hook, SetterContext

P = ParamSpec("P")
R = TypeVar("R")


def map_variables(
    f: "Callable[P, R]",
    map_in: Callable[[Any, GetterContext], Any],
    map_out: Callable[[Any, Any], Any] | None = None,
    collection: str = "params",
    init: bool = True,
) -> "Callable[P, R]":
    """Returns `f` with each variable that it reads transformed by `map_in`; stored ones stay raw.

    A kernel that is stored transposed, as PyTorch stores it:

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def transposed(value, context):
    ...     return value.T if context.name == "w" else value
    >>> f = ps.transform(lambda x: ps.map_variables(ps.Linear(2), transposed, transposed)(x))
    >>> params = f.init(jax.random.key(0), jnp.ones([4, 3]))
    >>> params["linear"]["w"].shape
    (2, 3)
    >>> f.apply(params, None, jnp.ones([4, 3])).shape
    (4, 2)

    Weight standardization (Qiao et al. 2019, arXiv:1903.10520) has no inverse, and needs none:

    >>> def standardized(value, context):
    ...     return (value - value.mean(0)) / value.std(0) if context.name == "w" else value
    >>> g = ps.transform(lambda x: ps.map_variables(ps.Linear(2), standardized)(x))

    It stands on hooks as `custom_getter` does. Functions that return whole bundles, such as
    `get_params`, return raw values.

    Args:
      f: a module or function.
      map_in: `map_in(value, context) -> value`, for each variable that is read. The value it
        returns has the shape that `f` requests.
      map_out: the inverse, for initial values and for those that `f` sets. None keeps initial
        values as they are; `f` may then set no variable of the collection.
      collection: the collection of the variables.
      init: whether initial values go through `map_out`.

    Returns:
      A function of the same arguments and result.

    Raises:
      FrameError: the returned function is used outside a transformed function.
      CollectionError: `f` sets a variable of the collection, and `map_out` is None.
    """

    def getter(next_getter: Any, value: Any, context: GetterContext) -> Any:
        is_meant = context.collection == collection
        return next_getter(map_in(value, context) if is_meant else value)

    def out(value: Any, context: Any) -> Any:
        # A creator inside decided that the variable is stored nowhere.
        if value is DO_NOT_STORE:
            return value
        is_meant = context.collection == collection and init and map_out is not None
        return map_out(value, context) if is_meant else value  # pyright: ignore[reportOptionalCall]

    # Maps around this one see what it stores as their own value, so they come after it.
    def creator(next_creator: Any, shape: Any, dtype: Any, make: Any, context: Any) -> Any:
        return out(next_creator(shape, dtype, make), context)

    def maker(next_maker: Any, value: Any, context: GetterContext) -> Any:
        return out(next_maker(value), context)

    def setter(next_setter: Any, value: Any, context: GetterContext | SetterContext) -> Any:
        value = next_setter(value)
        if context.collection != collection or value is DO_NOT_STORE:
            return value
        if map_out is None:
            raise CollectionError(
                f"{context.full_name!r} (collection {collection!r}) was set inside"
                " `ps.map_variables`, which has no `map_out`. Values are stored raw, so a write"
                " needs the inverse: `ps.map_variables(f, map_in, map_out)`."
            )
        return map_out(value, context)

    # Each way to a variable has its event. Trees and parameters that are set have none that users
    # can listen to, so that dm-haiku's hooks see what they see in dm-haiku.
    kind = hooks_kind(collection)
    hooks = [
        Hook(("get", kind), getter),
        Hook(("create", kind), creator),
        Hook(("make", kind), maker),
        Hook(("write" if kind == "params" else "set", kind), setter),
    ]

    @functools.wraps(f)
    def mapped(*args: "P.args", **kwargs: "P.kwargs") -> R:
        get_frame("A function made by `ps.map_variables`")
        with ActiveHooks(*hooks):
            return f(*args, **kwargs)

    return mapped
