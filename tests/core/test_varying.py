"""Which outputs of a program differ between shards, against what JAX itself finds."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from purestate._core.trace_guard import varying_axes
from purestate._core.varying import Exchanged, mentioned, varying

MESH = jax.make_mesh((1, 1), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
MATRIX = jax.ShapeDtypeStruct((2, 2), jnp.float32)
LAX = jax.lax


def found(f, specs=(P("a"), P())):
    """The axes of each output of `f(x, y)`, where `x` is split along "a"."""
    outputs = []

    def body(*args):
        jaxpr = jax.make_jaxpr(f)(*args).jaxpr
        outputs.extend(varying(jaxpr, [mentioned(spec) for spec in specs]))

    run = jax.shard_map(body, mesh=MESH, in_specs=specs, out_specs=None, check_vma=False)
    jax.eval_shape(run, MATRIX, MATRIX)
    return outputs


def tracked(f, specs=(P("a"), P())):
    """The same, as JAX tracks it."""
    outputs = []

    def body(*args):
        outputs.extend(varying_axes(leaf) for leaf in jax.tree.leaves(f(*args)))

    jax.eval_shape(jax.shard_map(body, mesh=MESH, in_specs=specs, out_specs=None), MATRIX, MATRIX)
    return outputs


def carried(x, y):
    """Only after the second step all that is carried differs."""
    return LAX.fori_loop(0, 3, lambda i, c: (c[1], c[2], c[2] + 0 * c[1]), (y, y, x))


def while_long(x, y):
    return LAX.while_loop(lambda c: c[0].sum() < 3, lambda c: (c[0] + 1, c[1] + y), (x, y))


@jax.custom_vjp
def custom(x):
    return jnp.sin(x)


custom.defvjp(lambda x: (jnp.sin(x), x), lambda x, ct: (ct * jnp.cos(x),))


def nested(x, y):
    def inner(x, y):
        return x + LAX.axis_index("b"), LAX.psum(y, "b")

    specs = (P(None, "b"), P())
    return jax.shard_map(inner, in_specs=specs, out_specs=specs, axis_names={"b"})(x, y)


PROGRAMS = {
    "arithmetic": lambda x, y: (x + y, y * 2, x * 0, jnp.ones(2)),
    "index": lambda x, y: (LAX.axis_index("a"), y + LAX.axis_index("b")),
    "both axes": lambda x, y: (
        x + LAX.axis_index("b"),
        LAX.psum(x + LAX.axis_index("b"), "b"),
        LAX.psum(x + LAX.axis_index("b"), ("a", "b")),
    ),
    "psum": lambda x, y: (LAX.psum(x, "a"), LAX.pmean({"x": x, "2x": 2 * x}, "a")),
    "pmax and pmin": lambda x, y: (LAX.pmax(x, "a"), LAX.pmin(x, "a")),
    "psum_scatter": lambda x, y: LAX.psum_scatter(x, "a", tiled=True),
    "jit": lambda x, y: jax.jit(lambda x, y: (LAX.psum(x, "a"), x, y))(x, y),
    "checkpoint": lambda x, y: jax.checkpoint(lambda x, y: (LAX.psum(x, "a"), x, y))(x, y),
    "custom_jvp": lambda x, y: (jax.nn.relu(x), jax.nn.relu(y)),
    "custom_vjp": lambda x, y: (custom(x), custom(y)),
    "grad": lambda x, y: jax.grad(lambda x: custom(jnp.tanh(x @ y)).sum())(x),
    "scan": lambda x, y: LAX.scan(lambda c, s: (c + s.sum(), c), jnp.float32(0) + 0 * x[0, 0], x),
    "scan over the same": lambda x, y: LAX.scan(lambda c, s: (c + s, c), y[0], y),
    "fori_loop": lambda x, y: LAX.fori_loop(0, 3, lambda i, c: c + y, x),
    "while_loop": lambda x, y: LAX.while_loop(lambda c: c.sum() < 3, lambda c: c + 1, x),
    "cond": lambda x, y: (
        LAX.cond(x[0, 0] > 0, lambda y: y + x, lambda y: x - y, y),
        LAX.cond(y[0, 0] > 0, lambda y: y, lambda y: 2 * y, y),
    ),
    "reduction, sort, gather": lambda x, y: (x.sum(), jnp.sort(x), y[x[0, 0].astype(int)]),
    "linear solve": lambda x, y: (jnp.linalg.solve(x + jnp.eye(2), y), jnp.linalg.inv(y)),
    "random numbers": lambda x, y: (
        jax.random.normal(jax.random.fold_in(jax.random.key(0), LAX.axis_index("a"))),
        jax.random.normal(jax.random.key(0)),
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_jax_finds(name):
    assert found(PROGRAMS[name]) == tracked(PROGRAMS[name])


A, EXCHANGED = frozenset({"a"}), frozenset({"a", Exchanged("a")})


def ring(x, y):
    return LAX.fori_loop(
        0, 1, lambda i, c: (c[0] + c[1], LAX.ppermute(c[1], ("a",), [(0, 0)])), (0 * x, x)
    )


ALONE = {
    # JAX tracks these only after a cast by hand, or more cautiously.
    "all_gather": (lambda x, y: LAX.all_gather(x, "a").mean(0), [set()]),
    "vmap": (
        lambda x, y: jax.vmap(
            lambda x: (x + LAX.psum(x, "i"), LAX.psum(x, ("a", "i"))), axis_name="i"
        )(x),
        [A, set()],
    ),
    "groups": (lambda x, y: LAX.psum(x, "a", axis_index_groups=[[0]]), [A]),
    "what a loop carries": (carried, [A, A, A]),
    "a loop of differing length": (while_long, [A, A]),
    "a condition that differs": (
        lambda x, y: LAX.cond(x[0, 0] > 0, lambda y: y, lambda y: 2 * y, y),
        [A],
    ),
    "ppermute": (lambda x, y: LAX.ppermute(x, ("a",), [(0, 0)]), [EXCHANGED]),
    "a ring": (ring, [EXCHANGED, EXCHANGED]),
    "exchanged, then combined": (
        lambda x, y: LAX.psum(LAX.ppermute(x, ("a",), [(0, 0)]), "a"),
        [set()],
    ),
    "all_to_all": (lambda x, y: LAX.all_to_all(x[None, :1], "a", 0, 0), [EXCHANGED]),
    "a collective in an unknown form": (
        lambda x, y: LAX.custom_linear_solve(
            lambda v: LAX.psum(v, "a"), x, lambda f, v: v, symmetric=True
        ),
        [EXCHANGED],
    ),
}


@pytest.mark.parametrize("name", ALONE)
def test_where_jax_says_less(name):
    program, expected = ALONE[name]
    assert found(program) == [frozenset(axes) for axes in expected]


@pytest.mark.filterwarnings(
    "ignore:.*(DeviceIdType|device_id_type) is deprecated:DeprecationWarning"
)
def test_a_kernel_that_reaches_other_devices():
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    def send(x, out, sent, received):
        to = {"device_id": (0, 0), "device_id_type": pl.DeviceIdType.MESH}
        pltpu.make_async_remote_copy(x, out, sent, received, **to).start()

    def double(x, out):
        out[...] = 2 * x[...]

    anywhere = pl.BlockSpec(memory_space=pl.ANY)
    semaphores = [pltpu.SemaphoreType.DMA] * 2
    specs = {"in_specs": [anywhere], "out_specs": anywhere, "scratch_shapes": semaphores}
    sent = found(lambda x, y: pl.pallas_call(send, out_shape=MATRIX, **specs)(x))
    assert sent == [EXCHANGED]
    assert found(lambda x, y: pl.pallas_call(double, out_shape=MATRIX)(x)) == [A]


def test_axes_of_an_inner_shard_map_stay_inside():
    def body(x, y):
        jaxpr = jax.make_jaxpr(nested)(x, y).jaxpr
        assert varying(jaxpr, [A, frozenset()]) == [A, frozenset()]

    specs = (P("a"), P())
    run = jax.shard_map(
        body, mesh=MESH, in_specs=specs, out_specs=None, axis_names={"a"}, check_vma=False
    )
    jax.eval_shape(run, MATRIX, MATRIX)


def test_the_axes_of_a_spec():
    assert mentioned(P()) == frozenset()
    assert mentioned(P(None, "a", ("b", "c"))) == {"a", "b", "c"}
