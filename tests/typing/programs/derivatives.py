"""Derivatives inside, functions seen through others, and functions from outside."""

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])


def f(x: jax.Array) -> jax.Array:
    return x


reveal_type(ps.vjp(f, x))  # tuple[Array, (Any) -> tuple[Any, ...]]
reveal_type(ps.jvp(f, (x,), (x,)))  # tuple[Array, Array]
reveal_type(ps.linearize(f, x))  # tuple[Array, (...) -> Array]
reveal_type(ps.jacfwd(f))  # (x: Array) -> Any
reveal_type(ps.jacrev(f))  # (x: Array) -> Any
reveal_type(ps.hessian(f))  # (x: Array) -> Any
reveal_type(ps.closure_convert(f, x))  # tuple[(...) -> Any, list[Any]]
reveal_type(ps.map_variables(f, lambda value, context: value))  # (x: Array) -> Array
reveal_type(ps.init_with_output(ps.transform(f)))
# in both: (...) -> tuple[Any, dict[str, dict[str, Array]]]
net = ps.configured(f, {"linear": ps.rules.freeze()})
reveal_type(net)  # Configured
reveal_type(ps.explain_rules(net))  # (...) -> Explanation
reveal_type(ps.operation_costs(f))  # (...) -> OperationCosts
