"""Parts with holes: MLAX's filter, partition and combine (table M4), and where names come from."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps

s = ps.surgery


def m4():
    """The tree of M4: Series[Linear(3), Bias(-1), ZNorm, F(relu)] on ones(3, 4), as variables."""
    rng = {
        name: {"rng": jax.random.PRNGKey(i)} for i, name in enumerate(("linear", "bias", "z_norm"))
    }
    return {
        "params": {"linear": {"kernel": jnp.ones([4, 3])}, "bias": {"kernel": jnp.zeros([3])}},
        "moving": {"z_norm": {"mean": jnp.zeros([3]), "var": jnp.ones([3])}},
        "rng": rng,
    }


def names(tree):
    return sorted(
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    )


def structure(tree):
    return jax.tree.structure(tree, is_leaf=lambda leaf: leaf is None)


UNFROZEN = ["params/bias/kernel", "params/linear/kernel"]


def test_filter_of_m4():
    tree = m4()
    before = jax.tree.map(np.array, tree)
    kept = s.filter_with_path(tree, lambda path, leaf: path.startswith("params/"))
    assert names(kept) == UNFROZEN
    assert structure(kept) == structure(tree)
    assert kept["moving"]["z_norm"] == {"mean": None, "var": None}
    assert kept["params"]["linear"]["kernel"] is tree["params"]["linear"]["kernel"]
    rngs = s.filter(tree, lambda leaf: leaf.dtype == jnp.uint32)
    assert names(rngs) == ["rng/bias/rng", "rng/linear/rng", "rng/z_norm/rng"]
    assert names(s.filter(tree, s.glob("rng/*"), inverse=True)) == sorted(
        set(names(tree)) - set(names(rngs))
    )
    jax.tree.map(np.testing.assert_array_equal, tree, before)


@pytest.mark.parametrize(
    "f", [lambda leaf: leaf.ndim == 1, lambda leaf: leaf.size > 5, lambda leaf: True]
)
def test_partition_is_both_filters_and_combine_its_inverse(f):
    tree = m4()
    selected, rest = s.partition(tree, f)
    for part, expected in ((selected, s.filter(tree, f)), (rest, s.filter(tree, f, inverse=True))):
        assert structure(part) == structure(tree)
        assert names(part) == names(expected)
    assert set(names(selected)).isdisjoint(names(rest))
    assert sorted(names(selected) + names(rest)) == names(tree)
    together = s.combine(selected, rest)
    assert jax.tree.structure(together) == jax.tree.structure(tree)
    assert all(
        a is b for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(tree), strict=True)
    )


def test_functions_are_told_what_is_documented():
    told = []
    s.filter_with_path(
        {"a/b": {"w": 1}, "c": {"v": [2, 3]}}, lambda path, leaf: told.append((path, leaf))
    )
    assert told == [("a/b/w", 1), ("c/v/0", 2), ("c/v/1", 3)]
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        s.filter({"w": 1}, lambda path, leaf: True)
    with pytest.raises(TypeError):
        s.filter_with_path({"w": 1})  # pyright: ignore


def test_one_call_for_each_leaf():
    answers = iter([True, False, True])
    selected, rest = s.partition({"a": 1, "b": 2, "c": 3}, lambda leaf: next(answers))
    assert (selected, rest) == ({"a": 1, "b": None, "c": 3}, {"a": None, "b": 2, "c": None})


def test_first_wins_and_holes_in_all_stay():
    trees = [
        {"a": None, "b": 1, "c": None},
        {"a": 2, "b": 3, "c": None},
        {"a": 4, "b": 5, "c": None},
    ]
    assert s.combine(*trees) == {"a": 2, "b": 1, "c": None}
    assert s.combine(trees[0]) == trees[0]


def test_parts_of_parts():
    tree = m4()
    params, rest = s.partition(tree, s.glob("params/*"))
    linear, bias = s.partition(params, s.glob("*/linear/*"))
    assert names(linear) == ["params/linear/kernel"]
    assert names(s.combine(bias, rest, linear)) == names(tree)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"a": {"w": None}, "b": {"w": 1}}, r"only tree 2 has 'b/w'"),
        ({"a": {"v": 1}}, r"only the first has 'a/w'; only tree 2 has 'a/v'"),
        ({"a": [1]}, r"only the first has 'a/w'; only tree 2 has 'a/0'"),
        ({"a": ps.data_structures.to_immutable_dict({"w": None})}, "containers are of other kinds"),
    ],
)
def test_other_structures(other, message):
    with pytest.raises(ValueError, match=message) as error:
        s.combine({"a": {"w": 1}}, other)
    assert isinstance(error.value, ps.errors.BundleError)


class Pair(NamedTuple):
    w: object
    b: object


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Model:
    params: dict
    step: object
    name: str = dataclasses.field(metadata={"static": True})


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (Pair(1, [2]), ["b/0", "w"]),
        (Model({"linear": {"w": 1}}, 2, "m"), ["params/linear/w", "step"]),
        (({"linear": {"w": 1}}, {}), ["0/linear/w"]),
        (ps.data_structures.to_immutable_dict({"linear": {"w": 1}}), ["linear/w"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_pytree(tree, expected):
    told = []
    selected, rest = s.partition_with_path(
        tree, lambda path, leaf: bool(told.append(path)) or path.endswith("w")
    )
    assert sorted(told) == expected
    assert type(selected) is type(tree)
    assert s.combine(selected, rest) == tree


def test_states_of_optimizers():
    state = optax.adam(0.1).init({"linear": {"w": jnp.ones([2])}})
    assert names(s.filter(state, s.glob("*/linear/w"))) == ["0/mu/linear/w", "0/nu/linear/w"]


def test_gradients_of_the_selected_half():
    """M4: gradients are there for kernel and bias alone; moving means come out beside."""
    tree = m4()
    selected, rest = s.partition_with_path(tree, lambda path, leaf: path.startswith("params/"))

    @jax.jit
    def step(selected, rest, x):
        def loss(selected):
            variables = s.combine(selected, rest)
            h = x @ variables["params"]["linear"]["kernel"] + variables["params"]["bias"]["kernel"]
            mean = 0.9 * variables["moving"]["z_norm"]["mean"] + 0.1 * h.mean(0)
            return (h**2).sum(), s.at(rest, "moving/z_norm/mean").set(mean)

        return jax.grad(loss, has_aux=True)(selected)

    grads, new = step(selected, rest, jnp.ones([3, 4]))
    assert names(grads) == UNFROZEN
    np.testing.assert_allclose(grads["params"]["linear"]["kernel"], np.full([4, 3], 24.0))
    np.testing.assert_allclose(new["moving"]["z_norm"]["mean"], np.full(3, 0.4), rtol=1e-6)
    assert rest["moving"]["z_norm"]["mean"].tolist() == [0, 0, 0]


def test_bound_models():
    f, x = ps.transform_with_state(lambda x: ps.Linear(2)(x)), jnp.ones([1, 3])
    model = ps.bind(f, *f.init(jax.random.key(0), x), None)
    kernel, rest = s.partition(model, s.glob("params/*/w"))
    assert kernel.params["linear"]["b"] is None
    assert names(rest) == ["params/linear/b"]
    np.testing.assert_array_equal(s.combine(rest, kernel)(x), model(x))
    np.testing.assert_array_equal(
        s.at(model, "params/linear/b").apply(lambda b: b + 1)(x), model(x) + 1
    )
    assert s.has_ndim(2)(model).params == {"linear": {"b": False, "w": True}}
