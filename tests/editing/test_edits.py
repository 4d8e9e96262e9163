"""`at`, `rename`, `insert`, `delete`: out of place, on every kind of tree, and what they refuse."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps

s = ps.surgery
BUNDLE = {"mlp": {"scale": 0}, "mlp/~/linear_0": {"w": 1, "b": 2}, "mlp_head": {"w": 3}}
VARIABLES = {"params": BUNDLE, "stats": {"mlp": {"mean": 4}, "mlp_head": {"mean": 5}}}


@pytest.fixture(autouse=True)
def _unchanged():
    before = copy.deepcopy((BUNDLE, VARIABLES))
    yield
    assert before == (BUNDLE, VARIABLES)


@pytest.mark.parametrize(
    ("tree", "path", "value"),
    [
        (BUNDLE, "mlp/~/linear_0/w", 1),
        (BUNDLE, "mlp/scale", 0),
        (BUNDLE, ("mlp/~/linear_0", "b"), 2),
        (VARIABLES, "params/mlp_head/w", 3),
        (VARIABLES, "stats/mlp/mean", 4),
        (({"a": {"w": 6}}, [7, 8]), "1/0", 7),
        (({"a": {"w": 6}}, [7, 8]), (0, "a", "w"), 6),
        ({"a": {"w": {"q": 9}}}, "a/w/q", 9),
        ({"a": {"w": None}}, "a/w", None),
    ],
    ids=str,
)
def test_at_gets_and_sets(tree, path, value):
    place = s.at(tree, path)
    assert place.get() == value
    new = place.set(10)
    assert s.at(new, path).get() == 10
    assert type(new) is type(tree)
    if value is not None:
        assert place.apply(lambda leaf: leaf) == tree
        with_holes = s.filter(new, lambda leaf: leaf == 10, inverse=True)
        assert s.combine(with_holes, tree) == tree  # nothing else is new


def test_at_a_whole_module():
    new = s.at(BUNDLE, "mlp/~/linear_0").set({"w": 5, "b": 6})
    assert new == {**BUNDLE, "mlp/~/linear_0": {"w": 5, "b": 6}}
    assert list(new) == list(BUNDLE)
    with pytest.raises(
        ps.errors.ShapeMismatchError, match=r"another structure: only the tree has 'b'"
    ):
        s.at(BUNDLE, "mlp/~/linear_0").set({"w": 5})


def test_at_optimizer_state_and_under_jit():
    params = {"linear": {"w": jnp.ones([2])}}
    state = optax.adam(0.1).init(params)
    new = jax.jit(lambda state: s.at(state, "0/mu/linear/w").apply(lambda mu: mu + 1))(state)
    assert new[0].mu["linear"]["w"].tolist() == [1, 1]
    assert type(new[0]) is type(state[0])


def test_at_refuses_another_shape():
    params = {"linear": {"w": jnp.ones([2, 3])}}
    with pytest.raises(
        ps.errors.ShapeMismatchError, match=r"'linear/w' has shape \(2, 3\).*of shape \(3, 2\)"
    ):
        s.at(params, "linear/w").set(jnp.ones([3, 2]))
    with pytest.raises(
        ps.errors.ShapeMismatchError, match=r"'linear/w' has shape \(2, 3\).*of shape \(3, 2\)"
    ):
        s.at(params, "linear").apply(lambda module: {"w": module["w"].T})
    assert s.at(params, "linear/w").apply(jnp.transpose, any_shape=True)["linear"]["w"].shape == (
        3,
        2,
    )


@pytest.mark.parametrize(
    "path", ["mlp/~/linear_0/v", "mpl/scale", "mlp/~/linear_0/w/x", ("mlp", "w")]
)
def test_at_names_what_is_near(path):
    with pytest.raises(
        ps.errors.PathError, match=r"There is nothing at .* Near it: '.*mlp"
    ) as error:
        s.at(BUNDLE, path)
    assert isinstance(error.value, (ValueError, LookupError))


def test_paths_that_are_not_clear():
    tree = {"a": {"b": {"c": 1}}, "a/b": {"c": 2}}
    with pytest.raises(ps.errors.PathError, match="'a/b/c' may stand for 2 places"):
        s.at(tree, "a/b/c")
    assert s.at(tree, ("a/b", "c")).get() == 2
    assert s.at(tree, ("a", "b", "c")).get() == 1


RENAMES = [
    (
        BUNDLE, "mlp", "net",
        {"net": {"scale": 0}, "net/~/linear_0": {"w": 1, "b": 2}, "mlp_head": {"w": 3}},
        ["net/scale", "net/~/linear_0/b", "net/~/linear_0/w"],
    ),
    (BUNDLE, "mlp/~/linear_0/w", "mlp/~/linear_0/k", {**BUNDLE, "mlp/~/linear_0": {"k": 1, "b": 2}}, ["mlp/~/linear_0/k"]),
    (
        BUNDLE, "mlp/~/linear_0/w", "mlp_head/v",
        {"mlp": {"scale": 0}, "mlp/~/linear_0": {"b": 2}, "mlp_head": {"w": 3, "v": 1}}, ["mlp_head/v"],
    ),
    (
        BUNDLE, "mlp/scale", "new/~/scale",
        {"mlp/~/linear_0": {"w": 1, "b": 2}, "mlp_head": {"w": 3}, "new/~": {"scale": 0}}, ["new/~/scale"],
    ),
    (
        VARIABLES, "mlp_head", "head",
        {"params": {"mlp": {"scale": 0}, "mlp/~/linear_0": {"w": 1, "b": 2}, "head": {"w": 3}},
         "stats": {"mlp": {"mean": 4}, "head": {"mean": 5}}},
        ["params/head/w", "stats/head/mean"],
    ),
    (
        VARIABLES, "stats/mlp_head", "stats/head",
        {"params": BUNDLE, "stats": {"mlp": {"mean": 4}, "head": {"mean": 5}}}, ["stats/head/mean"],
    ),
    ({"a": {"w": 1}, "b": {"v": 2}}, "a", "b", {"b": {"w": 1, "v": 2}}, ["b/w"]),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "old", "new", "expected", "changed"), RENAMES)
def test_rename(tree, old, new, expected, changed):
    edited = s.rename(tree, old, new)
    assert edited.tree == expected
    assert sorted(edited.changed) == changed
    assert sorted(jax.tree.leaves(edited.tree)) == sorted(jax.tree.leaves(tree))
    if len(changed) == 1 and old.rpartition("/")[0] == new.rpartition("/")[0] and "/" in new:
        assert s.rename(edited.tree, new, old).tree == tree


def test_rename_in_checkpoint_and_optimizer_state():
    """What was trained as one model goes on as the other, with the same next step."""

    def forward(name):
        return ps.transform(lambda x: ps.nets.MLP([3, 1], name=name)(x))

    x, tx = jnp.ones([2, 4]), optax.adam(0.1)
    params = forward("mlp").init(jax.random.key(0), x)
    state = tx.init(params)

    def step(f, params, state):
        grads = jax.grad(lambda params: (f.apply(params, None, x) ** 2).sum())(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params, state = step(forward("mlp"), params, state)
    there = s.rename((params, state), "mlp", "head")
    assert len(there.changed) == 3 * 4
    ours = step(forward("head"), *there.tree)
    theirs = s.rename(step(forward("mlp"), params, state), "mlp", "head").tree
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mpl", "x", "There is nothing at 'mpl'. Near it: 'mlp'"),
        ("ml", "x", "There is nothing at 'ml'"),  # no module: names are compared part by part
        ("w", "x", "There is nothing at 'w'"),
        (
            "mlp_head",
            "mlp/~/linear_0",
            "'mlp_head' cannot become 'mlp/~/linear_0'.*exists already",
        ),
        ("mlp/~/linear_0/w", "mlp_head/w", "cannot become 'mlp_head/w'.*exists already"),
        ("mlp/~/linear_0/w", "kernel", "'module/name', but is 'kernel'"),
    ],
)
def test_rename_refuses(old, new, message):
    with pytest.raises(ps.errors.PathError, match=message):
        s.rename(BUNDLE, old, new)


@pytest.mark.parametrize(
    ("tree", "path", "value", "expected", "changed"),
    [
        (BUNDLE, "mlp/~/linear_1/w", 9, {**BUNDLE, "mlp/~/linear_1": {"w": 9}}, ["mlp/~/linear_1/w"]),
        (BUNDLE, "mlp/offset", 9, {**BUNDLE, "mlp": {"scale": 0, "offset": 9}}, ["mlp/offset"]),
        (BUNDLE, "norm", {"a": 1, "b": 2}, {**BUNDLE, "norm": {"a": 1, "b": 2}}, ["norm/a", "norm/b"]),
        (VARIABLES, "stats/norm/var", 9, {**VARIABLES, "stats": {**VARIABLES["stats"], "norm": {"var": 9}}}, ["stats/norm/var"]),
        (VARIABLES, ("cache", "mlp", "k"), 9, {**VARIABLES, "cache": {"mlp": {"k": 9}}}, ["cache/mlp/k"]),
        (({"a": {"w": 1}}, 2), "0/a/b", 9, ({"a": {"w": 1, "b": 9}}, 2), ["0/a/b"]),
        (({"a": {"w": 1}}, 2), (0, "b", "v"), 9, ({"a": {"w": 1}, "b": {"v": 9}}, 2), ["0/b/v"]),
        ({}, "a/b/w", 9, {"a/b": {"w": 9}}, ["a/b/w"]),
        ({"params": {}}, ("params", "a", "w"), 9, {"params": {"a": {"w": 9}}}, ["params/a/w"]),
    ],
    ids=str,
)  # fmt: skip
def test_insert(tree, path, value, expected, changed):
    edited = s.insert(tree, path, value)
    assert edited.tree == expected
    assert edited.changed == changed
    if tree and isinstance(path, str):
        assert s.delete(edited.tree, path).tree == tree


@pytest.mark.parametrize(
    ("tree", "path", "message"),
    [
        (BUNDLE, "mlp/scale", "'mlp/scale' exists already.*ps.surgery.at"),
        (BUNDLE, "scale", "must be 'module/name'"),
        (VARIABLES, "cache/mlp/k", "There is nothing at 'cache/mlp/k'"),
        ({"params": {}}, "params/a/w", "keys one by one"),
        ([1, 2], "a/w", "There is nothing at"),
    ],
)
def test_insert_refuses(tree, path, message):
    with pytest.raises(ps.errors.PathError, match=message):
        s.insert(tree, path, 9)


@pytest.mark.parametrize(
    ("tree", "path", "expected", "gone"),
    [
        (BUNDLE, "mlp", {"mlp_head": {"w": 3}}, ["mlp/scale", "mlp/~/linear_0/b", "mlp/~/linear_0/w"]),
        (BUNDLE, "mlp/~/linear_0/b", {**BUNDLE, "mlp/~/linear_0": {"w": 1}}, ["mlp/~/linear_0/b"]),
        (BUNDLE, "mlp_head/w", {"mlp": {"scale": 0}, "mlp/~/linear_0": {"w": 1, "b": 2}}, ["mlp_head/w"]),
        (VARIABLES, "stats", {"params": BUNDLE}, ["stats/mlp/mean", "stats/mlp_head/mean"]),
        (VARIABLES, "stats/mlp", {"params": BUNDLE, "stats": {"mlp_head": {"mean": 5}}}, ["stats/mlp/mean"]),
        (
            VARIABLES, "mlp_head",
            {"params": {"mlp": {"scale": 0}, "mlp/~/linear_0": {"w": 1, "b": 2}}, "stats": {"mlp": {"mean": 4}}},
            ["params/mlp_head/w", "stats/mlp_head/mean"],
        ),
    ],
    ids=str,
)  # fmt: skip
def test_delete(tree, path, expected, gone):
    edited = s.delete(tree, path)
    assert edited.tree == expected
    assert sorted(edited.changed) == gone


def test_delete_of_nothing():
    for path in ("mlp/~/linear_0/v", "w", "ml"):
        with pytest.raises(ps.errors.PathError, match="There is nothing at"):
            s.delete(BUNDLE, path)
