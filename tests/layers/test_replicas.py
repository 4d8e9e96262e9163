"""Statistics and gradients over four devices of the CPU, against one device, with `check_vma` on and off."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = np.arange(16.0, dtype=np.float32).reshape(8, 2)

PROGRAM = """
import warnings
import jax, jax.numpy as jnp, numpy as np, optax, purestate as ps

P, AxisType = jax.sharding.PartitionSpec, jax.sharding.AxisType
mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
x = jnp.arange(16.0).reshape(8, 2)
MEAN = "batch_norm/~/mean_ema"

def norm(**options):
    return ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9, **options)(x, is_training=True))

params, state = norm().init(None, x)
_, whole = norm().apply(params, state, None, x)
assert whole[MEAN]["average"].ravel().tolist() == [7.0, 8.0] or np.allclose(whole[MEAN]["average"], [7, 8])

def sharded(f, check_vma, in_state=P(), out_state=P()):
    step = lambda params, state, x: f.apply(params, state, None, x)
    specs = dict(in_specs=(P(), in_state, P("data")), out_specs=(P("data"), out_state))
    return jax.shard_map(step, mesh=mesh, check_vma=check_vma, **specs)

def error_of(run):
    try:
        run()
    except Exception as error:
        return error

for wrap in (lambda f: f, jax.jit):
    for check_vma in (True, False):
        # Of one shard alone: an error that names the path, and never those of the first shard in silence.
        for f in (norm(), norm(sync=None)):
            error = error_of(lambda: wrap(sharded(f, check_vma))(params, state, x))
            assert isinstance(error, ps.errors.BatchedStateError), error
            assert MEAN in str(error) and "sync=True" in str(error) and "'data'" in str(error), error
        for f in (norm(sync=True), norm(cross_replica_axis="data")):
            out, new = wrap(sharded(f, check_vma))(params, state, x)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), new, whole)
        # Each shard its own, on purpose.
        own = lambda params, state, x: jax.tree.map(lambda v: v[None], norm(sync=False).apply(params, state, None, x)[1])
        run = jax.shard_map(own, mesh=mesh, in_specs=(P(), P(), P("data")), out_specs=P("data"), check_vma=check_vma)
        np.testing.assert_allclose(wrap(run)(params, state, x)[MEAN]["average"][:, 0, 0], [1, 5, 9, 13], rtol=1e-5)
        # Their mean, taken afterwards.
        def mean(params, state, x):
            return jax.lax.pmean(norm(sync=False).apply(params, state, None, x)[1], "data")
        run = jax.shard_map(mean, mesh=mesh, in_specs=(P(), P(), P("data")), out_specs=P(), check_vma=check_vma)
        np.testing.assert_allclose(wrap(run)(params, state, x)[MEAN]["average"], [[7, 8]], rtol=1e-5)
        with ps.config.context(unsynced_state="off"):
            wrap(jax.shard_map(lambda *a: jax.lax.pmean(norm().apply(*a[:2], None, a[2])[1], "data"),
                               mesh=mesh, in_specs=(P(), P(), P("data")), out_specs=P(), check_vma=check_vma))(params, state, x)
        with ps.config.context(unsynced_state="warn"), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            error_of(lambda: wrap(sharded(norm(), check_vma))(params, state, x))
        assert any(MEAN in str(w.message) for w in caught)
# Where JAX tracks what differs, state that came in apart may stay apart.
step = lambda params, state, x: norm().apply(params, state, None, x)
apart = jax.tree.map(lambda v: jnp.broadcast_to(v, (4, *v.shape)), state)
def keep(params, state, x):
    new = step(params, jax.tree.map(lambda v: v[0], state), x)[1]
    return jax.tree.map(lambda v: v[None], new)
run = jax.shard_map(keep, mesh=mesh, in_specs=(P(), P("data"), P("data")), out_specs=P("data"))
np.testing.assert_allclose(run(params, apart, x)[MEAN]["average"][:, 0, 0], [1, 5, 9, 13], rtol=1e-5)
# In pmap each device has its own, as ever; `sync` and `cross_replica_axis` are right there too.
def mapped(f):
    return jax.pmap(lambda x: f.apply(params, state, None, x)[1], axis_name="data")(x.reshape(4, 2, 2))
np.testing.assert_allclose(mapped(norm())[MEAN]["average"][:, 0, 0], [1, 5, 9, 13], rtol=1e-5)
for f in (norm(sync=True), norm(cross_replica_axis="data")):
    np.testing.assert_allclose(mapped(f)[MEAN]["average"][:, 0, 0], [7] * 4, rtol=1e-5)
# Inside a transform, `ps.shard_map` says what becomes of it, and `sync` is right.
def inside(collections, **options):
    def f(x):
        return ps.shard_map(lambda x: ps.BatchNorm(True, True, 0.9, **options)(x, is_training=True), mesh=mesh,
                            in_specs=P("data"), out_specs=P("data"), collections=collections)(x)
    return ps.transform_with_state(f)
for f in (inside(None, sync=True), inside({"batch_stats": "mean"})):
    np.testing.assert_allclose(f.apply(params, state, None, x)[1][MEAN]["average"], [[7, 8]], rtol=1e-5)
# Embeddings by moving averages.
vq = ps.transform_with_state(lambda x: ps.nets.VectorQuantizerEMA(2, 3, 0.25, 0.9)(x, True))
no_params, vq_state = vq.init(0, x)
error = error_of(lambda: sharded(vq, False)(no_params, vq_state, x))
assert isinstance(error, ps.errors.BatchedStateError) and "ema_cluster_size" in str(error), error

