"""Sources of random keys: one key split again and again, and one for each stream."""

import collections
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.config import get_config
from purestate._core.errors import ConfigError, InvalidRNGError, MissingRNGError
from purestate._core.frame import Frame, get_frame
from purestate._core.outlines import outline_argument
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
        raise InvalidRNGError(
            f"A random key was expected, such as `jax.random.key(0)`, but got a {_describe(key)}."
        )
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        expected = ()
    else:
        expected = _raw_key_shape()
        if dtype != jnp.uint32:
            raise InvalidRNGError(
                "A random key was expected, such as `jax.random.key(0)`, but got a"
                f" {_describe(key)}."
            )
    if shape != expected:
        hint = ""
        if len(shape) > len(expected):
            hint = " This looks like several keys: take one of them, or use `jax.vmap`."
        elif expected != (2,):
            hint = (
                f" jax_default_prng_impl is {_jax_config.jax_default_prng_impl!r}; a raw key made"
                " before that was set, or for another implementation, has another shape."
                " `jax.random.key` makes keys that know theirs."
            )
        error = InvalidRNGError(
            f"`rng` must be one random key, of shape {expected}, but got a {_describe(key)}.{hint}"
        )
        error.hint = hint
        raise error


def _describe(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or dtype is None:
        return f"{type(value).__name__}"
    return f"{type(value).__name__} of shape {tuple(shape)} and dtype {dtype}"


def _new_key(seed: Any) -> jax.Array:
    try:
        if (
            _jax_config.jax_legacy_prng_key == "error"
        ):  # raw keys are forbidden: the same bits, typed
            return jax.random.key(seed)
        return jax.random.PRNGKey(seed)
    except OverflowError:
        raise InvalidRNGError(
            f"`rng`, as a seed, must be a number of at most 64 bits, but is {seed}."
        ) from None


class SplitFirstError(Exception):
    """A step or branch that began with no key in reserve ends with some; nobody sees it.

    JAX wants the same structure from all of them. So it runs again, with one split off before.
    """


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
      InvalidRNGError: it is something else.
    """

    __slots__ = ("_due", "_key", "_subkeys")
    _key: jax.Array
    _subkeys: collections.deque[jax.Array]
    _due: bool
    """Whether a key belongs into the empty reserve that is not split off yet."""

    def __init__(self, key_or_seed: jax.Array | int | PRNGSequenceState):
        if isinstance(key_or_seed, tuple):
            self.replace_internal_state(key_or_seed)
            return
        if isinstance(key_or_seed, int) or (
            getattr(key_or_seed, "shape", None) == ()
            and getattr(key_or_seed, "dtype", None) == jnp.int32
        ):
            key = _new_key(key_or_seed)
        else:
            check_key(key_or_seed)
            key = key_or_seed
        self._key = key
        self._subkeys = collections.deque()
        self._due = False

    def reserve(self, num: int) -> None:
        """Splits off `num` more keys now, in one operation, to be handed out later."""
        if self._due:
            self.split_due()
        if num > 0:
            keys = tuple(jax.random.split(self._key, num + 1))
            self._key = keys[0]
            self._subkeys.extend(keys[1:])

    def reserve_up_to_full(self) -> None:
        """Brings the reserve to exactly `rng_reserve_size` keys, dropping those beyond it.

        If that is one key, it is split off when it is needed: most loops and branches draw none.
        """
        size = get_config().rng_reserve_size
        if size == 1 and not self._subkeys:
            self._due = True
            return
        self.reserve(size - len(self._subkeys))
        while len(self._subkeys) > size:
            self._subkeys.pop()

    def refill(self, start: Any) -> None:
        """Brings the reserve to its full size, in the structure of `start`, an earlier `state`.

        Raises:
          SplitFirstError: there are keys in the reserve, and none of them was split off then.
        """
        self.reserve_up_to_full()
        if start[1] is not None:
            self.split_due()
        elif not self._due:
            raise SplitFirstError

    def split_due(self) -> None:
        """Splits off the key that belongs into the reserve, if that has not been done."""
        if self._due:
            self._due = False
            self.reserve(1)

    @property
    def state(self) -> tuple[jax.Array, tuple[jax.Array, ...] | None]:
        """The `internal_state`, with None for a reserve of which the only key is not split off."""
        return self._key, None if self._due else tuple(self._subkeys)

    def go_on_from(self, state: Any) -> None:
        """Goes on from a `state`."""
        self._key, subkeys = state
        self._due = subkeys is None
        self._subkeys = collections.deque(subkeys or ())

    @property
    def internal_state(self) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """The key to split next and the keys in reserve."""
        if self._due:  # not kept, since this may be called in an inner trace
            key, subkey = jax.random.split(self._key)
            return key, (subkey,)
        return self._key, tuple(self._subkeys)

    def replace_internal_state(self, state: PRNGSequenceState) -> None:
        """Goes on from `state`, an `internal_state` taken before.

        Raises:
          InvalidRNGError: one of its parts is not a key.
        """
        try:
            key, subkeys = state
            subkeys = collections.deque(subkeys)
        except (TypeError, ValueError):
            raise InvalidRNGError(
                "A random key, or the `internal_state` of a PRNGSequence, (key, keys in reserve),"
                f" was expected, but got {outline_argument(state)}."
            ) from None
        check_key(key)
        for subkey in subkeys:
            check_key(subkey)
        self._key, self._subkeys, self._due = key, subkeys, False

    def __next__(self) -> jax.Array:
        if not self._subkeys:
            if self._due:
                self.split_due()
            else:
                self.reserve(get_config().rng_reserve_size)
        return self._subkeys.popleft()

    next = __next__

    def take(self, num: int) -> tuple[jax.Array, ...]:
        """Returns the next `num` keys, splitting once for those not in reserve."""
        self.split_due()
        self.reserve(num - len(self._subkeys))
        return tuple(next(self) for _ in range(num))

    def again(self, state: Any) -> "PRNGSequence":
        """Returns a sequence that goes on from a `state`."""
        made = PRNGSequence.__new__(PRNGSequence)
        made.go_on_from(state)
        return made

    def elements(self, num: int) -> Any:
        """Returns an array to map over, to give each of `num` elements keys of its own."""
        return jnp.stack(self.take(num))

    def element(self, part: Any) -> Any:
        """Returns the `internal_state` that an element begins with, from its part of `elements`."""
        return PRNGSequence(part).internal_state


class KeyStreams:
    """Several sources of keys, by name; see `next_rng_key`."""

    __slots__ = ("_streams",)

    def __init__(self, streams: dict[str, Any]):
        self._streams = streams

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the streams."""
        return tuple(self._streams)

    def stream(self, name: str | None, frame: Frame) -> Any:
        """Returns the source called `name`; None: of initial values, or the default one."""
        wanted = (
            (name, "default")
            if name is not None
            else (("params", "default") if frame.creating else ("default", "params"))
        )
        for candidate in wanted:
            if candidate in self._streams:
                return self._streams[candidate]
        run = "init" if frame.running_init else "apply"
        raise MissingRNGError(
            f"{(frame.scope.path or ROOT)!r} needs a random key of the stream {wanted[0]!r}, but"
            f" `{run}` was only given keys for"
            f" {', '.join(map(repr, self._streams)) or 'no stream'}. Add {wanted[0]!r}: key to the"
            " dict, or a key called 'default', which serves all other streams."
        )

    def __next__(self) -> jax.Array:
        return next(self.stream(None, get_frame("A random key")))

    def take(self, num: int) -> tuple[jax.Array, ...]:
        """Returns the next `num` keys of the default stream."""
        return self.stream(None, get_frame("Random keys")).take(num)

    def reserve(self, num: int) -> None:
        """Splits off `num` keys of the default stream."""
        self.stream(None, get_frame("`ps.reserve_rng_keys`")).reserve(num)

    def reserve_up_to_full(self) -> None:
        """Brings the reserve of each stream to its full size."""
        for stream in self._streams.values():
            stream.reserve_up_to_full()

    def refill(self, start: Any) -> None:
        """Brings the reserve of each stream to its full size, in the structure of `start`."""
        for name, stream in self._streams.items():
            stream.refill(start[name])

    def split_due(self) -> None:
        """Splits off the keys that belong into the reserves."""
        for stream in self._streams.values():
            stream.split_due()

    @property
    def state(self) -> Any:
        """The `state` of each stream."""
        return {name: stream.state for name, stream in self._streams.items()}

    def go_on_from(self, state: Any) -> None:
        """Goes on from a `state`."""
        for name, stream in self._streams.items():
            stream.go_on_from(state[name])

    @property
    def internal_state(self) -> Any:
        """The `internal_state` of each stream."""
        return {name: stream.internal_state for name, stream in self._streams.items()}

    def replace_internal_state(self, state: Any) -> None:
        """Goes on from `state`."""
        for name, stream in self._streams.items():
            stream.replace_internal_state(state[name])

    def again(self, state: Any) -> "KeyStreams":
        """Returns streams that go on from `state`."""
        return KeyStreams(
            {name: stream.again(state[name]) for name, stream in self._streams.items()}
        )

    def elements(self, num: int) -> Any:
        """Returns arrays to map over, to give each of `num` elements keys of its own."""
        return {name: stream.elements(num) for name, stream in self._streams.items()}

    def element(self, part: Any) -> Any:
        """Returns the `internal_state` that an element begins with, from its part of `elements`."""
        return {name: stream.element(part[name]) for name, stream in self._streams.items()}


def check_mode(rng_mode: Any) -> None:
    """Raises unless there is such an `rng_mode`."""
    if not (isinstance(rng_mode, str) and rng_mode in ("sequence", "path")):
        raise ConfigError(
            f"rng_mode must be 'sequence' or 'path', but is {outline_argument(rng_mode)}."
        )


def keys_for(rng: Any, rng_mode: str = "sequence") -> Any:
    """Returns what a frame draws its keys from, for a key, an int, or a dict of these.

    Raises:
      InvalidRNGError: `rng` is something else.
    """
    source: Any = PRNGSequence
    if rng_mode == "path":
        from purestate._core.path_keys import PathKeys  # few programs need it

        source = lambda key: PathKeys(PRNGSequence(key).internal_state[0])  # noqa: E731
    if isinstance(rng, Mapping):
        given: Any = rng
        if not given:
            raise InvalidRNGError(
                "The given dict of random keys is empty. Pass one key, such as"
                " `jax.random.key(0)`, or a dict with a key for each stream, such as"
                " `{'default': jax.random.key(0)}`."
            )
        return KeyStreams({str(name): source(key) for name, key in given.items()})
    return source(rng)
