"""`Dropout`: drops as `jax.random` says with the frame's keys, and is not there at all otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._layers.dropout_module import Dropout
from purestate._layers.errors import LayerError

X = jnp.linspace(1.0, 2.0, 600).reshape(20, 30)


def model(rate, broadcast_dims=()):
    return ps.transform(
        lambda x, is_training=True, rng=None: Dropout(rate, broadcast_dims)(x, is_training, rng)
    )


@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey])
def test_drops_with_the_frames_key(make_key):
    key = make_key(3)
    keep = np.asarray(jax.random.bernoulli(jax.random.split(key)[1], 0.75, X.shape))
    expected = np.where(keep, np.asarray(X, np.float64) / 0.75, 0)
    out = model(0.25).apply({}, key, X)
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    assert 0.6 < keep.mean() < 0.9


def test_each_call_gets_another_key():
    def f(x):
        drop = Dropout(0.5)
        return drop(x, True), drop(x, True)

    a, b = ps.transform(f).apply({}, jax.random.key(0), X)
    assert 0.3 < ((a == 0) != (b == 0)).mean() < 0.7


def test_own_key_is_used_and_the_frames_is_not_touched():
    def f(x):
        return Dropout(0.5)(x, True, jax.random.key(7)), ps.next_rng_key()

    out, key = ps.transform(f).apply({}, jax.random.key(0), X)
    np.testing.assert_array_equal(out, ps.dropout(jax.random.key(7), 0.5, X))
    assert key == ps.transform(ps.next_rng_key).apply({}, jax.random.key(0))
    assert (model(0.5).apply({}, None, X, True, jax.random.key(7)) == out).all()


@pytest.mark.parametrize(
    "rate, is_training", [(0.5, False), (0.0, True), (0, True), (0.5, np.False_)]
)
def test_nothing_is_left_where_nothing_is_dropped(rate, is_training):
    apply = model(rate).apply
    jaxpr = jax.make_jaxpr(lambda x: apply({}, None, x, is_training))(X)
    assert not jaxpr.jaxpr.eqns
    assert apply({}, None, X, is_training) is X


def test_equations_are_those_of_dropout():
    ours = jax.make_jaxpr(lambda key, x: model(0.1).apply({}, key, x))(jax.random.key(0), X)
    plain = ps.transform(lambda x: ps.dropout(ps.next_rng_key(), 0.1, x))
    theirs = jax.make_jaxpr(lambda key, x: plain.apply({}, key, x))(jax.random.key(0), X)
    assert str(ours).count("\n") == str(theirs).count("\n")


def test_broadcast_dims_share_one_fate():
    dropped = np.asarray(model(0.5, [-1]).apply({}, jax.random.key(0), X) == 0)
    assert set(dropped.mean(-1)) == {0.0, 1.0}


def test_init_makes_no_variables():
    assert model(0.5).init(jax.random.key(0), X) == {}


def test_traced_rate_and_transforms():
    def f(rate, x):
        return model(rate).apply({}, jax.random.key(0), x)

    np.testing.assert_allclose(jax.jit(f)(0.25, X), f(0.25, X), rtol=1e-6)
    grad = jax.grad(lambda x: f(0.25, x).sum())(X)
    np.testing.assert_allclose(grad, np.where(f(0.25, X) == 0, 0, 1 / 0.75), rtol=1e-6)
    keys = jax.random.split(jax.random.key(0), 3)
    outs = jax.vmap(lambda key: model(0.5).apply({}, key, X))(keys)
    assert len({np.asarray(out).tobytes() for out in outs}) == 3


def test_errors():
    with pytest.raises(LayerError, match="'dropout'.*at least 0 and less than 1, got 1.5"):
        model(1.5).apply({}, None, X, False)
    with pytest.raises(LayerError, match="'dropout': is_training is traced.*static_argnames"):
        jax.jit(lambda t: model(0.5).apply({}, jax.random.key(0), X, t))(True)
    with pytest.raises(ps.errors.MissingRNGError, match="'dropout'"):
        model(0.5).apply({}, None, X)
    with pytest.raises(LayerError, match="broadcast_dims"):
        model(0.5, [2]).apply({}, jax.random.key(0), X)
