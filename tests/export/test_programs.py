"""Every net and the main layers are exported for all platforms, with a batch and a time of any size."""

import jax
import numpy as np
import pytest

import purestate as ps
from tests.export.programs import (
    NETS,
    PLATFORMS,
    ROWS,
    SIZES,
    UNROLLS,
    Row,
    exported,
    inputs_of,
    over_time,
)


def check(row: Row) -> None:
    f, model = exported(row, platforms=PLATFORMS)
    rng = jax.random.key(2) if row.rng else None
    first, second = (inputs_of(row, sizes) for sizes in SIZES)
    want = jax.jit(f.apply)(model.params, model.state, rng, *first)
    got = model(*first, rng=rng)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    args = (model.params, model.state, rng, *second)
    assert jax.eval_shape(model.apply, *args) == jax.eval_shape(f.apply, *args)
    assert model.exported.platforms == PLATFORMS


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", ROWS)
def test_program_computes_what_apply_does(name):
    check(ROWS[name])


@pytest.mark.parametrize("name", UNROLLS)
def test_unrolls_over_any_time(name):
    check(over_time(UNROLLS[name]))


def test_every_net_is_in_the_table():
    in_table = {name.partition(",")[0] for name in NETS}
    depths = {f"ResNet{depth}" for depth in (18, 34, 50, 101, 152, 200)}
    assert in_table | depths == set(ps.nets.__all__)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152, 200])
def test_whole_residual_networks(depth):
    f = ps.transform_with_state(lambda x: getattr(ps.nets, f"ResNet{depth}")(10)(x, True))
    image = jax.ShapeDtypeStruct([1, 32, 32, 3], "float32")
    shapes = jax.eval_shape(f.init, jax.random.key(0), image)
    params, state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    model = ps.export(f, params, state, "float32[b, 32, 32, 3]", platforms=PLATFORMS)
    out, _ = jax.eval_shape(model, jax.ShapeDtypeStruct([7, 32, 32, 3], "float32"))
    assert out.shape == (7, 10)
