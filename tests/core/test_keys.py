"""Keys one after the other, and by stream."""

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
