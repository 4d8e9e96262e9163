"""Other implementations of attention: by name, by function, by layer, by path; and why one falls back."""

import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._ops.attention import dot_product_attention, scaled_attention
from tests.layers.attention_reference import attention, slope

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 4)
X = jax.random.normal(KEYS[0], [2, 16, 12])
INIT = ps.initializers.RandomNormal(0.5)
FLASH = ps.ops.PallasAttention("gpu", interpret=True, block_size=16)


def operands(groups: int = 2, length: int = 64) -> Any:
    q = jax.random.normal(KEYS[1], [2, length, 4, 8])
    k = jax.random.normal(KEYS[2], [2, length, groups, 8])
    v = jax.random.normal(KEYS[3], [2, length, groups, 8])
    return q, k, v


@pytest.mark.parametrize("groups, is_causal, scale, length, block", [
    (2, True, None, 64, 32),
    (4, False, None, 48, 128),
    pytest.param(1, False, 0.7, 64, 16, marks=pytest.mark.slow),
    pytest.param(4, True, None, 96, 128, marks=pytest.mark.slow),
    pytest.param(2, True, 0.2, 256, 128, marks=pytest.mark.slow),
])  # fmt: skip
def test_pallas_against_float64(
    groups: int, is_causal: bool, scale: Any, length: int, block: int
) -> None:
    q, k, v = operands(groups, length)
    flash = ps.ops.PallasAttention("gpu", interpret=True, block_size=block)
    run = lambda *a: dot_product_attention(
        *a, scale=scale, is_causal=is_causal, implementation=flash
    )
    assert "pallas_call" in str(jax.make_jaxpr(run)(q, k, v))
    options = {"scale": scale, "is_causal": is_causal}
    np.testing.assert_allclose(
        jax.jit(run)(q, k, v), attention(q, k, v, **options), rtol=1e-4, atol=1e-5
    )
    grads = jax.jit(jax.grad(lambda *a: jnp.sin(run(*a)).sum(), (0, 1, 2)))(q, k, v)
    directions = [jnp.cos(jnp.arange(x.size)).reshape(x.shape) for x in (q, k, v)]
    found = sum(float((g * d).sum()) for g, d in zip(grads, directions, strict=True))
    by_differences = slope(lambda *a: np.sin(attention(*a, **options)).sum(), (q, k, v), directions)
    np.testing.assert_allclose(found, by_differences, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
def test_pallas_for_tpus_against_float64(masked: bool) -> None:
    from jax.experimental.pallas import tpu as pltpu

    q, k, v = (x[:1, :, :2] for x in operands(2, 128))
    mask = ps.padding_mask(jnp.array([100]), 128) if masked else None
    flash = ps.ops.PallasAttention("tpu", interpret=True)
    options = {"is_causal": True, "window": 50 if masked else None}
    run = lambda *a: dot_product_attention(*a, None, mask, implementation=flash, **options)
    with pltpu.force_tpu_interpret_mode():
        out = jax.jit(run)(q, k, v)
    expected = attention(q, k, v, None, mask, **options)
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-4)


def own(
    query: Any,
    key: Any,
    value: Any,
    bias: Any,
    mask: Any,
    *,
    scale: Any,
    is_causal: Any,
    window: Any = None,
    logits_soft_cap: Any = None,
) -> Any:
    """A user's kernel, in plain einsums."""
    repeats = query.shape[2] // key.shape[2]
    logits = scale * jnp.einsum("bthk,bshk->bhts", query, jnp.repeat(key, repeats, 2))
    if logits_soft_cap is not None:
        logits = logits_soft_cap * jnp.tanh(logits / logits_soft_cap)
    if bias is not None:
        logits += bias
    seen = jnp.ones(logits.shape[-2:], bool)
    seen = jnp.tril(seen) if is_causal else seen
    if window is not None:
        seen &= jnp.triu(seen, 1 - window)
    seen = seen if mask is None else seen & mask
    weights = jax.nn.softmax(jnp.where(seen, logits, -1e30))
    return jnp.einsum("bhts,bshv->bthv", weights, jnp.repeat(value, repeats, 2))


def grouped(x: Any, call: Any = None, name: str = "a", **options: Any) -> Any:
    return ps.GroupedQueryAttention(4, 8, 2, w_init=INIT, name=name, **options)(x, **(call or {}))


def multi_head(x: Any, call: Any = None, name: str = "b", **options: Any) -> Any:
    options = {"value_size": 6, "model_size": 12, **options}
    return ps.MultiHeadAttention(4, 8, w_init=INIT, name=name, **options)(x, x, x, **(call or {}))


