"""Functions, initializers, regularizers and reshaping."""

import numpy as np

from tests.sonnet.table import Call, Case, values

X2, X3, X4 = values(4, 3), values(2, 3, 4), values(2, 3, 4, 2)


def function(name, f, *args, **kwargs):
    """`f(snt, lib, *arrays)`."""
    run = lambda lib, module, *args, **kwargs: f(lib.snt, lib, *args, **kwargs)
    return Case(name, lambda snt, lib: None, (Call(*args, run=run, **kwargs),))


RESHAPE = [
    function("flatten", lambda snt, lib, x: snt.flatten(x), X4),
    function("flatten by keyword", lambda snt, lib, inputs: snt.flatten(inputs=inputs), X3),
    function("flatten of [4, 3]", lambda snt, lib, x: snt.flatten(x, "flat"), X2),
    function("flatten of [4]", lambda snt, lib, x: snt.flatten(x), values(4)),
    function("reshape", lambda snt, lib, x: snt.reshape(x, [-1]), X4),
    function("reshape preserve_dims", lambda snt, lib, x: snt.reshape(x, [8], 2), X4),
    function(
        "reshape by keyword",
        lambda snt, lib, x: snt.reshape(inputs=x, output_shape=(2, -1), preserve_dims=2, name="r"),
        X4,
    ),
    function("reshape adds a dimension", lambda snt, lib, x: snt.reshape(x, [3, 1, -1, 4]), X4),
    function("merge_leading_dims", lambda snt, lib, x: snt.merge_leading_dims(x, 2), X4),
    function("merge_leading_dims 1", lambda snt, lib, x: snt.merge_leading_dims(x, 1), X4),
    function(
        "merge_leading_dims all", lambda snt, lib, x: snt.merge_leading_dims(x, num_dims=4), X4
    ),
    function(
        "merge_leading_dims 5 of [4, 3]", lambda snt, lib, x: snt.merge_leading_dims(x, 5), X2
    ),
    function("merge_leading_dims of None", lambda snt, lib: snt.merge_leading_dims(None, 2)),
    function(
        "merge_leading_dims of a scalar",
        lambda snt, lib, x: snt.merge_leading_dims(x, 2),
        np.asarray(1.0, np.float32),
    ),
    function(
        "split_leading_dim",
        lambda snt, lib, x, example: snt.split_leading_dim(x, example, 2),
        values(6, 5),
        X3,
    ),
    function(
        "split_leading_dim to 3",
        lambda snt, lib, x, example: snt.split_leading_dim(x=x, example=example, num_dims=3),
        values(24),
        X4,
    ),
    function(
        "split_leading_dim of None",
        lambda snt, lib, example: snt.split_leading_dim(None, example, 2),
        X3,
    ),
]

# By position, as Sonnet forgets the gradients of functions that are called by keyword.
GRADIENTS = [
    function(f"scale_gradient {scale}", lambda snt, lib, x, s=scale: snt.scale_gradient(x, s), X2)
    for scale in (0.0, 0.5, -1.0, 3.0)
] + [
    function(
        "scale_gradient by an array",
        lambda snt, lib, t, scale: snt.scale_gradient(lib.square(t), scale),
        X2,
        np.asarray(0.3, np.float32),
    ),
    function(
        "leaky_clip_by_value",
        lambda snt, lib, x: snt.leaky_clip_by_value(x, -0.5, 0.5),
        values(6, 4),
    ),
    function(
        "leaky_clip_by_value, -x",
        lambda snt, lib, x: snt.leaky_clip_by_value(-x, -0.5, 0.5),
        values(6, 4),
    ),
    function(
        "leaky_clip_by_value at the bounds",
        lambda snt, lib, x: snt.leaky_clip_by_value(x, -1.0, 1.0),
        np.asarray([-2.0, -1.0, 0.0, 1.0, 2.0], np.float32),
    ),
    function(
        "leaky_clip_by_value by arrays",
        lambda snt, lib, x, low, high: snt.leaky_clip_by_value(x, low, high),
        values(6, 4),
        np.asarray(-0.2, np.float32),
        np.asarray(0.9, np.float32),
    ),
]

