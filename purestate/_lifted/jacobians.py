"""`jacfwd`, `jacrev` and `hessian` of functions that use the frame."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import jax

from purestate._core.frame import get_frame
from purestate._lifted.differentials import pure_form
from purestate._lifted.snapshot import keep

P = ParamSpec("P")


def _lifted_jacobian(
    name: str, fun: Callable[..., Any], argnums: Any, has_aux: bool, **options: Any
) -> Callable[..., Any]:
    """Returns JAX's function `name` of a function that uses the frame."""
    # An error now, and not when the result is called, which may be far from here.
    get_frame(f"`ps.{name}` (outside, `jax.{name}` does)")

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        frame = get_frame(f"A function made by `ps.{name}`")
        # JAX maps over directions of tangents. What the function changes is the same in all of
        # them, so it leaves as auxiliary output, which is not mapped.
        pure = pure_form(fun, frame, args, has_aux=has_aux, with_params=False)
        differentiate = getattr(jax, name)(pure.function, argnums, has_aux=True, **options)
        jacobian, (aux, changed, sown) = differentiate(*args, **kwargs)
        keep(frame, changed, sown)
        return (jacobian, aux) if has_aux else jacobian

    return wrapped


def jacfwd(
    fun: "Callable[P, Any]",
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> "Callable[P, Any]":
    """Like `jax.jacfwd`, for functions that use modules, state or random keys.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> g = ps.transform(lambda x: ps.jacfwd(ps.Linear(2))(x))
    >>> x = jnp.ones([3])
    >>> g.apply(g.init(jax.random.key(0), x), None, x).shape
    (2, 3)

    Args:
      fun: a module or function. It runs once, so what it changes is changed once.
      argnums: which arguments to differentiate by.
      has_aux: whether `fun` returns `(value, aux)`.
      holomorphic: see `jax.jacfwd`.

    Returns:
      A function that returns the Jacobian, or `(Jacobian, aux)`.

    Raises:
      FrameError: used outside a transformed function; use `jax.jacfwd` there.
    """
    return _lifted_jacobian("jacfwd", fun, argnums, has_aux, holomorphic=holomorphic)


def jacrev(
    fun: "Callable[P, Any]",
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> "Callable[P, Any]":
    """Like `jax.jacrev`, for functions that use modules, state or random keys.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> g = ps.transform(lambda x: ps.jacrev(ps.Linear(2))(x))
    >>> x = jnp.ones([3])
    >>> g.apply(g.init(jax.random.key(0), x), None, x).shape
    (2, 3)

    Args:
      fun: a module or function. It runs once, so what it changes is changed once.
      argnums: which arguments to differentiate by.
      has_aux: whether `fun` returns `(value, aux)`.
      holomorphic: see `jax.jacrev`.
      allow_int: see `jax.jacrev`.

    Returns:
      A function that returns the Jacobian, or `(Jacobian, aux)`.

    Raises:
      FrameError: used outside a transformed function; use `jax.jacrev` there.
    """
    return _lifted_jacobian(
        "jacrev", fun, argnums, has_aux, holomorphic=holomorphic, allow_int=allow_int
    )


def hessian(
    fun: "Callable[P, Any]",
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> "Callable[P, Any]":
    """Like `jax.hessian`, for functions that use modules, state or random keys.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> g = ps.transform(lambda x: ps.hessian(lambda x: ps.Linear(1)(x).sum() ** 2)(x))
    >>> x = jnp.ones([3])
    >>> g.apply(g.init(jax.random.key(0), x), None, x).shape
    (3, 3)

    Args:
      fun: returns a scalar, or `(scalar, aux)`. It runs once, so what it changes is changed once.
      argnums: which arguments to differentiate by.
      has_aux: whether `fun` returns `(scalar, aux)`.
      holomorphic: see `jax.hessian`.

    Returns:
      A function that returns the Hessian, or `(Hessian, aux)`.

    Raises:
      FrameError: used outside a transformed function; use `jax.hessian` there.
    """
    return _lifted_jacobian("hessian", fun, argnums, has_aux, holomorphic=holomorphic)
