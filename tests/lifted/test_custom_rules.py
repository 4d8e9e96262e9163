"""`custom_vjp` and `custom_jvp`: a rule that is the true derivative changes nothing, and others are used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.lifted.derivatives import (
    KEY,
    MODES,
    SETTINGS,
    STYLES,
    X,
    block,
    flat,
    identical,
    pair,
    quiet,
    same,
)


def forward_by_vjp(f):
    own = ps.custom_vjp(f)
    own.defvjp(lambda *args: ps.vjp(f, *args, with_params=True), lambda back, g: back(g))
    return own


def backward_runs_again(f):
    """Stores the arguments, and runs the function again in `bwd`, with the same keys and state."""
    own = ps.custom_vjp(f)
    own.defvjp(
        lambda *args: (own(*args), args),
        lambda args, g: ps.vjp(f, *args, with_params=True)[1](g),
    )
    return own


def by_jvp(f):
    own = ps.custom_jvp(f)
    own.defjvp(lambda primals, tangents: ps.jvp(f, primals, tangents, with_params=True))
    return own


RULES = {"vjp": forward_by_vjp, "vjp_again": backward_runs_again, "jvp": by_jvp}


def loss(apply):
    def total(variables, rng, x):
        out, after = apply(variables, rng, x)
        return sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(out)), after

    return total


def gradients(apply, variables, x):
    params = {"params": variables["params"]}
    rest = {name: bundle for name, bundle in variables.items() if name != "params"}
    total = lambda params, x: loss(apply)({**params, **rest}, KEY, x)
    return jax.grad(total, argnums=(0, 1), has_aux=True)(params, x)


@pytest.mark.parametrize("compiled", ["eager", "jit_apply", "jit_grad"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("rule", RULES)
def test_the_true_rule_changes_nothing(rule, style, mode, compiled):
    """Values, state, keys, sown values, names and gradients, in the program and after it."""

    def program(f):
        def run(x):
            out = f(x)
            return out, ps.Linear(2)(out), jax.random.uniform(ps.next_rng_key())

        return pair(run, style, mode)

    init, apply = program(RULES[rule](block))
    plain_init, plain_apply = program(block)
    variables = plain_init(KEY, X[0])
    identical(init(KEY, X[0]), variables)
    if compiled == "jit_apply":
        apply = jax.jit(apply)
    get = jax.jit(gradients, static_argnums=0) if compiled == "jit_grad" else gradients
    same(apply(variables, KEY, X[0]), plain_apply(variables, KEY, X[0]))
    same(get(apply, variables, X[0]), gradients(plain_apply, variables, X[0]), rtol=1e-5)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("rule", RULES)
def test_inside_of_other_transforms(rule, setting, style):
    init, apply = pair(lambda x: SETTINGS[setting](RULES[rule](quiet), x), style, "sequence")
    _, plain = pair(lambda x: SETTINGS[setting](quiet, x), style, "sequence")
    variables = init(KEY, X)
    same(apply(variables, KEY, X), plain(variables, KEY, X), rtol=1e-5)
    same(gradients(apply, variables, X), gradients(plain, variables, X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_sown_values(rule):
    f = ps.transform_with_state(RULES[rule](block))
    plain = ps.transform_with_state(block)
    given = (*f.init(KEY, X[0]), KEY, X[0])
    capture = lambda f: ps.capture_intermediates(f, filter=False).apply(*given)
    same(capture(f), capture(plain))
    out, found = capture(f)[0]
    assert found["~"]["hidden"][0].shape == out.shape


@pytest.mark.parametrize("rule", RULES)
def test_rounding_once_more(rule):
    """The Hessian, whose outer derivative goes through the rule's own code."""
    f, plain = (ps.transform(g) for g in (RULES[rule](tanh), tanh))
    params = f.init(KEY, X[0])
    if rule == "jvp":
        derive = jax.hessian
    else:  # a function with a rule for reverse mode has no forward mode
        derive = lambda f: jax.jacrev(jax.jacrev(f))
    hessian = lambda f: derive(lambda x: f.apply(params, None, x).sum())(X[0])
    same(hessian(f), hessian(plain), rtol=1e-5)


def tanh(x):
    return jnp.tanh(ps.Linear(2)(x))


# Rules that are not the true derivative.


@ps.custom_vjp
def clipped(x):
    return tanh(x)


clipped.defvjp(
    lambda x: ps.vjp(tanh, x, with_params=True),
    lambda back, g: (jax.tree.map(jnp.sign, back(g)[0]), jnp.clip(back(g)[1], -0.25, 0.25)),
)