# Modules of users, metrics and plain averages: the values of the whole batch, or an error.
class Users(ps.Module):
    def __call__(self, x, sync):
        mean = jax.lax.pmean(x.mean(0), "data") if sync else x.mean(0)
        ps.set_state("mean", 0.5 * ps.get_state("mean", mean.shape, init=jnp.zeros) + mean)
        return x
def metric(x, sync):
    ps.metrics.Mean(cross_replica_axis="data" if sync else None)(x)
    return x
def average(x, sync):
    ps.ExponentialMovingAverage(0.5)(jax.lax.pmean(x.mean(0), "data") if sync else x.mean(0))
    return x
for layer in (lambda x, sync: Users()(x, sync), metric, average):
    synced, unsynced, alone = (ps.transform_with_state(lambda x, s=s: layer(x, s)) for s in (True, False, False))
    first = alone.init(None, x)[1]
    expected = alone.apply({}, first, None, x)[1]
    for wrap in (lambda f: f, jax.jit):
        new = wrap(sharded(synced, False))({}, first, x)[1]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), new, expected)
        error = error_of(lambda: wrap(sharded(unsynced, False))({}, first, x))
        assert isinstance(error, ps.errors.BatchedStateError) and "'data'" in str(error), error
        with ps.config.context(unsynced_state="off"):  # which is the error's reason
            new = wrap(sharded(unsynced, False))({}, first, x)[1]
        assert not all(jax.tree.leaves(jax.tree.map(np.allclose, new, expected)))

# Gradients of replicated parameters: a loss of each device's own examples.
model = ps.transform(lambda x: ps.nets.MLP([5, 1])(x))
weights = model.init(jax.random.key(0), x)
loss = lambda params, x: (model.apply(params, None, x) ** 2).mean()
reference = jax.grad(loss)(weights, x)
for check_vma in (True, False):
    for wrap in (lambda f: f, jax.jit):
        run = wrap(jax.shard_map(lambda p, x: ps.pmean_gradients(jax.grad(loss)(p, x), "data"), mesh=mesh,
                                 in_specs=(P(), P("data")), out_specs=P(), check_vma=check_vma))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), run(weights, x), reference)
# What it is there for: the usual line is four times too large where JAX has summed already.
run = jax.shard_map(lambda p, x: jax.lax.pmean(jax.grad(loss)(p, x), "data"), mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
np.testing.assert_allclose(run(weights, x)["mlp/~/linear_1"]["b"], 4 * reference["mlp/~/linear_1"]["b"], rtol=1e-4)
# Parameters that are spread by hand, two axes, pmap.
def by_hand(p, x):
    return ps.pmean_gradients(jax.grad(loss)(jax.lax.pcast(p, "data", to="varying"), x), "data")
run = jax.shard_map(by_hand, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), run(weights, x), reference)
grid = jax.make_mesh((2, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
for check_vma in (True, False):
    run = jax.shard_map(lambda p, x: ps.pmean_gradients(jax.grad(loss)(p, x), ("a", "b")), mesh=grid,
                        in_specs=(P(), P(("a", "b"))), out_specs=P(), check_vma=check_vma)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), run(weights, x), reference)
run = jax.pmap(lambda x: ps.pmean_gradients(jax.grad(loss)(weights, x), "i"), axis_name="i")
got = jax.tree.map(lambda v: v[0], run(x.reshape(4, 2, 2)))
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), got, reference)

# Dropout: the same mask on all shards with one key, another on each when asked.
def masks(axis_name):
    f = ps.transform(lambda x: ps.dropout(ps.next_rng_key(axis_name=axis_name), 0.5, x))
    run = jax.shard_map(lambda x: f.apply({}, jax.random.key(0), x), mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    return np.asarray(run(jnp.ones([64, 8]))).reshape(4, 16, 8)
same, apart = masks(None), masks("data")
assert all((same[0] == mask).all() for mask in same)
assert len({mask.tobytes() for mask in apart}) == 4
print("all right")
"""


@pytest.mark.slow
def test_four_devices():
    code = (
        'import os; os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"\n'
        + PROGRAM
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.strip() == "all right"


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_an_axis_that_is_not_there_says_what_to_do(wrap):
    f = ps.transform_with_state(
        lambda x: ps.BatchNorm(True, True, 0.9, cross_replica_axis="data")(x, True)
    )
    words = r"'batch_norm'.*no axis 'data'.*jax.jit.*leave cross_replica_axis out.*axis_name='data'"
    with pytest.raises(ps.errors.LayerError, match=words):
        wrap(f.apply)(
            *ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9)(x, True)).init(
                None, X
            ),
            None,
            X,
        )
    with pytest.raises(ps.errors.MappingError, match=r"no axis 'data'.*jax.jit"):
        wrap(lambda grads: ps.pmean_gradients(grads, "data"))({"w": X})
    vq = ps.transform_with_state(
        lambda x: ps.nets.VectorQuantizerEMA(2, 3, 0.25, 0.9, cross_replica_axis="i")(x, True)
    )
    with pytest.raises(ps.errors.LayerError, match="no axis 'i'"):
        wrap(vq.init)(jax.random.key(0), X)


def test_sync_changes_nothing_on_one_device():
    def norm(**options):
        return ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9, **options)(x, True))

    params, state = norm().init(None, X)
    for sync in (True, False, None):
        out = norm(sync=sync).apply(params, state, None, X)
        jax.tree.map(np.testing.assert_array_equal, out, norm().apply(params, state, None, X))


def test_rows_of_a_vmap_have_a_mean_too():
    grads = {"w": jnp.arange(6.0).reshape(3, 2)}
    got = jax.vmap(lambda g: ps.pmean_gradients(g, "i"), axis_name="i")(grads)
    np.testing.assert_array_equal(got["w"], np.tile(grads["w"].mean(0), (3, 1)))
