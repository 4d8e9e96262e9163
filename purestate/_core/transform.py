"""From a function that uses modules to a pure pair, `init` and `apply`: the public transforms."""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, overload

from purestate._core.errors import ArgumentError, FrameError, NonEmptyStateError, kind_of
from purestate._core.keys import check_mode
from purestate._core.module import ModuleMetaclass
from purestate._core.outlines import outline
from purestate._core.pairs import (
    MutableParams,
    MutableState,
    P,
    Params,
    Program,
    PureFunction,
    R,
    Rng,
    State,
    Transformed,
    TransformedWithState,
)
from purestate._core.run import WITH_STATE, WITHOUT_STATE, has_shapes_only, run_apply, run_init
from purestate._core.signatures import or_any

if TYPE_CHECKING:
    from purestate._core.pairs import Apply, ApplyWithState, CallableModule, Init, InitWithState


@overload
def transform_with_state(
    f: "type[CallableModule[P, R]]",
    *,
    rng_mode: str = "sequence",
    strict: bool = False,
) -> "TransformedWithState[InitWithState[P], ApplyWithState[P, R]]": ...
@overload
def transform_with_state(
    f: "Callable[P, R]",
    *,
    rng_mode: str = "sequence",
    strict: bool = False,
) -> "TransformedWithState[InitWithState[P], ApplyWithState[P, R]]": ...
def transform_with_state(
    f: Callable[..., Any], *, rng_mode: str = "sequence", strict: bool = False
) -> TransformedWithState[Any, Any]:
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
      rng_mode: "sequence" splits the given key again and again. An initial value then depends on
        the variables created before it, as in dm-haiku. With "path" it depends on the path of the
        variable instead, so other variables may be added, removed or reordered.
      strict: whether `apply` first runs `check` on its arguments, each time it is traced (without
        `jax.jit`, each time it is called).

    Returns:
      `init(rng, *args, **kwargs) -> (params, state)` and
      `apply(params, state, rng, *args, **kwargs) -> (out, state)`. Both are pure: they do not
      change their arguments, and work under any JAX transform. `rng` is a key, an int, None, or a
      dict of keys by stream (see `next_rng_key`).

    Raises:
      FrameError: `f` is compiled already.
      ArgumentError: `f` is not a function.
      CheckError: from `apply`, if `strict`.
    """
    program = program_for(f, "transform_with_state", rng_mode, strict)
    return TransformedWithState(_Init(program), _Apply(program))


@overload
def transform(
    f: "type[CallableModule[P, R]]",
    *,
    apply_rng: bool = True,
    rng_mode: str = "sequence",
    strict: bool = False,
) -> "Transformed[Init[P], Apply[P, R]]": ...
@overload
def transform(
    f: "Callable[P, R]",
    *,
    apply_rng: bool = True,
    rng_mode: str = "sequence",
    strict: bool = False,
) -> "Transformed[Init[P], Apply[P, R]]": ...
def transform(
    f: Callable[..., Any],
    *,
    apply_rng: bool = True,
    rng_mode: str = "sequence",
    strict: bool = False,
) -> Transformed[Any, Any]:
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
      strict: whether `apply` first checks its arguments; see `transform_with_state`.

    Returns:
      `init(rng, *args, **kwargs) -> params` and `apply(params, rng, *args, **kwargs) -> out`.

    Raises:
      FrameError: `f` is compiled already.
      ArgumentError: `f` is not a function.
      NonEmptyStateError: from `init` and `apply`, if `f` makes state.
    """
    if not apply_rng:
        raise FrameError(
            "transform(f, apply_rng=False) was dropped long ago: `apply` always takes a key. Write"
            " `ps.without_apply_rng(ps.transform(f))` for an `apply` that takes none."
        )
    program = program_for(f, "transform", rng_mode, strict)
    return without_state(TransformedWithState(_Init(program), _Apply(program)))


def without_state(
    f: "TransformedWithState[InitWithState[P], ApplyWithState[P, R]]",
) -> "Transformed[Init[P], Apply[P, R]]":
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
    return Transformed(InitWithoutState(f.init), ApplyWithoutState(f.apply))


def with_empty_state(
    f: "Transformed[Init[P], Apply[P, R]]",
) -> "TransformedWithState[InitWithState[P], ApplyWithState[P, R]]":
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
    return TransformedWithState(_InitWithEmptyState(f.init), _ApplyWithEmptyState(f.apply))


def program_for(f: Any, transform: str, rng_mode: str, strict: bool) -> Program:
    """Checks the arguments of a transform, and returns the record of them.

    Raises:
      FrameError: `f` is compiled already, so that JAX would keep a frame's variables in its cache.
      ArgumentError: `f` is not a function, or a class whose constructor needs arguments.
    """
    check_function(f, transform)
    check_mode(rng_mode)
    body = f
    if isinstance(f, ModuleMetaclass) and any("__call__" in vars(base) for base in f.__mro__):
        body = _CallModule(f, transform)
    return Program(f, body, rng_mode, strict)


