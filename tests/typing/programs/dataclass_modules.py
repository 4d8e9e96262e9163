"""Modules that are dataclasses."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])


@dataclass
class Net(ps.Module):
    sizes: tuple[int, ...]
    rate: float = 0.1
    tags: list[str] = field(default_factory=list[str])
    name: str | None = None

    def __call__(self, x: jax.Array) -> jax.Array:
        return ps.nets.MLP(self.sizes)(x)


net = Net((3, 2), name="net")
reveal_type(net)  # Net
reveal_type(net(x))  # Array
reveal_type(net.sizes)  # tuple[int, ...]
reveal_type(net.name)  # str | None
reveal_type(ps.transform(lambda x: Net((1,))(x)).init)  # Init[(x: Any)]

Net()  # error: sizes
Net(3)  # error: "tuple[int, ...]"
Net((3,), rat=0.1)  # error: rat
net(1)  # error: "Array"


@dataclass
class Wide(Net):
    factor: int = 2


reveal_type(Wide((3,), factor=4))  # Wide
Wide((3,), factor="4")  # error: "int"
