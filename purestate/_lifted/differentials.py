"""`vjp`, `jvp` and `linearize` of functions that use the frame."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np

from purestate._core.collection import Bundle
from purestate._core.errors import ArgumentError
from purestate._core.frame import Frame, get_frame
from purestate._core.outlines import outline
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.mapped import not_sliced_again
from purestate._lifted.reads import names_in, params_of, reads_of
from purestate._lifted.snapshot import Snapshot, changes, keep, take_snapshot

R = TypeVar("R")


class Pure(NamedTuple):
    """A function of the frame, in the form that JAX differentiates.

    Attributes:
      function: `function(*leading, *args) -> (value, (aux, changed, sown))`.
      leading: `(params,)` if it is differentiated by parameters too, else `()`.
    """

    function: Callable[..., Any]
    leading: tuple[Any, ...]


def pure_form(
    fun: Callable[..., Any], frame: Frame, args: Any, *, has_aux: bool, with_params: bool
) -> Pure:
    """Returns the form of a function that JAX differentiates."""
    lifted = Lifted(fun, frame)

    # What the function changes leaves as auxiliary output: JAX differentiates the value, and no
    # tracer of the derivative stays behind in the frame. Aux is plain in the same way.
    def split(out: Any, changed: Snapshot, sown: Any) -> Any:
        value, aux = out if has_aux else (out, None)
        return value, (aux, changed, sown)

    if not with_params:
        return Pure(lambda *args, **kwargs: split(*lifted.changing(*args, **kwargs)), ())
    creating = frame.running_init
    if creating:
        # The parameters have to exist before one can differentiate by them. What this run changes
        # is kept, and the second run changes nothing.
        _, changed, sown = lifted.changing(*args)
        keep(frame, changed, sown)
    # A look finds them before JAX traces: those that are not read would have gradients of zeros,
    # which a loop around adds up for all parameters of the model.
    params = params_of(reads_of(frame, lifted, *args))

    def of_params(params: Bundle, *args: Any) -> Any:
        before = with_given(frame, params)
        with not_sliced_again(frame, {0: {"params": params}}):
            out, after, sown = lifted.run(before, *args)
        if creating:
            return split(out, Snapshot({}, {}, None), {})
        return split(out, changes(before, after), sown)

    return Pure(of_params, (params,))


def with_given(frame: Frame, params: Bundle) -> Snapshot:
    """Returns a snapshot of the frame, with some parameters in place of those that it holds."""
    before = take_snapshot(frame)
    # The others come by closure, and a gradient from outside goes through them.
    everything = dict(frame.collections["params"].values)
    for path, variables in params.items():
        everything[path] = {**everything.get(path, {}), **variables}
    return before._replace(values={**before.values, "params": everything})


@overload
def vjp(
    fun: "Callable[..., R]",
    *primals: Any,
    has_aux: "Literal[False]" = False,
    with_params: bool = False,
    **options: Any,
) -> "tuple[R, Callable[[Any], tuple[Any, ...]]]": ...
@overload
def vjp(
    fun: Callable[..., Any],
    *primals: Any,
    has_aux: "Literal[True]",
    with_params: bool = False,
    **options: Any,
) -> tuple[Any, Callable[[Any], tuple[Any, ...]], Any]: ...
def vjp(
    fun: Callable[..., Any],
    *primals: Any,
    has_aux: bool = False,
    with_params: bool = False,
    **options: Any,
) -> Any:
    """Like `jax.vjp`, for functions that use modules, state or random keys.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     y, back = ps.vjp(ps.Linear(2), x)
    ...     return back(jnp.ones_like(y))
    >>> g = ps.transform(f)
    >>> x = jnp.ones([1, 3])
    >>> (to_x,) = g.apply(g.init(jax.random.key(0), x), None, x)
    >>> to_x.shape
    (1, 3)

    Args:
      fun: a module or function.
      *primals: its arguments.
      has_aux: whether `fun` returns `(value, aux)`.
      with_params: whether to differentiate by the parameters that `fun` reads as well. If not, they
        are constants here. A gradient from outside goes through either way.
      **options: further keywords of `jax.vjp`.

    Returns:
      `(value, back)`, or `(value, back, aux)`. `back` is a pure function, from the cotangent of the
      value to a tuple with the cotangent of each primal. With `with_params`, the cotangents of the
      parameters come first, as a bundle `{module: {name: array}}`.

    Raises:
      FrameError: used outside a transformed function; use `jax.vjp` there.
    """
    frame = get_frame("`ps.vjp` (outside, `jax.vjp` does)")
    pure = pure_form(fun, frame, primals, has_aux=has_aux, with_params=with_params)
    value, back, (aux, changed, sown) = jax.vjp(
        pure.function, *pure.leading, *primals, has_aux=True, **options
    )
    keep(frame, changed, sown)
    return (value, back, aux) if has_aux else (value, back)


@overload
def linearize(
    fun: "Callable[..., R]",
    *primals: Any,
    has_aux: "Literal[False]" = False,
    with_params: bool = False,
) -> "tuple[R, Callable[..., R]]": ...
@overload
def linearize(
    fun: Callable[..., Any],
    *primals: Any,
    has_aux: "Literal[True]",
    with_params: bool = False,
) -> tuple[Any, Callable[..., Any], Any]: ...
def linearize(
    fun: Callable[..., Any], *primals: Any, has_aux: bool = False, with_params: bool = False
) -> Any:
    """Like `jax.linearize`, for functions that use modules, state or random keys.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     y, forward = ps.linearize(ps.Linear(2), x)
    ...     return forward(x), forward(2 * x)
    >>> g = ps.transform(f)
    >>> x = jnp.ones([1, 3])
    >>> once, twice = g.apply(g.init(jax.random.key(0), x), None, x)
    >>> bool(jnp.allclose(2 * once, twice))
    True

    Args:
      fun: a module or function.
      *primals: its arguments.
      has_aux: whether `fun` returns `(value, aux)`.
      with_params: whether to differentiate by the parameters that `fun` reads as well.

    Returns:
      `(value, forward)`, or `(value, forward, aux)`. `forward` is a pure, linear function, from a
      tangent of each primal to the tangent of the value. With `with_params`, the tangents of the
      parameters come first, as a bundle with all that `fun` reads.

    Raises:
      FrameError: used outside a transformed function; use `jax.linearize` there.
    """
    frame = get_frame("`ps.linearize` (outside, `jax.linearize` does)")
    pure = pure_form(fun, frame, primals, has_aux=has_aux, with_params=with_params)
    value, forward, (aux, changed, sown) = jax.linearize(
        pure.function, *pure.leading, *primals, has_aux=True
    )
    keep(frame, changed, sown)
    return (value, forward, aux) if has_aux else (value, forward)


@overload
def jvp(
    fun: "Callable[..., R]",
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: "Literal[False]" = False,
    *,
    with_params: bool = False,
) -> "tuple[R, R]": ...
@overload
def jvp(
    fun: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: "Literal[True]",
    *,
    with_params: bool = False,
) -> tuple[Any, Any, Any]: ...
def jvp(
    fun: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
    *,
    with_params: bool = False,
) -> Any:
    """Like `jax.jvp`, for functions that use modules, state or random keys.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     y, change = ps.jvp(ps.Linear(2, with_bias=False), (x,), (x,))
    ...     return y - change
    >>> g = ps.transform(f)
    >>> x = jnp.ones([1, 3])
    >>> g.apply(g.init(jax.random.key(0), x), None, x).tolist()
    [[0.0, 0.0]]

    Args:
      fun: a module or function.
      primals: its arguments.
      tangents: the tangent of each. With `with_params`, those of the parameters come first, as a
        bundle `{module: {name: array}}`; None, and names that are absent, stand for zero.
      has_aux: whether `fun` returns `(value, aux)`.
      with_params: whether to differentiate by the parameters that `fun` reads as well.

    Returns:
      `(value, tangent)`, or `(value, tangent, aux)`.

    Raises:
      FrameError: used outside a transformed function; use `jax.jvp` there.
      ArgumentError: the number of tangents is wrong, or they name a parameter that does not exist.
    """
    frame = get_frame("`ps.jvp` (outside, `jax.jvp` does)")
    primals, tangents = tuple(primals), tuple(tangents)
    if with_params and len(tangents) != len(primals) + 1:
        raise ArgumentError(
            f"`ps.jvp(..., with_params=True)` got {len(tangents)} tangents for {len(primals)}"
            " primals. The tangents of the parameters come first, so there is one more tangent:"
            " `ps.jvp(f, (x,), (params_tangents, x_tangent), with_params=True)`."
        )
    pure = pure_form(fun, frame, primals, has_aux=has_aux, with_params=with_params)
    if with_params:
        filled = _filled(frame, pure.leading[0], tangents[0])
        tangents = (filled, *tangents[1:])
    value, tangent, (aux, changed, sown) = jax.jvp(
        pure.function, (*pure.leading, *primals), tangents, has_aux=True
    )
    keep(frame, changed, sown)
    return (value, tangent, aux) if has_aux else (value, tangent)


def _filled(frame: Frame, params: Bundle, tangents: Any) -> Bundle:
    """Returns a tangent for each parameter, zero for those that have none."""
    given = {} if tangents is None else tangents
    if not isinstance(given, dict):
        raise ArgumentError(
            "The first tangent of `ps.jvp(..., with_params=True)` is a bundle"
            f" {{module: {{name: array}}}} for the parameters, or None, but got {outline(given)}."
        )
    # A name that the function does not read is harmless, one that nobody has is a mistake.
    unknown = names_in(given) - names_in(frame.collections["params"].values)
    if unknown:
        raise ArgumentError(
            f"`ps.jvp(..., with_params=True)` got a tangent for {min(unknown)!r}, but the model has"
            " no such parameter."
        )
    return {
        path: {
            name: given.get(path, {}).get(name, zero_tangent(value))
            for name, value in variables.items()
        }
        for path, variables in params.items()
    }


def zero_tangent(value: Any) -> Any:
    """Returns the tangent zero of a value, as JAX has it for its dtype."""

    def zero(leaf: Any) -> Any:
        # JAX has no tangents of integers and keys but empty ones of this dtype.
        dtype = jax.dtypes.float0
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            return jnp.zeros_like(leaf)
        return np.zeros(jnp.shape(leaf), dtype)

    return jax.tree.map(zero, value)
