"""Sonnet's `Deferred`: a module that is made when it is first used."""

from collections.abc import Callable, Iterable
from typing import Any

from purestate._sonnet.errors import SonnetAttributeError
from purestate._sonnet.module import Module, no_name_scope


class Deferred(Module):
    """Stands for a module that is made when it is first called, with the name it would have there.

    For modules whose arguments are not known before. Once it is made, all attributes are its own.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> class Scale(snt.Module):
    ...     def __init__(self, factor):
    ...         super().__init__()
    ...         self.factor = factor
    ...     def __call__(self, x):
    ...         return self.factor * x
    >>> double = Scale(2.0)
    >>> back = snt.Deferred(lambda: Scale(1 / double.factor))
    >>> back(double(jnp.ones([2]))).tolist()
    [1.0, 1.0]
    >>> back.factor
    0.5

    Args:
      constructor: makes the module; called at most once, without arguments.
      call_methods: the methods that make the module when they are called.
      name: the name of this module, which does not appear in the path of the one that it makes.

    Attributes:
      target: the module; reading it makes it.

    Raises:
      SonnetAttributeError: an attribute is read that neither this nor its module has.
    """

    def __init__(
        self,
        constructor: Callable[[], Any],
        call_methods: Iterable[str] = ("__call__",),
        name: str | None = None,
    ):
        super().__init__(name=name)
        self._constructor: Callable[[], Any] | None = constructor
        for method in call_methods:
            if method != "__call__":
                setattr(self, method, _calls(self, method))
        self._target: Any = None  # last, since from then on attributes may be the target's

    @property
    @no_name_scope
    def target(self) -> Any:
        """The module, which is made now if it was not."""
        if self._target is None and self._constructor is not None:
            make, self._constructor = self._constructor, None
            try:
                self._target = make()
            except BaseException:
                self._constructor = make
                raise
        return self._target

    @no_name_scope
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the module."""
        return self.target(*args, **kwargs)

    def __str__(self) -> str:
        return f"Deferred({self.target})"

    def __repr__(self) -> str:
        return f"Deferred({self.target!r})"

    def __getattr__(self, name: str) -> Any:
        target = self.__dict__.get("_target")
        if target is None:
            raise SonnetAttributeError(
                f"This Deferred has no attribute {name!r}: its module is not made yet. Call it"
                f" first, or write `deferred.target.{name}`, which makes it."
            )
        return getattr(target, name)

    def __setattr__(self, name: str, value: Any) -> None:
        target = self.__dict__.get("_target")
        if target is None or name == "_target":
            super().__setattr__(name, value)
        else:
            setattr(target, name, value)

    def __delattr__(self, name: str) -> None:
        target = self.__dict__.get("_target")
        if target is None or name == "_target":
            super().__delattr__(name)
        else:
            delattr(target, name)


def _calls(deferred: Deferred, method: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(deferred.target, method)(*args, **kwargs)

    call.__name__ = method
    return call
