"""`error_if`: raised in every transform, with the module and the line, and free if all is well."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

RNG = jax.random.key(0)
GOOD = jnp.array([1.0, 4.0])
BAD = jnp.array([1.0, -4.0])


@pytest.fixture(autouse=True)
def no_error_is_left():
    """JAX keeps the token of the last program with effects, and `effects_barrier` its error."""
    yield
    jax.block_until_ready(jax.jit(lambda x: (jax.debug.callback(lambda x: None, x), x)[1])(GOOD))
    jax.effects_barrier()


class Root(ps.Module):
    def __call__(self, x):
        x = ps.error_if(x, x < 0, "no root of a negative number")
        return ps.get_parameter("scale", [], init=jnp.ones) * jnp.sqrt(x)


def each(x):
    return jax.lax.scan(lambda _, x: (None, x), None, x)[1]


def stacked(x):
    return ps.layer_stack(2)(lambda x: Root()(x))(x)


def scanned(x):
    root = Root()
    return ps.scan(lambda carry, x: (carry, root(x)), 0, x)[1]


def looped(x):
    root = Root()
    return ps.fori_loop(0, 2, lambda i, x: root(x), root(x))


# How a function inside uses the module, and how it is called outside.
INSIDE = {
    "plain": lambda x: Root()(x),
    "vmap": lambda x: ps.vmap(Root(), split_rng=False)(x),
    "scan": scanned,
    "layer_stack": stacked,
    "remat": lambda x: ps.remat(Root())(x),
    "fori_loop": looped,
    "cond": lambda x: ps.cond(x[0] > 0, Root(), lambda x: x, x),
    "jit": lambda x: ps.jit(Root())(x),
    "vmap of scan": lambda x: ps.vmap(scanned, split_rng=False)(x[:, None]),
}
OUTSIDE = {
    "plain": lambda f: f,
    "grad": lambda f: jax.grad(lambda x: f(x).sum()),
    "vmap": lambda f: lambda x: jax.vmap(f)(jnp.stack([GOOD, x])),
    "jacfwd": jax.jacfwd,
    "jacrev": jax.jacrev,
    "grad of vmap": lambda f: jax.grad(lambda x: jax.vmap(f)(jnp.stack([GOOD, x])).sum()),
    "remat": lambda f: jax.grad(lambda x: jax.checkpoint(f)(x).sum()),
}
ALL = [(inside, outside) for inside in INSIDE for outside in OUTSIDE]
FAST = [(inside, "grad") for inside in INSIDE] + [("plain", outside) for outside in OUTSIDE]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("inside", "outside"),
    [pytest.param(*case, marks=() if case in FAST else pytest.mark.slow) for case in ALL],
)
def test_in_each_transform(inside: str, outside: str, compiled: bool):
    f = ps.transform(INSIDE[inside])
    params = f.init(RNG, GOOD)
    call = OUTSIDE[outside](lambda x: f.apply(params, None, x))
    call = jax.jit(call) if compiled else call
    jax.block_until_ready(call(GOOD))
    with pytest.raises(RuntimeError) as caught:
        jax.block_until_ready(call(BAD))
    text = str(caught.value)
    assert "ConditionError" in type(caught.value).__name__ + text
    assert "no root of a negative number" in text
    assert re.search(r"in module '[\w/~]*root' \(.*test_error_if.py:\d+\)", text)
    jax.block_until_ready(call(GOOD))


def test_known_values_raise_our_error_at_once():
    with pytest.raises(ps.errors.ConditionError, match=r"^wrong\nRaised by `ps.error_if` \(.*py:"):
        ps.error_if(1, np.array([False, True]), "wrong")
    with pytest.raises(ps.errors.ConditionError):
        jax.jit(lambda x: ps.error_if(x, True, "wrong"))(GOOD)
    with pytest.raises(ps.errors.ConditionError):
        jax.vmap(lambda x: ps.error_if(x, x < 0, "wrong"))(BAD)
    assert ps.error_if("any value", [], "wrong") == "any value"


def test_compiled_it_is_an_error_of_jax():
    f = jax.jit(lambda x: ps.error_if(x, x < 0, "wrong"))
    for _ in range(2):  # the second call takes JAX's fast path
        f(GOOD)
        with pytest.raises(jax.errors.JaxRuntimeError, match="ConditionError: wrong"):
            f(BAD).block_until_ready()


def test_it_stays_if_nothing_uses_it():
    def f(x):
        ps.error_if(x, x < 0, "wrong")
        return jnp.ones([])

    for compiled in (jax.jit(f), jax.jit(jax.vmap(f)), jax.jit(lambda x: each(x) * f(x))):
        with pytest.raises(RuntimeError, match="wrong"):
            jax.block_until_ready(compiled(BAD))


def test_values_and_gradients_are_those_without_it():
    tree = {"x": GOOD, "key": RNG, "n": jnp.arange(2), "text": "t", "none": None}
    assert ps.error_if(tree, False, "wrong") is tree

    def f(x):
        return (ps.error_if(x, x < 0, "wrong") ** 3).sum()

    np.testing.assert_array_equal(jax.jit(jax.grad(f))(GOOD), 3 * GOOD**2)
    np.testing.assert_array_equal(jax.jit(jax.hessian(f))(GOOD), np.diag(6 * GOOD))


def test_python_is_called_only_if_something_is_wrong():
    def f(x):
        return ps.error_if(x, x < 0, "wrong")

    jaxpr = str(jax.make_jaxpr(jax.vmap(f))(GOOD))
    assert jaxpr.index("cond[") < jaxpr.index("debug_callback[")  # inside a branch


ON_FOUR_DEVICES = """
import jax, jax.numpy as jnp, purestate as ps

P, AxisType = jax.sharding.PartitionSpec, jax.sharding.AxisType
mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
good, bad = jnp.ones([8, 2]), jnp.ones([8, 2]).at[5, 1].set(-1)

class Root(ps.Module):
    def __call__(self, x):
        return jnp.sqrt(ps.error_if(x, x < 0, "wrong")) * ps.get_parameter("w", [], init=jnp.ones)

def of(f):
    g = ps.transform(f)
    params = g.init(None, good)
    return lambda x: g.apply(params, None, x)

def sharded(transform, f, **options):
    return transform(f, mesh=mesh, in_specs=P("data"), out_specs=P("data"), **options)

functions = {
    "sharded array": of(lambda x: Root()(x)),
    "ps.shard_map": of(lambda x: sharded(ps.shard_map, Root())(x)),
    "shard_map": sharded(jax.shard_map, of(lambda x: Root()(x))),
    "without vma": sharded(jax.shard_map, of(lambda x: Root()(x)), check_vma=False),
}
for name, f in functions.items():
    for call in (jax.jit(f), jax.jit(jax.grad(lambda x: f(x).sum()))):
        put = lambda x: jax.device_put(x, jax.NamedSharding(mesh, P("data")))
        jax.block_until_ready(call(put(good)))
        try:
            jax.block_until_ready(call(put(bad)))
        except RuntimeError as error:
            assert "in module 'root'" in str(error), (name, error)
        else:
            raise AssertionError(name)
print("all raised")
"""


@pytest.mark.slow
def test_on_four_devices():
    ran = subprocess.run(
        [sys.executable, "-c", ON_FOUR_DEVICES],
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "all raised\n"


def test_the_line_is_the_users():
    with pytest.raises(ps.errors.ConditionError) as caught:
        ps.error_if(0, True, "wrong")
    line = int(str(caught.value).rpartition(":")[2].removesuffix(")."))
    assert 'ps.error_if(0, True, "wrong")' in Path(__file__).read_text().splitlines()[line - 1]
