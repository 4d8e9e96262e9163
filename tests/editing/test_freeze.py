"""`freeze`: gradients are exactly zero, values and all else as without it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

RNG, X = jax.random.key(0), jnp.linspace(-1, 1, 12).reshape(4, 3)
NAMES = ["a/~/linear_0", "a/~/linear_1", "b"]


def plain(x):
    return ps.Linear(1, name="b")(ps.nets.MLP([5, 4], name="a")(x))


F = ps.transform(plain)
PARAMS = F.init(RNG, X)


def gradients(apply):
    return jax.grad(lambda params: (apply(params, None, X) ** 2).sum())(PARAMS)


FULL = gradients(F.apply)


def frozen_names(grads):
    """Those whose gradient is exactly zero; all others have to be what they are without freezing."""
    found = []
    for module, name, grad in ps.data_structures.traverse(grads):
        if not np.any(grad):
            found.append(f"{module}/{name}")
        else:
            np.testing.assert_allclose(grad, FULL[module][name], rtol=1e-5)
    return found


PREDICATES = {
    "glob": ("a/*", ["a/~/linear_0/b", "a/~/linear_0/w", "a/~/linear_1/b", "a/~/linear_1/w"]),
    "predicate": (
        ~ps.surgery.has_ndim(1) & ps.surgery.glob("*/w"),
        ["a/~/linear_0/w", "a/~/linear_1/w", "b/w"],
    ),
    "function": (lambda module, name, value: module == "b", ["b/b", "b/w"]),
    "nothing": ("c/*", []),
    "all": ("*", [f"{module}/{name}" for module in NAMES for name in "bw"]),
}


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("place", ["inside", "outside"])
@pytest.mark.parametrize("kind", PREDICATES)
def test_gradients_and_specs(kind, place, compiled):
    predicate, expected = PREDICATES[kind]

    def inside(x):
        with ps.freeze(predicate):
            return plain(x)

    f = ps.transform(inside) if place == "inside" else F

    def run(call, *args):
        if place == "inside":
            return call(*args)
        with ps.freeze(predicate):
            return call(*args)

    assert not np.any(FULL["b"]["w"] == 0)
    params = run(f.init, RNG, X)
    jax.tree.map(np.testing.assert_array_equal, params, PARAMS)
    np.testing.assert_array_equal(run(f.apply, params, None, X), F.apply(PARAMS, None, X))

    def apply(params, rng, x):
        return run(f.apply, params, rng, x)

    assert frozen_names(gradients(jax.jit(apply) if compiled else apply)) == expected
    mask = ps.trainable_mask(run(ps.specs(f), RNG, X))
    assert [f"{m}/{n}" for m, n, flag in ps.data_structures.traverse(mask) if not flag] == expected
    assert ps.trainable_mask(ps.specs(F)(RNG, X)) == jax.tree.map(
        lambda leaf: True, PARAMS
    )  # nothing is left behind


def test_blocks_add_up():
    def f(x):
        with ps.freeze("a/*"), ps.freeze("*/b"):
            x = ps.nets.MLP([5, 4], name="a")(x)
        return ps.Linear(1, name="b")(x)

    assert frozen_names(gradients(ps.transform(f).apply)) == PREDICATES["glob"][1]


def test_what_other_getters_add_keeps_its_gradient():
    def f(delta):
        def inner(x):
            with (
                ps.freeze(),
                ps.custom_getter(lambda next_getter, value, context: next_getter(value + delta)),
            ):
                return plain(x)

        return ps.transform(inner).apply(PARAMS, None, X).sum()

    def without_freezing(delta):
        return F.apply(jax.tree.map(lambda p: p + delta, PARAMS), None, X).sum()

    np.testing.assert_allclose(jax.grad(f)(0.0), jax.grad(without_freezing)(0.0), rtol=1e-6)


def test_state_is_left_alone():
    def f(x):
        with ps.freeze():
            return ps.BatchNorm(True, True, 0.9)(x, is_training=True)

    g = ps.transform_with_state(f)
    params, state = g.init(None, X)
    _, after = g.apply(params, state, None, X)
    plain_state = ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9)(x, True)).apply(
        params, state, None, X
    )[1]
    jax.tree.map(np.testing.assert_array_equal, after, plain_state)


@pytest.mark.parametrize("where", ["inside the layer", "around"])
def test_in_layer_stack(where):
    def layer(x):
        return jnp.tanh(ps.Linear(3)(x))

    def frozen_layer(x):
        with ps.freeze("linear/w"):
            return layer(x)

    def f(x):
        if where == "inside the layer":
            return ps.layer_stack(2, name="stack")(frozen_layer)(x)
        with ps.freeze("*linear/w"):
            return ps.layer_stack(2, name="stack")(layer)(x)

    g = ps.transform(f)
    params = g.init(RNG, X)
    grads = jax.grad(lambda params: g.apply(params, None, X).sum())(params)
    assert not np.any(grads["stack/linear"]["w"])
    assert np.all(np.abs(grads["stack/linear"]["b"]) > 0)
    assert ps.trainable_mask(ps.specs(g)(RNG, X)) == {"stack/linear": {"b": True, "w": False}}


@pytest.mark.parametrize("predicate", ["linear/*", "stack/*"])
def test_names_that_mean_two_things_in_layer_stack(predicate):
    def f(x):
        with ps.freeze(predicate):
            return ps.layer_stack(2, name="stack")(lambda x: ps.Linear(3)(x))(x)

    with pytest.raises(
        ps.errors.VariableError, match="'stack/linear/[wb]' of a lifted function is 'linear/[wb]'"
    ):
        ps.transform(f).init(RNG, X)


LIFTED = {
    "scan": lambda x: ps.scan(lambda x, _: (jnp.tanh(ps.Linear(3)(x)), None), x, None, length=2)[0],
    "vmap": lambda x: ps.vmap(lambda x: ps.Linear(3)(x), split_rng=False)(x),
    "remat": lambda x: ps.remat(lambda x: ps.Linear(3)(x))(x),
    "jit": lambda x: ps.jit(lambda x: ps.Linear(3)(x))(x),
    "cond": lambda x: ps.cond(x.sum() < 100, lambda x: ps.Linear(3)(x), lambda x: x, x),
    "while": lambda x: ps.fori_loop(0, 2, lambda i, x: jnp.tanh(ps.Linear(3)(x)), x),
}


@pytest.mark.parametrize("name", LIFTED)
def test_in_jax_transforms_inside(name):
    def f(x):
        with ps.freeze("linear/w"):
            return LIFTED[name](x)

    g = ps.transform(f)
    params = g.init(RNG, X)
    if name == "while":  # which has no gradient in reverse mode
        tangents = jax.tree.map(jnp.zeros_like, params)
        for key, moved in (("w", False), ("b", True)):
            tangent = {"linear": {**tangents["linear"], key: jnp.ones_like(params["linear"][key])}}
            _, out = jax.jvp(lambda params: g.apply(params, None, X).sum(), (params,), (tangent,))
            assert bool(out != 0) is moved
        return
    grads = jax.grad(lambda params: g.apply(params, None, X).sum())(params)
    assert not np.any(grads["linear"]["w"])
    assert np.all(grads["linear"]["b"] != 0)
    assert ps.trainable_mask(ps.specs(g)(RNG, X)) == {"linear": {"b": True, "w": False}}
