"""Snapshot, pure function, restore: a transform that runs a function once changes the frame as a plain call does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jnp.arange(6).reshape(2, 3)
KEY = jax.random.key(3, impl="unsafe_rbg")  # quick to compile


def drawn(shape, dtype):
    return jax.random.bits(ps.next_rng_key(), shape).astype(dtype)


def purified(f):
    def run(*args):
        key = ps.next_rng_key() if ps.running_init() else None
        out, variables = ps.purify(f)(ps.get_variables(), key, *args)
        ps.set_variables(variables)
        return out

    return run


ONCE = {
    "remat": ps.remat,
    "jit": ps.jit,
    "cond": lambda f: lambda x: ps.cond(True, f, f, x),
    "switch": lambda f: lambda x: ps.switch(1, [f, f], x),
    "scan": lambda f: lambda x: ps.scan(lambda c, _: (c, f(x)), 0, None, length=1)[1][0],
    "map": lambda f: lambda x: ps.map(f, x[None])[0],
    "fori_loop": lambda f: lambda x: ps.fori_loop(0, 1, lambda i, x: f(x), x),
    "vmap": lambda f: lambda x: ps.vmap(f, None, axis_size=1, split_rng=False)(x)[0],
    "value_and_grad": lambda f: (
        lambda x: ps.value_and_grad(lambda one: (one, f(x)), has_aux=True)(1.0)[0][1]
    ),
    "remat of jit": lambda f: ps.remat(ps.jit(f)),
    "jit of cond": lambda f: ps.jit(lambda x: ps.cond(True, f, f, x)),
    "purify": lambda f: purified(f),
}


class Layer(ps.Module):
    """Integers only, so that results are the same to the last bit however they are compiled."""

    def __call__(self, x):
        w = ps.get_parameter("w", [3], jnp.int32, init=drawn)
        n = ps.get_state("n", [], jnp.int32, init=jnp.ones)
        ps.set_state("n", 2 * n + 1)
        ps.variable("cache", "last", [2, 3], jnp.int32, init=jnp.zeros).value = x
        return x + w * n


def f(x):
    layer = Layer()
    return layer(layer(x)) - x


def program(once):
    """Uses a function before, inside and after a transform."""

    def run(x):
        first = f(x)
        second = once(f)(first)
        return first, second, Layer()(x)

    return ps.transform_with_state(run)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def plain():
    pair = program(lambda f: f)
    params, state = pair.init(KEY, X)
    return params, state, pair.apply(params, state, None, X)


@pytest.mark.parametrize("name", ONCE)
def test_apply_is_that_of_a_plain_call(name, plain):
    params, state, expected = plain
    assert_same(jax.jit(program(ONCE[name]).apply)(params, state, None, X), expected)


@pytest.mark.parametrize("name", ONCE)
def test_init_makes_the_variables_of_a_plain_call(name, plain):
    params, state, _ = plain
    made = jax.eval_shape(program(ONCE[name]).init, KEY, X)
    assert made == jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (params, state))


@pytest.mark.parametrize("name", ["remat of jit", "vmap", "cond"])
def test_init_gives_the_values_of_a_plain_call(name, plain):
    params, state, _ = plain
    own_params, own_state = jax.jit(program(ONCE[name]).init)(KEY, X)
    assert_same(own_state, state)
    if name != "cond":  # which draws more keys
        assert_same(own_params, params)


def test_keys_go_on_after_all_of_them():
    def draw(x):
        return x + jax.random.bits(ps.next_rng_key()).astype(jnp.int32)

    def run(x):
        names = [name for name in ONCE if name != "purify"]  # which draws from a key of its own
        return [value for name in names for value in (ONCE[name](draw)(x), draw(x))]

    values = jax.jit(ps.transform(run).apply)({}, KEY, jnp.zeros([], jnp.int32))
    assert len({int(value) for value in values}) == len(values) == 22


def test_a_function_that_jax_runs_later_finds_its_variables():
    @jax.custom_vjp
    def identity(x):
        return x

    identity.defvjp(lambda x: (x, None), lambda _, g: (g,))

    def run(x):
        layer = ps.Linear(3)
        return identity(ps.remat(layer)(x)).sum()

    g = ps.transform(run)
    params = {"linear": {"w": jnp.eye(3), "b": jnp.zeros([3])}}
    out, pull = jax.vjp(lambda params: g.apply(params, None, X / 6), params)
    np.testing.assert_allclose(
        pull(jnp.ones([]))[0]["linear"]["w"], (X / 6).sum(0)[:, None] * jnp.ones(3)
    )


@pytest.mark.parametrize("name", ["remat", "jit", "cond", "scan", "vmap"])
def test_what_goes_wrong_inside_leaves_the_frame_as_it_was(name, plain):
    params, state, expected = plain

    def run(x):
        def fails(x):
            ps.set_state("left", jnp.ones([]))
            Layer()(x)
            raise KeyError

        with pytest.raises(KeyError):
            ONCE[name](fails)(x)
        return ps.get_current_state(), ps.get_params()

    (now, seen), new = ps.transform_with_state(run).apply(params, state, None, X)
    assert_same((now, seen, new), (state, params, state))
