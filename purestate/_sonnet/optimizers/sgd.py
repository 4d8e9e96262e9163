"""Sonnet's SGD."""

from typing import Any

from jax.typing import ArrayLike

from purestate._sonnet.optimizers.base import (
    OptaxOptimizer,
    Parameters,
    Updates,
    as_dtype,
    checked,
    optax_package,
)
from purestate._sonnet.variable import Variable, value_of


class SGD(OptaxOptimizer):
    """Gradient descent: `parameter -= learning_rate * update`.

    It works in two ways. `apply` assigns to variables that live outside a transformed function:

    >>> import jax, jax.numpy as jnp, purestate.sonnet as snt
    >>> w = snt.Variable(jnp.array([1.0, 2.0]), name="w")
    >>> sgd = snt.optimizers.SGD(0.5)
    >>> sgd.apply([jnp.array([1.0, -1.0])], [w])
    >>> w.numpy().tolist()
    [0.5, 2.5]

    `init` and `update` are those of optax, on params of any structure:

    >>> params = {"w": jnp.array([1.0, 2.0])}
    >>> updates, state = sgd.update({"w": jnp.array([1.0, -1.0])}, sgd.init(params))
    >>> jax.tree.map(jnp.add, params, updates)["w"].tolist()
    [0.5, 2.5]

    Args:
      learning_rate: a number, an array or a variable, to which a schedule may assign.
      name: the name of the module.

    Attributes:
      learning_rate: the same.

    Raises:
      SonnetValueError: `apply` was given no parameters, another number of updates than parameters,
        no update at all, or one of another dtype or shape.
      MissingPackageError: `init` or `update` is called, and optax is not installed.
    """

    _plain = ("_transformation",)

    def __init__(self, learning_rate: ArrayLike | Variable, name: str | None = None):
        super().__init__(name)
        self.learning_rate = learning_rate

    def apply(self, updates: Updates, parameters: Parameters) -> None:
        """Assigns new values to variables.

        Args:
          updates: a gradient for each parameter; None for one that is to stay.
          parameters: the variables.
        """
        for _, update, parameter in checked(self, updates, parameters):
            parameter.assign_sub(update * as_dtype(self.learning_rate, update.dtype))

    def _transformation(self) -> Any:
        return optax_package().sgd(value_of(self.learning_rate))
