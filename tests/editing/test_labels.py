"""`ps.labels`: which label each parameter gets, what optax does with it, and the errors."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps
from purestate.errors import PathError, PredicateError
from purestate.surgery import glob, has_ndim, of_module, regex


def net(x):
    h = ps.nets.MLP([4, 4], name="encoder")(ps.Linear(4, name="embed")(x))
    return ps.Linear(2, name="head")(ps.LayerNorm(-1, True, True, name="norm")(h))


X = jnp.ones([3, 5])
F = ps.transform(net)
PARAMS = F.init(jax.random.key(0), X)
SPECS = ps.specs(F)(jax.random.key(0), X)
E0, E1 = "encoder/~/linear_0", "encoder/~/linear_1"
NAMES = [f"{module}/{name}" for module, bundle in PARAMS.items() for name in bundle]


def by_name(tree):
    return {f"{m}/{n}": label for m, bundle in tree.items() for n, label in bundle.items()}


# Patterns and a default, and a rule in plain Python that says the same.
CASES = {
    "globs": ({"embed/*": 1, "encoder/*": 2, "norm/*": 3, "head/*": 4}, None,
              lambda n, p: {"em": 1, "en": 2, "no": 3, "he": 4}[n[:2]]),
    "default": ({"*/w": "decay"}, "none", lambda n, p: "decay" if n[-1] == "w" else "none"),
    "number of axes": ({has_ndim(2): "matrix"}, "rest", lambda n, p: "matrix" if p.ndim == 2 else "rest"),
    "combined": ({has_ndim(2) & ~glob("embed/*"): "a", glob("embed/*") | ~has_ndim(2): "b"}, None,
                 lambda n, p: "a" if p.ndim == 2 and not n.startswith("embed") else "b"),
    "regex": ({regex(r".*linear_\d/.*"): "a"}, "b", lambda n, p: "a" if "linear_" in n else "b"),
    "class": ({of_module(ps.LayerNorm, SPECS): "norm"}, "b", lambda n, p: "norm" if "norm" in n else "b"),
    "function": ({lambda path, leaf: leaf.size > 10: "large"}, "small", lambda n, p: "large" if p.size > 10 else "small"),
    "two patterns, one label": ({"*/w": "a", "head/*": "a"}, "b",
                                lambda n, p: "a" if n[-1] == "w" or "head" in n else "b"),
    "label 0": ({"*/w": 0}, 1, lambda n, p: 0 if n[-1] == "w" else 1),
}  # fmt: skip


@pytest.mark.whole
@pytest.mark.parametrize("name", CASES)
def test_labels(name):
    patterns, default, rule = CASES[name]
    label = ps.labels(patterns, default)
    expected = {n: rule(n, p) for n, p in by_name(PARAMS).items()}
    assert by_name(label(PARAMS)) == expected
    assert by_name(label(jax.eval_shape(lambda: PARAMS))) == expected  # shapes are enough
    assert len(set(expected.values())) > 1


def test_every_variable_has_the_label_of_its_group_in_optax():
    rates = {"slow": 0.25, "fast": 2.0, "frozen": 0.0}
    label = ps.labels({"encoder/*": "slow", "head/*": "fast"}, default="frozen")
    tx = optax.multi_transform({name: optax.sgd(rate) for name, rate in rates.items()}, label)
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    step = jax.jit(lambda grads, state: tx.update(grads, state, PARAMS))
    updates, state = step(grads, tx.init(PARAMS))
    updates, state = step(grads, state)
    for name, update in by_name(updates).items():
        np.testing.assert_array_equal(update, -rates[by_name(label(PARAMS))[name]])


def test_learning_rate_and_weight_decay_by_path_are_those_of_two_optimizers():
    label = ps.labels({"head/*": "head"}, default="body")
    rates = {"body": optax.adamw(1e-2, weight_decay=0.1), "head": optax.adamw(1e-1, weight_decay=0)}
    new, opt = PARAMS, ps.Optimizer(optax.multi_transform(rates, label)).init(PARAMS)
    alone = {k: tx.init(PARAMS) for k, tx in rates.items()}
    expected = dict.fromkeys(rates, PARAMS)
    grads = jax.tree.map(jnp.sin, PARAMS)
    for _ in range(3):
        new, opt = opt.update(grads, new)
        for k, tx in rates.items():
            updates, alone[k] = tx.update(grads, alone[k], expected[k])
            expected[k] = optax.apply_updates(expected[k], updates)
    for module, bundle in new.items():
        for name, value in bundle.items():
            whole = expected["head" if module == "head" else "body"]
            np.testing.assert_allclose(value, whole[module][name], rtol=1e-6, atol=1e-7)


def sgd(label):
    return optax.multi_transform({"a": optax.sgd(1.0), "b": optax.sgd(0.5)}, label)


def test_models_train_states_collections_and_stacks():
    label = ps.labels({"*head/w": "a"}, "b")
    grads = jax.tree.map(jnp.ones_like, PARAMS)

    model = ps.bind(F, PARAMS)
    new, _ = ps.Optimizer(sgd(label)).init(model).update(ps.bind(F, grads), model)
    train = ps.TrainState.create(F, sgd(label), 0, X)
    steps = {"model": (PARAMS, new.params), "train state": (train.params, train.update(sgd(label), grads).params)}  # fmt: skip
    for before, after in steps.values():
        change = by_name(
            jax.tree.map(lambda a, b: np.round(float((a - b).mean()), 3), before, after)
        )
        assert change == {n: 1.0 if n == "head/w" else 0.5 for n in NAMES}

    collections = ps.transform_with_collections(net).init(jax.random.key(0), X)
    found = label(collections)["params"]
    assert by_name(found) == {n: "a" if n == "head/w" else "b" for n in NAMES}

    def stack(x):
        return ps.layer_stack(3, name="blocks")(lambda x: ps.Linear(5, name="block")(x))(x)

    stacked = ps.transform(stack).init(jax.random.key(0), X)
    label = ps.labels({"blocks/*/w": "a"}, "b")
    assert label(stacked) == {"blocks/block": {"b": "b", "w": "a"}}
    loop = ps.unstack_layers(stacked, "block_{}", "blocks/block")
    label = ps.labels({"block_?/w": "a"}, "b")
    assert label(loop) == {f"block_{i}": {"b": "b", "w": "a"} for i in range(3)}


def test_parts_that_are_left_out():
    # The head is frozen: `tx` sees holes there, and the pattern for the head is right all the same.
    tx = ps.trainable_only(sgd(ps.labels({"head/*": "a"}, "b")), ~glob("head/*"))
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
    assert {n: float(u.mean()) for n, u in by_name(updates).items()} == {
        n: -0.0 if "head" in n else -0.5 for n in NAMES
    }
    # The same with optax's own masks, one inside the other.
    inner = sgd(ps.labels({"head/*": "a", E0 + "/*": "b", "norm/*": "b", has_ndim(7): "b"}, "a"))
    tx = optax.multi_transform({"in": inner, "out": optax.sgd(3.0)}, ps.labels({"encoder/*": "in"}, "out"))  # fmt: skip
    updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
    found = {n: float(u.mean()) for n, u in by_name(updates).items()}
    assert found == {n: -0.5 if E0 in n else -1.0 if E1 in n else -3.0 for n in NAMES}
    holes = {"head": {"w": None, "b": jnp.ones(2)}}
    assert ps.labels({"head/b": "a", "head/w": "b"})(holes) == {"head": {"w": None, "b": "a"}}
    with pytest.raises(PathError, match=r"'haed/\*' matches no variable"):
        ps.labels({"haed/*": "a"}, "b")(holes)


ERRORS = {
    "nothing": ({"haed/*": "a"}, "b", PathError, "Near it: 'head', 'head/w', 'head/b'"),
    "a typo comes before the names without a label": ({"encoder/*": "a", "embed/*": "a", "norm/*": "a", "haed/*": "b"}, None, PathError, "'haed/"),
    "module": ({"encoder": "a"}, "b", PathError, r"write 'encoder/\*'"),
    "end": ({"linear_0/w": "a"}, "b", PathError, r"write '\*/linear_0/w'"),
    "predicate": ({has_ndim(5): "a"}, "b", PathError, "has_ndim\\(5\\) matches no variable. It looked at 'embed/b'"),
    "no label": ({"head/*": "a"}, None, PathError, "no pattern matches 'embed/b'"),
    "two labels": ({"*/w": "a", "head/*": "b"}, "c", PathError, r"'head/w' gets the label 'a' from '\*/w' and 'b' from 'head/\*'.*glob\('\*/w'\) & ~glob\('head/\*'\)"),
    "traced": ({lambda path, leaf: leaf.sum() > 0: "a"}, "b", PredicateError, "return True or False"),
}  # fmt: skip


@pytest.mark.whole
@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    patterns, default, error, match = ERRORS[name]
    tx = optax.multi_transform({k: optax.sgd(0.1) for k in "abc"}, ps.labels(patterns, default))
    with pytest.raises(error, match=match):
        jax.jit(tx.init)(PARAMS)


@pytest.mark.parametrize(
    "patterns, default",
    [({"*": None}, None), ({"*": ("a", "b")}, None), ({"*": "a"}, ["b"]), ({3: "a"}, None), ("head/*", None),
     ([("head/*", "a")], None), ({"*": {}}, None)],
)  # fmt: skip
def test_wrong_arguments(patterns, default):
    with pytest.raises(PredicateError, match=r"ps\.labels"):
        ps.labels(patterns, default)


def test_a_repair_that_an_error_tells_works():
    label = ps.labels({glob("*/w") & ~glob("head/*"): "a", "head/*": "b"}, "c")
    assert label(PARAMS)["head"] == {"b": "b", "w": "b"}


def test_equality_pickle_and_repr():
    made = [ps.labels({"*/w": "a", has_ndim(1): "b"}, "c") for _ in range(2)]
    assert made[0] == made[1] == pickle.loads(pickle.dumps(made[0]))
    assert hash(made[0]) == hash(made[1])
    assert made[0] != ps.labels({"*/w": "a", has_ndim(1): "b"}, "d")
    assert made[0] != ps.labels({"*/w": "a", has_ndim(2): "b"}, "c")
    assert repr(made[0]) == "labels({'*/w': 'a', has_ndim(1): 'b'}, default='c')"
