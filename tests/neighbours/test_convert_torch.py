"""`from_torch` and `to_torch` against PyTorch itself."""

import copy
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.convert.helpers import (
    KEY,
    SAME,
    Case,
    array,
    case,
    close,
    cnn,
    difference,
    encoder_block,
    equal,
    norm,
    random_values,
    training_case,
    two_grus,
    two_lstms,
    unroll,
)

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning"),
]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, kdim=6, vdim=5)

    def forward(self, x: Any) -> Any:
        return self.attention(x, x[..., :6], x[..., :5])[0]


class Outputs(nn.Module):
    """Leaves out the states of a recurrent network."""

    def __init__(self, layer: Any):
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0]


class WithParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(1, 3))
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return self.linear(x * self.scale)


def with_parameter(x: Any) -> Any:
    return ps.Linear(2)(x * ps.get_parameter("scale", [3], init=jnp.ones))


def weight_norm(layer: Any, old: bool) -> Any:
    utils = nn.utils.weight_norm if old else nn.utils.parametrizations.weight_norm
    return first(utils(layer))


def normed(x: Any) -> Any:
    with ps.weight_norm():
        return ps.Conv1D(6, 3)(x)


def prelu(x: Any) -> Any:
    h = ps.Linear(6)(x)
    return jnp.where(h > 0, h, h * ps.get_parameter("slopes", [6], init=jnp.ones))


def other_attention(x: Any) -> Any:
    layer = ps.MultiHeadAttention(2, 4, w_init=ps.initializers.VarianceScaling())
    return layer(x, x[..., :6], x[..., :5])


def first(f: Any) -> Any:
    """A torch module on images with channels last."""

    class ChannelsLast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = f

        def forward(self, x: Any) -> Any:
            out = self.f(x.movedim(-1, 1))
            return out.movedim(1, -1) if out.ndim == x.ndim else out

    return ChannelsLast()


SEQUENCE, IMAGE = array(2, 5, 8), array(2, 6, 6, 4)
CASES: dict[str, tuple[Any, Case]] = {
    "Linear": (lambda: nn.Linear(8, 3), case(lambda x: ps.Linear(3)(x), SEQUENCE)),
    "Linear without bias": (
        lambda: nn.Linear(8, 3, bias=False),
        case(lambda x: ps.Linear(3, False)(x), SEQUENCE),
    ),
    "Conv1d": (
        lambda: first(nn.Conv1d(8, 6, 3, padding=1, dilation=1)),
        case(lambda x: ps.Conv1D(6, 3)(x), SEQUENCE),
    ),
    "Conv2d in groups": (
        lambda: first(nn.Conv2d(4, 6, 3, 2, 1, groups=2)),
        case(lambda x: ps.Conv2D(6, 3, 2, padding=SAME, feature_group_count=2)(x), IMAGE),
    ),
    "Conv3d": (
        lambda: first(nn.Conv3d(4, 3, 2)),
        case(lambda x: ps.Conv3D(3, 2, padding="VALID")(x), array(1, 3, 4, 5, 4)),
    ),
    "depthwise Conv2d": (
        lambda: first(nn.Conv2d(4, 8, 3, padding=1, groups=4)),
        case(lambda x: ps.DepthwiseConv2D(2, 3)(x), IMAGE),
    ),
    "ConvTranspose1d": (
        lambda: first(nn.ConvTranspose1d(8, 3, 4, 2)),
        case(lambda x: ps.Conv1DTranspose(3, 4, 2, padding="VALID")(x), SEQUENCE),
    ),
    "ConvTranspose2d": (
        lambda: first(nn.ConvTranspose2d(4, 3, (2, 3), 1)),
        case(lambda x: ps.Conv2DTranspose(3, (2, 3), 1, padding="VALID")(x), IMAGE),
    ),
    "LayerNorm": (lambda: nn.LayerNorm(8), case(norm, SEQUENCE)),
    "LayerNorm over two axes": (
        lambda: nn.LayerNorm([5, 8]),
        case(lambda x: ps.LayerNorm((-2, -1), True, True, param_axis=(-2, -1))(x), SEQUENCE),
    ),
    "GroupNorm": (
        lambda: first(nn.GroupNorm(2, 4)),
        case(lambda x: ps.GroupNorm(2)(x), IMAGE),
    ),
    "InstanceNorm2d": (
        lambda: first(nn.InstanceNorm2d(4, affine=True)),
        case(lambda x: ps.InstanceNorm(True, True)(x), IMAGE),
    ),
    "RMSNorm": (lambda: nn.RMSNorm(8, eps=1e-5), case(lambda x: ps.RMSNorm(-1)(x), SEQUENCE)),
    "BatchNorm1d": (
        lambda: nn.BatchNorm1d(8),
        training_case(lambda x, t: ps.BatchNorm(True, True, 0.9)(x, t), array(7, 8)),
    ),
    "BatchNorm2d without parameters": (
        lambda: first(nn.BatchNorm2d(4, affine=False)),
        training_case(lambda x, t: ps.BatchNorm(False, False, 0.9)(x, t), IMAGE),
    ),
    "Embedding": (
        lambda: nn.Embedding(7, 3),
        case(lambda x: ps.Embed(7, 3)(x), np.array([[0, 3], [6, 2]])),
    ),
    "LSTM": (
        lambda: Outputs(nn.LSTM(8, 6, batch_first=True)),
        case(lambda x: unroll(ps.LSTM(6), x), SEQUENCE),
    ),
    "LSTM without bias": (
        lambda: Outputs(nn.LSTM(8, 6, batch_first=True, bias=False)),
        case(lambda x: unroll(ps.LSTM(6), x), SEQUENCE),
    ),
    "LSTM with a projection": (
        lambda: Outputs(nn.LSTM(8, 6, batch_first=True, proj_size=3)),
        case(lambda x: unroll(ps.LSTM(6, projection_size=3), x), SEQUENCE),
    ),
    "GRU": (
        lambda: Outputs(nn.GRU(8, 6, batch_first=True)),
        case(lambda x: unroll(ps.GRU(6, reset_after=True), x), SEQUENCE),
    ),
    "two GRUs": (
        lambda: Outputs(nn.GRU(8, 6, 2, batch_first=True)),
        case(two_grus, SEQUENCE),
    ),
    "RNN": (
        lambda: Outputs(nn.RNN(8, 6, batch_first=True)),
        case(lambda x: unroll(ps.VanillaRNN(6, activation=jnp.tanh), x), SEQUENCE),
    ),
    "weight norm": (
        lambda: weight_norm(nn.Conv1d(8, 6, 3, padding=1), old=False),
        case(normed, SEQUENCE),
    ),
    "old weight norm": (
        lambda: weight_norm(nn.Conv1d(8, 6, 3, padding=1), old=True),
        case(normed, SEQUENCE),
    ),
    "PReLU": (lambda: nn.Sequential(nn.Linear(8, 6), nn.PReLU(6)), case(prelu, array(7, 8))),
    "MultiheadAttention": (Residual, case(other_attention, SEQUENCE)),
    "a parameter": (WithParameter, case(with_parameter, array(2, 3))),
    "CNN": (
        lambda: first(
            nn.Sequential(
                nn.Conv2d(4, 6, 3, padding=1),
                nn.BatchNorm2d(6),
                nn.ReLU(),
                nn.Conv2d(6, 8, 3, 2, 1, groups=2),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(8, 4),
            )
        ),
        training_case(cnn, IMAGE),
    ),
    "encoder block": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        case(encoder_block, SEQUENCE),
    ),
    "two LSTMs": (
        lambda: nn.Sequential(Outputs(nn.LSTM(8, 6, 2, batch_first=True)), nn.Linear(6, 3)),
        case(two_lstms, SEQUENCE),
    ),
}
# torch adds two biases, and another library has no place for more than their sum.
TWO_BIASES = ("LSTM", "LSTM with a projection", "two LSTMs", "GRU", "two GRUs")
NAMES = {"a parameter": {"scale": "~/scale"}, "PReLU": {"1": "slopes"}}


