"""Containers, reshaping modules and dropout."""

import numpy as np

from tests.sonnet.table import Call, Case, values

X, X3, X4 = values(4, 5), values(3, 4, 5), values(2, 3, 4, 5)


def call_then(f):
    """Calls the module, and then `f(lib, module, output)`, in one program."""

    def run(lib, module, x, *args, **kwargs):
        return f(lib, module, module(x, *args, **kwargs))

    return run


def shared(snt, lib):
    layer = snt.Linear(5)
    return snt.Sequential([layer, lib.relu, layer])


SEQUENTIAL = [
    Case("Sequential()", lambda snt, lib: snt.Sequential(), (Call(X),)),
    Case("Sequential([])", lambda snt, lib: snt.Sequential([]), (Call(X),)),
    Case(
        "Sequential of layers",
        lambda snt, lib: snt.Sequential([snt.Linear(4), lib.relu, snt.Linear(3)]),
        (Call(X),),
    ),
    Case(
        "Sequential by keyword",
        lambda snt, lib: snt.Sequential(layers=(snt.Linear(2), snt.Flatten()), name="steps"),
        (Call(X),),
    ),
    Case(
        "Sequential of a generator",
        lambda snt, lib: snt.Sequential(snt.Linear(n) for n in (3, 4)),
        (Call(X),),
    ),
    Case(
        "Sequential in Sequential",
        lambda snt, lib: snt.Sequential(
            [snt.Sequential([snt.Linear(3), lib.tanh]), snt.Sequential([snt.Linear(2)])]
        ),
        (Call(X),),
    ),
    Case(
        "Sequential with arguments of the first",
        lambda snt, lib: snt.Sequential([snt.BatchNorm(True, True), snt.Linear(3)]),
        (Call(X, is_training=True), Call(X, False), Call(X, True, False)),
    ),
    Case(
        "Sequential with one layer twice",
        shared,
        (Call(X),),
    ),
]


def reversed_twice(module, y):
    back = module.reversed()
    x = back(y)
    return back.reversed()(x)


RESHAPE = [
    Case("Flatten", lambda snt, lib: snt.Flatten(), (Call(X4), Call(X4[:1]))),
    Case("Flatten(2)", lambda snt, lib: snt.Flatten(2), (Call(X4),)),
    Case("Flatten preserve_dims=3", lambda snt, lib: snt.Flatten(preserve_dims=3), (Call(X4),)),
    Case("Flatten of [4, 5]", lambda snt, lib: snt.Flatten(name="flat"), (Call(X),)),
    Case("Flatten of [4]", lambda snt, lib: snt.Flatten(), (Call(values(4)),)),
    Case("Reshape([-1])", lambda snt, lib: snt.Reshape([-1]), (Call(X4),)),
    Case("Reshape([5, -1])", lambda snt, lib: snt.Reshape([5, -1]), (Call(X4), Call(X4[:1]))),
    Case("Reshape((20,), 2)", lambda snt, lib: snt.Reshape((20,), 2), (Call(X4),)),
    Case(
        "Reshape by keyword",
        lambda snt, lib: snt.Reshape(output_shape=[2, 1, -1], preserve_dims=2, name="shaped"),
        (Call(X4),),
    ),
    Case("Reshape([])", lambda snt, lib: snt.Reshape([]), (Call(values(4, 1)),)),
    Case(
        "Reshape.reversed",
        lambda snt, lib: snt.Reshape([-1]),
        (
            Call(X4, run=call_then(lambda lib, m, y: m.reversed()(2.0 * y))),
            Call(X4, run=call_then(lambda lib, m, y: (y, m.reversed(name="back").name))),
        ),
    ),
    Case(
        "Reshape.reversed of Flatten(2)",
        lambda snt, lib: snt.Flatten(2),
        (Call(X4, run=call_then(lambda lib, m, y: m.reversed()(y))),),
    ),
    Case(
        "Reshape.reversed twice",
        lambda snt, lib: snt.Reshape([4, -1]),
        (Call(X4, run=call_then(lambda lib, m, y: reversed_twice(m, y))),),
    ),
]


