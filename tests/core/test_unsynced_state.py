"""State of one shard never comes out of `jax.shard_map` as if it were that of all.

Each layer and metric with state, and modules of users, in each transform over devices, in both kinds of
`apply`: a program that combines the shards is let through, and one that does not is not.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import purestate as ps
from purestate._core.observer import Observer, observe
from purestate._core.trace_guard import running_shard_map

MESH = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
X = jnp.arange(8.0).reshape(4, 2)
LABELS = jnp.array([0, 1, 1, 0])


def pmean(x, sync):
    return jax.lax.pmean(x, "data") if sync else x


class UsersMean(ps.Module):
    def __call__(self, x, combine):
        mean = combine(x.mean(0))
        ps.set_state("mean", 0.9 * ps.get_state("mean", mean.shape, init=jnp.zeros) + mean)


class UsersMetric(ps.metrics.Metric):
    sums = {"total": jnp.float32}

    def __call__(self, x):
        self.add(total=x.sum())


class InCollection(ps.Module):
    def __call__(self, x):
        ps.get_state("last", x.shape, init=jnp.zeros, collection="cache")
        ps.set_state("last", x, collection="cache")


def combined(combine):
    return lambda x, sync: UsersMean()(x, combine if sync else lambda mean: mean)


def mean_of_all(mean):
    return jax.lax.all_gather(mean, "data").mean(0)


def ring(mean):
    return jax.lax.ppermute(mean, ("data",), [(0, 0)])


def axis(sync):
    return {"cross_replica_axis": "data" if sync else None}


def multi_metric(x, sync):
    metric = ps.metrics.MultiMetric(a=ps.metrics.Mean(**axis(sync)), b=ps.metrics.Sum(**axis(sync)))
    metric(a=x, b=x)


LAYERS = {
    "BatchNorm, axis": lambda x, sync: ps.BatchNorm(True, True, 0.9, **axis(sync))(x, True),
    "BatchNorm, sync": lambda x, sync: ps.BatchNorm(True, True, 0.9, sync=sync)(x, True),
    "VectorQuantizerEMA": lambda x, sync: ps.nets.VectorQuantizerEMA(2, 3, 0.25, 0.9, **axis(sync))(
        x, True
    ),
    "ExponentialMovingAverage": lambda x, sync: ps.ExponentialMovingAverage(0.9)(
        pmean(x.mean(0), sync)
    ),
    "EMAParamsTree": lambda x, sync: ps.EMAParamsTree(0.9)({"m": {"w": pmean(x.mean(0), sync)}}),
    "SpectralNorm": lambda x, sync: ps.SpectralNorm()(pmean(x, sync)),
    "SNParamsTree": lambda x, sync: ps.SNParamsTree()({"m": {"w": pmean(x, sync)}}),
    "Mean": lambda x, sync: ps.metrics.Mean(**axis(sync))(x),
    "Mean of a mean": lambda x, sync: ps.metrics.Mean()(pmean(x.mean(), sync)),
    "Sum": lambda x, sync: ps.metrics.Sum(**axis(sync))(x),
    "Accuracy": lambda x, sync: ps.metrics.Accuracy(**axis(sync))(x, LABELS * (x[:, 0] > 0)),
    "MultiMetric": multi_metric,
    "a user's metric": lambda x, sync: UsersMetric(**axis(sync))(x),
    "a user's module": combined(lambda mean: jax.lax.pmean(mean, "data")),
    "a user's module, all_gather": combined(mean_of_all),
    "a user's module, ring": combined(ring),
    "a collection of its own": lambda x, sync: InCollection()(pmean(x, sync)),
    "a variable": lambda x, sync: setattr(
        ps.variable("stats", "mean", jnp.zeros, (2,)), "value", pmean(x.mean(0), sync)
    ),
    "state with no initial value": lambda x, sync: ps.set_state("last", pmean(x, sync)),
}
NOT_TRACKED = {"a user's module, all_gather", "a user's module, ring"}
"""These JAX refuses with `check_vma=True`, although they are right."""


def with_state(f):
    """Returns a function that makes variables, and one that takes a step with them."""
    pair = ps.transform_with_state(f)
    return (
        lambda *args: pair.init(jax.random.key(0), *args),
        lambda variables, *args: pair.apply(*variables, None, *args)[1],
    )


def with_collections(f):
    pair = ps.transform_with_collections(f)
    return (
        lambda *args: pair.init(jax.random.key(0), *args),
        lambda variables, *args: pair.apply(variables, None, *args, mutable=ps.AllBut("params"))[1],
    )


KINDS = {"transform_with_state": with_state, "transform_with_collections": with_collections}


def program(layer, kind, sync):
    """Returns variables, and a step over them and `X`."""
    init, step = KINDS[kind](lambda x: (LAYERS[layer](x, sync), None)[1])
    # `init` outside: there no axis is bound, and no layer needs one for its initial state.
    shapes = jax.eval_shape(jax.vmap(init, axis_name="data"), X[None])
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), shapes)
    return variables, step


def sharded(step, check_vma=False, out_specs=P()):
    return jax.shard_map(
        step, mesh=MESH, in_specs=(P(), P("data")), out_specs=out_specs, check_vma=check_vma
    )


@pytest.mark.parametrize("sync", [True, False], ids=["synced", "unsynced"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", LAYERS)
def test_shard_map(layer, kind, sync):
    variables, step = program(layer, kind, sync)
    run = sharded(step)
    if sync:
        jax.eval_shape(run, variables, X)
        return
    with pytest.raises(ps.errors.BatchedStateError, match=r"'data'.*unsynced_state='off'"):
        jax.eval_shape(run, variables, X)
    with ps.config.context(unsynced_state="off"):
        jax.eval_shape(run, variables, X)
    with ps.config.context(unsynced_state="warn"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jax.eval_shape(run, variables, X)
    assert {warning.category for warning in caught} == {ps.errors.JaxUsageWarning}
    quoted = [name for warning in caught for name in str(warning.message).split("'")[1::2]]
    names = [name for name in quoted if name not in ("data", "off")]
    for name in names:
        assert not any(other.startswith(name) for other in names if other is not name), names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", sorted(LAYERS.keys() - NOT_TRACKED))
def test_shard_map_where_jax_tracks(layer, kind):
    variables, step = program(layer, kind, True)
    jax.eval_shape(sharded(step, check_vma=True), variables, X)
    variables, step = program(layer, kind, False)
    with pytest.raises(ValueError, match=r"on all shards|out_specs which require replication"):
        jax.eval_shape(sharded(step, check_vma=True), variables, X)


@pytest.mark.parametrize("sync", [True, False], ids=["synced", "unsynced"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", LAYERS)
def test_pmap(layer, kind, sync):
    variables, step = program(layer, kind, sync)
    axes = {"axis_name": "data", "in_axes": (None, 0)}
    jax.eval_shape(jax.pmap(step, **axes), variables, X[None])  # each device has its own
    one = jax.pmap(step, **axes, out_axes=None)
    if sync:
        jax.eval_shape(one, variables, X[None])
        return
    with pytest.raises(ps.errors.BatchedStateError, match=r"jax.pmap.*out_axes=0"):
        jax.eval_shape(one, variables, X[None])


@pytest.mark.parametrize("sync", [True, False], ids=["synced", "unsynced"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", LAYERS)
def test_vmap(layer, kind, sync):
    variables, step = program(layer, kind, sync)
    run = jax.vmap(step, in_axes=(None, 0), axis_name="data")
    jax.eval_shape(run, variables, X[None])


# --- one module, in programs of many forms ---


def local_mean(x, combine=lambda mean: mean):
    UsersMean()(x, combine)
    return x


INIT, STEP = with_state(local_mean)
VARIABLES = INIT(X)
SYNCED = with_state(lambda x: local_mean(x, lambda mean: jax.lax.pmean(mean, "data")))[1]


def in_scan(step):
    def body(variables, x):
        def again(state, _):
            return step((variables[0], state), x), None

        return jax.lax.scan(again, variables[1], None, length=3)[0]

    return body


def in_grad(step):
    def body(variables, x):
        def loss(x):
            state = step(variables, x)
            return (x * x).sum(), state

        return jax.grad(loss, has_aux=True)(x)[1]

    return body


def in_vmap(step):
    def body(variables, x):
        states = jax.vmap(lambda x: step(variables, x[None]), axis_name="rows")(x)
        return jax.tree.map(lambda leaf: leaf.mean(0), states)

    return body


FORMS = {
    "plain": lambda step: step,
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
    "scan": in_scan,
    "grad": in_grad,
    "vmap": in_vmap,
    "cond": lambda step: (
        lambda v, x: jax.lax.cond(v[1]["users_mean"]["mean"][0] > 0, step, step, v, x)
    ),
    "twice": lambda step: lambda v, x: step((v[0], step(v, x)), x),
    "another structure": lambda step: lambda v, x: step(v, x)["users_mean"]["mean"],
    "in a larger one": lambda step: lambda v, x: {"step": 1, "model": [step(v, x)]},
}


@pytest.mark.parametrize("outside", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("form", FORMS)
def test_forms(form, outside):
    with pytest.raises(ps.errors.BatchedStateError, match="'users_mean/mean' differs"):
        outside(sharded(FORMS[form](STEP)))(VARIABLES, X)
    outside(sharded(FORMS[form](SYNCED)))(VARIABLES, X)


RIGHT = {
    "combined afterwards": (lambda v, x: jax.lax.pmean(STEP(v, x), "data"), P()),
    "each its own": (lambda v, x: jax.tree.map(lambda leaf: leaf[None], STEP(v, x)), P("data")),
    "dropped": (lambda v, x: (STEP(v, x), x)[1], P("data")),
}


@pytest.mark.parametrize("outside", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("name", RIGHT)
def test_programs_that_are_right(name, outside):
    step, out_specs = RIGHT[name]
    outside(sharded(step, out_specs=out_specs))(VARIABLES, X)


def test_data_that_is_the_same_on_all_shards():
    run = jax.shard_map(STEP, mesh=MESH, in_specs=(P(), P()), out_specs=P(), check_vma=False)
    run(VARIABLES, X)
    closed = jax.shard_map(
        lambda v: STEP(v, X), mesh=MESH, in_specs=P(), out_specs=P(), check_vma=False
    )
    closed(VARIABLES)


def test_state_that_came_in_apart_may_not_go_out_as_one():
    run = jax.shard_map(
        lambda v: SYNCED(v, X), mesh=MESH, in_specs=P("data"), out_specs=P(), check_vma=False
    )
    with pytest.raises(ps.errors.BatchedStateError, match="'users_mean/mean'"):
        run(VARIABLES)


def test_init_inside():
    def last(x):
        ps.set_state("last", x)

    run = jax.shard_map(
        lambda x: ps.transform_with_state(last).init(None, x)[1],
        mesh=MESH,
        in_specs=P("data"),
        out_specs=P(),
        check_vma=False,
    )
    with pytest.raises(ps.errors.BatchedStateError, match="'~/last'"):
        run(X)


def test_one_axis_of_two():
    mesh = jax.make_mesh((1, 1), ("a", "b"), axis_types=(AxisType.Auto,) * 2)

    def run(*axes):
        step = with_state(lambda x: local_mean(x, lambda mean: jax.lax.pmean(mean, axes)))[1]
        specs = {"in_specs": (P(), P(("a", "b"))), "out_specs": P()}
        return jax.shard_map(step, mesh=mesh, check_vma=False, **specs)(VARIABLES, X)

    run("a", "b")
    with pytest.raises(ps.errors.BatchedStateError, match="over 'b', but"):
        run("a")


def test_a_function_inside_another_transformed_function():
    def outer(x):
        model = ps.Linear(2)(x)
        return model, sharded(STEP)(VARIABLES, x)

    f = ps.transform(outer)
    params = ps.transform(lambda x: ps.Linear(2)(x)).init(jax.random.key(0), X)
    with pytest.raises(ps.errors.BatchedStateError, match="'users_mean/mean'"):
        f.apply(params, None, X)


def test_shards_that_read_the_function_around():
    def outer(x):
        def body(variables, x):
            return STEP(variables, x + ps.get_parameter("w", [], init=jnp.zeros))

        ps.get_parameter("w", [], init=jnp.zeros)
        return sharded(body)(VARIABLES, x), ps.Linear(2)(x)

    f = ps.transform(outer)
    params = f.init(jax.random.key(0), X)
    assert list(params) == ["~", "linear"]


def test_the_body_is_traced_once_more_and_not_oftener():
    traced = []

    def body(variables, x):
        traced.append(1)
        for _ in range(3):
            variables = (variables[0], SYNCED(variables, x))
        return variables[1]

    jax.eval_shape(sharded(body), VARIABLES, X)
    assert len(traced) == 2
    traced.clear()
    jax.eval_shape(sharded(body, check_vma=True), VARIABLES, X)
    assert len(traced) == 1


def test_arguments_of_every_kind():
    def step(variables, x, key, scale, static):
        assert static == "static"
        noise = jax.random.normal(key, x.shape)
        return STEP(variables, x + scale * noise)

    specs = (P(), P("data"), P(), P(), None)
    run = jax.shard_map(step, mesh=MESH, in_specs=specs, out_specs=P(), check_vma=False)
    with pytest.raises(ps.errors.BatchedStateError, match="'users_mean/mean'"):
        run(VARIABLES, np.asarray(X), jax.random.key(0), 2.0, "static")


def test_explicit_axes():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))
    x = jax.device_put(X, jax.sharding.NamedSharding(mesh, P("data")))
    with jax.set_mesh(mesh):
        run = jax.shard_map(lambda x: STEP(VARIABLES, x), out_specs=P(), check_vma=False)
        with pytest.raises(ps.errors.BatchedStateError, match="'users_mean/mean'"):
            run(x)
        jax.shard_map(lambda x: SYNCED(VARIABLES, x), out_specs=P(), check_vma=False)(x)


def test_a_body_that_cannot_be_traced_again_is_left_alone():
    calls = []

    def body(variables, x):
        calls.append(1)
        assert len(calls) == 1
        return SYNCED(variables, x)

    jax.eval_shape(sharded(body), VARIABLES, X)
    assert len(calls) == 2


def test_jax_still_has_the_frame_that_is_looked_for():
    def body(x):
        call = running_shard_map()
        assert call.args == (X,)
        assert call.in_specs == (P("data"),)
        assert call.out_specs == P("data")
        assert not call.check_vma
        assert not call.is_pmap
        return x

    jax.shard_map(body, mesh=MESH, in_specs=(P("data"),), out_specs=P("data"), check_vma=False)(X)
    assert running_shard_map() is None


def test_no_tracer_outlives_the_second_trace():
    with jax.checking_leaks():
        jax.eval_shape(sharded(SYNCED), VARIABLES, X)
        with pytest.raises(ps.errors.BatchedStateError, match="'users_mean/mean'"):
            jax.eval_shape(sharded(STEP), VARIABLES, X)


def test_observers_around_see_each_frame_once():
    class Frames(Observer):
        count = 0

        def began(self, frame):
            self.count += 1

    frames = Frames()
    with observe(frames), pytest.raises(ps.errors.BatchedStateError):
        jax.eval_shape(sharded(STEP), VARIABLES, X)
    assert frames.count == 1
