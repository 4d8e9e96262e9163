import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

DRAW = np.random.RandomState(0)
X = DRAW.standard_normal((5, 4, 3)).astype(np.float32)
E = DRAW.standard_normal((3, 7)).astype(np.float32)


def nearest(x, embeddings):
    distances = ((x.reshape(-1, 3)[:, :, None].astype(np.float64) - embeddings) ** 2).sum(1)
    return distances, distances.argmin(1)


def quantizer(**kwargs):
    return ps.transform_with_state(
        lambda x, train=True: ps.nets.VectorQuantizer(3, 7, 0.25, name="vq", **kwargs)(x, train)
    )


def ema_quantizer(decay=0.9, **kwargs):
    def f(x, train=True):
        return ps.nets.VectorQuantizerEMA(3, 7, 0.25, decay, name="vq", **kwargs)(x, train)

    return ps.transform_with_state(f)


PARAMS = {"vq": {"embeddings": E}}


def begun(f):
    """The state that training begins with: averages that have seen nothing, and the embeddings above."""
    return {**f.init(jax.random.key(0), X)[1], **PARAMS}


@pytest.mark.parametrize("ema", [False, True])
def test_each_vector_becomes_the_nearest(ema):
    f = ema_quantizer() if ema else quantizer()
    params, state = ({}, PARAMS) if ema else (PARAMS, {})
    out, _ = f.apply(params, state, None, X, False)
    distances, indices = nearest(X, E)
    np.testing.assert_allclose(out["distances"], distances, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(out["encoding_indices"], indices.reshape(5, 4))
    np.testing.assert_array_equal(out["encodings"], np.eye(7)[indices])
    np.testing.assert_allclose(out["quantize"], E.T[indices].reshape(X.shape), rtol=1e-5, atol=1e-5)
    error = np.mean((E.T[indices].reshape(X.shape) - X.astype(np.float64)) ** 2)
    np.testing.assert_allclose(out["loss"], error * (0.25 if ema else 1.25), rtol=1e-5)
    used = np.bincount(indices, minlength=7) / len(indices)
    np.testing.assert_allclose(
        out["perplexity"], np.exp(-np.sum(used * np.log(used + 1e-10))), rtol=1e-5
    )


def test_gradients():
    f = quantizer()
    _, indices = nearest(X, E)
    differences = E.T[indices].reshape(X.shape) - X

    through = jax.grad(
        lambda x: jnp.sum(f.apply(PARAMS, {}, None, x)[0]["quantize"] * differences)
    )(X)
    np.testing.assert_allclose(through, differences, rtol=1e-6)  # as if nothing was replaced
    params, x = jax.grad(lambda p, x: f.apply(p, {}, None, x)[0]["loss"], argnums=(0, 1))(PARAMS, X)
    np.testing.assert_allclose(x, -0.25 * 2 * differences / X.size, rtol=1e-4, atol=1e-7)
    to_inputs = np.zeros([7, 3])
    np.add.at(to_inputs, indices, 2 * differences.reshape(-1, 3) / X.size)
    np.testing.assert_allclose(params["vq"]["embeddings"], to_inputs.T, rtol=1e-4, atol=1e-6)


def test_first_values():
    embeddings = quantizer().init(jax.random.key(0), X)[0]["vq"]["embeddings"]
    assert embeddings.shape == (3, 7)
    assert abs(embeddings).max() <= 1.0  # uniform, with variance 1 / fan_in = 1 / 3


def test_averages_follow_the_formula():
    f = ema_quantizer(decay=0.5, epsilon=1e-3)
    state = begun(f)
    embeddings = E.astype(np.float64)
    sizes, sums = np.zeros(7), np.zeros([3, 7])
    for step in (1, 2, 3):
        x = X * step
        _, indices = nearest(x, embeddings)
        one_hot = np.eye(7)[indices]
        _, state = f.apply({}, state, None, x)
        sizes = 0.5 * sizes + 0.5 * one_hot.sum(0)
        sums = 0.5 * sums + 0.5 * x.reshape(-1, 3).T @ one_hot
        unbiased_sizes, unbiased_sums = sizes / (1 - 0.5**step), sums / (1 - 0.5**step)
        total = unbiased_sizes.sum()
        smooth = (unbiased_sizes + 1e-3) / (total + 7e-3) * total
        embeddings = unbiased_sums / smooth
        np.testing.assert_allclose(state["vq"]["embeddings"], embeddings, rtol=1e-4, atol=1e-5)


def test_only_training_updates():
    f = ema_quantizer()
    _, state = f.apply({}, begun(f), None, X)
    _, same = f.apply({}, state, None, X * 2, False)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), state, same))


def test_two_replicas_are_one_batch():
    """Averages and perplexity over an axis are those of the whole batch."""
    f, g = ema_quantizer(), ema_quantizer(cross_replica_axis="i")
    first = begun(f)
    out, state = f.apply({}, first, None, X[:4])
    outs, states = jax.jit(jax.vmap(lambda x: g.apply({}, first, None, x), axis_name="i"))(
        X[:4].reshape(2, 2, 4, 3)
    )
    for replica in range(2):
        np.testing.assert_allclose(
            states["vq"]["embeddings"][replica], state["vq"]["embeddings"], rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(outs["perplexity"][replica], out["perplexity"], rtol=1e-5)
    h = quantizer(cross_replica_axis="i")
    outs, _ = jax.jit(jax.vmap(lambda x: h.apply(PARAMS, {}, None, x), axis_name="i"))(
        X[:4].reshape(2, 2, 4, 3)
    )
    np.testing.assert_allclose(outs["perplexity"], [out["perplexity"]] * 2, rtol=1e-5)


def test_properties_and_quantize():
    def f(x):
        layer = ps.nets.VectorQuantizerEMA(3, 7, 0.25, 0.9)
        layer(x, True)
        return (
            layer.quantize(jnp.array([[6, 0]])),
            layer.embeddings,
            layer.ema_cluster_size.average,
            layer.ema_dw.average,
        )

    (vectors, embeddings, sizes, sums), _ = ps.transform_with_state(f).apply(
        {}, None, jax.random.key(0), X
    )
    np.testing.assert_array_equal(vectors, embeddings.T[jnp.array([[6, 0]])])
    np.testing.assert_allclose(sizes.sum(), 20.0, rtol=1e-5)
    np.testing.assert_allclose(sums.sum(1), X.reshape(-1, 3).sum(0), rtol=1e-4, atol=1e-4)


def test_no_vectors():
    out, _ = quantizer().apply(PARAMS, {}, None, jnp.zeros([0, 2, 3]))
    assert out["quantize"].shape == (0, 2, 3)


@pytest.mark.parametrize("f", [quantizer(), ema_quantizer()])
def test_wrong_size(f):
    with pytest.raises(ValueError, match=r"vq.*embedding_dim=3.*\(5, 4, 6\)") as error:
        f.init(jax.random.key(0), np.ones([5, 4, 6], np.float32))
    assert isinstance(error.value, ps.errors.PurestateError)


@pytest.mark.parametrize("decay", [-0.1, 1.5])
def test_decay(decay):
    with pytest.raises(ValueError, match="decay.*between 0 and 1"):
        ema_quantizer(decay).init(jax.random.key(0), X)
