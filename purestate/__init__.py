"""Neural networks for JAX, written as objects, run as pure functions.

`import purestate as hk` runs code written for dm-haiku; `import purestate as ps` is the same.
"""

from purestate import (
    config,
    data_structures,
    errors,
    experimental,
    initializers,
    mixed_precision,
    nets,
    pad,
    testing,
    typing,
)
from purestate._core.collection import DO_NOT_STORE
from purestate._core.hooks import (
    GetterContext,
    MethodContext,
    SetterContext,
    custom_creator,
    custom_getter,
    custom_setter,
    intercept_methods,
)
from purestate._core.module import Module, force_name, name_like, name_scope, transparent
from purestate._core.multi_transform import (
    MultiTransformed,
    MultiTransformedWithState,
    multi_transform,
    multi_transform_with_state,
    without_apply_rng,
)
from purestate._core.rng import (
    PRNGSequence,
    maybe_get_rng_sequence_state,
    maybe_next_rng_key,
    next_rng_key,
    next_rng_keys,
    replace_rng_sequence_state,
    reserve_rng_keys,
    with_rng,
)
from purestate._core.transform import (
    MutableParams,
    MutableState,
    Params,
    State,
    Transformed,
    TransformedWithState,
    transform,
    transform_with_state,
    with_empty_state,
    without_state,
)
from purestate._core.variables import (
    current_name,
    get_current_state,
    get_initial_state,
    get_parameter,
    get_params,
    get_state,
    running_init,
    set_state,
)
from purestate._inspection.dot import to_dot
from purestate._layers.adaptive_pool import AdaptiveAvgPool, AdaptiveMaxPool, adaptive_avg_pool, adaptive_max_pool
from purestate._layers.attention import MultiHeadAttention
from purestate._layers.attention_masks import causal_mask, combine_masks, padding_mask, sliding_window_mask
from purestate._layers.axes import channel_index_of as get_channel_index
from purestate._layers.batch_apply import BatchApply, expand_apply
from purestate._layers.batch_norm import BatchNorm
from purestate._layers.conv import Conv1D, Conv2D, Conv3D, ConvND
from purestate._layers.conv_transpose import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose, ConvNDTranspose
from purestate._layers.deferred import Deferred
from purestate._layers.dense_general import DenseGeneral
from purestate._layers.depthwise_conv import (
    DepthwiseConv1D,
    DepthwiseConv2D,
    DepthwiseConv3D,
    SeparableDepthwiseConv2D,
)
from purestate._layers.dropout import dropout
from purestate._layers.dropout_module import Dropout
from purestate._layers.einsum import Einsum
from purestate._layers.embed import Embed, EmbedLookupStyle
from purestate._layers.gated_mlp import GatedMLP
from purestate._layers.group_norm import GroupNorm
from purestate._layers.grouped_query_attention import GroupedQueryAttention
from purestate._layers.layer_norm import InstanceNorm, LayerNorm
from purestate._layers.linear import Bias, Linear
from purestate._layers.lora import lora, merge_lora
from purestate._layers.moving_averages import EMAParamsTree, ExponentialMovingAverage
from purestate._layers.multinomial import multinomial
from purestate._layers.one_hot import one_hot
from purestate._layers.pool import AvgPool, MaxPool, avg_pool, max_pool
from purestate._layers.recurrent.conv_lstm import Conv1DLSTM, Conv2DLSTM, Conv3DLSTM
from purestate._layers.recurrent.core import RNNCore
from purestate._layers.recurrent.deep_rnn import DeepRNN, deep_rnn_with_skip_connections
from purestate._layers.recurrent.gru import GRU
from purestate._layers.recurrent.identity_core import IdentityCore
from purestate._layers.recurrent.lstm import LSTM, LSTMState
from purestate._layers.recurrent.reset_core import ResetCore
from purestate._layers.recurrent.unroll import dynamic_unroll, static_unroll
from purestate._layers.recurrent.vanilla_rnn import VanillaRNN
from purestate._layers.reshape import Flatten, Reshape
from purestate._layers.rms_norm import RMSNorm
from purestate._layers.rotary_embedding import rotary_embedding
from purestate._layers.sequential import Sequential, to_module
from purestate._layers.spectral_norm import SNParamsTree, SpectralNorm
from purestate._layers.sum_min_pool import MinPool, SumPool, min_pool, sum_pool
from purestate._layers.weight_norm import WeightNorm, weight_norm
from purestate._lifted.autodiff import grad, value_and_grad
from purestate._lifted.control_flow import cond, fori_loop, switch, while_loop
from purestate._lifted.layer_stack import LayerStackTransparencyMapping, layer_stack
from purestate._lifted.lift import (
    LiftWithStateUpdater,
    lift,
    lift_with_state,
    transparent_lift,
    transparent_lift_with_state,
)
from purestate._lifted.purify import get_variables, purify, set_variables
from purestate._lifted.remat import eval_shape, jit, remat
from purestate._lifted.scan import map, scan  # noqa: A004
from purestate._lifted.vmap import vmap
from purestate.typing import ModuleProtocol, SupportsCall