def check_function(f: Any, transform: str) -> None:
    """Raises unless `f` is a function that is not compiled."""
    if not callable(f) or isinstance(f, tuple):  # what a transform returned
        raise ArgumentError(f"`ps.{transform}` takes a function, but got {outline(f)}.")
    if hasattr(f, "lower") and hasattr(f, "clear_cache"):  # what jax.jit and jax.pmap return
        raise FrameError(
            f"{getattr(f, '__name__', 'The function')} is compiled already (jax.jit or jax.pmap),"
            " so its side effects would be lost. Transform the plain function, and compile what"
            " comes out: jax.jit(ps.transform(f).apply)."
        )


class _CallModule:
    """Makes a module, and calls it: what a class stands for as a function."""

    def __init__(self, cls: Any, transform: str):
        parameters = inspect.signature(cls).parameters.values()
        needed = [
            p.name
            for p in parameters
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        if needed:
            raise ArgumentError(
                f"`ps.{transform}({cls.__name__})`: {cls.__name__} needs the arguments"
                f" {', '.join(map(repr, needed))}. Transform a function that makes and calls it:"
                f" `ps.{transform}(lambda x: {cls.__name__}(...)(x))`."
            )
        self._made_from = (cls, transform)
        self._cls = cls

    @property
    def __signature__(self) -> inspect.Signature:
        signature = inspect.signature(self._cls.__call__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._cls()(*args, **kwargs)

    def __reduce__(self) -> Any:
        return type(self), self._made_from


# The pure functions. Each is one class, so that pickle finds it by name.


class _Init(PureFunction):
    role = "init"
    leading = ("rng",)
    about = (
        "Returns (params, state), each {module: {name: array}}. An argument may be a"
        " jax.ShapeDtypeStruct if no initial value depends on its elements."
    )
    _returns = staticmethod(lambda out: tuple[Params, State])

    def _run(self, /, rng: Rng, *args: Any, **kwargs: Any) -> tuple[MutableParams, MutableState]:
        if has_shapes_only((rng, args, kwargs)):
            from purestate._core.initial_values import initial_values  # few programs need it

            return initial_values(self, (rng, *args), kwargs)
        return run_init(self.program, rng, args, kwargs)


class _Apply(PureFunction):
    leading = ("params", "state", "rng")
    about = "Returns (out, state): the result of the function, and the new state."
    _returns = staticmethod(lambda out: tuple[or_any(out), State])

    def _run(
        self, /, params: Any, state: Any, rng: Rng, *args: Any, **kwargs: Any
    ) -> tuple[Any, MutableState]:
        if self.program.strict:
            check_first(_Unchecked(self.program), (params, state, rng, *args), kwargs)
        # Without a state to say otherwise, the caller may mean a transform that has none.
        signature = WITHOUT_STATE if state is None else WITH_STATE
        return run_apply(self.program, params, state, rng, signature, args, kwargs)


class _Unchecked(_Apply):
    """`apply` without the check of a strict transform, for the check itself."""

    def __init__(self, program: Program):
        super().__init__(Program(program.function, program.body, program.rng_mode))


def check_first(apply: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raises if the arguments of `apply` do not fit, as `ps.check` does."""
    from purestate._core.check import check  # here, since few programs are strict

    check(apply)(*args, **kwargs)


class InitWithoutState(PureFunction):
    role = "init"
    leading = ("rng",)
    about = "Returns params, {module: {name: array}}."
    _returns = staticmethod(lambda out: Params)

    def _run(self, /, *args: Any, **kwargs: Any) -> MutableParams:
        params, state = self._made_from[0](*args, **kwargs)
        no_state(state)
        return params


class ApplyWithoutState(PureFunction):
    leading = ("params", "rng")
    about = "Returns the result of the function."
    _returns = staticmethod(or_any)

    def _run(self, /, params: Any, *args: Any, **kwargs: Any) -> Any:
        no_keyword("state", kwargs)
        out, state = self._made_from[0](params, None, *args, **kwargs)
        no_state(state)
        return out


class _InitWithEmptyState(PureFunction):
    role = "init"
    leading = ("rng",)
    about = "Returns (params, {})."
    _returns = staticmethod(lambda out: tuple[Params, State])

    def _run(self, /, *args: Any, **kwargs: Any) -> tuple[MutableParams, MutableState]:
        return self._made_from[0](*args, **kwargs), {}


class _ApplyWithEmptyState(PureFunction):
    leading = ("params", "state", "rng")
    about = "Returns (out, {})."
    _returns = staticmethod(lambda out: tuple[or_any(out), State])

    def _run(self, /, params: Any, state: Any, *args: Any, **kwargs: Any) -> Any:
        del state
        return self._made_from[0](params, *args, **kwargs), {}


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
