"""`init_with_output`: the bits of `init`, and the output of the very same run."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

KEY = jax.random.key(1)
X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)


def plain(x):
    return jnp.tanh(ps.Linear(2)(x))


def stateful(x):
    x = ps.BatchNorm(True, True, 0.9)(ps.Linear(2)(x), is_training=True)
    ps.set_state("last", x)
    return x, {"n": ps.get_state("n", [], init=jnp.zeros)}


def stacked(x):
    x = ps.layer_stack(2)(lambda x: x + ps.Linear(3)(x))(x)
    x = ps.remat(ps.Linear(3))(x)
    x = ps.vmap(ps.Linear(3, name="mapped"), split_rng=False)(x)
    return ps.scan(lambda c, x: (c, ps.Linear(2)(x)), 0, x)[1]


FUNCTIONS = {"plain": plain, "stateful": stateful, "stacked": stacked}


class Net(ps.Module):
    def __call__(self, x):
        return ps.Linear(2)(x)


TRANSFORMS = {
    "transform": ps.transform,
    "with_state": ps.transform_with_state,
    "collections": ps.transform_with_collections,
    "without_state": lambda f, **o: ps.without_state(ps.transform_with_state(f, **o)),
    "with_empty_state": lambda f, **o: ps.with_empty_state(ps.transform(f, **o)),
    "without_apply_rng": lambda f, **o: ps.without_apply_rng(ps.transform(f, **o)),
}

IN_EACH_STYLE = [
    (name, transform)
    for name in FUNCTIONS
    for transform in TRANSFORMS
    if name != "stateful" or transform in ("with_state", "collections")  # that have a place for it
]


def identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("mode", ["sequence", "path"])
@pytest.mark.parametrize(("name", "transform"), IN_EACH_STYLE)
def test_variables_of_init_and_the_output(name, transform, mode, jitted):
    calls = []

    def f(x):
        calls.append(None)
        return FUNCTIONS[name](x)

    pair = TRANSFORMS[transform](f, rng_mode=mode)
    both = ps.init_with_output(pair)
    out, *variables = (jax.jit(both) if jitted else both)(KEY, X)
    assert len(calls) == 1
    expected = (jax.jit(pair.init) if jitted else pair.init)(KEY, X)
    identical(tuple(variables) if len(variables) > 1 else variables[0], expected)
    # Nothing in it is random, so `apply` has the same output, of initial state.
    plain = ps.transform_with_state(f, rng_mode=mode)
    params = variables[0]["params"] if transform == "collections" else variables[0]
    state = plain.init(KEY, X)[1]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        out,
        plain.apply(params, state, KEY, X)[0],
    )


def test_classes_and_pickles():
    both = ps.init_with_output(ps.transform(Net))
    out, params = both(KEY, X)
    identical(params, ps.transform(Net).init(KEY, X))
    again = pickle.loads(pickle.dumps(ps.init_with_output(ps.transform(plain))))
    identical(again(KEY, X), ps.init_with_output(ps.transform(plain))(KEY, X))
    assert "init_with_output" in both.__name__
    assert out.shape == (4, 2)


def test_several_functions():
    def f():
        net = ps.Linear(2)
        return net, {"twice": lambda x: 2 * net(x)}

    pair = ps.multi_transform(f)
    out, params = ps.init_with_output(pair)(KEY, X)
    identical(params, pair.init(KEY, X))
    identical(2 * out, pair.apply["twice"](params, None, X))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (plain, "got a function"),
        (ps.transform(plain)._replace(init=jax.jit(ps.transform(plain).init)), "Compile what"),
    ],
)
def test_what_is_not_a_pair(given, message):
    with pytest.raises(ps.errors.ArgumentError, match=message):
        ps.init_with_output(given)