__version__ = "0.1.0"

__all__ = [
    "DO_NOT_STORE",
    "GRU",
    "LSTM",
    "AdaptiveAvgPool",
    "AdaptiveMaxPool",
    "AvgPool",
    "BatchApply",
    "BatchNorm",
    "Bias",
    "Conv1D",
    "Conv1DLSTM",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DLSTM",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DLSTM",
    "Conv3DTranspose",
    "ConvND",
    "ConvNDTranspose",
    "DeepRNN",
    "Deferred",
    "DenseGeneral",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "DepthwiseConv3D",
    "Dropout",
    "EMAParamsTree",
    "Einsum",
    "Embed",
    "EmbedLookupStyle",
    "ExponentialMovingAverage",
    "Flatten",
    "GatedMLP",
    "GetterContext",
    "GroupNorm",
    "GroupedQueryAttention",
    "IdentityCore",
    "InstanceNorm",
    "LSTMState",
    "LayerNorm",
    "LayerStackTransparencyMapping",
    "LiftWithStateUpdater",
    "Linear",
    "MaxPool",
    "MethodContext",
    "MinPool",
    "Module",
    "ModuleProtocol",
    "MultiHeadAttention",
    "MultiTransformed",
    "MultiTransformedWithState",
    "MutableParams",
    "MutableState",
    "PRNGSequence",
    "Params",
    "RMSNorm",
    "RNNCore",
    "ResetCore",
    "Reshape",
    "SNParamsTree",
    "SeparableDepthwiseConv2D",
    "Sequential",
    "SetterContext",
    "SpectralNorm",
    "State",
    "SumPool",
    "SupportsCall",
    "Transformed",
    "TransformedWithState",
    "VanillaRNN",
    "WeightNorm",
    "__version__",
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "avg_pool",
    "causal_mask",
    "combine_masks",
    "cond",
    "config",
    "current_name",
    "custom_creator",
    "custom_getter",
    "custom_setter",
    "data_structures",
    "deep_rnn_with_skip_connections",
    "dropout",
    "dynamic_unroll",
    "errors",
    "eval_shape",
    "expand_apply",
    "experimental",
    "force_name",
    "fori_loop",
    "get_channel_index",
    "get_current_state",
    "get_initial_state",
    "get_parameter",
    "get_params",
    "get_state",
    "get_variables",
    "grad",
    "initializers",
    "intercept_methods",
    "jit",
    "layer_stack",
    "lift",
    "lift_with_state",
    "lora",
    "map",
    "max_pool",
    "maybe_get_rng_sequence_state",
    "maybe_next_rng_key",
    "merge_lora",
    "min_pool",
    "mixed_precision",
    "multi_transform",
    "multi_transform_with_state",
    "multinomial",
    "name_like",
    "name_scope",
    "nets",
    "next_rng_key",
    "next_rng_keys",
    "one_hot",
    "pad",
    "padding_mask",
    "purify",
    "remat",
    "replace_rng_sequence_state",
    "reserve_rng_keys",
    "rotary_embedding",
    "running_init",
    "scan",
    "set_state",
    "set_variables",
    "sliding_window_mask",
    "static_unroll",
    "sum_pool",
    "switch",
    "testing",
    "to_dot",
    "to_module",
    "transform",
    "transform_with_state",
    "transparent",
    "transparent_lift",
    "transparent_lift_with_state",
    "typing",
    "value_and_grad",
    "vmap",
    "weight_norm",
    "while_loop",
    "with_empty_state",
    "with_rng",
    "without_apply_rng",
    "without_state",
]
