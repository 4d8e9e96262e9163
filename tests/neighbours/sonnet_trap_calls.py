"""Traps of calls that one library refuses."""

from collections.abc import Callable
from typing import Any

import numpy as np

import purestate as ps
from tests.neighbours.sonnet_traps import (
    Lib,
    Measured,
    Trap,
    flat,
    out,
    refused,
    result,
    run,
    shape_of,
)

F32 = np.float32
ONES = np.ones([2, 3], F32)
IMAGE = np.ones([1, 4, 4, 2], F32)


ERRORS = "What each accepts"


def call(
    make: Callable[[Any], Any], *args: Any, show: Callable[[Any], Any] = shape_of, **kwargs: Any
) -> tuple[Callable[[Lib], Any], Callable[[], Any]]:
    """Measures a call of what `make(package)` returns, in both."""

    def ours() -> Any:
        return show(run(lambda: make(ps)(*args, **kwargs), weights=None)[0])

    def theirs(lib: Lib) -> Any:
        arrays = [lib.array(a) if isinstance(a, np.ndarray) else a for a in args]
        return result(lambda: show(make(lib.snt)(*arrays, **kwargs)))

    return theirs, lambda: result(ours)


def numbers(x: Any) -> Measured:
    return flat(np.ravel(x)[:3])


def works(x: Any) -> str:
    return "works"


def initial_state(lib: Lib) -> Any:
    return result(lambda: works(lib.snt.LSTM(2).initial_state(None)))


def conv_lstm_state(lib: Lib) -> Any:
    return shape_of(lib.snt.Conv1DLSTM([3, 1], 1, 3).initial_state(2)[0])


def reversed_mlp(lib: Lib, is_called: bool) -> Any:
    mlp = lib.snt.nets.MLP([4, 3])
    if is_called:
        mlp(lib.array(ONES))
    return refused(lambda: shape_of(mlp.reverse()(lib.array(ONES[:, :3]))))


def reversed_ordinary(is_called: bool) -> Any:
    def f(x: Any) -> Any:
        mlp = ps.nets.MLP([4, 3])
        if is_called:
            mlp(x)
        return mlp.reverse()(x)

    return refused(lambda: shape_of(out(f, ONES)))


ROWS: list[tuple[str, Any]] = [
    ("`Linear(3)` of an unbatched `[3]`", call(lambda p: p.Linear(3), ONES[0])),
    ("`Conv2D(3, 3)` of an unbatched `[4, 4, 2]`", call(lambda p: p.Conv2D(3, 3), IMAGE[0])),
    ("`Linear(3)` of integers", call(lambda p: p.Linear(3), ONES.astype(np.int32))),
    ("`BatchNorm(True, True)`", call(lambda p: p.BatchNorm(True, True), ONES, True)),
    (
        "`BatchNorm(False, False, 0.9)` of 1, first used in evaluation",
        call(lambda p: p.BatchNorm(False, False, 0.9), ONES[:1, :1], False, show=numbers),
    ),
    (
        "`Conv1DTranspose(1, 3, rate=2)`",
        call(lambda p: p.Conv1DTranspose(1, 3, rate=2), np.ones([1, 5, 1], F32)),
    ),
    (
        "`Conv2DTranspose(1, 3, padding=pad.same)`",
        call(lambda p: p.Conv2DTranspose(1, 3, padding=p.pad.same), IMAGE),
    ),
    (
        "`DepthwiseConv2D` with `padding=pad.same`",
        call(
            lambda p: p.DepthwiseConv2D(kernel_shape=3, channel_multiplier=1, padding=p.pad.same),
            IMAGE,
        ),
    ),
    ("`Embed(1000)`: default size", call(lambda p: p.Embed(1000), np.array([1], np.int32))),
    (
        "`nets.MLP([2], dropout_rate=0.5)` called with `is_training=True`",
        call(lambda p: p.nets.MLP([2], dropout_rate=0.5), ONES, is_training=True),
    ),
    (
        "`Dropout(0.5)` called with `is_training=False`",
        call(lambda p: p.Dropout(0.5), ONES, is_training=False),
    ),
    ("`Sequential()`", call(lambda p: p.Sequential(), ONES)),
    (
        '`pad.create("SAME", 3, 1, 2)`',
        call(lambda p: lambda: p.pad.create("SAME", 3, 1, 2), show=works),
    ),
    (
        "`initializers.RandomNormal(seed=1)`",
        call(lambda p: lambda: p.initializers.RandomNormal(seed=1), show=works),
    ),
    ("`initializers.Zeros()`", call(lambda p: lambda: p.initializers.Zeros(), show=works)),
    (
        '`VarianceScaling(distribution="untruncated_normal")`',
        call(
            lambda p: lambda: p.initializers.VarianceScaling(distribution="untruncated_normal"),
            show=works,
        ),
    ),
    (
        '`VarianceScaling(distribution="normal")`, used',
        call(
            lambda p: lambda: p.initializers.VarianceScaling(distribution="normal")([2], F32),
            show=works,
        ),
    ),
    ("`Flatten(preserve_dims=0)`", call(lambda p: p.Flatten(0), ONES)),
    ("`LSTM(2).initial_state(None)`", (initial_state, None)),
    ("`Conv1DLSTM([3, 1], 1, 3)`: shape of the hidden state of 2", (conv_lstm_state, None)),
    ("`nets.MLP([4, 3]).reverse()` before a call", (None, False)),
    ("`nets.MLP([4, 3]).reverse()` after a call", (None, True)),
]


def state_ordinary() -> Any:
    return result(lambda: run(lambda: works(ps.LSTM(2).initial_state(None)))[0])


def conv_state_ordinary() -> Any:
    return shape_of(run(lambda: ps.Conv1DLSTM([3, 1], 1, 3).initial_state(2)[0])[0])


TRAPS: list[Trap] = []
for what, (theirs, ours) in ROWS:
    if theirs is None:
        theirs = lambda lib, is_called=ours: reversed_mlp(lib, is_called)
        ours = lambda is_called=ours: reversed_ordinary(is_called)
    ours = ours or (state_ordinary if "initial_state" in what else conv_state_ordinary)
    TRAPS.append(Trap(ERRORS, what, theirs, ours))
