"""Pairs are named tuples: they are unpacked, replaced, and told apart by their class."""

import jax
import jax.numpy as jnp
import pytest

import purestate as ps


def f():
    return ps.get_parameter("w", [], init=jnp.ones)


def functions():
    return f, {"once": f, "twice": lambda: 2 * f()}


PAIRS = {
    "transform": (ps.transform(f), ps.Transformed),
    "transform_with_state": (ps.transform_with_state(f), ps.TransformedWithState),
    "multi_transform": (ps.multi_transform(functions), ps.MultiTransformed),
    "multi_transform_with_state": (
        ps.multi_transform_with_state(functions),
        ps.MultiTransformedWithState,
    ),
    "transform_with_collections": (ps.transform_with_collections(f), ps.TransformedWithCollections),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_is_a_named_tuple(name):
    pair, cls = PAIRS[name]
    init, apply = pair
    assert type(pair) is cls
    assert (pair.init, pair.apply) == (pair[0], pair[1]) == (init, apply)
    assert pair._fields == ("init", "apply")
    assert cls(init, apply) == pair
    assert pair._replace(init=None).apply is apply
    assert [isinstance(pair, other) for _, other in PAIRS.values()].count(True) == 1


@pytest.mark.parametrize("name", PAIRS)
def test_the_tree_of_functions_keeps_its_structure(name):
    pair, _ = PAIRS[name]
    leaves = jax.tree.leaves(pair)
    assert len(leaves) == (3 if "multi" in name else 2)
    assert all(callable(leaf) for leaf in leaves)


@pytest.mark.parametrize(
    "transform", [ps.transform, ps.transform_with_state, ps.transform_with_collections]
)
@pytest.mark.parametrize("call", [lambda f, x: f(x), lambda f, x: jax.grad(f)(x)])
def test_a_pair_that_is_called_says_what_to_call(transform, call):
    with pytest.raises(TypeError, match=r"cannot be called itself.*f\.init\(rng.*f\.apply\("):
        call(transform(lambda x: x), jnp.ones([]))
