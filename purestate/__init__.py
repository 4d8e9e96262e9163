"""Neural networks for JAX, written as objects, run as pure functions.

`import purestate as hk` runs code written for dm-haiku; `import purestate as ps` is the same.
"""

from typing import TYPE_CHECKING

from purestate import config, data_structures, initializers, nets, pad, typing
from purestate._core.collection import DO_NOT_STORE, AllBut
from purestate._core.current import (
    current_name,
    get_current_state,
    get_initial_state,
    get_params,
    running_init,
)
from purestate._core.first_use import on_first_use
from purestate._core.hooks import (
    GetterContext,
    MethodContext,
    SetterContext,
    custom_creator,
    custom_getter,
    custom_setter,
    intercept_methods,
)
from purestate._core.keys import PRNGSequence
from purestate._core.module import Module, force_name, name_like, transparent
from purestate._core.name_scope import name_scope
from purestate._core.pairs import (
    MutableParams,
    MutableState,
    Params,
    State,
    Transformed,
    TransformedWithState,
)
from purestate._core.rng import (
    has_rng,
    maybe_get_rng_sequence_state,
    maybe_next_rng_key,
    next_rng_key,
    next_rng_keys,
    replace_rng_sequence_state,
    reserve_rng_keys,
    with_rng,
)
from purestate._core.share import share
from purestate._core.transform import (
    transform,
    transform_with_state,
    with_empty_state,
    without_state,
)
from purestate._core.variables import get_parameter, get_state, set_state
from purestate._layers.attention import MultiHeadAttention
from purestate._layers.axes import channel_index_of as get_channel_index
from purestate._layers.batch_apply import BatchApply, expand_apply
from purestate._layers.batch_norm import BatchNorm
from purestate._layers.conv import Conv1D, Conv2D, Conv3D, ConvND
from purestate._layers.conv_transpose import (
    Conv1DTranspose,
    Conv2DTranspose,
    Conv3DTranspose,
    ConvNDTranspose,
)
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
from purestate._layers.layer_norm import InstanceNorm, LayerNorm
from purestate._layers.linear import Bias, Linear
from purestate._layers.moving_averages import EMAParamsTree, ExponentialMovingAverage
from purestate._layers.multinomial import multinomial
from purestate._layers.one_hot import one_hot
from purestate._layers.pool import AvgPool, MaxPool, avg_pool, max_pool
from purestate._layers.recurrent.bidirectional import Bidirectional
from purestate._layers.recurrent.conv_lstm import Conv1DLSTM, Conv2DLSTM, Conv3DLSTM
from purestate._layers.recurrent.core import RNNCore
from purestate._layers.recurrent.deep_rnn import (
    DeepRNN,
    deep_rnn_with_residual_connections,
    deep_rnn_with_skip_connections,
)
from purestate._layers.recurrent.gru import GRU
from purestate._layers.recurrent.identity_core import IdentityCore
from purestate._layers.recurrent.lstm import LSTM, LSTMState
from purestate._layers.recurrent.recurrent_dropout import RecurrentDropout, RecurrentDropoutState
from purestate._layers.recurrent.reset_core import ResetCore
from purestate._layers.recurrent.trainable_initial_state import TrainableInitialState
from purestate._layers.recurrent.unroll import dynamic_unroll, static_unroll
from purestate._layers.recurrent.vanilla_rnn import VanillaRNN
from purestate._layers.reshape import Flatten, Reshape
from purestate._layers.rms_norm import RMSNorm
from purestate._layers.sequential import Sequential, to_module
from purestate._layers.spectral_norm import SNParamsTree, SpectralNorm
from purestate._layers.sum_min_pool import MinPool, SumPool, min_pool, sum_pool
from purestate._layers.weight_norm import WeightNorm, weight_norm
from purestate._lifted.remat import eval_shape, jit, remat
from purestate._lifted.scan import map, scan  # noqa: A004
from purestate._lifted.vmap import vmap
from purestate.typing import ModuleProtocol, SupportsCall

if TYPE_CHECKING:  # imported on first use; see `__getattr__`
    from purestate import (
        checkpoint,
        convert,
        errors,
        experimental,
        metrics,
        mixed_precision,
        ops,
        optim,
        quantize,
        rules,
        surgery,
        testing,
    )
    from purestate._core.check import Problem, check
    from purestate._editing.ema import ema
    from purestate._editing.freeze import freeze
    from purestate._editing.labels import labels
    from purestate._editing.stacked_layers import stack_layers, unstack_layers
    from purestate._editing.trainable import partition_trainable, trainable_mask
    from purestate._editing.trainable_only import trainable_only
    from purestate._export.exported_model import ExportedModel
    from purestate._export.exporting import export
    from purestate._export.file import load_exported
    from purestate._inspection.dot import to_dot
    from purestate._inspection.operation_costs import (
        ModuleCost,
        OperationCost,
        OperationCosts,
        operation_costs,
    )
    from purestate._inspection.retraces import Retrace, assert_max_traces, explain_retrace
    from purestate._layers.adaptive_pool import (
        AdaptiveAvgPool,
        AdaptiveMaxPool,
        adaptive_avg_pool,
        adaptive_max_pool,
    )
    from purestate._layers.attention_masks import (
        causal_mask,
        combine_masks,
        padding_mask,
        segment_mask,
        sliding_window_mask,
    )
    from purestate._layers.conv_local import ConvLocal1D, ConvLocal2D, ConvLocal3D, ConvLocalND
    from purestate._layers.expert_routing import Routing
    from purestate._layers.grouped_query_attention import GroupedQueryAttention
    from purestate._layers.lora import lora
    from purestate._layers.merge_lora import merge_lora
    from purestate._layers.mixture_of_experts import MixtureOfExperts
    from purestate._layers.parallel import Parallel
    from purestate._layers.prelu import PReLU
    from purestate._layers.residual import Residual
    from purestate._layers.rotary_embedding import rotary_embedding, rotary_frequencies, yarn_scale
    from purestate._layers.scaler import Scaler
    from purestate._lifted.autodiff import grad, value_and_grad
    from purestate._lifted.closure_convert import closure_convert
    from purestate._lifted.conditionals import cond, switch
    from purestate._lifted.custom_rules import custom_jvp, custom_vjp
    from purestate._lifted.differentials import jvp, linearize, vjp
    from purestate._lifted.error_if import error_if
    from purestate._lifted.jacobians import hessian, jacfwd, jacrev
    from purestate._lifted.layer_names import LayerStackTransparencyMapping
    from purestate._lifted.layer_stack import layer_stack
    from purestate._lifted.lift import (
        LiftWithStateUpdater,
        lift,
        lift_with_state,
        transparent_lift,
        transparent_lift_with_state,
    )
    from purestate._lifted.loops import fori_loop, while_loop
    from purestate._lifted.map_variables import map_variables
    from purestate._lifted.pmean_gradients import pmean_gradients
    from purestate._lifted.purify import get_variables, purify, set_variables
    from purestate._lifted.shard_map import shard_map
    from purestate._ops.interception import intercept_ops
    from purestate._rules.configured import configured
    from purestate._rules.explain import explain_rules
    from purestate._state.attributes import param_attr, state_attr
    from purestate._state.fast_init import fast_init
    from purestate._state.init_with_output import init_with_output
    from purestate._state.intermediates import capture_intermediates, perturb, sow
    from purestate._state.multi_transform import (
        MultiTransformed,
        MultiTransformedWithState,
        multi_transform,
        multi_transform_with_state,
        without_apply_rng,
    )
    from purestate._state.named_variables import (
        Variable,
        get_variable,
        has_parameter,
        has_state,
        has_variable,
        is_mutable,
        set_parameter,
        set_variable,
        variable,
    )
    from purestate._state.set_up_module import Container, SetUpModule
    from purestate._state.specs import Spec, specs
    from purestate._state.transform_with_collections import (
        TransformedWithCollections,
        transform_with_collections,
    )
    from purestate._views.bind import bind
    from purestate._views.model import Model
    from purestate._views.optimizer import Optimizer
    from purestate._views.submodules import submodules
    from purestate._views.train_state import TrainState

__version__ = "0.1.0"

if not TYPE_CHECKING:  # or a name that is misspelled would be Any
    __getattr__ = on_first_use(
        __name__,
        {
            "adaptive_avg_pool": "purestate._layers.adaptive_pool",
            "adaptive_max_pool": "purestate._layers.adaptive_pool",
            "AdaptiveAvgPool": "purestate._layers.adaptive_pool",
            "AdaptiveMaxPool": "purestate._layers.adaptive_pool",
            "assert_max_traces": "purestate._inspection.retraces",
            "bind": "purestate._views.bind",
            "capture_intermediates": "purestate._state.intermediates",
            "causal_mask": "purestate._layers.attention_masks",
            "check": "purestate._core.check",
            "closure_convert": "purestate._lifted.closure_convert",
            "combine_masks": "purestate._layers.attention_masks",
            "cond": "purestate._lifted.conditionals",
            "configured": "purestate._rules.configured",
            "Container": "purestate._state.set_up_module",
            "ConvLocal1D": "purestate._layers.conv_local",
            "ConvLocal2D": "purestate._layers.conv_local",
            "ConvLocal3D": "purestate._layers.conv_local",
            "ConvLocalND": "purestate._layers.conv_local",
            "custom_jvp": "purestate._lifted.custom_rules",
            "custom_vjp": "purestate._lifted.custom_rules",
            "ema": "purestate._editing.ema",
            "error_if": "purestate._lifted.error_if",
            "explain_retrace": "purestate._inspection.retraces",
            "explain_rules": "purestate._rules.explain",
            "export": "purestate._export.exporting",
            "ExportedModel": "purestate._export.exported_model",
            "fast_init": "purestate._state.fast_init",
            "fori_loop": "purestate._lifted.loops",
            "freeze": "purestate._editing.freeze",
            "get_variable": "purestate._state.named_variables",
            "get_variables": "purestate._lifted.purify",
            "grad": "purestate._lifted.autodiff",
            "GroupedQueryAttention": "purestate._layers.grouped_query_attention",
            "has_parameter": "purestate._state.named_variables",
            "has_state": "purestate._state.named_variables",
            "has_variable": "purestate._state.named_variables",
            "hessian": "purestate._lifted.jacobians",
            "init_with_output": "purestate._state.init_with_output",
            "intercept_ops": "purestate._ops.interception",
            "is_mutable": "purestate._state.named_variables",
            "jacfwd": "purestate._lifted.jacobians",
            "jacrev": "purestate._lifted.jacobians",
            "jvp": "purestate._lifted.differentials",
            "labels": "purestate._editing.labels",
            "layer_stack": "purestate._lifted.layer_stack",
            "LayerStackTransparencyMapping": "purestate._lifted.layer_names",
            "lift": "purestate._lifted.lift",
            "lift_with_state": "purestate._lifted.lift",
            "LiftWithStateUpdater": "purestate._lifted.lift",
            "linearize": "purestate._lifted.differentials",
            "load_exported": "purestate._export.file",
            "lora": "purestate._layers.lora",
            "map_variables": "purestate._lifted.map_variables",
            "merge_lora": "purestate._layers.merge_lora",
            "MixtureOfExperts": "purestate._layers.mixture_of_experts",
            "Model": "purestate._views.model",
            "ModuleCost": "purestate._inspection.operation_costs",
            "multi_transform": "purestate._state.multi_transform",
            "multi_transform_with_state": "purestate._state.multi_transform",
            "MultiTransformed": "purestate._state.multi_transform",
            "MultiTransformedWithState": "purestate._state.multi_transform",
            "operation_costs": "purestate._inspection.operation_costs",
            "OperationCost": "purestate._inspection.operation_costs",
            "OperationCosts": "purestate._inspection.operation_costs",
            "Optimizer": "purestate._views.optimizer",
            "padding_mask": "purestate._layers.attention_masks",
            "Parallel": "purestate._layers.parallel",
            "param_attr": "purestate._state.attributes",
            "partition_trainable": "purestate._editing.trainable",
            "perturb": "purestate._state.intermediates",
            "pmean_gradients": "purestate._lifted.pmean_gradients",
            "PReLU": "purestate._layers.prelu",
            "Problem": "purestate._core.check",
            "purify": "purestate._lifted.purify",
            "Residual": "purestate._layers.residual",
            "Retrace": "purestate._inspection.retraces",
            "rotary_embedding": "purestate._layers.rotary_embedding",
            "rotary_frequencies": "purestate._layers.rotary_embedding",
            "Routing": "purestate._layers.expert_routing",
            "Scaler": "purestate._layers.scaler",
            "segment_mask": "purestate._layers.attention_masks",
            "set_parameter": "purestate._state.named_variables",
            "set_variable": "purestate._state.named_variables",
            "set_variables": "purestate._lifted.purify",
            "SetUpModule": "purestate._state.set_up_module",
            "shard_map": "purestate._lifted.shard_map",
            "sliding_window_mask": "purestate._layers.attention_masks",
            "sow": "purestate._state.intermediates",
            "Spec": "purestate._state.specs",
            "specs": "purestate._state.specs",
            "stack_layers": "purestate._editing.stacked_layers",
            "state_attr": "purestate._state.attributes",
            "submodules": "purestate._views.submodules",
            "switch": "purestate._lifted.conditionals",
            "to_dot": "purestate._inspection.dot",
            "trainable_mask": "purestate._editing.trainable",
            "trainable_only": "purestate._editing.trainable_only",
            "TrainState": "purestate._views.train_state",
            "transform_with_collections": "purestate._state.transform_with_collections",
            "TransformedWithCollections": "purestate._state.transform_with_collections",
            "transparent_lift": "purestate._lifted.lift",
            "transparent_lift_with_state": "purestate._lifted.lift",
            "unstack_layers": "purestate._editing.stacked_layers",
            "value_and_grad": "purestate._lifted.autodiff",
            "Variable": "purestate._state.named_variables",
            "variable": "purestate._state.named_variables",
            "vjp": "purestate._lifted.differentials",
            "while_loop": "purestate._lifted.loops",
            "without_apply_rng": "purestate._state.multi_transform",
            "yarn_scale": "purestate._layers.rotary_embedding",
        },
        "checkpoint convert errors experimental metrics mixed_precision ops optim quantize rules"
        " surgery testing",
    )

__all__ = [
    "DO_NOT_STORE", "GRU", "LSTM", "AdaptiveAvgPool", "AdaptiveMaxPool", "AllBut", "AvgPool",
    "BatchApply", "BatchNorm", "Bias", "Bidirectional", "Container", "Conv1D", "Conv1DLSTM",
    "Conv1DTranspose", "Conv2D", "Conv2DLSTM", "Conv2DTranspose", "Conv3D", "Conv3DLSTM",
    "Conv3DTranspose", "ConvLocal1D", "ConvLocal2D", "ConvLocal3D", "ConvLocalND", "ConvND",
    "ConvNDTranspose", "DeepRNN", "Deferred", "DenseGeneral", "DepthwiseConv1D", "DepthwiseConv2D",
    "DepthwiseConv3D", "Dropout", "EMAParamsTree", "Einsum", "Embed", "EmbedLookupStyle",
    "ExponentialMovingAverage", "ExportedModel", "Flatten", "GatedMLP", "GetterContext",
    "GroupNorm", "GroupedQueryAttention", "IdentityCore", "InstanceNorm", "LSTMState", "LayerNorm",
    "LayerStackTransparencyMapping", "LiftWithStateUpdater", "Linear", "MaxPool", "MethodContext",
    "MinPool", "MixtureOfExperts", "Model", "Module", "ModuleCost", "ModuleProtocol",
    "MultiHeadAttention", "MultiTransformed", "MultiTransformedWithState", "MutableParams",
    "MutableState", "OperationCost", "OperationCosts", "Optimizer", "PRNGSequence", "PReLU",
    "Parallel", "Params", "Problem", "RMSNorm", "RNNCore", "RecurrentDropout",
    "RecurrentDropoutState", "ResetCore", "Reshape", "Residual", "Retrace", "Routing",
    "SNParamsTree", "Scaler", "SeparableDepthwiseConv2D", "Sequential", "SetUpModule",
    "SetterContext", "Spec", "SpectralNorm", "State", "SumPool", "SupportsCall", "TrainState",
    "TrainableInitialState", "Transformed", "TransformedWithCollections", "TransformedWithState",
    "VanillaRNN", "Variable", "WeightNorm", "__version__", "adaptive_avg_pool", "adaptive_max_pool",
    "assert_max_traces", "avg_pool", "bind", "capture_intermediates", "causal_mask", "check",
    "checkpoint", "closure_convert", "combine_masks", "cond", "config", "configured", "convert",
    "current_name", "custom_creator", "custom_getter", "custom_jvp", "custom_setter", "custom_vjp",
    "data_structures", "deep_rnn_with_residual_connections", "deep_rnn_with_skip_connections",
    "dropout", "dynamic_unroll", "ema", "error_if", "errors", "eval_shape", "expand_apply",
    "experimental", "explain_retrace", "explain_rules", "export", "fast_init", "force_name",
    "fori_loop", "freeze", "get_channel_index", "get_current_state", "get_initial_state",
    "get_parameter", "get_params", "get_state", "get_variable", "get_variables", "grad",
    "has_parameter", "has_rng", "has_state", "has_variable", "hessian", "init_with_output",
    "initializers", "intercept_methods", "intercept_ops", "is_mutable", "jacfwd", "jacrev", "jit",
    "jvp", "labels", "layer_stack", "lift", "lift_with_state", "linearize", "load_exported", "lora",
    "map", "map_variables", "max_pool", "maybe_get_rng_sequence_state", "maybe_next_rng_key",
    "merge_lora", "metrics", "min_pool", "mixed_precision", "multi_transform",
    "multi_transform_with_state", "multinomial", "name_like", "name_scope", "nets", "next_rng_key",
    "next_rng_keys", "one_hot", "operation_costs", "ops", "optim", "pad", "padding_mask",
    "param_attr", "partition_trainable", "perturb", "pmean_gradients", "purify", "quantize",
    "remat", "replace_rng_sequence_state", "reserve_rng_keys", "rotary_embedding",
    "rotary_frequencies", "rules", "running_init", "scan", "segment_mask", "set_parameter",
    "set_state", "set_variable", "set_variables", "shard_map", "share", "sliding_window_mask",
    "sow", "specs", "stack_layers", "state_attr", "static_unroll", "submodules", "sum_pool",
    "surgery", "switch", "testing", "to_dot", "to_module", "trainable_mask", "trainable_only",
    "transform", "transform_with_collections", "transform_with_state", "transparent",
    "transparent_lift", "transparent_lift_with_state", "typing", "unstack_layers", "value_and_grad",
    "variable", "vjp", "vmap", "weight_norm", "while_loop", "with_empty_state", "with_rng",
    "without_apply_rng", "without_state", "yarn_scale",
]  # fmt: skip
