"""`remat`, `jit` and `eval_shape` of functions that use the frame."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

import jax
import jax.numpy as jnp

from purestate._core.frame import get_frame
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.snapshot import Snapshot, changes, keep, take_snapshot, whole_snapshot

P = ParamSpec("P")
R = TypeVar("R")


class Deprecated:
    """The type of the default of an argument that has no effect any more."""

    def __repr__(self) -> str:
        return "Deprecated"


DEPRECATED = Deprecated()


def remat(
    fun: "Callable[P, R]",
    *,
    prevent_cse: bool = True,
    policy: Callable[..., bool] | None = None,
    static_argnums: int | tuple[int, ...] = (),
    concrete: bool | Deprecated = DEPRECATED,
) -> "Callable[P, R]":
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
        # JAX counts negative numbers from the end of what it is given, which lacks the static ones.
        given = (static_argnums,) if isinstance(static_argnums, int) else static_argnums
        numbers = {n if n >= 0 else n + len(args) for n in given}

        def of_traced(*traced: Any, **kwargs: Any) -> Any:
            rest = iter(traced)
            return fun(  # pyright: ignore[reportCallIssue]
                *(arg if i in numbers else next(rest) for i, arg in enumerate(args)), **kwargs
            )

        # Static arguments come by closure: JAX would keep the frame in a cache. And for each call
        # there is a new function, so that this cache never answers.
        lifted = Lifted(of_traced, frame, names_stay=True)
        again = jax.checkpoint(lifted.changing, prevent_cse=prevent_cse, policy=policy)
        traced = (arg for i, arg in enumerate(args) if i not in numbers)
        out, changed, sown = again(*traced, **kwargs)
        # Constants leave an eager checkpoint as numbers of a private type of JAX, not as arrays.
        keep(frame, *jax.tree.map(_as_array, (changed, sown)))
        return out

    return wrapped


def _as_array(value: Any) -> Any:
    return value if isinstance(value, jax.Array) else jnp.asarray(value)


def jit(fun: "Callable[P, R]", **options: Any) -> "Callable[P, R]":
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
        lifted = Lifted(fun, frame, names_stay=True)
        # A new function for each call, so that JAX's cache never answers with another frame's.
        if frame.home.staged:  # what it closes over becomes an argument
            out, changed, sown = jax.jit(lifted.changing, **options)(*args, **kwargs)
            keep(frame, changed, sown)
            return out
        # Everything goes in as arguments, parameters too: what jit closes over becomes a constant.
        before = whole_snapshot(frame, take_snapshot(frame))

        def with_changes(*args: Any, purestate_snapshot: Snapshot, **kwargs: Any) -> Any:
            out, after, sown = lifted.run(purestate_snapshot, *args, **kwargs)
            return out, changes(purestate_snapshot, after), sown

        compiled = jax.jit(with_changes, **options)
        out, changed, sown = compiled(*args, purestate_snapshot=before, **kwargs)
        keep(frame, changed, sown)
        return out

    return wrapped


@overload
def eval_shape(
    fun: "Callable[..., jax.Array]", *args: Any, **kwargs: Any
) -> jax.ShapeDtypeStruct: ...
@overload
def eval_shape(fun: "Callable[..., Any]", *args: Any, **kwargs: Any) -> Any: ...
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
    return Lifted(fun, frame).look(*args, with_result=True, **kwargs)[0]
