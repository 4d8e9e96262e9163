"""What Sonnet refuses, of layers and of everything else."""

from tests.sonnet.cases_errors_layers import IDS, OF_LAYERS, X4, X, refused
from tests.sonnet.table import Call, values

MISC = [
    refused("Flatten(0)", lambda snt, lib: snt.Flatten(0)),
    refused("Reshape preserve_dims=0", lambda snt, lib: snt.Reshape([-1], 0)),
    refused("Reshape of too few", lambda snt, lib: snt.Reshape([-1], 3), Call(X)),
    refused("Flatten(3) of [4, 5]", lambda snt, lib: snt.Flatten(3), Call(X)),
    refused("Reshape to another size", lambda snt, lib: snt.Reshape([7]), Call(X)),
    refused("Reshape of two -1", lambda snt, lib: snt.Reshape([-1, -1]), Call(X4)),
    refused("Reshape -1 does not divide", lambda snt, lib: snt.Reshape([-1, 7]), Call(X4)),
    refused(
        "Reshape.reversed before a call",
        lambda snt, lib: snt.Reshape([-1]),
        Call(X4, run=lambda lib, m, x: m.reversed()(x)),
    ),
    refused("reshape to an int", lambda snt, lib: snt.reshape(lib.ones([2, 3, 4]), 12)),
    refused("flatten of a scalar", lambda snt, lib: snt.flatten(lib.ones([]))),
    refused("BatchApply without inputs", lambda snt, lib: snt.BatchApply(lambda: 1), Call()),
    refused("BatchApply of [4]", lambda snt, lib: snt.BatchApply(lambda x: x, 3), Call(X)),
    refused("merge_leading_dims 0", lambda snt, lib: snt.merge_leading_dims(lib.ones([2, 3]), 0)),
    refused(
        "split_leading_dim of a scalar",
        lambda snt, lib: snt.split_leading_dim(lib.ones([]), lib.ones([2, 3]), 2),
    ),
    refused(
        "split_leading_dim of another size",
        lambda snt, lib: snt.split_leading_dim(lib.ones([7]), lib.ones([2, 3]), 2),
    ),
    refused("Dropout without is_training", lambda snt, lib: snt.Dropout(0.5), Call(X)),
    refused("Dropout without rate", lambda snt, lib: snt.Dropout()),
    refused("Dropout rate=2", lambda snt, lib: snt.Dropout(2.0), Call(X, True)),
    refused("Dropout rate=-1", lambda snt, lib: snt.Dropout(-1.0), Call(X, True)),
    refused("Dropout rate=1", lambda snt, lib: snt.Dropout(1.0), Call(X, True)),
    refused("Dropout of integers", lambda snt, lib: snt.Dropout(0.5), Call(IDS, True)),
    refused("Sequential of nothing callable", lambda snt, lib: snt.Sequential([3]), Call(X)),
    refused("Sequential of a layer", lambda snt, lib: snt.Sequential(snt.Linear(3))),
    refused(
        "Deferred attribute before",
        lambda snt, lib: snt.Deferred(lambda: snt.Linear(3)),
        Call(run=lambda lib, m: m.what),
    ),
    refused("Deferred without constructor", lambda snt, lib: snt.Deferred()),
    refused("build without shapes", lambda snt, lib: snt.build(snt.Linear(3))),
    refused(
        "variables before a call",
        lambda snt, lib: snt.Linear(3),
        Call(run=lambda lib, m: m.variables),
    ),
    refused(
        "trainable_variables before a call",
        lambda snt, lib: snt.Linear(3),
        Call(run=lambda lib, m: m.trainable_variables),
    ),
    refused(
        "variables of Flatten",
        lambda snt, lib: snt.Flatten(),
        Call(X4),
        Call(run=lambda lib, m: m.variables),
    ),
    refused("w before a call", lambda snt, lib: snt.Linear(3), Call(run=lambda lib, m: m.w)),
    refused("name with a slash", lambda snt, lib: snt.Linear(3, name="a/b")),
    refused("name that begins with a digit", lambda snt, lib: snt.Linear(3, name="1st")),
    refused("empty name", lambda snt, lib: snt.Linear(3, name="")),
    refused("name with a space", lambda snt, lib: snt.nets.MLP([3], name="my net")),
]


def without_super(snt, lib):
    class NoSuper(snt.Module):
        def __init__(self):
            self.size = 3

    return NoSuper()


def method_before_super(snt, lib):
    class Early(snt.Module):
        def __init__(self):
            self.prepare()
            super().__init__()

        def prepare(self):
            self.size = 3

    return Early()


def once_with_result(snt, lib):
    class Result(snt.Module):
        @snt.once
        def first(self):
            return 3

        def __call__(self):
            return self.first()

    return Result()


MODULES = [
    refused("without super().__init__", without_super),
    refused("method before super().__init__", method_before_super),
    refused("once with a result", once_with_result, Call()),
    refused("a module without __call__", lambda snt, lib: snt.Module(), Call(X)),
]


def called(f):
    return lambda snt, lib: f(snt.initializers, lib)


