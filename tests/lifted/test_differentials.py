"""`vjp`, `jvp`, `linearize`: the numbers of JAX's own, and what the function changes is kept once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.lifted.derivatives import (
    DERIVATIVES,
    KEY,
    MODES,
    SETTINGS,
    STYLES,
    X,
    block,
    identical,
    pair,
    quiet,
    same,
)


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", DERIVATIVES)
def test_as_jax_of_the_pure_function(name, style, mode, jitted):
    """The function draws keys, sets state and sows; parameters have the names of a plain call."""
    derive = DERIVATIVES[name]
    init, apply = pair(lambda x: derive(ps, block, x), style, mode)
    plain_init, plain_apply = pair(block, style, mode)
    variables = plain_init(KEY, X[0])
    identical(init(KEY, X[0]), variables)
    if jitted:
        apply = jax.jit(apply)
    out, after = apply(variables, KEY, X[0])
    same(out, derive(jax, lambda x: plain_apply(variables, KEY, x)[0], X[0]))
    same(after, plain_apply(variables, KEY, X[0])[1])


@pytest.mark.one_slow_in(2)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", DERIVATIVES)
def test_inside_of_other_transforms(name, setting, style):
    """As JAX's own of what `ps.purify` makes, with the state set by a plain call."""
    derive = DERIVATIVES[name]

    def by_hand(x):
        pure = ps.purify(quiet)
        if ps.running_init():
            variables = pure(ps.get_variables(), ps.next_rng_key(), x)[1]
            ps.set_variables(variables)
        variables = ps.get_variables()
        out = derive(jax, lambda x: pure(variables, None, x)[0], x)
        if not ps.running_init():
            ps.set_variables(pure(variables, None, x)[1])
        return out

    f = lambda x: SETTINGS[setting](lambda x: derive(ps, quiet, x), x)
    init, apply = pair(f, style, "sequence")
    _, expected = pair(lambda x: SETTINGS[setting](by_hand, x), style, "sequence")
    variables = init(KEY, X)
    mine, truth = apply(variables, KEY, X), expected(variables, KEY, X)
    same(mine, truth, rtol=1e-5)
    assert float(np.sum(mine[1]["state"][next(iter(variables["state"]))]["n"])) > 0


@pytest.mark.parametrize("name", DERIVATIVES)
def test_gradients_by_parameters_from_outside(name):
    derive = DERIVATIVES[name]
    f = ps.transform_with_state(lambda x: derive(ps, quiet, x))
    g = ps.transform_with_state(quiet)
    params, state = g.init(KEY, X[0])
    total = lambda tree: sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(tree))
    mine = jax.grad(lambda p: total(f.apply(p, state, None, X[0])[0]))(params)
    truth = jax.grad(lambda p: total(derive(jax, lambda x: g.apply(p, state, None, x)[0], X[0])))(
        params
    )
    same(mine, truth)
    assert float(jnp.abs(truth["linear"]["w"]).sum()) > 0


@pytest.mark.parametrize("name", DERIVATIVES)
def test_frozen_and_bound(name):
    derive = DERIVATIVES[name]

    def f(x, frozen):
        with ps.freeze("linear/*") if frozen else ps.name_scope("nothing"):
            return derive(ps, ps.Linear(3, name="linear"), x)

    g = ps.transform(f)
    params = g.init(KEY, X[0], True)
    same(ps.bind(g, params)(X[0], True), g.apply(params, None, X[0], True))
    total = lambda p: sum(jnp.sum(leaf) for leaf in jax.tree.leaves(g.apply(p, None, X[0], True)))
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(jax.grad(total)(params)))


def with_aux(x):
    ps.set_state("seen", 2 * x)
    return ps.Linear(2)(x), {"x": x}


AUX = {
    "vjp": lambda library, f: library.vjp(f, X[0], has_aux=True)[2],
    "jvp": lambda library, f: library.jvp(f, (X[0],), (X[1],), has_aux=True)[2],
    "linearize": lambda library, f: library.linearize(f, X[0], has_aux=True)[2],
    "jacfwd": lambda library, f: library.jacfwd(f, has_aux=True)(X[0])[1],
    "jacrev": lambda library, f: library.jacrev(f, has_aux=True)(X[0])[1],
    "hessian": lambda library, f: library.hessian(f, has_aux=True)(X[0])[1],
}


@pytest.mark.parametrize("name", AUX)
def test_aux(name):
    def f():
        out = AUX[name](ps, lambda x: summed(with_aux(x)) if name == "hessian" else with_aux(x))
        return out, ps.get_state("seen")

    summed = lambda pair: (pair[0].sum(), pair[1])
    g = ps.transform_with_state(f)
    (aux, seen), _ = g.apply(*g.init(KEY), None)
    same(aux, {"x": X[0]})
    same(seen, 2 * X[0])


# By parameters, too.


def two(x):
    return ps.Linear(2, name="a")(x) ** 2


def tangents_like(tree):
    return jax.tree.map(lambda leaf: jnp.cos(leaf + 1), tree)


