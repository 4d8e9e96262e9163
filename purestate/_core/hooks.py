"""Hooks: one way to step between a user's code and a read, a creation, a write or a call.

The event of a hook says what it intercepts. Hooks of one event run outermost first: each gets
`next`, which runs the rest of the chain, and returns the value for its caller. Without a hook for
an event no chain is built, and the only cost is a look at an empty tuple.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from purestate._core import compiled, frame
from purestate._core.errors import ArgumentError, kind_of
from purestate._core.frame import ambient, get_frame
from purestate._core.path import split_variable_path

CALL = "call"
OPERATION = "operation"  # see `_ops/operation.py`


class Hook(NamedTuple):
    """One interception.

    Attributes:
      event: `CALL`, `OPERATION`, or a pair of "get", "create" or "set" and a collection.
      function: what runs.
      key: two hooks with the same key do the same, so that JAX need not trace again for the second;
        None for hooks that are the same only if their functions are.
    """

    event: str | tuple[str, str]
    function: Callable[..., Any]
    key: tuple[Any, ...] | None = None


class GetterContext(NamedTuple):
    """Describes the variable that a getter or creator runs for; `collection` is its collection."""

    full_name: str
    module: Any
    original_dtype: Any
    original_shape: Any
    original_init: Any = None
    lifted_prefix_name: str | None = None
    collection: str = "params"

    @property
    def module_name(self) -> str:
        """The path of the module that owns the variable."""
        return split_variable_path(self.full_name)[0]

    @property
    def name(self) -> str:
        """The name of the variable within its module."""
        return split_variable_path(self.full_name)[1]


class SetterContext(NamedTuple):
    """Describes the state that a setter runs for; `collection` is its collection."""

    full_name: str
    module: Any
    original_dtype: Any
    original_shape: Any
    lifted_prefix_name: str | None = None
    collection: str = "state"

    @property
    def module_name(self) -> str:
        """The path of the module that owns the state."""
        return split_variable_path(self.full_name)[0]

    @property
    def name(self) -> str:
        """The name of the state within its module."""
        return split_variable_path(self.full_name)[1]


class MethodContext(NamedTuple):
    """Describes the method call that an interceptor runs for."""

    module: Any
    method_name: str
    orig_method: Callable[..., Any]
    orig_class: type[Any]


class Creator(Protocol):
    """`creator(next_creator, shape, dtype, init, context) -> value`."""

    def __call__(
        self,
        next_creator: Callable[..., Any],
        shape: Any,
        dtype: Any,
        init: Any,
        context: GetterContext,
        /,
    ) -> Any: ...


class Getter(Protocol):
    """`getter(next_getter, value, context) -> value`."""

    def __call__(
        self, next_getter: Callable[[Any], Any], value: Any, context: GetterContext, /
    ) -> Any: ...


class Setter(Protocol):
    """`setter(next_setter, value, context) -> value`."""

    def __call__(
        self, next_setter: Callable[[Any], Any], value: Any, context: SetterContext, /
    ) -> Any: ...


class Interceptor(Protocol):
    """`interceptor(next_method, args, kwargs, context) -> result`."""

    def __call__(
        self, next_method: Callable[..., Any], args: Any, kwargs: Any, context: MethodContext, /
    ) -> Any: ...


class ActiveHooks(AbstractContextManager[None]):
    """Makes hooks active, inside those that are, for a `with` block.

    Outside of any frame the active hooks are part of what compiled functions depend on: JAX traces
    again for another set of hooks. So hooks that do the same should compare equal.
    """

    def __init__(self, *hooks: Hook, tells_jax: bool = True):
        self._hooks = hooks
        self._tells_jax = tells_jax  # False for a run that only looks ahead
        self._frames: list[tuple[Any, ...]] = []

    def __enter__(self) -> None:
        frames, hooks = ambient.get()
        self._frames.append(frames)
        ambient.set((frames, hooks + self._hooks))
        if self._tells_jax and not frames:
            _tell_jax(hooks + self._hooks)

    def __exit__(self, *exc_info: object) -> None:
        frames, hooks = ambient.get()
        # A generator may end its block after others that began later, or when its frame is over,
        # which took the hooks along.
        if self._frames.pop() is frames:
            for hook in reversed(self._hooks):
                last = next((i for i in reversed(range(len(hooks))) if hooks[i] is hook), None)
                if last is not None:
                    hooks = hooks[:last] + hooks[last + 1 :]
            ambient.set((frames, hooks))
            if self._tells_jax and not frames:
                _tell_jax(hooks)
        if frame.lasting_hooks:  # one may have been added inside the block
            _refit()


def _tell_jax(hooks: tuple[Hook, ...]) -> None:
    """Makes compiled functions depend on the active hooks."""
    compiled.depends_on("hooks", _known_as(hooks) or None)


def _known_as(hooks: tuple[Hook, ...]) -> tuple[Any, ...]:
    return tuple((hook.event, compiled.hashable(hook.key or hook.function)) for hook in hooks)


def add_lasting_hook(hook: Hook) -> None:
    """Makes a hook the outermost one of every frame from here on, until the process ends."""
    if hook not in frame.lasting_hooks:
        frame.lasting_hooks = (*frame.lasting_hooks, hook)
        compiled.process_depends_on("lasting hooks", _known_as(frame.lasting_hooks))
    _refit()


def _refit() -> None:
    """Puts the lasting hooks into the running frame, which may have begun before them."""
    frames, hooks = ambient.get()
    if frames:
        ambient.set((frames, frame.with_lasting(hooks)))


def functions_for(
    event: str | tuple[str, str], hooks: tuple[Hook, ...]
) -> list[Callable[..., Any]]:
    """Returns the functions that listen to `event`, outermost first."""
    return [hook.function for hook in hooks if hook.event == event]


def run_chain(
    functions: list[Callable[..., Any]], base: Callable[..., Any], context: Any, *args: Any
) -> Any:
    """Runs `functions`, outermost first, around `base`."""
    step = base
    for function in reversed(functions):
        step = _around(function, step, context)
    return step(*args)


def _around(function: Callable[..., Any], step: Callable[..., Any], context: Any) -> Any:
    return lambda *args: function(step, *args, context)


def run_interceptors(
    functions: list[Callable[..., Any]],
    method: Callable[..., Any],
    context: MethodContext,
    args: Any,
    kwargs: Any,
) -> Any:
    """Runs interceptors around a bound method, as `run_chain` does, with keywords carried along."""
    # One frame of Python for each, so that deeply nested modules do not meet its limit early.
    step = method
    for function in reversed(functions[1:]):
        step = _around_call(function, step, context)
    return functions[0](step, args, kwargs, context)


def _around_call(function: Callable[..., Any], step: Callable[..., Any], context: Any) -> Any:
    return lambda *args, **kwargs: function(step, args, kwargs, context)


def _events(verb: str, params: bool, state: bool) -> list[tuple[str, str]]:
    return [(verb, name) for name, wanted in (("params", params), ("state", state)) if wanted]


def custom_creator(
    creator: Creator, *, params: bool = True, state: bool = False
) -> AbstractContextManager[None]:
    """Runs `creator` whenever a variable is made inside the `with` block.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def zeros(next_creator, shape, dtype, init, context):
    ...     return next_creator(shape, dtype, jnp.zeros)
    >>> def f(x):
    ...     with ps.custom_creator(zeros):
    ...         return ps.Linear(3)(x)
    >>> params = ps.transform(f).init(jax.random.key(0), jnp.ones([2, 4]))
    >>> float(params["linear"]["w"].sum())
    0.0

    Args:
      creator: `creator(next_creator, shape, dtype, init, context) -> value`; the value may be
        `DO_NOT_STORE`.
      params: listen to the creation of parameters.
      state: listen to the creation of state.

    Returns:
      A context manager.

    Raises:
      FrameError: used outside a transformed function.
    """
    get_frame("`ps.custom_creator`")
    return custom_creator_anywhere(creator, params=params, state=state)


def custom_creator_anywhere(
    creator: Creator, *, params: bool = True, state: bool = False
) -> AbstractContextManager[None]:
    """`custom_creator` for callers that are not inside a transformed function."""
    return ActiveHooks(*(Hook(event, creator) for event in _events("create", params, state)))


def custom_getter(
    getter: Getter, *, params: bool = True, state: bool = False
) -> AbstractContextManager[None]:
    """Runs `getter` whenever a variable is read inside the `with` block.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def half(next_getter, value, context):
    ...     return next_getter(value.astype(jnp.bfloat16))
    >>> def f():
    ...     with ps.custom_getter(half):
    ...         return ps.get_parameter("w", [2], init=jnp.ones)
    >>> g = ps.transform(f)
    >>> params = g.init(None)
    >>> str(params["~"]["w"].dtype), str(g.apply(params, None).dtype)
    ('float32', 'bfloat16')

    Args:
      getter: `getter(next_getter, value, context) -> value`; must keep the shape.
      params: listen to reads of parameters.
      state: listen to reads of state.

    Returns:
      A context manager.

    Raises:
      FrameError: used outside a transformed function.
    """
    get_frame("`ps.custom_getter`")
    return ActiveHooks(*(Hook(event, getter) for event in _events("get", params, state)))


def custom_setter(setter: Setter) -> AbstractContextManager[None]:
    """Runs `setter` whenever state is written inside the `with` block.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def f():
    ...     with ps.custom_setter(lambda next_setter, value, context: next_setter(value * 2)):
    ...         ps.set_state("count", jnp.ones([]))
    >>> params, state = ps.transform_with_state(f).init(None)
    >>> float(state["~"]["count"])
    2.0

    Args:
      setter: `setter(next_setter, value, context) -> value`; the value may be `DO_NOT_STORE`.

    Returns:
      A context manager.

    Raises:
      FrameError: used outside a transformed function.
    """
    get_frame("`ps.custom_setter`")
    return ActiveHooks(Hook(("set", "state"), setter))


def intercept_methods(interceptor: Interceptor) -> AbstractContextManager[None]:
    """Runs `interceptor` around every module method called inside the `with` block.

    May be used outside a transformed function too.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def log(next_method, args, kwargs, context):
    ...     if context.method_name == "__call__":
    ...         print(context.module.module_name)
    ...     return next_method(*args, **kwargs)
    >>> with ps.intercept_methods(log):
    ...     f = ps.transform(lambda x: ps.Linear(1)(x))
    ...     params = f.init(jax.random.key(0), jnp.ones([1, 1]))
    linear

    Args:
      interceptor: `interceptor(next_method, args, kwargs, context) -> result`.

    Returns:
      A context manager.

    Raises:
      ArgumentError: `interceptor` is a class.
    """
    if isinstance(interceptor, type):
        raise ArgumentError(
            "`ps.intercept_methods` takes a function (next_method, args, kwargs, context), but was"
            f" given {kind_of(interceptor)}: to make it would be to call a method again, without"
            " end."
        )
    return ActiveHooks(Hook(CALL, interceptor))
