"""Transposed convolutions."""

from tests.sonnet.table import Call, Case, values

INPUT = {
    "Conv1DTranspose": values(2, 5, 3),
    "Conv2DTranspose": values(2, 4, 3, 3),
    "Conv3DTranspose": values(1, 3, 2, 3, 2),
}


def case(layer: str, *args, **kwargs) -> Case:
    shown = [*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())]
    build = lambda snt, lib: getattr(snt, layer)(*args, **kwargs)
    return Case(f"{layer}({', '.join(shown)})", build, (Call(INPUT[layer]),))


PRODUCT = [
    case(layer, 4, kernel, stride=stride, padding=padding)
    for layer in INPUT
    for kernel in (1, 2, 3, 4)
    for stride in (1, 2, 3)
    for padding in ("SAME", "VALID")
    if layer != "Conv3DTranspose" or (kernel in (2, 3) and stride < 3)
]
OTHERS = [
    case("Conv1DTranspose", 2, 3),
    case("Conv1DTranspose", 2, 3, None, 2),
    case("Conv1DTranspose", 2, 3, [10], 2),
    case("Conv1DTranspose", 2, 3, output_shape=[9], stride=2),
    case("Conv1DTranspose", 2, 3, output_shape=(11,), stride=2, padding="VALID"),
    case("Conv1DTranspose", 2, 3, output_shape=[12], stride=2, padding="VALID"),
    case("Conv1DTranspose", 2, [4], stride=[2], with_bias=False),
    case("Conv1DTranspose", 2, 3, None, 1, 1, "SAME", True, None, None, "NWC", "up"),
    case("Conv2DTranspose", 2, (3, 2)),
    case("Conv2DTranspose", 2, (3, 2), stride=(2, 1)),
    case("Conv2DTranspose", 2, 3, [8, 6], 2),
    case("Conv2DTranspose", 2, 3, output_shape=[7, 5], stride=2),
    case("Conv2DTranspose", 2, 3, output_shape=(9, 7), stride=2, padding="VALID"),
    case("Conv2DTranspose", 2, 3, output_shape=(4, 3)),
    case("Conv2DTranspose", 2, 3, with_bias=False, name="up"),
    case("Conv2DTranspose", output_channels=2, kernel_shape=[2, 2], stride=2),
    case("Conv2DTranspose", 2, 3, data_format="NHWC"),
    case("Conv3DTranspose", 2, (1, 2, 3)),
    case("Conv1DTranspose", 2, 3, rate=2),
    case("Conv1DTranspose", 2, 3, None, 2, 2),
    case("Conv1DTranspose", 2, 3, rate=2, padding="VALID"),
    case("Conv1DTranspose", 2, 2, rate=3, stride=2, padding="VALID"),
    case("Conv2DTranspose", 2, 3, rate=2),
    case("Conv2DTranspose", 2, 3, rate=2, padding="VALID"),
    case("Conv2DTranspose", 2, 3, rate=(1, 2)),
    case("Conv2DTranspose", 2, 3, rate=2, stride=2),
    case("Conv3DTranspose", 2, 2, rate=2),
    case("Conv3DTranspose", 2, 2, rate=2, padding="VALID"),
    case("Conv3DTranspose", 2, 2, [6, 4, 6], 2),
    case("Conv3DTranspose", 2, 3, stride=(1, 2, 1), with_bias=False),
]

CASES = (
    *PRODUCT,
    *OTHERS,
    *(
        Case(
            f"{layer} as created",
            lambda snt, lib, layer=layer: getattr(snt, layer)(
                2,
                3,
                w_init=snt.initializers.Constant(0.1),
                b_init=snt.initializers.Constant(2.0),
            ),
            (Call(INPUT[layer]),),
            seeded=False,
        )
        for layer in INPUT
    ),
)
