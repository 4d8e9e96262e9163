"""`transform`, `transform_with_state` and what changes pairs."""

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])
key = jax.random.key(0)


def f(x: jax.Array, train: bool = True) -> jax.Array:
    return x


class Net(ps.Module):
    def __call__(self, x: jax.Array, scale: float) -> tuple[jax.Array, int]:
        return x, 1


t = ps.transform(f)
reveal_type(t)
# in both: Transformed[Init[(x: Array, train: bool =)], Apply[(x: Array, train: bool =), Array]]
reveal_type(t.init(key, x))  # dict[str, dict[str, Array]]
reveal_type(t.apply({}, None, x, train=False))  # Array
reveal_type(ps.transform(Net).init(None, x, 0.1))  # dict[str, dict[str, Array]]
reveal_type(ps.transform(Net).apply({}, None, x, 0.1))  # tuple[Array, int]
reveal_type(ps.transform(lambda x: ps.Linear(3)(x)).apply({}, None, x))  # Array

t.init(x, x)
t.init(key)  # error: "x"
t.init("key", x)
# in pyright: error: "rng"
# in mypy: error: incompatible type "str"
t.apply({}, None)  # error: "x"
t.apply({}, x)  # error: "x"
t.apply({}, None, "x")  # error: "Array"
t.apply({}, None, x, trian=False)  # error: trian
t.apply(x, None, x)  # error: "Array"
ps.transform(Net).apply({}, None, x)  # error: scale
ps.transform(3)  # error: transform

s = ps.transform_with_state(f)
params, state = s.init(key, x)
reveal_type(s)
# in both: TransformedWithState[InitWithState[(x: Array, train: bool =)], ApplyWithState[(x: Array, train: bool =), Array]]
reveal_type(params)  # dict[str, dict[str, Array]]
reveal_type(state)  # dict[str, dict[str, Any]]
reveal_type(s.apply(params, state, None, x))  # tuple[Array, dict[str, dict[str, Any]]]
s.apply(params, state, x)  # error: "x"
s.apply(params, state, None, x, False, 3)
# in pyright: error: Expected 5 positional arguments
# in mypy: error: Too many arguments
ps.transform_with_state(f, rng_mod="path")
# in pyright: error: No overloads
# in mypy: error: rng_mod
# in mypy: error: No overload

w = ps.without_apply_rng(t)
reveal_type(w.apply(params, x))  # Array
w.apply(params, None, x)
# in both: error: "None"
# in both: error: "bool"
reveal_type(ps.without_apply_rng(s).apply(params, state, x))
# in both: tuple[Array, dict[str, dict[str, Any]]]
reveal_type(ps.without_state(s))
# in both: Transformed[Init[(x: Array, train: bool =)], Apply[(x: Array, train: bool =), Array]]
reveal_type(ps.with_empty_state(t))
# in both: TransformedWithState[InitWithState[(x: Array, train: bool =)], ApplyWithState[(x: Array, train: bool =), Array]]
ps.without_state(t)  # error: "Transformed
reveal_type(jax.jit(t.apply)(params, None, x))  # Any