PADS = [
    function(
        "pad functions",
        lambda snt, lib: [
            [list(f(k)) for k in (1, 2, 3, 4, 7)]
            for f in (
                snt.pad.same,
                snt.pad.valid,
                snt.pad.full,
                snt.pad.causal,
                snt.pad.reverse_causal,
            )
        ],
    ),
    *(
        function(name, lambda snt, lib, make=make: [list(p) for p in make(snt)])
        for name, make in {
            "pad.create same": lambda snt: snt.pad.create(snt.pad.same, 3, 1, 2, -1),
            "pad.create rate": lambda snt: snt.pad.create(snt.pad.causal, 3, 2, 1, -1),
            "pad.create kernel": lambda snt: snt.pad.create(snt.pad.full, [3, 5], [1, 2], 2, -1),
            "pad.create list": lambda snt: snt.pad.create(
                [snt.pad.same, snt.pad.causal], kernel=3, rate=[2, 1], n=2, channel_index=-1
            ),
            "pad.create channels first": lambda snt: snt.pad.create(
                padding=snt.pad.same, kernel=3, rate=1, n=2, channel_index=1
            ),
        }.items()
    ),
]


def initializer(name, make, *shape, dtype="float32"):
    return function(
        f"initializers.{name} {list(shape)} {dtype}",
        lambda snt, lib: make(snt.initializers)(list(shape), getattr(lib, dtype)),
    )


INITIALIZERS = [
    initializer("Zeros", lambda i: i.Zeros(), 2, 3),
    initializer("Zeros", lambda i: i.Zeros(), 2, dtype="int32"),
    initializer("Ones", lambda i: i.Ones(), 2, 3),
    initializer("Ones", lambda i: i.Ones(), 2, dtype="float16"),
    initializer("Ones", lambda i: i.Ones(), dtype="int32"),
    initializer("Constant(2.5)", lambda i: i.Constant(2.5), 2, 3),
    initializer("Constant(value=3)", lambda i: i.Constant(value=3), 2, dtype="int32"),
    initializer("Identity", lambda i: i.Identity(), 3, 3),
    initializer("Identity", lambda i: i.Identity(), 2, 3),
    initializer("Identity(gain=2)", lambda i: i.Identity(gain=2.0), 4, 3),
    initializer("Identity(0.5)", lambda i: i.Identity(0.5), 2, 3, 3),
    initializer("RandomNormal(1, 0)", lambda i: i.RandomNormal(1.0, 0.0), 2, 3),
    initializer("TruncatedNormal(1, 0)", lambda i: i.TruncatedNormal(1.0, 0.0), 2, 3),
    function(
        "Orthogonal is orthogonal",
        lambda snt, lib: [
            lib.matmul(q, lib.transpose(q)) if wide else lib.matmul(lib.transpose(q), q)
            for q, wide in (
                (snt.initializers.Orthogonal()([3, 5], lib.float32), True),
                (snt.initializers.Orthogonal(2.0)([5, 3], lib.float32), False),
                (snt.initializers.Orthogonal(gain=0.5, seed=3)([4, 4], lib.float32), True),
                (
                    lib.reshape(snt.initializers.Orthogonal()([2, 3, 4], lib.float32), [6, 4]),
                    False,
                ),
            )
        ],
    ),
    function(
        "shapes and dtypes of random initializers",
        lambda snt, lib: [
            make([2, 3], dtype) * 0
            for make in (
                snt.initializers.RandomUniform(),
                snt.initializers.RandomNormal(),
                snt.initializers.TruncatedNormal(),
                snt.initializers.VarianceScaling(),
            )
            for dtype in (lib.float32, lib.float16, lib.bfloat16)
        ],
    ),
    function(
        "RandomUniform of integers",
        lambda snt, lib: snt.initializers.RandomUniform(0, 10)([2, 3], lib.int32) * 0,
    ),
]

REGULARIZERS = [
    function(
        f"regularizers.{name} {len(arrays)}",
        lambda snt, lib, *xs, make=make: make(snt.regularizers)(list(xs)),
        *arrays,
    )
    for name, make in {
        "L1(0.1)": lambda r: r.L1(0.1),
        "L1(scale=2.0)": lambda r: r.L1(scale=2.0),
        "L2(0.1)": lambda r: r.L2(0.1),
        "L2(scale=0)": lambda r: r.L2(scale=0.0),
        "OffDiagonalOrthogonal(0.1)": lambda r: r.OffDiagonalOrthogonal(0.1),
        "OffDiagonalOrthogonal(scale=1)": lambda r: r.OffDiagonalOrthogonal(scale=1.0),
    }.items()
    for arrays in ((), (values(3, 4),), (values(3, 4), values(5, 2), values(2, 2)))
] + [
    function(
        "regularizers of [2, 3, 4]",
        lambda snt, lib, x: (snt.regularizers.L1(1.0)([x]), snt.regularizers.L2(1.0)([x])),
        values(2, 3, 4),
    ),
]

CASES = (*RESHAPE, *GRADIENTS, *PADS, *INITIALIZERS, *REGULARIZERS)
