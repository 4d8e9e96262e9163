"""What is done to modules: getters, `build`, mixed precision, names and representations."""

from tests.sonnet.cases_misc import call_then
from tests.sonnet.table import Call, Case, values

X = values(4, 5)


def stop_all(lib, module, x):
    with lib.snt.custom_variable_getter(lib.stop_gradient):
        return module(x)


def doubled(lib, module, x):
    with lib.snt.custom_variable_getter(lambda v: 2.0 * v):
        y = module(x)
    return y, module(x)


def stop_instance(lib, module, x):
    with lib.snt.custom_variable_getter(lib.stop_gradient, instances=[module.layers[0]]):
        return module(x)


def stop_class(lib, module, x):
    with lib.snt.custom_variable_getter(lib.stop_gradient, classes=[lib.snt.Bias]):
        return module(x)


def both_layers(snt, lib):
    class Both(snt.Module):
        def __init__(self):
            super().__init__()
            self.layers = [snt.Linear(4), snt.Bias()]

        def __call__(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    return Both()


GETTERS = [
    Case(
        "custom_variable_getter stops gradients",
        lambda snt, lib: snt.Linear(3),
        (Call(X), Call(X, run=stop_all)),
    ),
    Case(
        "custom_variable_getter doubles",
        lambda snt, lib: snt.Linear(3),
        (Call(X), Call(X, run=doubled)),
    ),
    Case(
        "custom_variable_getter of an instance",
        both_layers,
        (Call(X), Call(X, run=stop_instance)),
    ),
    Case("custom_variable_getter of a class", both_layers, (Call(X), Call(X, run=stop_class))),
]


def built(lib, module, *shapes, **kwargs):
    """`build` returns what stands for the shapes of outputs, and leaves variables alone."""
    result = lib.snt.build(module, *shapes, **kwargs)
    return [lib.shape(leaf) for leaf in (result if isinstance(result, (list, tuple)) else [result])]


BUILD = [
    Case(
        "build Linear",
        lambda snt, lib: snt.Linear(3),
        (Call([2, 5], run=built), Call(values(2, 5))),
    ),
    Case(
        "build MLP",
        lambda snt, lib: snt.nets.MLP([4, 3]),
        (Call((2, 5), run=built), Call(values(2, 5))),
    ),
    Case(
        "build BatchNorm",
        lambda snt, lib: snt.BatchNorm(True, True),
        (Call([6, 4], is_training=True, run=built), Call(values(6, 4), False)),
    ),
    Case(
        "build of an array",
        lambda snt, lib: snt.Linear(3),
        (Call(X, run=built),),
    ),
]


def log(lib, module, x):
    module(x)
    lib.snt.log_variables(module.variables)


def mixed(snt, lib):
    class Mixed(snt.Module):
        def __init__(self):
            super().__init__()
            self.w = lib.Variable(values(5, 3), name="w")

        @snt.mixed_precision.modes([lib.float32, lib.float16])
        def __call__(self, x):
            return {"y": lib.matmul(x, lib.identity(self.w))}

    return Mixed()


def in_half(lib, module, x, dtype=None):
    first = module(x)
    with lib.snt.mixed_precision.scope(dtype or lib.float16):
        second = module(x)
    return [first, second, module(x)]


def enabled(lib, module, x):
    lib.snt.mixed_precision.enable(lib.float16)
    try:
        first, second = module(x), module(x)
    finally:
        lib.snt.mixed_precision.disable()
    return [first, second, module(x)]


MIXED = [
    Case(
        "mixed precision off",
        mixed,
        (Call(X, run=lambda lib, m, x: [m(x), m(x)]),),
    ),
    Case(
        "mixed precision, second call",
        mixed,
        (Call(X, run=in_half),),
        tolerance=1e-2,
    ),
    Case(
        "mixed precision, type not valid",
        mixed,
        (Call(X, run=lambda lib, m, x: in_half(lib, m, x, lib.bfloat16)),),
    ),
    Case(
        "mixed precision enabled and disabled",
        mixed,
        (Call(X, run=enabled),),
        tolerance=1e-2,
    ),
]


def layer_attributes(lib, module, x, images):
    snt = lib.snt
    linear, conv = snt.Linear(3), snt.Conv2D(2, 3)
    linear(x), conv(images)
    return [
        linear.input_size,
        linear.output_size,
        linear.with_bias,
        lib.shape(linear.w),
        lib.shape(linear.b),
        conv.input_channels,
        conv.output_channels,
        conv.kernel_shape,
        conv.stride,
        conv.rate,
        conv.conv_padding,
        conv.padding_func,
        conv.data_format,
        conv.with_bias,
        lib.shape(conv.w),
        lib.shape(conv.b),
        snt.Embed(7, 3).vocab_size,
        snt.Embed(100).embed_dim,
        snt.BatchApply(linear, 3).num_dims,
        snt.optimizers.Adam(0.5).beta2,
        snt.optimizers.RMSProp(0.5).centered,
        snt.initializers.VarianceScaling(2.0).mode,
        snt.initializers.TruncatedNormal(1.0, 2.0).stddev,
        snt.regularizers.L2(0.5).scale,
        repr(snt.regularizers.L1(0.5)),
    ]


def table_of(snt, variables):
    """The lines without the last column, which is the device."""
    lines = snt.format_variables(variables, tablefmt="orgtbl").splitlines()
    return [line[: lines[0].rindex("|", 0, -1)] for line in lines]


REPRS = [
    Case(
        "repr of modules",
        lambda snt, lib: snt.Sequential(),
        (
            Call(
                run=lambda lib, m: [
                    repr(lib.snt.Linear(3)),
                    repr(lib.snt.Linear(3, with_bias=False, name="mine")),
                    repr(lib.snt.nets.MLP([4, 3])),
                    repr(lib.snt.BatchNorm(create_scale=True, create_offset=False)),
                    repr(lib.snt.Conv2D(4, kernel_shape=3, stride=2)),
                    repr(lib.snt.LSTM(7)),
                    repr(lib.snt.Flatten()),
                    repr(lib.snt.Sequential()),
                    repr(lib.snt.Embed(7, embed_dim=3)),
                ]
            ),
        ),
    ),
    Case(
        "names of modules",
        lambda snt, lib: snt.Sequential(),
        (
            Call(
                run=lambda lib, m: [
                    make(lib.snt).name
                    for make in (
                        lambda snt: snt.Linear(3),
                        lambda snt: snt.Conv1D(3, 1),
                        lambda snt: snt.Conv2DTranspose(3, 1),
                        lambda snt: snt.Conv3DLSTM([4, 4, 4, 1], 2, 3),
                        lambda snt: snt.DepthwiseConv2D(3),
                        lambda snt: snt.BatchNorm(True, True),
                        lambda snt: snt.ExponentialMovingAverage(0.9),
                        lambda snt: snt.GRU(3),
                        lambda snt: snt.LSTM(3),
                        lambda snt: snt.VanillaRNN(3),
                        lambda snt: snt.UnrolledLSTM(3),
                        lambda snt: snt.DeepRNN([]),
                        lambda snt: snt.deep_rnn_with_skip_connections([snt.GRU(3)]),
                        lambda snt: snt.deep_rnn_with_residual_connections([snt.GRU(3)]),
                        lambda snt: snt.lstm_with_recurrent_dropout(3)[0],
                        lambda snt: snt.nets.MLP([3]),
                        lambda snt: snt.nets.Cifar10ConvNet(),
                        lambda snt: snt.nets.VectorQuantizerEMA(2, 3, 0.2, 0.9),
                        lambda snt: snt.nets.ResNet([1, 1, 1, 1], 3),
                        lambda snt: snt.optimizers.RMSProp(0.1),
                        lambda snt: snt.optimizers.SGD(0.1),
                    )
                ]
            ),
        ),
    ),
    Case(
        "attributes of layers",
        lambda snt, lib: snt.Sequential(),
        (
            Call(
                X,
                values(2, 4, 4, 3),
                run=layer_attributes,
            ),
        ),
    ),
    Case(
        "format_variables",
        lambda snt, lib: snt.nets.MLP([4, 3]),
        (Call(X, run=call_then(lambda lib, m, y: table_of(lib.snt, m.variables))),),
    ),
    Case("log_variables", lambda snt, lib: snt.Linear(3), (Call(X, run=log),)),
]


CASES = (*GETTERS, *BUILD, *MIXED, *REPRS)
