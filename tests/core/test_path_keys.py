"""Keys by path."""

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps

A, B = jax.random.key(1), jax.random.key(2)
X = jnp.ones([2, 3])


def init(f, rng=A):
    return ps.transform(f, rng_mode="path").init(rng, X)


def model(*names):
    def f(x):
        for name in names:
            x = x + ps.nets.MLP([4, 3], name=name)(x)
        return x

    return f


def test_others_change_nothing():
    base = init(model("a", "b"))
    for other in (init(model("b", "a")), init(model("a", "c", "b")), init(model("c", "b", "a"))):
        for module in base:
            jax.tree.map(np.testing.assert_array_equal, base[module], other[module])
    only = init(model("b"))
    jax.tree.map(np.testing.assert_array_equal, only["b/~/linear_1"], base["b/~/linear_1"])
    in_order = ps.transform(model("a", "b")).init(A, X)
    assert (in_order["a/~/linear_0"]["w"] != base["a/~/linear_0"]["w"]).any()


def test_all_differ():
    params = init(model("a", "b"))
    values = {name: bundle["w"] for name, bundle in params.items()}
    for a in values:
        for b in values:
            assert a == b or values[a].shape != values[b].shape or (values[a] != values[b]).all()
    assert (init(model("a"), B)["a/~/linear_0"]["w"] != params["a/~/linear_0"]["w"]).all()


def test_an_initializer_that_draws_twice():
    def twice(shape, dtype):
        return jax.random.normal(ps.next_rng_key(), shape) - jax.random.normal(
            ps.next_rng_key(), shape
        )

    assert (init(lambda x: ps.get_parameter("w", [3], init=twice))["~"]["w"] != 0).all()


def test_draws_by_path_differ_and_repeat():
    class Noise(ps.Module):
        def __call__(self):
            return [jax.random.normal(ps.next_rng_key()) for _ in range(2)]

    def f(x):
        noise = Noise(name="n")
        steps = ps.scan(lambda c, _: (c, jax.random.normal(ps.next_rng_key())), 0, None, length=3)[
            1
        ]
        rows = ps.vmap(lambda _: jax.random.normal(ps.next_rng_key()), split_rng=True)(
            jnp.ones([3])
        )
        again = ps.remat(lambda: jax.random.normal(ps.next_rng_key()))()
        return (
            noise(),
            noise(),
            Noise(name="m")(),
            steps,
            rows,
            again,
            jax.random.normal(ps.next_rng_key()),
        )

    apply = ps.transform(f, rng_mode="path").apply
    values = np.concatenate([np.ravel(x) for x in jax.tree.leaves(apply({}, A, X))])
    assert len(set(values.tolist())) == len(values) == 14
    again = np.concatenate([np.ravel(x) for x in jax.tree.leaves(jax.jit(apply)({}, A, X))])
    np.testing.assert_allclose(values, again, rtol=1e-5)


def test_purify_keeps_to_paths():
    def f(order):
        def g(x):
            pure = ps.purify(lambda x: [ps.Linear(2, name=name)(x) for name in order])
            if ps.running_init():
                _, variables = pure(ps.get_variables(), B, x)
                ps.set_variables(variables)

        return g

    a, b = init(f("ab")), init(f("cba"))
    for module in a:
        jax.tree.map(np.testing.assert_array_equal, a[module], b[module])


def test_keys_of_rows_take_as_many_equations_for_more_rows():
    def f(x):
        return ps.vmap(lambda x: jax.random.normal(ps.next_rng_key()), split_rng=True)(x)

    apply = ps.transform(f, rng_mode="path").apply
    counts = [len(jax.make_jaxpr(apply)({}, A, jnp.ones([n])).eqns) for n in (2, 50)]
    assert counts[0] == counts[1]
