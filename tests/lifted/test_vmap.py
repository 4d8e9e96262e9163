"""`vmap`: as a Python loop over the mapped elements; what they write has to be the same, or to be combined."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.core.raises import raises

X = jnp.arange(6.0).reshape(2, 3)
KEY = jax.random.key(0, impl="unsafe_rbg")  # quick to compile
PARAMS = {"~": {"w": jnp.array([1.0, 2.0, 3.0])}}


def w():
    return ps.get_parameter("w", [3], init=jnp.ones)


def f(x, tree):
    return {"sum": (x * w() + tree["a"]).sum(), "all": x * w() * tree["b"]}


def own(x, tree, in_axes, out_axes):
    def run(x, tree):
        return ps.vmap(f, in_axes, out_axes, split_rng=False)(x, tree)

    return ps.transform(run).apply(PARAMS, None, x, tree)


@pytest.mark.parametrize(
    ("in_axes", "out_axes"),
    [
        (0, 0),
        ((0, None), 0),
        ((0, {"a": 0, "b": None}), 0),
        ([0, None], 0),
        ((1, None), {"sum": 0, "all": 1}),
        ((None, {"a": None, "b": 1}), {"sum": 0, "all": -1}),
    ],
)
def test_axes_are_those_of_jax(in_axes, out_axes):
    square = jnp.arange(9.0).reshape(3, 3)
    tree = {"a": jnp.array([1.0, 2.0, 3.0]), "b": square}
    given = tuple(in_axes) if isinstance(in_axes, list) else in_axes
    values = PARAMS["~"]["w"]

    def plain(x, tree):
        return {"sum": (x * values + tree["a"]).sum(), "all": x * values * tree["b"]}

    ours = own(square, tree, in_axes, out_axes)
    expected = jax.vmap(plain, given, out_axes)(square, tree)
    jax.tree.map(np.testing.assert_array_equal, ours, expected)


@pytest.mark.parametrize("run", ["init", "apply"])
def test_parameters_are_one_for_all(run):
    g = ps.transform(lambda x: ps.vmap(lambda x: x * w(), split_rng=False)(x))
    params = g.init(None, X)
    assert params["~"]["w"].tolist() == [1, 1, 1]
    np.testing.assert_array_equal(g.apply(PARAMS, None, X), X * PARAMS["~"]["w"])


def test_one_in_another():
    def product(x, y):
        return (x * w() * y).sum()

    def run(x):
        inner = ps.vmap(product, (None, 0), split_rng=False)
        return ps.vmap(inner, (0, None), split_rng=False)(x, x)

    out = ps.transform(run).apply(PARAMS, None, X)
    np.testing.assert_allclose(out, (X * PARAMS["~"]["w"]) @ X.T)


def draw(x):
    return jax.random.bits(ps.next_rng_key())


@pytest.mark.parametrize("split_rng", [False, True])
def test_keys(split_rng):
    def run():
        mapped = ps.vmap(draw, split_rng=split_rng)
        return mapped(jnp.ones([3])), mapped(jnp.ones([3])), draw(0)

    values = np.concatenate([np.ravel(x) for x in jax.jit(ps.transform(run).apply)({}, KEY)])
    assert len(set(values.tolist())) == (7 if split_rng else 3)


def test_state_that_is_the_same_for_all_is_kept():
    def step(x):
        n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
        ps.set_state("n", n + 1)
        return x * n

    g = ps.transform_with_state(lambda x: ps.vmap(step, split_rng=False)(x))
    params, state = g.init(None, X)
    assert (params, int(state["~"]["n"])) == ({}, 0)
    out, state = g.apply(params, {"~": {"n": jnp.int32(4)}}, None, X)
    np.testing.assert_array_equal(out, 4 * X)
    assert int(state["~"]["n"]) == 5


def test_state_that_a_mean_makes_the_same():
    def step(x):
        ps.set_state("mean", jax.lax.pmean(x, "i"))
        return x

    g = ps.transform_with_state(lambda x: ps.vmap(step, axis_name="i", split_rng=False)(x))
    np.testing.assert_allclose(g.apply({}, None, None, X)[1]["~"]["mean"], X.mean(0))


def test_writes_that_differ_have_to_be_combined():
    g = ps.transform_with_state(
        lambda x: ps.vmap(lambda r: ps.set_state("last", r.sum()), split_rng=False)(x)
    )
    raises(ps.errors.BatchedStateError, "~/last", "pmean", call=lambda: g.init(None, X))
    h = ps.transform(lambda x: ps.vmap(ps.Linear(1), split_rng=True)(x))
    words = ("linear/w", "split_rng=not ps.running_init()")
    raises(ps.errors.BatchedStateError, *words, call=lambda: jax.eval_shape(h.init, KEY, X))


def test_split_rng_has_to_be_said():
    raises(ps.errors.ArgumentError, "split_rng", call=lambda: ps.vmap(lambda x: x))


@pytest.mark.parametrize(
    ("in_axes", "args", "words"),
    [
        (None, (X,), "axis_size"),
        ((None, None), (X, X), "axis_size"),
        (0, (X, X[:, :1].T), "sizes"),
    ],
)
def test_how_many_there_are(in_axes, args, words):
    def run(*args):
        return ps.vmap(lambda *args: draw(0), in_axes, split_rng=True)(*args)

    call = lambda: ps.transform(run).apply({}, KEY, *args)
    raises(ps.errors.MappingError, words, call=call)


def test_axis_size_where_nothing_is_mapped():
    g = ps.transform(lambda x: ps.vmap(lambda x: x, in_axes=None, axis_size=4, split_rng=False)(x))
    assert g.apply({}, None, X).shape == (4, 2, 3)


def test_only_inside_of_a_run():
    with pytest.raises(ps.errors.FrameError, match="made by `ps.vmap`"):
        ps.vmap(lambda x: x, split_rng=False)(X)
