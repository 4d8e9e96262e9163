"""A traced value for a Python bool of a layer, a net or an unroll: the error names module and argument."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.every_layer import public_modules

X = np.ones([2, 4], np.float32)
IMAGE = np.ones([1, 8, 8, 2], np.float32)
VOLUME = np.ones([1, 3, 3, 3, 2], np.float32)
SERIES = np.ones([1, 5, 2], np.float32)
SEQUENCE = np.ones([3, 2, 4], np.float32)
TREE = {"a": {"w": X}}
ATTENTION = {"w_init": jnp.zeros}
BN = {"create_scale": True, "create_offset": True, "decay_rate": 0.9}
BLOCK = {"channels": 8, "stride": 1, "use_projection": True, "bn_config": {"decay_rate": 0.9}}
CALLED = {"is_training": True, "test_local_stats": False}


def _lstm() -> Any:
    return ps.LSTM(4)


def _unroll(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **k: f(_lstm(), SEQUENCE, _lstm().initial_state(2), **k)


MLP = ps.nets.MLP
ResNet = ps.nets.ResNet
RES_NET = ((1, 1, 1, 1), 3)


def _reversed(**option: Any) -> Any:
    mlp = MLP([3, 2])
    mlp(X)
    return mlp.reverse(**option)(jnp.ones([2, 3]))


# By callable and argument: a call with the bool in it, which is given as a keyword.
CASES: dict[tuple[str, str], Callable[..., Any]] = {
    **{
        ("BatchNorm", argument): lambda **k: ps.BatchNorm(**BN)(X, **{"is_training": True, **k})
        for argument in ("is_training", "test_local_stats")
    },
    **{
        ("BatchNorm", argument): (lambda **k: ps.BatchNorm(**{**BN, **k})(X, True))
        for argument in ("create_scale", "create_offset", "sync", "stats_at_init")
    },
    ("Bidirectional", "time_major"): lambda **k: ps.Bidirectional(_lstm(), _lstm())(SEQUENCE, **k),
    ("Conv1D", "with_bias"): lambda **k: ps.Conv1D(3, 2, **k)(SERIES),
    ("Conv2D", "with_bias"): lambda **k: ps.Conv2D(3, 2, **k)(IMAGE),
    ("Conv3D", "with_bias"): lambda **k: ps.Conv3D(3, 2, **k)(VOLUME),
    ("ConvND", "with_bias"): lambda **k: ps.ConvND(2, 3, 2, **k)(IMAGE),
    ("Conv1DTranspose", "with_bias"): lambda **k: ps.Conv1DTranspose(3, 2, **k)(SERIES),
    ("Conv2DTranspose", "with_bias"): lambda **k: ps.Conv2DTranspose(3, 2, **k)(IMAGE),
    ("Conv3DTranspose", "with_bias"): lambda **k: ps.Conv3DTranspose(3, 2, **k)(VOLUME),
    ("ConvNDTranspose", "with_bias"): lambda **k: ps.ConvNDTranspose(2, 3, 2, **k)(IMAGE),
    ("DepthwiseConv1D", "with_bias"): lambda **k: ps.DepthwiseConv1D(3, 2, **k)(SERIES),
    ("DepthwiseConv2D", "with_bias"): lambda **k: ps.DepthwiseConv2D(3, 2, **k)(IMAGE),
    ("DepthwiseConv3D", "with_bias"): lambda **k: ps.DepthwiseConv3D(3, 2, **k)(VOLUME),
    ("SeparableDepthwiseConv2D", "with_bias"): lambda **k: ps.SeparableDepthwiseConv2D(3, 2, **k)(
        IMAGE
    ),
    ("ConvLocal1D", "with_bias"): lambda **k: ps.ConvLocal1D(3, 2, **k)(SERIES),
    ("ConvLocal2D", "with_bias"): lambda **k: ps.ConvLocal2D(3, 2, **k)(IMAGE),
    ("ConvLocal3D", "with_bias"): lambda **k: ps.ConvLocal3D(3, 2, **k)(VOLUME),
    ("ConvLocalND", "with_bias"): lambda **k: ps.ConvLocalND(2, 3, 2, **k)(IMAGE),
    ("DenseGeneral", "with_bias"): lambda **k: ps.DenseGeneral(3, **k)(X),
    ("Dropout", "is_training"): lambda **k: ps.Dropout(0.5)(X, **k),
    ("EMAParamsTree", "zero_debias"): lambda **k: ps.EMAParamsTree(0.9, **k)(TREE),
    ("EMAParamsTree", "update_stats"): lambda **k: ps.EMAParamsTree(0.9)(TREE, **k),
    ("ExponentialMovingAverage", "zero_debias"): lambda **k: ps.ExponentialMovingAverage(0.9, **k)(
        X
    ),
    ("ExponentialMovingAverage", "update_stats"): lambda **k: ps.ExponentialMovingAverage(0.9)(
        X, **k
    ),
    ("GatedMLP", "with_bias"): lambda **k: ps.GatedMLP(3, **k)(X),
    **{
        ("GroupNorm", argument): lambda **k: ps.GroupNorm(2, **k)(X)
        for argument in ("create_scale", "create_offset")
    },
    ("GRU", "reset_after"): lambda **k: ps.GRU(3, **k),
    ("GroupedQueryAttention", "with_bias"): lambda **k: ps.GroupedQueryAttention(2, 4, **k)(X),
    **{
        ("GroupedQueryAttention", argument): lambda **k: ps.GroupedQueryAttention(2, 4)(X, **k)
        for argument in ("is_causal", "is_training")
    },
    **{
        ("InstanceNorm", argument): lambda **k: ps.InstanceNorm(
            **{"create_scale": True, "create_offset": True, **k}
        )(IMAGE)
        for argument in ("create_scale", "create_offset")
    },
    **{
        ("LayerNorm", argument): lambda **k: ps.LayerNorm(
            -1, **{"create_scale": True, "create_offset": True, **k}
        )(X)
        for argument in ("create_scale", "create_offset", "use_fast_variance")
    },
    ("Linear", "with_bias"): lambda **k: ps.Linear(3, **k)(X),
    ("MLP", "with_bias"): lambda **k: MLP([3], **k)(X),
    ("MLP", "activate_final"): lambda **k: MLP([3], **k)(X),
    ("MLP.reverse", "activate_final"): _reversed,
    **{
        ("MixtureOfExperts", argument): lambda **k: ps.MixtureOfExperts(2, 3, **k)(X)
        for argument in ("gated", "with_bias", "normalize_gates")
    },
    ("MobileNetV1", "use_bn"): lambda **k: ps.nets.MobileNetV1((1,), (2,), 3, **k)(IMAGE, True),
    ("MobileNetV1", "is_training"): lambda **k: ps.nets.MobileNetV1((1,), (2,), 3)(IMAGE, **k),
    ("MultiHeadAttention", "with_bias"): lambda **k: ps.MultiHeadAttention(2, 4, **ATTENTION, **k)(
        X, X, X
    ),
    ("MultiHeadAttention", "is_training"): lambda **k: ps.MultiHeadAttention(2, 4, **ATTENTION)(
        X, X, X, **k
    ),
    ("RMSNorm", "create_scale"): lambda **k: ps.RMSNorm(-1, **k)(X),
    ("RecurrentDropout", "is_training"): lambda **k: ps.RecurrentDropout(_lstm(), 0.5, **k),
    **{
        ("ResNet", argument): lambda **k: ResNet(*RES_NET, **k)(IMAGE, True)
        for argument in ("resnet_v2", "bottleneck")
    },
    **{
        ("ResNet", argument): lambda **k: ResNet(*RES_NET)(IMAGE, **{**CALLED, **k})
        for argument in CALLED
    },
    **{
        ("ResNet18", argument): lambda **k: ps.nets.ResNet18(3)(IMAGE, **{**CALLED, **k})
        for argument in CALLED
    },
    ("ResNet18", "resnet_v2"): lambda **k: ps.nets.ResNet18(3, **k)(IMAGE, True),
    **{
        (name, argument): lambda cls=cls, **k: cls(**{**BLOCK, "bottleneck": True, **k})(
            IMAGE, True, False
        )
        for name, cls in (("ResNet.BlockV1", ResNet.BlockV1), ("ResNet.BlockV2", ResNet.BlockV2))
        for argument in ("use_projection", "bottleneck")
    },
    **{
        (name, argument): lambda cls=cls, **k: cls(**BLOCK, bottleneck=True)(
            IMAGE, **{**CALLED, **k}
        )
        for name, cls in (("ResNet.BlockV1", ResNet.BlockV1), ("ResNet.BlockV2", ResNet.BlockV2))
        for argument in CALLED
    },
    **{
        ("ResNet.BlockGroup", argument): lambda **k: ResNet.BlockGroup(
            **{**BLOCK, "num_blocks": 1, "resnet_v2": False, "bottleneck": True, **k}
        )(IMAGE, True, False)
        for argument in ("resnet_v2", "bottleneck", "use_projection")
    },
    **{
        ("ResNet.BlockGroup", argument): lambda **k: ResNet.BlockGroup(
            **BLOCK, num_blocks=1, resnet_v2=False, bottleneck=True
        )(IMAGE, **{**CALLED, **k})
        for argument in CALLED
    },
    ("SNParamsTree", "update_stats"): lambda **k: ps.SNParamsTree()(TREE, **k),
    ("lora", "dora"): lambda **k: ps.lora(2, **k),
    ("lora", "rank_stabilized"): lambda **k: ps.lora(2, alpha=1.0, **k),
    ("merge_lora", "rank_stabilized"): lambda **k: ps.merge_lora({}, 1.0, **k),
    ("Scaler", "create_offset"): lambda **k: ps.Scaler(**k)(X),
    ("SpectralNorm", "update_stats"): lambda **k: ps.SpectralNorm()(X, **k),
    ("SpectralNorm", "error_on_non_matrix"): lambda **k: ps.SpectralNorm()(X, **k),
    ("VanillaRNN", "double_bias"): lambda **k: ps.VanillaRNN(3, **k),
    ("VectorQuantizerEMA", "is_training"): lambda **k: ps.nets.VectorQuantizerEMA(4, 3, 0.2, 0.9)(
        X, **k
    ),
    ("VectorQuantizerEMA", "stats_at_init"): lambda **k: ps.nets.VectorQuantizerEMA(
        4, 3, 0.2, 0.9, **k
    )(X, True),
    **{
        ("dynamic_unroll", argument): _unroll(ps.dynamic_unroll)
        for argument in ("time_major", "reverse", "return_all_states")
    },
    ("static_unroll", "time_major"): _unroll(ps.static_unroll),
    ("rotary_embedding", "interleaved"): lambda **k: ps.rotary_embedding(
        X[:, None], np.arange(2), **k
    ),
    ("sliding_window_mask", "causal"): lambda **k: ps.sliding_window_mask(3, 2, **k),
}

UNUSED = {("VectorQuantizer", "is_training")}
"""Not looked at."""


@pytest.mark.parametrize("name, argument", CASES, ids=lambda value: value)
def test_it_is_named(name, argument):
    call = CASES[name, argument]

    def run(value: Any) -> Any:
        f = ps.transform_with_state(lambda: call(**{argument: value}))
        return f.init(jax.random.key(0))

    with pytest.raises(ps.errors.TracedBoolError) as caught:
        jax.jit(run)(True)
    said = str(caught.value)
    assert f"{argument} is traced" in said
    assert "static_argnames" in said
    assert "functools.partial" in said
    assert isinstance(caught.value, TypeError)
    if name[0].isupper() and name != "MLP":
        assert "'" in said  # the path of a module
    else:
        assert name in said


def _bools(f: Any) -> list[str]:
    parameters = inspect.signature(f).parameters.values()
    return [p.name for p in parameters if p.annotation in (bool, bool | None)]


def test_every_bool_of_every_layer_is_there():
    found = set()
    blocks = {
        f"ResNet.{name}": getattr(ResNet, name) for name in ("BlockV1", "BlockV2", "BlockGroup")
    }
    for name, cls in {**public_modules(), **blocks}.items():
        for method, value in inspect.getmembers(cls, inspect.isfunction):
            if not method.startswith("_") or method in ("__init__", "__call__"):
                of = name if method.startswith("__") else f"{name}.{method}"
                found |= {(of, argument) for argument in _bools(value)}
    for name, value in ((name, getattr(ps, name)) for name in ps.__all__):
        if inspect.isfunction(value) and value.__module__.startswith("purestate._layers"):
            found |= {(name, argument) for argument in _bools(value)}
    assert found - UNUSED == set(CASES)
