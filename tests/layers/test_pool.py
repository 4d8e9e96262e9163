import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.conv_reference import same_padding

DRAW = np.random.RandomState(0)


def pooled(x, window, stride, padding, reduce):
    """Each window in a loop; windows reach over the edge and see what is there."""
    sizes = x.shape
    if padding == "SAME":
        front = [same_padding(*each, 1)[0] for each in zip(sizes, window, stride, strict=True)]
        counts = [-(-n // s) for n, s in zip(sizes, stride, strict=True)]
    else:
        front = [0] * x.ndim
        counts = [(n - w) // s + 1 for n, w, s in zip(sizes, window, stride, strict=True)]
    out = np.zeros(counts)
    for p in itertools.product(*(range(n) for n in counts)):
        starts = [i * s - f for i, s, f in zip(p, stride, front, strict=True)]
        out[p] = reduce(
            x[tuple(slice(max(a, 0), a + w) for a, w in zip(starts, window, strict=True))]
        )
    return out


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("window", "stride"),
    [
        ((2, 3, 1), (1, 2, 1)),
        ((3, 3, 1), (2, 2, 1)),
        ((1, 4, 2), (1, 1, 2)),
        ((1, 1, 1), (2, 1, 1)),
    ],
)
@pytest.mark.parametrize(
    ("function", "module", "reduce"),
    [(ps.max_pool, ps.MaxPool, np.max), (ps.avg_pool, ps.AvgPool, np.mean)],
)
def test_against_loops(padding, window, stride, function, module, reduce):
    x = DRAW.standard_normal((2, 6, 5, 4))
    expected = pooled(x, (1, *window), (1, *stride), padding, reduce)
    with jax.enable_x64(True):
        out = function(jnp.asarray(x), window, stride, padding)
        f = ps.transform(lambda x: module(window, stride, padding)(x))
        np.testing.assert_array_equal(f.apply({}, None, jnp.asarray(x)), out)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("axis", "window"), [(-1, (1, 2, 2, 1)), (1, (1, 1, 2, 2)), (None, (1, 2, 2, 2))]
)
def test_one_number_spares_batch_and_channels_and_warns(axis, window):
    x = DRAW.standard_normal((2, 4, 6, 4)).astype(np.float32)
    with pytest.warns(DeprecationWarning, match="vmap"):
        out = ps.max_pool(x, 2, 2, "VALID", channel_axis=axis)
    np.testing.assert_array_equal(out, pooled(x, window, window, "VALID", np.max))


def test_gradient_of_the_maximum_goes_to_the_largest():
    x = jnp.array([1.0, 5.0, 2.0, 4.0, 3.0, 0.0]).reshape(1, 6, 1)
    gradient = jax.grad(lambda x: ps.max_pool(x, (3, 1), (3, 1), "VALID").sum())(x)
    assert gradient.ravel().tolist() == [0, 1, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (((2, 1), (2, 1), "FULL"), "FULL"),
        (((1, 1, 2, 1), 1, "SAME"), "4 axes"),
        ((1, 1, "SAME", 3), "channel_axis=3"),
    ],
)
def test_errors(arguments, says):
    with pytest.raises(ValueError, match=says) as error:
        ps.max_pool(jnp.ones([1, 4, 2]), *arguments)
    assert isinstance(error.value, ps.errors.PurestateError)
