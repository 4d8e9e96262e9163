"""Plain dicts, and mappings that cannot be changed."""

import copy
import pickle
import types

import jax
import jax.numpy as jnp
import pytest

import purestate as ps

ds = ps.data_structures
NESTED = {"b": {"w": [1, 2], "c": {"d": 3}}, "a": {"w": 4}}


def test_immutable_all_the_way_down():
    f = ds.to_immutable_dict(NESTED)
    for mapping in (f, f["b"], f["b"]["c"]):
        with pytest.raises(TypeError, match="item assignment"):
            mapping["w"] = 1
        with pytest.raises(TypeError, match="item deletion"):
            del mapping["w"]
        with pytest.raises(AttributeError):
            mapping.new = 1
    assert f == NESTED
    assert f != {"a": {}}
    assert f["b"].get("missing") is None
    assert list(f) == ["b", "a"]
    assert len(f) == 2
    assert ds.to_immutable_dict(f) is f
    assert repr(f["a"]) == "FlatMap({'w': 4})"


def test_immutable_is_a_copy():
    original = {"a": {"w": 1}}
    f = ds.to_immutable_dict(original)
    original["a"]["w"] = 2
    assert f["a"]["w"] == 1


def test_immutable_is_hashable():
    a, b = (
        ds.to_immutable_dict(m) for m in ({"x": {"w": 1, "b": (2,)}}, {"x": {"b": (2,), "w": 1}})
    )
    assert a == b
    assert hash(a) == hash(b)
    assert {a: 1}[b] == 1


def test_immutable_is_a_pytree_like_a_dict():
    f = ds.to_immutable_dict(NESTED)
    assert jax.tree.leaves(f) == jax.tree.leaves(NESTED)
    assert jax.tree.map(lambda x: x * 10, f) == jax.tree.map(lambda x: x * 10, NESTED)
    assert type(jax.tree.map(lambda x: x, f)) is type(f)
    paths = [
        [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(t)]
        for t in (f, NESTED)
    ]
    assert paths[0] == paths[1]
    doubled = jax.jit(lambda t: jax.tree.map(lambda x: x * 2, t))(
        ds.to_immutable_dict({"a": {"w": jnp.ones([])}})
    )
    assert float(doubled["a"]["w"]) == 2.0


def test_pickles_load_as_dicts_unless_asked_for():
    f = ds.to_immutable_dict(NESTED)
    data = pickle.dumps(f)
    loaded = pickle.loads(data)
    assert type(loaded) is dict
    assert type(loaded["b"]) is dict
    assert loaded == NESTED
    with ps.config.context(restore_flatmap=True):
        restored = pickle.loads(data)
    assert type(restored) is type(f)
    assert restored == f


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_can_be_changed(copied):
    f = ds.to_immutable_dict(NESTED)
    g = copied(f)
    g["a"]["w"] = 5
    assert f["a"]["w"] == 4


@pytest.mark.parametrize("convert", [ds.to_haiku_dict, ds.to_mutable_dict])
def test_plain_dicts(convert):
    inner = {"w": 1}
    given = types.MappingProxyType(
        {"a": types.MappingProxyType(inner), "b": ds.to_immutable_dict(inner), "c": {"d": inner}}
    )
    out = convert(given)
    assert all(type(x) is dict for x in (out, out["a"], out["b"], out["c"], out["c"]["d"]))
    out["c"]["d"]["w"] = 2
    assert inner == {"w": 1}


def test_to_haiku_dict_copies_lists_and_shares_arrays():
    array = jnp.ones([2])
    values = [array]
    out = ds.to_haiku_dict({"a": {"w": values}})
    values.append(1)
    assert len(out["a"]["w"]) == 1
    assert out["a"]["w"][0] is array
