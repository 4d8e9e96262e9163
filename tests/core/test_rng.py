"""Keys: raw and typed, of every implementation, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

IMPLEMENTATIONS = ["threefry2x32", "rbg", "unsafe_rbg"]


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_typed_keys_of_every_implementation(impl):
    f = ps.transform(lambda x: ps.Linear(3)(x) + jax.random.normal(ps.next_rng_key(), [3]))
    key, x = jax.random.key(0, impl=impl), jnp.ones([1, 2])
    params = f.init(key, x)
    out = jax.jit(f.apply)(params, key, x)
    expected = x @ params["linear"]["w"] + jax.random.normal(jax.random.split(key)[1], [3])
    np.testing.assert_allclose(out, expected, rtol=1e-6)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_raw_keys_of_the_default_implementation(impl):
    with jax.default_prng_impl(impl):
        key = jax.random.PRNGKey(0)
        keys = ps.PRNGSequence(key)
        np.testing.assert_array_equal(next(keys), jax.random.split(key)[1])


def test_int_seeds_where_raw_keys_are_forbidden():
    with jax.legacy_prng_key("error"):
        f = ps.transform(lambda: jax.random.normal(ps.next_rng_key(), [3]))
        seeded = f.apply({}, 42)
        assert jnp.issubdtype(next(ps.PRNGSequence(1)).dtype, jax.dtypes.prng_key)
    np.testing.assert_array_equal(seeded, f.apply({}, jax.random.key(42)))


def test_ints_and_traced_ints_are_seeds():
    f = ps.transform(lambda: jax.random.normal(ps.next_rng_key(), [3]))
    np.testing.assert_array_equal(f.apply({}, 3), jax.jit(f.apply)({}, jnp.int32(3)))


@pytest.mark.parametrize(
    "key",
    [
        "nonsense",
        1.5,
        jnp.ones([2]),
        jax.random.split(jax.random.key(0)),
        jnp.zeros([3], jnp.uint32),
        {},
    ],
)
def test_what_is_no_key(key):
    with pytest.raises(ps.errors.InvalidRNGError, match="key"):
        ps.PRNGSequence(key)
    with pytest.raises(ps.errors.InvalidRNGError, match=r"apply\(params, state, rng"):
        ps.transform_with_state(lambda: None).apply({}, {}, key)
    with pytest.raises(ps.errors.InvalidRNGError, match=r"init\(rng"):
        ps.transform(lambda: None).init(key)


def test_no_key_says_who_asked():
    class Noisy(ps.Module):
        def __call__(self):
            return ps.next_rng_key()

    with pytest.raises(
        ps.errors.MissingRNGError, match=r"next_rng_key.*'noisy'.*`apply` was given no key"
    ):
        ps.transform(lambda: Noisy()()).apply({}, None)


def test_a_state_replaced_by_a_bad_one_stays():
    keys = ps.PRNGSequence(0)
    before = keys.internal_state
    with pytest.raises(ps.errors.InvalidRNGError):
        keys.replace_internal_state((jax.random.PRNGKey(1), ["nonsense"]))
    assert keys.internal_state[0] is before[0]


def test_take_splits_once_for_what_is_missing():
    keys = ps.PRNGSequence(jax.random.key(0))
    keys.reserve(2)
    first, second, third = keys.take(3)
    others = ps.PRNGSequence(jax.random.key(0))
    others.reserve(2)
    assert (first == next(others)).all()
    assert (second == next(others)).all()
    assert (third == next(others)).all()
    assert ps.PRNGSequence(0).take(0) == ()
