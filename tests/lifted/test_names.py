"""Module names live on through JAX transforms: g(x); g(x) names the same under each of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jnp.linspace(-1.0, 1.0, 8).reshape(4, 2)
TRANSFORMS = {
    "plain": lambda g: g,
    "vmap": lambda g: ps.vmap(g, split_rng=False),
    "vmap split": lambda g: ps.vmap(g, split_rng=not ps.running_init()),
    "remat": ps.remat,
    "jit": ps.jit,
    "map": lambda g: lambda x: ps.map(g, x),
    "scan": lambda g: lambda x: ps.scan(lambda c, x: (c, g(x)), 0, x)[1],
    "scan of one": lambda g: lambda x: ps.scan(lambda c, x: (c, g(x)), 0, x[:1])[1],
    "fori_loop": lambda g: lambda x: ps.fori_loop(0, 3, lambda i, x: g(x), x),
    "cond": lambda g: lambda x: ps.cond(x.sum() > 0, g, g, x),
    "switch": lambda g: lambda x: ps.switch(1, [g, g, g], x),
    "grad": lambda g: ps.grad(lambda x: g(x).sum()),
    "value_and_grad": lambda g: lambda x: ps.value_and_grad(lambda x: g(x).sum())(x)[1],
    "remat of scan": lambda g: ps.remat(lambda x: ps.scan(lambda c, x: (c, g(x)), 0, x)[1]),
    "vmap of cond": lambda g: ps.vmap(lambda x: ps.cond(x[0] > 0, g, g, x), split_rng=False),
    "optimize_rng_use": ps.experimental.optimize_rng_use,
}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_names_as_without_the_transform(name, wrap):
    def f(x):
        g = lambda x: ps.Linear(2, b_init=ps.initializers.RandomNormal())(x)
        first = TRANSFORMS[name](g)(x)
        second = TRANSFORMS[name](g)(x)
        return first, second, ps.Linear(2)(x)

    pair = ps.transform(f)
    params = wrap(pair.init)(jax.random.key(0), X)
    assert sorted(params) == ["linear", "linear_1", "linear_2"]
    first, second, _ = wrap(pair.apply)(params, jax.random.key(0), X)
    assert not np.allclose(first, second), "two layers, two sets of weights"
    changed = {**params, "linear_1": jax.tree.map(jnp.zeros_like, params["linear_1"])}
    first_again, second_again, _ = wrap(pair.apply)(changed, jax.random.key(0), X)
    np.testing.assert_array_equal(first, first_again)
    assert np.abs(second_again).sum() == 0


def test_a_wrapper_called_twice_is_two_calls():
    def f(x):
        g = ps.vmap(lambda x: ps.Linear(2)(x), split_rng=False)
        return g(g(x))

    assert sorted(ps.transform(f).init(jax.random.key(0), X)) == ["linear", "linear_1"]


def test_haiku_shares_the_weights_of_two_vmaps():
    """What we do otherwise on purpose: dm-haiku issue 740."""
    import haiku as hk

    def f(x):
        g = lambda x: hk.Linear(2)(x)
        return hk.vmap(g, split_rng=False)(hk.vmap(g, split_rng=False)(x))

    assert sorted(hk.transform(f).init(jax.random.key(0), X)) == ["linear"]


def test_eval_shape_takes_no_name():
    def f(x):
        ps.eval_shape(lambda x: ps.Linear(2)(x), x)
        return ps.Linear(2)(x)

    pair = ps.transform(f)
    params = pair.init(jax.random.key(0), X)
    assert sorted(params) == ["linear"]
    pair.apply(params, None, X)


def test_branches_have_modules_of_their_own():
    def f(i, x):
        inner = [
            lambda x: ps.Linear(2)(x),
            lambda x: ps.nets.MLP([3, 2])(x),
            lambda x: (
                ps.Linear(2, name="linear_7")(x) + ps.get_parameter("own", [2], init=jnp.ones)
            ),
            lambda x: x,
        ]
        return ps.switch(i, inner, x), ps.Linear(2)(x)

    pair = ps.transform(f)
    params = pair.init(jax.random.key(0), 3, X)
    assert sorted(params) == [
        "linear",
        "linear_7",
        "linear_8",
        "mlp/~/linear_0",
        "mlp/~/linear_1",
        "~",
    ]
    for i in range(4):
        out, _ = jax.jit(pair.apply)(params, None, i, X)
        grads = jax.grad(lambda p, i=i: pair.apply(p, None, i, X)[0].sum())(params)
        touched = {
            module
            for module, bundle in grads.items()
            if any(np.abs(g).sum() > 0 for g in bundle.values())
        }
        expected = [{"linear"}, {"mlp/~/linear_0", "mlp/~/linear_1"}, {"linear_7", "~"}, set()][i]
        assert touched == expected
    assert not np.array_equal(params["linear"]["w"], params["linear_7"]["w"])


def test_only_the_taken_branch_changes_state():
    class Count(ps.Module):
        def __call__(self):
            n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
            ps.set_state("n", n + 1)

    def f(pred, x):
        def branch(name):
            def run(x):
                Count(name=name)()
                return x

            return run

        return ps.cond(pred, branch("a"), branch("b"), x)

    pair = ps.transform_with_state(f)
    params, state = pair.init(None, True, X)
    assert {name: int(b["n"]) for name, b in state.items()} == {"a": 0, "b": 0}
    for pred, expected in ((True, (1, 0)), (False, (1, 1)), (False, (1, 2))):
        _, state = jax.jit(pair.apply)(params, state, None, pred, X)
        assert (int(state["a"]["n"]), int(state["b"]["n"])) == expected


def test_branch_names_without_jit():
    """With jit switched off JAX runs one branch alone, which still is the one it is with jit."""

    def f(pred, x):
        return ps.cond(pred, lambda x: ps.Linear(2)(x), lambda x: ps.Linear(2)(x), x)

    pair = ps.transform(f)
    params = pair.init(jax.random.key(0), True, X)
    for pred in (True, False):
        expected = pair.apply(params, None, pred, X)
        with jax.disable_jit():
            np.testing.assert_allclose(pair.apply(params, None, pred, X), expected, rtol=1e-6)
            assert sorted(pair.init(jax.random.key(0), pred, X)) == ["linear", "linear_1"]
