"""Sonnet's metrics: modules that accumulate values."""

import abc
from typing import Any, Self, overload

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from purestate._core.errors import ShapeMismatchError
from purestate._sonnet.errors import SonnetAttributeError, SonnetTypeError, SonnetValueError
from purestate._sonnet.module import Module
from purestate._sonnet.once import once
from purestate._sonnet.outside import in_a_frame
from purestate._sonnet.variable import Variable, value_of


class Metric(Module, abc.ABC):
    """The base class of metrics, whose call updates the metric and returns its new value.

    A subclass defines `initialize(value)`, `update(value)`, `reset()` and the property `value`.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> class Largest(snt.Metric):
    ...     @snt.once
    ...     def initialize(self, value):
    ...         self.max = snt.Variable(-jnp.inf, trainable=False, name="max")
    ...     def update(self, value):
    ...         self.initialize(value)
    ...         self.max.assign(jnp.maximum(self.max.value(), value))
    ...     @property
    ...     def value(self):
    ...         return self.max.value()
    ...     def reset(self):
    ...         self.max.assign(-jnp.inf)
    >>> largest = Largest()
    >>> [float(largest(x)) for x in (1.0, 3.0, 2.0)]
    [1.0, 3.0, 3.0]

    Args:
      name: the name of the module.
    """

    @abc.abstractmethod
    def initialize(self, value: Any) -> None:
        """Creates the variables, whose shapes may depend on the value."""

    @abc.abstractmethod
    def update(self, value: Any) -> None:
        """Accumulates a value."""

    @property
    @abc.abstractmethod
    def value(self) -> Any:
        """The current value of the metric."""

    @abc.abstractmethod
    def reset(self) -> None:
        """Starts again."""

    def __call__(self, value: Any) -> Any:
        """Accumulates a value, and returns the new value of the metric."""
        self.update(value)
        return self.value


class KeptVariable:
    """An attribute of a metric that holds a variable made by the first update.

    A run of `apply` makes the metric again, and perhaps reads or resets it before any update. Until
    then the attribute is the variable of the given state.
    """

    def __init__(self, name: str):
        self._name = name  # of the variable

    def __set_name__(self, owner: type, attribute: str) -> None:
        self._attribute = attribute

    @overload
    def __get__(self, metric: None, cls: type) -> Self: ...
    @overload
    def __get__(self, metric: Metric, cls: type) -> Variable | None: ...
    def __get__(self, metric: Metric | None, cls: type) -> Self | Variable | None:
        if metric is None:
            return self
        variable: Variable | None = vars(metric).get(self._attribute)
        return self._given(metric) if variable is None else variable

    def __set__(self, metric: Metric, variable: Variable | None) -> None:
        vars(metric)[self._attribute] = variable

    def _given(self, metric: Metric) -> Variable | None:
        with in_a_frame() as frame:
            path: str = metric.module_name
            state = frame.collections["state"].values
            if metric.creation_frame_id != frame.frame_id or self._name not in state.get(path, ()):
                return None
            return Variable.existing(frame, metric, path, self._name, "state")


class Sum(Metric):
    """The sum of all values, element by element.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> total = snt.Sum()
    >>> [total(jnp.array([x, 1.0])).tolist() for x in (1.0, 2.0)]
    [[1.0, 1.0], [3.0, 2.0]]

    Args:
      name: the name of the module.

    Attributes:
      sum: the variable `sum`; None if no update has made it yet.

    Raises:
      SonnetValueError: `value` is read and no update has been made yet.
      SonnetAttributeError: `reset` is called and no update has been made yet.
      ShapeMismatchError: a value has another shape than the first one.
      SonnetTypeError: a float is added to integers.
    """

    sum = KeptVariable("sum")

    def __init__(self, name: str | None = None):
        super().__init__(name=name)
        self.sum = None

    @once
    def initialize(self, value: ArrayLike) -> None:
        self.sum = zeros_like(value, "sum")

    def update(self, value: ArrayLike) -> None:
        self.initialize(value)
        _add(self, self.sum, value)

    @property
    def value(self) -> jax.Array:
        if self.sum is None:
            raise SonnetValueError(_no_value(self))
        return self.sum.value()

    def reset(self) -> None:
        clear(existing(self, self.sum))


class Mean(Metric):
    """The mean of all values, element by element.

    >>> import jax.numpy as jnp, purestate.sonnet as snt
    >>> mean = snt.Mean()
    >>> [mean(jnp.array([x, 1.0])).tolist() for x in (1.0, 2.0)]
    [[1.0, 1.0], [1.5, 1.0]]

    Args:
      name: the name of the module.

    Attributes:
      sum: the variable `sum`; None if no update has made it yet.
      count: the variable `count`, an int32 (an int64 in Sonnet).

    Raises:
      SonnetAttributeError: `value` or `reset` is used and no update has been made yet.
      ShapeMismatchError: a value has another shape than the first one.
      SonnetTypeError: a float is added to integers.
    """

    sum = KeptVariable("sum")
    count: Variable

    def __init__(self, name: str | None = None):
        super().__init__(name=name)
        self.sum = None
        self.count = Variable(0, trainable=False, name="count", dtype=jnp.int32)

    @once
    def initialize(self, value: ArrayLike) -> None:
        self.sum = zeros_like(value, "sum")

    def update(self, value: ArrayLike) -> None:
        self.initialize(value)
        _add(self, self.sum, value)
        self.count.assign_add(1)

    @property
    def value(self) -> jax.Array:
        total = existing(self, self.sum).value()
        return total / self.count.value().astype(total.dtype)

    def reset(self) -> None:
        clear(existing(self, self.sum))
        self.count.assign(0)


def zeros_like(value: Any, name: str) -> Variable:
    """Creates a variable of zeros that is not trainable, for values such as this one."""
    array = jnp.asarray(value_of(value))
    return Variable.create(name, array.shape, array.dtype, jnp.zeros, trainable=False)


def clear(variable: Variable) -> None:
    """Sets a variable to zeros."""
    variable.assign(jnp.zeros(variable.shape, variable.dtype))


def existing(metric: Module, variable: Variable | None) -> Variable:
    """Returns the variable of a metric; raises before the first update, which creates it."""
    if variable is None:
        raise SonnetAttributeError(_no_value(metric))
    return variable


def _no_value(metric: Module) -> str:
    return (
        f"{type(metric).__name__} {metric.module_name!r} has no value yet, since its shape and"
        " dtype are those of the first update. Call it on a value before, or call"
        " `initialize(value)`."
    )


def checked_value(metric: Module, variable: Variable, value: Any) -> jax.Array:
    """Returns a value as an array; raises if it does not fit those before."""
    array = jnp.asarray(value_of(value))
    if array.shape != variable.shape:
        raise ShapeMismatchError(
            f"{type(metric).__name__} {metric.module_name!r} began with the shape"
            f" {list(variable.shape)}, and now got {list(array.shape)}. Use a metric for each"
            " shape."
        )
    if jnp.issubdtype(array.dtype, jnp.inexact) and not jnp.issubdtype(variable.dtype, jnp.inexact):
        raise SonnetTypeError(
            f"{type(metric).__name__} {metric.module_name!r} began with {variable.dtype.name}, and"
            f" now got {array.dtype.name}, which would be rounded. Give it floats from the first"
            " update on."
        )
    return array


def _add(metric: Module, variable: Variable | None, value: Any) -> None:
    total = existing(metric, variable)
    total.assign_add(checked_value(metric, total, value))
