"""`from_sonnet` and `to_sonnet` against Sonnet 2 itself."""

import os
import warnings
from typing import Any

import jax
import numpy as np
import pytest

import purestate as ps
from tests.convert.helpers import (
    KEY,
    Case,
    array,
    case,
    close,
    difference,
    equal,
    norm,
    random_values,
    training_case,
    two_lstms,
    unroll,
)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of TensorFlow's own imports
    snt = pytest.importorskip("sonnet")
    tf = pytest.importorskip("tensorflow")

SEQUENCE, IMAGE, VECTORS = array(2, 5, 8), array(2, 6, 6, 4), array(7, 8)
VOLUME = array(2, 4, 4, 4, 3)


class Unrolled(snt.Module):
    """Cores over the steps of `[B, T, D]`, one after the other, and then perhaps a layer."""

    def __init__(self, *cores: Any, last: Any = None):
        super().__init__()
        self.cores = list(cores)
        self.last = last

    def __call__(self, x: Any) -> Any:
        x = tf.transpose(x, [1, 0, 2])
        for core in self.cores:
            x, _ = snt.static_unroll(core, x, core.initial_state(x.shape[1]))
        x = tf.transpose(x, [1, 0, 2])
        return x if self.last is None else self.last(x)


class SonnetCNN(snt.Module):
    # The attributes are not in the order of the alphabet, and TensorFlow lists variables in that.
    def __init__(self):
        super().__init__()
        self.second = snt.Conv2D(4, 3)
        self.first = snt.Conv2D(4, 3)
        self.norms = {
            "second": snt.BatchNorm(True, True, 0.9),
            "first": snt.BatchNorm(True, True, 0.9),
        }
        self.head = snt.Linear(3)

    def __call__(self, x: Any, is_training: bool) -> Any:
        h = tf.nn.relu(self.norms["second"](self.second(x), is_training))
        h = tf.nn.relu(self.norms["first"](self.first(h), is_training))
        return self.head(tf.reduce_mean(h, [1, 2]))


def cnn(x: Any, is_training: bool) -> Any:
    h = jax.nn.relu(ps.BatchNorm(True, True, 0.9)(ps.Conv2D(4, 3)(x), is_training))
    h = jax.nn.relu(ps.BatchNorm(True, True, 0.9)(ps.Conv2D(4, 3)(h), is_training))
    return ps.Linear(3)(h.mean([1, 2]))


def dense(x: Any) -> Any:
    return ps.Linear(3)(jax.nn.relu(ps.Linear(8)(jax.nn.relu(ps.Linear(8)(x)))))


def batch_norm(x: Any, is_training: bool) -> Any:
    return ps.BatchNorm(True, True, 0.9)(x, is_training)


def vanilla_rnn(x: Any) -> Any:
    return unroll(ps.VanillaRNN(6, double_bias=False, activation=jax.numpy.tanh), x)


def resnet(x: Any, is_training: bool) -> Any:
    return ps.nets.ResNet([1, 1, 1, 1], 5, channels_per_group=(4, 8, 12, 16))(x, is_training)


