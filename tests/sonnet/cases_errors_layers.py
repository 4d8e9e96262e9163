"""What Sonnet's layers refuse: wrong arguments, wrong shapes, one module with inputs of two sizes."""

import numpy as np

from tests.sonnet.table import Call, Raises, integers, values

X, X3, X4 = values(4, 5), values(2, 3, 5), values(2, 4, 3, 5)
IDS = integers(7, 2, 3)


def refused(name, build, *calls):
    return Raises(name, build, calls)


def in_call(name, f, *args):
    """`f(snt, lib, *arrays)` is refused."""
    run = lambda lib, module, *args: f(lib.snt, lib, *args)
    return Raises(name, lambda snt, lib: None, (Call(*args, run=run),))


LAYERS = [
    refused("Linear of [5]", lambda snt, lib: snt.Linear(3), Call(values(5))),
    refused(
        "Linear of a scalar", lambda snt, lib: snt.Linear(3), Call(np.asarray(1.0, np.float32))
    ),
    refused("Linear of integers", lambda snt, lib: snt.Linear(3), Call(IDS)),
    refused("Linear of two sizes", lambda snt, lib: snt.Linear(3), Call(X), Call(values(4, 6))),
    refused(
        "Linear b_init without bias",
        lambda snt, lib: snt.Linear(3, with_bias=False, b_init=snt.initializers.Zeros()),
    ),
    refused("Linear without a size", lambda snt, lib: snt.Linear()),
    refused("Linear unknown argument", lambda snt, lib: snt.Linear(3, bias=False)),
    refused("Bias of [5]", lambda snt, lib: snt.Bias(), Call(values(5))),
    refused("Bias of two sizes", lambda snt, lib: snt.Bias(), Call(X), Call(values(4, 6))),
    refused("Bias output_size differs", lambda snt, lib: snt.Bias(4), Call(X)),
    refused("Bias bias_dims=[0]", lambda snt, lib: snt.Bias(bias_dims=[0]), Call(X)),
    refused("Bias bias_dims=[7]", lambda snt, lib: snt.Bias(bias_dims=[7]), Call(X)),
    refused("Bias bias_dims=[-2]", lambda snt, lib: snt.Bias(bias_dims=[-2]), Call(X)),
    refused("Embed of nothing", lambda snt, lib: snt.Embed()),
    refused("Embed vocab_size=0", lambda snt, lib: snt.Embed(0)),
    refused(
        "Embed with both",
        lambda snt, lib: snt.Embed(7, existing_vocab=values(7, 3)),
    ),
    refused(
        "Embed embed_dim and existing_vocab",
        lambda snt, lib: snt.Embed(embed_dim=3, existing_vocab=values(7, 3)),
    ),
    refused(
        "Embed initializer and existing_vocab",
        lambda snt, lib: snt.Embed(
            existing_vocab=values(7, 3), initializer=snt.initializers.Ones()
        ),
    ),
    refused("Embed of floats", lambda snt, lib: snt.Embed(7, 3), Call(values(2, 3))),
    refused("Embed out of range", lambda snt, lib: snt.Embed(7, 3), Call(IDS + 7)),
    refused("Embed of -1", lambda snt, lib: snt.Embed(7, 3), Call(IDS - 7)),
]

