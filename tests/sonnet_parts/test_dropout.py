import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate._sonnet.dropout import Dropout
from purestate._sonnet.errors import SonnetValueError

KEY = jax.random.key(0)
X = jnp.ones([40, 50])


def transformed(*args, **kwargs):
    return ps.transform(lambda x, is_training=True: Dropout(*args, **kwargs)(x, is_training))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_how_many_are_dropped_and_how_the_others_are_scaled(rate):
    y = np.asarray(transformed(rate).apply({}, KEY, X))
    kept = y != 0
    assert abs(kept.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / kept.size)
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-6)


@pytest.mark.parametrize("rng_mode", ["sequence", "path"])
@pytest.mark.parametrize("seed", [None, 3, -1, 2**40])
def test_the_key_decides_and_each_call_drops_others(rng_mode, seed):
    def f(x):
        dropout = Dropout(0.5, seed=seed)
        return dropout(x, True), dropout(x, True)

    apply = ps.transform(f, rng_mode=rng_mode).apply
    first, second = apply({}, KEY, X)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, apply({}, jax.random.key(1), X)[0])
    np.testing.assert_array_equal(first, jax.jit(apply)({}, KEY, X)[0])


def test_seeds_differ():
    a, b = (transformed(0.5, seed=seed).apply({}, KEY, X) for seed in (1, 2))
    assert not np.array_equal(a, b)


@pytest.mark.parametrize(
    "noise_shape, shared",
    [
        ([40, 1], [1]),
        ([None, 1], [1]),
        ([1, 50], [0]),
        ([50], [0]),
        ([1, None], [0]),
        ([1], [0, 1]),
    ],
)
def test_noise_shape(noise_shape, shared):
    y = np.asarray(transformed(0.5, noise_shape).apply({}, KEY, X))
    for axis in shared:
        assert np.all(y == np.take(y, [0], axis))
    if len(shared) == 1:
        assert len(np.unique(y)) == 2


def test_nothing_is_drawn_if_it_does_not_train_or_the_rate_is_zero():
    np.testing.assert_array_equal(transformed(0.5).apply({}, None, X, False), X)
    np.testing.assert_array_equal(transformed(0.0).apply({}, None, X), X)
    with pytest.raises(ps.errors.MissingRNGError):
        transformed(0.5).apply({}, None, X)


def test_is_training_may_be_traced_and_the_rate_too():
    apply = jax.jit(transformed(0.5).apply)
    np.testing.assert_array_equal(apply({}, KEY, X, False), X)
    np.testing.assert_array_equal(apply({}, KEY, X, True), transformed(0.5).apply({}, KEY, X))
    f = ps.transform(lambda rate, x: Dropout(rate)(x, True))
    np.testing.assert_array_equal(jax.jit(f.apply)({}, KEY, 0.5, X), f.apply({}, KEY, 0.5, X))


def test_the_gradient_is_that_of_the_kept():
    apply = transformed(0.5).apply
    y, pullback = jax.vjp(lambda x: apply({}, KEY, x), X)
    np.testing.assert_array_equal(pullback(X)[0], y)


def test_what_is_dropped_is_zero_even_of_infinity():
    y = np.asarray(transformed(0.5).apply({}, KEY, jnp.full([200], jnp.inf)))
    assert set(y.tolist()) == {0.0, np.inf}


def test_mapped_elements_drop_others():
    f = ps.transform(lambda x: ps.vmap(lambda x: Dropout(0.5)(x, True), split_rng=True)(x))
    y = f.apply({}, KEY, X)
    assert not np.array_equal(y[0], y[1])


def test_outside_the_seed_of_the_process_decides():
    dropout = Dropout(0.5)
    snt.set_seed(1)
    first, second = dropout(X, True), dropout(X, True)
    snt.set_seed(1)
    np.testing.assert_array_equal(first, dropout(X, True))
    assert not np.array_equal(first, second)
    snt.set_seed(0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_dtype_stays(dtype):
    assert transformed(0.5).apply({}, KEY, X.astype(dtype)).dtype == dtype


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_rates_outside_their_range(rate):
    with pytest.raises(SonnetValueError, match=f"got {rate}"):
        transformed(rate).apply({}, KEY, X)


def test_errors():
    with pytest.raises(SonnetValueError, match="needs floats, but got int32"):
        transformed(0.5).apply({}, KEY, jnp.array([1, 2]))
    for noise_shape in ([5], [1, 1, 1], [40, 2]):
        with pytest.raises(SonnetValueError, match="noise_shape"):
            transformed(0.5, noise_shape).apply({}, KEY, X)
