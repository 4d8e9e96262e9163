"""Sonnet 2 over JAX: the names, layouts, numbers and errors of dm-sonnet 2.0.2.

>>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
>>> f = ps.transform_with_state(lambda x: snt.nets.MLP([300, 10])(x))
>>> x = jnp.ones([1, 784])
>>> params, state = f.init(jax.random.key(0), x)
>>> f.apply(params, state, None, x)[0].shape
(1, 10)
"""

from purestate._sonnet.axis_norm import InstanceNorm, LayerNorm
from purestate._sonnet.batch_apply import BatchApply, merge_leading_dims, split_leading_dim
from purestate._sonnet.batch_norm import BaseBatchNorm, BatchNorm
from purestate._sonnet.build import build
from purestate._sonnet.conv import Conv1D, Conv2D, Conv3D
from purestate._sonnet.conv_transpose import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose
from purestate._sonnet.custom_getter import custom_variable_getter
from purestate._sonnet.deferred import Deferred
from purestate._sonnet.depthwise_conv import DepthwiseConv2D
from purestate._sonnet.dropout import Dropout
from purestate._sonnet.embed import Embed
from purestate._sonnet.format_variables import format_variables, log_variables
from purestate._sonnet.group_norm import GroupNorm
from purestate._sonnet.leaky_clip_by_value import leaky_clip_by_value
from purestate._sonnet.linear import Bias, Linear
from purestate._sonnet.metrics import Mean, Metric, Sum
from purestate._sonnet.module import Module, allow_empty_variables, no_name_scope
from purestate._sonnet.moving_averages import ExponentialMovingAverage
from purestate._sonnet.once import once
from purestate._sonnet.optimizers.base import Optimizer
from purestate._sonnet.outside import set_seed
from purestate._sonnet.recurrent.conv_lstm import Conv1DLSTM, Conv2DLSTM, Conv3DLSTM
from purestate._sonnet.recurrent.core import RNNCore, UnrolledRNN
from purestate._sonnet.recurrent.deep_rnn import (
    DeepRNN,
    deep_rnn_with_residual_connections,
    deep_rnn_with_skip_connections,
)
from purestate._sonnet.recurrent.gru import GRU
from purestate._sonnet.recurrent.lstm import LSTM, LSTMState, UnrolledLSTM
from purestate._sonnet.recurrent.recurrent_dropout import lstm_with_recurrent_dropout
from purestate._sonnet.recurrent.trainable_state import TrainableState
from purestate._sonnet.recurrent.unroll import dynamic_unroll, static_unroll
from purestate._sonnet.recurrent.vanilla_rnn import VanillaRNN
from purestate._sonnet.reshape import Flatten, Reshape, flatten, reshape
from purestate._sonnet.scale_gradient import scale_gradient
from purestate._sonnet.sequential import Sequential
from purestate._sonnet.to_haiku import to_haiku
from purestate._sonnet.train_outside import bind, function, value_and_grad
from purestate._sonnet.traversal import attribute_paths
from purestate._sonnet.variable import Variable
from purestate.sonnet import (
    checkpoint,
    distribute,
    functional,
    initializers,
    mixed_precision,
    nets,
    optimizers,
    pad,
    regularizers,
)

__all__ = [
    "GRU",
    "LSTM",
    "BaseBatchNorm",
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
    "DeepRNN",
    "Deferred",
    "DepthwiseConv2D",
    "Dropout",
    "Embed",
    "ExponentialMovingAverage",
    "Flatten",
    "GroupNorm",
    "InstanceNorm",
    "LSTMState",
    "LayerNorm",
    "Linear",
    "Mean",
    "Metric",
    "Module",
    "Optimizer",
    "RNNCore",
    "Reshape",
    "Sequential",
    "Sum",
    "TrainableState",
    "UnrolledLSTM",
    "UnrolledRNN",
    "VanillaRNN",
    "Variable",
    "allow_empty_variables",
    "attribute_paths",
    "bind",
    "build",
    "checkpoint",
    "custom_variable_getter",
    "deep_rnn_with_residual_connections",
    "deep_rnn_with_skip_connections",
    "distribute",
    "dynamic_unroll",
    "flatten",
    "format_variables",
    "function",
    "functional",
    "initializers",
    "leaky_clip_by_value",
    "log_variables",
    "lstm_with_recurrent_dropout",
    "merge_leading_dims",
    "mixed_precision",
    "nets",
    "no_name_scope",
    "once",
    "optimizers",
    "pad",
    "regularizers",
    "reshape",
    "scale_gradient",
    "set_seed",
    "split_leading_dim",
    "static_unroll",
    "to_haiku",
    "value_and_grad",
]
