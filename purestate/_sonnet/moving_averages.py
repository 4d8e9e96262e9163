"""Sonnet's exponential moving average."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purestate._sonnet.errors import SonnetTypeError
from purestate._sonnet.metrics import (
    KeptVariable,
    Metric,
    checked_value,
    clear,
    existing,
    zeros_like,
)
from purestate._sonnet.once import once
from purestate._sonnet.variable import Variable, value_of


class ExponentialMovingAverage(Metric):
    """An exponential moving average, without the bias towards its start at zero.

    Kingma and Ba 2014, arXiv:1412.6980. No gradient flows through what it keeps, as in TensorFlow.

    >>> import purestate.sonnet as snt
    >>> ema = snt.ExponentialMovingAverage(0.9)
    >>> [round(float(ema(x)), 4) for x in (1.0, 2.0, 3.0)]
    [1.0, 1.5263, 2.0701]

    Args:
      decay: how much of the average stays at each step; near 1 it changes slowly.
      name: the name of the module.

    Attributes:
      average: the variable `average`; None if no update has made it yet. (`hidden` and `counter`
        are the other two: the average with its bias, and the number of steps, an int32.)

    Raises:
      SonnetAttributeError: `value` or `reset` is used and no update has been made yet.
      SonnetTypeError: a value is an integer.
      ShapeMismatchError: a value has another shape than the first one.
    """

    average = KeptVariable("average")
    _hidden = KeptVariable("hidden")

    def __init__(self, decay: ArrayLike | Variable, name: str | None = None):
        super().__init__(name=name)
        self._decay = decay
        self._counter = Variable(0, trainable=False, name="counter", dtype=jnp.int32)
        self._hidden = None
        self.average = None

    @once
    def initialize(self, value: ArrayLike) -> None:
        """Creates the variables for values such as this one."""
        if not jnp.issubdtype(jnp.asarray(value_of(value)).dtype, jnp.inexact):
            raise SonnetTypeError(
                f"ExponentialMovingAverage {self.module_name!r} needs floats, but got"
                f" {jnp.asarray(value_of(value)).dtype.name}. Cast the value: jnp.asarray(value,"
                " jnp.float32)."
            )
        self._hidden = zeros_like(value, "hidden")
        self.average = zeros_like(value, "average")

    def update(self, value: ArrayLike) -> None:
        """Updates the average with a value."""
        self.initialize(value)
        hidden, average = existing(self, self._hidden), existing(self, self.average)
        array = checked_value(self, hidden, value)
        decay = value_of(self._decay)
        self._counter.assign_add(1)
        steps = self._counter.value().astype(array.dtype)
        hidden.assign_sub((hidden.value() - array) * (1.0 - decay))
        average.assign(hidden.value() / (1.0 - jnp.power(decay, steps)))

    @property
    def value(self) -> jax.Array:
        """The current average."""
        return value_of(existing(self, self.average))

    def reset(self) -> None:
        """Starts again."""
        hidden, average = existing(self, self._hidden), existing(self, self.average)
        self._counter.assign(0)
        clear(hidden)
        clear(average)
