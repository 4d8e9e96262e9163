"""Several functions over one set of parameters, and transforms without a key for `apply`."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax

from purestate._core.errors import ArgumentError, kind_of
from purestate._core.pairs import (
    MutableParams,
    MutableState,
    PureFunction,
    State,
    Transformed,
    TransformedWithState,
    model_name,
    repr_pair,
)
from purestate._core.signatures import or_any
from purestate._core.transform import (
    ApplyWithoutState,
    InitWithoutState,
    check_function,
    no_keyword,
    transform_with_state,
)


class MultiTransformed(NamedTuple):
    """One `init`, and a tree of `apply`; see `multi_transform`.

    Attributes:
      init: `init(rng, *args, **kwargs) -> params`.
      apply: a pytree of functions `apply(params, rng, *args, **kwargs) -> out`.
    """

    init: Callable[..., MutableParams]
    apply: Any

    def __repr__(self) -> str:
        return repr_pair(self)


class MultiTransformedWithState(NamedTuple):
    """One `init`, and a tree of `apply`; see `multi_transform_with_state`.

    Attributes:
      init: `init(rng, *args, **kwargs) -> (params, state)`.
      apply: a pytree of functions `apply(params, state, rng, *args, **kwargs) -> (out, state)`.
    """

    init: Callable[..., tuple[MutableParams, MutableState]]
    apply: Any

    def __repr__(self) -> str:
        return repr_pair(self)


def multi_transform_with_state(
    f: Callable[[], tuple[Callable[..., Any], Any]], *, strict: bool = False
) -> MultiTransformedWithState:
    """Like `multi_transform`, for functions with state.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f():
    ...     norm = ps.BatchNorm(True, True, 0.9)
    ...     def train(x):
    ...         return norm(x, is_training=True)
    ...     def test(x):
    ...         return norm(x, is_training=False)
    ...     return train, (train, test)
    >>> init, (train, test) = ps.multi_transform_with_state(f)
    >>> params, state = init(None, jnp.ones([2, 2]))
    >>> out, state = train(params, state, None, jnp.ones([2, 2]))

    Args:
      f: makes the modules; returns a function for `init` to run, and a pytree of functions.
      strict: whether each `apply` first checks what it is given; see `transform_with_state`.

    Returns:
      `init(rng, *args, **kwargs) -> (params, state)`, with the arguments of the first function, and
      the tree with an `apply(params, state, rng, *args, **kwargs) -> (out, state)` for each.
    """
    check_function(f, "multi_transform")
    treedef = _structure_of_functions(f)
    pairs = [
        transform_with_state(_Function(f, index), strict=strict)
        for index in range(treedef.num_leaves)
    ]
    init = transform_with_state(_Template(f)).init
    return MultiTransformedWithState(init, jax.tree.unflatten(treedef, [p.apply for p in pairs]))


class _Template:
    """The function that `init` runs."""

    def __init__(self, f: Callable[[], Any]):
        self._f = f
        self.__name__ = model_name(f)
        self.__doc__ = getattr(f, "__doc__", None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._f()[0](*args, **kwargs)


class _Function:
    """One of the functions that `apply` runs."""

    def __init__(self, f: Callable[[], Any], index: int):
        self._f = f
        self._index = index
        self.__name__ = f"{model_name(f)}_{index}"
        self.__doc__ = getattr(f, "__doc__", None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return jax.tree.leaves(self._f()[1])[self._index](*args, **kwargs)


def _structure_of_functions(f: Callable[[], tuple[Any, Any]]) -> Any:
    """The tree that `f` returns, found without computing anything."""
    found: list[Any] = []

    def look(rng: jax.Array) -> None:
        def note() -> None:
            out: Any = f()
            if not isinstance(out, (tuple, list)) or len(out) < 2 or not callable(out[0]):
                raise ArgumentError(
                    "The function given to `ps.multi_transform` has to return two things, a"
                    " function for `init` to run and a "
                    "pytree of functions, such as `return encode, (encode, decode)`; but it"
                    " returned "
                    f"{kind_of(out)}{f' of {len(out)}' if isinstance(out, (tuple, list)) else ''}"
                    f"{', the first of them no function' if isinstance(out, (tuple, list)) and len(out) > 1 else ''}."
                )
            found.append(jax.tree.structure(out[1]))

        pair = transform_with_state(note)
        params, state = pair.init(rng)
        pair.apply(params, state, rng)

    jax.eval_shape(look, jax.ShapeDtypeStruct((), jax.eval_shape(lambda: jax.random.key(0)).dtype))
    return found[-1]


def multi_transform(
    f: Callable[[], tuple[Callable[..., Any], Any]], *, strict: bool = False
) -> MultiTransformed:
    """Turns several functions that share modules into one `init` and an `apply` for each.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f():
    ...     encoder, decoder = ps.Linear(2, name="encoder"), ps.Linear(8, name="decoder")
    ...     def reconstruct(x):
    ...         return decoder(encoder(x))
    ...     return reconstruct, {"encode": encoder, "decode": decoder}
    >>> init, apply = ps.multi_transform(f)
    >>> params = init(jax.random.key(0), jnp.ones([1, 8]))
    >>> apply["encode"](params, None, jnp.ones([1, 8])).shape
    (1, 2)

    Args:
      f: makes the modules; returns a function for `init` to run, which has to use all of them, and
        a pytree of functions.
      strict: whether each `apply` first checks what it is given; see `transform_with_state`.

    Returns:
      `init(rng, *args, **kwargs) -> params`, with the arguments of the first function, and the tree
      with an `apply(params, rng, *args, **kwargs) -> out` for each function.

    Raises:
      ArgumentError: `f` returned something else.
      NonEmptyStateError: from `init` and `apply`, if a function makes state.
    """
    pair = multi_transform_with_state(f, strict=strict)
    return MultiTransformed(
        InitWithoutState(pair.init), jax.tree.map(ApplyWithoutState, pair.apply)
    )


_T = TypeVar(
    "_T",
    Transformed[..., Any],
    TransformedWithState[..., Any],
    MultiTransformed,
    MultiTransformedWithState,
)


def without_apply_rng(f: _T) -> _T:
    """Drops the key from `apply`, for functions that need none there.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.without_apply_rng(ps.transform(lambda x: ps.Linear(1)(x)))
    >>> params = f.init(jax.random.key(0), jnp.ones([1, 1]))
    >>> f.apply(params, jnp.ones([1, 1])).shape
    (1, 1)

    Args:
      f: what one of the transforms returned.

    Returns:
      The same, with `apply(params, *args)` or `apply(params, state, *args)`.

    Raises:
      ArgumentError: `f` is something else.
      MissingRNGError: from `apply`, if the function asks for a key after all.
    """
    if isinstance(f, (TransformedWithState, MultiTransformedWithState)):
        without_rng: Any = _StateApplyWithoutRng
    elif isinstance(f, (Transformed, MultiTransformed)):  # pyright: ignore[reportUnnecessaryIsInstance]
        without_rng = _ApplyWithoutRng
    else:
        raise ArgumentError(
            "`without_apply_rng` takes what `ps.transform` and its kin return, but got"
            f" {kind_of(f)}. For a plain function write `ps.without_apply_rng(ps.transform(f))`."
        )
    if isinstance(f, (MultiTransformed, MultiTransformedWithState)):
        return f._replace(apply=jax.tree.map(without_rng, f.apply))  # pyright: ignore[reportReturnType]
    return f._replace(apply=without_rng(f.apply))  # pyright: ignore[reportReturnType]


class _ApplyWithoutRng(PureFunction):
    leading = ("params",)
    about = "Returns the result of the function."
    _returns = staticmethod(or_any)

    def _run(self, /, *args: Any, **kwargs: Any) -> Any:
        no_keyword("rng", kwargs)
        names = self.leading
        given = [kwargs.pop(name) for name in names[len(args) :] if name in kwargs]
        args = (*args, *given)
        count = len(names)
        return self._made_from[0](*args[:count], None, *args[count:], **kwargs)


class _StateApplyWithoutRng(_ApplyWithoutRng):
    leading = ("params", "state")
    about = "Returns (out, state): the result of the function, and the new state."
    _returns = staticmethod(lambda out: tuple[or_any(out), State])
