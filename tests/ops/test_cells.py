"""Every operation of every layer, intercepted in every way, eagerly and in every transform."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

KEY = jax.random.key(0)
INIT = ps.initializers.VarianceScaling()


class Cell(NamedTuple):
    """An operation of a layer: how to call the layer, with what, and which parameters it takes."""

    op: str
    layer: Callable[[Any], Any]
    shape: tuple[int, ...]
    params: tuple[str, ...] = ()


def _step(core: Any, x: Any) -> Any:
    return core(x, core.initial_state(x.shape[0]))[0]


IDS = jnp.array([[0, 2], [1, 1]])

CELLS = {
    "dot_general-Linear": Cell("dot_general", lambda x: ps.Linear(3)(x), (2, 4), ("w",)),
    "dot_general-DenseGeneral": Cell(
        "dot_general", lambda x: ps.DenseGeneral([2, 3])(x), (2, 4), ("w",)
    ),
    "dot_general-Einsum": Cell(
        "dot_general", lambda x: ps.Einsum("bd,dhk->bhk", [4, 2, 3])(x), (2, 4), ("w",)
    ),
    "dot_general-projections": Cell(
        "dot_general",
        lambda x: ps.MultiHeadAttention(2, 4, w_init=INIT)(x, x, x),
        (2, 3, 4),
        ("w",),
    ),
    "dot_general-GroupedQueryAttention": Cell(
        "dot_general", lambda x: ps.GroupedQueryAttention(2, 4)(x), (2, 3, 4), ("w",)
    ),
    "dot_general-GatedMLP": Cell("dot_general", lambda x: ps.GatedMLP(5)(x), (2, 4), ("w",)),
    "dot_general-MLP": Cell("dot_general", lambda x: ps.nets.MLP([3, 2])(x), (2, 4), ("w",)),
    "dot_general-LSTM": Cell("dot_general", lambda x: _step(ps.LSTM(3), x), (2, 4), ("w",)),
    "dot_general-GRU": Cell("dot_general", lambda x: _step(ps.GRU(3), x), (2, 4), ("w_i",)),
    "dot_general-VanillaRNN": Cell(
        "dot_general", lambda x: _step(ps.VanillaRNN(3), x), (2, 4), ("w",)
    ),
    "dot_general-one_hot": Cell(
        "dot_general",
        lambda x: ps.Embed(4, 3, lookup_style="ONE_HOT")(IDS) * jnp.mean(x),
        (2, 4),
        ("embeddings",),
    ),
    "dot_general-attend": Cell(
        "dot_general", lambda x: ps.Embed(7, 4).attend(x), (2, 4), ("embeddings",)
    ),
    "conv_general_dilated-Conv1D": Cell(
        "conv_general_dilated", lambda x: ps.Conv1D(3, 3)(x), (2, 6, 4), ("w",)
    ),
    "conv_general_dilated-Conv2D": Cell(
        "conv_general_dilated", lambda x: ps.Conv2D(3, 3, stride=2)(x), (2, 6, 6, 4), ("w",)
    ),
    "conv_general_dilated-DepthwiseConv2D": Cell(
        "conv_general_dilated", lambda x: ps.DepthwiseConv2D(2, 3)(x), (2, 6, 6, 4), ("w",)
    ),
    "conv_general_dilated-Conv1DLSTM": Cell(
        "conv_general_dilated",
        lambda x: _step(ps.Conv1DLSTM([6], output_channels=3, kernel_shape=3), x),
        (2, 6, 4),
        ("w",),
    ),
    "conv_transpose-Conv2DTranspose": Cell(
        "conv_transpose", lambda x: ps.Conv2DTranspose(3, 3, stride=2)(x), (2, 4, 4, 3), ("w",)
    ),
    "dot_product_attention-MultiHeadAttention": Cell(
        "dot_product_attention",
        lambda x: ps.MultiHeadAttention(2, 4, w_init=INIT)(x, x, x),
        (2, 3, 4),
    ),
    "dot_product_attention-GroupedQueryAttention": Cell(
        "dot_product_attention",
        lambda x: ps.GroupedQueryAttention(4, 4, 2)(x, is_causal=True),
        (2, 3, 4),
    ),
    "embedding_lookup-Embed": Cell(
        "embedding_lookup", lambda x: ps.Embed(4, 3)(IDS) * jnp.mean(x), (2, 4), ("embeddings",)
    ),
    "normalize-LayerNorm": Cell(
        "normalize", lambda x: ps.LayerNorm(-1, True, True)(x), (2, 4), ("scale", "offset")
    ),
    "normalize-InstanceNorm": Cell(
        "normalize", lambda x: ps.InstanceNorm(True, True)(x), (2, 6, 4), ("scale", "offset")
    ),
    "normalize-GroupNorm": Cell(
        "normalize", lambda x: ps.GroupNorm(2)(x), (2, 6, 4), ("scale", "offset")
    ),
    "normalize-RMSNorm": Cell("normalize", lambda x: ps.RMSNorm(-1)(x), (2, 4), ("scale",)),
    "normalize-BatchNorm": Cell(
        "normalize", lambda x: ps.BatchNorm(True, True, 0.9)(x, True), (4, 3), ("scale", "offset")
    ),
    "moments-BatchNorm": Cell("moments", lambda x: ps.BatchNorm(True, True, 0.9)(x, True), (4, 3)),
}

MODES: dict[str, Callable[[Callable[[Any], Any], Any], Any]] = {
    "plain": lambda layer, x: layer(x),
    "remat": lambda layer, x: ps.remat(layer)(x),
    # Each example keeps moving averages of its own.
    "vmap": lambda layer, x: ps.vmap(layer, split_rng=False, collections={"batch_stats": 0})(
        jnp.stack([x, 2 * x])
    ),
    "scan": lambda layer, x: ps.scan(lambda c, x: (c, layer(x)), 0.0, jnp.stack([x, 2 * x]))[1],
    "layer_stack": lambda layer, x: ps.layer_stack(2)(
        lambda c: c + jnp.mean(layer(x + jnp.tanh(c)))
    )(jnp.zeros([])),
    "lift": lambda layer, x: _lifted(layer, x),
}


def _lifted(layer: Any, x: Any) -> Any:
    f = ps.transform_with_state(layer)
    params_and_state_fn, updater = ps.lift_with_state(f.init, name="inner")
    params, state = params_and_state_fn(ps.maybe_next_rng_key(), x)
    out, state = f.apply(params, state, None, x)
    updater.update(state)
    return out


class Intercepted:
    """Counts what it sees of one operation, and does one thing with it."""

    def __init__(self, cell: Cell, kind: str):
        self.cell, self.kind = cell, kind
        self.seen: list[set[str]] = []

    def __call__(self, next_op: Any, operands: Any, context: Any) -> Any:
        if context.op != self.cell.op:
            return next_op(*operands)
        self.seen.append(set(context.params))
        if self.kind == "observe":
            return next_op(*operands)
        if self.kind == "replace":
            out = next_op(*operands)
            return jax.tree.map(jnp.zeros_like, out)
        down = jax.tree.map(
            lambda leaf: (
                leaf.astype(jnp.bfloat16) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
            ),
            operands,
        )
        out = next_op(*down)
        return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), out)


def runs(f: Any, bundles: Any, x: Any) -> dict[str, Callable[[], Any]]:
    def loss(params: Any, state: Any, x: Any) -> Any:
        return jnp.sum(f.apply(params, state, KEY, x)[0] ** 2)

    return {
        "eager": lambda: f.apply(*bundles, KEY, x)[0],
        "jit": lambda: jax.jit(f.apply)(*bundles, KEY, x)[0],
        "grad": lambda: jax.grad(loss)(*bundles, x),
        "jit-grad": lambda: jax.jit(jax.grad(loss))(*bundles, x),
    }


def close(a: Any, b: Any, rtol: float) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.allclose(x, y, rtol=rtol, atol=rtol) for x, y in pairs)


def bundles_of(f: Any, x: Any) -> Any:
    params, state = f.init(KEY, x)
    # Zeros would hide what an interceptor does to a factor.
    return jax.tree.map(lambda leaf: leaf + 0.1, params), state


@pytest.mark.one_in(3)
@pytest.mark.one_slow_in(3)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CELLS)
def test_an_operation_is_intercepted_in_every_mode(name: str, mode: str) -> None:
    cell = CELLS[name]
    x = jnp.asarray(np.random.RandomState(0).standard_normal(cell.shape), jnp.float32)
    f = ps.transform_with_state(lambda x: MODES[mode](cell.layer, x))
    bundles = bundles_of(f, x)
    for how, run in runs(f, bundles, x).items():
        plain = run()
        for kind in ("observe", "replace", "lower"):
            hook = Intercepted(cell, kind)
            with ps.intercept_ops(hook):
                changed = run()
            assert hook.seen, (how, kind)
            assert any(set(cell.params) <= params for params in hook.seen), (how, kind, hook.seen)
            same = close(changed, plain, 1e-6)
            if kind == "observe":
                assert same, how
            elif kind == "replace":
                assert not same, how
            else:
                assert close(changed, plain, 0.2), how
        assert close(run(), plain, 1e-7), how  # the hook is gone, and compiled functions know


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", CELLS)
def test_a_half_precision_operation_is_not_the_same(name: str) -> None:
    cell = CELLS[name]
    x = jnp.asarray(np.random.RandomState(0).standard_normal(cell.shape), jnp.float32)
    f = ps.transform_with_state(lambda x: cell.layer(x))
    bundles = bundles_of(f, x)
    plain = f.apply(*bundles, KEY, x)[0]
    with ps.intercept_ops(Intercepted(cell, "lower")):
        lower = f.apply(*bundles, KEY, x)[0]
    assert not np.array_equal(plain, lower)
    assert lower.dtype == jnp.float32
