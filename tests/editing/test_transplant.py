"""`transplant`: what is copied, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

s = ps.surgery


def encoder(x):
    return ps.nets.MLP([4, 3], name="encoder")(x)


def pretraining(x):
    return ps.Linear(10, name="vocabulary")(encoder(x))


def classifier(x):
    with ps.name_scope("model"):
        h = encoder(x)
    return ps.Linear(2, name="head")(h)


X = jnp.ones([1, 5])
OLD = ps.transform(pretraining).init(jax.random.key(0), X)
NEW = ps.transform(classifier).init(jax.random.key(1), X)


@pytest.mark.parametrize(
    "mapping",
    [
        {"encoder": "model/encoder"},
        lambda name: "model/" + name if name.startswith("encoder") else None,
    ],
    ids=["mapping", "function"],
)
def test_encoder_of_a_checkpoint(mapping):
    before = jax.tree.map(np.array, NEW)
    params, changed = s.transplant(OLD, NEW, mapping)
    assert changed == [f"model/encoder/~/linear_{i}/{name}" for i in (0, 1) for name in "bw"]
    for i in (0, 1):
        assert params[f"model/encoder/~/linear_{i}"]["w"] is OLD[f"encoder/~/linear_{i}"]["w"]
    assert params["head"]["w"] is NEW["head"]["w"]
    jax.tree.map(np.testing.assert_array_equal, NEW, before)

    def in_scope(x):
        with ps.name_scope("model"):
            return encoder(x)

    expected = ps.transform(encoder).apply(
        ps.data_structures.filter(s.glob("encoder/*"), OLD), None, X
    )
    np.testing.assert_array_equal(ps.transform(in_scope).apply(params, None, X), expected)


def test_longest_name_counts_and_predicate_leaves_out():
    source = {"a": {"w": 1.0}, "a/b": {"w": 2.0}}
    into = {"x": {"w": 0.0}, "y": {"w": 0.0}, "a": {"w": 0.0}}
    assert s.transplant(source, into, {"a": "x", "a/b": "y"}).tree == {
        "x": {"w": 1.0},
        "y": {"w": 2.0},
        "a": {"w": 0.0},
    }
    assert s.transplant(source, into, {"a": "x", "a/b": "y"}, "y/*").changed == ["y/w"]
    assert s.transplant(source, into, {"a/b/w": "x/w"}).tree == {
        "x": {"w": 2.0},
        "y": {"w": 0.0},
        "a": {"w": 1.0},
    }
    big = s.Predicate(lambda path, leaf: leaf.size > 3)
    new = {"encoder/~/linear_0": jax.tree.map(jnp.zeros_like, OLD["encoder/~/linear_0"])}
    assert s.transplant(OLD, new, predicate=big).changed == [
        "encoder/~/linear_0/b",
        "encoder/~/linear_0/w",
    ]


def test_into_shapes_and_holes():
    shapes = jax.eval_shape(lambda: NEW)
    partial, changed = s.transplant(OLD, shapes, {"encoder": "model/encoder"})
    assert len(changed) == 4
    assert isinstance(partial["head"]["w"], jax.ShapeDtypeStruct)
    assert s.transplant({"a": {"w": 1.0}}, {"a": {"w": None}}).tree == {"a": {"w": 1.0}}


def test_other_shapes_and_dtypes():
    source = {"a": {"w": jnp.ones([2, 3]), "b": jnp.ones([3], jnp.bfloat16)}}
    into = {"a": {"w": jnp.ones([3, 2]), "b": jnp.ones([3])}}
    with pytest.raises(
        ps.errors.ShapeMismatchError,
        match=r"'a/b' is f32\[3\], and 'a/b' of the source is bf16\[3\]; 'a/w' is f32\[3,2\].*f32\[2,3\]",
    ):
        s.transplant(source, into)
    with pytest.raises(ps.errors.ShapeMismatchError):
        s.transplant(source, into, predicate="*/b")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"encodr": "model/encoder"}, "the source has nothing at 'encodr'. Near it: 'encoder/"),
        (
            {"encoder": "model/encodr"},
            "the model has nothing at 'model/encodr'. Near it: 'model/encoder",
        ),
        (None, "nothing was copied. The source has 'encoder/"),
        (lambda name: "head/w", "two variables of the source go to 'head/w'"),
    ],
)
def test_names_that_do_not_fit(mapping, message):
    same = jax.tree.map(lambda leaf: jnp.ones([3, 2]), OLD) if callable(mapping) else OLD
    with pytest.raises(ps.errors.PathError, match=message):
        s.transplant(same, NEW, mapping)
