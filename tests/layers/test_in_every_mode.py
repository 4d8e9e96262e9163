"""Layers that dm-haiku does not have, crossed with transforms: each mode against the layer by itself."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.haiku_parity.table_layers import inputs_of
from tests.layers.every_layer import OWN

KEY = jax.random.key(0)
NAMES = (
    "parallel",
    "prelu",
    "scaler",
    "mixture_of_experts",
    "conv_local1d",
    "conv_local2d",
    "conv_local3d",
    "conv_local_nd",
)
ROWS = {row.name: row for row in OWN if row.name in NAMES}


def total(out: Any) -> Any:
    """All floats that a row returns, as one number."""
    leaves = [x for x in jax.tree.leaves(out) if jnp.issubdtype(x.dtype, jnp.floating)]
    return sum((jnp.sin(x).sum() for x in leaves), jnp.zeros([]))


def close(found: Any, expected: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), found, expected
    )


def with_gradients(f: Any, params: Any, x: Any) -> Any:
    return jax.jit(jax.value_and_grad(lambda p, x: total(f.apply(p, None, x)), (0, 1)))(params, x)


def jit(run: Callable[..., Any], x: Any) -> None:
    f = ps.transform(run)
    params = f.init(KEY, x)
    close(jax.jit(f.init)(KEY, x), params)
    close(jax.jit(f.apply)(params, None, x), f.apply(params, None, x))


def keys_by_path(run: Callable[..., Any], x: Any) -> None:
    def after_a_draw(x: Any) -> Any:
        ps.next_rng_key()
        return run(x)

    one, other = (ps.transform(f, rng_mode="path") for f in (run, after_a_draw))
    params = one.init(KEY, x)
    close(params, jax.jit(other.init)(KEY, x))
    plain = ps.transform(run)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, plain.init(KEY, x))
    close(one.apply(params, None, x), plain.apply(params, None, x))


def remat(run: Callable[..., Any], x: Any) -> None:
    plain, rematted = ps.transform(run), ps.transform(lambda x: ps.remat(run)(x))
    params = plain.init(KEY, x)
    close(jax.jit(rematted.init)(KEY, x), params)
    close(with_gradients(rematted, params, x), with_gradients(plain, params, x))


def vmap(run: Callable[..., Any], x: Any) -> None:
    many = jnp.stack([x, 2 * x, x - 1])
    plain = ps.transform(run)
    mapped = ps.transform(lambda xs: ps.vmap(run, split_rng=False)(xs))
    params = mapped.init(KEY, many)
    each = [plain.apply(params, None, one) for one in many]
    close(jax.jit(mapped.apply)(params, None, many), jax.tree.map(lambda *xs: jnp.stack(xs), *each))


def layer_stack(run: Callable[..., Any], x: Any) -> None:
    block = lambda x: x + jnp.tanh(total(run(x)))
    stacked = ps.transform(lambda x: ps.layer_stack(3)(block)(x))
    looped = ps.transform(lambda x: ps.layer_stack(3, unroll=3)(block)(x))
    params = stacked.init(KEY, x)
    single, out = ps.transform(block), x
    own = list(single.init(KEY, x))
    start = next(iter(params)).partition("/")[0] + "/"
    assert {leaf.shape[0] for leaf in jax.tree.leaves(params)} == {3}
    for i in range(3):
        one = {path: jax.tree.map(lambda p, i=i: p[i], params[start + path]) for path in own}
        out = single.apply(one, None, out)
    close(jax.jit(stacked.apply)(params, None, x), out)
    close(with_gradients(looped, params, x), with_gradients(stacked, params, x))


def scan(run: Callable[..., Any], x: Any) -> None:
    xs = jnp.stack([x, 2 * x, x - 1])

    def step(carry: Any, x: Any) -> Any:
        carry = carry + total(run(x))
        return carry, carry

    plain = ps.transform(run)
    scanned = ps.transform(lambda xs: ps.scan(step, jnp.zeros([]), xs)[1])
    params = scanned.init(KEY, xs)
    sums = jnp.cumsum(jnp.stack([total(plain.apply(params, None, x)) for x in xs]))
    close(jax.jit(scanned.apply)(params, None, xs), sums)


@pytest.mark.parametrize("mode", [jit, keys_by_path, remat, vmap, layer_stack, scan])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_layer_by_itself(name, mode):
    row = ROWS[name]
    (x,) = inputs_of(row, "float32")
    mode(lambda x: row.run(ps, x), x)
