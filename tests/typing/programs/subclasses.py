"""Subclasses of layers."""

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])


class Head(ps.Linear):
    def __init__(self, name: str | None = None):
        super().__init__(10, with_bias=False, name=name)


class Net(ps.Sequential):
    def __init__(self) -> None:
        super().__init__([ps.Linear(3), jax.nn.relu])

    def __call__(self, inputs: jax.Array) -> jax.Array:
        out: jax.Array = super().__call__(inputs)
        return out


class Norm(ps.BatchNorm):
    def __init__(self) -> None:
        super().__init__(True, True, decay_rate=0.9)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        # in pyright: error: Method "__call__" overrides class "BatchNorm"
        # in mypy: error: Signature of "__call__" incompatible with supertype
        return super().__call__(inputs, is_training=True)


reveal_type(Head())  # Head
reveal_type(Head()(x))  # Array
reveal_type(Head(name="head").with_bias)  # bool
reveal_type(Net()(x))  # Array
reveal_type(Net().layers)  # tuple[(...) -> Any, ...]
reveal_type(Norm()(x))  # Array
reveal_type(ps.transform(Head).apply({}, None, x))  # Array
reveal_type(ps.bind(Net, {})(x))  # Array
Head(10)
# in pyright: error: "name"
# in mypy: error: "Head"
Net()("x")  # error: "Array"
Norm()(x, is_training=True)  # error: is_training
