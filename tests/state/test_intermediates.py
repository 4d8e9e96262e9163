"""Values sown, outputs captured, perturbations: through every lifted transform, against what is returned openly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jnp.arange(12.0).reshape(4, 3)


def square(x):
    ps.sow("squared", x**2)
    return 2 * x


def in_scan(x):
    return ps.scan(lambda carry, x: (carry + square(x).sum(), None), 0.0, x)[0]


def in_nested_scan(x):
    return ps.scan(
        lambda c, _: (c, ps.scan(lambda c, x: (c, square(x)), 0, x)[1]), 0, None, length=2
    )[1]


def in_layer_stack(x):
    return ps.scan(lambda x, _: (ps.remat(square)(x), None), x, None, length=3)[0]


# Function, and what is sown under "squared".
PLACES = {
    "plain": (lambda x: square(x), (X**2,)),
    "twice": (lambda x: square(square(x)), (X**2, 4 * X**2)),
    "vmap": (lambda x: ps.vmap(square, split_rng=False)(x), (X**2,)),
    "vmap_twice": (
        lambda x: ps.vmap(ps.vmap(square, split_rng=False), split_rng=False)(x),
        (X**2,),
    ),
    "scan": (in_scan, (X**2,)),
    "scan_nested": (in_nested_scan, (jnp.stack([X**2, X**2]),)),
    "scan_remat": (in_layer_stack, (jnp.stack([X**2, 4 * X**2, 16 * X**2]),)),
    "map": (lambda x: ps.map(square, x), (X**2,)),
    "remat": (lambda x: ps.remat(square)(x), (X**2,)),
    "jit": (lambda x: ps.jit(square)(x), (X**2,)),
    "grad": (lambda x: ps.grad(lambda x: square(x).sum())(x), (X**2,)),
    "cond_taken": (lambda x: ps.cond(x.sum() > 0, square, lambda x: x, x), (X**2,)),
    "cond_not_taken": (lambda x: ps.cond(x.sum() < 0, square, lambda x: x, x), (0 * X,)),
    "cond_both": (
        lambda x: ps.cond(x.sum() < 0, lambda x: square(square(x)), square, x),
        (X**2, 0 * X),
    ),
    "switch": (lambda x: ps.switch(1, [lambda x: x, square, lambda x: square(-x)], x), (X**2,)),
    "before_and_in_scan": (lambda x: (square(x[0]), in_scan(x)), (X[0] ** 2, X**2)),
    "before_and_in_vmap": (
        lambda x: (square(x[0]), ps.vmap(square, split_rng=False)(x)),
        (X[0] ** 2, X**2),
    ),
}


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("place", PLACES)
def test_sow(place, jit):
    f, expected = PLACES[place]
    g = ps.transform_with_collections(f)
    variables = g.init(None, X)
    assert variables == {"params": {}}  # init keeps nothing of it

    def apply(x):
        return g.apply(variables, None, x, mutable="intermediates")

    out, updated = (jax.jit(apply) if jit else apply)(X)
    jax.tree.map(np.testing.assert_array_equal, updated["intermediates"]["~"]["squared"], expected)
    assert len(updated["intermediates"]["~"]["squared"]) == len(expected)
    jax.tree.map(np.testing.assert_array_equal, out, g.apply(variables, None, X))


@pytest.mark.parametrize("place", PLACES)
def test_nothing_in_the_jaxpr_without_capture(place):
    f, _ = PLACES[place]
    jaxprs = []
    for sow in (ps.sow, lambda *args: None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ps, "sow", sow)
            jaxprs.append(str(jax.make_jaxpr(lambda x: ps.transform(f).apply({}, None, x))(X)))
    assert jaxprs[0] == jaxprs[1]


def test_reduce():
    def f(x):
        for i in range(3):
            ps.sow("total", x.sum() + i, "losses", reduce=jnp.add)
        ps.scan(lambda c, x: (c, ps.sow("steps", x.sum(), "losses", reduce=jnp.add)), 0, x)

    g = ps.transform_with_collections(f)
    _, updated = g.apply(g.init(None, X), None, X, mutable=["losses"])
    assert float(updated["losses"]["~"]["total"]) == 3 * float(X.sum()) + 3
    np.testing.assert_array_equal(updated["losses"]["~"]["steps"], X.sum(1))


def test_sow_says_whether_anyone_asked():
    f = ps.transform_with_collections(lambda: ps.sow("x", jnp.ones([])))
    assert f.apply({}, None) is False
    assert f.apply({}, None, mutable="intermediates")[0] is True
    assert ps.transform(lambda: ps.sow("x", jnp.ones([]))).apply({}, None) is False
    with pytest.raises(ps.errors.VariableTypeError, match="'~/x'"):
        ps.capture_intermediates(ps.transform(lambda: ps.sow("x", "abc"))).apply({}, None)


def mlp(x):
    ps.sow("x", x)
    return ps.nets.MLP([4, 2])(x)


@pytest.mark.parametrize(
    "transform", [ps.transform, ps.transform_with_state, ps.transform_with_collections]
)
def test_capture_of_outputs(transform):
    f = transform(mlp)
    given = f.init(jax.random.key(0), X)
    given = given if isinstance(given, tuple) else (given,)
    out = f.apply(*given, None, X)
    out = out[0] if isinstance(out, tuple) else out
    result = jax.jit(ps.capture_intermediates(f).apply)(*given, None, X)
    captured, found = result[0] if transform is ps.transform_with_state else result
    np.testing.assert_allclose(captured, out, rtol=1e-6)
    np.testing.assert_allclose(found["mlp"]["__call__"][0], out, rtol=1e-6)
    shapes = {name: bundle["__call__"][0].shape for name, bundle in found.items() if name != "~"}
    assert shapes == {"mlp/~/linear_0": (4, 4), "mlp/~/linear_1": (4, 2), "mlp": (4, 2)}
    np.testing.assert_array_equal(found["~"]["x"][0], X)


def test_capture_by_filter_and_inside():
    def outer(x):
        inner = ps.capture_intermediates(mlp, lambda module, method: isinstance(module, ps.Linear))
        out, found = inner(x)
        return out, found, ps.capture_intermediates(mlp, filter=False)(x)[1]

    f = ps.transform(outer)
    _, found, sown = f.apply(f.init(jax.random.key(0), X), None, X)
    assert set(found) == {"~", "mlp/~/linear_0", "mlp/~/linear_1"}
    assert set(sown) == {"~"}
    with pytest.raises(ps.errors.ArgumentError, match="int"):
        ps.capture_intermediates(3)


def test_capture_twice_is_not_mixed_up():
    f = ps.capture_intermediates(ps.transform(lambda x: square(x)))
    assert float(f.apply({}, None, jnp.array(2.0))[1]["~"]["squared"][0]) == 4
    (found,) = f.apply({}, None, jnp.array(3.0))[1]["~"]["squared"]
    assert float(found) == 9


def loss(x):
    h = ps.perturb("h", x**2)
    return (h**3).sum()


# Function of x, with a perturbation of what is x**2 along the way.
PERTURBED = {
    "plain": loss,
    "scan": lambda x: ps.scan(lambda c, x: (c + loss(x), None), 0.0, x)[0],
    "vmap": lambda x: ps.vmap(loss, split_rng=False)(x).sum(),
    "map": lambda x: ps.map(loss, x).sum(),
    "remat": lambda x: ps.remat(loss)(x),
    "cond": lambda x: ps.cond(x.sum() > 0, loss, lambda x: 0.0, x),
}


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("place", PERTURBED)
def test_perturb(place, jit):
    f = ps.transform_with_collections(PERTURBED[place])
    variables = f.init(None, X)
    assert jax.tree.map(jnp.shape, variables["perturbations"]) == {"~": {"h": (4, 3)}}
    grad = jax.grad(lambda p: f.apply({**variables, "perturbations": p}, None, X))
    grads = (jax.jit(grad) if jit else grad)(variables["perturbations"])
    np.testing.assert_allclose(grads["~"]["h"], 3 * (X**2) ** 2, rtol=1e-6)
    plain = ps.transform(PERTURBED[place])
    assert plain.init(None, X) == {}
    np.testing.assert_allclose(plain.apply({}, None, X), f.apply(variables, None, X), rtol=1e-6)


def layer(x):
    return jnp.sin(ps.perturb("h", x * ps.get_parameter("w", [], init=jnp.ones)))


def in_block(x):
    with ps.name_scope("block"):
        return layer(x)


# Stacks of three layers, and the path of the (first) perturbation.
STACKS = {
    "stack": (lambda x: ps.layer_stack(3)(layer)(x), "__layer_stack_no_per_layer/~"),
    "by layer": (lambda x: ps.layer_stack(3, layers="block_{}")(in_block)(x), "block_0"),
    "nested": (
        lambda x: ps.layer_stack(1, name="outer")(
            lambda x: ps.layer_stack(3, name="inner")(layer)(x)
        )(x),
        "outer/inner/~",
    ),
}


@pytest.mark.parametrize("name", STACKS)
def test_perturb_in_a_stack_of_layers(name):
    stack, path = STACKS[name]
    f = ps.transform_with_collections(lambda x: stack(x).sum())
    variables = f.init(jax.random.key(0), X)
    found = variables["perturbations"]
    assert path in found
    grads = jax.grad(lambda p: f.apply({**variables, "perturbations": p}, None, X))(found)
    if name == "by layer":
        grads = jnp.stack([grads[f"block_{i}"]["h"] for i in range(3)])
    else:
        grads = grads[path]["h"].reshape(3, *X.shape)

    def after(hs, start):
        for h in hs:
            start = jnp.sin(start + h)
        return start.sum()

    np.testing.assert_allclose(grads, jax.grad(after)(jnp.zeros([3, *X.shape]), X), rtol=1e-5)
    without = {"params": variables["params"]}
    np.testing.assert_array_equal(f.apply(without, None, X), f.apply(variables, None, X))
    plain = ps.transform(lambda x: stack(x).sum())
    assert jax.tree.map(jnp.shape, plain.init(jax.random.key(0), X)) == jax.tree.map(
        jnp.shape, variables["params"]
    )
