"""The user's own modules: constructors, calls, methods, properties, attributes."""

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])


class Net(ps.Module):
    count = ps.state_attr([], jnp.int32, jnp.zeros)
    scale: jax.Array = ps.param_attr([3], init=jnp.ones)

    def __init__(self, size: int, name: str | None = None):
        super().__init__(name=name)
        self.size = size
        self.first = ps.Linear(size)

    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, int]:
        return self.first(x), self.size

    def encode(self, x: jax.Array) -> jax.Array:
        return self.first(x)

    @property
    def width(self) -> int:
        return self.size

    @ps.transparent
    def outside(self, x: jax.Array) -> jax.Array:
        return x

    @ps.name_like("__call__")
    def named(self, x: jax.Array) -> float:
        return float(x)

    @staticmethod
    def doubled(x: int) -> int:
        return 2 * x

    @classmethod
    def small(cls) -> "Net":
        return cls(1)


net = Net(3)
reveal_type(net)  # Net
reveal_type(net(x, train=True))  # tuple[Array, int]
reveal_type(net.encode(x))  # Array
reveal_type(net.width)  # int
reveal_type(net.first)  # Linear
reveal_type(net.outside(x))  # Array
reveal_type(net.named(x))  # float
reveal_type(net.doubled(3))  # int
reveal_type(Net.small())  # Net
reveal_type(net.count)  # Any
reveal_type(net.scale)  # Array

Net()  # error: size
Net(3, nam="net")  # error: nam
net(x)  # error: train
net("x", train=True)  # error: "Array"
net.encode(x, 1)
# in pyright: error: Expected 1 positional argument
# in mypy: error: Too many arguments
net.outside()  # error: "x"
net.named(1)  # error: "Array"
net.widht  # error: widht


class Deep(Net):
    def __init__(self) -> None:
        super().__init__("many")
        # in pyright: error: "size"
        # in mypy: error: incompatible type "str"; expected "int"


class Untyped(ps.Module):
    def __call__(self, x):
        # in pyright: error: Type annotation is missing for parameter "x"
        # in pyright: error: Type of parameter "x" is unknown
        # in mypy: error: missing a type annotation
        return ps.Linear(2)(x)


reveal_type(Untyped())  # Untyped


class SetUp(ps.SetUpModule):
    def set_up(self) -> None:
        self.linear = ps.Linear(2)

    def forward(self, x: jax.Array) -> jax.Array:
        return self.linear(x)


reveal_type(SetUp())  # SetUp
reveal_type(SetUp()(x))  # Array
reveal_type(SetUp().forward(x))  # Array
