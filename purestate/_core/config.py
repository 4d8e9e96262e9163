"""Settings that hold for the current context (thread, task), with a process-wide default."""

import contextlib
import dataclasses
import operator
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any

import numpy as np

from purestate._core import compiled
from purestate._core.errors import ConfigError
from purestate._core.outlines import outline_argument


@dataclasses.dataclass(slots=True)
class Config:
    """The settings; see `set` for the meaning of each."""

    check_jax_usage: bool = False
    module_auto_repr: bool = True
    restore_flatmap: bool = False
    rng_reserve_size: int = 1
    leaks: str = "error"
    shared_keys: str = "warn"
    new_state: str = "error"
    unsynced_state: str = "error"
    stale_state: str = "off"
    lifted_names: str = "unique"


_ACTIONS = ("error", "warn", "off")

_default = Config()

ever_strict = False
"""Whether `check_jax_usage` was ever enabled: until then, no code needs to look at it."""

_overrides: ContextVar[Config | None] = ContextVar("purestate_config", default=None)
_open_blocks: ContextVar[tuple[dict[str, Any], ...]] = ContextVar(
    "purestate_config_blocks", default=()
)


def get_config() -> Config:
    """Returns the settings in force here."""
    return _overrides.get() or _default


def _changes(given: dict[str, Any]) -> dict[str, Any]:
    changes = {name: value for name, value in given.items() if value is not None}
    if "rng_reserve_size" in changes:
        size = changes["rng_reserve_size"]
        try:
            size = operator.index(size)
        except TypeError:
            raise ConfigError(
                f"rng_reserve_size must be an int, the number of keys to reserve, but is {size!r}."
            ) from None
        if size <= 0:
            raise ConfigError(f"rng_reserve_size must be at least 1, got {size}.")
    for name in ("leaks", "shared_keys", "new_state", "unsynced_state", "stale_state"):
        action = changes.get(name, "off")
        if not (isinstance(action, str) and action in _ACTIONS):
            raise ConfigError(
                f"{name} must be one of {', '.join(map(repr, _ACTIONS))}, but is"
                f" {outline_argument(action)}."
            )
    names = changes.get("lifted_names", "unique")
    if not (isinstance(names, str) and names in ("unique", "haiku")):
        raise ConfigError(
            f"lifted_names must be 'unique' or 'haiku', but is {outline_argument(names)}."
        )
    for name in ("check_jax_usage", "module_auto_repr", "restore_flatmap"):
        if not isinstance(changes.get(name, False), (bool, int, np.bool_)):
            raise ConfigError(
                f"{name} must be True or False, but is {outline_argument(changes[name])}."
            )
    if changes.get("check_jax_usage"):
        global ever_strict
        ever_strict = True
    return changes


def set(  # noqa: A001 (dm-haiku's name)
    *,
    check_jax_usage: bool | None = None,
    module_auto_repr: bool | None = None,
    restore_flatmap: bool | None = None,
    rng_reserve_size: int | None = None,
    leaks: str | None = None,
    shared_keys: str | None = None,
    new_state: str | None = None,
    unsynced_state: str | None = None,
    stale_state: str | None = None,
    lifted_names: str | None = None,
) -> None:
    """Changes settings from here on. A setting that is `None` does not change.

    >>> import purestate as ps
    >>> ps.config.set(rng_reserve_size=1)

    Args:
      check_jax_usage: also refuse reads and harmless uses of purestate inside a plain JAX
        transform. For uses that leak or share a key, see `leaks` and `shared_keys`.
      module_auto_repr: whether `repr(module)` shows the arguments of its constructor.
      restore_flatmap: whether pickles of dm-haiku's old `FlatMapping` load as such.
      rng_reserve_size: how many keys a `PRNGSequence` splits off at a time, at least 1.
      leaks: what to do about a variable or key that would leak from a plain JAX transform: "error"
        (the default), "warn", or "off". With "off" a dead tracer leaks, as in dm-haiku.
      shared_keys: what to do about a key drawn inside a plain `jax.vmap`, whose mapped elements
        then share it: "warn" (the default), "error" or "off".
      new_state: what to do if `apply` reads state that is missing from the given state: "error"
        (the default), "warn", or "off". With "off" it is silently re-initialized, as in dm-haiku.
        If all of the state is missing, `apply` warns instead, unless this is "off". It never warns
        if its state is `None`.
      unsynced_state: what to do about state that differs between the shards of a `jax.shard_map`
        and would leave it as one value: "error" (the default), "warn", or "off". `BatchNorm` (see
        its `sync`) and `VectorQuantizerEMA` check this when they run. All other state is checked
        with `check_vma=False`, where JAX does not. For this check the function of one shard is
        traced once more.
      stale_state: what to do if `apply` gets an array of state that an earlier `apply` replaced, so
        that the new state was not passed on: "off" (the default), "warn" or "error". Arrays are
        compared by identity. Calls of a compiled function are not seen, only those of `apply`
        within one trace; donate the state to find the others. To use an old state on purpose, pass
        a copy: `jax.tree.map(jnp.copy, state)`.
      lifted_names: how modules are named after a lifted transform such as `ps.vmap` or `ps.scan`.
        With "unique" (the default) the names of modules made inside stay taken. With "haiku" they
        are free again, as in dm-haiku. A module made inside and one made afterwards may then share
        their parameters.

    Raises:
      ConfigError: a value that has no meaning.
    """
    changes = _changes(dict(locals()))
    blocks = _open_blocks.get()
    for block in blocks[-1:]:
        block.update(changes)
    for name, value in changes.items():
        setattr(get_config(), name, value)
    if blocks:
        _tell_jax()
    else:
        settings = None if _default == Config() else dataclasses.astuple(_default)
        compiled.process_depends_on("settings", settings)


