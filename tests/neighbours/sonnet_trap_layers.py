"""Layers that agree, and what the ordinary ones do not have."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import purestate as ps
from tests.neighbours.sonnet_traps import (
    Lib,
    Trap,
    arguments,
    fill,
    initial,
    out,
    ramp,
    shape_of,
)

F32 = np.float32
ONES = np.ones([2, 3], F32)
IMAGE = np.ones([1, 4, 4, 2], F32)


SAME = "The same numbers"


def same(what: str, make: Callable[[Any], Any], *args: Any) -> Trap:
    """A row of a layer with weights that are copied."""

    def theirs(lib: Lib) -> Any:
        arrays = [lib.array(a) for a in args]
        module = make(lib.snt)
        if isinstance(module, lib.snt.RNNCore):
            arrays.append(module.initial_state(2))
        module(*arrays)
        y = fill(module)(*arrays)
        return np.ravel(y[0] if isinstance(y, tuple) else y)[:3]

    def ours(*args: Any) -> Any:
        module = make(ps)
        is_core = isinstance(module, ps.RNNCore)
        return module(*args, module.initial_state(2))[0] if is_core else module(*args)

    return Trap(SAME, what, theirs, lambda: np.ravel(out(ours, *args))[:3])


IMAGES = ramp([1, 5, 5, 2])
TRAPS = [
    same("`Linear(3)`", lambda p: p.Linear(3), ramp([2, 3])),
    same("`nets.MLP([4, 3])`", lambda p: p.nets.MLP([4, 3]), ramp([2, 3])),
    same("`Conv2D(3, 3)`", lambda p: p.Conv2D(3, 3), IMAGES),
    same('`Conv2D(3, 3, padding="VALID")`', lambda p: p.Conv2D(3, 3, padding="VALID"), IMAGES),
    same(
        "`Conv2D(3, 3, rate=2, padding=pad.causal)`",
        lambda p: p.Conv2D(3, 3, rate=2, padding=p.pad.causal),
        IMAGES,
    ),
    same(
        "`DepthwiseConv2D`, kernel 3, multiplier 2",
        lambda p: p.DepthwiseConv2D(kernel_shape=3, channel_multiplier=2),
        IMAGES,
    ),
    same("`LayerNorm(-1, True, True)`", lambda p: p.LayerNorm(-1, True, True), ramp([2, 3])),
    same("`InstanceNorm(True, True)`", lambda p: p.InstanceNorm(True, True), IMAGES),
    same("`GroupNorm(2)`", lambda p: p.GroupNorm(2), IMAGES),
    same("`GRU(3)`", lambda p: p.GRU(3), ramp([2, 3])),
    same("`Bias()`", lambda p: p.Bias(), ramp([2, 3])),
    same("`Embed(5, 3)`", lambda p: p.Embed(5, 3), np.array([4, 0], np.int32)),
]


def average(lib: Lib) -> Any:
    mean = lib.snt.ExponentialMovingAverage(0.9)
    return [float(mean(lib.array(np.asarray(x, F32)))) for x in (1, 2, 3)]


def average_ordinary() -> Any:
    def means() -> Any:
        mean = ps.ExponentialMovingAverage(0.9)
        return [mean(jax.numpy.asarray(x, F32)) for x in (1, 2, 3)]

    f = ps.transform_with_state(means)
    return f.apply(*f.init(None), None)[0]


# Without a counterpart

ALONE = "What the ordinary layers do not have"


def clipped(lib: Lib) -> Any:
    x = lib.Variable(np.array([-2, 0, 3], F32))

    def loss() -> Any:
        y = lib.snt.leaky_clip_by_value(x, -1.0, 1.0)
        return y[0] + y[1] + y[2]

    return lib.gradient(loss, x)


def scaled(lib: Lib) -> Any:
    x = lib.Variable(np.array([1, 2], F32))
    return lib.gradient(lambda: lib.snt.scale_gradient(x * x, 0.5)[1], x)


def regularized(name: str, value: Any) -> Callable[[Lib], Any]:
    return lambda lib: getattr(lib.snt.regularizers, name)(0.1)([lib.array(np.array(value, F32))])


def reshaped(lib: Lib) -> Any:
    reshape = lib.snt.Reshape([3, 2])
    return [
        shape_of(reshape(lib.array(ramp([2, 6])))),
        shape_of(reshape.reversed()(reshape(lib.array(ramp([2, 6]))))),
    ]


def mean_metric(lib: Lib) -> Any:
    mean = lib.snt.Mean()
    return [float(mean(lib.array(np.asarray(x, F32)))) for x in (1, 2, 6)]


def residual(lib: Lib) -> Any:
    cores = [lib.snt.GRU(3), lib.snt.GRU(3)]
    core = lib.snt.deep_rnn_with_residual_connections(cores)
    return shape_of(core(lib.array(ONES), core.initial_state(2))[0])


def skip(lib: Lib, concat: bool) -> Any:
    cores = [lib.snt.LSTM(4), lib.snt.LSTM(5)]
    core = lib.snt.deep_rnn_with_skip_connections(cores, concat_final_output=concat)
    return shape_of(core(lib.array(ONES), core.initial_state(2))[0])


def cifar(lib: Lib) -> Any:
    net = lib.snt.nets.Cifar10ConvNet(2, output_channels=(2, 2), strides=(1, 1))
    x = lib.array(ramp([2, 4, 4, 1]))

    def logits(**options: Any) -> Any:
        return np.asarray(net(x, is_training=False, **options)["logits"])

    options = {"batch": {"test_local_stats": True}, "running": {"test_local_stats": False}}
    logits()
    return [k for k, o in options.items() if np.array_equal(logits(**o), logits())]


def trainable_state(lib: Lib) -> Any:
    return shape_of(lib.snt.TrainableState(lib.array(ramp([3])))(2))


def scaling(lib: Lib) -> Any:
    return np.std(np.asarray(lib.snt.initializers.VarianceScaling(2.0)([400, 400], np.dtype(F32))))


def scaling_ordinary() -> Any:
    w = initial(
        lambda: ps.get_parameter("w", [400, 400], init=ps.initializers.VarianceScaling(2.0))
    )
    return np.std(w["~/w"])


def precision(lib: Lib) -> Any:
    modes = lib.snt.mixed_precision
    half = lib.array(np.zeros([], np.float16)).dtype

    class Net(lib.snt.Module):
        @modes.modes([half])
        def __call__(self, x: Any) -> Any:
            self.seen = x.dtype
            return x

    net, seen = Net(), []
    modes.enable(half)
    try:
        for _ in range(2):
            y = net(lib.array(ONES))
            seen.append(f"{np.dtype(getattr(net.seen, 'as_numpy_dtype', net.seen)).name}")
    finally:
        modes.disable()
    del y
    return seen


TRAPS += [
    Trap(ALONE, what, measured, ordinary)
    for what, measured, ordinary in [
        (
            "`leaky_clip_by_value` of -2, 0, 3 to -1 and 1: gradients",
            clipped,
            "write it with `jax.custom_vjp`",
        ),
        ("`scale_gradient(x * x, 0.5)` at 2", scaled, "write it with `jax.custom_vjp`"),
        (
            "`regularizers.L1(0.1)` of 1, -2",
            regularized("L1", [1, -2]),
            "`0.1 * jnp.abs(w).sum()`",
        ),
        (
            "`regularizers.L2(0.1)` of 1, -2",
            regularized("L2", [1, -2]),
            "`0.1 * jnp.square(w).sum()`",
        ),
        (
            "`regularizers.OffDiagonalOrthogonal(0.1)` of [1, 2], [3, 4]",
            regularized("OffDiagonalOrthogonal", [[1, 2], [3, 4]]),
            "a few lines",
        ),
        ("`Reshape([3, 2])` of `[2, 6]`, and reversed", reshaped, "`x.reshape`"),
        ("`Mean()` of 1, 2, 6", mean_metric, "`ps.metrics.Mean`, a value that you pass on"),
        (
            "`deep_rnn_with_residual_connections` of two `GRU(3)`",
            residual,
            "a core of your own",
        ),
        (
            "`deep_rnn_with_skip_connections` of `LSTM(4)`, `LSTM(5)`, `concat_final_output=False`",
            lambda lib: skip(lib, False),
            "the last slice of the output",
        ),
        (
            "`Cifar10ConvNet` in evaluation: statistics of the batch, or running ones",
            cifar,
            "`BatchNorm`: running ones",
        ),
        ("`TrainableState` of `[3]`, for a batch of 2", trainable_state, "`ps.get_parameter`"),
        (
            "`distribute.CrossReplicaBatchNorm`",
            lambda lib: arguments(lib.snt.distribute.CrossReplicaBatchNorm, 2, 5),
            "`cross_replica_axis` of `BatchNorm`",
        ),
        (
            "`mixed_precision.modes([float16])`: type of the input in two calls",
            precision,
            "`ps.mixed_precision.set_policy`: each call",
        ),
    ]
]

TRAPS += [
    Trap(SAME, "`ExponentialMovingAverage(0.9)` of 1, 2, 3", average, average_ordinary),
    Trap(
        SAME,
        "`VarianceScaling(2.0)` of `[400, 400]`: deviation",
        scaling,
        scaling_ordinary,
        digits=2,
        is_random=True,
    ),
]