WITH_PARAMS = {
    "vjp": lambda x, t: (lambda y, back: (y, back(jnp.cos(y))))(*ps.vjp(two, x, with_params=True)),
    "jvp": lambda x, t: ps.jvp(two, (x,), (t, x), with_params=True),
    "linearize": lambda x, t: (lambda y, forward: (y, forward(t, x)))(
        *ps.linearize(two, x, with_params=True)
    ),
}
TRUTH = {
    "vjp": lambda f, p, x, t: (lambda y, back: (y, back(jnp.cos(y))))(*jax.vjp(f, p, x)),
    "jvp": lambda f, p, x, t: jax.jvp(f, (p, x), (t, x)),
    "linearize": lambda f, p, x, t: (lambda y, forward: (y, forward(t, x)))(
        *jax.linearize(f, p, x)
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", WITH_PARAMS)
def test_with_params(name, style, mode):
    """By the parameters that the function reads, and by no others."""

    def f(x, t):
        other = ps.Linear(3, name="other")(x)
        return WITH_PARAMS[name](other, t)

    g = ps.transform(two, rng_mode=mode)
    p = g.init(KEY, X[0])
    t = tangents_like(p)
    init, apply = pair(f, style, mode)
    variables = init(KEY, X[0], t)
    plain = pair(lambda x: two(ps.Linear(3, name="other")(x)), style, mode)
    identical(variables, plain[0](KEY, X[0]))
    p = {"a": variables["params"]["a"]}
    other = ps.transform(lambda x: ps.Linear(3, name="other")(x)).apply(
        variables["params"], None, X[0]
    )
    for run in (apply, jax.jit(apply)):
        same(
            run(variables, None, X[0], t)[0],
            TRUTH[name](lambda p, x: g.apply(p, None, x), p, other, t),
        )


@pytest.mark.parametrize("setting", ["remat", "scan", "tower", "vmap", "layer_stack", "grad"])
def test_with_params_inside_of_other_transforms(setting):
    """The sum of squares of a gradient by the parameters, as JAX makes it from a pure function."""

    def norm(back, y):
        return sum((leaf**2).sum() for leaf in jax.tree.leaves(back(jnp.ones_like(y)))) + y

    def lifted(x):
        y, back = ps.vjp(ps.Linear(3), x, with_params=True)
        return norm(back, y)

    def by_hand(x):
        pure = ps.purify(ps.Linear(3))
        if ps.running_init():
            ps.set_variables(pure(ps.get_variables(), ps.next_rng_key(), x)[1])
        variables = ps.get_variables()
        y, back = jax.vjp(lambda v, x: pure(v, None, x)[0], variables, x)
        return norm(back, y)

    f, g = (ps.transform(lambda x, h=h: SETTINGS[setting](h, x)) for h in (lifted, by_hand))
    params = f.init(KEY, X)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, g.init(KEY, X))
    same(f.apply(params, KEY, X), g.apply(params, KEY, X), rtol=1e-5)


def test_tangents_of_some_parameters():
    def f(x):
        net = ps.Linear(2)
        if ps.running_init():
            return net(x)
        some = {"linear": {"b": jnp.ones([2])}}
        return (
            ps.jvp(net, (x,), (some, jnp.zeros_like(x)), with_params=True)[1],
            ps.jvp(net, (x,), (None, jnp.zeros_like(x)), with_params=True)[1],
        )

    g = ps.transform(f)
    some, none = g.apply(g.init(KEY, X), None, X)
    assert (some == 1).all()
    assert (none == 0).all()


@pytest.mark.parametrize(
    ("tangents", "message"),
    [
        ((X,), "one more tangent"),
        (({"linaer": {"w": 0}}, X), "'linaer/w'"),
        ((X, X), "is a bundle"),
    ],
)
def test_wrong_tangents(tangents, message):
    f = ps.transform(lambda x: ps.jvp(ps.Linear(2), (x,), tangents, with_params=True))
    with pytest.raises(ps.errors.ArgumentError, match=message):
        f.apply({"linear": {"w": jnp.ones([3, 2]), "b": jnp.ones([2])}}, None, X)


def test_the_returned_function_is_pure():
    """It runs after the frame has ended, under any transform of JAX, and changes nothing."""
    kept = []

    def f(x):
        y, back = ps.vjp(quiet, x)
        _, forward = ps.linearize(quiet, x)
        kept.extend([back, forward])
        return y

    g = ps.transform_with_state(f)
    params, state = g.init(KEY, X[0])
    kept.clear()
    _, after = g.apply(params, state, None, X[0])
    assert float(after["~"]["n"]) == 2  # two functions ran
    back, forward = kept
    eye = jnp.eye(3)
    same(jax.vmap(back)(eye)[0].shape, (3, 3))
    assert jax.jit(forward)(X[0]).shape == (3,)


CALLS = {
    "vjp": lambda f: ps.vjp(f, X),
    "jvp": lambda f: ps.jvp(f, (X,), (X,)),
    "linearize": lambda f: ps.linearize(f, X),
    "jacfwd": ps.jacfwd,
    "jacrev": ps.jacrev,
    "hessian": ps.hessian,
}


@pytest.mark.parametrize("name", CALLS)
def test_only_inside_of_a_run(name):
    with pytest.raises(ps.errors.FrameError, match=f"jax.{name}"):
        CALLS[name](lambda x: x)
