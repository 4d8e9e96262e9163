"""Sonnet's SGD with momentum."""

from typing import Any

from jax.typing import ArrayLike

from purestate._sonnet.once import once
from purestate._sonnet.optimizers.base import (
    OptaxOptimizer,
    Parameters,
    Updates,
    as_dtype,
    check_same_parameters,
    checked,
    optax_package,
    zeros_for,
)
from purestate._sonnet.variable import Variable, value_of


class Momentum(OptaxOptimizer):
    """Gradient descent with momentum, plain or Nesterov's.

    `accumulated = momentum * accumulated + update`, and then `parameter -= learning_rate *
    accumulated`; with Nesterov's, `parameter -= learning_rate * (momentum * accumulated + update)`.
    `apply` assigns to variables; `init` and `update` are those of optax (see `SGD`).

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> w = snt.Variable(jnp.array([1.0, 2.0]), name="w")
    >>> momentum = snt.optimizers.Momentum(0.5, 0.5)
    >>> for _ in range(2):
    ...     momentum.apply([jnp.array([1.0, -1.0])], [w])
    >>> w.numpy().tolist()
    [-0.25, 3.25]

    Args:
      learning_rate: a number, an array or a variable, to which a schedule may assign.
      momentum: how much of the accumulated value stays; as `learning_rate`.
      use_nesterov: whether to use Nesterov's momentum.
      name: the name of the module.

    Attributes:
      learning_rate: the same; and so are `momentum` and `use_nesterov`.
      accumulated_momentum: a variable for each parameter, once `apply` was called.

    Raises:
      SonnetValueError: `apply` was given no parameters, another number of them than before or than
        of updates, no update at all, or one of another dtype or shape.
      MissingPackageError: `init` or `update` is called, and optax is not installed.
    """

    _plain = ("_transformation",)

    def __init__(
        self,
        learning_rate: ArrayLike | Variable,
        momentum: ArrayLike | Variable,
        use_nesterov: bool = False,
        name: str | None = None,
    ):
        super().__init__(name)
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.use_nesterov = use_nesterov
        self.accumulated_momentum: list[Variable] = []

    @once
    def _initialize(self, parameters: Parameters) -> None:
        self.accumulated_momentum = zeros_for("accumulated_momentum", parameters)

    def apply(self, updates: Updates, parameters: Parameters) -> None:
        """Assigns new values to variables.

        Args:
          updates: a gradient for each parameter; None for one that is to stay.
          parameters: the variables, the same each time.
        """
        found = checked(self, updates, parameters)
        self._initialize(parameters)
        check_same_parameters(self, self.accumulated_momentum, parameters)
        for index, update, parameter in found:
            accumulated = self.accumulated_momentum[index]
            learning_rate = as_dtype(self.learning_rate, update.dtype)
            momentum = as_dtype(self.momentum, update.dtype)
            new = momentum * accumulated.value() + update
            step = momentum * new + update if self.use_nesterov else new
            accumulated.assign(new)
            parameter.assign_sub(learning_rate * step)

    def _transformation(self) -> Any:
        return optax_package().sgd(
            value_of(self.learning_rate),
            momentum=value_of(self.momentum),
            nesterov=self.use_nesterov,
        )
