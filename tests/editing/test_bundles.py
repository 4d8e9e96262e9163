"""`traverse`, `filter`, `map`, `partition`, `merge`: against dm-haiku's, and against each other."""

import collections
import types

import haiku as hk
import jax
import jax.numpy as jnp
import pytest

import purestate as ps

ds = ps.data_structures

BUNDLES = [
    {},
    {"empty": {}},
    {"b": {"w": 1, "a": 2}, "a": {"z": [1, {"x": 2}], "y": None}},
    {f"layer_{i}": {"w": i, "b": -i} for i in reversed(range(12))},
    types.MappingProxyType({"a": types.MappingProxyType({"w": (1, 2)})}),
]


def is_w(module, name, value):
    return name == "w"


@pytest.mark.parametrize("bundle", BUNDLES)
def test_same_as_dm_haiku(bundle):
    def number(module, name, value):
        return (len(module) + len(name)) % 3

    def as_lists(bundles):
        """With the order of the entries."""
        return [
            [(module, list(values.items())) for module, values in bundle.items()]
            for bundle in bundles
        ]

    for ours, theirs in [
        (ds.partition(is_w, bundle), hk.data_structures.partition(is_w, bundle)),
        (ds.partition_n(number, bundle, 3), hk.data_structures.partition_n(number, bundle, 3)),
        ([ds.filter(is_w, bundle)], [hk.data_structures.filter(is_w, bundle)]),
        ([ds.map(lambda *a: a, bundle)], [hk.data_structures.map(lambda *a: a, bundle)]),
        ([ds.merge(bundle, BUNDLES[2])], [hk.data_structures.merge(bundle, BUNDLES[2])]),
        ([ds.merge(BUNDLES[2], bundle)], [hk.data_structures.merge(BUNDLES[2], bundle)]),
    ]:
        assert as_lists(ours) == as_lists(theirs)
        assert all(type(b) is dict and all(type(v) is dict for v in b.values()) for b in ours)
    assert list(ds.traverse(bundle)) == list(hk.data_structures.traverse(bundle))


@pytest.mark.parametrize("bundle", BUNDLES[2:])
def test_merge_undoes_partition(bundle):
    matching, rest = ds.partition(is_w, bundle)
    assert ds.merge(matching, rest) == bundle
    assert list(ds.filter(is_w, rest)) == []
    assert ds.is_subset(subset=matching, superset=bundle)
    assert not matching or not ds.is_subset(subset=bundle, superset=rest)


def test_results_share_no_containers_with_what_was_given():
    value = [1, 2]
    bundle = {"a": {"w": value}}
    results = [
        ds.filter(is_w, bundle),
        ds.merge(bundle),
        ds.partition(is_w, bundle)[0],
        ds.map(lambda *a: a[2], bundle),
    ]
    value.append(3)
    bundle["a"]["b"] = 4
    assert results == [{"a": {"w": [1, 2]}}] * 4


def test_predicates_may_return_what_counts_as_true():
    assert ds.partition(lambda m, n, v: v, {"a": {"w": [], "b": [1]}}) == (
        {"a": {"b": [1]}},
        {"a": {"w": []}},
    )


@pytest.mark.parametrize("number", [-1, 2, 5])
def test_partition_n_into_a_part_that_there_is_not(number):
    with pytest.raises(
        ps.errors.PurestateError, match=rf"n=2: fn returned {number} for 'w' of 'a'"
    ):
        ds.partition_n(lambda *a: number, {"a": {"w": 1}}, 2)
    with pytest.raises(AssertionError):  # what dm-haiku raises
        ds.partition_n(lambda *a: number, {"a": {"w": 1}}, 2)


def test_merge_takes_the_last():
    a = collections.defaultdict(dict)
    a["m"]["x"] = 1
    b = types.MappingProxyType({"m": {"x": jnp.ones([3]), "y": 2}})
    merged = ds.merge(a, b, {"m": {"y": 3}})
    assert merged["m"]["y"] == 3
    assert merged["m"]["x"].shape == (3,)


F32 = {"a": {"b": jnp.zeros([2])}}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (jnp.zeros([2], jnp.bfloat16), r"f32\[2\].*bf16\[2\]"),
        (jnp.zeros([3]), r"f32\[2\].*f32\[3\]"),
        ("foo", r"f32\[2\].*'foo'"),
    ],
)
def test_merge_checks_duplicates(other, message):
    with pytest.raises(ValueError, match=f"'b' of 'a'.*{message}"):
        ds.merge(F32, {"a": {"b": other}}, check_duplicates=True)
    assert ds.merge(F32, {"a": {"b": other}})["a"]["b"] is other


def test_merge_of_duplicates_of_one_kind():
    assert ds.merge(F32, {"a": {"b": jnp.ones([2])}}, check_duplicates=True)["a"]["b"].tolist() == [
        1.0,
        1.0,
    ]
    assert ds.merge({"a": {"b": 1}}, {"a": {"b": "x"}}, check_duplicates=True) == {"a": {"b": "x"}}


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ([1, 2], "`structure` must be a dict.* a list"),
        ({"a": jnp.ones([2])}, r"structure\['a'\]` must be a dict.*f32\[2\]"),
    ],
)
def test_what_is_not_two_dicts_deep(structure, message):
    # dm-haiku goes through the rows of an array as if they were names.
    with pytest.raises(TypeError, match=message):
        list(ds.traverse(structure))


def test_gradients_of_a_part():
    def loss(trained, frozen):
        params = ds.merge(trained, frozen)
        return jnp.sum(params["a"]["w"] * params["a"]["b"])

    params = {"a": {"w": jnp.full([2], 3.0), "b": jnp.full([2], 5.0)}}
    grads = jax.grad(loss)(*ds.partition(is_w, params))
    assert grads["a"].keys() == {"w"}
    assert grads["a"]["w"].tolist() == [5.0, 5.0]


def test_pop_takes_out_and_leaves_what_was_given():
    variables = {"params": {"a": {"w": 1}}, "batch_stats": {"a": {"mean": 2}}}
    rest, params = ds.pop(variables, "params")
    assert rest == {"batch_stats": {"a": {"mean": 2}}}
    assert params is variables["params"]
    assert list(variables) == ["params", "batch_stats"]
    assert {"params": params, **rest} == variables


def test_pop_of_what_is_not_there():
    with pytest.raises(
        ps.errors.BundleError,
        match="no collection 'batch_stat', but 'params', 'batch_stats'. Did you mean 'batch_stats'",
    ):
        ds.pop({"params": {}, "batch_stats": {}}, "batch_stat")
    with pytest.raises(ValueError, match="no collection 'params', but none at all"):
        ds.pop({}, "params")
