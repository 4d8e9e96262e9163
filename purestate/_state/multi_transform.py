"""Several functions over one set of parameters, and transforms without a key for `apply`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, Protocol, TypeVar, overload

import jax

from purestate._core.errors import ArgumentError, kind_of
from purestate._core.pairs import (
    A,
    GivenParams,
    GivenState,
    I,
    MutableState,
    P,
    PureFunction,
    R,
    R_co,
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

if TYPE_CHECKING:
    from purestate._core.pairs import Apply, ApplyWithState, Init, InitWithState

    P1 = ParamSpec("P1")
    P2 = ParamSpec("P2")
    P3 = ParamSpec("P3")
    R1 = TypeVar("R1")
    R2 = TypeVar("R2")
    R3 = TypeVar("R3")

    class Named(Protocol):  # any NamedTuple: taken for a plain tuple it would lose its fields
        def _asdict(self) -> dict[str, Any]: ...

    # What `f` returns: a function for `init`, and a tree of one, two or three, or a dict.
    One = tuple[Callable[P, Any], Callable[P1, R1]]
    Two = tuple[Callable[P, Any], tuple[Callable[P1, R1], Callable[P2, R2]]]
    Three = tuple[Callable[P, Any], tuple[Callable[P1, R1], Callable[P2, R2], Callable[P3, R3]]]
    Dict = tuple[Callable[P, Any], dict[str, Callable[P1, R1]]]
    TwoApply = tuple[Apply[P1, R1], Apply[P2, R2]]
    ThreeApply = tuple[Apply[P1, R1], Apply[P2, R2], Apply[P3, R3]]
    TwoWithState = tuple[ApplyWithState[P1, R1], ApplyWithState[P2, R2]]
    ThreeWithState = tuple[ApplyWithState[P1, R1], ApplyWithState[P2, R2], ApplyWithState[P3, R3]]

    class ApplyWithoutRng(Protocol[P, R_co]):
        def __call__(self, params: GivenParams, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    class ApplyWithStateWithoutRng(Protocol[P, R_co]):
        def __call__(
            self, params: GivenParams, state: GivenState, *args: P.args, **kwargs: P.kwargs
        ) -> tuple[R_co, MutableState]: ...


class MultiTransformed(NamedTuple, Generic[I, A]):
    """One `init`, and a tree of `apply`; see `multi_transform`.

    Attributes:
      init: `init(rng, *args, **kwargs) -> params`.
      apply: a pytree of functions `apply(params, rng, *args, **kwargs) -> out`.
    """

    init: I
    apply: A

    def __repr__(self) -> str:
        return repr_pair(self)


class MultiTransformedWithState(NamedTuple, Generic[I, A]):
    """One `init`, and a tree of `apply`; see `multi_transform_with_state`.

    Attributes:
      init: `init(rng, *args, **kwargs) -> (params, state)`.
      apply: a pytree of functions `apply(params, state, rng, *args, **kwargs) -> (out, state)`.
    """

    init: I
    apply: A

    def __repr__(self) -> str:
        return repr_pair(self)


if TYPE_CHECKING:
    # Separate classes, so that mypy takes Any for the result of an `f` without annotations.
    class MultiOfNamed(MultiTransformed[I, Any]): ...

    class MultiOfNamedWithState(MultiTransformedWithState[I, Any]): ...


@overload
def multi_transform_with_state(
    f: "Callable[[], tuple[Callable[P, Any], Named]]", *, strict: bool = False
) -> "MultiOfNamedWithState[InitWithState[P]]": ...
@overload
def multi_transform_with_state(
    f: "Callable[[], One[P, P1, R1]]", *, strict: bool = False
) -> "MultiTransformedWithState[InitWithState[P], ApplyWithState[P1, R1]]": ...
@overload
def multi_transform_with_state(
    f: "Callable[[], Two[P, P1, R1, P2, R2]]", *, strict: bool = False
) -> "MultiTransformedWithState[InitWithState[P], TwoWithState[P1, R1, P2, R2]]": ...
@overload
def multi_transform_with_state(
    f: "Callable[[], Three[P, P1, R1, P2, R2, P3, R3]]", *, strict: bool = False
) -> "MultiTransformedWithState[InitWithState[P], ThreeWithState[P1, R1, P2, R2, P3, R3]]": ...
@overload
def multi_transform_with_state(
    f: "Callable[[], Dict[P, P1, R1]]", *, strict: bool = False
) -> "MultiTransformedWithState[InitWithState[P], dict[str, ApplyWithState[P1, R1]]]": ...
@overload
def multi_transform_with_state(
    f: "Callable[[], tuple[Callable[P, Any], Any]]", *, strict: bool = False
) -> "MultiTransformedWithState[InitWithState[P], Any]": ...
def multi_transform_with_state(
    f: Callable[[], tuple[Callable[..., Any], Any]], *, strict: bool = False
) -> MultiTransformedWithState[Any, Any]:
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
            is_some = isinstance(out, (tuple, list))
            if not is_some or len(out) < 2 or not callable(out[0]):
                size = f" of {len(out)}" if is_some else ""
                first = ", the first of them not a function" if is_some and len(out) > 1 else ""
                raise ArgumentError(
                    "The function given to `ps.multi_transform` has to return two things, a"
                    " function for `init` to run and a pytree of functions, such as `return encode,"
                    f" (encode, decode)`; but it returned {kind_of(out)}{size}{first}."
                )
            found.append(jax.tree.structure(out[1]))

        pair = transform_with_state(note)
        params, state = pair.init(rng)
        pair.apply(params, state, rng)

    jax.eval_shape(look, jax.ShapeDtypeStruct((), jax.eval_shape(lambda: jax.random.key(0)).dtype))
    return found[-1]


@overload
def multi_transform(
    f: "Callable[[], tuple[Callable[P, Any], Named]]", *, strict: bool = False
) -> "MultiOfNamed[Init[P]]": ...
@overload
def multi_transform(
    f: "Callable[[], One[P, P1, R1]]", *, strict: bool = False
) -> "MultiTransformed[Init[P], Apply[P1, R1]]": ...
@overload
def multi_transform(
    f: "Callable[[], Two[P, P1, R1, P2, R2]]", *, strict: bool = False
) -> "MultiTransformed[Init[P], TwoApply[P1, R1, P2, R2]]": ...
@overload
def multi_transform(
    f: "Callable[[], Three[P, P1, R1, P2, R2, P3, R3]]", *, strict: bool = False
) -> "MultiTransformed[Init[P], ThreeApply[P1, R1, P2, R2, P3, R3]]": ...
@overload
def multi_transform(
    f: "Callable[[], Dict[P, P1, R1]]", *, strict: bool = False
) -> "MultiTransformed[Init[P], dict[str, Apply[P1, R1]]]": ...
@overload
def multi_transform(
    f: "Callable[[], tuple[Callable[P, Any], Any]]", *, strict: bool = False
) -> "MultiTransformed[Init[P], Any]": ...
def multi_transform(
    f: Callable[[], tuple[Callable[..., Any], Any]], *, strict: bool = False
) -> MultiTransformed[Any, Any]:
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


@overload
def without_apply_rng(
    f: "Transformed[I, Apply[P, R]]",
) -> "Transformed[I, ApplyWithoutRng[P, R]]": ...
@overload
def without_apply_rng(
    f: "TransformedWithState[I, ApplyWithState[P, R]]",
) -> "TransformedWithState[I, ApplyWithStateWithoutRng[P, R]]": ...
@overload
def without_apply_rng(f: MultiTransformed[I, Any]) -> MultiTransformed[I, Any]: ...
@overload
def without_apply_rng(
    f: MultiTransformedWithState[I, Any],
) -> MultiTransformedWithState[I, Any]: ...
def without_apply_rng(f: Any) -> Any:
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
    elif isinstance(f, (Transformed, MultiTransformed)):
        without_rng = _ApplyWithoutRng
    else:
        raise ArgumentError(
            "`without_apply_rng` takes what `ps.transform` and its kin return, but got"
            f" {kind_of(f)}. For a plain function write `ps.without_apply_rng(ps.transform(f))`."
        )
    if isinstance(f, (MultiTransformed, MultiTransformedWithState)):
        return f._replace(apply=jax.tree.map(without_rng, f.apply))
    return f._replace(apply=without_rng(f.apply))


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
