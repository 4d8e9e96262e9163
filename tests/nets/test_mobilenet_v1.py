import jax
import jax.numpy as jnp
import pytest

import purestate as ps


def test_number_of_parameters():
    f = ps.transform_with_state(lambda x: ps.nets.MobileNetV1()(x, True))
    x = jnp.ones([1, 224, 224, 3])
    params, state = jax.eval_shape(f.init, jax.random.key(0), x)
    # Keras has 4,253,864 with the 21,888 moving averages.
    assert sum(x.size for x in jax.tree.leaves(params)) == 4_253_864 - 21_888
    averages = [value["average"] for value in state.values()]
    assert sum(x.size for x in averages) == 21_888
    assert jax.eval_shape(f.apply, params, state, None, x)[0].shape == (1, 1000)


@pytest.mark.parametrize("use_bn", [True, False])
def test_names(use_bn):
    f = ps.transform_with_state(
        lambda x: ps.nets.MobileNetV1((2, 1), (4, 8), 3, use_bn, name="net")(x, True)
    )
    params, state = jax.eval_shape(f.init, jax.random.key(0), jnp.ones([1, 9, 9, 3]))
    layers = ["conv2_d", "logits"]
    layers += [
        f"mobile_net_v1_block{i}/{layer}_conv"
        for i in ("", "_1")
        for layer in ("depthwise", "pointwise")
    ]
    if use_bn:
        layers += ["batch_norm"]
        layers += [f"mobile_net_v1_block{i}/batch_norm{j}" for i in ("", "_1") for j in ("", "_1")]
    assert sorted(params) == sorted(f"net/{layer}" for layer in layers)
    assert bool(state) == use_bn
    assert ("b" in params["net/conv2_d"]) != use_bn


def test_as_many_strides_as_channels():
    with pytest.raises(ValueError, match="mobile_net_v1.*2 strides and 3 channels") as error:
        ps.transform(lambda: ps.nets.MobileNetV1((1, 2), (8, 8, 8))).init(None)
    assert isinstance(error.value, ps.errors.PurestateError)