def test_a_rule_of_ones_own_as_jax_has_it():
    f, plain = ps.transform(lambda x: clipped(x) * 3), ps.transform(tanh)

    @jax.custom_vjp
    def pure(params, x):
        return plain.apply(params, None, x)

    pure.defvjp(
        lambda params, x: jax.vjp(lambda p, x: plain.apply(p, None, x), params, x),
        lambda back, g: (jax.tree.map(jnp.sign, back(g)[0]), jnp.clip(back(g)[1], -0.25, 0.25)),
    )
    params = f.init(KEY, X)
    mine = jax.grad(lambda p, x: f.apply(p, None, x).sum(), (0, 1))(params, X)
    truth = jax.grad(lambda p, x: (pure(p, x) * 3).sum(), (0, 1))(params, X)
    same(mine, truth)
    assert float(jnp.abs(mine[1]).max()) == 0.25
    assert set(np.unique(mine[0]["linear"]["w"])) <= {-1.0, 0.0, 1.0}
    # Inside of the function too.
    g = ps.transform(lambda x: ps.grad(lambda x: clipped(x).sum() * 3)(x))
    same(g.apply(params, None, X), truth[1])


def test_straight_through():
    rounded = ps.custom_jvp(lambda x: jnp.round(4 * tanh(x)))

    def rule(primals, tangents):
        y, y_tangent = ps.jvp(tanh, primals, tangents, with_params=True)
        return jnp.round(4 * y), 4 * y_tangent

    rounded.defjvp(rule)
    f, plain = ps.transform(rounded), ps.transform(lambda x: 4 * tanh(x))
    params = f.init(KEY, X)
    mine, truth = (
        jax.grad(lambda p, x, f=f: f.apply(p, None, x).sum(), (0, 1))(params, X) for f in (f, plain)
    )
    same(mine, truth, rtol=1e-5)
    same(
        jax.jvp(lambda x: f.apply(params, None, x), (X,), (X,))[1],
        jax.jvp(lambda x: plain.apply(params, None, x), (X,), (X,))[1],
        rtol=1e-5,
    )


def test_names_in_a_rule_after_other_modules():
    """Two calls have two layers, and each rule finds its own; hooks are those of the call."""

    def f(x):
        with ps.custom_getter(lambda next_getter, value, context: next_getter(2 * value)):
            x = backward_runs_again(tanh)(x)
        return backward_runs_again(tanh)(x)

    def plain(x):
        with ps.custom_getter(lambda next_getter, value, context: next_getter(2 * value)):
            x = tanh(x)
        return tanh(x)

    f, plain = ps.transform(f), ps.transform(plain)
    params = f.init(KEY, X)
    assert list(params) == ["linear", "linear_1"]
    grad = lambda f: jax.grad(lambda p: (f.apply(p, None, X) ** 2).sum())(params)
    same(grad(f), grad(plain), rtol=1e-5)


def test_frozen():
    def f(x):
        with ps.freeze("linear/*"):
            return clipped(x)

    f = ps.transform(f)
    params = f.init(KEY, X)
    grads = jax.grad(lambda p: f.apply(p, None, X).sum())(params)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(grads))
    same(ps.bind(f, params)(X), f.apply(params, None, X))


def test_parameters_that_are_not_read_cost_nothing():
    """A call among many layers has its own parameters as arguments, and none of the others."""

    def f(x):
        for _ in range(5):
            x = ps.Linear(3)(x)
        return forward_by_vjp(ps.Linear(3))(x)

    f = ps.transform(f)
    params = f.init(KEY, X)
    jaxpr = jax.make_jaxpr(f.apply)(params, None, X)
    (call,) = [eqn for eqn in jaxpr.jaxpr.eqns if "custom_vjp" in eqn.primitive.name]
    assert len(call.invars) == 3


@pytest.mark.parametrize("negative", [False, True])
def test_static_arguments_and_keywords(negative):
    def f(x, activation, scale=1.0):
        return activation(ps.Linear(2)(x)) * scale

    own = ps.custom_vjp(f, nondiff_argnums=(-2,) if negative else (1,))
    own.defvjp(
        lambda x, activation, scale: ps.vjp(
            lambda x, scale: f(x, activation, scale), x, scale, with_params=True
        ),
        lambda activation, back, g: (back(g)[0], back(g)[1] * (activation is jnp.sin), back(g)[2]),
    )
    g = ps.transform(lambda x, act, s: own(x, act, scale=s).sum())
    params = g.init(KEY, X, jnp.sin, 2.0)
    true = ps.transform(lambda x, s: f(x, jnp.sin, s).sum())
    grads = lambda f: jax.grad(f, (0, 1, 2))(params, X, 2.0)
    same(
        grads(lambda p, x, s: g.apply(p, None, x, jnp.sin, s)),
        grads(lambda p, x, s: true.apply(p, None, x, s)),
    )
    assert not np.any(grads(lambda p, x, s: g.apply(p, None, x, jnp.cos, s))[1])


def test_gradients_of_no_parameters():
    own = ps.custom_vjp(tanh)
    own.defvjp(lambda x: (tanh(x), x), lambda x, g: (None, x))
    some = ps.custom_vjp(tanh)
    some.defvjp(lambda x: (tanh(x), x), lambda x, g: ({"linear": {"b": jnp.ones([2])}}, None))
    for f, b in ((own, 0), (some, 1)):
        g = ps.transform(f)
        params = g.init(KEY, X)
        to_params, to_x = jax.grad(lambda p, x, g=g: g.apply(p, None, x).sum(), (0, 1))(params, X)
        assert (to_params["linear"]["b"] == b).all()
        assert not np.any(to_params["linear"]["w"])
        same(to_x, X if f is own else 0 * X)


