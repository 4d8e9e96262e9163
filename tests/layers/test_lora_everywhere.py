"""LoRA on every kind of layer: nothing changes at first, the weights of each are found, merged equals unmerged."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._layers.low_rank import product, split_of
from tests.ops.test_cells import MODES as EVERY_MODE

KEY = jax.random.key(0)
INIT = ps.initializers.VarianceScaling()
IDS = jnp.array([[0, 2, 1], [1, 1, 3]])


class Case(NamedTuple):
    """A layer, the shape of its input, and the shapes of what lora adds to it with rank 2."""

    layer: Callable[[Any], Any]
    shape: tuple[int, ...]
    added: dict[str, tuple[int, ...]]


def _step(core: Any, x: Any) -> Any:
    return core(x, core.initial_state(x.shape[0]))[0]


def _steps(core: Any, x: Any) -> Any:
    """Two steps, so that the second sees a state."""
    out, state = core(x, core.initial_state(x.shape[0]))
    return core(x * out.mean(-1, keepdims=True), state)[0]


class Tied(ps.Module):
    """A language model whose two ends share the vectors; the head is written without `attend`."""

    def __call__(self, x):
        embed = ps.Embed(4, 3, name="embed")
        return jnp.tanh(embed(IDS) * x.mean()) @ embed.embeddings.T


class Own(ps.Module):
    """A layer of a user, whose weight has the outputs first."""

    def __call__(self, x):
        kernel = ps.get_parameter("kernel", [5, x.shape[-1]], init=INIT)
        return ps.ops.dot_general(x, kernel, (((x.ndim - 1,), (1,)), ((), ())))


CASES = {
    "Linear": Case(lambda x: ps.Linear(3)(x), (2, 4), {"lora_a": (4, 2), "lora_b": (2, 3)}),
    "DenseGeneral": Case(
        lambda x: ps.DenseGeneral([2, 3])(x), (5, 4), {"lora_a": (4, 2), "lora_b": (2, 2, 3)}
    ),
    "DenseGeneral-axes": Case(
        lambda x: ps.DenseGeneral(5, axis=[-2, -1])(x),
        (3, 2, 4),
        {"lora_a": (2, 4, 2), "lora_b": (2, 5)},
    ),
    "DenseGeneral-experts": Case(
        lambda x: ps.DenseGeneral(5, batch_axes=1)(x),
        (3, 2, 4),
        {"lora_a": (2, 4, 2), "lora_b": (2, 2, 5)},
    ),
    "Einsum": Case(
        lambda x: ps.Einsum("bd,dhk->bhk", [4, 2, 3])(x),
        (5, 4),
        {"lora_a": (4, 2), "lora_b": (2, 2, 3)},
    ),
    "Einsum-outputs first": Case(
        lambda x: ps.Einsum("bhk,dhk->bd", [5, 2, 3])(x),
        (4, 2, 3),
        {"lora_a": (5, 2), "lora_b": (2, 2, 3)},
    ),
    "Einsum-batch between": Case(
        lambda x: ps.Einsum("bhd,dhk->bhk", [4, 3, 5])(x),
        (2, 3, 4),
        {"lora_a": (4, 3, 1, 2), "lora_b": (1, 3, 5, 2)},
    ),
    "Einsum-one head between": Case(
        lambda x: ps.Einsum("bhd,dhk->bhk", [4, 1, 5])(x),
        (2, 1, 4),
        {"lora_a": (4, 1, 1, 2), "lora_b": (1, 1, 5, 2)},
    ),
    "Conv1D": Case(
        lambda x: ps.Conv1D(3, 3, stride=2)(x), (2, 6, 4), {"lora_a": (3, 4, 2), "lora_b": (2, 3)}
    ),
    "Conv2D": Case(
        lambda x: ps.Conv2D(3, (3, 2), padding="VALID", rate=2)(x),
        (2, 6, 6, 4),
        {"lora_a": (3, 2, 4, 2), "lora_b": (2, 3)},
    ),
    "Conv2D-channels first": Case(
        lambda x: ps.Conv2D(3, 3, data_format="NCHW")(x),
        (2, 4, 6, 5),
        {"lora_a": (3, 3, 4, 2), "lora_b": (2, 3)},
    ),
    "Conv2D-groups": Case(
        lambda x: ps.Conv2D(6, 3, feature_group_count=2)(x),
        (2, 4, 4, 4),
        {"lora_a": (3, 3, 2, 2), "lora_b": (2, 6)},
    ),
    "Conv2D-mask": Case(
        lambda x: ps.Conv2D(3, 3, mask=np.tril(np.ones([3, 3]))[..., None, None] * np.ones([4, 3]))(
            x
        ),
        (2, 4, 4, 4),
        {"lora_a": (3, 3, 4, 2), "lora_b": (2, 3)},
    ),
    "Conv2DTranspose": Case(
        lambda x: ps.Conv2DTranspose(3, 3, stride=2)(x),
        (2, 4, 4, 5),
        {"lora_a": (3, 3, 3, 2), "lora_b": (2, 5)},
    ),
    "DepthwiseConv2D": Case(
        lambda x: ps.DepthwiseConv2D(2, 3)(x),
        (2, 4, 4, 3),
        {"lora_a": (3, 3, 1, 2), "lora_b": (2, 6)},
    ),
    "Embed": Case(
        lambda x: ps.Embed(4, 3)(IDS) * x.mean(),
        (2, 4),
        {"embeddings_lora_a": (4, 2), "embeddings_lora_b": (2, 3)},
    ),
    "Embed-one hot": Case(
        lambda x: ps.Embed(4, 3, lookup_style="ONE_HOT")(IDS) * x.mean(),
        (2, 4),
        {"embeddings_lora_a": (4, 2), "embeddings_lora_b": (2, 3)},
    ),
    "Embed-attend": Case(
        lambda x: ps.Embed(7, 4).attend(x),
        (2, 4),
        {"embeddings_lora_a": (7, 2), "embeddings_lora_b": (2, 4)},
    ),
    "Embed-both by hand": Case(
        lambda x: Tied()(x),
        (2, 4),
        {"embeddings_lora_a": (4, 2), "embeddings_lora_b": (2, 3)},
    ),
    "MultiHeadAttention": Case(
        lambda x: ps.MultiHeadAttention(2, 4, w_init=INIT)(x, x, x),
        (2, 3, 8),
        {"lora_a": (8, 2), "lora_b": (2, 8)},
    ),
    "GatedMLP": Case(lambda x: ps.GatedMLP(4)(x), (2, 4), {"lora_a": (4, 2), "lora_b": (2, 4)}),
    "LSTM": Case(lambda x: _steps(ps.LSTM(3), x), (2, 4), {"lora_a": (7, 2), "lora_b": (2, 12)}),
    "GRU": Case(
        lambda x: _steps(ps.GRU(3), x),
        (2, 4),
        {
            "w_i_lora_a": (4, 2),
            "w_i_lora_b": (2, 9),
            "w_h_lora_a": (3, 2),
            "w_h_lora_b": (2, 9),
        },
    ),
    "GRU-reset after": Case(
        lambda x: _steps(ps.GRU(3, reset_after=True), x),
        (2, 4),
        {
            "w_i_lora_a": (4, 2),
            "w_i_lora_b": (2, 9),
            "w_h_lora_a": (3, 2),
            "w_h_lora_b": (2, 9),
        },
    ),
    "Conv1DLSTM": Case(
        lambda x: _step(ps.Conv1DLSTM([6], output_channels=3, kernel_shape=3), x),
        (2, 6, 3),
        {"lora_a": (3, 3, 2), "lora_b": (2, 12)},
    ),
    "own": Case(lambda x: Own()(x), (2, 4), {"kernel_lora_a": (5, 2), "kernel_lora_b": (2, 4)}),
}

MODES = {name: run for name, run in EVERY_MODE.items() if name != "lift"} | {
    "jit": lambda layer, x: ps.jit(layer)(x)
}

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"alpha": 3.0},
    "rank_stabilized": {"alpha": 3.0, "rank_stabilized": True},
    "dora": {"alpha": 3.0, "dora": True},
    "adapter": {"alpha": 3.0, "adapter": "french"},
}


def network(case: Case, mode: str = "plain") -> Any:
    return ps.transform(lambda x: MODES[mode](case.layer, x))


def adapted(case: Case, mode: str = "plain", **options: Any) -> Any:
    def f(x: Any) -> Any:
        with ps.lora(2, **options):
            return MODES[mode](case.layer, x)

    return ps.transform(f)


def input_of(case: Case) -> Any:
    return jnp.asarray(np.random.RandomState(0).standard_normal(case.shape), jnp.float32)


def moved(params: Any) -> Any:
    """Everything away from where it began; biases too."""
    rng = np.random.RandomState(1)
    return jax.tree.map(lambda v: v + 0.3 * rng.standard_normal(v.shape).astype(v.dtype), params)


def merged(params: Any, options: dict[str, Any]) -> Any:
    return ps.merge_lora(params, **{k: v for k, v in options.items() if k != "dora"})


@pytest.mark.parametrize("name", CASES)
def test_names_and_shapes_and_nothing_changes_at_first(name):
    case = CASES[name]
    x = input_of(case)
    base, params = network(case).init(KEY, x), adapted(case).init(KEY, x)
    adapters, rest = ps.data_structures.partition(ps.surgery.of_lora(), params)
    assert jax.tree.structure(rest) == jax.tree.structure(base)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), rest, base))
    assert len(adapters) == sum("w" in v or len(v) != 1 or "b" not in v for v in base.values())
    added = next(iter(adapters.values()))
    assert {name: value.shape for name, value in added.items()} == case.added
    out = adapted(case).apply(params, None, x)
    np.testing.assert_allclose(out, network(case).apply(base, None, x), rtol=1e-6, atol=1e-6)


@pytest.mark.one_slow_in(2)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", CASES)
def test_merged_equals_unmerged(name, options):
    case = CASES[name]
    x, settings = input_of(case), OPTIONS[options]
    f = adapted(case, **settings)
    params = moved(f.init(KEY, x))
    out = f.apply(params, None, x)
    final = merged(params, settings)
    expected = network(case).apply(final, None, x)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    _, rest = ps.data_structures.partition(ps.surgery.of_lora(), params)
    assert jax.tree.structure(final) == jax.tree.structure(rest)
    assert not np.allclose(out, network(case).apply(rest, None, x), rtol=1e-2)
    np.testing.assert_allclose(jax.jit(f.apply)(params, None, x), out, rtol=1e-5, atol=1e-5)


@pytest.mark.one_slow_in(2)
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "plain"])
@pytest.mark.parametrize(
    "name",
    [
        name if name in ("GRU", "Conv2D") else pytest.param(name, marks=pytest.mark.slow)
        for name in CASES
    ],
)
def test_merged_equals_unmerged_in_each_mode(name, mode):
    case = CASES[name]
    x, settings = input_of(case), OPTIONS["dora" if mode in ("scan", "layer_stack") else "plain"]
    f, plain = adapted(case, mode, **settings), network(case, mode)
    params = moved(f.init(KEY, x))
    out = f.apply(params, None, x)
    expected = plain.apply(merged(params, settings), None, x)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    _, rest = ps.data_structures.partition(ps.surgery.of_lora(), f.init(KEY, x))
    # Within rounding: a body that is compiled as one rounds by what else is in it.
    base = plain.init(KEY, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), rest, base)


@pytest.mark.parametrize("name", ["GRU", "Conv2D", "Embed", "Linear"])
def test_gradients_are_those_of_the_merged_network(name):
    """By the chain rule: the gradient of a factor is that of the merged weight times the other."""
    case = CASES[name]
    x = input_of(case)
    f, plain = adapted(case), network(case)
    params = moved(f.init(KEY, x))
    grads = jax.grad(lambda p: jnp.sum(f.apply(p, None, x) ** 2))(params)
    of_weights = jax.grad(lambda p: jnp.sum(plain.apply(p, None, x) ** 2))(ps.merge_lora(params))
    for module, variables in of_weights.items():
        for weight, g in variables.items():
            before = "" if weight == "w" else f"{weight}_"
            if f"{before}lora_a" not in params[module]:
                continue
            a, b = (params[module][f"{before}lora_{part}"] for part in "ab")
            np.testing.assert_allclose(
                grads[module][f"{before}lora_a"], g @ b.T, rtol=1e-4, atol=1e-4
            )
            flat = g.reshape(-1, g.shape[-1])
            np.testing.assert_allclose(
                grads[module][f"{before}lora_b"],
                a.reshape(-1, a.shape[-1]).T @ flat,
                rtol=1e-4,
                atol=1e-4,
            )


def test_a_product_is_that_of_numpy():
    rng = np.random.RandomState(0)
    a, b = rng.standard_normal([3, 3, 4, 2]), rng.standard_normal([2, 5])
    split = split_of((3, 3, 4, 5), a.shape, b.shape, None)
    np.testing.assert_allclose(product(split, jnp.asarray(a), jnp.asarray(b)), a @ b, rtol=1e-5)
    a, b = rng.standard_normal([6, 1, 4, 2]), rng.standard_normal([1, 5, 4, 2])
    split = split_of((6, 5, 4), a.shape, b.shape, None)
    np.testing.assert_allclose(
        product(split, jnp.asarray(a), jnp.asarray(b)), (a * b).sum(-1), rtol=1e-5
    )