@contextlib.contextmanager
def context(
    *,
    check_jax_usage: bool | None = None,
    module_auto_repr: bool | None = None,
    restore_flatmap: bool | None = None,
    rng_reserve_size: int | None = None,
    leaks: str | None = None,
    shared_keys: str | None = None,
    new_state: str | None = None,
    unsynced_state: str | None = None,
    stale_state: str | None = None,
    lifted_names: str | None = None,
) -> Generator[None]:
    """Changes settings inside a `with` block, only for this thread or task.

    >>> import jax, purestate as ps
    >>> with ps.config.context(rng_reserve_size=4):
    ...     key = next(ps.PRNGSequence(jax.random.key(0)))

    Args:
      check_jax_usage: see `set`.
      module_auto_repr: see `set`.
      restore_flatmap: see `set`.
      rng_reserve_size: see `set`.
      leaks: see `set`.
      shared_keys: see `set`.
      new_state: see `set`.
      unsynced_state: see `set`.
      stale_state: see `set`.
      lifted_names: see `set`.

    Yields:
      None.

    Raises:
      ConfigError: a value that has no meaning.
    """
    with override(_changes(dict(locals()))):
        yield


@contextlib.contextmanager
def override(changes: dict[str, Any], *, tells_jax: bool = True) -> Generator[None]:
    """Changes settings inside a `with` block.

    Args:
      changes: the settings, by name.
      tells_jax: whether compiled functions depend on them; False for a run that only looks ahead.

    Yields:
      None.
    """
    _open_blocks.set((*_open_blocks.get(), changes))
    _overrides.set(dataclasses.replace(get_config(), **changes))
    if tells_jax:
        _tell_jax()
    try:
        yield
    finally:
        # Not the earlier value: a generator may end its block after others that began later.
        blocks = tuple(block for block in _open_blocks.get() if block is not changes)
        settings = _default
        for block in blocks:
            settings = dataclasses.replace(settings, **block)
        _open_blocks.set(blocks)
        _overrides.set(settings if blocks else None)
        if tells_jax:
            _tell_jax()


def _tell_jax() -> None:
    """Makes compiled functions depend on the settings of this thread or task."""
    settings = _overrides.get()
    compiled.depends_on("settings", None if settings is None else dataclasses.astuple(settings))


def check_jax_usage(enabled: bool = True) -> bool:
    """Sets `check_jax_usage` and returns what it was.

    >>> import purestate as ps
    >>> before = ps.experimental.check_jax_usage(False)

    Args:
      enabled: the new value.

    Returns:
      The value before.
    """
    before = get_config().check_jax_usage
    set(check_jax_usage=enabled)
    return before


def module_auto_repr(enabled: bool) -> bool:
    """Sets `module_auto_repr` and returns what it was.

    >>> import purestate as ps
    >>> before = ps.experimental.module_auto_repr(True)

    Args:
      enabled: the new value.

    Returns:
      The value before.
    """
    before = get_config().module_auto_repr
    set(module_auto_repr=enabled)
    return before


def rng_reserve_size(size: int) -> int:
    """Sets `rng_reserve_size` and returns what it was.

    >>> import purestate as ps
    >>> before = ps.experimental.rng_reserve_size(1)

    Args:
      size: how many keys a sequence splits off at a time.

    Returns:
      The value before.

    Raises:
      ConfigError: `size` is not positive.
    """
    before = get_config().rng_reserve_size
    set(rng_reserve_size=size)
    return before
