"""`multi_transform`: a tree of functions over one set of parameters."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])


def f(x: jax.Array, train: bool = True) -> jax.Array:
    return x


def g(x: jax.Array) -> int:
    return 1


class Functions(NamedTuple):
    encode: Callable[[jax.Array], jax.Array]
    decode: Callable[[jax.Array], int]


m = ps.multi_transform(lambda: (f, (f, g)))
reveal_type(m.init(None, x))  # dict[str, dict[str, Array]]
reveal_type(m.apply[0]({}, None, x))  # Array
reveal_type(m.apply[1]({}, None, x))  # int
m.init(None)  # error: "x"
m.apply[1]({}, None, x, train=True)  # error: train
m.apply[2]
# in pyright: error: Index 2 is out of range
# in mypy: error: Tuple index out of range

reveal_type(ps.multi_transform(lambda: (f, g)).apply({}, None, x))  # int
reveal_type(ps.multi_transform(lambda: (f, {"g": g})).apply["g"]({}, None, x))  # int
reveal_type(ps.multi_transform_with_state(lambda: (f, (f, g))).apply[1]({}, {}, None, x))
# in both: tuple[int, dict[str, dict[str, Any]]]
# The functions of another tree are Any.
reveal_type(ps.multi_transform(lambda: (f, Functions(f, g))).apply.encode)  # Any
reveal_type(ps.multi_transform(lambda: (f, [f, g])).apply)  # Any
reveal_type(ps.without_apply_rng(m).init)  # Init[(x: Array, train: bool =)]
