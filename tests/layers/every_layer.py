"""A row for every layer, net and core, dm-haiku's and our own, for tests that cross all of them with a mode of JAX."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.haiku_parity import table_layers, table_recurrent
from tests.haiku_parity.table_layers import IDS, IMAGE, Row
from tests.suite.covering import variants

ALL = ("float32", "bfloat16")
LENGTHS = np.array([4, 2], np.int32)
SEGMENTS = np.array([[1, 1, 2, 2], [1, 1, 1, 0]], np.int32)
LABELS = np.array([0, 2], np.int32)
MASK = np.array([True, False])
SCALING = ps.initializers.VarianceScaling()


def _gqa(lib: Any, x: Any) -> Any:
    options = {"num_kv_heads": 1, "with_bias": True, "rotary_base": 1e4}
    mask = lib.combine_masks(lib.sliding_window_mask(4, 2), lib.padding_mask(LENGTHS, 4))
    return (
        lib.GroupedQueryAttention(2, 4, **options)(x, mask, is_causal=True),
        lib.GroupedQueryAttention(2, 4, **options, cache_size=6)(x),
    )


def _attention_options(lib: Any, x: Any) -> Any:
    """Both layers with every option, a ring, and cross-attention that is projected once."""
    options = {"logits_soft_cap": 2.0, "qk_norm": "rms", "softmax_dtype": jnp.float32}
    call = {"segment_ids": SEGMENTS, "bias": jnp.ones([1, 2, 4, 4], x.dtype)}
    attend = lib.GroupedQueryAttention(2, 4, 1, **options, rotary_base=1e4)
    ring = lib.GroupedQueryAttention(2, 4, 1, window=2, cache_size=3, scale=0.3)
    cross = lib.GroupedQueryAttention(2, 4, qk_norm="layer", cache_size=4)
    multi = lib.MultiHeadAttention(2, 4, w_init=SCALING, **options)
    return (
        attend(x, lib.causal_mask(4), **call),
        ring(x, segment_ids=SEGMENTS),
        cross(x[:, :2], keys_values=x),
        multi(x, x, x, lib.causal_mask(4), **call),
    )


def _unroll(make: Any, name: str = "dynamic_unroll", **options: Any) -> Any:
    def run(lib: Any, xs: Any) -> Any:
        core = make(lib)
        state = core.initial_state(2, dtype=xs.dtype)
        return getattr(lib, name)(core, xs, state, **options)

    return run


def _with_weight_norm(lib: Any, x: Any) -> Any:
    with lib.weight_norm():
        return lib.Linear(3)(x), lib.WeightNorm(axis=())(x)


def _with_lora(lib: Any, x: Any) -> Any:
    with lib.lora(2, alpha=3.0):
        return lib.Linear(3)(x)


def _metrics(lib: Any, x: Any) -> Any:
    metrics = lib.metrics.MultiMetric(
        loss=lib.metrics.Mean(), total=lib.metrics.Sum(), accuracy=lib.metrics.Accuracy()
    )
    metrics(loss=x, total=(x[:, 0], MASK), accuracy=(x, LABELS))
    return metrics(loss={"values": x[:, 0], "mask": MASK})


def _mixture(lib: Any, x: Any) -> Any:
    out, routing = lib.MixtureOfExperts(3, 4, with_bias=True).with_routing(x)
    return out, routing, lib.MixtureOfExperts(3, 4, top_k=1, gated=False)(x, MASK[:, None])


def _side_by_side(lib: Any, x: Any) -> Any:
    both = lib.Parallel([lib.Linear(4), lib.Residual(lib.Linear(5))])
    return both(x), lib.Parallel([lib.Linear(5), lambda x: x], sum)(x)


def _cores(lib: Any) -> Any:
    return lib.deep_rnn_with_residual_connections(
        [lib.RecurrentDropout(lib.LSTM(3, projection_size=3), 0.5, True), lib.GRU(3)]
    )


def _seen(make: Any) -> Any:
    return lambda lib, *inputs: make(lib)(*inputs)


OWN = [
    Row("dense_general", _seen(lambda lib: lib.DenseGeneral([2, 3], batch_axes=0)), ((2, 4, 5),)),
    Row(
        "dense_general_kept",
        _seen(lambda lib: lib.DenseGeneral(3, param_dtype=jnp.float32)),
        ((2, 5),),
    ),
    Row("einsum", _seen(lambda lib: lib.Einsum("btd,dhk->bthk", [5, 2, 3], [2, 3])), ((2, 4, 5),)),
    Row("gated_mlp", _seen(lambda lib: lib.GatedMLP(3, with_bias=True)), ((2, 5),)),
    Row("grouped_query_attention", _gqa, ((2, 4, 6),)),
    Row("attention_options", _attention_options, ((2, 4, 6),)),
    Row("dropout_module", lambda lib, x: lib.Dropout(0.5, (0,))(x, True), ((3, 4),)),
    Row("adaptive_avg_pool", _seen(lambda lib: lib.AdaptiveAvgPool([3, 2])), (IMAGE,)),
    Row("adaptive_max_pool", _seen(lambda lib: lib.AdaptiveMaxPool([4, 3])), (IMAGE,)),
    Row("parallel", _side_by_side, ((2, 5),)),
    Row("prelu", lambda lib, x: (lib.PReLU()(x), lib.PReLU(param_axis=-1)(x)), ((2, 5),)),
    Row("scaler", lambda lib, x: lib.Scaler(True)(lib.Scaler()(x)), ((2, 5),)),
    Row("mixture_of_experts", _mixture, ((2, 1, 5),)),
    Row("conv_local1d", _seen(lambda lib: lib.ConvLocal1D(3, 2)), ((2, 5, 4),)),
    Row("conv_local2d", _seen(lambda lib: lib.ConvLocal2D(3, 2, stride=2)), (IMAGE,)),
    Row("conv_local3d", _seen(lambda lib: lib.ConvLocal3D(2, 2)), ((1, 2, 3, 2, 2),)),
    Row("conv_local_nd", _seen(lambda lib: lib.ConvLocalND(1, 3, 2)), ((2, 5, 4),)),
    Row("sum_pool", _seen(lambda lib: lib.SumPool((2, 2, 1), (2, 2, 1), "SAME")), (IMAGE,)),
    Row("min_pool", _seen(lambda lib: lib.MinPool((2, 2, 1), (2, 2, 1), "SAME")), (IMAGE,)),
    Row("weight_norm", _with_weight_norm, ((2, 5),)),
    Row("lora", _with_lora, ((2, 5),)),
    Row(
        "linear_kept",
        _seen(lambda lib: lib.Linear(3, param_dtype=jnp.float32)),
        ((2, 5),),
    ),
    Row(
        "conv2d_kept",
        _seen(lambda lib: lib.Conv2D(3, 3, param_dtype=jnp.float32)),
        (IMAGE,),
    ),
    Row(
        "attention_kept",
        lambda lib, x: lib.MultiHeadAttention(2, 4, w_init=SCALING, param_dtype=jnp.float32)(
            x, x, x
        ),
        ((2, 4, 6),),
    ),
    Row(
        "rotary_embedding",
        lambda lib, x: (
            lib.rotary_embedding(x, np.arange(3)),
            lib.rotary_embedding(x, np.arange(3), interleaved=True),
            lib.rotary_embedding(
                x,
                np.arange(3),
                frequencies=lib.rotary_frequencies(4, factor=2.0, original_length=9),
            ),
        ),
        ((2, 3, 1, 4),),
    ),
    Row(
        "embed_attend",
        lambda lib, x: lib.Embed(6, 4, param_dtype=x.dtype).attend(x),
        ((2, 4),),
    ),
    Row(
        "embed_kept",
        lambda lib, x: x + lib.Embed(6, 4, param_dtype=x.dtype)(IDS),
        ((2, 3, 4),),
    ),
    Row("metrics", _metrics, ((2, 3),)),
    Row(
        "bidirectional",
        lambda lib, xs: lib.Bidirectional(lib.LSTM(3), lib.GRU(3))(
            xs,
            (
                lib.LSTM(3).initial_state(2, dtype=xs.dtype),
                lib.GRU(3).initial_state(2, dtype=xs.dtype),
            ),
            sequence_length=LENGTHS,
        ),
        ((4, 2, 3),),
    ),
    Row(
        "bidirectional_default",
        lambda lib, xs: lib.Bidirectional(lib.LSTM(3), lib.GRU(3, reset_after=True))(xs),
        ((4, 2, 3),),
    ),
    Row("recurrent_dropout", _unroll(_cores, sequence_length=LENGTHS), ((4, 2, 3),)),
    Row(
        "trainable_initial_state",
        _unroll(lambda lib: lib.TrainableInitialState(_cores(lib)), "static_unroll"),
        ((4, 2, 3),),
    ),
    Row(
        "vector_quantizer_sizes",
        lambda lib, x: lib.nets.VectorQuantizerEMA(4, 7, 0.25, 0.9, dtype=x.dtype)(x, False),
        ((3, 4),),
    ),
    Row(
        "res_net18",
        lambda lib, x: lib.nets.ResNet18(3)(x, True, True),
        ((1, 9, 8, 3),),
        is_net=True,
    ),
]

ROWS = [*table_layers.ROWS, *table_recurrent.ROWS, *OWN]

ABSTRACT = {
    "RNNCore",
    "SetUpModule",
    "Container",
    "Module",
    "Metric",
    *(f"ResNet{depth}" for depth in (34, 50, 101, 152, 200)),  # a `ResNet` with other sizes
}


def public_modules() -> dict[str, type[ps.Module]]:
    """Every public class of modules, by name."""
    places = (ps, ps.nets, ps.metrics)
    # By `__all__` and not `vars`: some are imported on first use.
    found = {name: getattr(place, name) for place in places for name in place.__all__}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, type) and issubclass(value, ps.Module) and name not in ABSTRACT
    }


def transformed(row: Row) -> Any:
    return ps.transform_with_state(lambda *inputs: row.run(ps, *inputs))


def leaves(tree: Any) -> dict[str, Any]:
    """All arrays in a pytree by their path."""
    return {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if hasattr(leaf, "dtype")
    }


def in_dtypes(pairs: list[tuple[Any, str]]) -> list[Any]:
    """Returns cases of rows and dtypes. One row of each layer is fast, each in the next dtype."""
    dtypes: dict[str, list[str]] = {}
    for row, dtype in pairs:
        dtypes.setdefault(row.name, []).append(dtype)
    slow = variants(list(dtypes))
    fast = {
        (name, kinds[i % len(kinds)])
        for i, (name, kinds) in enumerate(dtypes.items())
        if name not in slow
    }
    return [
        pytest.param(
            row,
            dtype,
            id=f"{row.name}-{dtype}",
            marks=[] if (row.name, dtype) in fast else pytest.mark.slow,
        )
        for row, dtype in pairs
    ]
