"""`name_scope`: names as if inside a module, for a `with` block."""

from contextlib import AbstractContextManager
from typing import Any

from purestate._core.errors import ModuleError
from purestate._core.frame import get_frame
from purestate._core.module import Module
from purestate._core.path import split_scope
from purestate._core.scope import Scope


class NameScopeModule(Module):
    """What stands for a `name_scope` among the modules."""


class name_scope(AbstractContextManager[None]):  # noqa: N801 (dm-haiku's name)
    """Makes variables and modules inside a `with` block as if inside a module of this name.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     with ps.name_scope("tower"):
    ...         return ps.Linear(1)(x)
    >>> ps.transform(f).init(jax.random.key(0), jnp.ones([1, 1])).keys()
    dict_keys(['tower/linear'])

    Args:
      name: one name, or several with `/` between them.
      method_name: which method to name modules like.

    Raises:
      FrameError: used outside a transformed function.
      ModuleError: `name` is empty or starts with `/`, or the scope is entered twice.
    """

    def __init__(self, name: str, *, method_name: str = "__call__"):
        frame = get_frame("`ps.name_scope`")
        parts = split_scope(name)
        if not parts[0]:
            raise ModuleError(
                f"A name scope cannot be called {name!r}: it must not be empty or start with a"
                " slash."
            )
        outer = frame.scope
        try:
            for part in parts:
                module: Any = NameScopeModule(name=part)
                frame.scope = Scope(module, module._path, method_name, frame.scope)
        finally:
            frame.scope = outer
        self._frame = frame
        self._module: Any = module  # pyright: ignore[reportPossiblyUnboundVariable]
        self._method_name = method_name
        self._outer: Scope | None = None
        self._used = False

    def __enter__(self) -> None:
        if self._used:
            state = "is open already" if self._outer is not None else "was used before"
            raise ModuleError(
                f"The name scope {self._module.module_name!r} {state}; make a new one for each"
                " `with`."
            )
        self._used = True
        self._outer = self._frame.scope
        self._frame.scope = self._scope = Scope(
            self._module, self._module._path, self._method_name, self._outer
        )

    def __exit__(self, *exc_info: object) -> None:
        self._outer = None
        # A generator may end its block after one that began later.
        scope, inner = self._frame.scope, None
        while scope is not self._scope:
            if scope.outer is None:  # gone already
                return
            scope, inner = scope.outer, scope
        assert scope.outer is not None
        if inner is None:
            self._frame.scope = scope.outer
        else:
            inner.outer = scope.outer