CONV = [
    refused("Conv1D of [4, 5]", lambda snt, lib: snt.Conv1D(2, 3), Call(X)),
    refused("Conv2D of [2, 3, 5]", lambda snt, lib: snt.Conv2D(2, 3), Call(X3)),
    refused("Conv3D of [2, 4, 3, 5]", lambda snt, lib: snt.Conv3D(2, 3), Call(X4)),
    refused("Conv2D of integers", lambda snt, lib: snt.Conv2D(2, 3), Call(integers(3, 2, 4, 4, 1))),
    refused(
        "Conv2D of two sizes",
        lambda snt, lib: snt.Conv2D(2, 3),
        Call(X4),
        Call(values(2, 4, 3, 6)),
    ),
    refused("Conv2D kernel of 3", lambda snt, lib: snt.Conv2D(2, (3, 3, 3)), Call(X4)),
    refused("Conv2D stride of 3", lambda snt, lib: snt.Conv2D(2, 3, stride=(1, 2, 1)), Call(X4)),
    refused("Conv2D rate of 3", lambda snt, lib: snt.Conv2D(2, 3, rate=(1, 1, 1)), Call(X4)),
    refused("Conv2D padding MIDDLE", lambda snt, lib: snt.Conv2D(2, 3, padding="MIDDLE"), Call(X4)),
    refused("Conv2D padding 3", lambda snt, lib: snt.Conv2D(2, 3, padding=3), Call(X4)),
    refused(
        "Conv2D padding of 3 functions",
        lambda snt, lib: snt.Conv2D(2, 3, padding=[snt.pad.same] * 3),
        Call(X4),
    ),
    refused("Conv2D format", lambda snt, lib: snt.Conv2D(2, 3, data_format="WHAT")),
    refused(
        "Conv2D b_init without bias",
        lambda snt, lib: snt.Conv2D(2, 3, with_bias=False, b_init=snt.initializers.Ones()),
    ),
    refused(
        "Conv2D stride and rate", lambda snt, lib: snt.Conv2D(2, 3, stride=2, rate=2), Call(X4)
    ),
    refused("Conv3D num_spatial_dims", lambda snt, lib: snt.Conv3D(2, 3, num_spatial_dims=2)),
    refused("Conv1DTranspose of [4, 5]", lambda snt, lib: snt.Conv1DTranspose(2, 3), Call(X)),
    refused("Conv2DTranspose of [2, 3, 5]", lambda snt, lib: snt.Conv2DTranspose(2, 3), Call(X3)),
    refused(
        "Conv2DTranspose padding function",
        lambda snt, lib: snt.Conv2DTranspose(2, 3, padding=snt.pad.same),
    ),
    refused(
        "Conv2DTranspose padding FULL",
        lambda snt, lib: snt.Conv2DTranspose(2, 3, padding="FULL"),
        Call(X4),
    ),
    refused(
        "Conv2DTranspose b_init without bias",
        lambda snt, lib: snt.Conv2DTranspose(2, 3, with_bias=False, b_init=snt.initializers.Ones()),
    ),
    refused(
        "Conv2DTranspose output_shape of 3",
        lambda snt, lib: snt.Conv2DTranspose(2, 3, output_shape=[4, 3, 2]),
        Call(X4),
    ),
    refused(
        "Conv2DTranspose output_shape too large",
        lambda snt, lib: snt.Conv2DTranspose(2, 3, output_shape=[40, 30]),
        Call(X4),
    ),
    refused(
        "Conv1DTranspose output_shape int",
        lambda snt, lib: snt.Conv1DTranspose(2, 3, 10, 2),
        Call(X3),
    ),
    refused(
        "Conv2DTranspose format", lambda snt, lib: snt.Conv2DTranspose(2, 3, data_format="WHAT")
    ),
    refused("DepthwiseConv2D of [2, 3, 5]", lambda snt, lib: snt.DepthwiseConv2D(3), Call(X3)),
    refused(
        "DepthwiseConv2D padding function",
        lambda snt, lib: snt.DepthwiseConv2D(3, padding=snt.pad.same),
        Call(X4),
    ),
    refused(
        "DepthwiseConv2D b_init without bias",
        lambda snt, lib: snt.DepthwiseConv2D(3, with_bias=False, b_init=snt.initializers.Ones()),
    ),
    refused(
        "DepthwiseConv2D kernel of 3", lambda snt, lib: snt.DepthwiseConv2D((3, 3, 3)), Call(X4)
    ),
    in_call("pad.create of a string", lambda snt, lib: snt.pad.create("SAME", 3, 1, 2, -1)),
    in_call(
        "pad.create of 3 functions",
        lambda snt, lib: snt.pad.create([snt.pad.same] * 3, 3, 1, 2, -1),
    ),
]

NORM = [
    refused("BatchNorm without is_training", lambda snt, lib: snt.BatchNorm(True, True), Call(X)),
    refused("BatchNorm without create_scale", lambda snt, lib: snt.BatchNorm()),
    refused(
        "BatchNorm scale_init without scale",
        lambda snt, lib: snt.BatchNorm(False, True, scale_init=snt.initializers.Ones()),
    ),
    refused(
        "BatchNorm offset_init without offset",
        lambda snt, lib: snt.BatchNorm(True, False, offset_init=snt.initializers.Ones()),
    ),
    refused(
        "BatchNorm scale given twice",
        lambda snt, lib: snt.BatchNorm(True, False),
        Call(X, True, scale=values(5)),
    ),
    refused(
        "BatchNorm offset given twice",
        lambda snt, lib: snt.BatchNorm(False, True),
        Call(X, True, offset=values(5)),
    ),
    refused(
        "BatchNorm format",
        lambda snt, lib: snt.BatchNorm(True, True, data_format="WHAT"),
        Call(X4, True),
    ),
    refused(
        "BatchNorm of two sizes",
        lambda snt, lib: snt.BatchNorm(True, True),
        Call(X, True),
        Call(values(4, 6), True),
    ),
    refused(
        "BatchNorm is_training is an array, 4-D",
        lambda snt, lib: snt.BatchNorm(True, True),
        Call(X4, np.asarray(True)),
    ),
    refused("BatchNorm of integers", lambda snt, lib: snt.BatchNorm(True, True), Call(IDS, True)),
    refused("BaseBatchNorm without averages", lambda snt, lib: snt.BaseBatchNorm(True, True)),
    refused("LayerNorm without axis", lambda snt, lib: snt.LayerNorm(create_scale=True)),
    refused("LayerNorm axis a float", lambda snt, lib: snt.LayerNorm(1.5, True, True)),
    refused("LayerNorm axis a string", lambda snt, lib: snt.LayerNorm("last", True, True), Call(X)),
    refused("LayerNorm axis [1.5]", lambda snt, lib: snt.LayerNorm([1.5], True, True)),
    refused("LayerNorm axis 7", lambda snt, lib: snt.LayerNorm(7, True, True), Call(X)),
    refused(
        "LayerNorm scale_init without scale",
        lambda snt, lib: snt.LayerNorm(-1, False, True, scale_init=snt.initializers.Ones()),
    ),
    refused(
        "LayerNorm offset_init without offset",
        lambda snt, lib: snt.LayerNorm(-1, True, False, offset_init=snt.initializers.Ones()),
    ),
    refused(
        "LayerNorm scale given twice",
        lambda snt, lib: snt.LayerNorm(-1, True, True),
        Call(X, scale=values(5)),
    ),
    refused(
        "LayerNorm offset given twice",
        lambda snt, lib: snt.LayerNorm(-1, True, True),
        Call(X, offset=values(5)),
    ),
    refused(
        "LayerNorm format",
        lambda snt, lib: snt.LayerNorm(-1, True, True, data_format="WHAT"),
        Call(X),
    ),
    refused("GroupNorm(2) of 5 channels", lambda snt, lib: snt.GroupNorm(2), Call(X4)),
    refused("GroupNorm axis a float", lambda snt, lib: snt.GroupNorm(2, 1.5)),
    refused("GroupNorm format", lambda snt, lib: snt.GroupNorm(2, data_format="WHAT"), Call(X4)),
    refused("GroupNorm of two ranks", lambda snt, lib: snt.GroupNorm(5), Call(X4), Call(X3)),
    refused(
        "GroupNorm scale given twice", lambda snt, lib: snt.GroupNorm(5), Call(X4, scale=values(5))
    ),
    refused(
        "GroupNorm scale_init without scale",
        lambda snt, lib: snt.GroupNorm(5, create_scale=False, scale_init=snt.initializers.Ones()),
    ),
    refused(
        "InstanceNorm scale_init without scale",
        lambda snt, lib: snt.InstanceNorm(False, True, scale_init=snt.initializers.Ones()),
    ),
    refused("InstanceNorm without create_scale", lambda snt, lib: snt.InstanceNorm()),
    refused(
        "ExponentialMovingAverage without decay", lambda snt, lib: snt.ExponentialMovingAverage()
    ),
    refused(
        "Mean value before a call",
        lambda snt, lib: snt.Mean(),
        Call(run=lambda lib, metric: metric.value),
    ),
    refused(
        "Sum reset before a call",
        lambda snt, lib: snt.Sum(),
        Call(run=lambda lib, metric: metric.reset()),
    ),
    refused("Sum of two shapes", lambda snt, lib: snt.Sum(), Call(values(3)), Call(values(4))),
]


def step(lib, core, x):
    return core(x, core.initial_state(x.shape[0]))


def unroll(name, length=None):
    def run(lib, core, x):
        return getattr(lib.snt, name)(core, x, core.initial_state(2), sequence_length=length)

    return run


