"""Gradients and compilation for modules that were made outside, and `bind`."""

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import jax

from purestate._core.collection import copy_bundle
from purestate._core.errors import kind_of
from purestate._core.frame import Frame, ambient
from purestate._core.ledger import Ledger
from purestate._core.observer import Observer
from purestate._core.rng import with_rng
from purestate._core.scope import Names
from purestate._lifted.lift_frame import Lifted, fill_keys, names_here
from purestate._lifted.remat import jit
from purestate._lifted.snapshot import (
    Snapshot,
    changes,
    entries,
    keep,
    merged,
    new_names,
    put,
    take_snapshot,
    whole_snapshot,
)
from purestate._sonnet.errors import SonnetTypeError, SonnetValueError
from purestate._sonnet.outside import (
    OUTSIDE,
    in_a_frame,
    paths_taken,
    run_outside,
    take_names,
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

            def pure(values: list[jax.Array]) -> Any:
                start = _with_values(before, variables, values)
                out, after, sown = lifted.run(start, *args, **kwargs)
                value, aux = out if has_aux else (out, None)
                return value, (aux, changes(start, after), sown)

            differentiate = jax.value_and_grad(pure, has_aux=True)
            (value, (aux, changed, sown)), grads = differentiate([v.value() for v in variables])
            keep(frame, changed, sown)
        return ((value, aux) if has_aux else value), tuple(grads)

    return wrapped


def _with_values(
    before: Snapshot, variables: Sequence[Variable], values: Sequence[Any]
) -> Snapshot:
    """Returns a snapshot in which some variables have other values."""
    start = before._replace(
        values={name: copy_bundle(bundle) for name, bundle in before.values.items()}
    )
    for variable, value in zip(variables, values, strict=True):
        put(start.values, variable.collection, *variable.path, value)
    return start


class _NotPassedInError(Exception):
    """A compiled function has read a variable that it was not given."""


class _Reads(Observer):
    """Sees which of the variables that there were before a run reads."""

    def __init__(self, existing: dict[str, Any]):
        self._existing = existing
        self.read_places: set[Place] = set()

    def read(
        self, frame: Frame, collection: str, path: str, name: str, value: Any, **known: Any
    ) -> Any:
        if name in self._existing.get(collection, {}).get(path, ()):
            self.read_places.add((collection, path, name))
        return value


class Function:
    """A compiled function over variables that live outside; made by `function`."""

    def __init__(self, fun: Callable[..., Any], options: dict[str, Any]):
        functools.update_wrapper(self, fun)
        self._fun = fun
        self._options = options
        self._compiled = jax.jit(self._pure, **options)
        self._used: set[Place] = set()
        self._missed: set[Place] = set()
        self._first = True

    def __deepcopy__(self, memo: dict[int, Any]) -> "Function":
        """Returns one of the copied method, if it is a method of the copied object."""
        return Function(copy.deepcopy(self._fun, memo), self._options)

    def __reduce__(self) -> Any:
        return Function, (self._fun, self._options)

    def _pure(self, before: Snapshot, /, *args: Any, **kwargs: Any) -> Any:
        """The function, from the variables that it uses to those that it changes."""
        frame = OUTSIDE.frame
        everything = take_snapshot(frame)
        reads = _Reads(everything.values)
        lifted = Lifted(self._fun, frame, fills=True)
        start = Snapshot(merged(everything.values, before.values), {}, before.keys)
        observers, frame.observers = frame.observers, (*frame.observers, reads)
        try:
            out, after, _ = lifted.run(start, *args, **kwargs)
        finally:
            frame.observers = observers
        self._missed = reads.read_places - self._used
        if self._first:
            # All that there is was given. Of what the function creates objects may stay in Python,
            # so such a run counts. Another one does it again with what it uses.
            again = not new_names(everything.values, after.values) and (
                len(reads.read_places) < len(entries(everything.values))
            )
        else:  # it would be a constant of the compiled program
            again = bool(self._missed)
        if again:
            raise _NotPassedInError
        return out, changes(start, after)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if ambient.get()[0] and ambient.get()[0][-1] is not OUTSIDE.frame:
            return jit(self._fun, **self._options)(*args, **kwargs)
        return run_outside(self._call, args, kwargs)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        frame = OUTSIDE.frame
        undone: set[str] = set()
        while True:
            facts = (frame.ledger, frame.ledger.copy(), names_here(frame))
            self._missed = set()
            try:
                out, changed = self._compiled(self._given(frame), *args, **kwargs)
            except _NotPassedInError:
                self._first = False
                undone |= _restore(frame, *facts)
                self._used |= self._missed
            except Exception:
                take_names(frame, undone | _restore(frame, *facts))
                raise
            else:
                keep(frame, changed)
                take_names(frame, undone)
                self._first = False
                # What it has created is passed in from now on.
                self._used |= self._missed | {place[:3] for place in entries(changed.values)}
                return out

    def _given(self, frame: Frame) -> Snapshot:
        """Returns the variables that the function uses, as they are now; all at the first call."""
        values: dict[str, Any] = dict(take_snapshot(frame).values) if self._first else {}
        for collection, path, name in () if self._first else sorted(self._used):
            bundle = frame.collections[collection].values.get(path, {})
            if name in bundle:
                put(values, collection, path, name, bundle[name])
        fill_keys(frame)  # so that JAX always sees the same number of them
        source = frame.keys.source
        return Snapshot(values, {}, None if source is None else source.internal_state)


def _restore(frame: Frame, ledger: Ledger, before: Ledger, names: Names | None) -> set[str]:
    """Takes back the facts of a trace whose values are not kept.

    Returns:
      The paths of the modules that the trace has made. Who makes them again gets the same.
    """
    made = paths_taken(frame)
    for slot in Ledger.__slots__:
        setattr(ledger, slot, getattr(before, slot))
    frame.ledger = ledger
    frame.scope.names = names
    return made - paths_taken(frame)


def function(fun: Callable[P, R] | None = None, **options: Any) -> Any:
    """Compiles a function of modules that were made outside; takes the place of `tf.function`.

    The variables that it reads are passed in, and those that it changes come out, so that a call
    sees their present values. Inside a transformed function it is `ps.jit`.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> net, opt = snt.nets.MLP([8, 1]), snt.optimizers.Adam(0.01)
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
      fun: the function; None if this is a decorator with options.
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
