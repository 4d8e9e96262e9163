"""Traps of arguments by position."""

from typing import Any

import numpy as np

import purestate as ps
from tests.neighbours.sonnet_traps import (
    Lib,
    Trap,
    arguments,
    initial,
    shape_of,
)

F32 = np.float32
ONES = np.ones([2, 3], F32)
IMAGE = np.ones([1, 4, 4, 2], F32)

ORDER = "Order of arguments"


def order(what: str, start: int = 0, stop: int | None = None, prefix: str = "") -> Trap:
    """A row with the arguments of something that both have."""

    def find(package: Any) -> Any:
        for part in what.split("."):
            package = getattr(package, part)
        return package

    place = {0: "first", 1: "second"}.get(start, f"from number {start + 1} on")
    text = f"`{what}`" + ("" if not start and stop is None else f", {prefix or place}")
    return Trap(
        ORDER,
        text,
        lambda lib: arguments(find(lib.snt), start, stop),
        lambda: arguments(find(ps), start, stop),
    )


def depthwise(lib: Lib) -> Any:
    layer = lib.snt.DepthwiseConv2D(3, 2)
    layer(lib.array(IMAGE))
    return shape_of(layer.w)


TRAPS = [
    order("Conv2DTranspose", 2, 5, "arguments 3 to 5"),
    order("DepthwiseConv2D", 0, 2, "arguments 1 and 2"),
    Trap(
        ORDER,
        "`DepthwiseConv2D(3, 2)` of 2 channels: shape of `w`",
        depthwise,
        lambda: shape_of(
            initial(lambda x: ps.DepthwiseConv2D(3, 2)(x), IMAGE)["depthwise_conv2_d/w"]
        ),
    ),
    order("BatchNorm", 2, 3, "argument 3"),
    order("BatchNorm", 6),
    order("LayerNorm", 6),
    order("InstanceNorm", 2, None, "arguments from the third on"),
    order("GroupNorm", 4),
    order("initializers.TruncatedNormal"),
    order("initializers.RandomNormal"),
    order("initializers.RandomUniform"),
    order("initializers.VarianceScaling"),
    order("initializers.Constant"),
    order("initializers.Orthogonal"),
    order("Embed"),
    order("LSTM"),
    order("GRU"),
    order("VanillaRNN"),
    order("Conv2DLSTM", 3),
    order("dynamic_unroll", 3),
    order("static_unroll", 3),
    order("deep_rnn_with_skip_connections"),
    order("ExponentialMovingAverage"),
    order("nets.MLP"),
    order("Dropout"),
    order("BatchApply"),
    order("Deferred"),
    order("Sequential"),
    order("pad.create"),
    order("nets.ResNet"),
    order("nets.VectorQuantizer", 3),
    order("nets.VectorQuantizerEMA", 4),
]