RECURRENT = [
    refused("LSTM of [2, 3, 5]", lambda snt, lib: snt.LSTM(3), Call(X3, run=step)),
    refused("GRU of [2, 3, 5]", lambda snt, lib: snt.GRU(3), Call(X3, run=step)),
    refused("GRU of [5]", lambda snt, lib: snt.GRU(3), Call(values(5), run=step)),
    refused("LSTM of integers", lambda snt, lib: snt.LSTM(3), Call(IDS, run=step)),
    refused("GRU of integers", lambda snt, lib: snt.GRU(3), Call(IDS, run=step)),
    refused("VanillaRNN of integers", lambda snt, lib: snt.VanillaRNN(3), Call(IDS, run=step)),
    refused("LSTM of float16", lambda snt, lib: snt.LSTM(3), Call(X.astype(np.float16), run=step)),
    refused(
        "LSTM projection_init without a projection",
        lambda snt, lib: snt.LSTM(3, projection_init=snt.initializers.Ones()),
    ),
    refused(
        "LSTM of two sizes",
        lambda snt, lib: snt.LSTM(3),
        Call(X, run=step),
        Call(values(4, 6), run=step),
    ),
    refused("LSTM without a state", lambda snt, lib: snt.LSTM(3), Call(X)),
    refused(
        "LSTM with a tuple for the state",
        lambda snt, lib: snt.LSTM(3),
        Call(X, run=lambda lib, core, x: core(x, tuple(core.initial_state(4)))),
    ),
    refused(
        "LSTM batch size of the state",
        lambda snt, lib: snt.LSTM(3),
        Call(X, run=lambda lib, core, x: core(x, core.initial_state(3))),
    ),
    refused(
        "LSTM initial_state(None)",
        lambda snt, lib: snt.LSTM(3),
        Call(run=lambda lib, core: core.initial_state(None)),
    ),
    refused(
        "static_unroll of no steps",
        lambda snt, lib: snt.GRU(3),
        Call(values(0, 2, 5), run=unroll("static_unroll")),
    ),
    refused(
        "dynamic_unroll of no steps",
        lambda snt, lib: snt.GRU(3),
        Call(values(0, 2, 5), run=unroll("dynamic_unroll")),
    ),
    refused(
        "static_unroll of two lengths",
        lambda snt, lib: snt.GRU(3),
        Call(
            X3,
            run=lambda lib, core, x: lib.snt.static_unroll(
                core, {"a": x, "b": x[:1]}, core.initial_state(2)
            ),
        ),
    ),
    refused("UnrolledLSTM of [4, 5]", lambda snt, lib: snt.UnrolledLSTM(3), Call(X, run=step)),
    refused(
        "skip connections of functions",
        lambda snt, lib: snt.deep_rnn_with_skip_connections([snt.GRU(3), lib.relu]),
    ),
    refused(
        "residual connections of functions",
        lambda snt, lib: snt.deep_rnn_with_residual_connections([snt.GRU(3), lib.relu]),
    ),
    refused(
        "residual connections of other sizes",
        lambda snt, lib: snt.deep_rnn_with_residual_connections([snt.GRU(3)]),
        Call(X, run=step),
    ),
    refused(
        "lstm_with_recurrent_dropout 1", lambda snt, lib: snt.lstm_with_recurrent_dropout(3, 1.0)
    ),
    refused(
        "lstm_with_recurrent_dropout -1", lambda snt, lib: snt.lstm_with_recurrent_dropout(3, -1.0)
    ),
    refused("RNNCore is abstract", lambda snt, lib: snt.RNNCore()),
    refused("UnrolledRNN is abstract", lambda snt, lib: snt.UnrolledRNN()),
    refused("Metric is abstract", lambda snt, lib: snt.Metric()),
    refused("Optimizer is abstract", lambda snt, lib: snt.Optimizer()),
    refused("Initializer is abstract", lambda snt, lib: snt.initializers.Initializer()),
    refused("Regularizer is abstract", lambda snt, lib: snt.regularizers.Regularizer()),
    refused(
        "Conv2DLSTM of [2, 3, 5]",
        lambda snt, lib: snt.Conv2DLSTM([4, 4, 5], 2, 3),
        Call(X3, run=step),
    ),
    refused(
        "Conv2DLSTM input_shape differs",
        lambda snt, lib: snt.Conv2DLSTM([4, 4, 5], 2, 3),
        Call(X4, run=step),
    ),
    refused("Conv1DLSTM format", lambda snt, lib: snt.Conv1DLSTM([4, 2], 2, 3, data_format="WHAT")),
    refused(
        "TrainableState of another mask",
        lambda snt, lib: snt.TrainableState({"a": values(2)}, {"b": True}),
    ),
]


OF_LAYERS = (*LAYERS, *CONV, *NORM, *RECURRENT)
