"""`grad` and `value_and_grad`: the numbers of JAX's own, and what the function changes on the way is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jnp.array([0.5, -1.0, 2.0])
PARAMS = {"~": {"w": jnp.array([1.0, 2.0, 3.0])}}


def w():
    return ps.get_parameter("w", [3], init=jnp.ones)


def loss(w, x, y=1.0):
    return (jnp.sin(x * w) * y).sum()


def run(f):
    return ps.transform(f).apply(PARAMS, None, X)


@pytest.mark.parametrize("argnums", [0, 1, (0, 1), (1,), -1])
def test_argnums(argnums):
    own = run(lambda x: ps.grad(lambda x, y: loss(w(), x, y), argnums)(x, 2.0))
    expected = jax.grad(lambda x, y: loss(PARAMS["~"]["w"], x, y), argnums)(X, 2.0)
    jax.tree.map(np.testing.assert_array_equal, own, expected)
    assert jax.tree.structure(own) == jax.tree.structure(expected)


@pytest.mark.parametrize("has_aux", [False, True])
def test_values_and_aux(has_aux):
    def of(w):
        return (lambda x: (loss(w(), x), {"x": x})) if has_aux else (lambda x: loss(w(), x))

    own = run(
        lambda x: (ps.value_and_grad(of(w), has_aux=has_aux)(x), ps.grad(of(w), has_aux=has_aux)(x))
    )
    given = of(lambda: PARAMS["~"]["w"])
    expected = jax.value_and_grad(given, has_aux=has_aux)(X), jax.grad(given, has_aux=has_aux)(X)
    assert jax.tree.structure(own) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, own, expected)


def test_a_gradient_of_a_gradient():
    own = run(lambda x: ps.grad(lambda x: (ps.grad(lambda x: loss(w(), x))(x) ** 2).sum())(x))
    plain = jax.grad(lambda x: (jax.grad(lambda x: loss(PARAMS["~"]["w"], x))(x) ** 2).sum())(X)
    np.testing.assert_allclose(own, plain, rtol=1e-6)


def test_a_gradient_by_the_parameters_from_outside_goes_through():
    f = ps.transform(lambda x: ps.grad(lambda x: loss(w(), x))(x).sum())
    own = jax.grad(f.apply)(PARAMS, None, X)["~"]["w"]
    by_hand = jax.grad(lambda w: jax.grad(lambda x: loss(w, x))(X).sum())(PARAMS["~"]["w"])
    np.testing.assert_allclose(own, by_hand, rtol=1e-6)


def test_what_the_function_changes_is_kept():
    def f(x):
        def step(x):
            n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
            ps.set_state("n", n + 1)
            ps.set_state("seen", x * 2)
            return loss(w(), x)

        ps.grad(step)(x)
        return ps.grad(step)(x)

    pair = ps.transform_with_state(f)
    params, state = pair.init(None, X)
    assert (list(params), int(state["~"]["n"])) == (["~"], 0)
    _, state = pair.apply(params, state, None, X)
    assert int(state["~"]["n"]) == 2
    np.testing.assert_array_equal(state["~"]["seen"], 2 * X)


def test_state_that_the_gradient_flows_through():
    """What is read back after the gradient was taken is a plain value."""

    def f(x):
        def step(x):
            ps.set_state("s", x * w())
            return (ps.get_state("s") ** 2).sum()

        return ps.grad(step)(x), ps.get_state("s")

    (grads, s), _ = ps.transform_with_state(f).apply(PARAMS, None, None, X)
    np.testing.assert_allclose(grads, 2 * X * PARAMS["~"]["w"] ** 2, rtol=1e-6)
    np.testing.assert_allclose(s, X * PARAMS["~"]["w"], rtol=1e-6)


@pytest.mark.parametrize("make", [ps.grad, ps.value_and_grad], ids=lambda f: f.__name__)
def test_what_is_not_a_scalar_is_the_error_of_jax(make):
    with pytest.raises(TypeError, match="scalar"):
        run(lambda x: make(lambda x: x * w())(x))


@pytest.mark.parametrize("make", [ps.grad, ps.value_and_grad], ids=lambda f: f.__name__)
def test_only_inside_of_a_run(make):
    with pytest.raises(ps.errors.FrameError, match="jax.value_and_grad"):
        make(lambda x: x)
    kept = []
    run(lambda x: kept.append(make(lambda x: x.sum())))
    with pytest.raises(ps.errors.FrameError, match="A function made by"):
        kept[0](X)