INITIALIZERS = [
    refused("Identity of [3]", called(lambda i, lib: i.Identity()([3], lib.float32))),
    refused("Orthogonal of [3]", called(lambda i, lib: i.Orthogonal()([3], lib.float32))),
    refused("Orthogonal of integers", called(lambda i, lib: i.Orthogonal()([3, 3], lib.int32))),
    refused("Identity of bool", called(lambda i, lib: i.Identity()([3, 3], lib.bool))),
    refused("Zeros of bool", called(lambda i, lib: i.Zeros()([3], lib.bool))),
    refused("Ones of bool", called(lambda i, lib: i.Ones()([3], lib.bool))),
    refused("RandomNormal of integers", called(lambda i, lib: i.RandomNormal()([3], lib.int32))),
    refused(
        "TruncatedNormal of integers", called(lambda i, lib: i.TruncatedNormal()([3], lib.int32))
    ),
    refused(
        "VarianceScaling of integers", called(lambda i, lib: i.VarianceScaling()([3], lib.int32))
    ),
    refused("Constant of a list", called(lambda i, lib: i.Constant([1.0]))),
    refused("VarianceScaling scale=0", called(lambda i, lib: i.VarianceScaling(0.0))),
    refused("VarianceScaling scale=-1", called(lambda i, lib: i.VarianceScaling(scale=-1.0))),
    refused("VarianceScaling mode", called(lambda i, lib: i.VarianceScaling(mode="fan"))),
    refused(
        "VarianceScaling untruncated_normal",
        called(lambda i, lib: i.VarianceScaling(distribution="untruncated_normal")),
    ),
    refused("L1 scale=-1", lambda snt, lib: snt.regularizers.L1(-1.0)),
    refused("L2 scale=-1", lambda snt, lib: snt.regularizers.L2(-1.0)),
    refused(
        "OffDiagonalOrthogonal scale=-1",
        lambda snt, lib: snt.regularizers.OffDiagonalOrthogonal(-1.0),
    ),
    refused(
        "OffDiagonalOrthogonal of [3]",
        lambda snt, lib: snt.regularizers.OffDiagonalOrthogonal(1.0)([lib.ones([3])]),
    ),
]

NETS = [
    refused(
        "MLP b_init without bias",
        lambda snt, lib: snt.nets.MLP([3], with_bias=False, b_init=snt.initializers.Ones()),
    ),
    refused("MLP is_training without dropout", lambda snt, lib: snt.nets.MLP([3]), Call(X, True)),
    refused(
        "MLP dropout without is_training",
        lambda snt, lib: snt.nets.MLP([3], dropout_rate=0.5),
        Call(X),
    ),
    refused(
        "MLP dropout_rate=0 with is_training",
        lambda snt, lib: snt.nets.MLP([3], dropout_rate=0.0),
        Call(X, True),
    ),
    refused(
        "MLP dropout_rate=1", lambda snt, lib: snt.nets.MLP([3, 3], dropout_rate=1.0), Call(X, True)
    ),
    refused("MLP of [5]", lambda snt, lib: snt.nets.MLP([3]), Call(values(5))),
    refused("MLP.reverse before a call", lambda snt, lib: snt.nets.MLP([3]).reverse()),
    refused("MLP of an int", lambda snt, lib: snt.nets.MLP(3)),
    refused("Cifar10ConvNet strides", lambda snt, lib: snt.nets.Cifar10ConvNet(strides=(1, 2))),
    refused("ResNet of 3 groups", lambda snt, lib: snt.nets.ResNet([1, 1, 1], 3)),
    refused(
        "ResNet of 3 channels",
        lambda snt, lib: snt.nets.ResNet([1] * 4, 3, channels_per_group_list=(8, 8, 8)),
    ),
    refused("ResNet without is_training", lambda snt, lib: snt.nets.ResNet([1] * 4, 3), Call(X4)),
    refused(
        "VectorQuantizer of another size",
        lambda snt, lib: snt.nets.VectorQuantizer(4, 3, 0.2),
        Call(values(7, 5), True),
    ),
    refused(
        "VectorQuantizerEMA of another size",
        lambda snt, lib: snt.nets.VectorQuantizerEMA(4, 3, 0.2, 0.9),
        Call(values(7, 5), True),
    ),
    refused(
        "VectorQuantizerEMA decay=2", lambda snt, lib: snt.nets.VectorQuantizerEMA(4, 3, 0.2, 2.0)
    ),
    refused(
        "VectorQuantizerEMA decay=-1", lambda snt, lib: snt.nets.VectorQuantizerEMA(4, 3, 0.2, -1.0)
    ),
    refused(
        "VectorQuantizer without is_training",
        lambda snt, lib: snt.nets.VectorQuantizer(5, 3, 0.2),
        Call(X),
    ),
    refused("SGD without learning_rate", lambda snt, lib: snt.optimizers.SGD()),
    refused("Momentum without momentum", lambda snt, lib: snt.optimizers.Momentum(0.1)),
    refused("RMSProp without learning_rate", lambda snt, lib: snt.optimizers.RMSProp()),
]

BY_ACCIDENT = {
    "Bias output_size differs",
    "Conv1DTranspose output_shape int",
    "Mean value before a call",
    "Sum reset before a call",
    "LSTM with a tuple for the state",
    "Reshape.reversed before a call",
    "reshape to an int",
    "merge_leading_dims 0",
    "MLP.reverse before a call",
    "MLP of an int",
    "Conv2D padding 3",
    "BatchNorm is_training is an array, 4-D",
}
"""Sonnet does not check these, so that Python refuses them inside it; any of its errors will do."""

ERRORS = (
    *OF_LAYERS,
    *MISC,
    *MODULES,
    *INITIALIZERS,
    *NETS,
)
