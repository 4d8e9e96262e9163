"""A jaxpr with loops where parts of it are equal: the numbers stay, the program does not grow."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import purestate as ps
from purestate._core.equations import live_equations
from purestate._state.rolled import run_rolled

X = jnp.ones([2, 8])
KEYS = {
    "raw": jax.random.PRNGKey(1),
    "typed": jax.random.key(1),
    "rbg": jax.random.key(1, impl="rbg"),
    "streams": {"params": jax.random.key(1), "default": jax.random.key(2)},
}


def linears(x, layers):
    for _ in range(layers):
        x = jnp.tanh(ps.Linear(8)(x))
    return x


def blocks(x, layers):
    for i in range(layers):
        y = ps.LayerNorm(-1, True, True)(x)
        x = x + ps.nets.MLP([16, 8], w_init=ps.initializers.RandomUniform(-i, 1.0 + i))(y)
        x = x + ps.Linear(8, w_init=jax.nn.initializers.orthogonal())(x)
    return x


def convolutions(x, layers):
    x = x[:, :, None]
    for _ in range(layers):
        x = ps.BatchNorm(True, True, 0.9)(ps.Conv1D(3, 3)(x), is_training=True)
    return x


def with_keys_of_its_own(x, layers):
    def init(shape, dtype):
        first, second = ps.next_rng_keys(2)
        return jax.random.normal(first, shape, dtype) + jax.random.uniform(second, shape, dtype)

    for i in range(layers):
        x = x * ps.get_parameter(f"w{i}", [8], init=init)
        x = ps.dropout(ps.next_rng_key(), 0.5, x)
    return x


def shared(x, layers):
    w = ps.get_parameter("w", [8, 8], init=jax.nn.initializers.normal())
    for i in range(layers):
        x = x @ ps.get_parameter(f"v{i}", [8, 8], init=lambda s, d: w + 1) + w[0]
    return x


MODELS = {f.__name__: f for f in (linears, blocks, convolutions, with_keys_of_its_own, shared)}


def pair_of(name, layers, mode):
    return ps.transform_with_state(lambda x: MODELS[name](x, layers), rng_mode=mode)


@pytest.mark.parametrize("mode", ["sequence", "path"])
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", MODELS)
def test_the_bits_are_those_of_init(name, key, mode):
    f = pair_of(name, 7, mode)
    made = jax.jit(ps.fast_init(f))(KEYS[key], X)
    close_or_identical(made, jax.jit(f.init)(KEYS[key], X))


def close_or_identical(a, b):
    """Within rounding: XLA compiles the two programs, and may round by what else is in them."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


@pytest.mark.parametrize("reserve", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_a_reserve_of_keys(name, reserve):
    f = pair_of(name, 5, "sequence")
    with ps.config.context(rng_reserve_size=reserve):
        made = jax.jit(ps.fast_init(f))(KEYS["raw"], X)
        close_or_identical(made, jax.jit(f.init)(KEYS["raw"], X))


def size_of(name, layers, mode, key="typed"):
    f = ps.fast_init(pair_of(name, layers, mode))
    text = jax.jit(f).lower(KEYS[key], X).as_text()
    # Names of results, and the two operations that take each result out of those of the loop.
    rest = len(re.findall(r"stablehlo\.(?:slice|reshape)", text))
    return text.count("\n"), text.count("\n") - rest


@pytest.mark.parametrize("mode", ["sequence", "path"])
@pytest.mark.parametrize("key", KEYS)
def test_the_program_does_not_grow_with_the_number_of_layers(mode, key):
    (few, few_without), (many, many_without) = (size_of("linears", n, mode, key) for n in (10, 40))
    assert many < 1.2 * few
    assert many_without < 1.12 * few_without


def test_a_loop_for_each_kind():
    f = ps.fast_init(pair_of("blocks", 6, "sequence"))
    jaxpr = jax.make_jaxpr(f)(KEYS["typed"], X)
    names = [eqn.primitive.name for eqn in jaxpr.eqns]
    # The keys; the orthogonal weights. Each uniform one has limits of its own.
    assert names.count("scan") == 2
    assert names.count("qr") == 0


def test_it_is_mapped():
    f = ps.fast_init(pair_of("linears", 6, "sequence"))
    keys = jax.random.split(jax.random.key(3), 3)
    many = jax.jit(jax.vmap(f, in_axes=(0, None)))(keys, X)
    each = [f(key, X) for key in keys]
    close_or_identical(many, jax.tree.map(lambda *leaves: jnp.stack(leaves), *each))


# Random programs


def program(choices):
    """A function of a key and an array that makes results by a random plan."""

    def run(key, x):
        outs, values, keys = [], [x], []
        for kind, a, b in choices:
            if kind == "split":
                key, own = jax.random.split(key)
                keys.append(own)
            elif kind == "draw" and keys:
                outs.append(jax.random.normal(keys[a % len(keys)], [2]) * (1 + b % 2))
            elif kind == "fold" and keys:
                outs.append(jax.random.uniform(jax.random.fold_in(keys[a % len(keys)], b), [2]))
            elif kind == "sum":
                values.append(values[a % len(values)] + values[b % len(values)] * 0.5)
            elif kind == "mix" and outs:
                outs.append(outs[a % len(outs)] - outs[b % len(outs)])
            elif kind == "constant":
                outs.append(jnp.full([2], float(b % 2)))
            elif kind == "value":
                outs.append(values[a % len(values)])
        return outs

    return run


STEPS = st.tuples(
    st.sampled_from(["split", "draw", "fold", "sum", "mix", "constant", "value"]),
    st.integers(0, 9),
    st.integers(0, 3),
)


@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(STEPS, max_size=4),
    repeated=st.lists(STEPS, min_size=1, max_size=5),
    times=st.integers(1, 7),
    after=st.lists(STEPS, max_size=4),
)
def test_random_programs(before, repeated, times, after):
    f = program([*before, *repeated * times, *after])
    args = (jax.random.key(0), jnp.array([1.0, 2.0]))
    closed = jax.make_jaxpr(f)(*args)
    values = dict(zip(closed.jaxpr.invars, args, strict=True))
    values.update(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    made = run_rolled(closed.jaxpr, live_equations(closed.jaxpr), values)
    expected = f(*args)
    assert len(made) == len(expected)
    for a, b in zip(made, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