def torch_model(name: str) -> Any:
    torch.manual_seed(0)
    model = CASES[name][0]()
    with torch.no_grad():
        for key, x in model.state_dict().items():  # so that no scale is 1 and no mean 0
            if x.dtype.is_floating_point:
                x.uniform_(-0.5, 0.5) if "running_var" not in key else x.uniform_(0.5, 1)
            else:
                x.fill_(40)
    return model.eval()


def run(model: Any) -> Any:
    def on_arrays(x: Any, *_: Any) -> Any:
        with torch.no_grad():
            return model(torch.tensor(np.asarray(x)))

    return on_arrays


@pytest.mark.parametrize("name", CASES)
def test_from_torch(name: str):
    model, (f, example, args) = torch_model(name), CASES[name][1]
    converted = ps.convert.from_torch(
        model.state_dict(), f, KEY, *example,
        names=NAMES.get(name), check=run(model), check_args=args,
    )  # fmt: skip
    close(converted.report.difference, name, "from torch")
    if name != "LSTM without bias":
        back = ps.convert.to_torch(
            converted, f, KEY, *example, like=model.state_dict(), names=NAMES.get(name)
        )
        for key, x in model.state_dict().items():
            assert torch.equal(back[key], x) or (name in TWO_BIASES and "bias" in key), key
        other = copy.deepcopy(model)
        other.load_state_dict(back)
        assert difference(run(other)(*args), run(model)(*args)) <= 1e-5


