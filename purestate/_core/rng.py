"""Random numbers inside a transformed function: drawing keys from those that the frame was given."""

import operator
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core import trace_guard
from purestate._core.errors import InvalidRNGError, JaxUsageError, MissingRNGError
from purestate._core.frame import Frame, ambient, get_frame, no_frame
from purestate._core.keys import KeyStreams, PRNGSequence, PRNGSequenceState
from purestate._core.outlines import outline_argument
from purestate._core.path import ROOT


def draw_rows(num: int) -> Any:
    """Returns what gives each of `num` rows keys of its own, from the frame's keys."""
    return _draw("vmap(split_rng=True)", lambda keys: keys.rows(num))


def _where(frame: Frame) -> str:
    return frame.scope.path or ROOT


def _frame_keys(frame: Frame, what: str) -> Any:
    if frame.keys is None:
        run = "init" if frame.running_init else "apply"
        raise MissingRNGError(
            f"`ps.{what}` in {_where(frame)!r} needs random numbers, but `{run}` was given no key"
            " (rng is None). Pass one, such as `jax.random.key(0)`; if the function went through"
            " `ps.without_apply_rng`, drop that."
        )
    return frame.keys


def _draw(what: str, draw: Any, stream: str | None = None) -> Any:
    """Draws from the frame's keys; refuses where what is left of them would die with an inner trace."""
    frames = ambient.get()[0]
    if not frames:
        raise no_frame(f"`ps.{what}`")
    frame = frames[-1]
    keys = _frame_keys(frame, what)
    if draw is next:
        for each in frames:
            each.num_drawn += 1
    if stream is not None and isinstance(keys, KeyStreams):
        keys = keys.stream(stream, frame)
    home = frame.trace_state if frame.key_trace is None else frame.key_trace
    if trace_guard.current_trace_state() == home:
        return draw(keys)
    trace_guard.check_strictly(frame.trace_state, f"`ps.{what}`", _where(frame))
    before = keys.internal_state
    drawn = draw(keys)
    try:
        trace_guard.check_draw((keys.internal_state, drawn), home, f"`ps.{what}`", _where(frame))
    except JaxUsageError:
        keys.replace_internal_state(before)
        raise
    if frame.making is None:  # a first value is to be the same for all rows
        trace_guard.warn_of_shared_key(home, f"`ps.{what}`", _where(frame))
    return drawn


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
      stream: which of several keys to draw from, where `init` or `apply` was given a dict of them.
        A single key feeds all streams. Without a name it is "params" for first values, and
        "default" for all else; each stands in for the other.
      axis_name: the axis of a `jax.shard_map` or `jax.vmap`, or several, along which each shard or
        row is to get another key.

    Returns:
      A key of the kind that `init` or `apply` was given.

    Raises:
      FrameError: used outside a transformed function.
      MissingRNGError: `init` or `apply` was given no key, or none for this stream.
      JaxUsageError: used inside a plain `jax.jit`, `jax.lax.scan` or the like, out of which what is
        left of the keys cannot get. (Under a plain `jax.vmap` it can, and all rows share one key;
        `ps.vmap` can split it.)
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
    """Returns a fresh key, or None where `init` or `apply` was given none.

    >>> import purestate as ps
    >>> ps.transform(ps.maybe_next_rng_key).apply({}, None) is None
    True

    Returns:
      A key or None.

    Raises:
      FrameError: used outside a transformed function.
      JaxUsageError: used inside a plain JAX transform.
    """
    if get_frame("`ps.maybe_next_rng_key`").keys is None:
        return None
    return _draw("maybe_next_rng_key", next)


def has_rng(stream: str | None = None) -> bool:
    """Returns whether `next_rng_key(stream)` would get a key.

    >>> import jax, purestate as ps
    >>> f = ps.transform(lambda: (ps.has_rng("dropout"), ps.has_rng("noise")))
    >>> f.apply({}, {"dropout": jax.random.key(0)})
    (True, False)

    Args:
      stream: which of several keys is asked for; see `next_rng_key`.

    Returns:
      Whether `init` or `apply` was given a key for it.

    Raises:
      FrameError: used outside a transformed function.
    """
    frame = get_frame("`ps.has_rng`")
    if not isinstance(frame.keys, KeyStreams):
        return frame.keys is not None
    try:
        frame.keys.stream(stream, frame)
    except MissingRNGError:
        return False
    return True


def maybe_get_rng_sequence_state() -> tuple[jax.Array, tuple[jax.Array, ...]] | None:
    """Returns what the frame's key sequence knows, or None where there is no key.

    >>> import purestate as ps
    >>> ps.transform(ps.maybe_get_rng_sequence_state).apply({}, None) is None
    True

    Returns:
      The key to split next and the keys in reserve, for `replace_rng_sequence_state`.

    Raises:
      FrameError: used outside a transformed function.
    """
    keys = get_frame("`ps.maybe_get_rng_sequence_state`").keys
    return None if keys is None else keys.internal_state


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
        trace_guard.check_strictly(frame.trace_state, "`ps.with_rng`", _where(frame))
        self._frame = frame
        self._keys = PRNGSequence(key)

    def __enter__(self) -> None:
        frame = self._frame
        frame.key_blocks.append(_KeyBlock(self._keys, frame.keys, frame.key_trace))
        frame.keys = self._keys
        frame.key_trace = trace_guard.current_trace_state()

    def __exit__(self, *exc_info: object) -> None:
        frame = self._frame
        blocks = frame.key_blocks
        next(
            block for block in reversed(blocks) if block.keys is self._keys and not block.ended
        ).ended = True
        # A generator may end its block before one that began later, which then ends both.
        while blocks and blocks[-1].ended:
            block = blocks.pop()
            if frame.keys is block.keys:
                frame.keys, frame.key_trace = block.keys_outside, block.trace_outside


class _KeyBlock:
    """A `with_rng` block: its keys, and what it puts back at its end."""

    __slots__ = ("ended", "keys", "keys_outside", "trace_outside")

    def __init__(self, keys: PRNGSequence, keys_outside: Any, trace_outside: Any):
        self.keys = keys
        self.keys_outside = keys_outside
        self.trace_outside = trace_outside
        self.ended = False
