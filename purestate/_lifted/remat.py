"""`remat`, `jit` and `eval_shape` of functions that use the frame."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.frame import get_frame
from purestate._lifted.lift_frame import (
    Snapshot,
    changes,
    lift_changes,
    lift_frame,
    names_here,
    restore,
    rewind_names,
    take_snapshot,
)


class Deprecated:
    """The type of the default of an argument that has no effect any more."""

    def __repr__(self) -> str:
        return "Deprecated"


DEPRECATED = Deprecated()


def remat(
    fun: Callable[..., Any],
    *,
    prevent_cse: bool = True,
    policy: Callable[..., bool] | None = None,
    static_argnums: int | tuple[int, ...] = (),
    concrete: bool | Deprecated = DEPRECATED,
) -> Callable[..., Any]:
    """Like `jax.checkpoint`: what `fun` computes is computed again for the gradient, not stored.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.remat(ps.nets.MLP([8, 1]))(x).sum())
    >>> x = jnp.ones([1, 3])
    >>> params = f.init(jax.random.key(0), x)
    >>> grads = jax.grad(f.apply)(params, None, x)

    Args:
      fun: a module or function.
      prevent_cse: see `jax.checkpoint`.
      policy: which results are stored after all; see `jax.checkpoint_policies`.
      static_argnums: which arguments are Python values.
      concrete: has no effect.

    Returns:
      A function of the same arguments and result.

    Raises:
      FrameError: used outside a transformed function; there `jax.checkpoint` does.
    """
    del concrete
    get_frame("`ps.remat` (outside, `jax.checkpoint` does)")

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        frame = get_frame("A function made by `ps.remat`")
        given = (static_argnums,) if isinstance(static_argnums, int) else static_argnums
        numbers = {n if n >= 0 else n + len(args) for n in given}

        def of_traced(*traced: Any, **kwargs: Any) -> Any:
            rest = iter(traced)
            return fun(
                *(arg if i in numbers else next(rest) for i, arg in enumerate(args)), **kwargs
            )

        # Static arguments by closure: JAX would keep the frame in a cache. Anew for each call, so
        # that its cache never answers.
        again = jax.checkpoint(
            lift_changes(of_traced, frame), prevent_cse=prevent_cse, policy=policy
        )
        out, changed = again(*(arg for i, arg in enumerate(args) if i not in numbers), **kwargs)
        # Out of an eager checkpoint constants come as numbers of a private type of JAX, not as
        # arrays.
        restore(
            frame,
            jax.tree.map(lambda v: v if isinstance(v, jax.Array) else jnp.asarray(v), changed),
        )
        return out

    return wrapped


def jit(fun: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Like `jax.jit`, for functions that use modules, state or random keys.

    Within a jitted `apply` this makes a function call in the compiled program, and nothing faster;
    jit the whole `apply` for speed.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.jit(ps.Linear(1))(x))
    >>> f.init(jax.random.key(0), jnp.ones([1, 1])).keys()
    dict_keys(['linear'])

    Args:
      fun: a module or function.
      **options: keywords of `jax.jit`.

    Returns:
      A function of the same arguments and result.

    Raises:
      FrameError: used outside a transformed function; there `jax.jit` does.
    """
    get_frame("`ps.jit` (outside, `jax.jit` does)")

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        frame = get_frame("A function made by `ps.jit`")
        pure = lift_frame(fun, frame)
        # Everything goes in as arguments, parameters too: what jit closes over it would compile in
        # as constants.
        before = take_snapshot(frame)._replace(params=frame.collections["params"].values)

        def with_changes(*args: Any, purestate_snapshot: Snapshot, **kwargs: Any) -> Any:
            out, after = pure(purestate_snapshot, *args, **kwargs)
            if not frame.running_init:
                after = after._replace(params=None)
            return out, changes(purestate_snapshot, after)

        out, changed = jax.jit(with_changes, **options)(*args, purestate_snapshot=before, **kwargs)
        restore(frame, changed)
        return out

    return wrapped


def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Like `jax.eval_shape`: the shapes and dtypes of a result; leaves the frame as it was.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     net = ps.Linear(5)
    ...     shape = ps.eval_shape(net, x).shape
    ...     return net(x)[..., : shape[-1] - 1]
    >>> g = ps.transform(f)
    >>> x = jnp.ones([2, 3])
    >>> g.apply(g.init(jax.random.key(0), x), None, x).shape
    (2, 4)

    Args:
      fun: a module or function.
      *args: arrays or `jax.ShapeDtypeStruct`s.
      **kwargs: likewise.

    Returns:
      What `fun` returns, with `jax.ShapeDtypeStruct`s for arrays.

    Raises:
      FrameError: used outside a transformed function; there `jax.eval_shape` does.
    """
    frame = get_frame("`ps.eval_shape` (outside, `jax.eval_shape` does)")
    closed = lift_changes(fun, frame)
    names = names_here(frame)
    try:
        return jax.eval_shape(lambda *args, **kwargs: closed(*args, **kwargs)[0], *args, **kwargs)
    finally:
        rewind_names(frame, names)  # nothing was made, so no name is taken
