"""Tracing again."""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from purestate._inspection.tracing import traced_again


def test_what_is_cached_runs_again():
    traces = []

    @jax.jit
    def f(x):
        traces.append(x)
        return x + 1

    @jax.jit
    def g(x):
        return jax.lax.scan(lambda c, x: (f(c), f(x)), x[0], x)

    g(jnp.ones([3]))
    g(jnp.ones([3]))
    before = len(traces)
    jax.eval_shape(traced_again(g), jnp.ones([3]))
    assert len(traces) == before + 1
    jax.eval_shape(traced_again(g), jnp.ones([3]))
    assert len(traces) == before + 2
    g(jnp.ones([3]))
    assert len(traces) == before + 2


def test_axes_have_names():
    shape = jax.eval_shape(
        traced_again(lambda x: jax.lax.psum(x, "batch"), [("batch", 8)]), jnp.ones([3])
    )
    assert shape.shape == (3,)


def test_shard_map_and_pmap():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("data")
    f = jax.shard_map(
        lambda x: jax.lax.psum(x, "data"), mesh=mesh, in_specs=spec, out_specs=PartitionSpec()
    )
    assert jax.eval_shape(traced_again(jax.jit(f)), jnp.ones([3])).shape == (3,)
    assert jax.eval_shape(traced_again(jax.pmap(lambda x: x + 1)), jnp.ones([1, 3])).shape == (1, 3)
