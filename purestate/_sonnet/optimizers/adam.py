"""Sonnet's Adam."""

from typing import Any

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


class Adam(OptaxOptimizer):
    """Adam. Kingma and Ba 2014, arXiv:1412.6980.

    `apply` assigns to variables; `init` and `update` are those of optax (see `SGD`).

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> w = snt.Variable(jnp.array([1.0, 2.0]), name="w")
    >>> adam = snt.optimizers.Adam(0.1)
    >>> adam.apply([jnp.array([3.0, -4.0])], [w])
    >>> print(w.numpy().round(3), int(adam.step))
    [0.9 2.1] 1

    Args:
      learning_rate: a number, an array or a variable, to which a schedule may assign.
      beta1: how much of the mean of the gradients stays; as `learning_rate`.
      beta2: how much of the mean of their squares stays; as `learning_rate`.
      epsilon: is added to the divisor; as `learning_rate`.
      name: the name of the module.

    Attributes:
      learning_rate: the same; and so are `beta1`, `beta2` and `epsilon`.
      step: the variable `t`, the number of steps, an int32 (an int64 in Sonnet).
      m: a variable for each parameter, once `apply` was called: the mean of the gradients.
      v: the same for their squares.

    Raises:
      SonnetValueError: `apply` was given no parameters, another number of them than before or than
        of updates, no update at all, or one of another dtype or shape.
      MissingPackageError: `init` or `update` is called, and optax is not installed.
    """

    _plain = ("_transformation",)

    def __init__(
        self,
        learning_rate: ArrayLike | Variable = 0.001,
        beta1: ArrayLike | Variable = 0.9,
        beta2: ArrayLike | Variable = 0.999,
        epsilon: ArrayLike | Variable = 1e-8,
        name: str | None = None,
    ):
        super().__init__(name)
        self.learning_rate = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.step = Variable(0, trainable=False, name="t", dtype=jnp.int32)
        self.m: list[Variable] = []
        self.v: list[Variable] = []

    @once
    def _initialize(self, parameters: Parameters) -> None:
        self.m = zeros_for("m", parameters)
        self.v = zeros_for("v", parameters)

    def apply(self, updates: Updates, parameters: Parameters) -> None:
        """Assigns new values to variables.

        Args:
          updates: a gradient for each parameter; None for one that is to stay.
          parameters: the variables, the same each time.
        """
        found = checked(self, updates, parameters)
        self._initialize(parameters)
        check_same_parameters(self, self.m, parameters)
        self.step.assign_add(1)
        for index, update, parameter in found:
            dtype = update.dtype
            beta1, beta2 = as_dtype(self.beta1, dtype), as_dtype(self.beta2, dtype)
            step = as_dtype(self.step, dtype)
            m = beta1 * self.m[index].value() + (1.0 - beta1) * update
            v = beta2 * self.v[index].value() + (1.0 - beta2) * update * update
            m_hat = m / (1.0 - jnp.power(beta1, step))
            v_hat = v / (1.0 - jnp.power(beta2, step))
            divisor = jnp.sqrt(v_hat) + as_dtype(self.epsilon, dtype)
            self.m[index].assign(m)
            self.v[index].assign(v)
            parameter.assign_sub(as_dtype(self.learning_rate, dtype) * m_hat / divisor)

    def _transformation(self) -> Any:
        return optax_package().adam(
            value_of(self.learning_rate),
            b1=value_of(self.beta1),
            b2=value_of(self.beta2),
            eps=value_of(self.epsilon),
        )
