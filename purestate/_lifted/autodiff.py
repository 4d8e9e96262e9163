"""`grad` and `value_and_grad` of functions that use the frame."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, overload

import jax

from purestate._core.frame import get_frame
from purestate._lifted.differentials import pure_form
from purestate._lifted.snapshot import keep

if TYPE_CHECKING:
    P = ParamSpec("P")
    R = TypeVar("R")
    X = TypeVar("X", bound=Any)  # without it pyright takes the x of `lambda x: ...` for an object
    Aux = TypeVar("Aux")


@overload
def value_and_grad(
    fun: "Callable[Concatenate[X, P], R]",
    argnums: "Literal[0]" = 0,
    has_aux: "Literal[False]" = False,
    holomorphic: bool = False,
    **options: Any,
) -> "Callable[Concatenate[X, P], tuple[R, X]]": ...
@overload
def value_and_grad(
    fun: "Callable[Concatenate[X, P], tuple[R, Aux]]",
    argnums: "Literal[0]" = 0,
    *,
    has_aux: "Literal[True]",
    holomorphic: bool = False,
    **options: Any,
) -> "Callable[Concatenate[X, P], tuple[tuple[R, Aux], X]]": ...
@overload
def value_and_grad(
    fun: "Callable[P, R]",
    argnums: "int | Sequence[int]",
    has_aux: bool = False,
    holomorphic: bool = False,
    **options: Any,
) -> "Callable[P, tuple[R, Any]]": ...
def value_and_grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    **options: Any,
) -> Callable[..., Any]:
    """Like `jax.value_and_grad`, for functions that use modules, state or random keys.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     return ps.value_and_grad(lambda x: ps.Linear(1)(x).sum())(x)
    >>> g = ps.transform(f)
    >>> x = jnp.ones([1, 3])
    >>> value, grads = g.apply(g.init(jax.random.key(0), x), None, x)
    >>> grads.shape
    (1, 3)

    Args:
      fun: returns a scalar, or `(scalar, aux)` with `has_aux`.
      argnums: which arguments to differentiate by.
      has_aux: whether `fun` returns more than the scalar.
      holomorphic: see `jax.grad`.
      **options: further keywords of `jax.value_and_grad`.

    Returns:
      A function that returns `(value, grads)`, or `((value, aux), grads)`.

    Raises:
      FrameError: used outside a transformed function; there `jax.value_and_grad` does.
    """
    get_frame("`ps.value_and_grad` (outside, `jax.value_and_grad` does)")

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        frame = get_frame("A function made by `ps.value_and_grad`")
        # What the function changes leaves as auxiliary output; see `pure_form`.
        pure = pure_form(fun, frame, args, has_aux=has_aux, with_params=False)
        differentiate = jax.value_and_grad(
            pure.function, argnums, has_aux=True, holomorphic=holomorphic, **options
        )
        (value, (aux, changed, sown)), grads = differentiate(*args, **kwargs)
        # `has_aux` hands out plain values here, not those of the trace that has ended.
        keep(frame, changed, sown)
        return ((value, aux) if has_aux else value), grads

    return wrapped


@overload
def grad(
    fun: "Callable[Concatenate[X, P], Any]",
    argnums: "Literal[0]" = 0,
    has_aux: "Literal[False]" = False,
    holomorphic: bool = False,
    **options: Any,
) -> "Callable[Concatenate[X, P], X]": ...
@overload
def grad(
    fun: "Callable[Concatenate[X, P], tuple[Any, Aux]]",
    argnums: "Literal[0]" = 0,
    *,
    has_aux: "Literal[True]",
    holomorphic: bool = False,
    **options: Any,
) -> "Callable[Concatenate[X, P], tuple[X, Aux]]": ...
@overload
def grad(
    fun: "Callable[P, Any]",
    argnums: "int | Sequence[int]",
    has_aux: bool = False,
    holomorphic: bool = False,
    **options: Any,
) -> "Callable[P, Any]": ...
def grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    **options: Any,
) -> Callable[..., Any]:
    """Like `jax.grad`, for functions that use modules, state or random keys.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     return ps.grad(lambda x: (ps.Bias()(x) ** 2).sum())(x)
    >>> g = ps.transform(f)
    >>> x = jnp.ones([1, 2])
    >>> g.apply(g.init(None, x), None, x).tolist()
    [[2.0, 2.0]]

    Args:
      fun: returns a scalar, or `(scalar, aux)` with `has_aux`.
      argnums: which arguments to differentiate by.
      has_aux: whether `fun` returns more than the scalar.
      holomorphic: see `jax.grad`.
      **options: further keywords of `jax.grad`.

    Returns:
      A function that returns the gradients, or `(gradients, aux)`.

    Raises:
      FrameError: used outside a transformed function; there `jax.grad` does.
    """
    with_value = value_and_grad(fun, argnums, has_aux, holomorphic, **options)

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, grads = with_value(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapped
