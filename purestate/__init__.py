"""Neural networks for JAX, written as objects, run as pure functions.

`import purestate as hk` runs code written for dm-haiku; `import purestate as ps` is the same.
"""

from typing import TYPE_CHECKING

from purestate import config
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

if TYPE_CHECKING:  # imported on first use; see `__getattr__`
    from purestate import (
        checkpoint,
        convert,
        data_structures,
        errors,
        experimental,
        initializers,
        metrics,
        mixed_precision,
        nets,
        ops,
        optim,
        pad,
        quantize,
        rules,
        surgery,
        testing,
        typing,
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
    from purestate._layers.attention import MultiHeadAttention
    from purestate._layers.attention_masks import (
        causal_mask,
        combine_masks,
        padding_mask,
        segment_mask,
        sliding_window_mask,
    )
    from purestate._layers.axes import get_channel_index
    from purestate._layers.batch_apply import BatchApply, expand_apply
    from purestate._layers.batch_norm import BatchNorm
    from purestate._layers.conv import Conv1D, Conv2D, Conv3D, ConvND
    from purestate._layers.conv_local import ConvLocal1D, ConvLocal2D, ConvLocal3D, ConvLocalND
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
    from purestate._layers.expert_routing import Routing
    from purestate._layers.gated_mlp import GatedMLP
    from purestate._layers.group_norm import GroupNorm
    from purestate._layers.grouped_query_attention import GroupedQueryAttention
    from purestate._layers.layer_norm import InstanceNorm, LayerNorm
    from purestate._layers.linear import Bias, Linear
    from purestate._layers.lora import lora
    from purestate._layers.merge_lora import merge_lora
    from purestate._layers.mixture_of_experts import MixtureOfExperts
    from purestate._layers.moving_averages import EMAParamsTree, ExponentialMovingAverage
    from purestate._layers.multinomial import multinomial
    from purestate._layers.one_hot import one_hot
    from purestate._layers.parallel import Parallel
    from purestate._layers.pool import AvgPool, MaxPool, avg_pool, max_pool
    from purestate._layers.prelu import PReLU
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
    from purestate._layers.recurrent.recurrent_dropout import (
        RecurrentDropout,
        RecurrentDropoutState,
    )
    from purestate._layers.recurrent.reset_core import ResetCore
    from purestate._layers.recurrent.trainable_initial_state import TrainableInitialState
    from purestate._layers.recurrent.unroll import dynamic_unroll, static_unroll
    from purestate._layers.recurrent.vanilla_rnn import VanillaRNN
    from purestate._layers.reshape import Flatten, Reshape
    from purestate._layers.residual import Residual
    from purestate._layers.rms_norm import RMSNorm
    from purestate._layers.rotary_embedding import rotary_embedding, rotary_frequencies, yarn_scale
    from purestate._layers.scaler import Scaler
    from purestate._layers.sequential import Sequential, to_module
    from purestate._layers.spectral_norm import SNParamsTree, SpectralNorm
    from purestate._layers.sum_min_pool import MinPool, SumPool, min_pool, sum_pool
    from purestate._layers.weight_norm import WeightNorm, weight_norm
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
    from purestate._lifted.remat import eval_shape, jit, remat
    from purestate._lifted.scan import map, scan  # noqa: A004
    from purestate._lifted.shard_map import shard_map
    from purestate._lifted.vmap import vmap
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
    from purestate.typing import ModuleProtocol, SupportsCall
__version__ = "0.1.0"
if not TYPE_CHECKING:  # or a name that is misspelled would be Any
    __getattr__ = on_first_use(
        __name__,
        {
            "._core.check": "Problem check",
            "._editing.ema": "ema",
            "._editing.freeze": "freeze",
            "._editing.labels": "labels",
            "._editing.stacked_layers": "stack_layers unstack_layers",
            "._editing.trainable": "partition_trainable trainable_mask",
            "._editing.trainable_only": "trainable_only",
            "._export.exported_model": "ExportedModel",
            "._export.exporting": "export",
            "._export.file": "load_exported",
            "._inspection.dot": "to_dot",
            "._inspection.operation_costs": "ModuleCost OperationCost OperationCosts"
            " operation_costs",
            "._inspection.retraces": "Retrace assert_max_traces explain_retrace",
            "._layers.adaptive_pool": "AdaptiveAvgPool AdaptiveMaxPool adaptive_avg_pool"
            " adaptive_max_pool",
            "._layers.attention": "MultiHeadAttention",
            "._layers.attention_masks": "causal_mask combine_masks padding_mask segment_mask"
            " sliding_window_mask",
            "._layers.axes": "get_channel_index",
            "._layers.batch_apply": "BatchApply expand_apply",
            "._layers.batch_norm": "BatchNorm",
            "._layers.conv": "Conv1D Conv2D Conv3D ConvND",
            "._layers.conv_local": "ConvLocal1D ConvLocal2D ConvLocal3D ConvLocalND",
            "._layers.conv_transpose": "Conv1DTranspose Conv2DTranspose Conv3DTranspose"
            " ConvNDTranspose",
            "._layers.deferred": "Deferred",
            "._layers.dense_general": "DenseGeneral",
            "._layers.depthwise_conv": "DepthwiseConv1D DepthwiseConv2D DepthwiseConv3D"
            " SeparableDepthwiseConv2D",
            "._layers.dropout": "dropout",
            "._layers.dropout_module": "Dropout",
            "._layers.einsum": "Einsum",
            "._layers.embed": "Embed EmbedLookupStyle",
            "._layers.expert_routing": "Routing",
            "._layers.gated_mlp": "GatedMLP",
            "._layers.group_norm": "GroupNorm",
            "._layers.grouped_query_attention": "GroupedQueryAttention",
            "._layers.layer_norm": "InstanceNorm LayerNorm",
            "._layers.linear": "Bias Linear",
            "._layers.lora": "lora",
            "._layers.merge_lora": "merge_lora",
            "._layers.mixture_of_experts": "MixtureOfExperts",
            "._layers.moving_averages": "EMAParamsTree ExponentialMovingAverage",
            "._layers.multinomial": "multinomial",
            "._layers.one_hot": "one_hot",
            "._layers.parallel": "Parallel",
            "._layers.pool": "AvgPool MaxPool avg_pool max_pool",
            "._layers.prelu": "PReLU",
            "._layers.recurrent.bidirectional": "Bidirectional",
            "._layers.recurrent.conv_lstm": "Conv1DLSTM Conv2DLSTM Conv3DLSTM",
            "._layers.recurrent.core": "RNNCore",
            "._layers.recurrent.deep_rnn": "DeepRNN deep_rnn_with_residual_connections"
            " deep_rnn_with_skip_connections",
            "._layers.recurrent.gru": "GRU",
            "._layers.recurrent.identity_core": "IdentityCore",
            "._layers.recurrent.lstm": "LSTM LSTMState",
            "._layers.recurrent.recurrent_dropout": "RecurrentDropout RecurrentDropoutState",
            "._layers.recurrent.reset_core": "ResetCore",
            "._layers.recurrent.trainable_initial_state": "TrainableInitialState",
            "._layers.recurrent.unroll": "dynamic_unroll static_unroll",
            "._layers.recurrent.vanilla_rnn": "VanillaRNN",
            "._layers.reshape": "Flatten Reshape",
            "._layers.residual": "Residual",
            "._layers.rms_norm": "RMSNorm",
            "._layers.rotary_embedding": "rotary_embedding rotary_frequencies yarn_scale",
            "._layers.scaler": "Scaler",
            "._layers.sequential": "Sequential to_module",
            "._layers.spectral_norm": "SNParamsTree SpectralNorm",
            "._layers.sum_min_pool": "MinPool SumPool min_pool sum_pool",
            "._layers.weight_norm": "WeightNorm weight_norm",
            "._lifted.autodiff": "grad value_and_grad",
            "._lifted.closure_convert": "closure_convert",
            "._lifted.conditionals": "cond switch",
            "._lifted.custom_rules": "custom_jvp custom_vjp",
            "._lifted.differentials": "jvp linearize vjp",
            "._lifted.error_if": "error_if",
            "._lifted.jacobians": "hessian jacfwd jacrev",
            "._lifted.layer_names": "LayerStackTransparencyMapping",
            "._lifted.layer_stack": "layer_stack",
            "._lifted.lift": "LiftWithStateUpdater lift lift_with_state transparent_lift"
            " transparent_lift_with_state",
            "._lifted.loops": "fori_loop while_loop",
            "._lifted.map_variables": "map_variables",
            "._lifted.pmean_gradients": "pmean_gradients",
            "._lifted.purify": "get_variables purify set_variables",
            "._lifted.remat": "eval_shape jit remat",
            "._lifted.scan": "map scan",
            "._lifted.shard_map": "shard_map",
            "._lifted.vmap": "vmap",
            "._ops.interception": "intercept_ops",
            "._rules.configured": "configured",
            "._rules.explain": "explain_rules",
            "._state.attributes": "param_attr state_attr",
            "._state.fast_init": "fast_init",
            "._state.init_with_output": "init_with_output",
            "._state.intermediates": "capture_intermediates perturb sow",
            "._state.multi_transform": "MultiTransformed MultiTransformedWithState multi_transform"
            " multi_transform_with_state without_apply_rng",
            "._state.named_variables": "Variable get_variable has_parameter has_state has_variable"
            " is_mutable set_parameter set_variable variable",
            "._state.set_up_module": "Container SetUpModule",
            "._state.specs": "Spec specs",
            "._state.transform_with_collections": "TransformedWithCollections"
            " transform_with_collections",
            "._views.bind": "bind",
            "._views.model": "Model",
            "._views.optimizer": "Optimizer",
            "._views.submodules": "submodules",
            "._views.train_state": "TrainState",
            ".typing": "ModuleProtocol SupportsCall",
        },
        "checkpoint convert data_structures errors experimental initializers metrics "
        "mixed_precision nets ops optim pad quantize rules surgery testing typing",
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
