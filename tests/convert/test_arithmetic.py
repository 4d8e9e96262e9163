"""Converted layers against the documented arithmetic of PyTorch and Sonnet, in NumPy and float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import purestate as ps
from tests.convert.helpers import INIT, KEY, array, unroll


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def in_float64(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: x.astype(np.float64) for name, x in weights.items()}


def lstm(x: Any, w: Any, u: Any, b: Any, order: str) -> Any:
    """An LSTM with weights [4H, D], [4H, H], [4H]; it adds nothing to the forget gate."""
    h = c = np.zeros((x.shape[0], u.shape[1]))
    outs = []
    for t in range(x.shape[1]):
        gates = dict(zip(order, np.split(x[:, t] @ w.T + h @ u.T + b, 4, -1), strict=True))
        c = sigmoid(gates["f"]) * c + sigmoid(gates["i"]) * np.tanh(gates["g"])
        h = sigmoid(gates["o"]) * np.tanh(c)
        outs.append(h)
    return np.stack(outs, 1)


def test_lstm_of_torch():
    x, f = array(2, 5, 3), ps.transform(lambda x: unroll(ps.LSTM(4), x))
    shapes = {
        "weight_ih_l0": (16, 3),
        "weight_hh_l0": (16, 4),
        "bias_ih_l0": (16,),
        "bias_hh_l0": (16,),
    }
    weights = {f"lstm.{k}": array(*s, seed=i) for i, (k, s) in enumerate(shapes.items())}
    w, u, b, c = in_float64(weights).values()
    expected = lstm(x, w, u, b + c, "ifgo")
    report = ps.convert.from_torch(weights, f, KEY, x, check=expected).report
    assert isinstance(report, ps.convert.ConversionReport)
    assert report.verified
    assert (report.difference or 0) <= 1e-5


def test_lstm_of_sonnet():
    x, f = array(2, 5, 3), ps.transform(lambda x: unroll(ps.LSTM(4), x))
    weights = {
        "lstm/w_i:0": array(3, 16),
        "lstm/w_h:0": array(4, 16, seed=1),
        "lstm/b:0": array(16),
    }
    w, u, b = in_float64(weights).values()
    expected = lstm(x, w.T, u.T, b, "ifgo")
    report = ps.convert.from_sonnet(weights, f, KEY, x, check=expected).report
    assert report.verified
    assert (report.difference or 0) <= 1e-5


class SonnetModule:
    """What the converter looks at in a module of Sonnet; here variables are arrays."""

    def __init__(self, name: str, **attributes: Any):
        self.name, self.submodules = name, ()
        self.__dict__.update(attributes, _self_notes=list(attributes.values()))

    @property
    def variables(self) -> Any:
        held = [v for k, v in sorted(vars(self).items()) if k not in ("_self_notes", "name")]
        parts = [v for x in held for v in (x if isinstance(x, (list, tuple)) else [x])]
        return tuple(
            v for x in parts for v in (x.variables if isinstance(x, SonnetModule) else [x])
        )


def test_module_of_sonnet_is_named_by_its_attributes():
    linears = [
        SonnetModule("linear", w=array(3, 3, seed=i), b=array(3, seed=i + 5)) for i in range(3)
    ]
    module = SonnetModule("net", last=linears[0], _first=linears[1:])
    x, f = array(2, 3), ps.transform(lambda x: ps.nets.MLP([3, 3, 3])(x))
    expected = x.astype(np.float64)
    for linear in linears:  # in the order of creation, although "last" is after "_first"
        expected = np.maximum(expected, 0) if linear is not linears[0] else expected
        expected = expected @ linear.w + linear.b
    converted = ps.convert.from_sonnet(module, f, KEY, x, check=expected)
    assert converted.report.verified
    assert [match[0] for match in converted.report.matches] == [
        ("net/last",),
        ("net/first/0",),
        ("net/first/1",),
    ]
    assert (converted.report.difference or 0) <= 1e-5
    back = ps.convert.to_sonnet(converted.params, f, KEY, x, like=module)
    for ours, theirs in zip(back, module.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_variables_of_sonnet_without_names():
    f = ps.transform(lambda x: ps.Linear(2)(x))
    with pytest.raises(ps.errors.ConversionError, match="or a dict of arrays by name"):
        ps.convert.from_sonnet((array(3, 2),), f, KEY, array(1, 3), check=False)


def test_vanilla_rnn_of_sonnet():
    x = array(2, 5, 3)
    weights = {
        "rnn/b:0": array(4), "rnn/hidden_to_hidden/w:0": array(4, 4, seed=1),
        "rnn/input_to_hidden/w:0": array(3, 4, seed=2),
    }  # fmt: skip
    b, u, w = in_float64(weights).values()
    h, outs = np.zeros((2, 4)), []
    for t in range(5):
        h = np.tanh(x[:, t] @ w + h @ u + b)
        outs.append(h)
    core = lambda: ps.VanillaRNN(4, double_bias=False, activation=jnp.tanh)
    f = ps.transform(lambda x: unroll(core(), x))
    converted = ps.convert.from_sonnet(weights, f, KEY, x, check=np.stack(outs, 1))
    assert converted.report.verified
    assert (converted.report.difference or 0) <= 1e-5
    back = ps.convert.to_sonnet(converted.params, f, KEY, x, like=weights)
    assert list(back) == list(weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(back[name], value)


def transposed_conv(x: Any, w: Any, stride: int) -> Any:
    """Each input puts the kernel `w` [K, out, in] into the outputs, `stride` further each."""
    out = np.zeros((x.shape[0], (x.shape[1] - 1) * stride + w.shape[0], w.shape[1]))
    for t in range(x.shape[1]):
        for k in range(w.shape[0]):
            out[:, t * stride + k] += x[:, t] @ w[k].T
    return out


@pytest.mark.parametrize("library", ["torch", "keras", "sonnet"])
def test_transposed_convolution(library: str):
    x, w, b = array(2, 5, 3), array(4, 6, 3, seed=1), array(6, seed=2)
    weights = {
        "torch": {"conv.weight": w.transpose(2, 1, 0), "conv.bias": b},
        "keras": {"conv/kernel": w, "conv/bias": b},
        "sonnet": {"conv/w:0": w, "conv/b:0": b},
    }[library]
    f = ps.transform(lambda x: ps.Conv1DTranspose(6, 4, 2, padding="VALID")(x))
    convert: Any = getattr(ps.convert, f"from_{library}")
    expected = transposed_conv(x.astype(np.float64), w.astype(np.float64), 2) + b
    assert convert(weights, f, KEY, x, check=expected).report.difference <= 1e-5


@pytest.mark.parametrize("library", ["keras", "sonnet"])
def test_depthwise_convolution(library: str):
    x, w, b = array(1, 6, 6, 4), array(3, 3, 4, 2, seed=1), array(8, seed=2)
    names = {"keras": ("d/kernel", "d/bias"), "sonnet": ("d/w:0", "d/b:0")}[library]
    expected = np.zeros((1, 4, 4, 4, 2))
    for i in range(3):
        for j in range(3):
            expected += x[:, i : i + 4, j : j + 4, :, None].astype(np.float64) * w[i, j]
    f = ps.transform(lambda x: ps.DepthwiseConv2D(2, 3, padding="VALID")(x))
    convert: Any = getattr(ps.convert, f"from_{library}")
    weights = dict(zip(names, (w, b), strict=True))
    report = convert(weights, f, KEY, x, check=expected.reshape(1, 4, 4, 8) + b).report
    assert report.verified
    assert (report.difference or 0) <= 1e-5


def test_batch_norm_of_torch_evaluates_with_its_statistics():
    x = array(7, 3)
    weights = {
        "weight": array(3), "bias": array(3, seed=1), "running_mean": array(3, seed=2),
        "running_var": array(3, seed=3) ** 2, "num_batches_tracked": np.array(2),
    }  # fmt: skip
    w = in_float64(weights)
    expected = (x - w["running_mean"]) / np.sqrt(w["running_var"] + 1e-5) * w["weight"] + w["bias"]
    f = ps.transform_with_state(lambda x, train: ps.BatchNorm(True, True, 0.9)(x, train))
    _, state, report = ps.convert.from_torch(
        weights, f, KEY, x, True, check=expected, check_args=(x, False)
    )
    assert report.verified
    assert (report.difference or 0) <= 1e-5
    # The average is that of two updates, as purestate itself would have it.
    mean = state["batch_norm/~/mean_ema"]
    np.testing.assert_allclose(mean["hidden"] / (1 - 0.9**2), mean["average"], rtol=1e-6)


def test_attention_of_torch():
    x = array(2, 5, 8)
    weights = {
        "in_proj_weight": array(24, 8), "in_proj_bias": array(24, seed=1),
        "out_proj.weight": array(8, 8, seed=2), "out_proj.bias": array(8, seed=3),
    }  # fmt: skip
    w = in_float64(weights)
    joined = x @ w["in_proj_weight"].T + w["in_proj_bias"]
    q, k, v = (part.reshape(2, 5, 2, 4) for part in np.split(joined, 3, -1))
    logits = np.einsum("bqhd,bkhd->bhqk", q, k) / 2
    attended = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    out = np.einsum("bhqk,bkhd->bqhd", attended, v).reshape(2, 5, 8)
    expected = out @ w["out_proj.weight"].T + w["out_proj.bias"]
    f = ps.transform(lambda x: ps.MultiHeadAttention(2, 4, w_init=INIT)(x, x, x))
    report = ps.convert.from_torch(weights, f, KEY, x, check=expected).report
    assert report.verified
    assert (report.difference or 0) <= 1e-5


def test_the_arrays_of_the_other_model_stay_as_they_are():
    x = array(2, 5, 3)
    weights = {
        "weight_ih_l0": array(12, 3), "weight_hh_l0": array(12, 4, seed=1),
        "bias_ih_l0": array(12, seed=2), "bias_hh_l0": array(12, seed=3),
    }  # fmt: skip
    weights = in_float64(weights)
    before = {name: value.copy() for name, value in weights.items()}
    f = ps.transform(lambda x: unroll(ps.GRU(4, reset_after=True), x))
    params = ps.convert.from_torch(weights, f, KEY, x, check=False).params
    ps.convert.to_torch((params, {}), f, KEY, x, like=weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(value, before[name])


def test_a_layer_is_not_a_variable_of_a_layer():
    # The weight of torch is the transpose of ours, and as square as it.
    f = ps.transform(lambda x: ps.Linear(3, with_bias=False)(x))
    weights, x = {"fc.weight": array(3, 3)}, array(2, 3)
    with pytest.raises(ps.errors.ConversionError, match="'fc' becomes 'linear/w'"):
        ps.convert.from_torch(weights, f, KEY, x, names={"fc": "linear/w"}, check=False)


@pytest.mark.parametrize("name", ["weight_v", "my_weight_v"])
def test_a_parameter_that_is_no_weight_norm(name):
    f = ps.transform(lambda x: x * ps.get_parameter("scale", [3], init=jnp.ones))
    weights, x = {name: array(3)}, array(2, 3)
    converted = ps.convert.from_torch(weights, f, KEY, x, check=x * weights[name])
    assert converted.report.verified
    np.testing.assert_array_equal(converted.params["~"]["scale"], weights[name])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_heads_and_blocks_of_a_fused_projection(axis):
    heads, size = 3, 4
    w = array(*((9 * size, 5) if axis == 0 else (5, 9 * size)))
    blocks = ps.convert.qkv_to_blocks(w, size, axis)
    np.testing.assert_array_equal(ps.convert.qkv_to_heads(blocks, size, axis), w)
    for part in range(3):
        for head in range(heads):
            there = (head * 3 + part) * size + np.arange(size)
            here = (part * heads + head) * size + np.arange(size)
            np.testing.assert_array_equal(np.take(blocks, here, axis), np.take(w, there, axis))


def test_gru_of_keras_keeps_what_ours_replaces():
    x = array(2, 4, 3)
    weights = {
        "gru/kernel": array(3, 12),
        "gru/recurrent_kernel": array(4, 12, seed=1),
        "gru/bias": array(12, seed=2),
    }
    w, u, b = in_float64(weights).values()
    h, outs = np.zeros((2, 4)), []
    for t in range(4):
        z, r, _ = np.split(x[:, t] @ w + h @ u + b, 3, -1)
        candidate = np.tanh(x[:, t] @ w[:, 8:] + (sigmoid(r) * h) @ u[:, 8:] + b[8:])
        h = sigmoid(z) * h + (1 - sigmoid(z)) * candidate
        outs.append(h)
    f = ps.transform(lambda x: unroll(ps.GRU(4), x))
    report = ps.convert.from_keras(weights, f, KEY, x, check=np.stack(outs, 1)).report
    assert report.verified
    assert (report.difference or 0) <= 1e-5


def test_batch_norm_of_sonnet_keeps_its_state():
    x = array(7, 3)
    average = {
        "hidden": array(1, 3), "average": array(1, 3, seed=1), "counter": np.array(5, np.int64),
    }  # fmt: skip
    weights = {
        "norm/scale:0": array(3),
        "norm/offset:0": array(3),
        **{f"norm/moving_mean/{k}": v for k, v in average.items()},
        **{f"norm/moving_variance/{k}": v + (k != "counter") for k, v in average.items()},
    }
    f = ps.transform_with_state(lambda x, train: ps.BatchNorm(True, True, 0.9)(x, train))
    params, state, _ = ps.convert.from_sonnet(weights, f, KEY, x, True, check=False)
    np.testing.assert_array_equal(state["batch_norm/~/mean_ema"]["hidden"], average["hidden"])
    assert int(state["batch_norm/~/var_ema"]["counter"]) == 5
    back = ps.convert.to_sonnet((params, state), f, KEY, x, True, like=weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(back[name], value)
        assert back[name].dtype == value.dtype


@pytest.mark.parametrize("with_bias", [True, False])
def test_rotary_orders_give_the_same_attention(with_bias: bool):
    x, shape = array(1, 5, 8), (8, 8)
    q, k = (jnp.asarray(array(*shape, seed=i)) for i in range(2))
    b = jnp.asarray(array(8, seed=3)) * with_bias

    def similarities(q: Any, k: Any, b: Any, *, interleaved: bool) -> Any:
        heads = [(x @ w + b).reshape(1, 5, 2, 4) for w in (q, k)]
        turned = [ps.rotary_embedding(h, jnp.arange(5), interleaved=interleaved) for h in heads]
        return jnp.einsum("bqhd,bkhd->bhqk", *turned)

    pairs = similarities(q, k, b, interleaved=True)
    halves = [ps.convert.rotary_to_halves(a, 4) for a in (q, k, b)]
    np.testing.assert_allclose(similarities(*halves, interleaved=False), pairs, atol=1e-5)
    assert np.abs(similarities(q, k, b, interleaved=False) - pairs).max() > 0.1
    for before, after in zip((q, k, b), halves, strict=True):
        np.testing.assert_array_equal(ps.convert.rotary_to_pairs(after, 4), before)


def test_conv_of_torch():
    x, w, b = array(1, 5, 6, 4), array(6, 2, 3, 2), array(6, seed=1)
    expected = lax.conv_general_dilated(
        jnp.asarray(x), jnp.asarray(w.transpose(2, 3, 1, 0)), (1, 1), "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2,
        precision=jax.lax.Precision.HIGHEST,
    ) + b  # fmt: skip
    f = ps.transform(lambda x: ps.Conv2D(6, (3, 2), padding="VALID", feature_group_count=2)(x))
    weights = {"weight": w, "bias": b}
    report = ps.convert.from_torch(weights, f, KEY, x, check=expected).report
    assert report.verified
    assert (report.difference or 0) <= 1e-5
