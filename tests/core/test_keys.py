"""Keys by stream, and keys by path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

A, B = jax.random.key(1), jax.random.key(2)
X = jnp.ones([2, 3])


def same(a, b):
    return bool((jax.random.key_data(a) == jax.random.key_data(b)).all())


def test_streams_are_apart():
    def f(x):
        return ps.next_rng_key("dropout"), ps.Linear(2)(x), ps.next_rng_key("dropout")

    g = ps.transform(f)
    params = g.init({"params": A, "dropout": B}, X)
    alone = ps.transform(lambda x: ps.Linear(2)(x)).init(A, X)
    np.testing.assert_array_equal(params["linear"]["w"], alone["linear"]["w"])
    first, _, second = g.apply(params, {"dropout": B}, X)
    expected = ps.PRNGSequence(B)
    assert same(first, next(expected))
    assert same(second, next(expected))


def test_a_single_key_feeds_all_streams_in_order():
    drawn = ps.transform(
        lambda: [ps.next_rng_key("a"), ps.next_rng_key(), ps.next_rng_key("b")]
    ).apply({}, A)
    expected = ps.PRNGSequence(A)
    assert all(same(key, next(expected)) for key in drawn)


@pytest.mark.parametrize(
    ("given", "asked", "found"),
    [
        ({"params": A, "default": B}, None, B),
        ({"params": A}, None, A),
        ({"default": B}, "dropout", B),
        ({"default": A, "dropout": B}, "dropout", B),
        ({"params": A}, "dropout", None),
        ({"dropout": A}, None, None),
    ],
)
def test_which_stream_answers(given, asked, found):
    f = ps.transform(lambda: ps.next_rng_key(asked))
    if found is None:
        with pytest.raises(
            ps.errors.MissingRNGError, match=f"'~'.*{asked or 'default'!r}.*{next(iter(given))!r}"
        ):
            f.apply({}, given)
    else:
        assert same(f.apply({}, given), next(ps.PRNGSequence(found)))


def test_dropout_asks_for_its_stream():
    f = ps.transform(lambda x: ps.Dropout(0.5)(x, True))
    f.apply({}, {"dropout": A}, X)
    with pytest.raises(ps.errors.MissingRNGError, match="'dropout'"):
        f.apply({}, {"params": A}, X)


@pytest.mark.parametrize("rng", [{}, {"params": "x"}, {"linear": {"w": jnp.ones([2])}}])
def test_what_is_no_dict_of_keys(rng):
    with pytest.raises(ps.errors.InvalidRNGError, match="init"):
        ps.transform(lambda: ps.next_rng_key()).init(rng)


def test_streams_through_transforms():
    def f(x):
        def step(carry, x):
            return carry, (
                jax.random.normal(ps.next_rng_key("a")),
                jax.random.normal(ps.next_rng_key("b")),
            )

        _, (a, b) = ps.scan(step, 0, x)
        rows = ps.vmap(lambda x: jax.random.normal(ps.next_rng_key("a")), split_rng=True)(x)
        taken = ps.cond(x.sum() > 0, lambda: jax.random.normal(ps.next_rng_key("b")), lambda: 0.0)
        return (
            a,
            b,
            rows,
            taken,
            jax.random.normal(ps.next_rng_key("a")),
            jax.random.normal(ps.next_rng_key("b")),
        )

    out = jax.jit(ps.transform(f).apply)({}, {"a": A, "b": B}, jnp.ones([4]))
    values = np.concatenate([np.ravel(x) for x in out])
    assert len(set(values.tolist())) == len(values) == 15


# Keys by path


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


def test_unknown_mode():
    with pytest.raises(ps.errors.ConfigError, match="'sequence' or 'path'"):
        init_unknown = ps.transform(lambda: ps.next_rng_key(), rng_mode="paht").init
        init_unknown(A)


def test_has_rng():
    def f():
        return ps.has_rng(), ps.has_rng("a"), ps.has_rng("b")

    g = ps.transform(f)
    assert g.apply({}, None) == (False, False, False)
    assert g.apply({}, A) == (True, True, True)
    assert g.apply({}, {"a": A}) == (False, True, False)
    assert g.apply({}, {"default": A}) == (True, True, True)


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