BIAS = jax.random.normal(KEY, [1, 4, 16, 16])
CALLS: list[Any] = [
    (grouped, {}, {"is_causal": True}),
    (grouped, {"window": 3, "logits_soft_cap": 2.0}, {"bias": BIAS}),
    (grouped, {"cache_size": 20}, {}),
    (multi_head, {}, {}),
    (multi_head, {"logits_soft_cap": 2.0}, {"mask": ps.causal_mask(16), "bias": BIAS}),
    (multi_head, {}, {"mask": ps.causal_mask(16).astype(jnp.float32)}),
]


@pytest.mark.parametrize("layer, options, call", CALLS)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_users_function(layer: Any, options: Any, call: Any, compiled: bool) -> None:
    pair = lambda **more: ps.transform_with_state(lambda x: layer(x, call, **options, **more))
    f, g = pair(), pair(implementation=own)
    params, state = f.init(KEY, X)
    wrap = jax.jit if compiled else lambda f: f
    expected = wrap(f.apply)(params, state, None, X)[0]
    np.testing.assert_allclose(
        wrap(g.apply)(params, state, None, X)[0], expected, rtol=1e-4, atol=1e-4
    )
    loss = lambda h: lambda p: jnp.sin(h.apply(p, state, None, X)[0]).sum()
    grads = [wrap(jax.grad(loss(h)))(params) for h in (f, g)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3), *grads)


def test_a_function_of_several_batch_axes() -> None:
    shapes: list[Any] = []

    def recorded(*args: Any, **options: Any) -> Any:
        shapes.append([None if a is None else a.shape for a in args])
        return own(*args, **options)

    x = X.reshape(2, 2, 8, 12)
    f = lambda implementation: ps.transform(
        lambda x: multi_head(x, {"mask": jnp.tril(jnp.ones([2, 1, 1, 8, 8], bool))},
                             implementation=implementation)
    )  # fmt: skip
    params = f(None).init(KEY, x)
    out = f(recorded).apply(params, None, x)
    assert shapes == [[(4, 8, 4, 8), (4, 8, 4, 8), (4, 8, 4, 6), None, (4, 1, 8, 8)]]
    np.testing.assert_allclose(out, f(None).apply(params, None, x), rtol=1e-4, atol=1e-4)
    flat = ps.transform(lambda x: multi_head(x, implementation=recorded))
    assert flat.apply(params, None, x[0, 0]).shape == (8, 12)
    assert shapes[1][0] == (1, 8, 4, 8)


def model(x: Any) -> Any:
    with ps.name_scope("encoder"):
        x = multi_head(x, value_size=8)
    with ps.name_scope("decoder"):
        x = grouped(x)
        return grouped(x, name="c", implementation="xla")


def test_of_a_whole_model_and_by_path() -> None:
    f = ps.transform(model)
    params = f.init(KEY, X)
    plain = jax.jit(f.apply)(params, None, X)
    seen: list[Any] = []

    def recorded(*args: Any, **options: Any) -> Any:
        seen.append(options)
        return own(*args, **options)

    apply = jax.jit(f.apply)
    with ps.intercept_ops(ps.ops.attention_implementation(recorded)):
        out = apply(params, None, X)
    assert len(seen) == 2  # the third has an implementation of its own
    np.testing.assert_allclose(out, plain, rtol=1e-3, atol=1e-3)
    with ps.intercept_ops(ps.ops.attention_implementation(recorded)):
        apply(params, None, X)
    assert len(seen) == 2  # equal hooks: nothing is traced again
    in_encoder = lambda context: context.path.startswith("encoder/")
    with ps.intercept_ops(ps.ops.attention_implementation(recorded, when=in_encoder)):
        out = apply(params, None, X)
    assert len(seen) == 3
    np.testing.assert_allclose(out, plain, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_flash_in_layers_that_are_stacked_and_rematerialized() -> None:
    block = lambda x: grouped(x, {"is_causal": True})
    f = ps.transform(lambda x: ps.layer_stack(2)(ps.remat(block))(x))
    params = f.init(KEY, X)
    loss = lambda p: jnp.square(f.apply(p, None, X)).mean()
    plain = jax.jit(jax.value_and_grad(loss))(params)
    with ps.intercept_ops(ps.ops.attention_implementation(FLASH)):
        jaxpr = str(jax.make_jaxpr(jax.grad(loss))(params))
        flash = jax.jit(jax.value_and_grad(loss))(params)
    assert "pallas_call" in jaxpr
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            a, b, rtol=1e-3, atol=1e-4 * float(jnp.abs(a).max())
        ),
        plain,
        flash,
    )