def test_an_equilibrium():
    """A fixed point, whose gradient solves a linear equation: Bai et al. 2019, against unrolling."""

    def layer(z, x):
        return jnp.tanh(0.3 * ps.Linear(3, name="inner")(z) + ps.Linear(3, name="outer")(x))

    def solve(x):
        return ps.fori_loop(0, 60, lambda i, z: layer(z, x), jnp.zeros_like(x))

    equilibrium = ps.custom_vjp(solve)

    def bwd(kept, g):
        z, x = kept
        _, back = ps.vjp(layer, z, x, with_params=True)
        u = jax.lax.fori_loop(0, 60, lambda i, u: g + back(u)[1], g)
        to_params, _, to_x = back(u)
        return to_params, to_x

    equilibrium.defvjp(lambda x: (lambda z: (z, (z, x)))(solve(x)), bwd)
    f, plain = ps.transform(equilibrium), ps.transform(solve)
    params = f.init(KEY, X[0])
    grads = lambda f: jax.grad(lambda p, x: (f.apply(p, None, x) ** 2).sum(), (0, 1))(params, X[0])
    same(grads(f), grads(plain), rtol=1e-4, atol=1e-5)


def other(x):
    return ps.Linear(2, name=ps.force_name("other"))(x)


def no_state(x):
    ps.set_state("n", jnp.zeros([]))
    return tanh(x)


WRONG = {
    "no_rule": (ps.custom_vjp(tanh), "`tanh.defvjp"),
    "fwd_is_not_a_pair": ((tanh, lambda x: tanh(x), None), "must return \\(out, residuals\\)"),
    "bwd_without_params": ((tanh, lambda x: (tanh(x), x), lambda x, g: (x,)), "a tuple of 2"),
    "bwd_is_not_a_tuple": ((tanh, lambda x: (tanh(x), x), lambda x, g: x), "a tuple of 2"),
    "unknown_parameter": (
        (tanh, lambda x: (tanh(x), x), lambda x, g: ({"a": {"b": x}}, x)),
        "'linear/b', 'linear/w'.*'a/b'",
    ),
    "not_a_bundle": ((tanh, lambda x: (tanh(x), x), lambda x, g: (x, x)), "must first return"),
    "reads_more": ((tanh, lambda x: (other(x), x), None), "'other/w', which 'tanh' itself"),
    "reads_more_in_bwd": (
        (tanh, lambda x: (tanh(x), x), lambda x, g: (None, other(x))),
        "`bwd` of 'tanh' reads 'other/w'",
    ),
    "other_state": ((tanh, lambda x: (no_state(x), x), None), "'~/n'.*nothing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_rules(case):
    own, message = WRONG[case]
    if isinstance(own, tuple):
        f, fwd, bwd = own
        own = ps.custom_vjp(f)
        own.defvjp(fwd, bwd)

    def program(x):
        other(x)
        if ps.running_init():
            tanh(x)
            return x.sum()
        if case == "other_state":
            ps.eval_shape(own, x)
        return flat(jnp.zeros([3])).sum() + own(x).sum()

    f = ps.transform_with_state(program)
    params, _ = f.init(KEY, X)
    run = jax.jit(lambda p: f.apply(p, None, None, X)[0])
    with pytest.raises(ps.errors.CustomRuleError, match=message):
        jax.grad(run)(params)


def test_a_rule_that_differentiates_its_own_function():
    own = ps.custom_vjp(tanh)
    own.defvjp(lambda x: ps.vjp(own, x, with_params=True), lambda back, g: back(g))
    f = ps.transform(own)
    params = f.init(KEY, X)
    with pytest.raises(ps.errors.CustomRuleError, match="__wrapped__"):
        jax.grad(lambda p: f.apply(p, None, X).sum())(params)
    own.defvjp(lambda x: ps.vjp(own.__wrapped__, x, with_params=True), lambda back, g: back(g))
    jax.grad(lambda p: f.apply(p, None, X).sum())(params)


def test_keyword_only():
    own = ps.custom_jvp(lambda x, *, scale: x * scale)
    own.defjvp(lambda primals, tangents: (primals[0], tangents[1]))
    with pytest.raises(ps.errors.CustomRuleError, match="'scale'"):
        ps.transform(lambda x: own(x, scale=2)).apply({}, None, X)


def test_a_rule_that_returns_no_tangent():
    own = ps.custom_jvp(tanh)
    own.defjvp(lambda primals, tangents: tanh(*primals))
    f = ps.transform(own)
    params = f.init(KEY, X)
    with pytest.raises(ps.errors.CustomRuleError, match="must return \\(out, tangent\\)"):
        jax.grad(lambda p: f.apply(p, None, X).sum())(params)


@pytest.mark.parametrize("make", [ps.custom_vjp, ps.custom_jvp], ids=["vjp", "jvp"])
def test_only_inside_of_a_run(make):
    with pytest.raises(ps.errors.FrameError, match="jax.custom_"):
        make(lambda x: x)(X)
