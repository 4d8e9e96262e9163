"""Functions as modules, and modules one after the other."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from purestate._core.errors import ArgumentError, kind_of
from purestate._core.module import Module
from purestate._layers.errors import MODULE_CLASS, is_a_class

P = ParamSpec("P")
R = TypeVar("R")


def check_several(kind: str, layers: Iterable[Callable[..., Any]]) -> None:
    """Raises if the layers of a module of a kind are one function."""
    if not isinstance(layers, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(
            f"{kind} takes its layers as one list, but was given {kind_of(layers)}: write"
            f" ps.{kind}([first, second])."
        )


def check_no_class(kind: str, module: Module, layers: Iterable[Any]) -> None:
    """Raises if one of the layers is a class of modules."""
    for layer in layers:
        if layer.__class__ is MODULE_CLASS:
            raise is_a_class(f"{kind} {module.module_name!r}", "each layer", layer)


class Sequential(Module):
    """Calls functions or modules one after the other.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform(lambda x: ps.Sequential([ps.Linear(8), jax.nn.relu, ps.Linear(2)])(x))
    >>> x = jnp.ones([1, 3])
    >>> f.apply(f.init(jax.random.key(0), x), None, x).shape
    (1, 2)

    Args:
      layers: functions; all but the first take one argument.
      name: the name of the module.

    Raises:
      ArgumentError: `layers` is one function, and not several in a list, or a layer is a class.
    """

    def __init__(self, layers: Iterable[Callable[..., Any]], name: str | None = None):
        check_several("Sequential", layers)  # first, as a second layer would be the name
        super().__init__(name=name)
        self.layers = tuple(layers)
        check_no_class("Sequential", self, self.layers)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns what the last layer returns.

        Args:
          inputs: what the first layer is given.
          *args: what else the first layer is given.
          **kwargs: likewise.

        Returns:
          The result of the last layer; `inputs` where there is none.
        """
        out = inputs
        for i, layer in enumerate(self.layers):
            out = layer(out, *args, **kwargs) if i == 0 else layer(out)
        return out


if TYPE_CHECKING:

    class ModuleOf(Module, Generic[P, R]):
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...


def to_module(f: Callable[P, R]) -> "type[ModuleOf[P, R]]":
    """Makes a module class of a function, so that what it makes is under a name of its own.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def encoder(x):
    ...     return ps.Linear(2)(x)
    >>> Encoder = ps.to_module(encoder)
    >>> f = ps.transform(lambda x: Encoder()(x))
    >>> f.init(jax.random.key(0), jnp.ones([1, 3])).keys()
    dict_keys(['encoder/linear'])

    Args:
      f: a function.

    Returns:
      A class whose instances, made with an optional name, call `f`.

    Raises:
      ArgumentError: `f` is a class of modules. The class that is returned raises it too, if it is
        called with something else than a name.
    """
    if f.__class__ is MODULE_CLASS:
        raise is_a_class("`ps.to_module`", "its argument", f)

    class FunctionModule(Module):
        def __init__(self, name: str | None = None):
            given: Any = name
            if given is not None and not isinstance(given, str):
                raise ArgumentError(
                    f"A class made by `ps.to_module` takes a name, but was given {kind_of(name)}."
                    " Make an instance first, and call that: `ps.to_module(f)()(x)`."
                )
            super().__init__(name=name if name is not None else f.__name__)

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
            return f(*args, **kwargs)

    # dm-haiku's word for a function without one, which its tests look for.
    FunctionModule.__doc__ = f.__doc__ or "Module produced by `hk.to_module`."
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__", "__wrapped__"):
        value = f if attribute == "__wrapped__" else getattr(f, attribute, None)
        setattr(FunctionModule.__call__, attribute, value)
    return FunctionModule  # pyright: ignore[reportReturnType]
