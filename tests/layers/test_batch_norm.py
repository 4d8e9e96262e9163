"""`BatchNorm`: flax's with the same numbers; statistics over replicas; errors."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import normal

X = normal(4, 3, 5) * 3 + 1
SCALE, OFFSET = np.arange(1.0, 6, dtype=np.float32), np.linspace(-1, 1, 5, dtype=np.float32)
PARAMS = {"batch_norm": {"scale": SCALE.reshape(1, 1, 5), "offset": OFFSET.reshape(1, 1, 5)}}
DECAY = 0.7
OURS = ps.transform_with_state(
    lambda x, is_training, local=False: ps.BatchNorm(True, True, DECAY, 1e-3)(x, is_training, local)
)
THEIRS = nn.BatchNorm(momentum=DECAY, epsilon=1e-3)


def test_a_training_run_as_in_flax():
    _, state = OURS.init(None, X, True)
    theirs = {
        "params": {"scale": SCALE, "bias": OFFSET},
        "batch_stats": {"mean": np.zeros(5, np.float32), "var": np.ones(5, np.float32)},
    }
    for step in range(1, 4):
        x = X * step + step
        out, state = OURS.apply(PARAMS, state, None, x, True)
        expected, changed = THEIRS.apply(
            theirs, x, use_running_average=False, mutable=["batch_stats"]
        )
        theirs |= changed
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
        # Flax starts the variance at 1 and leaves it so; ours starts at 0, and makes up for it in `average`.
        mean, var = (state[f"batch_norm/~/{name}_ema"] for name in ("mean", "var"))
        averages = theirs["batch_stats"]
        np.testing.assert_allclose(mean["hidden"].ravel(), averages["mean"], rtol=1e-4)
        np.testing.assert_allclose(var["hidden"].ravel(), averages["var"] - DECAY**step, rtol=1e-4)
        for ema in (mean, var):
            np.testing.assert_allclose(ema["average"], ema["hidden"] / (1 - DECAY**step), rtol=1e-5)
            assert int(ema["counter"]) == step

    averages = {
        name: state[f"batch_norm/~/{name}_ema"]["average"].ravel() for name in ("mean", "var")
    }
    out, unchanged = OURS.apply(PARAMS, state, None, X, False)
    expected = THEIRS.apply(
        {"params": theirs["params"], "batch_stats": averages}, X, use_running_average=True
    )
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    assert jax.tree.all(jax.tree.map(np.array_equal, unchanged, state))


def test_gradients_as_in_flax():
    _, state = OURS.init(None, X, True)
    weight = normal(*X.shape, seed=1)
    ours = jax.grad(lambda p, x: (OURS.apply(p, state, None, x, True)[0] * weight).sum(), (0, 1))(
        PARAMS, X
    )

    def loss(params, x):
        out, _ = THEIRS.apply(
            {"params": params}, x, use_running_average=False, mutable=["batch_stats"]
        )
        return (out * weight).sum()

    theirs = jax.grad(loss, (0, 1))({"scale": SCALE, "bias": OFFSET}, X)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        ours[0]["batch_norm"]["scale"].ravel(), theirs[0]["scale"], rtol=1e-4
    )
    np.testing.assert_allclose(
        ours[0]["batch_norm"]["offset"].ravel(), theirs[0]["bias"], rtol=1e-4
    )


def test_statistics_of_the_batch_without_training():
    _, state = OURS.init(None, X, True)
    _, state = OURS.apply(PARAMS, state, None, X * 5, True)
    local, unchanged = OURS.apply(PARAMS, state, None, X, False, True)
    training, _ = OURS.apply(PARAMS, state, None, X, True)
    np.testing.assert_array_equal(local, training)
    assert jax.tree.all(jax.tree.map(np.array_equal, unchanged, state))


@pytest.mark.parametrize(
    ("data_format", "channel"), [("NC...", 1), ("channels_first", 1), ("N...C", 2)]
)
def test_where_the_channels_are(data_format, channel):
    f = ps.transform_with_state(
        lambda x: ps.BatchNorm(False, False, 0.9, data_format=data_format)(x, True)
    )
    out = np.float64(f.apply(*f.init(None, X), None, X)[0])
    others = tuple({0, 1, 2} - {channel})
    np.testing.assert_allclose(out.mean(others), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(others), 1, rtol=1e-3)


def test_replicas_are_one_batch():
    def make(**options):
        return ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9, **options)(x, True))

    x = normal(4, 6, 3) * jnp.arange(1.0, 5).reshape(4, 1, 1)
    together, alone = make(cross_replica_axis="i"), make()
    params, state = alone.init(None, x[0])
    out, new_state = jax.vmap(lambda x: together.apply(params, state, None, x), axis_name="i")(x)
    expected, expected_state = alone.apply(params, state, None, x.reshape(24, 3))
    np.testing.assert_allclose(out.reshape(24, 3), expected, rtol=1e-4, atol=1e-5)
    for row in range(4):
        jax.tree.map(
            lambda ours, theirs, row=row: np.testing.assert_allclose(
                ours[row], theirs, rtol=1e-4, atol=1e-5
            ),
            new_state,
            expected_state,
        )


def test_groups_of_replicas_are_told_to_jax(monkeypatch):
    groups, seen = [[0, 1], [2, 3]], []
    monkeypatch.setattr(
        jax.lax,
        "pmean",
        lambda x, axis, axis_index_groups: seen.append((axis, axis_index_groups)) or x,
    )
    options = {"cross_replica_axis": "i", "cross_replica_axis_index_groups": groups}
    f = ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9, **options)(x, True))
    jax.vmap(lambda x: f.init(None, x), axis_name="i")(X[None])
    assert seen == [("i", groups)] * 2, "the mean, and the mean of squares"


@pytest.mark.parametrize("axis", [0, slice(0, 2)])
def test_axis_that_is_not_several(axis):
    with pytest.raises(ps.errors.LayerError, match=r"batch_norm.*such as \(0, 1\)"):
        ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9, axis=axis)(x, True)).init(
            None, jnp.ones([4, 3])
        )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: ps.BatchNorm(False, True, 0.9, scale_init=jnp.ones),
            "scale_init.*create_scale=False",
        ),
        (
            lambda: ps.BatchNorm(True, False, 0.9, offset_init=jnp.ones),
            "offset_init.*create_offset=False",
        ),
        (
            lambda: ps.BatchNorm(True, True, 0.9, cross_replica_axis_index_groups=[[0]]),
            "pass cross_replica_axis",
        ),
        (
            lambda: ps.BatchNorm(True, True, 0.9)(X, True, scale=X),
            "'batch_norm' has a scale of its own",
        ),
        (
            lambda: ps.BatchNorm(True, True, 0.9)(X, True, offset=X),
            "'batch_norm' has an offset of its own",
        ),
    ],
)
def test_errors(call, says):
    with pytest.raises(ps.errors.LayerError, match=says):
        ps.transform_with_state(call).init(None)
