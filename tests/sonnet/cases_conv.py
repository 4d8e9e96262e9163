"""Convolutions."""

from tests.sonnet.table import Call, Case, values

X1, X2, X3 = values(2, 9, 3), values(2, 7, 6, 3), values(2, 5, 6, 5, 2)
INPUT = {"Conv1D": X1, "Conv2D": X2, "Conv3D": X3}


def conv(layer: str, *args, **kwargs):
    inputs = INPUT[layer]

    def build(snt, lib):
        options = dict(kwargs)
        if isinstance(options.get("padding"), list):
            options["padding"] = [getattr(snt.pad, name) for name in options["padding"]]
        elif options.get("padding", "SAME") not in ("SAME", "VALID"):
            options["padding"] = getattr(snt.pad, options["padding"])
        return getattr(snt, layer)(*args, **options)

    shown = [*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())]
    return Case(f"{layer}({', '.join(shown)})", build, (Call(inputs),))


PADDINGS = ("SAME", "VALID", "same", "valid", "full", "causal", "reverse_causal")

ALL = [
    conv(layer, 4, 3, **options)
    for layer in INPUT
    for options in (
        {},
        {"stride": 2},
        {"stride": 3, "padding": "VALID"},
        {"rate": 2},
        {"rate": 2, "padding": "VALID"},
        {"with_bias": False},
    )
]
PADDED = [
    conv(layer, 2, 4 if layer == "Conv1D" else 2, padding=padding)
    for layer in INPUT
    for padding in PADDINGS
]
STRIDED_PADDING = [
    conv("Conv1D", 2, 3, stride=2, padding="causal"),
    conv("Conv1D", 2, 3, rate=2, padding="causal"),
    conv("Conv1D", 2, 3, rate=2, padding="full"),
    conv("Conv2D", 2, 3, stride=2, padding="same"),
    conv("Conv2D", 2, 7, stride=2, padding="same"),
    conv("Conv2D", 2, (3, 2), padding=["causal", "same"]),
    conv("Conv2D", 2, 3, padding=["full"]),
    conv("Conv3D", 2, (1, 3, 2), padding=["causal", "same", "valid"]),
]
SHAPES = [
    conv("Conv1D", 4, [3]),
    conv("Conv1D", 4, 1),
    conv("Conv1D", 4, 2, 2),
    conv("Conv1D", 4, 3, 1, 2),
    conv("Conv1D", 4, kernel_shape=(4,), stride=(3,), rate=(1,)),
    conv("Conv1D", 4, 3, 1, 1, "VALID", True, None, None, "NWC", "mine"),
    conv("Conv2D", 4, (3, 2)),
    conv("Conv2D", 4, [1, 3], stride=[2, 1]),
    conv("Conv2D", 4, 3, rate=(1, 2)),
    conv("Conv2D", 4, 3, 2, 1, "VALID", False),
    conv("Conv2D", 4, 3, data_format="NHWC", name="image"),
    conv("Conv3D", 4, (1, 2, 3)),
    conv("Conv3D", 4, 2, stride=(1, 2, 1), padding="VALID"),
    conv("Conv3D", output_channels=3, kernel_shape=2, with_bias=False),
]


def initialized(layer: str) -> Case:
    return Case(
        f"{layer} as created",
        lambda snt, lib: getattr(snt, layer)(
            3, 2, w_init=snt.initializers.Constant(0.1), b_init=snt.initializers.Constant(2.0)
        ),
        (Call(INPUT[layer]),),
        seeded=False,
    )


def own_padding(snt, lib):
    return snt.Conv2D(2, 3, padding=lambda k: [k - 2, 2])


DEPTHWISE = [
    Case(name, build, (Call(values(2, 6, 5, 3)),))
    for name, build in {
        "DepthwiseConv2D": lambda snt, lib: snt.DepthwiseConv2D(3),
        "DepthwiseConv2D by position": lambda snt, lib: snt.DepthwiseConv2D(3, 2, 1, 1, "VALID"),
        "DepthwiseConv2D multiplier": lambda snt, lib: snt.DepthwiseConv2D(
            (2, 3), channel_multiplier=2
        ),
        "DepthwiseConv2D stride": lambda snt, lib: snt.DepthwiseConv2D(3, stride=2),
        "DepthwiseConv2D stride VALID": lambda snt, lib: snt.DepthwiseConv2D(
            2, 3, stride=(2, 2), padding="VALID"
        ),
        "DepthwiseConv2D rate": lambda snt, lib: snt.DepthwiseConv2D(3, rate=2),
        "DepthwiseConv2D rate (1, 2)": lambda snt, lib: snt.DepthwiseConv2D(3, rate=(1, 2)),
        "DepthwiseConv2D no bias": lambda snt, lib: snt.DepthwiseConv2D(
            kernel_shape=3, with_bias=False, name="depth"
        ),
        "DepthwiseConv2D initializers": lambda snt, lib: snt.DepthwiseConv2D(
            [3, 3], w_init=snt.initializers.Ones(), b_init=snt.initializers.Ones()
        ),
        "DepthwiseConv2D format": lambda snt, lib: snt.DepthwiseConv2D(3, data_format="NHWC"),
    }.items()
]

CASES = (
    *ALL,
    *PADDED,
    *STRIDED_PADDING,
    *SHAPES,
    *map(initialized, INPUT),
    Case("Conv2D with own padding", own_padding, (Call(X2),)),
    Case("Conv2D two sizes", lambda snt, lib: snt.Conv2D(2, 3), (Call(X2), Call(X2[:, :4]))),
    *DEPTHWISE,
)
