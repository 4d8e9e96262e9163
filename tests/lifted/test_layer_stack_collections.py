"""`layer_stack` with collections, with what is sown, and layer by layer: against a loop over modules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jax.random.normal(jax.random.key(1), [4, 3])


class Block(ps.Module):
    def __call__(self, x, is_training=True):
        ps.sow("input", x)
        ps.sow("norm", (x**2).sum(), "losses", reduce=jnp.add)
        x = ps.BatchNorm(True, True, 0.9)(jnp.tanh(ps.Linear(3)(x)), is_training)
        return x


def loop(x):
    for i in range(3):
        x = Block(name=f"block_{i}")(x)
    return x


def stack(x, is_training=True):
    return ps.layer_stack(3, layers="block_{}")(lambda x: Block(name="block")(x, is_training))(x)


def stacked(x, is_training=True):
    return ps.layer_stack(3, name="blocks")(lambda x: Block(name="block")(x, is_training))(x)


def close(a, b):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), a, b)


@pytest.mark.slow
def test_layer_by_layer_is_as_a_loop():
    f, g = ps.transform_with_state(loop), ps.transform_with_state(stack)
    params, state = f.init(jax.random.key(0), X)
    ours = g.init(jax.random.key(0), X)
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, (params, state))
    close(g.apply(params, state, None, X), f.apply(params, state, None, X))
    loss = lambda f: lambda params: (f.apply(params, state, None, X)[0] ** 3).sum()
    close(jax.grad(loss(g))(params), jax.grad(loss(f))(params))


def test_stacked_and_layer_by_layer_load_each_other():
    f, g = ps.transform_with_state(stack), ps.transform_with_state(stacked)
    params, state = f.init(jax.random.key(0), X)
    as_stack = [ps.stack_layers(tree, "block_{}", "blocks/block") for tree in (params, state)]
    assert jax.tree.map(jnp.shape, tuple(as_stack)) == jax.tree.map(
        jnp.shape, g.init(jax.random.key(0), X)
    )
    out, new_state = g.apply(*as_stack, None, X)
    close(
        (out, ps.unstack_layers(new_state, "block_{}", "blocks/block")),
        f.apply(params, state, None, X),
    )


@pytest.mark.parametrize("f", [stack, stacked])
def test_collections_are_kept(f):
    g = ps.transform_with_collections(f)
    variables = g.init(jax.random.key(0), X)
    assert set(variables) == {"params", "batch_stats"}
    out, updated = g.apply(variables, None, X, mutable=["batch_stats"])
    assert jax.tree.map(jnp.shape, updated["batch_stats"]) == jax.tree.map(
        jnp.shape, variables["batch_stats"]
    )
    g.apply({**variables, **updated}, None, X, False)  # reads what cannot change
    with pytest.raises(ps.errors.ImmutableCollectionError, match="'batch_stats'"):
        g.apply(variables, None, X)
    specs = ps.specs(g)(jax.random.key(0), X)
    assert jax.tree.structure(
        specs, is_leaf=lambda x: isinstance(x, ps.Spec)
    ) == jax.tree.structure(variables)


def test_what_is_sown_is_stacked():
    f = ps.transform_with_collections(loop)
    variables = f.init(jax.random.key(0), X)
    _, expected = f.apply(variables, None, X, mutable=True)
    g = ps.transform_with_collections(stacked)
    as_stack = {
        name: ps.stack_layers(tree, "block_{}", "blocks/block") for name, tree in variables.items()
    }
    _, updated = jax.jit(lambda v: g.apply(v, None, X, mutable=True))(as_stack)
    for i in range(3):
        (one,) = expected["intermediates"][f"block_{i}"]["input"]
        close(updated["intermediates"]["blocks/block"]["input"][0][i], one)
        close(
            updated["losses"]["blocks/block"]["norm"][i], expected["losses"][f"block_{i}"]["norm"]
        )


def test_captured_outputs_are_those_of_layers():
    f = ps.transform_with_state(stacked)
    params, state = f.init(jax.random.key(0), X)
    (_, found), _ = ps.capture_intermediates(f).apply(params, state, None, X)
    assert found["blocks/block/linear"]["__call__"][0].shape == (3, 4, 3)
    assert "blocks" not in found


@pytest.mark.parametrize("pattern", ["block", "block_{}_{}", "{}", "a/b_{}"])
def test_patterns(pattern):
    with pytest.raises(ps.errors.LoopError, match="pattern"):
        ps.transform(lambda x: ps.layer_stack(3, layers=pattern)(lambda x: x)(x)).init(None, X)


def test_everything_in_one_module():
    with pytest.raises(
        ps.errors.LoopError, match="one module called 'block', but it makes 'linear'"
    ):
        ps.transform(lambda x: ps.layer_stack(3, layers="block_{}")(ps.Linear(3))(x)).init(
            jax.random.key(0), X
        )
