"""Normalizations, moving averages and metrics."""

import numpy as np

from tests.sonnet.table import Call, Case, values

X2, X3, X4, X5 = values(6, 4), values(3, 5, 4), values(2, 4, 3, 4), values(2, 2, 3, 2, 4)
TRUE, FALSE = np.asarray(True), np.asarray(False)


def steps(x, *more):
    """Training, training on other values, then evaluation in both ways."""
    other = (1.5 * x[::-1] + 0.3).astype("float32")
    return (
        Call(x, True),
        Call(other, is_training=True),
        Call(x, False),
        Call(x, is_training=False, test_local_stats=True),
    )


def batch_norm(what, x, *args, calls=None, tolerance=1e-5, **kwargs):
    build = lambda snt, lib: snt.BatchNorm(*args, **kwargs)
    return Case(f"BatchNorm {what}", build, calls or steps(x), tolerance)


def base_batch_norm(snt, lib):
    return snt.BaseBatchNorm(
        True, True, snt.ExponentialMovingAverage(0.8), snt.ExponentialMovingAverage(0.6)
    )


def base_batch_norm_inside(snt, lib):
    class Normed(snt.Module):
        def __init__(self):
            super().__init__()
            self.mean = snt.ExponentialMovingAverage(0.9, name="mean_average")
            self.variance = snt.Mean(name="variance_mean")
            self.norm = snt.BaseBatchNorm(
                create_scale=False,
                create_offset=True,
                moving_mean=self.mean,
                moving_variance=self.variance,
                eps=1e-3,
                name="inner",
            )

        def __call__(self, x, is_training):
            return self.norm(x, is_training=is_training)

    return Normed()


SCALE, OFFSET = values(4, seed=3), values(4, seed=4)

BATCH = (
    batch_norm("[6, 4]", X2, True, True),
    batch_norm("[3, 5, 4]", X3, True, True, 0.9),
    batch_norm("[2, 4, 3, 4]", X4, True, True, 0.9),
    batch_norm("[2, 2, 3, 2, 4]", X5, True, True, 0.9),
    batch_norm("no scale", X4, create_scale=False, create_offset=True),
    batch_norm("no scale [6, 4]", X2, create_scale=False, create_offset=True),
    batch_norm("no offset", X4, create_scale=True, create_offset=False, decay_rate=0.5),
    batch_norm("no offset [6, 4]", X2, create_scale=True, create_offset=False, decay_rate=0.5),
    batch_norm("neither", X4, False, False, 0.99, 1e-3),
    batch_norm("neither [3, 5, 4]", X3, False, False, 0.99, 1e-3),
    batch_norm("eps=0.1", X4, True, True, eps=0.1),
    batch_norm("channels_first [2, 4, 3, 4]", X4, True, True, 0.9, data_format="channels_first"),
    batch_norm("NCHW", X4, False, True, 0.9, data_format="NCHW"),
    batch_norm("NCW", X3, True, True, 0.9, data_format="NCW"),
    batch_norm("NHWC", X4, True, True, 0.9, data_format="NHWC", name="normed"),
    batch_norm("decay_rate=0", X4, True, True, 0.0),
    batch_norm("decay_rate=1", X2, True, True, 1.0),
    batch_norm(
        "evaluation before training", X4, True, True, 0.9, calls=(Call(X4, False), Call(X4, True))
    ),
    batch_norm(
        "evaluation before training [6, 4]",
        X2,
        True,
        True,
        0.9,
        calls=(Call(X2, False), Call(X2, False), Call(X2, True), Call(X2, False)),
    ),
    batch_norm(
        "local statistics first",
        X2,
        True,
        True,
        0.9,
        calls=(Call(X2, False, True), Call(X2, False)),
    ),
    batch_norm(
        "local statistics first, 4-D",
        X4,
        True,
        True,
        0.9,
        calls=(Call(X4, False, True), Call(X4, False)),
    ),
    batch_norm(
        "training with test_local_stats",
        X4,
        True,
        True,
        0.9,
        calls=(Call(X4, True, True), Call(X4, False)),
    ),
    batch_norm(
        "scale and offset given",
        X4,
        False,
        False,
        0.9,
        calls=(
            Call(X4, True, scale=SCALE, offset=OFFSET),
            Call(X4, True, False, SCALE, OFFSET),
            Call(X4, False, scale=SCALE, offset=OFFSET),
        ),
    ),
    batch_norm(
        "scale given [6, 4]",
        X2,
        False,
        True,
        0.9,
        calls=(Call(X2, True, scale=SCALE), Call(X2, False, scale=SCALE)),
    ),
    batch_norm(
        "is_training is an array [6, 4]",
        X2,
        True,
        True,
        0.9,
        calls=(Call(X2, TRUE), Call(X2, FALSE), Call(X2, FALSE, TRUE)),
    ),
    batch_norm("two batch sizes", X2, True, True, 0.9, calls=(Call(X2, True), Call(X2[:3], True))),
    batch_norm(
        "batch of 1",
        X2,
        True,
        True,
        0.9,  # Of a variance of 0, gradients are what rounds, times 1 / sqrt(eps).
        tolerance=1e-4,
        calls=(Call(X2[:1], True), Call(X2, False)),
    ),
    Case(
        "BatchNorm initializers",
        lambda snt, lib: snt.BatchNorm(
            True,
            True,
            scale_init=snt.initializers.Constant(0.7),
            offset_init=snt.initializers.RandomUniform(),
        ),
        steps(X4),
    ),
    Case(
        "BatchNorm as created", lambda snt, lib: snt.BatchNorm(True, True), steps(X4), seeded=False
    ),
    Case(
        "BatchNorm all by position",
        lambda snt, lib: snt.BatchNorm(
            True, True, 0.9, 1e-4, snt.initializers.Ones(), snt.initializers.Ones(), "NHWC", "bn"
        ),
        steps(X4),
    ),
    Case("BaseBatchNorm", base_batch_norm, steps(X4)),
    Case("BaseBatchNorm [6, 4]", base_batch_norm, steps(X2)),
    Case(
        "BaseBatchNorm in a module",
        base_batch_norm_inside,
        (Call(X2, True), Call(X2 * 2, True), Call(X2, False)),
    ),
    Case(
        "CrossReplicaBatchNorm on one device",
        lambda snt, lib: snt.distribute.CrossReplicaBatchNorm(
            True, True, snt.ExponentialMovingAverage(0.9), snt.ExponentialMovingAverage(0.9)
        ),
        steps(X4),
    ),
)

