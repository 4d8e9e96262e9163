"""What Sonnet's optimizers share."""

import abc
import importlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.errors import MissingPackageError
from purestate._sonnet.checks import broadcasts_to
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.module import Module
from purestate._sonnet.variable import Variable, value_of

Updates = Sequence[Any]
"""Gradients: arrays, or None for a parameter that is to stay."""
Parameters = Sequence[Variable]


class Optimizer(Module, abc.ABC):
    """The base class of optimizers: a subclass defines `apply(updates, parameters)`.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> class SignDescent(snt.Optimizer):
    ...     def apply(self, updates, parameters):
    ...         for update, parameter in zip(updates, parameters):
    ...             parameter.assign_sub(0.5 * jnp.sign(update))
    >>> w = snt.Variable(jnp.array([1.0, 2.0]), name="w")
    >>> SignDescent().apply([jnp.array([3.0, -4.0])], [w])
    >>> w.numpy().tolist()
    [0.5, 2.5]

    Args:
      name: the name of the module.
    """

    @abc.abstractmethod
    def apply(self, updates: Updates, parameters: Parameters) -> None:
        """Assigns new values to variables.

        Args:
          updates: a gradient for each parameter; None for one that is to stay.
          parameters: the variables.
        """


class OptaxOptimizer(Optimizer):
    """An optimizer that is also a gradient transformation of optax: `init` and `update` are pure.

    A subclass defines `_transformation`.
    """

    # They need no frame: one may call them under `jax.jit`, as any transformation of optax.
    _plain = ("init", "update", "_transformation")

    @abc.abstractmethod
    def _transformation(self) -> Any:
        """Returns the same optimizer of optax."""

    def init(self, params: Any) -> Any:
        """Returns the state of the optimizer for params, as optax does.

        Args:
          params: a pytree of arrays.

        Returns:
          A pytree of arrays.

        Raises:
          MissingPackageError: optax is not installed.
        """
        return self._transformation().init(params)

    def update(self, updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        """Returns what to add to params, and a new state, as optax does.

        Args:
          updates: gradients, of the structure of the params.
          state: what `init` or the last `update` returned.
          params: accepted and ignored.

        Returns:
          `(updates, state)`, for `optax.apply_updates(params, updates)`.

        Raises:
          MissingPackageError: optax is not installed.
        """
        return self._transformation().update(updates, state, params)


def optax_package() -> Any:
    """Returns optax; the error says how to install it."""
    try:
        return importlib.import_module("optax")
    except ImportError:
        raise MissingPackageError(
            "`init` and `update` of an optimizer of purestate.sonnet use the package optax, which"
            " is not installed: `pip install optax`. `apply(updates, parameters)` works without it."
        ) from None


def checked(
    optimizer: Module, updates: Updates, parameters: Parameters
) -> list[tuple[int, jax.Array, Variable]]:
    """Returns (index, update, parameter) of each parameter that has an update.

    All is checked before the first variable changes.
    """
    name = f"{type(optimizer).__name__} {optimizer.module_name!r}"
    check_one_for_each(name, updates, parameters)
    if not parameters:
        raise SonnetValueError(
            f"{name} was given an empty list of parameters. Call the module on an example before,"
            " which creates them, and pass module.trainable_variables."
        )
    if all(update is None for update in updates):
        raise SonnetValueError(
            f"{name}: all updates are None, so that each parameter would stay. Pass"
            " the gradients of a loss that depends on the parameters."
        )
    found: list[tuple[int, jax.Array, Variable]] = []
    for index, (update, parameter) in enumerate(zip(updates, parameters, strict=True)):
        if update is not None:
            array = jnp.asarray(value_of(update))
            _check_fits(name, array, parameter)
            found.append((index, array, parameter))
    return found


def check_one_for_each(name: str, updates: Updates, parameters: Parameters) -> None:
    """Raises unless there is an update for each parameter."""
    if len(updates) != len(parameters):
        raise SonnetValueError(
            f"{name} needs an update for each parameter, in the same order; got"
            f" {len(updates)} for {len(parameters)}. Write None for a parameter that is to stay."
        )


def _check_fits(name: str, update: jax.Array, parameter: Variable) -> None:
    if update.dtype != parameter.dtype:
        raise SonnetValueError(
            f"{name} was given an update of {update.dtype.name} for {parameter!r}. Cast it:"
            f" update.astype({parameter.dtype.name!r})."
        )
    if not broadcasts_to(update.shape, parameter.shape):
        raise SonnetValueError(
            f"{name} was given an update of the shape {list(update.shape)} for {parameter!r}. Pass"
            " updates and parameters in the same order."
        )


def zeros_for(name: str, parameters: Parameters) -> list[Variable]:
    """Creates a variable of zeros for each parameter, under its name and that of the quantity."""
    return [
        Variable.create(
            f"{name}/{parameter.name.removesuffix(':0')}",
            parameter.shape,
            parameter.dtype,
            jnp.zeros,
            trainable=False,
        )
        for parameter in parameters
    ]


def check_same_parameters(
    optimizer: Module, kept: Sequence[Variable], parameters: Parameters
) -> None:
    """Raises if an optimizer was used with another number of parameters before."""
    if len(kept) != len(parameters):
        raise SonnetValueError(
            f"{type(optimizer).__name__} {optimizer.module_name!r} keeps a value for each of the"
            f" parameters that it was given first, {len(kept)}, and now got {len(parameters)}. Give"
            " it all of them each time, with None as the update of one that is to stay."
        )


def as_dtype(value: Any, dtype: Any) -> jax.Array:
    """Returns a number, an array or the value of a variable, in a dtype."""
    return jnp.asarray(value_of(value)).astype(dtype)
