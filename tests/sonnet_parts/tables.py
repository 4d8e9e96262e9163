"""What is run both in the real Sonnet (`record.py`) and here."""

import json
import pathlib

RECORDINGS = "recordings.json"

# Optimizers: name, arguments, keyword arguments.
OPTIMIZERS = [
    ("SGD", [0.1], {}),
    ("Momentum", [0.1, 0.9], {}),
    ("Momentum", [0.1, 0.9], {"use_nesterov": True}),
    ("Adam", [], {}),
    ("Adam", [0.1], {}),
    ("Adam", [0.05, 0.5, 0.9, 1e-2], {}),
    ("RMSProp", [0.1], {}),
    ("RMSProp", [0.1], {"centered": True}),
    ("RMSProp", [0.05, 0.7, 0.5, 1e-3], {}),
    ("RMSProp", [0.05, 0.7, 0.5, 1e-3, True], {}),
]
OPTIMIZER_IDS = [f"{name}-{args}-{kwargs}" for name, args, kwargs in OPTIMIZERS]
HYPERPARAMETERS = ["SGD", "Momentum", "Adam", "RMSProp"]
PARAMETERS = [("w", [[1.0, 2.0, -0.5], [0.25, -3.0, 0.0]]), ("b", [0.5, -1.5])]
# The gradient of `b` is missing in the third step.
GRADIENTS = [
    ([[0.1, -0.2, 0.3], [1.5, 0.0, -0.4]], [0.7, -0.1]),
    ([[0.2, -0.1, 0.1], [-1.5, 0.5, -0.2]], [0.3, 2.1]),
    ([[0.3, 0.1, -0.2], [0.5, 0.25, 0.6]], None),
    ([[-0.1, 0.4, 0.3], [0.75, 1e-3, -0.4]], [-0.6, 0.4]),
    ([[0.05, -0.3, 0.2], [-0.1, 0.0, 1e-4]], [0.01, -0.9]),
]

# Moving averages: decay, values.
AVERAGES = [
    (0.9, [[1.0, -2.0], [2.0, 0.5], [3.0, 7.25]]),
    (0.999, [[1.0], [2.0], [3.0], [4.0]]),
    (0.5, [0.25, 1e6, -3.0]),
]

# x, lower and upper bound, cotangent.
CLIPS = [
    ([-2.0, 0.0, 3.0], -1.0, 1.0, [1.0, 1.0, 1.0]),
    ([-2.0, 0.0, 3.0], -1.0, 1.0, [-1.0, -1.0, -1.0]),
    ([[-2.0, 0.0], [3.0, 1.0]], [-1.0, 0.5], [[1.0], [0.75]], [[0.5, 2.0], [-1.0, 0.0]]),
    ([1.0, 2.0, 3.0], 2.0, 1.0, [1.0, 1.0, -1.0]),
    ([float("inf"), float("-inf")], -1.0, 1.0, [-1.0, -1.0]),
]

DTYPES = ["float16", "bfloat16", "float32", "int32", "uint8", "bool", "complex64"]
# Initializers: name, arguments, shape, dtype.
INITIALIZER_CALLS = [
    (name, args, [2, 2], dtype)
    for name, args in [
        ("Zeros", []),
        ("Ones", []),
        ("Constant", [2]),
        ("Constant", [2.5]),
        ("Constant", [[1.0]]),
        ("RandomUniform", []),
        ("RandomUniform", [0.5, 2.0]),
        ("RandomUniform", [-3, 5]),
        ("RandomNormal", []),
        ("TruncatedNormal", []),
        ("Identity", []),
        ("Identity", [2]),
        ("Orthogonal", []),
        ("VarianceScaling", []),
    ]
    for dtype in DTYPES
    # TensorFlow has no QR decomposition of bfloat16, and ours goes through float32.
    if (name, dtype) != ("Orthogonal", "bfloat16")
] + [
    (name, args, shape, "float32")
    for name, args in [
        ("Zeros", []),
        ("RandomNormal", []),
        ("Identity", []),
        ("Orthogonal", []),
        ("VarianceScaling", []),
        ("VarianceScaling", [0.0]),
        ("VarianceScaling", [1.0, "fan_inout"]),
        ("VarianceScaling", [1.0, "fan_in", "untruncated_normal"]),
        ("VarianceScaling", [1.0, "fan_avg", "UNIFORM"]),
        ("VarianceScaling", [1.0, "fan_out", "normal"]),
    ]
    for shape in ([], [3], [0, 3], [2, 3, 4])
]

# Functions, kernel, rate, n, channel_index.
PADDINGS = [
    ([name], kernel, rate, n, index)
    for name in ("valid", "same", "full", "causal", "reverse_causal")
    for kernel, rate, n, index in [
        (3, 1, 1, -1),
        (4, 2, 2, 1),
        ([3, 5], [1, 2], 2, -1),
        ([3], [2], 3, 1),
        (1, 1, 0, -1),
    ]
] + [(["same", "causal"], [3, 2], 1, 2, -1), (["full", "valid", "same"], 3, [1, 2, 3], 3, 1)]

# Regularizers: name, scale, arrays.
REGULARIZED = [
    (name, scale, arrays)
    for name in ("L1", "L2", "OffDiagonalOrthogonal")
    for scale in (0.0, 0.1, 2.5)
    for arrays in (
        [],
        [[[1.0, -2.0], [3.0, 4.0]]],
        [[[[0.5, 1.0, -1.5]], [[2.0, 0.0, 1.0]]], [[1.0, 1.0]]],
    )
]


def recorded(name):
    """Returns what the real Sonnet gave."""
    return json.loads(pathlib.Path(__file__).with_name(RECORDINGS).read_text())[name]
