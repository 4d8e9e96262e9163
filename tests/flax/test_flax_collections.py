"""Flat and nested dicts."""

import random
from typing import Any

import flax.core
import haiku as hk
import pytest

import purestate as ps
from purestate._flax.flax_collections import nest_haiku_to_flax
from purestate.experimental.flax import flatten_flax_to_haiku


def random_collection(draw: random.Random, depth: int) -> dict[str, Any]:
    names = draw.sample(["a", "b", "c", "~", "linear_1", "batch_stats"], draw.randint(1, 4))
    return {
        name: random_collection(draw, depth - 1) if depth and draw.random() < 0.5 else draw.random()
        for name in names
    }


@pytest.mark.parametrize("seed", range(20))
def test_flattens_as_dm_haiku(seed: int):
    collection = random_collection(random.Random(seed), 3)
    assert flatten_flax_to_haiku(collection) == hk.experimental.flax.flatten_flax_to_haiku(
        collection
    )
    assert flatten_flax_to_haiku(flax.core.freeze(collection)) == flatten_flax_to_haiku(collection)


@pytest.mark.parametrize(
    ("collection", "bundle"),
    [
        ({}, {}),
        ({"w": 1}, {"~": {"w": 1}}),
        ({"a": {"b": {"w": 1}, "w": 2}}, {"a/b": {"w": 1}, "a": {"w": 2}}),
        ({"~": {"w": 1}}, {"~": {"w": 1}}),
        ({"a": {"~": {"b": {"w": 1}}}}, {"a/~/b": {"w": 1}}),
        ({"a": {}}, {}),
        ({"a": {"w": None}}, {"a": {"w": None}}),
    ],
)
def test_flattens(collection: Any, bundle: Any):
    assert flatten_flax_to_haiku(collection) == bundle


@pytest.mark.parametrize("seed", range(20))
def test_nesting_is_the_inverse(seed: int):
    collection = random_collection(random.Random(seed), 3)
    collection.pop("~", None)  # the one way in which two collections have the same bundle
    assert nest_haiku_to_flax(flatten_flax_to_haiku(collection)) == collection


def test_nesting_of_a_haiku_tree():
    f = ps.transform(
        lambda x: (
            ps.nets.MLP([2, 1])(x) * ps.get_parameter("scale", [], init=ps.initializers.Constant(2))
        )
    )
    import jax
    import jax.numpy as jnp

    params = f.init(jax.random.key(0), jnp.ones([1, 3]))
    nested = nest_haiku_to_flax(params)
    assert nested["mlp"]["~"]["linear_0"]["w"] is params["mlp/~/linear_0"]["w"]
    assert nested["scale"] is params["~"]["scale"]
    assert flatten_flax_to_haiku(nested) == params
