"""Initial values of large models, and traces of a function."""

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])


def f(x: jax.Array, flag: bool = True) -> jax.Array:
    return x


reveal_type(ps.fast_init(ps.transform(f)))  # Init[(x: Array, flag: bool =)]
reveal_type(ps.fast_init(ps.transform_with_state(f))(0, x, flag=False))
# in both: tuple[dict[str, dict[str, Array]], dict[str, dict[str, Any]]]
reveal_type(ps.fast_init(ps.transform_with_collections(f))(0, x))
# in both: dict[str, dict[str, dict[str, Any]]]
reveal_type(ps.assert_max_traces(f, 1))  # (x: Array, flag: bool =) -> Array
reveal_type(ps.explain_retrace(f, lambda retrace: print(retrace.changes)))
# in both: (x: Array, flag: bool =) -> Array
reveal_type(ps.testing.no_traces())  # _GeneratorContextManager[None, None, None]
