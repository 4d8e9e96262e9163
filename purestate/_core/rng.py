"""Random keys: a sequence that splits one key again and again, and the frame's own sequence."""

import collections
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core import trace_guard
from purestate._core.config import get_config
from purestate._core.errors import InvalidRNGError, MissingRNGError
from purestate._core.frame import Frame, ambient, get_frame, no_frame
from purestate._core.path import ROOT

PRNGSequenceState = tuple[jax.Array, Iterable[jax.Array]]
"""What a `PRNGSequence` knows: the key to split next, and the keys it has in reserve."""

_jax_config: Any = jax.config  # its settings are not in its type
_raw_key_shapes: dict[str, tuple[int, ...]] = {}


def _raw_key_shape() -> tuple[int, ...]:
    implementation = _jax_config.jax_default_prng_impl
    if implementation not in _raw_key_shapes:
        key_data = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0)))
        _raw_key_shapes[implementation] = key_data.shape
    return _raw_key_shapes[implementation]


def check_key(key: Any) -> None:
    """Raises unless `key` is one random key, raw or typed.

    Raises:
      InvalidRNGError: it is something else, or an array of several keys.
    """
    shape, dtype = getattr(key, "shape", None), getattr(key, "dtype", None)
    if shape is None or dtype is None:
        raise InvalidRNGError(f"A random key was expected, such as `jax.random.key(0)`, but got a {_describe(key)}.")
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        expected = ()
    else:
        expected = _raw_key_shape()
        if dtype != jnp.uint32:
            raise InvalidRNGError(
                f"A random key was expected, such as `jax.random.key(0)`, but got a {_describe(key)}."
            )
    if shape != expected:
        hint = ""
        if len(shape) > len(expected):
            hint = " This looks like several keys: take one of them, or use `jax.vmap`."
        elif expected != (2,):
            hint = (
                f" jax_default_prng_impl is {_jax_config.jax_default_prng_impl!r}; a raw key made before that was "
                "set, or for another implementation, has another shape. `jax.random.key` makes keys that know theirs."
            )
        raise InvalidRNGError(f"One random key of shape {expected} was expected, but got a {_describe(key)}.{hint}")


def _describe(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or dtype is None:
        return f"{type(value).__name__}"
    return f"{type(value).__name__} of shape {tuple(shape)} and dtype {dtype}"


def _new_key(seed: Any) -> jax.Array:
    if _jax_config.jax_legacy_prng_key == "error":  # raw keys are forbidden: the same bits, typed
        return jax.random.key(seed)
    return jax.random.PRNGKey(seed)


class PRNGSequence(Iterator[jax.Array]):
    """An iterator of fresh random keys, all split from one.

    >>> import jax, purestate as ps
    >>> keys = ps.PRNGSequence(42)
    >>> a, b = next(keys), next(keys)
    >>> bool((a == b).all())
    False

    Args:
      key_or_seed: a key, an int to make one from, or the `internal_state` of another sequence.

    Raises:
      InvalidRNGError: it is none of these.
    """

    __slots__ = ("_key", "_subkeys")
    _key: jax.Array
    _subkeys: collections.deque[jax.Array]

    def __init__(self, key_or_seed: jax.Array | int | PRNGSequenceState):
        if isinstance(key_or_seed, tuple):
            self.replace_internal_state(key_or_seed)
            return
        if isinstance(key_or_seed, int) or (
            getattr(key_or_seed, "shape", None) == () and getattr(key_or_seed, "dtype", None) == jnp.int32
        ):
            key = _new_key(key_or_seed)
        else:
            check_key(key_or_seed)
            key = key_or_seed
        self._key = key
        self._subkeys = collections.deque()

    def reserve(self, num: int) -> None:
        """Splits off `num` more keys now, in one operation, to be handed out later."""
        if num > 0:
            keys = tuple(jax.random.split(self._key, num + 1))
            self._key = keys[0]
            self._subkeys.extend(keys[1:])

    def reserve_up_to_full(self) -> None:
        """Brings the reserve to exactly `rng_reserve_size` keys, dropping those beyond it."""
        size = get_config().rng_reserve_size
        self.reserve(size - len(self._subkeys))
        while len(self._subkeys) > size:
            self._subkeys.pop()

    @property
    def internal_state(self) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """The key to split next and the keys in reserve."""
        return self._key, tuple(self._subkeys)

    def replace_internal_state(self, state: PRNGSequenceState) -> None:
        """Goes on from `state`, an `internal_state` taken before.

        Raises:
          InvalidRNGError: one of its parts is not a key.
        """
        key, subkeys = state
        subkeys = collections.deque(subkeys)
        check_key(key)
        for subkey in subkeys:
            check_key(subkey)
        self._key, self._subkeys = key, subkeys

    def __next__(self) -> jax.Array:
        if not self._subkeys:
            self.reserve(get_config().rng_reserve_size)
        return self._subkeys.popleft()

    next = __next__

    def take(self, num: int) -> tuple[jax.Array, ...]:
        """Returns the next `num` keys, splitting once for those not in reserve."""
        self.reserve(num - len(self._subkeys))
        return tuple(next(self) for _ in range(num))


def _where(frame: Frame) -> str:
    return frame.scope.path or ROOT


def _frame_keys(frame: Frame, what: str) -> PRNGSequence:
    if frame.keys is None:
        run = "init" if frame.running_init else "apply"
        raise MissingRNGError(
            f"`ps.{what}` in {_where(frame)!r} needs random numbers, but `{run}` was given no key (rng is None). "
            "Pass one, such as `jax.random.key(0)`; if the function went through `ps.without_apply_rng`, drop that."
        )
    return frame.keys


def _draw(what: str, draw: Any) -> Any:
    """Draws from the frame's keys; refuses where what is left of them would die with an inner trace."""
    frames = ambient.get()[0]
    if not frames:
        raise no_frame(f"`ps.{what}`")
    frame = frames[-1]
    keys = _frame_keys(frame, what)
    if trace_guard.current_trace_state() == frame.trace_state:
        return draw(keys)
    trace_guard.check_strictly(frame.trace_state, f"`ps.{what}`", _where(frame))
    before = keys.internal_state
    drawn = draw(keys)
    if not trace_guard.outlives_trace((keys.internal_state, drawn), frame.trace_state):
        keys.replace_internal_state(before)
        raise trace_guard.usage_error(f"`ps.{what}`", _where(frame))
    return drawn


def next_rng_key() -> jax.Array:
    """Returns a random key that no other call gets.

    >>> import jax, purestate as ps
    >>> f = ps.transform(lambda: jax.random.normal(ps.next_rng_key(), [2]))
    >>> f.apply({}, jax.random.key(0)).shape
    (2,)

    Returns:
      A key of the kind that `init` or `apply` was given.

    Raises:
      FrameError: used outside a transformed function.
      MissingRNGError: `init` or `apply` was given no key.
      JaxUsageError: used inside a plain `jax.jit`, `jax.lax.scan` or the like, out of which what is left of the keys cannot
        get. (Under a plain `jax.vmap` it can, and all rows share one key; `ps.vmap` can split it.)
    """
    return _draw("next_rng_key", next)


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
      JaxUsageError: used inside a plain JAX transform.
    """
    return _draw("next_rng_keys", lambda keys: jnp.stack(keys.take(num)))


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
      JaxUsageError: used inside a plain JAX transform.
    """
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
        self._outer: list[PRNGSequence | None] = []

    def __enter__(self) -> None:
        self._outer.append(self._frame.keys)
        self._frame.keys = self._keys

    def __exit__(self, *exc_info: object) -> None:
        self._frame.keys = self._outer.pop()
