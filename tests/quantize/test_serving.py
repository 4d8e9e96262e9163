"""Models with quantized params: in files, in views, under policies and other hooks."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

KEY = jax.random.key(0)
X = jax.random.normal(KEY, [4, 16])
INT32 = "preferred_element_type=int32"


def forward(x: Any) -> Any:
    x = ps.layer_stack(2)(lambda x: jnp.tanh(ps.Linear(16)(x)))(x)
    return ps.nets.MLP([8, 3])(x)


F = ps.transform(forward)
PARAMS = F.init(KEY, X)


def same(a: Any, b: Any) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("dtype", ["int8", "int4", "float8_e4m3fn"])
def test_a_file_holds_quantized_params(tmp_path: Path, dtype: str) -> None:
    small = ps.quantize.weights(PARAMS, dtype)
    ps.checkpoint.save_safetensors(tmp_path / "small.safetensors", small)
    into = jax.eval_shape(lambda: ps.quantize.weights(F.init(KEY, X), dtype))
    loaded = ps.checkpoint.load_safetensors(tmp_path / "small.safetensors", into=into)
    assert jax.tree.structure(loaded) == jax.tree.structure(small)
    assert same(loaded, small)
    size = (tmp_path / "small.safetensors").stat().st_size
    assert size < ps.quantize.bytes_of(small) + 2500  # int4 is two to a byte, and there are names
    with ps.quantize.serving():
        assert np.array_equal(F.apply(loaded, None, X), F.apply(small, None, X))


def test_a_bound_model_and_its_methods() -> None:
    class Net(ps.Module):
        def __call__(self, x: Any) -> Any:
            return ps.Linear(3)(x)

    f = ps.transform_with_state(lambda x: Net()(x))
    params, state = f.init(KEY, X)
    small = ps.quantize.weights(params)
    model = ps.bind(f, small, state)
    with ps.quantize.serving("int8"):
        assert np.allclose(model(X), f.apply(params, state, None, X)[0], atol=0.05)


def test_a_policy_casts_and_the_values_are_still_known() -> None:
    class Half(ps.Linear):
        pass

    f = ps.transform(lambda x: Half(3)(x))
    params = f.init(KEY, X)
    small = ps.quantize.weights(params)
    policy = ps.mixed_precision.get_named_policy("params=float32,compute=bfloat16,output=float32")
    with ps.mixed_precision.push_policy(Half, policy), ps.quantize.serving("int8"):
        program = str(jax.make_jaxpr(lambda p: f.apply(p, None, X))(small))
        out = f.apply(small, None, X)
    assert INT32 in program
    assert out.dtype == jnp.float32
    assert np.allclose(out, f.apply(params, None, X), atol=0.05)


def test_a_weight_that_a_getter_changes_is_not_the_stored_one() -> None:
    f = ps.transform(lambda x: ps.Linear(3, with_bias=False)(x))
    small = ps.quantize.weights(f.init(KEY, X))

    def twice(next_getter: Any, value: Any, context: Any) -> Any:
        return next_getter(2 * value)

    def g(x: Any) -> Any:
        with ps.custom_getter(twice):
            return ps.Linear(3, with_bias=False)(x)

    with ps.quantize.serving("int8"):
        out = ps.transform(g).apply(small, None, X)
    assert np.allclose(out, 2 * f.apply(small, None, X), rtol=1e-5, atol=1e-6)


def test_other_uses_of_a_weight_are_right() -> None:
    def f(x: Any) -> Any:
        w = ps.get_parameter("w", [16, 3], init=ps.initializers.RandomNormal())
        return ps.ops.dot_general(x, w) + jnp.sum(w**2) + ps.ops.dot_general(x, w * 2)

    g = ps.transform(f)
    small = ps.quantize.weights(g.init(KEY, X))
    w = np.asarray(small["~"]["w"].dequantize(), np.float64)
    with ps.quantize.serving():
        assert np.allclose(
            g.apply(small, None, X), 3 * (X @ w) + (w**2).sum(), rtol=1e-4, atol=1e-5
        )


def test_a_tied_embedding_is_looked_up_and_multiplied() -> None:
    ids = jnp.array([[0, 3, 2]])

    def f(ids: Any) -> Any:
        embed = ps.Embed(5, 8)
        return embed.attend(embed(ids))

    g = ps.transform(f)
    params = g.init(KEY, ids)
    small = ps.quantize.weights(params)
    table = np.asarray(small["embed"]["embeddings"].dequantize(), np.float64)
    with ps.quantize.serving():
        assert np.allclose(g.apply(small, None, ids), table[ids] @ table.T, rtol=1e-5, atol=1e-5)
    with ps.quantize.serving("int8"):
        assert INT32 in str(jax.make_jaxpr(lambda p: g.apply(p, None, ids))(small))


def test_lora_on_a_quantized_model_trains() -> None:
    f = ps.transform(lambda x: ps.Linear(3)(x))
    small = ps.quantize.weights(f.init(KEY, X), "int4", per=8)

    def adapted(x: Any) -> Any:
        with ps.lora(2):
            return ps.Linear(3)(x)

    g = ps.transform(adapted)
    bundle = g.init(KEY, X)["linear"]
    extra = {name: bundle[name] for name in ("lora_a", "lora_b")}

    def loss(extra: Any) -> Any:
        return jnp.sum(g.apply({"linear": {**small["linear"], **extra}}, None, X) ** 2)

    for block in (ps.quantize.serving(), ps.quantize.serving("int8")):
        with block:
            gradient = jax.jit(jax.grad(loss))(extra)
            assert np.abs(gradient["lora_b"]).max() > 0
            assert np.allclose(
                g.apply({"linear": {**small["linear"], **extra}}, None, X),
                f.apply(small, None, X),
                atol=1e-6,
            )


def test_members_of_an_ensemble() -> None:
    f = ps.transform(
        lambda x: ps.vmap(lambda x: ps.Linear(3)(x), in_axes=None, axis_size=2, split_rng=True,
                          collections={"params": 0})(x)
    )  # fmt: skip
    params = f.init(KEY, X)
    small = ps.quantize.weights(params, axes={"*/w": (1,)})
    assert small["linear"]["w"].scales.shape == (2, 1, 3)
    with ps.quantize.serving("int8"):
        assert np.allclose(f.apply(small, None, X), f.apply(params, None, X), atol=0.05)
        assert INT32 in str(jax.make_jaxpr(lambda p: f.apply(p, None, X))(small))
    over = jax.vmap(lambda p: ps.transform(lambda x: ps.Linear(3)(x)).apply(p, None, X))(small)
    assert np.allclose(over, f.apply(params, None, X), atol=0.05)


def test_blocks_with_the_same_options_are_traced_once() -> None:
    traces: list[None] = []

    def f(x: Any) -> Any:
        traces.append(None)
        return ps.Linear(3)(x)

    g = ps.transform(f)
    small = ps.quantize.weights(g.init(KEY, X))
    apply = jax.jit(g.apply)
    traces.clear()
    for _ in range(3):
        with ps.quantize.serving("int8"):
            apply(small, None, X)
    assert len(traces) == 1
    with ps.quantize.serving():
        apply(small, None, X)
    apply(small, None, X)
    assert len(traces) == 3


def test_only_some_modules_quantize_their_input() -> None:
    small = ps.quantize.weights(PARAMS)
    with ps.quantize.serving("int8", only="mlp/*"):
        assert str(jax.make_jaxpr(lambda p: F.apply(p, None, X))(small)).count(INT32) == 2
    with ps.quantize.serving("int8"):
        assert str(jax.make_jaxpr(lambda p: F.apply(p, None, X))(small)).count(INT32) == 3


def test_the_block_inside_a_model() -> None:
    def inside(x: Any) -> Any:
        with ps.quantize.serving("int8"):
            return forward(x)

    small = ps.quantize.weights(PARAMS)
    with ps.quantize.serving("int8"):
        expected = F.apply(small, None, X)
    assert np.allclose(ps.transform(inside).apply(small, None, X), expected, atol=1e-6)


def test_dtypes_that_do_not_go_together() -> None:
    small = ps.quantize.weights(PARAMS, "float8_e4m3fn")
    with ps.quantize.serving("int8"):
        with pytest.raises(ps.errors.QuantizeError, match="activations='float8_e4m3fn'"):
            F.apply(small, None, X)


def test_the_shape_of_a_quantized_parameter_is_checked() -> None:
    small = ps.quantize.weights(ps.transform(lambda x: ps.Linear(3)(x)).init(KEY, X))
    with pytest.raises(ps.errors.ShapeMismatchError, match=r"\(16, 3\)"):
        ps.transform(lambda x: ps.Linear(5)(x)).apply(small, None, X)


def test_a_frozen_model_computes_with_its_values() -> None:
    small = ps.quantize.weights(PARAMS)
    with ps.freeze(), ps.quantize.serving("int8"):
        assert str(jax.make_jaxpr(lambda p: F.apply(p, None, X))(small)).count(INT32) == 3
