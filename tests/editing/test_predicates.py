"""Predicates: every way to call them, their algebra, and optax's masks."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps

s = ps.surgery
PARAMS = {
    "encoder/~/linear_0": {"w": jnp.ones([4, 3]), "b": jnp.zeros([3])},
    "encoder/~/linear_1": {"w": jnp.ones([3, 3], jnp.bfloat16), "b": jnp.zeros([3])},
    "head": {"w": jnp.ones([3, 2]), "b": jnp.zeros([2]), "steps": jnp.zeros([], jnp.int32)},
}
NAMES = [f"{module}/{name}" for module, values in sorted(PARAMS.items()) for name in sorted(values)]
LEAVES = jax.tree.leaves(PARAMS)


class Half(ps.Linear):
    """A subclass."""


def model(x):
    return ps.LayerNorm(-1, True, True)(Half(2, name="half")(ps.Linear(3, name="whole")(x)))


SPECS = ps.specs(ps.transform(model))(jax.random.key(0), jnp.ones([1, 4]))

TABLE = [
    (s.glob("encoder/*/w"), ["encoder/~/linear_0/w", "encoder/~/linear_1/w"]),
    (s.glob("*/b"), ["encoder/~/linear_0/b", "encoder/~/linear_1/b", "head/b"]),
    (s.glob("w"), []),
    (s.glob("head/?"), ["head/b", "head/w"]),
    (s.regex(r"encoder/.*_[01]/w"), ["encoder/~/linear_0/w", "encoder/~/linear_1/w"]),
    (s.regex("head"), []),
    (s.has_dtype(jnp.bfloat16), ["encoder/~/linear_1/w"]),
    (s.has_dtype("int32"), ["head/steps"]),
    (s.has_dtype(jnp.integer), ["head/steps"]),
    (s.has_ndim(0), ["head/steps"]),
    (s.has_ndim(0, 1), ["encoder/~/linear_0/b", "encoder/~/linear_1/b", "head/b", "head/steps"]),
    (s.larger_than(9), ["encoder/~/linear_0/w"]),
    (s.larger_than(8), ["encoder/~/linear_0/w", "encoder/~/linear_1/w"]),
    (
        s.Predicate(lambda path, leaf: "_1/" in path),
        ["encoder/~/linear_1/b", "encoder/~/linear_1/w"],
    ),
    (s.glob("head/*") & ~s.has_ndim(0), ["head/b", "head/w"]),
    (s.glob("head/w") | s.larger_than(9), ["encoder/~/linear_0/w", "head/w"]),
]


@pytest.mark.parametrize(("predicate", "expected"), TABLE, ids=[str(i) for i in range(len(TABLE))])
def test_every_way_to_call(predicate, expected):
    tree = predicate(PARAMS)
    assert jax.tree.structure(tree) == jax.tree.structure(PARAMS)
    flags = jax.tree.leaves(tree)
    assert all(type(flag) is bool for flag in flags)
    assert [name for name, flag in zip(NAMES, flags, strict=True) if flag] == expected

    by_item = [
        predicate(module, name, value)
        for module, name, value in ps.data_structures.traverse(PARAMS)
    ]
    by_path = [predicate(name, leaf) for name, leaf in zip(NAMES, LEAVES, strict=True)]
    by_key_path = [
        predicate(path, leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(PARAMS)
    ]
    assert by_item == by_path == by_key_path == flags
    matching, rest = ps.data_structures.partition(predicate, PARAMS)
    assert [f"{m}/{n}" for m, n, _ in ps.data_structures.traverse(matching)] == expected
    assert len(list(ps.data_structures.traverse(rest))) == len(NAMES) - len(expected)
    assert ps.data_structures.map(predicate, PARAMS) == tree
    if not predicate.needs_path:
        assert [predicate(leaf) for leaf in LEAVES] == flags


def test_algebra_is_that_of_bools():
    some = [s.glob("head/*"), s.has_ndim(1), s.larger_than(7)]
    for a, b in itertools.product(some, some):
        for name, leaf in zip(NAMES, LEAVES, strict=True):
            x, y = a(name, leaf), b(name, leaf)
            assert (a & b)(name, leaf) == (x and y)
            assert (a | b)(name, leaf) == (x or y)
            assert (~a)(name, leaf) == (not x)
            assert (~(a & b))(name, leaf) == (~a | ~b)(name, leaf)
    assert repr(some[0] & ~some[1]) == "(glob('head/*') & ~has_ndim(1))"


def test_module_classes_are_known_from_specs():
    params = {
        "whole": {"w": 0.0, "b": 0.0},
        "half": {"w": 0.0, "b": 0.0},
        "layer_norm": {"scale": 0.0, "offset": 0.0},
    }

    def found(predicate, tree=params):
        return sorted(path for path, flag in _flags(predicate(tree)) if flag)

    def _flags(tree):
        return [
            (jax.tree_util.keystr(path, simple=True, separator="/"), flag)
            for path, flag in jax.tree_util.tree_leaves_with_path(tree)
        ]

    assert found(s.of_module(Half, SPECS)) == ["half/b", "half/w"]
    assert found(s.of_module(ps.Linear, SPECS)) == ["half/b", "half/w", "whole/b", "whole/w"]
    assert found(s.of_module((Half, ps.LayerNorm), SPECS)) == [
        "half/b",
        "half/w",
        "layer_norm/offset",
        "layer_norm/scale",
    ]
    assert found(s.of_spec(lambda spec: spec.size == 12, SPECS)) == ["whole/w"]
    assert found(s.of_module(Half, SPECS), {"params": params}) == ["params/half/b", "params/half/w"]
    both = ps.specs(ps.transform_with_state(model))(jax.random.key(0), jnp.ones([1, 4]))
    assert found(s.of_module(Half, both), (params, {})) == ["0/half/b", "0/half/w"]
    assert s.of_module(Half, both)("half", "w", 0.0) is True
    with pytest.raises(ps.errors.PredicateError, match=r"needs the specs.*a dict"):
        s.of_module(Half, {"half": {"w": jnp.ones([2])}})


def test_specs_and_shapes_are_leaves_too():
    assert s.larger_than(8)(ps.Spec((3, 3), jnp.dtype("float32"))) is True
    assert s.has_dtype(jnp.floating)(jax.ShapeDtypeStruct((3,), jnp.int32)) is False
    assert s.has_dtype(jnp.floating)("text") is False
    assert s.has_ndim(0)(3.0) is True


def test_holes_stay_holes_in_masks():
    assert s.has_ndim(1)({"a": None, "b": jnp.ones([2])}) == {"a": None, "b": True}


def test_one_array_as_a_whole_model():
    assert s.has_ndim(1)(jnp.ones([2])) is True
    with pytest.raises(
        TypeError,
        match=r"glob\('\*/w'\) looks at the path.*leaf without its path.*filter_with_path",
    ):
        s.glob("*/w")(jnp.ones([2]))
    # Also where the other half could have answered by itself.
    with pytest.raises(ps.errors.PredicateError, match="leaf without its path"):
        (s.has_ndim(1) | s.glob("x"))(jnp.ones([2]))


def test_misuse():
    with pytest.raises(ps.errors.PredicateError, match="&, | and ~"):
        any([s.glob("a")])
    with pytest.raises(ps.errors.PredicateError, match="4 arguments"):
        s.glob("a")(1, 2, 3, 4)
    with pytest.raises(TypeError):
        s.glob("a") & (lambda path, leaf: True)


def test_masks_of_optax():
    params = {"linear": {"w": jnp.full([2, 2], 2.0), "b": jnp.full([2], 2.0)}}
    grads = jax.tree.map(jnp.ones_like, params)
    tx = optax.masked(optax.scale(-3.0), s.glob("*/w"))
    updates, _ = tx.update(grads, tx.init(params), params)
    assert np.unique(updates["linear"]["w"]) == -3
    assert np.unique(updates["linear"]["b"]) == 1
    decayed = optax.add_decayed_weights(0.5, mask=s.has_ndim(2))
    updates, _ = decayed.update(grads, decayed.init(params), params)
    assert np.unique(updates["linear"]["w"]) == 2
    assert np.unique(updates["linear"]["b"]) == 1