@pytest.mark.parametrize("name", [name for name in CASES if name != "LSTM without bias"])
def test_to_torch(name: str):
    model, (f, example, args) = torch_model(name), CASES[name][1]
    params, state = f.init(KEY, *example)
    params = random_values(params, 1)
    like, names = model.state_dict(), NAMES.get(name)
    # A state that purestate can have: the average is that of `hidden`.
    params, state, _ = ps.convert.from_torch(
        ps.convert.to_torch((params, state), f, KEY, *example, like=like, names=names),
        f, KEY, *example, names=names, check=False,
    )  # fmt: skip
    there = ps.convert.to_torch((params, state), f, KEY, *example, like=like, names=names)
    model.load_state_dict(there)
    ours = f.apply(params, state, KEY, *args)[0]
    distance = difference(ours, run(model)(*args))
    close(distance, name, "to torch")
    back = ps.convert.from_torch(there, f, KEY, *example, names=names, check=False)
    assert equal(back[:2], (params, state))


def test_statistics_of_a_few_updates_are_kept():
    f, example, _ = CASES["BatchNorm1d"][1]
    model = torch_model("BatchNorm1d")
    model.num_batches_tracked.fill_(3)
    _, state, _ = ps.convert.from_torch(model.state_dict(), f, KEY, *example, check=False)
    mean = state["batch_norm/~/mean_ema"]
    assert int(mean["counter"]) == 3
    np.testing.assert_allclose(mean["hidden"], mean["average"] * (1 - 0.9**3), rtol=1e-6)
    np.testing.assert_array_equal(mean["average"][0], model.running_mean.numpy())


def test_bfloat16():
    f, example, _ = CASES["Linear"][1]
    model = torch_model("Linear").bfloat16()
    params, _, _ = ps.convert.from_torch(model.state_dict(), f, KEY, *example, check=False)
    np.testing.assert_array_equal(params["linear"]["w"].T, model.weight.detach().float().numpy())
    back = ps.convert.to_torch((params, {}), f, KEY, *example, like=model.state_dict())
    assert back["weight"].dtype == torch.bfloat16
    assert torch.equal(back["weight"], model.weight)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_gru_without_bias(bidirectional: bool):
    def f(x: Any) -> Any:
        make = lambda: ps.GRU(6, reset_after=True)
        if bidirectional:
            return ps.Bidirectional(make(), make())(x, time_major=False)[0]
        return unroll(make(), x)

    model = Outputs(nn.GRU(8, 6, batch_first=True, bias=False, bidirectional=bidirectional))
    converted = ps.convert.from_torch(
        model.state_dict(), ps.transform(f), KEY, SEQUENCE, check=run(model)
    )
    close(converted.report.difference, "GRU without bias", "from torch")
    back = ps.convert.to_torch(
        converted, ps.transform(f), KEY, SEQUENCE, like=model.state_dict()
    )  # zeros are no bias
    assert all(torch.equal(back[key], x) for key, x in model.state_dict().items())
    params = random_values(converted.params)
    with pytest.raises(ps.errors.ConversionError, match="'bias_ih'"):
        ps.convert.to_torch((params, {}), ps.transform(f), KEY, SEQUENCE, like=model.state_dict())


def test_a_gru_without_reset_after_is_refused():
    f = ps.transform(lambda x: unroll(ps.GRU(6), x))
    model = nn.GRU(8, 6)
    with pytest.raises(ps.errors.ConversionError, match="reset_after=True"):
        ps.convert.from_torch(model.state_dict(), f, KEY, SEQUENCE, check=False)


def test_tied_weights_of_gpt2():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_layer=2, n_embd=8, n_head=2, vocab_size=20, n_positions=12,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config).eval()

    class Block(ps.Module):
        def __call__(self, h: Any) -> Any:
            attention = ps.GroupedQueryAttention(2, 4, with_bias=True, name="attn")
            h = h + attention(norm(h, name="ln_1"), is_causal=True)
            inner = ps.Linear(32, name="c_fc")(norm(h, name="ln_2"))
            return h + ps.Linear(8, name="c_proj")(jax.nn.gelu(inner, approximate=True))

    def gpt2(ids: Any) -> Any:
        wte = ps.Embed(20, 8, name="wte")
        h = wte(ids) + ps.Embed(12, 8, name="wpe")(jnp.arange(ids.shape[-1]))
        for i in range(2):
            h = Block(name=f"h_{i}")(h)
        return norm(h, name="ln_f") @ wte.embeddings.T

    f, ids = ps.transform(gpt2), np.arange(10).reshape(2, 5)
    joined = tuple(f"h_*/attn/{part}" for part in ("query", "key", "value"))
    how: Any = {
        "names": {
            "transformer.h.*.attn.c_attn": joined,
            "transformer.h.*.attn.c_proj": "h_*/attn/output",
            "transformer.h.*.mlp.*": "h_*/*",
            "transformer.h.*": "h_*",
            "transformer.*": "*",
        },
        "transposed": "*.c_*",
    }
    weights = model.state_dict()
    with torch.no_grad():
        logits = model(torch.tensor(ids)).logits
    params, _, report = ps.convert.from_torch(weights, f, KEY, ids, check=logits, **how)
    assert report.tied == (("lm_head", "transformer.wte"),)
    close(report.difference, "GPT-2", "from torch")
    back = ps.convert.to_torch(params, f, KEY, ids, like=weights, **how)
    assert all(torch.equal(back[name], x) for name, x in weights.items())
