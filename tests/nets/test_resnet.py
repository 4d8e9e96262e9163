import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

# As torchvision's, for 1000 classes.
NUM_PARAMETERS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}

NETS = {
    18: ps.nets.ResNet18,
    34: ps.nets.ResNet34,
    50: ps.nets.ResNet50,
    101: ps.nets.ResNet101,
    152: ps.nets.ResNet152,
    200: ps.nets.ResNet200,
}


def fast_if_usual(depths):
    """The page on nets, which `make test` runs, also counts the parameters of all."""
    slow = pytest.mark.slow
    return [depth if depth in (18, 50) else pytest.param(depth, marks=slow) for depth in depths]


def shapes_of(make, size=64):
    f = ps.transform_with_state(lambda x: make()(x, is_training=True))
    x = jnp.ones([2, size, size, 3])
    params, state = jax.eval_shape(f.init, jax.random.key(0), x)
    out, _ = jax.eval_shape(f.apply, params, state, None, x)
    return params, state, out


@pytest.mark.parametrize("depth", fast_if_usual(NUM_PARAMETERS))
def test_number_of_parameters(depth):
    params, _, out = shapes_of(lambda: NETS[depth](1000))
    assert sum(x.size for x in jax.tree.leaves(params)) == NUM_PARAMETERS[depth]
    assert out.shape == (2, 1000)
    if depth == 50:
        assert len(jax.tree.leaves(params)) == 161


@pytest.mark.parametrize("depth", fast_if_usual(NETS))
def test_depth_is_the_number_of_layers(depth):
    params, _, _ = shapes_of(lambda: NETS[depth](10, resnet_v2=True))
    assert sum("w" in own and "shortcut" not in module for module, own in params.items()) == depth


def test_a_new_bottleneck_block_is_its_shortcut():
    def f(x):
        return ps.nets.ResNet.BlockV1(8, 1, False, {}, bottleneck=True)(x, True, False)

    f = ps.transform_with_state(f)
    x = jnp.asarray(np.random.RandomState(0).standard_normal((2, 3, 3, 8)), jnp.float32)
    params, state = jax.jit(f.init)(jax.random.key(0), x)
    np.testing.assert_array_equal(jax.jit(f.apply)(params, state, None, x)[0], np.maximum(x, 0))


def test_configs_reach_the_layers():
    def f(x):
        net = ps.nets.ResNet18(
            10,
            bn_config={"decay_rate": 0.5, "create_offset": False},
            logits_config={"with_bias": False, "name": "head"},
            initial_conv_config={"kernel_shape": 3, "stride": 1, "name": "stem"},
            strides=(1, 1, 1, 2),
            name="net",
        )
        assert net.initial_batchnorm.mean_ema.decay == 0.5
        assert net.logits.w_init is jnp.zeros  # as by default
        return net(x, True)

    f = ps.transform_with_state(f)
    params, state = jax.eval_shape(f.init, jax.random.key(0), jnp.ones([1, 32, 32, 3]))
    assert params["net/~/stem"]["w"].shape == (3, 3, 3, 64)
    assert list(params["net/~/initial_batchnorm"]) == ["scale"]
    assert list(params["net/~/head"]) == ["w"]
    assert "net/~/block_group_0/~/block_0/~/batchnorm_0/~/mean_ema" in state


@pytest.mark.parametrize("v2", [False, True])
def test_projections_are_where_the_shape_changes(v2):
    def f():
        blocks = [
            [hasattr(b, "proj_conv") for b in g.blocks]
            for g in ps.nets.ResNet18(10, resnet_v2=v2).block_groups
        ]
        assert blocks == [[False, False], [True, False], [True, False], [True, False]]
        blocks = [
            [hasattr(b, "proj_conv") for b in g.blocks]
            for g in ps.nets.ResNet50(10, resnet_v2=v2).block_groups
        ]
        assert blocks == [[True] + [False] * (n - 1) for n in (3, 4, 6, 3)]

    ps.transform(f).init(None)


@pytest.mark.parametrize(
    "option", ["blocks_per_group", "channels_per_group", "use_projection", "strides"]
)
def test_four_values(option):
    options = {"blocks_per_group": (1, 1, 1, 1), option: (1, 1, 1)}
    with pytest.raises(ValueError, match=f"res_net.*{option}.*3") as error:
        ps.transform(lambda: ps.nets.ResNet(num_classes=10, **options)).init(None)
    assert isinstance(error.value, ps.errors.PurestateError)
