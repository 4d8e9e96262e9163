"""What can be exported, and what the program then computes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

KEY, X = jax.random.key(0), np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def net(x, is_training=False):
    x = ps.BatchNorm(True, True, 0.9)(ps.Linear(4)(x), is_training)
    return ps.dropout(ps.next_rng_key(), 0.5, x) if is_training else x


PAIR = ps.transform_with_state(net)
PARAMS, STATE = PAIR.init(KEY, X, is_training=True)
PLAIN = ps.transform(lambda x: ps.Linear(2)(x))
PLAIN_PARAMS = PLAIN.init(KEY, X)


def assert_same(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_with_state():
    model = ps.export(PAIR, PARAMS, STATE, "float32[b, 3]")
    assert_same(model(X), jax.jit(PAIR.apply)(PARAMS, STATE, None, X))


def test_options_and_a_key():
    model = ps.export(PAIR, PARAMS, STATE, "float32[b, 3]", rng=KEY, is_training=True)
    for key in jax.random.split(KEY):
        want = jax.jit(lambda *args: PAIR.apply(*args, is_training=True))(PARAMS, STATE, key, X)
        assert_same(model(X, rng=key), want)


def test_without_state():
    model = ps.export(PLAIN, PLAIN_PARAMS, None, ["float32[b, 3]"])
    assert_same(model(X), jax.jit(PLAIN.apply)(PLAIN_PARAMS, None, X))


def test_a_key_for_each_stream():
    def f(x):
        return ps.dropout(ps.next_rng_key("dropout"), 0.5, ps.Linear(2)(x))

    g = ps.transform(f)
    keys = {"params": KEY, "dropout": jax.random.key(7)}
    params = g.init(keys, X)
    model = ps.export(g, params, None, "float32[b, 3]", rng=keys)
    assert_same(model(X, rng=keys), g.apply(params, keys, X))


@pytest.mark.parametrize("rng", [0, "key", {"dropout": 0}])
def test_rng_that_is_no_key(rng):
    with pytest.raises(ps.errors.InvalidRNGError, match=r"such as `jax.random.key\(0\)`"):
        ps.export(PAIR, PARAMS, STATE, "float32[b, 3]", rng=rng, is_training=True)


def test_a_missing_key_says_how_the_program_takes_one():
    with pytest.raises(ps.errors.MissingRNGError) as caught:
        ps.export(PAIR, PARAMS, STATE, "float32[b, 3]", is_training=True)
    assert "rng=jax.random.key(0)" in caught.value.__notes__[-1]


def test_without_rng():
    f = ps.without_apply_rng(PLAIN)
    model = ps.export(f, PLAIN_PARAMS, None, X)
    assert_same(model(X), jax.jit(f.apply)(PLAIN_PARAMS, X))


def test_compiled_apply():
    model = ps.export(jax.jit(PLAIN.apply), PLAIN_PARAMS, None, X)
    assert_same(model(X), jax.jit(PLAIN.apply)(PLAIN_PARAMS, None, X))


def test_each_of_several_functions():
    def autoencoder():
        encode, decode = ps.Linear(2, name="encode"), ps.Linear(3, name="decode")
        return lambda x: decode(encode(x)), {"encode": encode, "decode": decode}

    f = ps.multi_transform(autoencoder)
    params = f.init(KEY, X)
    code = ps.export(f.apply["encode"], params, None, "float32[b, 3]")(X)
    assert_same(code, jax.jit(f.apply["encode"])(params, None, X))
    again = ps.export(f.apply["decode"], params, None, "float32[b, 2]")(code)
    assert_same(again, jax.jit(f.apply["decode"])(params, None, code))


def test_collections():
    f = ps.transform_with_collections(net)
    variables = f.init(KEY, X, is_training=True)
    model = ps.export(
        f, variables, None, "float32[b, 3]", mutable=["batch_stats"], rng=KEY, is_training=True
    )
    want = jax.jit(lambda v: f.apply(v, KEY, X, mutable=["batch_stats"], is_training=True))
    assert_same(model(X, rng=KEY), want(variables))


class Scale(NamedTuple):
    factor: jax.Array
    shift: jax.Array


def test_any_function_of_trees():
    def f(scale, offsets, inputs, y):
        return Scale(inputs["x"] * scale.factor + offsets[0], y + scale.shift)

    scale, offsets = Scale(2.0, np.float64(1)), [jnp.arange(3.0)]
    specs = ({"x": "float32[b, 3]"}, jax.ShapeDtypeStruct([], jnp.int32))
    model = ps.export(f, scale, offsets, specs)
    got = model({"x": X}, jnp.int32(4))
    assert isinstance(got, Scale)
    np.testing.assert_array_equal(got.factor, X * 2 + np.arange(3.0, dtype=np.float32))
    assert got.shift == 5


def test_other_weights():
    model = ps.export(PLAIN, PLAIN_PARAMS, None, "float32[b, 3]")
    other = jax.tree.map(lambda w: w + 1, PLAIN_PARAMS)
    assert_same(model.apply(other, None, None, X), jax.jit(PLAIN.apply)(other, None, X))


def test_gradients():
    model = ps.export(PLAIN, PLAIN_PARAMS, None, "float32[b, 3]")
    got = jax.grad(lambda params: (model.apply(params, None, None, X) ** 2).sum())(PLAIN_PARAMS)
    want = jax.grad(lambda params: (PLAIN.apply(params, None, X) ** 2).sum())(PLAIN_PARAMS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, want)


def test_under_transforms_of_jax():
    model = ps.export(PLAIN, PLAIN_PARAMS, None, "float32[b, 3]")
    many = jnp.stack([X, X + 1])
    np.testing.assert_allclose(jax.lax.map(model, many)[1], model(X + 1), rtol=1e-6)
    assert jax.jit(model)(X).shape == (2, 2)


def test_sizes_are_the_same_in_all_inputs():
    f = ps.transform(lambda x, y: x @ y)
    model = ps.export(f, {}, None, ("float32[b, n]", "float32[n, 2*b]"))
    assert model(jnp.ones([2, 5]), jnp.ones([5, 4])).shape == (2, 4)
    with pytest.raises(ps.errors.ExportError, match=r"2\*b"):
        model(jnp.ones([2, 5]), jnp.ones([5, 3]))


def test_constraints():
    f = ps.transform(lambda x: x[:2] if x.shape[0] >= 2 else x)
    assert ps.export(f, {}, None, "float32[b]", constraints=["b >= 2"])(X[0]).shape == (2,)
    with pytest.raises(ps.errors.ExportError, match=r"'b' >= '2' is inconclusive"):
        ps.export(f, {}, None, "float32[b]")


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x if x.shape[0] > 1 else -x,
        lambda x: sum(x[i] for i in range(x.shape[0])),
        lambda x: x + np.zeros(x.shape),
        lambda x: x.reshape(2, -1),
    ],
    ids=["branch", "loop", "numpy", "reshape"],
)
def test_the_module_that_needs_a_number_is_named(use):
    class Inner(ps.Module):
        def __call__(self, x):
            return use(x)

    class Outer(ps.Module):
        def __call__(self, x):
            return Inner()(x)

    with pytest.raises(ps.errors.ExportError) as caught:
        ps.export(ps.transform(lambda x: Outer()(x)), {}, None, "float32[b, 3]")
    assert "`Inner.__call__` of module 'outer/inner', called with (float32[b,3])" in str(
        caught.value
    )
    assert "Give the dimension a number in the specs" in str(caught.value)


def test_what_is_wrong_with_the_arguments():
    model = ps.export(PAIR, PARAMS, STATE, ("float32[b, 3]",), platforms=["cpu"])
    wrong = {
        "input 0 must be float32[b,3], but is float32[2,4]": lambda: model(jnp.ones([2, 4])),
        "input 0 must be float32[b,3], but is int32[2,3]": lambda: model(jnp.ones([2, 3], int)),
        "input 0 must be float32[b,3], but is float32[3]": lambda: model(jnp.ones([3])),
        "input 0 must be float32[b,3], but is 1.0": lambda: model(1.0),
        "it takes 1 input, but got 2": lambda: model(X, X),
        "input 0 must have the structure": lambda: model({"x": X}),
        "rng must have the structure": lambda: model(X, rng=KEY),
        "params['linear']['w'] must be float32[3,4], but is float32[4,3]": lambda: model.apply(
            {**PARAMS, "linear": {"w": jnp.ones([4, 3]), "b": jnp.ones([4])}}, STATE, None, X
        ),
        "expected value >= 1 for dimension variable 'b'": lambda: model(jnp.ones([0, 3])),
    }
    for message, call in wrong.items():
        with pytest.raises(ps.errors.ExportError) as caught:
            call()
        assert message.lower() in str(caught.value).lower()
        assert "<ExportedModel net(float32[b,3]) -> " in str(caught.value)


def test_repr():
    model = ps.export(PLAIN, PLAIN_PARAMS, None, "float32[b, 3]", platforms=["cpu", "tpu"])
    assert repr(model) == "<ExportedModel lambda(float32[b,3]) -> float32[b,2], for cpu, tpu>"
