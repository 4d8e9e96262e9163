"""Sonnet's RMSProp."""

from typing import Any

import jax
import jax.numpy as jnp
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


class RMSProp(OptaxOptimizer):
    """RMSProp: divides each gradient by the root of the mean of its squares.

    Tieleman and Hinton 2012. With `centered`, by an estimate of its standard deviation. The
    momentum is plain, not Nesterov's. `apply` assigns to variables; `init` and `update` are those
    of optax (see `SGD`).

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> w = snt.Variable(jnp.array([1.0, 2.0]), name="w")
    >>> snt.optimizers.RMSProp(0.1).apply([jnp.array([3.0, -4.0])], [w])
    >>> print(w.numpy().round(3))
    [0.684 2.316]

    Args:
      learning_rate: a number, an array or a variable, to which a schedule may assign.
      decay: how much of the means stays; as `learning_rate`.
      momentum: how much of the last step stays; as `learning_rate`.
      epsilon: is added under the root; as `learning_rate`.
      centered: whether to subtract the square of the mean of the gradients.
      name: the name of the module.

    Attributes:
      learning_rate: the same; and so are `decay`, `momentum`, `epsilon` and `centered`.
      mom: a variable for each parameter, once `apply` was called: the last step.
      ms: the same for the mean of the squares.
      mg: the same for the mean of the gradients; empty unless `centered`.

    Raises:
      SonnetValueError: `apply` was given no parameters, another number of them than before or than
        of updates, no update at all, or one of another dtype or shape.
      MissingPackageError: `init` or `update` is called, and optax is not installed.
    """

    _plain = ("_transformation",)

    def __init__(
        self,
        learning_rate: ArrayLike | Variable,
        decay: ArrayLike | Variable = 0.9,
        momentum: ArrayLike | Variable = 0.0,
        epsilon: ArrayLike | Variable = 1e-10,
        centered: bool = False,
        name: str | None = None,
    ):
        super().__init__(name)
        self.learning_rate = learning_rate
        self.decay = decay
        self.momentum = momentum
        self.epsilon = epsilon
        self.centered = centered
        self.mom: list[Variable] = []
        self.ms: list[Variable] = []
        self.mg: list[Variable] = []

    @once
    def _initialize(self, parameters: Parameters) -> None:
        self.mom = zeros_for("momentum", parameters)
        self.ms = zeros_for("rms", parameters)
        if self.centered:
            self.mg = zeros_for("mg", parameters)

    def apply(self, updates: Updates, parameters: Parameters) -> None:
        """Assigns new values to variables.

        Args:
          updates: a gradient for each parameter; None for one that is to stay.
          parameters: the variables, the same each time.
        """
        found = checked(self, updates, parameters)
        self._initialize(parameters)
        check_same_parameters(self, self.mom, parameters)
        for index, update, parameter in found:
            dtype = update.dtype
            decay = as_dtype(self.decay, dtype)
            ms = jnp.square(update) * (1.0 - decay) + self.ms[index].value() * decay
            spread = ms
            if self.centered:
                mg = update * (1.0 - decay) + self.mg[index].value() * decay
                spread = ms - jnp.square(mg)
                self.mg[index].assign(mg)
            scaled = update * jax.lax.rsqrt(spread + as_dtype(self.epsilon, dtype))
            momentum = as_dtype(self.momentum, dtype) * self.mom[index].value()
            step = momentum + as_dtype(self.learning_rate, dtype) * scaled
            self.ms[index].assign(ms)
            self.mom[index].assign(step)
            parameter.assign_sub(step)

    def _transformation(self) -> Any:
        return optax_package().rmsprop(
            value_of(self.learning_rate),
            decay=value_of(self.decay),
            eps=value_of(self.epsilon),
            centered=self.centered,
            momentum=value_of(self.momentum),
        )
