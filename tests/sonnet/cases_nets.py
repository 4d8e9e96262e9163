"""Nets and optimizers."""

from tests.sonnet.table import Call, Case, integers, values

X = values(4, 5)


def reversed_call(**options):
    def run(lib, net, x):
        y = net(x)  # `reverse` needs the sizes.
        if not hasattr(net, "back"):
            net.back = net.reverse(**options)
        return net.back(y)

    return run


MLP = [
    Case("MLP", lambda snt, lib: snt.nets.MLP([4, 3]), (Call(X), Call(X, None))),
    Case("MLP of one layer", lambda snt, lib: snt.nets.MLP([3]), (Call(X),)),
    Case("MLP of none", lambda snt, lib: snt.nets.MLP([]), (Call(X),)),
    Case("MLP of a generator", lambda snt, lib: snt.nets.MLP(n for n in (4, 3)), (Call(X),)),
    Case(
        "MLP activate_final",
        lambda snt, lib: snt.nets.MLP([4, 3], activation=lib.tanh, activate_final=True),
        (Call(X),),
    ),
    Case(
        "MLP all by position",
        lambda snt, lib: snt.nets.MLP(
            [4, 4, 3],
            snt.initializers.Constant(0.1),
            snt.initializers.Ones(),
            True,
            lib.sigmoid,
            None,
            False,
            "net",
        ),
        (Call(X),),
    ),
    Case("MLP no bias", lambda snt, lib: snt.nets.MLP([4, 3], with_bias=False), (Call(X),)),
    Case(
        "MLP dropout_rate",
        lambda snt, lib: snt.nets.MLP([4, 4, 3], dropout_rate=0.5),
        (Call(X, is_training=False), Call(X, False)),
    ),
    Case(
        "MLP dropout_rate=0",
        lambda snt, lib: snt.nets.MLP([4, 3], dropout_rate=0.0, activate_final=True),
        (Call(X), Call(X)),
    ),
    Case("MLP [2, 3, 5]", lambda snt, lib: snt.nets.MLP([4, 3]), (Call(values(2, 3, 5)),)),
    Case("MLP.reverse", lambda snt, lib: snt.nets.MLP([4, 3]), (Call(X, run=reversed_call()),)),
    Case(
        "MLP.reverse options",
        lambda snt, lib: snt.nets.MLP([4, 3], activate_final=True, with_bias=False),
        (Call(X, run=reversed_call(activate_final=False, name="back")),),
    ),
    Case(
        "MLP.reverse of an activated one",
        lambda snt, lib: snt.nets.MLP([4, 2, 3], activate_final=True, activation=lib.tanh),
        (Call(X, run=reversed_call()),),
    ),
    Case(
        "two MLPs",
        lambda snt, lib: snt.Sequential([snt.nets.MLP([4, 3]), lib.relu, snt.nets.MLP([3, 2])]),
        (Call(X),),
    ),
    Case(
        "MLP as created",
        lambda snt, lib: snt.nets.MLP(
            [4, 3], w_init=snt.initializers.Constant(0.1), b_init=snt.initializers.Ones()
        ),
        (Call(X),),
        seeded=False,
    ),
]

IMAGES = values(2, 6, 6, 3)
CIFAR = [
    Case(
        "Cifar10ConvNet",
        lambda snt, lib: snt.nets.Cifar10ConvNet(5, output_channels=(4, 6, 4), strides=(1, 2, 1)),
        (
            Call(IMAGES, is_training=True),
            Call(IMAGES, False),
            Call(IMAGES, is_training=False, test_local_stats=False),
        ),
        # Three normalizations by statistics of a few elements enlarge what rounds differently.
        tolerance=5e-5,
    ),
    Case(
        "Cifar10ConvNet by keyword",
        lambda snt, lib: snt.nets.Cifar10ConvNet(
            num_classes=3,
            w_init=snt.initializers.RandomNormal(0.0, 0.2),
            b_init=snt.initializers.Ones(),
            data_format="NHWC",
            output_channels=[4],
            strides=[2],
            name="cifar",
        ),
        (Call(IMAGES, True, True), Call(IMAGES, False, False)),
    ),
]

