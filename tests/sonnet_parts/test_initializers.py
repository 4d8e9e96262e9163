import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import purestate as ps
import purestate.sonnet as snt
from purestate._sonnet import initializers
from tests.sonnet_parts.tables import INITIALIZER_CALLS, recorded

RANDOM = [
    initializers.RandomUniform,
    initializers.RandomNormal,
    initializers.TruncatedNormal,
    initializers.Orthogonal,
    initializers.VarianceScaling,
]


@pytest.mark.parametrize("row", range(len(INITIALIZER_CALLS)))
def test_a_call_gives_the_dtype_and_shape_of_sonnet_or_its_error(row):
    name, args, shape, dtype = INITIALIZER_CALLS[row]
    expected = recorded("initializers")[row]
    try:
        value = getattr(initializers, name)(*args)(shape, jnp.dtype(dtype))
    except (TypeError, ValueError) as error:
        assert isinstance(error, ps.errors.PurestateError)
        assert expected in [cls.__name__ for cls in type(error).__mro__]
    else:
        assert expected == [value.dtype.name, list(value.shape)]


@pytest.mark.parametrize(
    "init, reference",
    [
        (initializers.RandomUniform(-1.0, 3.0), scipy.stats.uniform(-1.0, 4.0)),
        (initializers.RandomNormal(0.5, 2.0), scipy.stats.norm(0.5, 2.0)),
        # Not rescaled: the standard deviation is that before the cut.
        (initializers.TruncatedNormal(0.5, 2.0), scipy.stats.truncnorm(-2, 2, 0.5, 2.0)),
        # Fans of [5, 10, 40]: 50 in, 200 out. The truncated one has this deviation after the cut.
        (
            initializers.VarianceScaling(2.0),
            scipy.stats.truncnorm(-2, 2, 0, np.sqrt(2 / 50) / 0.87962566103423978),
        ),
        (initializers.VarianceScaling(2.0, "fan_out", "normal"), scipy.stats.norm(0, 0.1)),
        (
            initializers.VarianceScaling(3.0, "fan_avg", "uniform"),
            scipy.stats.uniform(-np.sqrt(9 / 125), 2 * np.sqrt(9 / 125)),
        ),
    ],
)
def test_values_are_of_the_distribution(init, reference):
    f = ps.transform(lambda: init([5, 10, 40], jnp.float32))
    values = np.asarray(f.apply({}, jax.random.key(0))).ravel()
    assert scipy.stats.kstest(values, reference.cdf).pvalue > 0.01


def test_uniform_integers_take_each_value_below_the_bound():
    f = ps.transform(lambda: initializers.RandomUniform(-2, 3)([5000], jnp.int32))
    values, counts = np.unique(f.apply({}, jax.random.key(0)), return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    assert scipy.stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize("shape", [[4, 4], [3, 5], [5, 3], [2, 3, 4], [2, 2, 9]])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_orthogonal(shape, dtype):
    f = ps.transform(lambda: initializers.Orthogonal(2.0)(shape, dtype))
    q = np.asarray(f.apply({}, jax.random.key(0)), np.float64).reshape(-1, shape[-1]) / 2
    gram = q @ q.T if q.shape[0] < q.shape[1] else q.T @ q
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-5 if dtype == "float32" else 0.03)


def test_orthogonal_is_uniform():
    """The sign of each entry is that of a coin, as the plain QR decomposition's is not."""
    f = ps.transform(lambda: initializers.Orthogonal()([2, 2], jnp.float32))
    q = jax.vmap(lambda key: f.apply({}, key))(jax.random.split(jax.random.key(0), 500))
    positive = np.asarray(q > 0).sum(0)
    assert np.all(np.abs(positive - 250) < 60)


def test_identity_in_batches():
    value = initializers.Identity(3)([2, 2, 3], jnp.int32)
    np.testing.assert_array_equal(value, np.broadcast_to(3 * np.eye(2, 3, dtype=int), (2, 2, 3)))


def test_a_shape_may_be_an_int():
    assert initializers.Ones()(3, jnp.float32).tolist() == [1.0, 1.0, 1.0]


def test_a_bound_may_be_an_array_or_a_variable():
    mean = snt.Variable(3.0, name="mean")
    init = initializers.RandomNormal(mean, jnp.zeros([]))
    assert init([2], jnp.float16).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("make", RANDOM, ids=lambda make: make.__name__)
def test_without_a_seed_the_key_decides(make):
    f = ps.transform(lambda: [make()([3, 3], jnp.float32) for _ in range(2)])
    first, second = f.apply({}, jax.random.key(0))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, f.apply({}, jax.random.key(1))[0])
    np.testing.assert_array_equal(first, f.apply({}, jax.random.key(0))[0])


@pytest.mark.parametrize("make", RANDOM, ids=lambda make: make.__name__)
@pytest.mark.parametrize("rng_mode", ["sequence", "path"])
def test_a_seed_gives_each_use_other_values_and_each_run_the_same(make, rng_mode):
    one = make(seed=3)

    def draw():
        # In TensorFlow, too, another object with the same seed goes on where the first one ended.
        return [init([3, 3], jnp.float32) for init in (one, one, make(seed=3), make(seed=4))]

    f = ps.transform(draw, rng_mode=rng_mode)
    values = f.apply({}, jax.random.key(0))
    for i in range(4):
        for j in range(i):
            assert not np.array_equal(values[i], values[j])
    for again in (f.apply({}, jax.random.key(7)), f.apply({}, None), jax.jit(f.apply)({}, None)):
        for value, same in zip(values, again, strict=True):
            np.testing.assert_allclose(value, same, rtol=1e-6)


def test_two_layers_that_share_a_seeded_initializer_differ():
    init = initializers.RandomNormal(seed=5)

    class Layer(snt.Module):
        @snt.once
        def _initialize(self):
            self.w = snt.Variable.create("w", [3], jnp.float32, init)

        def __call__(self):
            self._initialize()
            return self.w.value()

    params, _ = ps.transform_with_state(lambda: [Layer()(), Layer()()]).init(None)
    assert not np.array_equal(params["layer"]["w"], params["layer_1"]["w"])
    first, second = Layer(), Layer()
    assert not np.array_equal(first(), second())


def test_a_seed_counts_once_although_jax_traces_twice():
    def draw(x):
        w = ps.get_parameter("w", [3], jnp.float32, initializers.RandomNormal(seed=1))
        return x * w, ps.get_parameter("v", [3], jnp.float32, initializers.RandomNormal(seed=1))

    plain = ps.transform(draw).init(None, jnp.ones(3))
    lifted = ps.transform(lambda x: ps.remat(draw)(x)).init(None, jnp.ones(3))
    for name in ("w", "v"):
        np.testing.assert_array_equal(plain["~"][name], lifted["~"][name])


def test_an_initializer_needs_a_call():
    with pytest.raises(TypeError, match="abstract"):
        initializers.Initializer()