MASK = ps.causal_mask(64)
FALLBACKS: list[Any] = [
    ("pallas", {}, "platform is 'cpu'"),
    ("cudnn", {}, "needs a GPU, and the platform is 'cpu'"),
    (ps.ops.PallasAttention("gpu"), {}, "its kernel is for 'gpu', and the platform is 'cpu'"),
    (FLASH, {"mask": MASK}, "no mask and no bias"),
    (FLASH, {"window": 3, "is_causal": True}, "no window"),
    (FLASH, {"logits_soft_cap": 3.0}, "no logits_soft_cap"),
    (FLASH, {"dropout_key": KEY, "dropout_rate": 0.5}, "no dropout"),
    (ps.ops.PallasAttention("tpu", interpret=True), {}, "divisible by 128, not 64"),
]


@pytest.mark.parametrize("implementation, options, reason", FALLBACKS)
def test_falling_back_says_why(implementation: Any, options: Any, reason: str) -> None:
    q, k, v = operands()
    expected = dot_product_attention(q, k, v, **options)
    with pytest.warns(ps.errors.AttentionFallbackWarning, match=reason):
        out = dot_product_attention(q, k, v, implementation=implementation, **options)
    np.testing.assert_array_equal(out, expected)


def test_falling_back_by_shape() -> None:
    q, k, v = operands()
    for args, options, reason in [
        ((q[:, :10], k, v), {}, "blocks of at least 16"),
        ((q[:, :32], k, v), {"is_causal": True}, "as many keys as queries, not 64 and 32"),
        ((q, k, v.astype(jnp.bfloat16)), {}, "of one dtype"),
    ]:
        with pytest.warns(ps.errors.AttentionFallbackWarning, match=reason):
            scaled = jax.eval_shape(
                lambda *a: scaled_attention(*a, None, None, None, implementation=FLASH, **options),  # noqa: B023
                args[0], jnp.repeat(args[1], 2, 2), jnp.repeat(args[2], 2, 2),
            )  # fmt: skip
        assert scaled.shape == args[0].shape
    heads = jnp.repeat(k, 2, 2), jnp.repeat(v, 2, 2)[..., :4]
    with pytest.warns(ps.errors.AttentionFallbackWarning, match="values of the size of the keys"):
        scaled_attention(q, *heads, None, None, None, implementation=FLASH)


def test_tokamax_is_given_what_it_takes(monkeypatch: Any) -> None:
    def theirs(query: Any, key: Any, value: Any, bias: Any, mask: Any, *, scale: Any, is_causal: Any,
               local_window_size: Any, logits_soft_cap: Any) -> Any:  # fmt: skip
        assert local_window_size in (None, (2, 0))
        window = None if local_window_size is None else local_window_size[0] + 1
        return own(query, key, value, bias, mask, scale=scale, is_causal=is_causal, window=window,
                   logits_soft_cap=logits_soft_cap)  # fmt: skip

    package: Any = types.ModuleType("tokamax")
    package.dot_product_attention = theirs
    monkeypatch.setitem(sys.modules, "tokamax", package)
    q, k, v = operands()
    for options in ({"is_causal": True, "window": 3, "logits_soft_cap": 2.0}, {"mask": MASK}):
        out = dot_product_attention(q, k, v, implementation="tokamax", **options)
        expected = dot_product_attention(q, k, v, **options)
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    bias = jnp.ones([1, 1, 64, 64])
    with pytest.warns(ps.errors.AttentionFallbackWarning, match="bias before the cap"):
        dot_product_attention(q, k, v, bias, logits_soft_cap=2.0, implementation="tokamax")
    monkeypatch.setitem(sys.modules, "tokamax", None)
    with pytest.raises(ps.errors.MissingPackageError, match=r"pip install purestate\[tokamax\]"):
        dot_product_attention(q, k, v, implementation="tokamax")


def test_a_kernel_that_fails_falls_back(monkeypatch: Any) -> None:
    monkeypatch.setattr("purestate._ops.attention_kernels.platform", lambda: "gpu")
    q, k, v = (x.astype(jnp.bfloat16) for x in operands())
    with pytest.warns(ps.errors.AttentionFallbackWarning, match="cuDNN.*Error: "):
        out = dot_product_attention(q, k, v, implementation="cudnn")
    assert out.shape == q.shape


def test_what_does_not_fit() -> None:
    q, k, v = operands()
    with pytest.raises(ps.errors.OperationError, match="got 'fast'"):
        dot_product_attention(q, k, v, implementation="fast")
    short = lambda query, key, value, bias, mask: query
    with pytest.raises(ps.errors.OperationError, match="cannot be called.*scale=..."):
        dot_product_attention(q, k, v, implementation=short)
    with pytest.raises(ps.errors.OperationError, match=r"returned shape \(2, 64, 4\)"):
        dot_product_attention(q, k, v, implementation=lambda *a, **o: q[..., 0])
    for wrong in (None, "fast", 3):
        with pytest.raises(ps.errors.OperationError, match="attention_implementation"):
            ps.ops.attention_implementation(wrong)
