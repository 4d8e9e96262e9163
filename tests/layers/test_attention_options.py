"""Options of both attention layers against float64, and what they refuse."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._layers.errors import LayerError
from tests.layers.attention_reference import attention, float64, heads_of, linear, slope

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), [2, 6, 12])
Y = jax.random.normal(jax.random.key(2), [2, 4, 10])
INIT = ps.initializers.RandomNormal(0.5)
BIAS = jax.random.normal(jax.random.key(3), [1, 4, 6, 6])
IDS = jnp.array([[1, 1, 1, 2, 2, 0], [3, 3, 3, 3, 3, 3]])


def grouped(x: Any, call: Any = None, **options: Any) -> Any:
    return ps.GroupedQueryAttention(4, 8, 2, w_init=INIT, name="a", **options)(x, **(call or {}))


def multi_head(x: Any, call: Any = None, **options: Any) -> Any:
    return ps.MultiHeadAttention(4, 8, w_init=INIT, name="a", **options)(x, x, x, **(call or {}))


def normed(params: Any, name: str, x: Any, kind: Any) -> Any:
    if kind is None:
        return x
    x = x - (x.mean(-1, keepdims=True) if kind == "layer" else 0)
    eps = 1e-6 if callable(kind) else 1e-5
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * float64(params[name]["scale"])


def same_segment() -> Any:
    return np.asarray(IDS)[:, None, :, None] == np.asarray(IDS)[:, None, None, :]


def reference(
    layer: Any, params: Any, x: Any, *args: Any, qk_norm: Any = None, **kwargs: Any
) -> Any:
    q, k, v = (heads_of(params, f"a/{name}", x, 8) for name in ("query", "key", "value"))
    q, k = normed(params, "a/query_norm", q, qk_norm), normed(params, "a/key_norm", k, qk_norm)
    out = attention(q, k, v, *args, **kwargs)
    last = "a/linear" if layer is multi_head else "a/output"
    return linear(params, last, out.reshape(*out.shape[:2], -1))


def own_norm(name: str) -> Any:
    return ps.RMSNorm(-1, eps=1e-6, name=name)


CASES: dict[str, Any] = {
    "bias": ({}, {"bias": BIAS}, (BIAS,), {}),
    "segments": ({}, {"segment_ids": IDS}, (None, same_segment()), {}),
    "cap": (
        {"logits_soft_cap": 2.0},
        {"mask": ps.causal_mask(6)},
        (),
        {"cap": 2.0, "is_causal": True},
    ),
    "rms": ({"qk_norm": "rms"}, {}, (), {"qk_norm": "rms"}),
    "layer": ({"qk_norm": "layer"}, {"bias": BIAS}, (BIAS,), {"qk_norm": "layer"}),
    "own norm": ({"qk_norm": own_norm}, {}, (), {"qk_norm": own_norm}),
    "all": (
        {"qk_norm": "rms", "logits_soft_cap": 1.0, "softmax_dtype": jnp.float32},
        {"mask": ps.causal_mask(6), "bias": BIAS, "segment_ids": IDS},
        (BIAS, same_segment()),
        {"qk_norm": "rms", "cap": 1.0, "is_causal": True},
    ),
}


@pytest.mark.parametrize("layer", [multi_head, grouped])
@pytest.mark.parametrize("case", CASES)
def test_against_float64(layer: Any, case: str) -> None:
    options, call, args, kwargs = CASES[case]
    f = ps.transform(lambda x: layer(x, call, **options))
    params = f.init(KEY, X)
    norms = {path for path in params if path.endswith("_norm")}
    assert norms == ({"a/query_norm", "a/key_norm"} if "qk_norm" in options else set())
    for path in norms:
        assert jax.tree.map(jnp.shape, params[path]) == {"scale": (8,)}
        params[path]["scale"] = jnp.linspace(0.5, 1.5, 8)
    apply = jax.jit(f.apply)
    expected = reference(layer, params, X, *args, **kwargs)
    np.testing.assert_allclose(apply(params, None, X), expected, rtol=1e-3, atol=1e-4)
    grad = jax.jit(jax.grad(lambda x: jnp.sin(f.apply(params, None, x)).sum()))(X)
    direction = jnp.cos(jnp.arange(X.size)).reshape(X.shape)
    by_differences = slope(
        lambda x: np.sin(reference(layer, params, x, *args, **kwargs)).sum(), (X,), (direction,)
    )
    np.testing.assert_allclose((grad * direction).sum(), by_differences, rtol=2e-3, atol=2e-3)


def test_packed_sequences_are_those_apart() -> None:
    f = ps.transform(lambda x, ids=None: grouped(x, {"segment_ids": ids, "is_causal": True}))
    params = f.init(KEY, X)
    packed = f.apply(params, None, X, IDS)
    np.testing.assert_allclose(
        packed[:1, :3], f.apply(params, None, X[:1, :3]), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        packed[:1, 3:5], f.apply(params, None, X[:1, 3:5]), rtol=1e-4, atol=1e-5
    )
    flat = f.apply(params, None, X[0], IDS[0])
    np.testing.assert_allclose(flat, packed[0], rtol=1e-4, atol=1e-5)


def test_segment_mask() -> None:
    mask = ps.segment_mask(IDS, jnp.array([[1, 2], [3, 0]]))
    assert mask.shape == (2, 1, 6, 2)
    assert mask[0, 0, :, 0].tolist() == [True, True, True, False, False, False]
    assert not mask[1, 0, :, 1].any()
    np.testing.assert_array_equal(ps.segment_mask(IDS), same_segment())
    assert ps.segment_mask(IDS[0]).shape == (1, 1, 6, 6)


@pytest.mark.parametrize("layer", [multi_head, grouped])
def test_dropout_is_switched_by_the_call(layer: Any) -> None:
    training = ps.transform(lambda x, t: layer(x, {"is_training": t}, dropout_rate=0.5))
    plain = ps.transform(layer)
    params = training.init(KEY, X, False)
    calm = training.apply(params, None, X, False)
    np.testing.assert_array_equal(calm, plain.apply(params, None, X))
    text = str(jax.make_jaxpr(lambda p: training.apply(p, None, X, False))(params))
    assert text == str(jax.make_jaxpr(lambda p: plain.apply(p, None, X))(params))
    one, other = (training.apply(params, {"dropout": jax.random.key(i)}, X, True) for i in range(2))
    assert jnp.abs(one - other).max() > 1e-3
    with pytest.raises(ps.errors.MissingRNGError):
        training.apply(params, None, X, True)
    many = jax.vmap(lambda key: training.apply(params, key, X, True))(jax.random.split(KEY, 4000))
    np.testing.assert_allclose(many.mean(0), calm, atol=0.15 * float(many.std(0).max()))
    with pytest.raises(LayerError, match="is_training is traced"):
        jax.jit(lambda t: training.apply(params, KEY, X, t))(True)


@pytest.mark.parametrize("layer", [multi_head, grouped])
def test_options_that_say_nothing_change_nothing(layer: Any) -> None:
    nothing = {
        "logits_soft_cap": None,
        "dropout_rate": 0.0,
        "qk_norm": None,
        "implementation": None,
    }
    f, g = ps.transform(layer), ps.transform(lambda x: layer(x, {"bias": None}, **nothing))
    params = f.init(KEY, X)
    texts = [str(jax.make_jaxpr(h.apply)(params, None, X)) for h in (f, g)]
    assert texts[0] == texts[1]


def test_softmax_dtype_in_a_bfloat16_model() -> None:
    x = X.astype(jnp.bfloat16)
    params = ps.transform(multi_head).init(KEY, x)
    f = ps.transform(lambda x: multi_head(x, softmax_dtype=jnp.float32))
    text = str(jax.make_jaxpr(f.apply)(params, None, x))
    assert "exp" in text
    lines = [line for line in text.splitlines() if " exp " in line]
    assert lines
    assert all("f32[" in line for line in lines)
    assert f.apply(params, None, x).dtype == jnp.bfloat16


@pytest.mark.parametrize("layer", [multi_head, grouped])
def test_with_strict_ranks_and_dtypes(layer: Any) -> None:
    options = {
        "logits_soft_cap": 2.0,
        "softmax_dtype": jnp.float32,
        "qk_norm": "rms",
        "dropout_rate": 0.5,
    }
    call = {"segment_ids": IDS, "bias": BIAS, "is_training": True}
    x = X.astype(jnp.bfloat16)
    f = ps.transform(lambda x: layer(x, call, **options))
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        params = f.init(KEY, x)
        assert f.apply(params, KEY, x).dtype == jnp.bfloat16
        out = ps.ops.dot_product_attention(
            *[X.reshape(2, 6, 3, 4)] * 3, is_causal=True, window=2, logits_soft_cap=1.0
        )
    assert out.shape == (2, 6, 3, 4)


def test_scale() -> None:
    scale = ps.yarn_scale(8, 4.0)
    f = ps.transform(lambda x: grouped(x, scale=scale))
    params = f.init(KEY, X)
    expected = reference(grouped, params, X, scale=(0.1 * np.log(4) + 1) ** 2 / np.sqrt(8))
    np.testing.assert_allclose(f.apply(params, None, X), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layer, options, match", [
    (multi_head, {"logits_soft_cap": -1.0}, "logits_soft_cap"),
    (multi_head, {"dropout_rate": 1}, "dropout_rate"),
    (multi_head, {"dropout_rate": jnp.ones([])}, "a Python number"),
    (multi_head, {"implementation": "flash"}, "got 'flash'"),
    (multi_head, {"qk_norm": "none"}, "qk_norm"),
])  # fmt: skip
def test_options_that_do_not_fit(layer: Any, options: Any, match: str) -> None:
    with pytest.raises(LayerError, match=f"MultiHeadAttention 'a'.*{match}"):
        ps.transform(lambda x: layer(x, **options)).init(KEY, X)


@pytest.mark.parametrize("call, match", [
    ({"bias": jnp.ones([6, 6])}, "a bias of"),
    ({"bias": "none"}, "an array as its bias"),
    ({"segment_ids": IDS[:, :5]}, r"shape \(2, 5\)"),
    ({"segment_ids": IDS * 1.0}, "float32"),
    ({"segment_ids": 3}, "segment_ids"),
])  # fmt: skip
@pytest.mark.parametrize("layer", [multi_head, grouped])
def test_inputs_that_do_not_fit(layer: Any, call: Any, match: str) -> None:
    with pytest.raises(LayerError, match=match):
        jax.eval_shape(ps.transform(lambda x: layer(x, call)).init, KEY, X)


@pytest.mark.parametrize("ids", [(1,), (jnp.ones(3),), (IDS, IDS[0])])
def test_segment_masks_that_do_not_fit(ids: Any) -> None:
    with pytest.raises(LayerError, match="segment_mask: ids are integers"):
        ps.segment_mask(*ids)