DROPOUT = [
    Case(
        "Dropout not training",
        lambda snt, lib: snt.Dropout(0.5),
        (Call(X, False), Call(X, is_training=False)),
    ),
    Case("Dropout rate 0", lambda snt, lib: snt.Dropout(0.0), (Call(X, True), Call(X, False))),
    Case(
        "Dropout by keyword",
        lambda snt, lib: snt.Dropout(rate=0.9, noise_shape=[4, 1], seed=7, name="drop"),
        (Call(x=X, is_training=False),),
    ),
    Case(
        "Dropout with an array for is_training",
        lambda snt, lib: snt.Dropout(0.5),
        (Call(X, np.asarray(False)),),
    ),
]

BATCH_APPLY = [
    Case("BatchApply", lambda snt, lib: snt.BatchApply(snt.Linear(3)), (Call(X3),)),
    Case("BatchApply num_dims=3", lambda snt, lib: snt.BatchApply(snt.Linear(3), 3), (Call(X4),)),
    Case(
        "BatchApply of a function",
        lambda snt, lib: snt.BatchApply(lambda x: lib.mean(x, axis=1), num_dims=2, name="each"),
        (Call(X4),),
    ),
    Case(
        "BatchApply of two inputs",
        lambda snt, lib: snt.BatchApply(lambda x, y: {"sum": x + y, "both": (x, y)}),
        (Call(X3, 2.0 * X3), Call(X3, y=X3)),
    ),
    Case(
        "BatchApply of a nest",
        lambda snt, lib: snt.BatchApply(lambda xs: [xs["a"] * 2.0, xs["b"]]),
        (Call({"a": X3, "b": X3 + 1}),),
    ),
    Case(
        "BatchApply passes scalars on",
        lambda snt, lib: snt.BatchApply(lambda x, scale: x * scale),
        (Call(X3, np.asarray(3.0, np.float32)), Call(X3, scale=2.0)),
    ),
    Case(
        "BatchApply passes None on",
        lambda snt, lib: snt.BatchApply(lambda x, y=None: x if y is None else y),
        (Call(X3, None), Call(X3, y=None)),
    ),
    Case("BatchApply of a number", lambda snt, lib: snt.BatchApply(lambda x: x), (Call(2.0),)),
    Case(
        "BatchApply of BatchNorm",
        lambda snt, lib: snt.BatchApply(snt.BatchNorm(True, True, 0.9)),
        (Call(X3, is_training=True), Call(X3, is_training=False)),
    ),
    Case(
        "BatchApply over MLP",
        lambda snt, lib: snt.BatchApply(snt.nets.MLP([4, 2])),
        (Call(X3),),
    ),
]


def autoencoder(snt, lib):
    class AutoEncoder(snt.Module):
        def __init__(self):
            super().__init__()
            self.encoder = snt.Linear(3, name="encoder")
            self.decoder = snt.Deferred(
                lambda: snt.Linear(self.encoder.input_size, name="decoder"), name="later"
            )

        def __call__(self, x):
            return self.decoder(self.encoder(x))

    return AutoEncoder()


DEFERRED = [
    Case("Deferred", lambda snt, lib: snt.Deferred(lambda: snt.Linear(3)), (Call(X), Call(X))),
    Case("Deferred in a module", autoencoder, (Call(X),)),
    Case(
        "Deferred with call_methods",
        lambda snt, lib: snt.Deferred(
            lambda: snt.VanillaRNN(3), call_methods=("__call__", "initial_state"), name="rnn"
        ),
        (Call(X, run=lambda lib, m, x: m(x, m.initial_state(4))),),
    ),
    Case(
        "Deferred.target",
        lambda snt, lib: snt.Deferred(lambda: snt.Linear(3)),
        (Call(X, run=call_then(lambda lib, m, y: (m.target(2.0 * lib.ones([1, 5])), m.w * 1.0))),),
    ),
    Case(
        "Deferred attributes",
        lambda snt, lib: snt.Deferred(lambda: snt.Linear(3)),
        (Call(X, run=call_then(lambda lib, m, y: [m.input_size, m.output_size])),),
    ),
]


CASES = (*SEQUENTIAL, *RESHAPE, *DROPOUT, *BATCH_APPLY, *DEFERRED)
