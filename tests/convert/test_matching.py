"""Which layers are matched, how, and what is never guessed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.convert.helpers import INIT, KEY, array, equal

X = array(2, 4)


def linear(name: str, out: int, into: int, seed: int = 0) -> dict[str, np.ndarray]:
    return {f"{name}.weight": array(out, into, seed=seed), f"{name}.bias": array(out, seed=seed)}


def converted(f: Any, weights: Any, **kwargs: Any) -> Any:
    return ps.convert.from_torch(weights, ps.transform(f), KEY, X, check=False, **kwargs)


def how(report: Any) -> dict[str, tuple[str, str]]:
    return {units[0]: (paths[0], how) for units, paths, how in report.matches}


def mlp(x: Any) -> Any:
    for i, size in enumerate((4, 4, 3)):
        x = ps.Linear(size, name=f"layer_{i}")(x)
    return x


def test_in_order():
    weights = {**linear("a", 4, 4), **linear("c", 4, 4, 1), **linear("b", 3, 4)}
    params, state, report = converted(mlp, weights)
    assert how(report) == {
        "a": ("layer_0", "order"), "c": ("layer_1", "order"), "b": ("layer_2", "shape"),
    }  # fmt: skip
    np.testing.assert_array_equal(params["layer_1"]["w"], weights["c.weight"].T)
    assert state == {}


def test_another_order_is_not_guessed():
    weights = {**linear("b", 3, 4), **linear("a", 4, 4), **linear("c", 4, 4, 1)}
    with pytest.raises(
        ps.errors.ConversionError, match="'a', weight.*it fits 'layer_0', 'layer_1'"
    ):
        converted(mlp, weights)


def test_shapes_that_occur_once_need_no_order():
    f = lambda x: ps.Linear(3)(ps.Linear(5, name="first")(x))
    weights = {**linear("z", 3, 5), **linear("y", 5, 4)}
    assert how(converted(f, weights).report) == {"z": ("linear", "shape"), "y": ("first", "shape")}


def test_equal_names_count_before_the_order():
    weights = {**linear("layer_1", 4, 4), **linear("layer_0", 4, 4, 1), **linear("x", 3, 4)}
    report = converted(mlp, weights).report
    assert how(report)["layer_1"] == ("layer_1", "equal names")


def test_layers_of_two_kinds_with_one_shape_are_not_matched_in_order():
    def f(x: Any) -> Any:
        return ps.Linear(4, False)(ps.Embed(4, 4)(jnp.zeros([2], int)))

    weights = {"b.weight": array(4, 4), "a.weight": array(4, 4, seed=1)}
    with pytest.raises(ps.errors.ConversionError):
        converted(f, weights)
    names = {"b": "embed", "a": "linear"}
    assert converted(f, weights, names=names).report.counts() == "2 layers matched: 2 by `names`"


@pytest.mark.parametrize("numbered", [True, False])
def test_sorted_names_have_no_order(numbered: bool):
    names = ("fc.2", "fc.10", "fc.11") if numbered else ("fc_b", "fc_a", "fc_c")
    weights = {}
    for seed, (name, size) in enumerate(zip(names, (4, 4, 3), strict=True)):
        weights |= linear(name, size, 4, seed)
    weights = dict(sorted(weights.items()))
    if numbered:
        assert how(converted(mlp, weights).report)["fc.10"] == ("layer_1", "order")
    else:
        with pytest.raises(ps.errors.ConversionError, match="it fits"):
            converted(mlp, weights)


def test_wildcards_single_arrays_and_none():
    def f(x: Any) -> Any:
        with_scale = x * ps.get_parameter("scale", [4], init=jnp.ones)
        return mlp(with_scale)

    weights = {
        **linear("net.h.0.fc", 4, 4), **linear("net.h.1.fc", 4, 4, 1), **linear("net.h.2.fc", 3, 4),
        "net.gain": array(1, 4), "net.mask": array(3, 3),
    }  # fmt: skip
    names = {"net.h.*.fc": "layer_*", "net.gain": "~/scale", "net.mask": None}
    params, _, report = converted(f, weights, names=names)
    np.testing.assert_array_equal(params["~"]["scale"], weights["net.gain"][0])
    assert report.ignored == ("net.mask",)
    back = ps.convert.to_torch(params, ps.transform(f), KEY, X, like=weights, names=names)
    assert equal(back, weights)


def test_one_array_of_a_known_layer():
    f = lambda x: ps.Linear(3)(x)
    names = {"w": "linear/w", "c": "linear/b"}
    params = converted(f, {"w": array(4, 3), "c": array(3)}, names=names).params
    np.testing.assert_array_equal(params["linear"]["w"], array(4, 3))


def attention(x: Any) -> Any:
    return ps.MultiHeadAttention(2, 2, w_init=INIT)(x, x, x)


JOINED: Any = {
    "c_attn": tuple(f"multi_head_attention/{part}" for part in ("query", "key", "value")),
    "c_proj": "multi_head_attention/linear",
}


@pytest.mark.parametrize("transposed", [(), "c_attn"])
def test_joined_layers(transposed: Any):
    weights = {**linear("c_attn", 12, 4), **linear("c_proj", 4, 4, 1)}
    if transposed:
        weights["c_attn.weight"] = np.ascontiguousarray(weights["c_attn.weight"].T)
    params, _, _ = converted(attention, weights, names=JOINED, transposed=transposed)
    w = weights["c_attn.weight"] if transposed else weights["c_attn.weight"].T
    np.testing.assert_array_equal(params["multi_head_attention/key"]["w"], w[:, 4:8])
    np.testing.assert_array_equal(
        params["multi_head_attention/value"]["b"], weights["c_attn.bias"][8:]
    )
    back = ps.convert.to_torch(
        params, ps.transform(attention), KEY, X, like=weights, names=JOINED, transposed=transposed
    )
    assert equal(back, weights)


def test_layers_that_the_model_joins():
    weights = {**linear("q_proj", 4, 4), **linear("k_proj", 2, 4, 1)}
    f = lambda x: ps.Linear(6)(x)
    names = {("q_proj", "k_proj"): "linear"}
    params = converted(f, weights, names=names).params
    np.testing.assert_array_equal(params["linear"]["w"][:, 4:], weights["k_proj.weight"].T)
    back = ps.convert.to_torch(params, ps.transform(f), KEY, X, like=weights, names=names)
    assert equal(back, weights)


def tied(x: Any) -> Any:
    embed = ps.Embed(5, 4)
    return embed(jnp.zeros([2], int)) @ embed.embeddings.T


@pytest.mark.parametrize("shared", [True, False])
def test_tied_weights(shared: bool):
    table = array(5, 4)
    weights = {"wte.weight": table, "head.weight": table if shared else table.copy()}
    params, _, report = converted(tied, weights)
    assert report.tied == (("head", "wte"),)
    other = {"embed": {"embeddings": params["embed"]["embeddings"] + 1}}
    back = ps.convert.to_torch(other, ps.transform(tied), KEY, X, like=weights)
    np.testing.assert_array_equal(back["head.weight"], table + 1)
    two_names = {"wte": "embed", "head": "embed"}
    assert equal(converted(tied, weights, names=two_names).params, params)


def test_equal_constants_are_not_tied():
    weights = {"a.weight": np.ones(4, np.float32), "b.weight": np.ones(4, np.float32)}
    f = lambda x: ps.RMSNorm(-1)(x)
    with pytest.raises(ps.errors.ConversionError, match="it fits 'rms_norm'"):
        converted(f, weights)


def test_state_without_a_counterpart_has_its_initial_value():
    def f(x: Any) -> Any:
        ps.set_state("calls", ps.get_state("calls", [], init=ps.initializers.Constant(3)) + 1)
        return ps.Linear(3)(x)

    g = ps.transform_with_state(f)
    shapes = jax.ShapeDtypeStruct(X.shape, jnp.float32)
    _, state, report = ps.convert.from_torch(linear("fc", 3, 4), g, KEY, shapes, check=False)
    assert report.initial == ("calls",)
    assert equal(state, g.init(KEY, X)[1])
    assert "calls has its initial value" in str(report)


def test_collections():
    f = ps.transform_with_collections(lambda x: ps.BatchNorm(True, True, 0.9)(x, True))
    weights = {
        "weight": array(4), "bias": array(4), "running_mean": array(4), "running_var": array(4) ** 2,
        "num_batches_tracked": np.array(9),
    }  # fmt: skip
    converted = ps.convert.from_torch(weights, f, KEY, X, check=False)
    variables = {"params": converted.params, **converted.state}
    assert jax.tree.structure(variables) == jax.tree.structure(f.init(KEY, X))
    for given in (variables, converted):
        assert equal(ps.convert.to_torch(given, f, KEY, X, like=weights), weights)
    checked, _ = f.apply(variables, None, X, mutable=True)
    assert ps.convert.from_torch(weights, f, KEY, X, check=checked).report.verified


def test_haiku():
    f = ps.transform(mlp)
    params = f.init(KEY, X)
    found = ps.convert.from_haiku(params, f, KEY, X, check=lambda x: f.apply(params, None, x))
    assert equal(found.params, params)
    assert found.report.difference == 0
    assert ps.convert.to_haiku(params, f, KEY, X) is params
    with pytest.raises(ps.errors.ConversionError, match="layer_3"):
        ps.convert.from_haiku({**params, "layer_3": {"w": X}}, f, KEY, X, check=False)


def test_the_report_says_whether_it_was_verified():
    weights = {**linear("a", 4, 4), **linear("c", 4, 4, 1), **linear("b", 3, 4)}
    f = ps.transform(mlp)
    with pytest.warns(ps.errors.UnverifiedWarning, match="2 by the order of creation") as caught:
        report = ps.convert.from_torch(weights, f, KEY, X).report
    assert caught[0].filename == __file__
    assert not report.verified
    assert "not verified" in str(report)
    swapped = {**linear("c", 4, 4, 1), **linear("a", 4, 4), **linear("b", 3, 4)}
    outputs = f.apply(converted(mlp, swapped).params, None, X)
    with pytest.raises(ps.errors.ConversionError, match="differ by up to"):
        ps.convert.from_torch(weights, f, KEY, X, check=outputs)


@pytest.mark.parametrize("sizes", [(1,), (4, 4), (4, 1, 4, 1, 1), (2, 3, 2, 3)])
def test_from_torch_of_to_torch_is_the_same(sizes: tuple[int, ...]):
    def f(x: Any) -> Any:
        for size in sizes:
            x = ps.LayerNorm(-1, True, True)(ps.Linear(size)(x))
        return x

    like, into = {}, 4
    for i, size in enumerate(sizes):
        like |= linear(f"{i}.fc", size, into)
        like |= {f"{i}.norm.weight": array(size), f"{i}.norm.bias": array(size)}
        into = size
    g = ps.transform(f)
    params = g.init(KEY, X)
    there = ps.convert.to_torch(params, g, KEY, X, like=like)
    assert equal(ps.convert.from_torch(there, g, KEY, X, check=False).params, params)