OTHER_NORMS = {
    "LayerNorm(-1)": (X4, lambda snt: snt.LayerNorm(-1, True, True)),
    "LayerNorm(1, False, False)": (X2, lambda snt: snt.LayerNorm(1, False, False)),
    "LayerNorm slice(1, None)": (X4, lambda snt: snt.LayerNorm(slice(1, None), True, True)),
    "LayerNorm slice(1, 3)": (X4, lambda snt: snt.LayerNorm(slice(1, 3), True, True)),
    "LayerNorm (1, 2)": (X4, lambda snt: snt.LayerNorm((1, 2), True, True)),
    "LayerNorm [-2, -1]": (X3, lambda snt: snt.LayerNorm([-2, -1], True, False)),
    "LayerNorm axis 0": (X2, lambda snt: snt.LayerNorm(0, True, True)),
    "LayerNorm by keyword": (
        X3,
        lambda snt: snt.LayerNorm(axis=-1, create_scale=False, create_offset=True, eps=1e-2),
    ),
    "LayerNorm channels_first": (
        X4,
        lambda snt: snt.LayerNorm(slice(1, None), True, True, data_format="channels_first"),
    ),
    "LayerNorm initializers": (
        X3,
        lambda snt: snt.LayerNorm(
            -1, True, True, 1e-5, snt.initializers.Constant(3.0), snt.initializers.Ones()
        ),
    ),
    "InstanceNorm": (X4, lambda snt: snt.InstanceNorm(True, True)),
    "InstanceNorm [3, 5, 4]": (X3, lambda snt: snt.InstanceNorm(True, True, name="each")),
    "InstanceNorm no scale": (X4, lambda snt: snt.InstanceNorm(False, True, 1e-3)),
    "InstanceNorm neither": (X5, lambda snt: snt.InstanceNorm(False, False)),
    "InstanceNorm channels_first": (
        X4,
        lambda snt: snt.InstanceNorm(True, True, data_format="channels_first"),
    ),
    "GroupNorm(2)": (X4, lambda snt: snt.GroupNorm(2)),
    "GroupNorm(1)": (X3, lambda snt: snt.GroupNorm(groups=1)),
    "GroupNorm(4)": (X4, lambda snt: snt.GroupNorm(4)),
    "GroupNorm(2) [6, 4]": (X2, lambda snt: snt.GroupNorm(2)),
    "GroupNorm(2, -1)": (X4, lambda snt: snt.GroupNorm(2, -1)),
    "GroupNorm(2, [1, 3])": (X4, lambda snt: snt.GroupNorm(2, [1, 3])),
    "GroupNorm(2, slice(2, None))": (X4, lambda snt: snt.GroupNorm(2, slice(2, None))),
    "GroupNorm no scale": (X4, lambda snt: snt.GroupNorm(2, create_scale=False, eps=0.1)),
    "GroupNorm no offset": (X4, lambda snt: snt.GroupNorm(2, create_offset=False)),
    "GroupNorm neither": (X5, lambda snt: snt.GroupNorm(2, slice(1, None), False, False)),
    "GroupNorm channels_first": (X4, lambda snt: snt.GroupNorm(2, data_format="channels_first")),
    "GroupNorm NCW": (X3, lambda snt: snt.GroupNorm(5, data_format="NCW")),
    "GroupNorm initializers": (
        X4,
        lambda snt: snt.GroupNorm(
            2, scale_init=snt.initializers.Constant(3.0), offset_init=snt.initializers.Ones()
        ),
    ),
}

