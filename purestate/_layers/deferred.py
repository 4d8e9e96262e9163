"""Modules that are made when they are first used."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, cast

from purestate._core.errors import PurestateError
from purestate._core.frame import get_frame

P = ParamSpec("P")
R = TypeVar("R")
_T = TypeVar("_T", covariant=True)


class DeferredAttributeError(PurestateError, AttributeError):
    """A module that is not made yet was asked for an attribute."""


class Deferred(Generic[_T]):
    """Stands for a module that is made when it is first used, with the name it would have here.

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
        return _made(self)

    def __call__(self: "Deferred[Callable[P, R]]", *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the module."""
        return cast(Any, _made(self))(*args, **kwargs)

    def __str__(self) -> str:
        return f"Deferred({_made(self)})"

    def __repr__(self) -> str:
        return f"Deferred({_made(self)!r})"

    def __getattr__(self, name: str) -> Any:
        if name == "target":
            return _made(self)  # asked for here only if it failed with an AttributeError: say which
        target = self.__dict__.get("_target")
        if target is None:
            raise DeferredAttributeError(
                f"This Deferred has no attribute {name!r}: its module is not made yet. Call it"
                f" first, or ask `deferred.target` for {name!r}, which makes it."
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


def _made(deferred: Deferred[_T]) -> _T:
    """The module of `deferred`, which is made in the scope where it was deferred."""
    fields = deferred.__dict__
    if fields["_target"] is None:
        frame = get_frame("`ps.Deferred.target`")
        outer = frame.scope
        if (
            fields["_scope"].module is not None
        ):  # outside any module there is nothing to go back to, as in dm-haiku
            frame.scope = fields["_scope"]
        try:
            fields["_target"] = fields["_factory"]()
        finally:
            frame.scope = outer
        fields["_factory"] = None
    return fields["_target"]


def _calls(deferred: Deferred[Any], method: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(_made(deferred), method)(*args, **kwargs)

    return call
