"""Functions as modules, and modules as functions."""

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])


def f(x: jax.Array, train: bool = True) -> jax.Array:
    return x


reveal_type(ps.layer_stack(3)(f)(x, train=False))  # Array
reveal_type(ps.layer_stack(3)(ps.Linear(3))(x))  # Array
ps.layer_stack(3)(f)("x")
# in pyright: error: "Array"
# in mypy: error: No overload
ps.layer_stack("3")(f)  # error: "int"

reveal_type(ps.to_module(f)()(x))  # Array
reveal_type(ps.to_module(f)(name="f").module_name)  # str
ps.to_module(f)()("x")  # error: "Array"
ps.to_module(f)(x)  # error: "str | None"

reveal_type(ps.purify(f)(ps.get_variables(), None, x))
# in both: tuple[Array, dict[str, dict[str, dict[str, Any]]]]
ps.purify(f)(ps.get_variables(), x)
# in pyright: error: "x"
# in mypy: error: Too few arguments

reveal_type(ps.BatchApply(f)(x))  # Array
reveal_type(ps.BatchApply(ps.Linear(3))(x))  # Array
ps.BatchApply(f)("x")  # error: "Array"
reveal_type(ps.expand_apply(f)(x))  # Array
reveal_type(ps.Deferred(lambda: ps.Linear(3)).target)  # Linear
reveal_type(ps.Deferred(lambda: ps.Linear(3))(x))  # Array

reveal_type(ps.Sequential([ps.Linear(3), jax.nn.relu]))  # Sequential
# What goes from layer to layer is Any.
reveal_type(ps.Sequential([ps.Linear(3), jax.nn.relu])(x))  # Any
ps.Sequential([ps.Linear(3), 3])
# in pyright: error: "Literal[3]"
# in mypy: error: incompatible type "int"
ps.Sequential(ps.Linear(3))  # error: "Linear"

inner = ps.transform(f)
# What `init` of another library returns is not known.
reveal_type(ps.lift(inner.init)(None, x))  # dict[str, dict[str, Any]]
reveal_type(ps.lift_with_state(ps.transform_with_state(f).init))
# in both: tuple[(...) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]], LiftWithStateUpdater]

reveal_type(ps.transparent_lift(inner.init)(None, x))  # dict[str, dict[str, Any]]
reveal_type(ps.transparent_lift_with_state(ps.transform_with_state(f).init)[1])
# in both: LiftWithStateUpdater

with ps.name_scope("part"):
    pass
reveal_type(ps.share(ps.Embed(3, 4).embeddings))  # Any
