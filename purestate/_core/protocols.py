"""What a module looks like to a type checker, and to `isinstance`."""

import abc
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import jax


class _StrictProtocol(Protocol):
    """Refuses to be the base of a class that is not a protocol: modules derive from `Module`."""

    # For a type checker it would be part of the protocol, which no module has.
    if not TYPE_CHECKING:

        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            if Protocol not in cls.__bases__:
                raise TypeError(
                    f"{cls.__name__} derives from a protocol without being one. Derive from"
                    " `ps.Module` to make a module, or name Protocol among the bases to make a"
                    f" protocol: class {cls.__name__}(..., Protocol)."
                )


@runtime_checkable
class ModuleProtocol(_StrictProtocol, Protocol):
    """Anything with a module's name, path and variables.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> ps.transform(lambda: isinstance(ps.Linear(1), ps.ModuleProtocol)).apply({}, None)
    True
    """

    name: str | Any  # as in `Module`
    module_name: str

    @abc.abstractmethod
    def params_dict(self) -> dict[str, jax.Array]:
        """See `Module.params_dict`."""
        raise AssertionError

    @abc.abstractmethod
    def state_dict(self) -> dict[str, jax.Array]:
        """See `Module.state_dict`."""
        raise AssertionError


@runtime_checkable
class SupportsCall(ModuleProtocol, Protocol):
    """A module that can be called.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> ps.transform(lambda: isinstance(ps.Linear(1), ps.SupportsCall)).apply({}, None)
    True
    """

    @abc.abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the module."""
        raise AssertionError