RESNET_IMAGES = values(2, 33, 33, 1)
RESNET = [
    Case(
        f"ResNet v{2 if v2 else 1} {what}",
        lambda snt, lib, v2=v2, blocks=blocks, config=config: snt.nets.ResNet(
            blocks, 3, config, resnet_v2=v2, channels_per_group_list=(8, 8, 16, 16)
        ),
        (Call(RESNET_IMAGES, is_training=True), Call(RESNET_IMAGES, False)),
        # The last groups normalize over 8 elements, 16 layers deep.
        tolerance=2e-3,
    )
    for v2 in (False, True)
    for what, blocks, config in (
        ("of one block", [1, 1, 1, 1], None),
        ("of two blocks", [1, 2, 1, 1], {"decay_rate": 0.5, "eps": 1e-3}),
    )
]
BLOCKS = [
    Case(
        f"resnet.{name} {what}",
        lambda snt, lib, name=name, args=args: getattr(snt.nets.resnet, name)(
            *args, {"decay_rate": 0.9, "eps": 1e-3}
        ),
        (Call(values(2, 5, 5, 8), True), Call(values(2, 5, 5, 8), is_training=False)),
        # Three normalizations in a row.
        tolerance=1e-4,
    )
    for name in ("BottleNeckBlockV1", "BottleNeckBlockV2")
    for what, args in (
        ("", (8, 1, False)),
        ("with a projection", (12, 2, True)),
    )
] + [
    Case(
        f"resnet.BlockGroup v{2 if v2 else 1}",
        lambda snt, lib, v2=v2: snt.nets.resnet.BlockGroup(
            channels=8,
            num_blocks=2,
            stride=2,
            bn_config={"decay_rate": 0.9, "eps": 1e-3},
            resnet_v2=v2,
        ),
        (Call(values(2, 5, 5, 8), True), Call(values(2, 5, 5, 8), is_training=False)),
        # Six normalizations in a row.
        tolerance=2e-4,
    )
    for v2 in (False, True)
]


def only_numbers(lib, net, x, is_training):
    result = net(x, is_training)
    return {k: result[k] for k in sorted(result)}


VQ = [
    Case(
        name,
        build,
        tuple(Call(x, t, run=only_numbers) for x, t in calls),
    )
    for name, build, calls in (
        (
            "VectorQuantizer",
            lambda snt, lib: snt.nets.VectorQuantizer(4, 5, 0.25),
            ((values(6, 4), True), (values(6, 4, seed=1), False)),
        ),
        (
            "VectorQuantizer of images",
            lambda snt, lib: snt.nets.VectorQuantizer(
                embedding_dim=4, num_embeddings=3, commitment_cost=1.0, name="vq"
            ),
            ((values(2, 3, 2, 4), True),),
        ),
        (
            "VectorQuantizerEMA",
            lambda snt, lib: snt.nets.VectorQuantizerEMA(4, 5, 0.25, 0.9),
            (
                (values(6, 4), True),
                (values(6, 4, seed=1), True),
                (values(6, 4), False),
                (values(6, 4), True),
            ),
        ),
        (
            "VectorQuantizerEMA of images",
            lambda snt, lib: snt.nets.VectorQuantizerEMA(
                embedding_dim=4,
                num_embeddings=3,
                commitment_cost=0.5,
                decay=0.5,
                epsilon=1e-3,
                name="ema",
            ),
            ((values(2, 3, 2, 4), True), (values(2, 3, 2, 4), False)),
        ),
    )
] + [
    Case(
        f"{name} quantize",
        build,
        (
            Call(
                values(6, 4),
                integers(5, 2, 3),
                run=lambda lib, net, x, ids: (net(x, False)["loss"], net.quantize(ids)),
            ),
        ),
    )
    for name, build in (
        ("VectorQuantizer", lambda snt, lib: snt.nets.VectorQuantizer(4, 5, 0.25)),
        ("VectorQuantizerEMA", lambda snt, lib: snt.nets.VectorQuantizerEMA(4, 5, 0.25, 0.9)),
    )
]

CASES = (*MLP, *CIFAR, *RESNET, *BLOCKS, *VQ)
