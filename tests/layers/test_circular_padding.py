"""`padding="CIRCULAR"` and `"REFLECT"`: a convolution of the input that `numpy.pad` makes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate.errors import LayerError

MODES = {"CIRCULAR": "wrap", "REFLECT": "reflect"}
LAYERS: dict[str, Any] = {
    "Conv1D": (lambda **k: ps.Conv1D(3, 3, **k), (2, 7, 2), (1,)),
    "Conv1D_channels_first": (
        lambda **k: ps.Conv1D(3, 4, data_format="NCW", **k),
        (2, 2, 7),
        (2,),
    ),
    "Conv2D_strided": (lambda **k: ps.Conv2D(3, (3, 4), stride=2, **k), (2, 7, 8, 2), (1, 2)),
    "Conv2D_dilated": (lambda **k: ps.Conv2D(3, 3, rate=2, **k), (2, 7, 8, 2), (1, 2)),
    "Conv3D": (lambda **k: ps.Conv3D(2, 3, **k), (1, 4, 4, 4, 2), (1, 2, 3)),
    "DepthwiseConv2D": (lambda **k: ps.DepthwiseConv2D(2, 3, **k), (2, 7, 8, 2), (1, 2)),
}


@pytest.mark.parametrize("padding", MODES)
@pytest.mark.parametrize("name", LAYERS)
def test_it_is_a_convolution_of_the_padded_input(name: str, padding: str) -> None:
    make, shape, axes = LAYERS[name]
    x = np.random.RandomState(0).standard_normal(shape).astype(np.float32)
    f = ps.transform(lambda x: make(padding=padding)(x))
    valid = ps.transform(lambda x: make(padding="VALID")(x))
    params = f.init(jax.random.key(0), x)
    w = next(iter(params.values()))["w"]
    rate = 2 if "dilated" in name else 1
    width = [(0, 0)] * x.ndim
    for axis, size in zip(axes, w.shape, strict=False):
        total = (size - 1) * rate
        width[axis] = (total // 2, total - total // 2)
    expected = valid.apply(params, None, np.pad(x, width, mode=MODES[padding]))
    np.testing.assert_allclose(f.apply(params, None, x), expected, rtol=1e-5, atol=1e-6)
    same = ps.transform(lambda x: make(padding="SAME")(x)).apply(params, None, x)
    assert expected.shape == same.shape


def test_a_circular_convolution_commutes_with_a_roll() -> None:
    x = jax.random.normal(jax.random.key(0), [1, 9, 2])
    f = ps.transform(lambda x: ps.Conv1D(3, 4, padding="circular")(x))
    params = f.init(jax.random.key(1), x)
    rolled = f.apply(params, None, jnp.roll(x, 2, axis=1))
    expected = jnp.roll(f.apply(params, None, x), 2, axis=1)
    np.testing.assert_allclose(rolled, expected, rtol=1e-5, atol=1e-6)


def test_an_axis_too_short_to_reflect_is_an_error() -> None:
    f = ps.transform(lambda x: ps.Conv1D(3, 5, padding="REFLECT")(x))
    with pytest.raises(LayerError, match="an axis of size 2 cannot be reflected by 2"):
        f.init(jax.random.key(0), jnp.ones([1, 2, 1]))
