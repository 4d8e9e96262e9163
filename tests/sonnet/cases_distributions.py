"""Layers and initializers at sizes at which a distribution shows; both libraries run them."""

from collections.abc import Callable
from typing import Any

Make = Callable[[Any, Any], Any]


def layer(build: Make, *shape: int) -> Make:
    """Calls the layer on ones."""
    return lambda snt, lib: build(snt, lib)(lib.ones(list(shape)))


def core(build: Make, *shape: int) -> Make:
    def run(snt: Any, lib: Any) -> None:
        made = build(snt, lib)
        made(lib.ones(list(shape)), made.initial_state(shape[0]))

    return run


LAYERS: dict[str, Make] = {
    "Linear": layer(lambda snt, lib: snt.Linear(100), 1, 200),
    "Linear wide": layer(lambda snt, lib: snt.Linear(2000), 1, 10),
    "Conv1D": layer(lambda snt, lib: snt.Conv1D(100, 5), 1, 7, 50),
    "Conv2D": layer(lambda snt, lib: snt.Conv2D(60, (3, 2)), 1, 4, 4, 50),
    "Conv3D": layer(lambda snt, lib: snt.Conv3D(30, 3), 1, 3, 3, 3, 30),
    "Conv1DTranspose": layer(lambda snt, lib: snt.Conv1DTranspose(30, 5), 1, 7, 120),
    "Conv2DTranspose": layer(lambda snt, lib: snt.Conv2DTranspose(20, (3, 2)), 1, 4, 4, 150),
    "Conv3DTranspose": layer(lambda snt, lib: snt.Conv3DTranspose(10, 3), 1, 3, 3, 3, 80),
    "DepthwiseConv2D": layer(lambda snt, lib: snt.DepthwiseConv2D((5, 3), 8), 1, 6, 6, 150),
    "Embed": lambda snt, lib: snt.Embed(500, 40),
    "Embed default": lambda snt, lib: snt.Embed(1000),
    "VanillaRNN": core(lambda snt, lib: snt.VanillaRNN(200), 1, 100),
    "GRU": core(lambda snt, lib: snt.GRU(100), 1, 70),
    "LSTM": core(lambda snt, lib: snt.LSTM(100), 1, 50),
    "LSTM projection": core(lambda snt, lib: snt.LSTM(120, projection_size=60), 1, 50),
    "UnrolledLSTM": lambda snt, lib: unrolled(snt.UnrolledLSTM(100), lib),
    "Conv1DLSTM": core(lambda snt, lib: snt.Conv1DLSTM([6, 20], 40, 5), 1, 6, 20),
    "Conv2DLSTM": core(lambda snt, lib: snt.Conv2DLSTM([4, 4, 20], 30, 3), 1, 4, 4, 20),
    "Conv3DLSTM": core(lambda snt, lib: snt.Conv3DLSTM([3, 3, 3, 15], 15, 3), 1, 3, 3, 3, 15),
    "MLP": layer(lambda snt, lib: snt.nets.MLP([150, 100]), 1, 100),
    "VectorQuantizer": lambda snt, lib: snt.nets.VectorQuantizer(100, 150, 0.25),
    "VectorQuantizerEMA": lambda snt, lib: snt.nets.VectorQuantizerEMA(100, 150, 0.25, 0.9),
    "Bias": layer(lambda snt, lib: snt.Bias(), 1, 200),
    "LayerNorm": layer(lambda snt, lib: snt.LayerNorm(-1, True, True), 1, 200),
    "Cifar10ConvNet": lambda snt, lib: snt.nets.Cifar10ConvNet(
        10, output_channels=(30, 60), strides=(1, 1)
    )(lib.ones([1, 4, 4, 30]), True),
    "ResNet block": lambda snt, lib: snt.nets.resnet.BottleNeckBlockV1(
        64, 1, True, {"decay_rate": 0.9, "eps": 1e-3}
    )(lib.ones([1, 3, 3, 64]), True),
}


def unrolled(made: Any, lib: Any) -> None:
    made(lib.ones([1, 1, 50]), made.initial_state(1))


SHAPES = ([200, 100], [3, 4, 40, 50], [20000])

INITIALIZERS: dict[str, tuple[Callable[[Any], Any], list[int]]] = {
    f"{name} {shape}": (make, shape)
    for name, make in {
        "RandomUniform()": lambda i: i.RandomUniform(),
        "RandomUniform(-2, 3)": lambda i: i.RandomUniform(-2.0, 3.0),
        "RandomUniform(seed=3)": lambda i: i.RandomUniform(minval=0.0, maxval=2.0, seed=3),
        "RandomNormal()": lambda i: i.RandomNormal(),
        "RandomNormal(1, 2)": lambda i: i.RandomNormal(1.0, 2.0),
        "RandomNormal(seed=3)": lambda i: i.RandomNormal(mean=-1.0, stddev=0.5, seed=3),
        "TruncatedNormal()": lambda i: i.TruncatedNormal(),
        "TruncatedNormal(1, 2)": lambda i: i.TruncatedNormal(1.0, 2.0),
        "TruncatedNormal(seed=3)": lambda i: i.TruncatedNormal(mean=-1.0, stddev=0.5, seed=3),
        "Orthogonal()": lambda i: i.Orthogonal(),
        "Orthogonal(2, seed=3)": lambda i: i.Orthogonal(2.0, seed=3),
        "VarianceScaling()": lambda i: i.VarianceScaling(),
        **{
            f"VarianceScaling(2, {mode}, {kind})": (
                lambda i, mode=mode, kind=kind: i.VarianceScaling(2.0, mode, kind)
            )
            for mode in ("fan_in", "fan_out", "fan_avg")
            for kind in ("normal", "truncated_normal", "uniform")
        },
        "VarianceScaling(scale=0.5, seed=3)": lambda i: i.VarianceScaling(scale=0.5, seed=3),
    }.items()
    for shape in SHAPES
    if not ("Orthogonal" in name and len(shape) == 1)
}
