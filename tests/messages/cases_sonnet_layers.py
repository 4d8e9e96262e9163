"""Messages of Sonnet's layers, networks, metrics, initializers and regularizers."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

import purestate as ps
import purestate.sonnet as snt
from tests.messages.helpers import X, init, zeros

IMAGES, SERIES = zeros(1, 4, 4, 2), zeros(1, 5, 2)
INTEGERS = np.zeros([2, 3], np.int32)


def inside(f: Callable[[], Any]) -> Callable[[], Any]:
    """Runs code in `init`, so that names do not depend on the cases before it."""
    return lambda: init(f)


def calls(make: Callable[[], Any], *inputs: Any, **options: Any) -> Callable[[], Any]:
    """Makes one layer, and calls it on one input after the other."""

    def run() -> None:
        layer = make()
        for x in inputs:
            layer(x, **options)

    return inside(run)


# --- linear layers, embeddings, simple ones ---

SIMPLE: dict[str, Callable[[], Any]] = {
    "Linear of a vector": calls(lambda: snt.Linear(2), X[0]),
    "Linear, another number of features": calls(lambda: snt.Linear(2), X, zeros(2, 4)),
    "Linear, another dtype": calls(lambda: snt.Linear(2), X, INTEGERS),
    "Linear, b_init without a bias": inside(
        lambda: snt.Linear(2, False, b_init=snt.initializers.Zeros())
    ),
    "Bias of another size": calls(lambda: snt.Bias([4]), X),
    "Bias over the batch": calls(lambda: snt.Bias(bias_dims=[0]), X),
    "Bias over an axis that is not there": calls(lambda: snt.Bias(bias_dims=[2]), X),
    "Embed without sizes": inside(lambda: snt.Embed()),
    "Embed with two sizes": inside(lambda: snt.Embed(4, existing_vocab=zeros(5, 3))),
    "Embed of a vector": inside(lambda: snt.Embed(existing_vocab=zeros(3))),
    "Embed without vectors": inside(lambda: snt.Embed(0)),
    "Embed of floats": calls(lambda: snt.Embed(4), X),
    "Embed of a large id": calls(lambda: snt.Embed(4), np.array([1, 4])),
    "Reshape without the batch": inside(lambda: snt.Reshape([3], preserve_dims=0)),
    "Reshape of too few axes": calls(lambda: snt.Reshape([3], preserve_dims=3), X),
    "Reshape to another size": calls(lambda: snt.Reshape([4]), X),
    "Reshape with two sizes to find": calls(lambda: snt.Reshape([-1, -1]), X),
    "Reshape to a multiple": calls(lambda: snt.Reshape([-1, 2]), X),
    "Deferred before it is made": inside(
        lambda: snt.Deferred(lambda: snt.Linear(2)).output_size  # type: ignore
    ),
    "BatchApply without an input": inside(lambda: snt.BatchApply(snt.Linear(2))()),
    "merge_leading_dims, num_dims": lambda: snt.merge_leading_dims(X, 0),
    "split_leading_dim, another size": lambda: snt.split_leading_dim(zeros(5), X, 2),
    "Dropout of integers": calls(lambda: snt.Dropout(0.5), INTEGERS, is_training=True),
    "Dropout, rate": calls(lambda: snt.Dropout(1.0), X, is_training=True),
    "Dropout, noise_shape": calls(lambda: snt.Dropout(0.5, [2, 2]), X, is_training=True),
    "leaky_clip_by_value, a bound": lambda: snt.leaky_clip_by_value(X, zeros(4), 1.0),
}

# --- convolutions ---

CONVOLUTIONS: dict[str, Callable[[], Any]] = {
    "Conv2D of three axes": calls(lambda: snt.Conv2D(3, 2), SERIES),
    "Conv2D of five axes": calls(lambda: snt.Conv2D(3, 2), IMAGES[None]),
    "Conv2D, kernel_shape": calls(lambda: snt.Conv2D(3, [1, 2, 3]), IMAGES),
    "Conv2D, stride": calls(lambda: snt.Conv2D(3, 2, [1, 2, 3]), IMAGES),
    "Conv2D, stride and rate": calls(lambda: snt.Conv2D(3, 2, stride=2, rate=2), IMAGES),
    "Conv2D, padding": calls(lambda: snt.Conv2D(3, 2, padding="CAUSAL"), IMAGES),
    "Conv2D, a list of texts as padding": calls(
        lambda: snt.Conv2D(3, 2, padding=["SAME", "SAME"]),  # type: ignore
        IMAGES,
    ),
    "Conv2D, data_format": inside(lambda: snt.Conv2D(3, 2, data_format="HWCN")),
    "pad.create, a text": lambda: snt.pad.create("SAME", 3, 1, 2, -1),  # type: ignore
    "Conv1DTranspose, padding": inside(lambda: snt.Conv1DTranspose(3, 2, padding="FULL")),
    "Conv1DTranspose, output_shape of two axes": calls(
        lambda: snt.Conv1DTranspose(3, 2, [9, 9]), SERIES
    ),
    "Conv1DTranspose, output_shape that no input gives": calls(
        lambda: snt.Conv1DTranspose(3, 2, [20], stride=2), SERIES
    ),
    "DepthwiseConv2D, stride": inside(lambda: snt.DepthwiseConv2D(2, stride=[1, 2, 3])),
    "DepthwiseConv2D, a function as padding": calls(
        lambda: snt.DepthwiseConv2D(2, padding=snt.pad.same),  # type: ignore
        IMAGES,
    ),
    "DepthwiseConv2D, padding": calls(lambda: snt.DepthwiseConv2D(2, padding="FULL"), IMAGES),
}

# --- normalization ---

NORMS: dict[str, Callable[[], Any]] = {
    "LayerNorm, axis": inside(lambda: snt.LayerNorm("last", True, True)),  # type: ignore
    "LayerNorm over an axis that is not there": calls(lambda: snt.LayerNorm(2, True, True), X),
    "LayerNorm of more axes": calls(lambda: snt.LayerNorm(-1, True, True), X, X[None]),
    "LayerNorm, scale_init without a scale": inside(
        lambda: snt.LayerNorm(-1, False, True, scale_init=snt.initializers.Ones())
    ),
    "LayerNorm, two scales": calls(lambda: snt.LayerNorm(-1, True, True), X, scale=X),
    "GroupNorm, groups": calls(lambda: snt.GroupNorm(2), X),
    "BatchNorm of integers": calls(lambda: snt.BatchNorm(True, True), INTEGERS, is_training=True),
}

# --- networks ---

NETS: dict[str, Callable[[], Any]] = {
    "MLP, dropout without is_training": calls(lambda: snt.nets.MLP([4], dropout_rate=0.5), X),
    "MLP, is_training without dropout": calls(lambda: snt.nets.MLP([4]), X, is_training=True),
    "MLP, reversed before it is called": inside(lambda: snt.nets.MLP([4]).reverse()),
    "Cifar10ConvNet, strides": inside(lambda: snt.nets.Cifar10ConvNet(strides=[1, 2])),
    "ResNet, three groups": inside(lambda: snt.nets.ResNet([1, 1, 1], 10)),
    "VectorQuantizer, embedding_dim": calls(
        lambda: snt.nets.VectorQuantizer(4, 8, 0.25), X, is_training=True
    ),
    "VectorQuantizer, a multiple of embedding_dim": calls(
        lambda: snt.nets.VectorQuantizer(4, 8, 0.25), zeros(2, 8), is_training=True
    ),
    "VectorQuantizerEMA, decay": inside(lambda: snt.nets.VectorQuantizerEMA(4, 8, 0.25, 1.5)),
}

# --- metrics ---

METRICS: dict[str, Callable[[], Any]] = {
    "Mean before an update": inside(lambda: snt.Mean().value),
    "Sum before an update": inside(lambda: snt.Sum().value),
    "Sum of another shape than in the state": lambda: ps.transform_with_state(
        lambda: snt.Sum()(X)
    ).apply({}, {"sum": {"sum": X[0]}}, None),
    "Sum of another shape": calls(lambda: snt.Sum(), X, X[0]),
    "Sum of integers and floats": calls(lambda: snt.Sum(), INTEGERS, X),
    "ExponentialMovingAverage of integers": calls(
        lambda: snt.ExponentialMovingAverage(0.9), INTEGERS
    ),
}

# --- initializers, regularizers ---

inits, regularizers = snt.initializers, snt.regularizers

VALUES: dict[str, Callable[[], Any]] = {
    "Constant of an array": lambda: inits.Constant(X),  # type: ignore
    "Constant, a float as an int": lambda: inits.Constant(0.5)([2], jnp.int32),
    "RandomUniform, int8": lambda: inits.RandomUniform()([2], jnp.int8),
    "VarianceScaling, scale": lambda: inits.VarianceScaling(0.0),
    "VarianceScaling, mode": lambda: inits.VarianceScaling(mode="fan"),
    "VarianceScaling, distribution": lambda: inits.VarianceScaling(distribution="gauss"),
    "Identity of a vector": lambda: inits.Identity()([3], jnp.float32),
    "Zeros of bools": lambda: inits.Zeros()([3], bool),
    "RandomNormal of integers": lambda: inits.RandomNormal()([3], jnp.int32),
    "L2, scale": lambda: regularizers.L2(-0.5),
    "L2 of one array": lambda: regularizers.L2(0.5)(X),
    "OffDiagonalOrthogonal of a bias": lambda: regularizers.OffDiagonalOrthogonal(0.5)([zeros(3)]),
}

CASES = {**SIMPLE, **CONVOLUTIONS, **NORMS, **NETS, **METRICS, **VALUES}
