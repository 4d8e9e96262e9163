"""A random initial value in `apply` without a key, where variables have their values already."""

import functools
import operator
from collections.abc import Callable
from typing import Any

from purestate._core.frame import Frame
from purestate._sonnet.outside import OUTSIDE, in_a_frame


class LateValue:
    """Stands for an array that a random initializer makes, and is drawn only if it is used.

    Users of Sonnet write `snt.Variable(w_init([3, 4], dtype))`. In `apply` the variable is there, so
    that the value is not needed, and neither is a random key.

    Attributes:
      shape: its shape.
      dtype: its dtype.
      ndim: the number of its axes.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, draw: Callable[[], Any]):
        self.shape = shape
        self.dtype = dtype
        self.ndim = len(shape)
        self._draw = draw

    def __jax_array__(self) -> Any:
        return self._draw()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._draw(), name)


def _operators() -> None:
    """Gives `LateValue` the operators of arrays, each on the value that it draws."""

    def forward(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, *others: function(self.__jax_array__(), *others)

    def backward(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, other: function(other, self.__jax_array__())

    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"):
        setattr(LateValue, f"__{name}__", forward(getattr(operator, name)))
        setattr(LateValue, f"__r{name}__", backward(getattr(operator, name)))
    for name in ("neg", "pos", "abs", "lt", "le", "gt", "ge", "getitem"):
        setattr(LateValue, f"__{name}__", forward(getattr(operator, name)))
    for function in (len, float, int, bool):
        setattr(LateValue, f"__{function.__name__}__", forward(function))


_operators()


def _has_no_key(frame: Frame) -> bool:
    return frame is not OUTSIDE.frame and not frame.running_init and frame.keys.source is None


def late_without_key(call: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `__call__(shape, dtype)` of a random initializer to draw only if the value is used."""

    @functools.wraps(call)
    def run(self: Any, shape: Any, dtype: Any) -> Any:
        with in_a_frame() as frame:
            if self.seed is not None or not _has_no_key(frame):
                return call(self, shape, dtype)
        sizes = (shape,) if isinstance(shape, int) else tuple(int(size) for size in shape)
        return LateValue(sizes, dtype, functools.partial(call, self, shape, dtype))

    return run