CASES: dict[str, tuple[Any, Case]] = {
    "Linear": (lambda: snt.Linear(3), case(lambda x: ps.Linear(3)(x), SEQUENCE)),
    "Linear without bias": (
        lambda: snt.Linear(3, with_bias=False),
        case(lambda x: ps.Linear(3, with_bias=False)(x), VECTORS),
    ),
    "Conv1D": (
        lambda: snt.Conv1D(6, 3, stride=2),
        case(lambda x: ps.Conv1D(6, 3, stride=2)(x), SEQUENCE),
    ),
    "Conv2D": (
        lambda: snt.Conv2D(6, (3, 2), rate=2, padding="VALID"),
        case(lambda x: ps.Conv2D(6, (3, 2), rate=2, padding="VALID")(x), IMAGE),
    ),
    "Conv3D": (lambda: snt.Conv3D(6, 3), case(lambda x: ps.Conv3D(6, 3)(x), VOLUME)),
    "DepthwiseConv2D": (
        lambda: snt.DepthwiseConv2D(3, 2),
        case(lambda x: ps.DepthwiseConv2D(2, 3)(x), IMAGE),
    ),
    "Conv1DTranspose": (
        lambda: snt.Conv1DTranspose(3, 4, output_shape=[12], stride=2, padding="VALID"),
        case(lambda x: ps.Conv1DTranspose(3, 4, stride=2, padding="VALID")(x), SEQUENCE),
    ),
    "Conv2DTranspose": (
        lambda: snt.Conv2DTranspose(3, (3, 2), stride=2),
        case(lambda x: ps.Conv2DTranspose(3, (3, 2), stride=2)(x), IMAGE),
    ),
    "Conv3DTranspose": (
        lambda: snt.Conv3DTranspose(2, 3),
        case(lambda x: ps.Conv3DTranspose(2, 3)(x), VOLUME),
    ),
    "LayerNorm": (lambda: snt.LayerNorm(-1, True, True), case(norm, SEQUENCE)),
    "GroupNorm": (lambda: snt.GroupNorm(2), case(lambda x: ps.GroupNorm(2)(x), IMAGE)),
    "InstanceNorm": (
        lambda: snt.InstanceNorm(True, True),
        case(lambda x: ps.InstanceNorm(True, True)(x), IMAGE),
    ),
    "BatchNorm": (
        lambda: snt.BatchNorm(True, True, 0.9),
        training_case(batch_norm, VECTORS),
    ),
    "BatchNorm of images": (
        lambda: snt.BatchNorm(True, True, 0.9),
        training_case(batch_norm, IMAGE),
    ),
    "Embed": (
        lambda: snt.Embed(7, 3),
        case(lambda x: ps.Embed(7, 3)(x), np.array([[0, 3], [6, 2]], np.int32)),
    ),
    "LSTM": (lambda: Unrolled(snt.LSTM(6)), case(lambda x: unroll(ps.LSTM(6), x), SEQUENCE)),
    "LSTM with a projection": (
        lambda: Unrolled(snt.LSTM(6, projection_size=4)),
        case(lambda x: unroll(ps.LSTM(6, projection_size=4), x), SEQUENCE),
    ),
    "GRU": (lambda: Unrolled(snt.GRU(6)), case(lambda x: unroll(ps.GRU(6), x), SEQUENCE)),
    "VanillaRNN": (
        lambda: Unrolled(snt.VanillaRNN(6)),
        case(vanilla_rnn, SEQUENCE),
    ),
    "two LSTMs": (
        lambda: Unrolled(snt.LSTM(6), snt.LSTM(6), last=snt.Linear(3)),
        case(two_lstms, SEQUENCE),
    ),
    "DeepRNN": (
        lambda: Unrolled(snt.DeepRNN([snt.GRU(6), tf.nn.relu, snt.GRU(6)])),
        case(lambda x: unroll(ps.DeepRNN([ps.GRU(6), jax.nn.relu, ps.GRU(6)]), x), SEQUENCE),
    ),
    "MLP": (
        lambda: snt.nets.MLP([8, 8, 3]),
        case(lambda x: ps.nets.MLP([8, 8, 3])(x), VECTORS),
    ),
    "Sequential": (
        lambda: snt.Sequential(
            [snt.Linear(8), tf.nn.relu, snt.Linear(8), tf.nn.relu, snt.Linear(3)]
        ),
        case(dense, VECTORS),
    ),
    "CNN": (SonnetCNN, training_case(cnn, IMAGE)),
    # Sonnet pads both sides alike, and ours as "SAME" does. These are the same for odd sizes.
    "ResNet": (
        lambda: snt.nets.ResNet([1, 1, 1, 1], 5, channels_per_group_list=(4, 8, 12, 16)),
        training_case(resnet, array(2, 33, 33, 3)),
    ),
}
ROUNDED = ("LSTM", "LSTM with a projection", "two LSTMs")
"""Sonnet has one bias: with the 1 that ps.LSTM adds, it loses its last bits."""


def built(name: str) -> Any:
    """Returns a module with random variables, and what runs it."""
    make, (_, example, _) = CASES[name]
    module = make()
    run = lambda x, *rest: module(tf.constant(x), *rest).numpy()
    run(*example)
    for variable, value in zip(
        module.variables, random_values([v.numpy() for v in module.variables]), strict=True
    ):
        variable.assign(np.asarray(value))
    return module, run


def assign(module: Any, arrays: Any) -> None:
    for variable, value in zip(module.variables, arrays, strict=True):
        variable.assign(value)


def relative(converted: Any, f: Any, run: Any, args: Any) -> float:
    """The difference that the converter found in `check`, relative to outputs above 1."""
    assert converted.report.verified
    return difference(f.apply(converted.params, converted.state, KEY, *args)[0], run(*args))


