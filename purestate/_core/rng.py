"""Random numbers inside a transformed function: drawing keys from those of the frame."""

import operator
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core import trace_guard
from purestate._core.errors import InvalidRNGError, JaxUsageError, MissingRNGError
from purestate._core.frame import Frame, ambient, get_frame, no_frame
from purestate._core.keys import (
    KeyStreams,
    PRNGSequenceState,
    keys_for,
)
from purestate._core.outlines import outline_argument
from purestate._core.path import ROOT


def draw_for_elements(num: int) -> Any:
    """Returns arrays to map over, to give each of `num` mapped elements keys of its own."""
    return _draw("vmap(split_rng=True)", lambda keys: keys.elements(num))


def key_for_layers(path: str) -> Any:
    """Returns the key that a stack of layers at `path` gets its initial values from; None without.

    A dict of keys, if there are several streams.
    """
    return _for_layers(
        lambda keys: keys.for_path(path) if hasattr(keys, "for_path") else next(keys)
    )


def keys_of_layers(num: int) -> Any:
    """Returns a key for each layer of a stack, stacked; None without."""
    return _for_layers(lambda keys: jax.random.split(next(keys), num))


def _for_layers(draw: Any) -> Any:
    frame = get_frame("`ps.layer_stack`")
    source = frame.keys.source
    if source is None:
        return None
    if isinstance(source, KeyStreams):
        names = source.names
        return _draw("layer_stack", lambda keys: {n: draw(keys.stream(n, frame)) for n in names})
    drawn = _draw("layer_stack", draw)
    for each in ambient.get()[0]:
        for observer in each.observers:
            observer.drew()
    return drawn


def _where(frame: Frame) -> str:
    return frame.scope.path or ROOT


def _frame_keys(frame: Frame, what: str) -> Any:
    if frame.keys.source is None:
        run = "init" if frame.running_init else "apply"
        raise MissingRNGError(
            f"`ps.{what}` in {_where(frame)!r} needs random numbers, but `{run}` was given no key"
            " (rng is None). Pass one, such as `jax.random.key(0)`. If the function went through"
            " `ps.without_apply_rng`, remove that call."
        )
    return frame.keys.source


def _draw(what: str, draw: Any, stream: str | None = None) -> Any:
    """Draws from the frame's keys; raises if the rest of them would die with an inner trace."""
    frames = ambient.get()[0]
    if not frames:
        raise no_frame(f"`ps.{what}`")
    frame = frames[-1]
    keys = _frame_keys(frame, what)
    if draw is next:
        for each in frames:
            for observer in each.observers:
                observer.drew()
    if stream is not None and isinstance(keys, KeyStreams):
        keys = keys.stream(stream, frame)
    home = frame.home.trace if frame.keys.home is None else frame.keys.home
    if trace_guard.current_trace_state() == home:
        drawn = draw(keys)
        return _for_element(frame, drawn) if frame.elements else drawn
    trace_guard.check_strictly(frame.home.trace, f"`ps.{what}`", _where(frame))
    before = keys.state
    drawn = draw(keys)
    try:
        trace_guard.check_draw((keys.state, drawn), home, f"`ps.{what}`", _where(frame))
    except JaxUsageError:
        keys.go_on_from(before)
        raise
    if frame.creating is None:  # an initial value is the same for all elements on purpose
        trace_guard.warn_of_shared_key(home, f"`ps.{what}`", _where(frame))
    return _for_element(frame, drawn) if frame.elements else drawn


def _for_element(frame: Frame, drawn: Any) -> Any:
    """Makes keys differ from element to element, if each has a variable of its own to initialize.

    The variables that all elements share need the same keys everywhere.
    """
    creating = frame.creating
    if creating is None or drawn is None:
        return drawn
    for elements in frame.elements:
        if elements.own(creating.collection, creating.path, creating.name):
            drawn = _fold_in(drawn, elements.index())
    return drawn


def _fold_in(keys: Any, data: Any) -> Any:
    """Folds a number into one key, or into each of several."""
    single = 0 if jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) else 1
    if keys.ndim == single:
        return jax.random.fold_in(keys, data)
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, data)


