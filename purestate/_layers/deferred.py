"""Modules that are made when they are first used."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from purestate._core.errors import PurestateError
from purestate._core.frame import get_frame

_T = TypeVar("_T")


class DeferredAttributeError(PurestateError, AttributeError):
    """A module that is not made yet was asked for an attribute."""


class Deferred(Generic[_T]):
    """Stands for a module that is made when it is first used, under the name it would have had here.

    For modules whose arguments are not known before. Once it is made, all attributes are its own.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> class Autoencoder(ps.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.encoder = ps.Linear(2)
    ...         self.decoder = ps.Deferred(lambda: ps.Linear(self.encoder.input_size))
    ...     def __call__(self, x):
    ...         return self.decoder(self.encoder(x))
    >>> f = ps.transform(lambda x: Autoencoder()(x))
    >>> list(f.init(jax.random.key(0), jnp.ones([1, 8])))
    ['autoencoder/~/linear', 'autoencoder/~/linear_1']

    Args:
      factory: makes the module; called at most once, without arguments.
      call_methods: the methods that make the module when they are called.

    Raises:
      FrameError: used outside a transformed function.
    """

    def __init__(self, factory: Callable[[], _T], call_methods: Sequence[str] = ("__call__",)):
        self._factory = factory
        self._scope = get_frame("`ps.Deferred`").scope
        for method in call_methods:
            if method != "__call__":
                setattr(self, method, _calls(self, method))
        self._target: _T | None = None  # last, since from then on attributes may be the target's

    @property
    def target(self) -> _T:
        """The module, which is made now if it was not."""
        target = self.__dict__["_target"]
        if target is None:
            frame = get_frame("`ps.Deferred.target`")
            outer = frame.scope
            if self._scope.module is not None:  # outside any module there is nothing to go back to, as in dm-haiku
                frame.scope = self._scope
            try:
                target = self._factory()
            finally:
                frame.scope = outer
            self.__dict__.update(_target=target, _factory=None)
        return cast(_T, target)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the module."""
        return cast(Any, self.target)(*args, **kwargs)

    def __str__(self) -> str:
        return f"Deferred({self.target})"

    def __repr__(self) -> str:
        return f"Deferred({self.target!r})"

    def __getattr__(self, name: str) -> Any:
        target = self.__dict__.get("_target")
        if target is None:
            raise DeferredAttributeError(
                f"This Deferred has no attribute {name!r}: its module is not made yet. Call it first, or ask "
                f"`deferred.target` for {name!r}, which makes it."
            )
        return getattr(target, name)

    def __setattr__(self, name: str, value: Any) -> None:
        target = self.__dict__.get("_target")
        if target is None:
            super().__setattr__(name, value)
        else:
            setattr(target, name, value)

    def __delattr__(self, name: str) -> None:
        target = self.__dict__.get("_target")
        if target is None:
            super().__delattr__(name)
        else:
            delattr(target, name)


def _calls(deferred: Deferred[Any], method: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(deferred.target, method)(*args, **kwargs)

    return call
