"""JAX transforms inside: each keeps the arguments and the result of the function."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

import purestate as ps

x = jnp.ones([8, 3])


def f(x: jax.Array, train: bool = True) -> jax.Array:
    return x


def step(carry: jax.Array, x: int) -> tuple[jax.Array, str]:
    return carry, ""


def with_aux(x: jax.Array, y: int) -> tuple[jax.Array, str]:
    return x, ""


reveal_type(ps.vmap(f, split_rng=False))  # (x: Array, train: bool =) -> Array
reveal_type(ps.remat(f))  # (x: Array, train: bool =) -> Array
reveal_type(ps.jit(f))  # (x: Array, train: bool =) -> Array
spec = PartitionSpec("data")  # in mypy: error: Call to untyped function "P"
reveal_type(ps.shard_map(f, in_specs=spec, out_specs=spec))  # (x: Array, train: bool =) -> Array
reveal_type(ps.experimental.optimize_rng_use(f))  # (x: Array, train: bool =) -> Array
reveal_type(ps.vmap(ps.Linear(3), split_rng=False)(x))  # Array
ps.remat(f)("x")  # error: "Array"
ps.vmap(f, split_rng=False)(x, trian=True)  # error: trian
ps.vmap(f, split_rgn=False)  # error: split_rgn

reveal_type(ps.scan(step, x, 3))  # tuple[Array, str]
reveal_type(ps.map(f, x))  # Array
reveal_type(ps.scan(lambda c, x: (c + x, x), x, x))  # tuple[Array, Array]
ps.scan(step, 1, 3)
# in pyright: error: "Literal[1]"
# in mypy: error: Argument 1 to "scan" has incompatible type
ps.scan(f, x, x)
# in pyright: error: "Array"
# in mypy: error: Argument 1 to "scan" has incompatible type

reveal_type(ps.cond(True, f, f, x))  # Array
reveal_type(ps.cond(True, lambda: 1, lambda: 2))  # int
reveal_type(ps.cond(True, lambda a, b: a, lambda a, b: b, x, x))  # Array
reveal_type(ps.switch(0, [f, f], x))  # Array
reveal_type(ps.switch(0, [lambda: x, lambda: x]))  # Array
reveal_type(ps.fori_loop(0, 3, lambda i, x: x, x))  # Array
reveal_type(ps.while_loop(lambda x: x.sum() < 3, lambda x: x + 1, x))  # Array
ps.cond(True, f, f, "x")
# in pyright: error: "Array"
# in mypy: error: Argument 2 to "cond"
# in mypy: error: Argument 3 to "cond"
ps.switch(0, f, x)
# in pyright: error: "Sequence
# in mypy: error: No overload
ps.fori_loop(0, 3, lambda x: x, x)
# in pyright: error: too few positional parameters
# in mypy: error: Argument 3 to "fori_loop"
# in mypy: error: Cannot infer type of lambda

reveal_type(ps.grad(f))  # (Array, train: bool =) -> Array
reveal_type(ps.grad(f)(x))  # Array
reveal_type(ps.grad(with_aux, has_aux=True)(x, 3))  # tuple[Array, str]
reveal_type(ps.value_and_grad(f)(x))  # tuple[Array, Array]
reveal_type(ps.value_and_grad(with_aux, has_aux=True)(x, 3))  # tuple[tuple[Array, str], Array]
reveal_type(ps.value_and_grad(with_aux, argnums=(0, 1))(x, 3))  # tuple[tuple[Array, str], Any]
ps.grad(f)("x")  # error: "Array"

reveal_type(ps.eval_shape(f, x))  # ShapeDtypeStruct
reveal_type(ps.eval_shape(with_aux, x, 3))  # Any
reveal_type(ps.pmean_gradients({"w": x}, "data"))  # dict[str, Array]
