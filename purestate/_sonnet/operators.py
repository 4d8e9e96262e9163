"""The operators of arrays and their iterator, for a class that stands for one."""

import operator
from collections.abc import Callable
from typing import Any

_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
_OTHERS = ("neg", "pos", "abs", "lt", "le", "gt", "ge")


def add_operators(cls: type[Any], value_of: Callable[[Any], Any]) -> None:
    """Gives a class the operators and the iterator of arrays, each on the present value.

    Args:
      cls: the class.
      value_of: returns the array of an instance, and anything else as it is.
    """

    def forward(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, *others: function(value_of(self), *map(value_of, others))

    def backward(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, other: function(value_of(other), value_of(self))

    for name in _BINARY:
        function = getattr(operator, name)
        setattr(cls, f"__{name}__", forward(function))
        setattr(cls, f"__r{name}__", backward(function))
    for name in _OTHERS:
        setattr(cls, f"__{name}__", forward(getattr(operator, name)))
    # Python would otherwise ask for elements until an index fails, and none does in JAX.
    cls.__iter__ = lambda self: iter(value_of(self))
