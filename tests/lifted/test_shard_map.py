"""`shard_map` on four devices of the CPU, against one device."""

import subprocess
import sys

import pytest

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np, purestate as ps

P, AxisType = jax.sharding.PartitionSpec, jax.sharding.AxisType
mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
x = jax.random.normal(jax.random.key(0), (8, 3))

def net(x, axis=None):
    return ps.BatchNorm(True, True, 0.9, cross_replica_axis=axis)(ps.Linear(2)(x), is_training=True)

def sharded(f, **options):
    return lambda x: ps.shard_map(f, mesh=mesh, in_specs=P("data"), out_specs=P("data"), **options)(x)

def close(a, b):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), a, b)

whole = ps.transform_with_state(net)
params, first = whole.init(jax.random.key(1), x)
expected, expected_state = whole.apply(params, first, None, x)

# Synchronised by the layer: as on one device; the gradient too.
f = ps.transform_with_state(sharded(lambda x: net(x, "data")))
close(f.init(jax.random.key(1), x), (params, first))
for apply in (f.apply, jax.jit(f.apply)):
    close(apply(params, first, None, x), (expected, expected_state))
loss = lambda f: lambda p: (f.apply(p, first, None, x)[0] ** 3).sum()
close(jax.grad(loss(f))(params), jax.grad(loss(whole))(params))

# Each shard normalizes alone; the statistics are combined.
rows = [whole.apply(params, first, None, x[i : i + 2]) for i in range(0, 8, 2)]
hidden = jnp.stack([state["batch_norm/~/mean_ema"]["hidden"] for _, state in rows])
for mode, combined in (("mean", hidden.mean(0)), ("sum", hidden.sum(0)), ("first", hidden[0]), (0, hidden)):
    g = ps.transform_with_state(sharded(net, collections={"batch_stats": mode}))
    start = g.init(jax.random.key(1), x)[1]
    out, state = jax.jit(g.apply)(params, start, None, x)
    close(out, jnp.concatenate([out for out, _ in rows]))
    close(state["batch_norm/~/mean_ema"]["hidden"], combined)
    assert state["batch_norm/~/mean_ema"]["counter"].dtype == jnp.int32
    _, again = g.apply(params, state, None, x)
    assert jax.tree.map(jnp.shape, again) == jax.tree.map(jnp.shape, state)

# Not synchronised, and without a word: an error that names the path, with and without check_vma.
for options in ({}, {"check_vma": False}):
    try:
        ps.transform_with_state(sharded(net, **options)).init(jax.random.key(1), x)
    except ps.errors.BatchedStateError as error:
        for word in ("'batch_norm/~/mean_ema/hidden'", "'batch_stats'", "'mean'", "cross_replica_axis"):
            assert word in str(error), error
    else:
        raise AssertionError("no error")

# Parameters of each shard's own.
h = ps.transform(sharded(lambda x: ps.Linear(2)(x), collections={"params": 0}))
own = h.init(jax.random.key(1), x)
assert jax.tree.map(jnp.shape, own) == {"linear": {"b": (4, 2), "w": (4, 3, 2)}}
own = jax.tree.map(lambda v: jax.random.normal(jax.random.key(5), v.shape), own)
expected = jnp.einsum("sbi,sio->sbo", x.reshape(4, 2, 3), own["linear"]["w"]) + own["linear"]["b"][:, None]
close(h.apply(own, None, x), expected.reshape(8, 2))

# Keys: the same on all shards, unless asked to differ.
def draw(x):
    return ps.next_rng_key(axis_name="data"), ps.next_rng_key()
k = ps.transform(lambda x: ps.shard_map(
    lambda x: [jax.random.key_data(key)[None] for key in draw(x)], mesh=mesh, in_specs=P("data"), out_specs=P("data"))(x))
differing, same = k.apply({}, jax.random.key(2), x)
assert len(np.unique(differing, axis=0)) == 4
assert len(np.unique(same, axis=0)) == 1

# What is sown is stacked by shard.
s = ps.transform_with_collections(sharded(lambda x: (ps.sow("m", x.mean()), x)[1]))
_, updated = s.apply({}, None, x, mutable="intermediates")
close(updated["intermediates"]["~"]["m"][0], x.reshape(4, 6).mean(1))
print("all is well")
"""


# On a mesh whose axes are explicit arrays say in their type how they are sharded; by hand it is done with whole ones.
EXPLICIT = (
    PROGRAM.partition("# Each shard normalizes alone")[0]
    .replace("AxisType.Auto", "AxisType.Explicit")
    .replace("(1), x)", "(1), np.array(x))", 1)
    .replace("whole.apply(params, first, None, x)", "whole.apply(params, first, None, np.array(x))")
    .replace(
        "# Synchronised",
        "x = jax.device_put(x, jax.sharding.NamedSharding(mesh, P('data')))\n# Synchronised",
    )
    .partition("loss = ")[0]
    + "print('all is well')"
)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(PROGRAM, id="auto", marks=pytest.mark.slow),
        pytest.param(EXPLICIT, id="explicit"),
    ],
)
def test_on_four_devices(program):
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
            "JAX_PLATFORMS": "cpu",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.strip().endswith("all is well"), ran.stderr[-3000:]
