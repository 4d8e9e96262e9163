"""Layers: arguments of constructors and calls, and results."""

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])

reveal_type(ps.Linear(32))  # Linear
reveal_type(ps.Linear(32)(x))  # Array
reveal_type(ps.Conv2D(16, kernel_shape=3)(x))  # Array
reveal_type(ps.BatchNorm(True, True, decay_rate=0.9)(x, is_training=True))  # Array
reveal_type(ps.LayerNorm(-1, True, True)(x))  # Array
reveal_type(ps.Embed(10, 4).embeddings)  # Array
reveal_type(ps.MultiHeadAttention(2, 4)(x, x, x))  # Array
reveal_type(ps.nets.MLP([8, 2]).reverse())  # MLP
reveal_type(ps.Dropout(0.1)(x, is_training=True))  # Array
reveal_type(ps.max_pool(x, 2, 2, "SAME"))  # Array
reveal_type(ps.dropout(ps.next_rng_key(), 0.1, x))  # Array
reveal_type(ps.Linear(32).params_dict())  # dict[str, Array]
reveal_type(ps.Linear(32).name)  # str | Any
reveal_type(ps.Linear(32).output_size)  # int

ps.Linear(3, with_bas=True)  # error: with_bas
ps.Linear("3")
# in pyright: error: "output_size"
# in mypy: error: incompatible type "str"; expected "int"
ps.Conv2D(3)  # error: kernel_shape
ps.Linear(3)("x")  # error: "Array"
ps.Linear(3)(x, is_training=True)  # error: is_training
ps.BatchNorm(True, True, 0.9)(x)  # error: is_training
ps.Linear(3).wiht_bias  # error: wiht_bias
ps.Liner(3)
# in pyright: error: "Liner" is not a known attribute
# in mypy: error: no attribute "Liner"

kernel: ps.typing.Initializer = ps.initializers.RandomNormal(stddev=0.1)
ps.Linear(3, w_init=kernel)
ps.Linear(3, w_init=jax.nn.initializers.normal())
ps.Linear(3, w_init=0.1)  # error: "float"


def reversed_layers(layers: list[ps.SupportsCall]) -> list[ps.SupportsCall]:
    return layers[::-1]


reversed_layers([ps.Linear(3), ps.nets.MLP([2])])
reversed_layers([ps.Linear(3), jnp.tanh])  # error: SupportsCall