def next_rng_key(stream: str | None = None, *, axis_name: Any = None) -> jax.Array:
    """Returns a random key that no other call gets.

    >>> import jax, purestate as ps
    >>> f = ps.transform(lambda: jax.random.normal(ps.next_rng_key(), [2]))
    >>> f.apply({}, jax.random.key(0)).shape
    (2,)
    >>> g = ps.transform(lambda: jax.random.normal(ps.next_rng_key("dropout"), [2]))
    >>> g.apply({}, {"params": jax.random.key(0), "dropout": jax.random.key(1)}).shape
    (2,)

    Args:
      stream: the key to draw from, if `init` or `apply` was given a dict of keys. A single key
        feeds all streams. Without a name, initial values use "params" and everything else uses
        "default". If one of these two is missing, the other one is used.
      axis_name: one or more axes of a `jax.shard_map` or `jax.vmap`. Each shard or mapped element
        along them gets a different key.

    Returns:
      A key of the kind that `init` or `apply` was given.

    Raises:
      FrameError: used outside a transformed function.
      MissingRNGError: `init` or `apply` was given no key, or none for this stream.
      JaxUsageError: used inside a plain `jax.jit`, `jax.lax.scan` or the like, from which the
        remaining keys would leak. (Inside a plain `jax.vmap` it warns instead, since all mapped
        elements share one key; `ps.vmap` can split it.)
    """
    key = _draw("next_rng_key", next, stream)
    if axis_name is not None:
        for name in axis_name if isinstance(axis_name, (tuple, list)) else (axis_name,):
            key = jax.random.fold_in(key, jax.lax.axis_index(name))
    return key


def next_rng_keys(num: int) -> jax.Array:
    """Returns `num` random keys, stacked, that no other call gets.

    >>> import jax, purestate as ps
    >>> ps.transform(lambda: ps.next_rng_keys(3)).apply({}, jax.random.key(0)).shape
    (3,)

    Args:
      num: how many.

    Returns:
      An array of keys, `[num]` typed or `[num, ...]` raw.

    Raises:
      FrameError: used outside a transformed function.
      MissingRNGError: `init` or `apply` was given no key.
      InvalidRNGError: `num` is less than 1.
      JaxUsageError: used inside a plain JAX transform.
    """
    _check_num("`ps.next_rng_keys` returns", num, 1)
    return _draw("next_rng_keys", lambda keys: jnp.stack(keys.take(num)))


def _check_num(call: str, num: Any, least: int) -> None:
    try:
        fits = operator.index(num) >= least
    except TypeError:
        fits = False
    if not fits:
        raise InvalidRNGError(
            f"{call} num keys, an int of {least} or more; got num={outline_argument(num)}."
        )


def reserve_rng_keys(num: int) -> None:
    """Splits off `num` keys at once, so that as many `next_rng_key` calls split no more.

    One operation in the jaxpr instead of `num`; the keys differ from those made one at a time.

    >>> import jax, purestate as ps
    >>> def f():
    ...     ps.reserve_rng_keys(2)
    ...     return ps.next_rng_key(), ps.next_rng_key()
    >>> len(ps.transform(f).apply({}, jax.random.key(0)))
    2

    Args:
      num: how many.

    Raises:
      FrameError: used outside a transformed function.
      MissingRNGError: `init` or `apply` was given no key.
      InvalidRNGError: `num` is negative.
      JaxUsageError: used inside a plain JAX transform.
    """
    _check_num("`ps.reserve_rng_keys` splits off", num, 0)
    _draw("reserve_rng_keys", lambda keys: keys.reserve(num))


def maybe_next_rng_key() -> jax.Array | None:
    """Returns a fresh key, or None if `init` or `apply` was not given a key.

    >>> import purestate as ps
    >>> ps.transform(ps.maybe_next_rng_key).apply({}, None) is None
    True

    Returns:
      A key or None.

    Raises:
      FrameError: used outside a transformed function.
      JaxUsageError: used inside a plain JAX transform.
    """
    if get_frame("`ps.maybe_next_rng_key`").keys.source is None:
        return None
    return _draw("maybe_next_rng_key", next)