GIVEN = (
    Case(
        "LayerNorm scale and offset given",
        lambda snt, lib: snt.LayerNorm(-1, False, False),
        (Call(X3, SCALE, OFFSET), Call(X3, scale=SCALE), Call(X3, offset=OFFSET)),
    ),
    Case(
        "InstanceNorm scale and offset given",
        lambda snt, lib: snt.InstanceNorm(False, False),
        (Call(X4, SCALE, OFFSET),),
    ),
    Case(
        "GroupNorm scale and offset given",
        lambda snt, lib: snt.GroupNorm(2, create_scale=False, create_offset=False),
        (Call(X4, SCALE, OFFSET), Call(X4, offset=OFFSET)),
    ),
    Case(
        "LayerNorm as created",
        lambda snt, lib: snt.LayerNorm(-1, True, True),
        (Call(X3),),
        seeded=False,
    ),
    Case("GroupNorm as created", lambda snt, lib: snt.GroupNorm(2), (Call(X4), Call(X4[:1]))),
)

ONE = values(3)


def update(lib, metric, x):
    metric.update(x)
    return metric.value


def twice(lib, metric, x, y):
    return metric(x), metric(y), metric.value


def reset(lib, metric, x):
    metric(x)
    metric.reset()
    return metric(2 * x)


METRICS = [
    Case(f"{name} {what}", build, calls)
    for name, build in {
        "ExponentialMovingAverage(0.9)": lambda snt, lib: snt.ExponentialMovingAverage(0.9),
        "ExponentialMovingAverage(decay=0.5)": lambda snt, lib: snt.ExponentialMovingAverage(
            decay=0.5, name="ema"
        ),
        "Mean": lambda snt, lib: snt.Mean(),
        "Sum": lambda snt, lib: snt.Sum(name="total"),
    }.items()
    for what, calls in {
        "called": (Call(ONE), Call(ONE + 1), Call(-2 * ONE)),
        "of a scalar": (Call(np.float32(1.0)[...]), Call(np.float32(2.0)[...])),
        "updated": (Call(ONE, run=update), Call(ONE * 3, run=update)),
        "called twice in one": (Call(ONE, -3 * ONE, run=twice), Call(ONE, ONE, run=twice)),
        "reset": (Call(ONE), Call(ONE, run=reset)),
        "initialized": (
            Call(ONE, run=lambda lib, metric, x: (metric.initialize(x), metric(x))[1]),
            Call(ONE),
        ),
    }.items()
]


def tolerance_of(name):
    """Pairs of nearly equal elements have a variance near 0."""
    return 1e-4 if name == "GroupNorm(2, -1)" else 1e-5


CASES = (
    *BATCH,
    *(
        Case(name, lambda snt, lib, build=build: build(snt), (Call(x),), tolerance_of(name))
        for name, (x, build) in OTHER_NORMS.items()
    ),
    *GIVEN,
    *METRICS,
)
