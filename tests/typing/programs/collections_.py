"""`transform_with_collections`: variables, and what `mutable` changes in the result."""

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])


def f(x: jax.Array, train: bool = True) -> int:
    return 1


c = ps.transform_with_collections(f)
variables = c.init(None, x)
reveal_type(c)
# in both: TransformedWithCollections[InitCollections[(x: Array, train: bool =)], ApplyCollections[(x: Array, train: bool =), int]]
reveal_type(variables)  # dict[str, dict[str, dict[str, Any]]]
reveal_type(c.apply(variables, None, x))  # int
reveal_type(c.apply(variables, None, x, mutable=False))  # int
reveal_type(c.apply(variables, None, x, mutable=True))
# in both: tuple[int, dict[str, dict[str, dict[str, Any]]]]
reveal_type(c.apply(variables, None, x, mutable=["state"]))
# in both: tuple[int, dict[str, dict[str, dict[str, Any]]]]
reveal_type(c.apply(variables, None, x, mutable=ps.AllBut("params")))
# in both: tuple[int, dict[str, dict[str, dict[str, Any]]]]

c.init(None)  # error: "x"
c.apply(variables, x)
# in pyright: error: No overloads
# in mypy: error: No overload
c.apply(variables, None, "x")
# in pyright: error: "Array"
# in mypy: error: No overload
# With `mutable`, Python's types do not check the arguments of `f`.
c.apply(variables, None, "x", mutable=True)

counter = ps.variable("counts", "n", [], jnp.int32, jnp.zeros)
reveal_type(counter)  # Variable
reveal_type(counter.value)  # Any
counter.valu  # error: valu
ps.set_variable("counts", "n", 1)
reveal_type(ps.has_variable("counts", "n"))  # bool