def has_rng(stream: str | None = None) -> bool:
    """Returns whether `next_rng_key(stream)` would get a key.

    >>> import jax, purestate as ps
    >>> f = ps.transform(lambda: (ps.has_rng("dropout"), ps.has_rng("noise")))
    >>> f.apply({}, {"dropout": jax.random.key(0)})
    (True, False)

    Args:
      stream: the name of the stream; see `next_rng_key`.

    Returns:
      Whether `init` or `apply` was given a key for it.

    Raises:
      FrameError: used outside a transformed function.
    """
    frame = get_frame("`ps.has_rng`")
    source = frame.keys.source
    if not isinstance(source, KeyStreams):
        return source is not None
    try:
        source.stream(stream, frame)
    except MissingRNGError:
        return False
    return True


def maybe_get_rng_sequence_state() -> tuple[jax.Array, tuple[jax.Array, ...]] | None:
    """Returns the state of the frame's key sequence, or None without a key.

    >>> import purestate as ps
    >>> ps.transform(ps.maybe_get_rng_sequence_state).apply({}, None) is None
    True

    Returns:
      The key to split next and the keys in reserve, for `replace_rng_sequence_state`.

    Raises:
      FrameError: used outside a transformed function.
    """
    source = get_frame("`ps.maybe_get_rng_sequence_state`").keys.source
    return None if source is None else source.internal_state


def replace_rng_sequence_state(state: PRNGSequenceState) -> None:
    """Makes the frame's key sequence go on from `state`.

    >>> import jax, purestate as ps
    >>> def f():
    ...     before = ps.maybe_get_rng_sequence_state()
    ...     a = ps.next_rng_key()
    ...     ps.replace_rng_sequence_state(before)
    ...     return a == ps.next_rng_key()
    >>> bool(ps.transform(f).apply({}, jax.random.key(0)))
    True

    Args:
      state: what `maybe_get_rng_sequence_state` returned.

    Raises:
      FrameError: used outside a transformed function.
      MissingRNGError: `init` or `apply` was given no key.
      JaxUsageError: used inside a plain JAX transform.
    """
    _draw("replace_rng_sequence_state", lambda keys: keys.replace_internal_state(state))


class with_rng(AbstractContextManager[None]):  # noqa: N801 (dm-haiku's name)
    """Answers `next_rng_key` from another key inside a `with` block.

    >>> import jax, purestate as ps
    >>> def f():
    ...     with ps.with_rng(jax.random.key(1)):
    ...         a = ps.next_rng_key()
    ...     with ps.with_rng(jax.random.key(1)):
    ...         b = ps.next_rng_key()
    ...     return a == b
    >>> bool(ps.transform(f).apply({}, None))
    True

    Args:
      key: the key to use.

    Raises:
      FrameError: used outside a transformed function.
      InvalidRNGError: `key` is not a key.
    """

    def __init__(self, key: jax.Array):
        frame = get_frame("`ps.with_rng`")
        trace_guard.check_strictly(frame.home.trace, "`ps.with_rng`", _where(frame))
        self._frame = frame
        self._source = keys_for(key, frame.keys.mode)

    def __enter__(self) -> None:
        keys = self._keys = self._frame.keys  # those of the lifted body that the block is in
        keys.blocks.append(_KeyBlock(self._source, keys.source, keys.home))
        keys.source = self._source
        keys.home = trace_guard.current_trace_state()

    def __exit__(self, *exc_info: object) -> None:
        keys = self._keys
        blocks = keys.blocks
        mine = (block for block in reversed(blocks) if block.source is self._source)
        next(block for block in mine if not block.ended).ended = True
        # A generator may end its block before one that began later, which then ends both.
        while blocks and blocks[-1].ended:
            block = blocks.pop()
            if keys.source is block.source:
                keys.source, keys.home = block.source_outside, block.home_outside


class _KeyBlock:
    """A `with_rng` block: its source of keys, and what it puts back when it ends."""

    __slots__ = ("ended", "home_outside", "source", "source_outside")

    def __init__(self, source: Any, source_outside: Any, home_outside: Any):
        self.source = source
        self.source_outside = source_outside
        self.home_outside = home_outside
        self.ended = False
