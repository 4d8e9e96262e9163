"""Every layer and net without recurrence, as functions of a library: dm-haiku or purestate."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Row(NamedTuple):
    """One configuration of a layer.

    Attributes:
      name: what the test is called.
      run: `run(library, *inputs) -> pytree`, to be transformed.
      shapes: of the inputs; a tuple of ints is drawn from a normal distribution, anything else is the input.
      dtypes: those it is tried with.
      is_net: whether it is so large that running it eagerly takes long.
    """

    name: str
    run: Callable[..., Any]
    shapes: tuple[Any, ...]
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "float64")
    is_net: bool = False


def inputs_of(row: Row, dtype: str) -> list[Any]:
    draw = np.random.RandomState(0)
    return [
        jnp.asarray(draw.standard_normal(shape), dtype) if isinstance(shape, tuple) else shape
        for shape in row.shapes
    ]


IMAGE = (2, 6, 5, 4)
FIRST = (2, 4, 6, 5)
IDS = np.array([[0, 3, 5], [1, 1, 2]], np.int32)
TREE = {
    "mlp/~/linear_0": {
        "w": np.arange(12, dtype=np.float32).reshape(3, 4),
        "b": np.ones([4], np.float32),
    },
    "linear": {"w": np.eye(3, 2, dtype=np.float32)},
}


def _called(make: Callable[[Any], Callable[..., Any]]) -> Callable[..., Any]:
    return lambda lib, *inputs: make(lib)(*inputs)


def _rows(**by_name: tuple[Callable[[Any], Callable[..., Any]], Any]) -> list[Row]:
    return [
        Row(name, _called(make), shapes if isinstance(shapes, list) else (shapes,))
        for name, (make, shapes) in by_name.items()
    ]


def _wave(shape: Any, dtype: Any) -> Any:
    """An initializer that takes no time to compile, for where it is not the initializer that is looked at."""
    return jnp.asarray(np.sin(1.0 + np.arange(math.prod(shape))).reshape(shape), dtype)


def _params_tree(name: str) -> Callable[..., Any]:
    def run(lib: Any, scale: Any) -> Any:
        tree = jax.tree.map(lambda x: x.astype(scale.dtype) * scale, TREE)
        if name == "SNParamsTree":
            return lib.SNParamsTree(n_steps=2, ignore_regex=".*/b$")(tree)
        return lib.EMAParamsTree(0.9, ignore_regex="linear/")(tree)

    return run


def _deferred(lib: Any, x: Any) -> Any:
    class Outer(lib.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = lib.Linear(3, with_bias=False, name="first")
            self.late = lib.Deferred(
                lambda: lib.Linear(self.first.input_size, with_bias=False, w_init=_wave)
            )
            self.later = lib.Deferred(lambda: lib.Linear(2, with_bias=False, w_init=_wave))

        def __call__(self, x: Any) -> Any:
            return self.later(
                lib.Linear(5, with_bias=False, w_init=_wave)(self.late(self.first(x)))
            )

    at_root = lib.Deferred(lambda: lib.Linear(4, with_bias=False, w_init=_wave))
    return at_root(Outer()(x))


def _deferred_from_root(lib: Any, x: Any) -> Any:
    class Outer(lib.Module):
        def __call__(self, layer: Any, x: Any) -> Any:
            return layer(x)

    return Outer()(lib.Deferred(lambda: lib.Linear(4, with_bias=False, w_init=_wave)), x)


def _twice(make: Callable[[Any], Callable[..., Any]]) -> Callable[..., Any]:
    """Calls a stateful layer twice, so that the second call reads what the first has set."""

    def run(lib: Any, x: Any) -> Any:
        layer = make(lib)
        return layer(x), layer(x * 2)

    return run


def _spectral_norm(lib: Any, x: Any) -> Any:
    layer = lib.SpectralNorm(n_steps=2)
    before = layer(x)
    return before, layer(x, update_stats=False), layer.sigma, layer.u0


def _norm_with(name: str) -> Callable[..., Any]:
    def run(lib: Any, x: Any, scale: Any, offset: Any) -> Any:
        if name == "LayerNorm":
            return lib.LayerNorm((1, 2), False, False)(x, scale, offset)
        if name == "GroupNorm":
            return lib.GroupNorm(2, create_scale=False, create_offset=False)(x, scale, offset)
        if name == "RMSNorm":
            return lib.RMSNorm(-1, create_scale=False)(x)
        return lib.BatchNorm(False, False, 0.9)(x, True, scale=scale, offset=offset)

    return run


def _quantizer(ema: bool, training: bool) -> Callable[..., Any]:
    def run(lib: Any, x: Any) -> Any:
        if ema:
            layer = lib.nets.VectorQuantizerEMA(4, 7, 0.25, decay=0.9, dtype=x.dtype)
        else:
            layer = lib.nets.VectorQuantizer(4, 7, 0.25, dtype=x.dtype)
        return (
            layer(x, training),
            layer(x * 2, training),
            layer.quantize(jnp.array([0, 6])),
            layer.embeddings,
        )

    return run


ROWS = [
    *_rows(
        linear=(lambda lib: lib.Linear(3), (2, 5)),
        linear_no_bias=(lambda lib: lib.Linear(3, with_bias=False), (2, 4, 5)),
        linear_vector=(lambda lib: lib.Linear(3, b_init=_wave), (5,)),
        bias=(lambda lib: lib.Bias(b_init=_wave), (2, 3, 4)),
        bias_dims=(lambda lib: lib.Bias(bias_dims=[1], b_init=_wave), (2, 3, 4)),
        reshape=(lambda lib: lib.Reshape((2, -1)), (2, 4, 3)),
        flatten=(lambda lib: lib.Flatten(), (2, 4, 3)),
        max_pool=(lambda lib: lib.MaxPool((2, 3, 1), (2, 2, 1), "SAME"), IMAGE),
        avg_pool=(lambda lib: lib.AvgPool((2, 3, 1), (2, 2, 1), "SAME"), IMAGE),
        avg_pool_valid=(lambda lib: lib.AvgPool((2, 3, 1), (1, 2, 1), "VALID"), IMAGE),
        sequential=(
            lambda lib: lib.Sequential([lib.Flatten(), jax.nn.relu, lib.RMSNorm(-1)]),
            (2, 5),
        ),
        ema=(lambda lib: lib.ExponentialMovingAverage(0.9), (3, 2)),
        batch_norm_first=(
            lambda lib: (
                lambda x: lib.BatchNorm(True, True, 0.9, data_format="NCHW", scale_init=_wave)(
                    x, True
                )
            ),
            FIRST,
        ),
        batch_norm_local=(
            lambda lib: lambda x: lib.BatchNorm(True, True, 0.9)(x, False, test_local_stats=True),
            IMAGE,
        ),
        # Convolutions. Biases are added in one way, which a few rows have.
        conv_nd=(lambda lib: lib.ConvND(2, 3, 3, stride=2), IMAGE),
        conv1d_causal=(
            lambda lib: lib.Conv1D(3, 3, rate=2, padding=lib.pad.causal, with_bias=False),
            (2, 9, 4),
        ),
        conv1d_unbatched=(lambda lib: lib.Conv1D(3, 3, with_bias=False, w_init=_wave), (9, 4)),
        conv2d_first=(
            lambda lib: lib.Conv2D(3, (3, 2), 1, 1, "VALID", True, _wave, _wave, "NCHW"),
            FIRST,
        ),
        conv2d_groups=(
            lambda lib: lib.Conv2D(6, 3, feature_group_count=2, with_bias=False, w_init=_wave),
            IMAGE,
        ),
        conv3d=(
            lambda lib: lib.Conv3D(2, 2, padding=((1, 0), (0, 1), (1, 1)), with_bias=False),
            (2, 3, 3, 3, 2),
        ),
        conv_nd_transpose=(lambda lib: lib.ConvNDTranspose(2, 3, 3, stride=2), IMAGE),
        conv1d_transpose_valid=(
            lambda lib: lib.Conv1DTranspose(3, 4, 3, None, "VALID", False, _wave),
            (2, 9, 4),
        ),
        conv1d_transpose_unbatched=(
            lambda lib: lib.Conv1DTranspose(3, 3, with_bias=False, w_init=_wave),
            (9, 4),
        ),
        conv1d_transpose_pairs=(
            lambda lib: lib.Conv1DTranspose(3, 3, 2, None, [(2, 1)], False, _wave),
            (2, 9, 4),
        ),
        conv2d_transpose_first=(
            lambda lib: lib.Conv2DTranspose(
                3, (3, 2), data_format="NCHW", w_init=_wave, b_init=_wave
            ),
            FIRST,
        ),
        conv2d_transpose_shape=(
            lambda lib: lib.Conv2DTranspose(3, 3, 2, (11, 10), "SAME", False, _wave),
            IMAGE,
        ),
        conv2d_transpose_shape_valid=(
            lambda lib: lib.Conv2DTranspose(
                3, 3, 2, (14, 11), "VALID", False, _wave, data_format="NCHW"
            ),
            FIRST,
        ),
        conv3d_transpose=(
            lambda lib: lib.Conv3DTranspose(2, 2, stride=2, with_bias=False),
            (2, 3, 2, 2, 2),
        ),
        depthwise_conv1d=(lambda lib: lib.DepthwiseConv1D(2, 3, rate=2), (2, 9, 4)),
        depthwise_conv2d=(
            lambda lib: lib.DepthwiseConv2D(2, 3, stride=2, padding="VALID", with_bias=False),
            IMAGE,
        ),
        depthwise_conv2d_first=(
            lambda lib: lib.DepthwiseConv2D(2, 3, w_init=_wave, b_init=_wave, data_format="NCHW"),
            FIRST,
        ),
        depthwise_conv3d=(
            lambda lib: lib.DepthwiseConv3D(1, 2, with_bias=False, w_init=_wave),
            (2, 3, 3, 3, 2),
        ),
        separable_depthwise_conv2d=(
            lambda lib: lib.SeparableDepthwiseConv2D(2, (3, 2), with_bias=False, w_init=_wave),
            IMAGE,
        ),
        # Normalization.
        layer_norm=(
            lambda lib: lib.LayerNorm(-1, True, True, scale_init=_wave, offset_init=_wave),
            (2, 3, 4),
        ),
        layer_norm_plain=(lambda lib: lib.LayerNorm(slice(1, None), False, False), (2, 3, 4)),
        layer_norm_scale=(
            lambda lib: lib.LayerNorm((1, 2), True, False, eps=1e-3, scale_init=_wave),
            (2, 3, 4),
        ),
        layer_norm_fast=(
            lambda lib: lib.LayerNorm(-1, False, True, use_fast_variance=True),
            (2, 3, 4),
        ),
        layer_norm_param_axis=(
            lambda lib: lib.LayerNorm(1, True, True, param_axis=(1, -1)),
            (2, 3, 4),
        ),
        instance_norm=(lambda lib: lib.InstanceNorm(True, True), IMAGE),
        instance_norm_first=(
            lambda lib: lib.InstanceNorm(True, True, data_format="NCHW", scale_init=_wave),
            FIRST,
        ),
        group_norm=(lambda lib: lib.GroupNorm(2, scale_init=_wave, offset_init=_wave), IMAGE),
        group_norm_first=(
            lambda lib: lib.GroupNorm(2, data_format="NCHW", scale_init=_wave),
            FIRST,
        ),
        group_norm_axis=(lambda lib: lib.GroupNorm(2, axis=(1, 3), create_offset=False), IMAGE),
        group_norm_last=(lambda lib: lib.GroupNorm(2, axis=-1, create_scale=False), (3, 4)),
        rms_norm=(lambda lib: lib.RMSNorm(-1, scale_init=_wave), (2, 3, 4)),
        rms_norm_axes=(
            lambda lib: lib.RMSNorm((0, 1), eps=1e-3, param_axis=1, scale_init=_wave),
            (2, 3, 4),
        ),
        rms_norm_plain=(lambda lib: lib.RMSNorm(slice(1, None), create_scale=False), (2, 3, 4)),
        # Others.
        batch_apply=(lambda lib: lib.BatchApply(lib.RMSNorm(-1)), (2, 3, 4)),
        expand_apply=(lambda lib: lib.expand_apply(lib.Flatten()), (2, 3)),
        mlp=(lambda lib: lib.nets.MLP([4, 3]), (2, 5)),
        mlp_dropout=(
            lambda lib: lambda x: lib.nets.MLP([4, 3], with_bias=False)(x, 0.5, jax.random.key(1)),
            (2, 5),
        ),
    ),
    Row(
        "conv2d_mask",
        lambda lib, x, mask: lib.Conv2D(3, 2, with_bias=False, w_init=_wave, mask=mask)(x),
        (IMAGE, (2, 2, 4, 3)),
    ),
    Row(
        "conv2d_transpose_mask",
        lambda lib, x, mask: lib.Conv2DTranspose(3, 2, with_bias=False, w_init=_wave, mask=mask)(x),
        (IMAGE, (2, 2, 3, 4)),
    ),
    Row("embed", _called(lambda lib: lib.Embed(6, 4)), (IDS,), ("float32", "float64")),
    Row(
        "embed_one_hot",
        _called(lambda lib: lib.Embed(6, 4, lookup_style="ONE_HOT")),
        (IDS,),
        ("float32", "float64"),
    ),
    Row(
        "embed_matrix",
        _called(
            lambda lib: lib.Embed(
                embedding_matrix=np.arange(12.0).reshape(6, 2),
                lookup_style=lib.EmbedLookupStyle.ONE_HOT,
            )
        ),
        (IDS,),
        ("float32", "float64"),
    ),
    Row(
        "one_hot",
        lambda lib: (lib.one_hot(IDS, 4), lib.one_hot(IDS, 6, jnp.int32)),
        (),
        ("float32", "float64"),
    ),
    Row(
        "multinomial",
        lambda lib, x: (
            lib.multinomial(lib.next_rng_key(), x, 1),
            lib.multinomial(lib.next_rng_key(), x, 5),
        ),
        ((3, 4),),
    ),
    Row(
        "dropout",
        lambda lib, x: lib.dropout(lib.next_rng_key(), 0.5, x, broadcast_dims=(0,)),
        ((3, 4),),
    ),
    Row(
        "batch_norm",
        _twice(lambda lib: lambda x: lib.BatchNorm(True, True, 0.9)(x, True)),
        (IMAGE,),
    ),
    Row("spectral_norm", _spectral_norm, ((3, 4),)),
    Row("spectral_norm_tensor", _spectral_norm, ((2, 3, 4),)),
    Row("sn_params_tree", _params_tree("SNParamsTree"), ((1,),)),
    Row("ema_params_tree", _params_tree("EMAParamsTree"), ((1,),)),
    Row("deferred", _deferred, ((2, 6),)),
    Row("deferred_from_root", _deferred_from_root, ((2, 6),)),
    *(
        Row(f"{name.lower()}_with", _norm_with(name), (IMAGE, (4,), (4,)))
        for name in ("LayerNorm", "GroupNorm", "RMSNorm", "BatchNorm")
    ),
    *(
        Row(
            f"vector_quantizer{'_ema' * ema}{'_training' * training}",
            _quantizer(ema, training),
            ((3, 2, 4),),
        )
        for ema, training in ((False, True), (True, False), (True, True))
    ),
    *(
        Row(
            f"res_net_{'v2' if v2 else 'v1'}",
            lambda lib, x, v2=v2: lib.nets.ResNet(
                (1, 1, 0, 0),
                3,
                None,
                v2,
                not v2,
                (8, 16, 8, 8),
                logits_config={"w_init": _wave, "with_bias": False},
            )(x, True),
            ((2, 9, 8, 3),),
            is_net=True,
        )
        for v2 in (False, True)
    ),
    Row(
        "mobile_net_v1",
        lambda lib, x: lib.nets.MobileNetV1((1, 2), (8, 16), 3)(x, True),
        ((2, 9, 8, 3),),
        is_net=True,
    ),
    Row(
        "mobile_net_v1_no_bn",
        lambda lib, x: lib.nets.MobileNetV1((2,), (8,), 3, use_bn=False)(x, True),
        ((2, 9, 8, 3),),
        is_net=True,
    ),
]
