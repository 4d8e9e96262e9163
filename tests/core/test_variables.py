"""`get_parameter`, `get_state`, `set_state`: what is created, what is read, and what is refused."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.core.raises import raises

ONE = jnp.ones([])


def reads(lib, x):
    """A program that uses all three in most ways: of it, both libraries make the same."""

    def drawn(shape, dtype):
        return jax.random.bits(lib.next_rng_key(), shape).astype(dtype)

    class Net(lib.Module):
        def __call__(self, x):
            w = lib.get_parameter("w", [3], init=drawn)
            again = lib.get_parameter("w", (3,))
            h = lib.get_parameter("h", [], jnp.bfloat16, init=jnp.ones)
            n = lib.get_state("n", [], jnp.int32, init=jnp.zeros)
            lib.set_state("n", n + 1)
            lib.set_state("tree", {"x": x, "n": n})
            return w + again + h, n, lib.get_state("tree")

    net = Net()
    return net(x), net(x), lib.get_parameter("own", x.shape, x.dtype, init=jnp.zeros)


@pytest.mark.parametrize("run", ["init", "apply"])
def test_as_dm_haiku_reads_and_creates(run):
    x = jnp.arange(3.0)
    results = []
    for lib in (ps, hk):
        f = lib.transform_with_state(lambda x, lib=lib: reads(lib, x))
        made = f.init(jax.random.key(0), x)
        results.append(made if run == "init" else f.apply(*made, None, x))
    ours, theirs = results
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_a_parameter_is_the_array_that_was_given():
    w = jnp.arange(3.0)
    out = ps.transform(lambda: ps.get_parameter("w", [3])).apply({"~": {"w": w}}, None)
    assert out is w


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, np.float32])
def test_what_is_given_keeps_its_dtype(dtype):
    w = jnp.ones([2], dtype)
    f = ps.transform(lambda: ps.get_parameter("w", [2], jnp.float32, init=jnp.zeros))
    assert f.apply({"~": {"w": w}}, None).dtype == dtype


@pytest.mark.parametrize("shape", [[2, 3], (2, 3), jnp.ones([2, 3]).shape])
def test_lists_and_tuples_are_shapes(shape):
    f = ps.transform(lambda: ps.get_parameter("w", shape, init=jnp.ones))
    params = f.init(None)
    assert params["~"]["w"].shape == f.apply(params, None).shape == (2, 3)


def test_a_parameter_is_created_once():
    calls = []

    def init(shape, dtype):
        calls.append((shape, dtype))
        return jnp.ones(shape, dtype)

    def f():
        return [ps.get_parameter("w", [2], init=init) for _ in range(3)]

    g = ps.transform(f)
    params = g.init(None)
    assert calls == [([2], jnp.float32)]
    g.apply(params, None)
    assert len(calls) == 1


def test_one_that_is_not_trainable_gets_no_gradient():
    def f(x):
        a = ps.get_parameter("a", [], init=jnp.ones)
        b = ps.get_parameter("b", [], init=jnp.ones, trainable=False)
        return a * b * x

    g = ps.transform(f)
    grads = jax.grad(g.apply)({"~": {"a": ONE * 2, "b": ONE * 3}}, None, 5.0)
    assert jax.tree.map(float, grads) == {"~": {"a": 15, "b": 0}}


@pytest.mark.parametrize("given", [None, {}])
def test_apply_creates_state_where_it_was_given_none(given):
    f = ps.transform_with_state(lambda: ps.get_state("s", [2], jnp.int32, init=jnp.ones))
    if given is None:
        out, state = f.apply({}, given, None)
    else:
        with pytest.warns(ps.errors.EmptyStateWarning, match="'~/s'"):
            out, state = f.apply({}, given, None)
    assert out.tolist() == state["~"]["s"].tolist() == [1, 1]


def test_apply_creates_no_parameter():
    f = ps.transform(lambda: ps.get_parameter("w", [2], init=jnp.ones))
    words = ("'w' of '~'", "(2,)", "`init`")
    raises(ps.errors.MissingParameterError, *words, call=lambda: f.apply({}, None))


@pytest.mark.parametrize("use", [ps.get_parameter, ps.get_state], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", [3, None, ("a",), b"w"])
def test_a_name_is_a_string(use, name):
    f = ps.transform_with_state(lambda: use(name, [], init=jnp.ones))
    raises(ps.errors.VariableTypeError, repr(name), "string", call=lambda: f.init(None))
    g = ps.transform_with_state(lambda: ps.set_state(name, ONE))
    raises(ps.errors.VariableTypeError, repr(name), "string", call=lambda: g.init(None))


def test_the_shape_is_checked_after_getters():
    def f():
        with ps.custom_getter(lambda next_getter, value, context: next_getter(value[:1])):
            return ps.get_parameter("w", [2], init=jnp.ones)

    words = ("'w' of '~'", "(1,)", "(2,)")
    raises(ps.errors.ShapeMismatchError, *words, call=lambda: ps.transform(f).init(None))


def test_variables_of_two_modules_and_of_none_are_apart():
    class Net(ps.Module):
        def __call__(self):
            return ps.get_parameter("w", [], init=jnp.ones)

    def f():
        return ps.get_parameter("w", [], init=jnp.zeros), Net()(), Net()()

    params = ps.transform(f).init(None)
    assert jax.tree.map(float, params) == {"~": {"w": 0}, "net": {"w": 1}, "net_1": {"w": 1}}
