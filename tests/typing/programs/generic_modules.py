"""Generic modules, and protocols of modules."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])
Layer = TypeVar("Layer", bound=ps.Module)
Out = TypeVar("Out")


class Residual(ps.Module, Generic[Layer]):
    def __init__(self, layer: Layer, name: str | None = None):
        super().__init__(name=name)
        self.layer = layer


class Apply(ps.Module, Generic[Out]):
    def __init__(self, f: Callable[[jax.Array], Out]):
        super().__init__()
        self.f = f

    def __call__(self, x: jax.Array) -> Out:
        return self.f(x)


reveal_type(Residual(ps.Linear(3)))  # Residual[Linear]
reveal_type(Residual(ps.Linear(3)).layer)  # Linear
reveal_type(Apply(ps.Linear(3))(x))  # Array
reveal_type(Apply(lambda x: x.shape)(x))  # tuple[int, ...]
Residual(3)
# in pyright: error: "Module"
# in mypy: error: Value of type variable "Layer"


class Encoder(ps.ModuleProtocol, Protocol):
    def encode(self, x: jax.Array) -> jax.Array: ...


class Net(ps.Module):
    def encode(self, x: jax.Array) -> jax.Array:
        return x


def encoded(encoder: Encoder) -> jax.Array:
    return encoder.encode(x)


encoded(Net())
encoded(ps.Linear(3))  # error: "Encoder"
