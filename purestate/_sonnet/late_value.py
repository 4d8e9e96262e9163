"""A random initial value in `apply` without a key, as the variables have their values already."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from purestate._core.frame import Frame
from purestate._sonnet.operators import add_operators
from purestate._sonnet.outside import OUTSIDE, in_a_frame


class LateValue:
    """Stands for an array that a random initializer makes, and is drawn only if it is used.

    Users of Sonnet write `snt.Variable(w_init([3, 4], dtype))`. In `apply` the variable is there
    already, so it needs neither the value nor a random key.

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

    def __getitem__(self, index: Any) -> Any:
        return self._draw()[index]

    def __len__(self) -> int:
        return len(self._draw())

    def __float__(self) -> float:
        return float(self._draw())

    def __int__(self) -> int:
        return int(self._draw())

    def __bool__(self) -> bool:
        return bool(self._draw())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            return object.__getattribute__(self, name)  # raises
        return getattr(self._draw(), name)


def _drawn(x: Any) -> Any:
    return x.__jax_array__() if isinstance(x, LateValue) else x


add_operators(LateValue, _drawn)


# So that functions of JAX which compile take it too.
jax.tree_util.register_pytree_node(
    LateValue, lambda late: ((late.__jax_array__(),), None), lambda _, children: children[0]
)


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
