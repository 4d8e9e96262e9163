"""Gradients and compilation for modules that were made outside, and `bind`."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import jax

from purestate._core.collection import copy_bundle
from purestate._core.errors import kind_of
from purestate._core.rng import with_rng
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.snapshot import (
    Snapshot,
    changes,
    keep,
    put,
    take_snapshot,
    whole_snapshot,
)
from purestate._sonnet.compiled_function import Function
from purestate._sonnet.errors import SonnetTypeError, SonnetValueError
from purestate._sonnet.outside import (
    in_a_frame,
    run_outside,
)
from purestate._sonnet.variable import Variable

P = ParamSpec("P")
R = TypeVar("R")
Place = tuple[str, str, str]


def value_and_grad(
    fun: Callable[..., Any], variables: Sequence[Variable], has_aux: bool = False
) -> Callable[..., Any]:
    """Returns a function that computes `fun` and its gradient by some variables.

    It takes the place of `tf.GradientTape`. What `fun` assigns to other variables, such as running
    statistics, is kept.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> net, opt = snt.Linear(1), snt.optimizers.SGD(0.1)
    >>> x, y = jnp.ones([4, 3]), jnp.zeros([4, 1])
    >>> _ = net(x)
    >>> def loss_fn(x, y):
    ...     return ((net(x) - y) ** 2).mean()
    >>> loss, grads = snt.value_and_grad(loss_fn, net.trainable_variables)(x, y)
    >>> opt.apply(grads, net.trainable_variables)
    >>> bool(loss_fn(x, y) < loss)
    True

    Args:
      fun: returns a scalar, or `(scalar, aux)` with `has_aux`.
      variables: what to differentiate by, such as `net.trainable_variables`.
      has_aux: whether `fun` returns more than the scalar.

    Returns:
      A function with the arguments of `fun` that returns `(value, grads)`, or `((value, aux),
      grads)`. There is one gradient for each variable.

    Raises:
      SonnetTypeError: something among `variables` is not a variable.
    """
    wrong = [v for v in variables if not isinstance(v, Variable)]  # pyright: ignore
    if wrong:
        raise SonnetTypeError(
            "`snt.value_and_grad(fun, variables)` takes variables, such as"
            f" net.trainable_variables; got {kind_of(wrong[0])}. For arrays use"
            " jax.value_and_grad."
        )

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with in_a_frame() as frame:
            lifted = Lifted(fun, frame)
            before = whole_snapshot(frame, take_snapshot(frame))
            places = list(dict.fromkeys(map(_place_of, variables)))

            def pure(values: list[jax.Array]) -> Any:
                start = _with_values(before, places, values)
                out, after, sown = lifted.run(start, *args, **kwargs)
                value, aux = out if has_aux else (out, None)
                return value, (aux, changes(start, after), sown)

            differentiate = jax.value_and_grad(pure, has_aux=True)
            by_place = {_place_of(v): v.value() for v in variables}
            (value, (aux, changed, sown)), grads = differentiate(list(by_place.values()))
            keep(frame, changed, sown)
        found = dict(zip(places, grads, strict=True))
        return ((value, aux) if has_aux else value), tuple(found[_place_of(v)] for v in variables)

    return wrapped


def _place_of(variable: Variable) -> Place:
    return (variable.collection, *variable.path)


def _with_values(before: Snapshot, places: Sequence[Place], values: Sequence[Any]) -> Snapshot:
    """Returns a snapshot in which some variables have other values."""
    start = before._replace(
        values={name: copy_bundle(bundle) for name, bundle in before.values.items()}
    )
    for place, value in zip(places, values, strict=True):
        put(start.values, *place, value)
    return start


def function(fun: Callable[P, R] | None = None, **options: Any) -> Any:
    """Compiles a function of modules that were made outside; takes the place of `tf.function`.

    The variables that it reads are passed in, and those that it changes come out, so that a call
    sees their present values. Inside a transformed function it is `ps.jit`.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> ones = snt.initializers.Ones()
    >>> net, opt = snt.nets.MLP([8, 1], w_init=ones), snt.optimizers.Adam(0.01)
    >>> @snt.function
    ... def train_step(x, y):
    ...     def loss_fn():
    ...         return ((net(x) - y) ** 2).mean()
    ...     loss_fn()  # creates the variables
    ...     loss, grads = snt.value_and_grad(loss_fn, net.trainable_variables)()
    ...     opt.apply(grads, net.trainable_variables)
    ...     return loss
    >>> x, y = jnp.ones([4, 3]), jnp.zeros([4, 1])
    >>> first = train_step(x, y)
    >>> bool(train_step(x, y) < first)
    True

    Args:
      fun: the function, or a method in its class; None if this is a decorator with options. Its
        arguments may be pytrees of arrays and numbers. What else is in them, such as True, a string
        or a module, is part of the program: another one compiles again, as in TensorFlow.
      **options: of `jax.jit`; `static_argnames` rather than `static_argnums`.

    Returns:
      The compiled function.

    Raises:
      SonnetValueError: an option of `jax.jit` that counts positions.
    """
    positional = {"static_argnums", "donate_argnums"} & options.keys()
    if positional:
        raise SonnetValueError(
            f"`snt.function` does not take {', '.join(sorted(positional))}, since the variables"
            " are an argument too. Name the arguments: static_argnames=('is_training',)."
        )
    if fun is None:
        return functools.partial(function, **options)
    return Function(fun, options)


def bind(make: Callable[[], R], rng: Any, *example: Any, **kwargs: Any) -> R:
    """Makes a module outside a transformed function, with variables drawn from a key.

    >>> import jax, jax.numpy as jnp, purestate.sonnet as snt
    >>> net = snt.bind(lambda: snt.nets.MLP([8, 1]), jax.random.key(0), jnp.ones([4, 3]))
    >>> [v.name for v in net.trainable_variables][:2]
    ['mlp/linear_0/b:0', 'mlp/linear_0/w:0']

    Args:
      make: a function without arguments that returns a module.
      rng: a key, or an int.
      *example: the arguments of a first call, which creates the variables. Without any, the module
        is not called.
      **kwargs: likewise.

    Returns:
      The module. It keeps its variables; see `Module`.
    """

    def run() -> R:
        with with_rng(jax.random.key(rng) if isinstance(rng, int) else rng):
            module: Any = make()
            if example or kwargs:
                module(*example, **kwargs)
        return module

    return run_outside(run, (), {})
