"""`aliases` finds what donation refuses: one array, or one memory, in two places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

DEVICE = jax.devices()[0]


def array():
    return jnp.arange(6.0).reshape(2, 3) * 1.5


def same():
    x = array()
    return x, x


def moved():  # another object, and the same memory
    x = array()
    return x, jax.device_put(x, DEVICE)


def shard():
    x = array()
    return x.addressable_data(0), x


CASES = [same, moved, shard]


@pytest.mark.parametrize("pair", CASES)
def test_it_finds_what_donation_refuses(pair):
    a, b = pair()
    tree = {"embed": {"w": a}, "head": {"b": jnp.zeros([3]), "w": b}}
    assert ps.surgery.aliases(tree) == [["embed/w", "head/w"]]
    step = jax.jit(lambda tree: jax.tree.map(lambda p: p + 1, tree), donate_argnums=0)
    copied = jax.tree.map(jnp.copy, tree)
    assert ps.surgery.aliases(copied) == []
    step(copied)
    with pytest.raises((RuntimeError, ValueError), match="donate"):
        step(tree)


def test_names_of_other_trees():
    w, key = array(), jax.random.key(0)
    f = ps.transform(lambda x: ps.Linear(2)(x))
    params = f.init(key, jnp.ones([1, 3]))
    assert ps.surgery.aliases(
        {"params": {"a": {"w": w}}, "ema": {"a": {"w": w}}, "keys": [key, key]}
    ) == [
        ["ema/a/w", "params/a/w"],
        ["keys/0", "keys/1"],
    ]
    assert ps.surgery.aliases([w, params, w, w]) == [["0", "2", "3"]]
    assert ps.surgery.aliases(ps.bind(f, params)) == []


def test_numpy_and_what_has_no_memory():
    x = np.ones([2])
    assert ps.surgery.aliases({"a": x, "b": x, "c": x.copy(), "d": x[:1]}) == [["a", "b"]]
    empty = jnp.ones([0])
    assert ps.surgery.aliases([empty, empty, None, None, 1, 1, "text", "text"]) == []
    deleted = array()
    deleted.delete()
    assert ps.surgery.aliases([deleted, deleted]) == [["0", "1"]]


def test_traced_arrays_by_identity():
    seen = []

    def f(x, y):
        seen.append(ps.surgery.aliases({"a": x, "b": x, "c": y}))
        return x

    x = array()
    jax.jit(f)(x, x)
    assert seen == [[["a", "b"]]]


def test_an_array_between_two_groups():
    """Two shards, each with an alias, and then the array that has both."""
    from purestate._editing import aliases

    pieces = {"a": [1], "b": [2], "c": [2], "d": [1, 2], "e": [3]}
    tree = {name: np.array([i]) for i, name in enumerate(pieces)}
    by_id = {id(leaf): pieces[name] for name, leaf in tree.items()}
    before = aliases._memory_of
    aliases._memory_of = lambda leaf: by_id[id(leaf)]
    try:
        assert aliases.aliases(tree) == [["a", "b", "c", "d"]]
    finally:
        aliases._memory_of = before