@pytest.mark.parametrize("name", CASES)
def test_sonnet(name: str):
    f, example, args = CASES[name][1]
    module, run = built(name)
    before = [v.numpy() for v in module.variables]
    converted = ps.convert.from_sonnet(module, f, KEY, *example, check=run, check_args=args)
    close(relative(converted, f, run, args), name, "from sonnet")
    other = random_values(converted.params, 1), converted.state
    assign(module, ps.convert.to_sonnet(other, f, KEY, *example, like=module))
    close(difference(f.apply(*other, KEY, *args)[0], run(*args)), name, "to sonnet")
    if name not in ROUNDED:
        assert equal(ps.convert.to_sonnet(converted, f, KEY, *example, like=module), before)


@pytest.mark.parametrize("name", ["MLP", "LSTM", "BatchNorm", "ResNet"])
def test_dict_by_the_names_of_variables(name: str):
    f, example, args = CASES[name][1]
    module, run = built(name)
    weights = {v.name: v.numpy() for v in module.variables}
    assert len(weights) == len(module.variables)
    converted = ps.convert.from_sonnet(weights, f, KEY, *example, check=run, check_args=args)
    close(relative(converted, f, run, args), f"{name}, by names", "from sonnet")
    other = random_values(converted.params, 1), converted.state
    arrays = ps.convert.to_sonnet(other, f, KEY, *example, like=weights)
    assert list(arrays) == list(weights)
    assign(module, arrays.values())
    distance = difference(f.apply(*other, KEY, *args)[0], run(*args))
    close(distance, f"{name}, by names", "to sonnet")


def test_names_of_variables_are_not_unique():
    """Why a module is named by its attributes."""
    module, _ = built("Sequential")
    assert len({v.name for v in module.variables}) < len(module.variables)


def test_order_of_variables_is_not_that_of_creation():
    """Two layers of equal shapes under their own names stay without a match: nobody knows."""

    class Pair(snt.Module):
        def __init__(self):
            super().__init__()
            self.zero = snt.Linear(3, name="zero")
            self.body = snt.LayerNorm(-1, True, True, name="body")
            self.after = snt.Linear(3, name="after")

        def __call__(self, x: Any) -> Any:
            return self.after(self.body(self.zero(x)))

    pair = Pair()
    x = array(2, 3)
    run = lambda x: pair(tf.constant(x)).numpy()
    run(x)
    assign(pair, random_values([v.numpy() for v in pair.variables]))
    f = ps.transform(lambda x: ps.Linear(3)(norm(ps.Linear(3)(x))))
    assert ps.convert.from_sonnet(pair, f, KEY, x, check=run).report.difference < 1e-5
    weights = {v.name: v.numpy() for v in pair.variables}
    with pytest.raises(ps.errors.ConversionError, match="Only the model has: 'linear'"):
        ps.convert.from_sonnet(weights, f, KEY, x, check=False)


def test_vanilla_rnn_with_two_biases_has_no_match():
    module, _ = built("VanillaRNN")
    f = ps.transform(lambda x: unroll(ps.VanillaRNN(6), x))
    with pytest.raises(ps.errors.ConversionError, match=r"needs w\[6,6\], b\[6\]"):
        ps.convert.from_sonnet(module, f, KEY, SEQUENCE, check=False)


def test_shared_module_counts_once():
    layer = snt.Linear(8)
    module = snt.Sequential([layer, layer])
    run = lambda x: module(tf.constant(x)).numpy()

    def shared(x: Any) -> Any:
        layer = ps.Linear(8)
        return layer(layer(x))

    f = ps.transform(shared)
    run(VECTORS)
    converted = ps.convert.from_sonnet(module, f, KEY, VECTORS, check=run)
    arrays = ps.convert.to_sonnet(converted.params, f, KEY, VECTORS, like=module)
    assert equal(arrays, [v.numpy() for v in module.variables])


def test_state_of_a_batch_norm_goes_on_alike():
    """Its state is the same in both, so that a converted model can be trained further."""
    f, example, args = CASES["BatchNorm"][1]
    module, run = built("BatchNorm")
    for seed in range(3):
        run(array(7, 8, seed=seed), True)
    params, state, _ = ps.convert.from_sonnet(module, f, KEY, *example, check=False)
    x = array(7, 8, seed=9)
    out, state = f.apply(params, state, KEY, x, True)
    assert difference(out, run(x, True)) < 1e-5
    assert difference(f.apply(params, state, KEY, *args)[0], run(*args)) < 1e-5
    variables = ps.convert.to_sonnet((params, state), f, KEY, *example, like=module)
    for ours, theirs in zip(variables, module.variables, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-7)
