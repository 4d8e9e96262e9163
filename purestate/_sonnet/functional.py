"""`snt.functional.transform`: pure functions of modules that were made outside."""

import contextlib
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from purestate._core.collection import Bundle
from purestate._core.errors import MissingParameterError
from purestate._core.frame import Frame, FrameKeys
from purestate._core.observer import Observer
from purestate._core.path import variable_path
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.snapshot import Snapshot, merged, put, take_snapshot
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.outside import OUTSIDE, run_outside


class Transformed(NamedTuple):
    """`init(*args) -> params` and `apply(params, *args) -> out`."""

    init: Callable[..., Any]
    apply: Callable[..., Any]


class TransformedWithState(NamedTuple):
    """`init(*args) -> (params, state)` and `apply(params, state, *args) -> (out, state)`."""

    init: Callable[..., Any]
    apply: Callable[..., Any]


class _FirstValues(Observer):
    """Sees the value of each variable when it is first used."""

    def __init__(self) -> None:
        self.values: dict[str, Bundle] = {"params": {}, "state": {}}

    def read(
        self, frame: Frame, collection: str, path: str, name: str, value: Any, **known: Any
    ) -> Any:
        self.values[collection].setdefault(path, {}).setdefault(name, value)
        return value

    def wrote(self, frame: Frame, collection: str, path: str, name: str, value: Any) -> None:
        self.values[collection].setdefault(path, {}).setdefault(name, value)


class _OnlyGiven(Observer):
    """Raises if a variable is used that `apply` was not given."""

    def __init__(self, given: dict[str, Any]):
        self._given = given

    def read(
        self, frame: Frame, collection: str, path: str, name: str, value: Any, **known: Any
    ) -> Any:
        if name not in self._given[collection].get(path, ()):
            raise MissingParameterError(
                f"`apply` was not given {variable_path(path, name)!r} in its {collection}. Pass"
                " what `init` of the same function returns."
            )
        return value


def transform(f: Callable[..., Any]) -> Transformed:
    """Makes two pure functions of a function that calls modules from outside.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> net = snt.Linear(10)
    >>> f = snt.functional.transform(lambda x: net(x))
    >>> x = jnp.ones([2, 3])
    >>> params = f.init(x)
    >>> f.apply(params, x).shape
    (2, 10)

    `params` are `{module: {name: array}}`. With modules that are made inside the function, use
    `ps.transform_with_state`.

    Args:
      f: a function.

    Returns:
      `init(*args) -> params` and `apply(params, *args) -> out`.
    """
    return without_state(transform_with_state(f))


def transform_with_state(f: Callable[..., Any]) -> TransformedWithState:
    """Makes two pure functions of a function that calls modules from outside, with state.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> average = snt.ExponentialMovingAverage(decay=0.5)
    >>> f = snt.functional.transform_with_state(average)
    >>> params, state = f.init(jnp.array(3.0))
    >>> out, state = f.apply(params, state, jnp.array(3.0))
    >>> out, state = f.apply(params, state, jnp.array(6.0))
    >>> float(out)
    5.0

    The values that the modules have themselves are not changed. Pass random keys in: `with
    ps.with_rng(key):` inside the function.

    Args:
      f: a function.

    Returns:
      `init(*args) -> (params, state)` and `apply(params, state, *args) -> (out, state)`.
    """

    def init(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        first = _FirstValues()

        def run() -> None:
            frame = OUTSIDE.frame
            with _observed(frame, first):
                Lifted(f, frame).run(take_snapshot(frame), *args, **kwargs)

        run_outside(run, (), {})
        return first.values["params"], first.values["state"]

    def apply(params: Any, state: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        given: dict[str, Any] = {"params": params, "state": state}

        def run() -> tuple[Any, Any]:
            frame = OUTSIDE.frame
            start = Snapshot(merged(take_snapshot(frame).values, given), {}, None)
            with _observed(frame, _OnlyGiven(given)), _fixed(frame):
                out, after, _ = Lifted(f, frame).run(start, *args, **kwargs)
            new: dict[str, Bundle] = {}
            for module, bundle in state.items():
                for name in bundle:
                    put({"state": new}, "state", module, name, after.values["state"][module][name])
            return out, new

        return run_outside(run, (), {})

    return TransformedWithState(init, apply)


@contextlib.contextmanager
def _observed(frame: Frame, observer: Observer) -> Generator[None]:
    observers, frame.observers = frame.observers, (*frame.observers, observer)
    try:
        yield
    finally:
        frame.observers = observers


@contextlib.contextmanager
def _fixed(frame: Frame) -> Generator[None]:
    """Has no variable created and no key drawn: a compiled `apply` would draw it only once."""
    keys, frame.keys = frame.keys, FrameKeys(None, frame.keys.mode)
    for kept in frame.collections.values():
        kept.creatable = False
    try:
        yield
    finally:
        frame.keys = keys
        for kept in frame.collections.values():
            kept.creatable = True


def without_state(with_state: TransformedWithState) -> Transformed:
    """Returns a pair without state of a function that has none.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> f = snt.functional.transform_with_state(snt.Linear(10))
    >>> params = snt.functional.without_state(f).init(jnp.ones([2, 3]))

    Args:
      with_state: what `transform_with_state` returned.

    Returns:
      `init(*args) -> params` and `apply(params, *args) -> out`.

    Raises:
      SonnetValueError: by the pair, if the function has state.
    """

    def init(*args: Any, **kwargs: Any) -> Any:
        params, state = with_state.init(*args, **kwargs)
        _check_no_state(state)
        return params

    def apply(params: Any, *args: Any, **kwargs: Any) -> Any:
        out, state = with_state.apply(params, {}, *args, **kwargs)
        _check_no_state(state)
        return out

    return Transformed(init, apply)


def _check_no_state(state: Any) -> None:
    if state:
        raise SonnetValueError(
            f"The function has state, of {', '.join(map(repr, sorted(state)))}, which"
            " `snt.functional.transform` would drop. Use `snt.functional.transform_with_state`."
        )


@contextlib.contextmanager
def variables() -> Generator[None]:
    """Does nothing: in Sonnet, modules for `transform` are made inside this block.

    >>> import purestate.sonnet as snt
    >>> with snt.functional.variables():
    ...     net = snt.Linear(10)

    Yields:
      None.
    """
    yield
