"""Rules that quantize, train in float8, or choose an implementation are the blocks of that name, by path."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.rules.test_configured import KEY, MODES, X, gradients, two


@pytest.mark.parametrize("activations", [None, "int8"])
@pytest.mark.parametrize("jit", [False, True])
def test_quantize_is_serving_of_quantized_weights(activations: Any, jit: bool) -> None:
    plain = ps.transform(two)
    f = ps.transform(ps.configured(two, {"encoder": ps.rules.quantize("int8", activations)}))
    params = plain.init(KEY, X)
    jax.tree.map(np.testing.assert_array_equal, params, f.init(KEY, X))
    small = ps.quantize.weights(params, "int8", predicate="encoder/*")
    with ps.quantize.serving(activations):
        expected = plain.apply(small, None, X)
    run = jax.jit(f.apply) if jit else f.apply
    for given in (params, small):
        np.testing.assert_allclose(run(given, None, X), expected, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(expected, plain.apply(params, None, X))


@pytest.mark.one_in(4)
@pytest.mark.parametrize("mode", MODES)
def test_gradients_pass_through_the_rounding(mode: str) -> None:
    plain = ps.transform(MODES[mode])
    f = ps.transform(ps.configured(MODES[mode], {"**/first": ps.rules.quantize("int8")}))
    params = f.init(KEY, X)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0.3, atol=0.3),
        gradients(f, params),
        gradients(plain, params),
    )


def test_fp8_training_is_its_block() -> None:
    plain = ps.transform_with_state(two)
    f = ps.transform_with_state(ps.configured(two, {"**": ps.rules.fp8_training(history=4)}))
    params, state = f.init(KEY, X)
    with ps.quantize.fp8_training(history=4):
        expected_params, expected_state = plain.init(KEY, X)
        expected = plain.apply(params, state, None, X)
    jax.tree.map(np.testing.assert_array_equal, (params, state), (expected_params, expected_state))
    jax.tree.map(np.testing.assert_array_equal, f.apply(params, state, None, X), expected)
    assert state


def attend(x: Any) -> Any:
    x = x[None, :, :]
    return ps.GroupedQueryAttention(2, 4, name="a")(x) + ps.GroupedQueryAttention(2, 4, name="b")(x)


def kernel(
    query: Any, key: Any, value: Any, bias: Any, mask: Any, *, scale: Any, is_causal: Any
) -> Any:
    return 0 * query


def test_an_implementation_of_attention_by_path() -> None:
    plain = ps.transform(attend)
    params = plain.init(KEY, X)
    xla = ps.transform(ps.configured(attend, {"a": ps.rules.ops(attention="xla")}))
    np.testing.assert_allclose(
        xla.apply(params, None, X), plain.apply(params, None, X), rtol=1e-5, atol=1e-6
    )
    f = ps.transform(ps.configured(attend, {"a": ps.rules.ops(attention=kernel)}))
    only_b = ps.transform(lambda x: ps.GroupedQueryAttention(2, 4, name="b")(x[None, :, :]))
    expected = only_b.apply(params, None, X)
    np.testing.assert_allclose(f.apply(params, None, X), expected, rtol=1e-5, atol=1e-6)


def test_rules_of_products_are_data() -> None:
    rules = {"a": [ps.rules.quantize("int4", per=8), ps.rules.ops(attention="xla")]}
    assert ps.rules.from_data(ps.rules.to_data(rules)) == {"a": tuple(rules["a"])}
    assert repr(rules["a"][0]) == "ps.rules.quantize(weights='int4', per=8)"
    with pytest.raises(ValueError, match="has changed nothing"):
        ps.transform(
            ps.configured(
                lambda x: ps.LayerNorm(-1, True, True, name="a")(x), {"a": ps.rules.fp8_training()}
            )
        ).init(KEY, jnp.asarray(X))


@pytest.mark.parametrize("jit", [False, True])
def test_a_frozen_and_quantized_encoder_is_trained_by_lora(jit: bool) -> None:
    rules = {
        "encoder/**": [ps.rules.freeze(), ps.rules.lora(rank=2), ps.rules.quantize("int8", "int8")]
    }
    f = ps.transform(ps.configured(two, rules))
    params = f.init(KEY, X)
    grad = jax.jit(lambda p: gradients(f, p)) if jit else (lambda p: gradients(f, p))
    grads = grad(params)
    moved = {
        f"{path}/{name}"
        for path, bundle in grads.items()
        for name, leaf in bundle.items()
        if np.any(np.asarray(leaf) != 0)
    }
    assert moved == {"encoder/~/linear_0/lora_b", "encoder/~/linear_1/lora_b", "head/w", "head/b"}
    mask = ps.trainable_mask(ps.specs(f)(KEY, X))
    assert mask["encoder/~/linear_0"] == {"b": False, "lora_a": True, "lora_b": True, "w": False}
