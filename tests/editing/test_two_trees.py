"""Every function of two trees that belong together, with trees that do not: an error with the path and both shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps

PARAMS = {
    "linear": {"w": jnp.full([2, 1], 0.5), "b": jnp.full([2], 2.0)},
    "norm": {"scale": jnp.full([3], 3.0)},
}


def with_w(w):
    return {**PARAMS, "linear": {**PARAMS["linear"], "w": w}}


# Wrong values of 'linear/w', which is f32[2,1].
VALUES = {
    "broadcasts to more": jnp.ones([2]),
    "broadcasts to another rank": jnp.ones([5, 2, 1]),
    "is broadcast": jnp.ones([1, 1]),
    "is broadcast from fewer axes": jnp.ones([1]),
    "a scalar": jnp.ones([]),
    "transposed": jnp.ones([1, 2]),
    "longer": jnp.ones([3, 1]),
    "integers": jnp.ones([2, 1], jnp.int32),
    "complex numbers": jnp.ones([2, 1], jnp.complex64),
    "bools": jnp.ones([2, 1], bool),
    "an array of numpy": np.ones([2], np.float32),
}
STRUCTURES = {
    "a variable less": {**PARAMS, "linear": {"b": PARAMS["linear"]["b"]}},
    "a variable more": {**PARAMS, "linear": {**PARAMS["linear"], "v": jnp.ones([2])}},
    "a module less": {"linear": PARAMS["linear"]},
    "a module more": {**PARAMS, "other": {"w": jnp.ones([2])}},
    "a list": {**PARAMS, "linear": [PARAMS["linear"]["b"], PARAMS["linear"]["w"]]},
}
PARTS = {"transplant", "merge"}  # for these a tree may have less or more than the other


def optimizer(tree, tx=None):
    return ps.Optimizer(tx or optax.adam(0.1)).init(tree)


def everything(tx=None):
    return ps.trainable_only(tx or optax.adam(0.1), lambda params: True)


def inside(grads, params, apply_updates=True):
    def step(grads, params):
        opt = ps.Optimizer(optax.adam(0.1)).init(PARAMS)
        return opt.update(grads, params, apply_updates=apply_updates)

    return ps.transform_with_state(step).init(None, grads, params)


def model():
    return ps.bind(lambda x: x, PARAMS)


def jitted(f):
    return lambda tree: jax.jit(f)(tree)


FUNCTIONS = {
    "Optimizer.update": lambda tree: optimizer(PARAMS).update(tree, PARAMS)[0],
    "Optimizer.update under jit": jitted(lambda tree: optimizer(PARAMS).update(tree, PARAMS)[0]),
    "Optimizer.update of sgd": lambda tree: optimizer(PARAMS, optax.sgd(0.1)).update(tree, PARAMS),
    "Optimizer.update, params": lambda tree: optimizer(PARAMS).update(PARAMS, tree)[0],
    "Optimizer.update, grads and params": lambda tree: optimizer(PARAMS).update(tree, tree)[0],
    "Optimizer.update, grads without params": lambda tree: optimizer(PARAMS).update(
        tree, apply_updates=False
    ),
    "Optimizer.update, state": lambda tree: optimizer(tree).update(PARAMS, PARAMS),
    "Optimizer.update of trainable_only": lambda tree: optimizer(PARAMS, everything()).update(
        tree, PARAMS
    ),
    "Optimizer inside": lambda tree: inside(tree, PARAMS),
    "Optimizer inside, params": lambda tree: inside(PARAMS, tree),
    "Optimizer inside, grads and params": lambda tree: inside(tree, tree),
    "Optimizer inside, grads without params": lambda tree: inside(tree, None, False),
    "trainable_only": lambda tree: everything().update(tree, everything().init(PARAMS), PARAMS),
    "trainable_only, params": lambda tree: everything().update(
        PARAMS, everything().init(PARAMS), tree
    ),
    "trainable_only, grads and params": lambda tree: everything().update(
        tree, everything().init(PARAMS), tree
    ),
    "trainable_only, grads without params": lambda tree: everything().update(
        tree, everything().init(PARAMS)
    ),
    "ema": lambda tree: ps.ema(PARAMS).update(tree).params,
    "ema under jit": jitted(lambda tree: ps.ema(PARAMS).update(tree).params),
    "combine": lambda tree: ps.surgery.combine(PARAMS, tree),
    "combine, the third": lambda tree: ps.surgery.combine(
        jax.tree.map(lambda _: None, PARAMS), PARAMS, tree
    ),
    "at.set": lambda tree: ps.surgery.at({"params": PARAMS}, "params").set(tree),
    "at.apply": lambda tree: ps.surgery.at({"params": PARAMS}, "params").apply(lambda _: tree),
    "transplant": lambda tree: ps.surgery.transplant(tree, PARAMS).tree,
    "merge": lambda tree: ps.data_structures.merge(PARAMS, tree, check_duplicates=True),
    "stack_layers": lambda tree: ps.stack_layers(
        {f"block_{i}/{module}": bundle for i, t in enumerate((PARAMS, tree)) for module, bundle in t.items()},
        "block_{}",
    ),
    "model.update with params": lambda tree: model().update(tree).params,
    "model.update with a model": lambda tree: model().update(ps.bind(lambda x: x, tree)).params,
    "GradientDescent": lambda tree: ps.optim.GradientDescent(0.1).create(PARAMS).apply_gradient(tree),
}  # fmt: skip


def names_both(message, wrong):
    """Whether a message has the path of the variable, and the shapes (or dtypes) of both."""
    right = PARAMS["linear"]["w"]
    kinds = [
        ps.experimental.ArraySpec.from_array(x) for x in (right, np.asarray(wrong))
    ]  # as f32[2,1]
    pairs = (map(repr, kinds), (str(tuple(x.shape)) for x in kinds), (str(x.dtype) for x in kinds))
    return "linear/w'" in message and any(all(text in message for text in pair) for pair in pairs)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_another_shape_or_kind(function, value):
    tree = with_w(VALUES[value])
    with pytest.raises(ps.errors.PurestateError) as error:
        FUNCTIONS[function](tree)
    message = str(error.value)
    if function == "merge":
        assert "'w' of 'linear'" in message
        return
    if function == "stack_layers":
        assert "'w' is" in message
        return
    if "Optimizer" in function or "trainable_only" in function:
        assert "linear/w'" in message
        if not any(words in function for words in ("params", "state")):
            assert names_both(message, VALUES[value])
        return
    assert names_both(message, VALUES[value])


@pytest.mark.parametrize("tree", STRUCTURES)
@pytest.mark.parametrize("function", sorted(set(FUNCTIONS) - PARTS))
def test_another_structure(function, tree):
    if function == "trainable_only, grads and params" and "more" in tree:
        # A model that has grown: what the state lacks is made, as for a new mask.
        assert len(jax.tree.leaves(FUNCTIONS[function](STRUCTURES[tree])[0])) == 4
        return
    with pytest.raises(ps.errors.PurestateError):
        FUNCTIONS[function](STRUCTURES[tree])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_trees_that_belong_together(function):
    out = FUNCTIONS[function](jax.tree.map(lambda leaf: 0.5 * leaf, PARAMS))
    if jax.tree.structure(out) == jax.tree.structure(PARAMS):
        assert jax.tree.map(lambda x: (x.shape, x.dtype), out) == jax.tree.map(
            lambda x: (x.shape, x.dtype), PARAMS
        )


@pytest.mark.parametrize("grads", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("params", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("tx", [optax.sgd(0.1), optax.sgd(0.1, momentum=0.9), optax.adam(0.1)])
def test_gradients_of_another_precision(tx, params, grads):
    """They may differ, unless the state would change its dtype with the first step."""
    params, grads = (jax.tree.map(lambda x: x.astype(d), PARAMS) for d in (params, grads))
    plain_state = tx.init(params)
    _, expected = tx.update(grads, plain_state, params)
    changes = jax.tree.map(jnp.result_type, expected) != jax.tree.map(jnp.result_type, plain_state)
    only = everything(tx)
    for update in (
        lambda: ps.Optimizer(tx).init(params).update(grads, params)[1].opt_state,
        lambda: only.update(grads, only.init(params), params)[1],
    ):
        if changes:
            with pytest.raises(ps.errors.PurestateError, match="another dtype than params.*astype"):
                update()
        else:
            jax.tree.map(np.testing.assert_array_equal, update(), expected)
    # The ways out that the message names.
    cast = jax.tree.map(lambda g, p: g.astype(p.dtype), grads, params)
    ps.Optimizer(tx).init(params).update(cast, params)
    ps.Optimizer(tx).init(grads).update(grads, params)


def test_gradients_of_integers():
    params = {"linear": {"w": jnp.ones([2, 1]), "n": jnp.array([3])}}
    grads = jax.grad(lambda p: p["linear"]["w"].sum(), allow_int=True)(params)
    assert grads["linear"]["n"].dtype == jax.dtypes.float0
    tx = ps.trainable_only(optax.adam(0.1), ps.surgery.glob("*/w"))
    new, _ = ps.Optimizer(tx).init(params).update(grads, params)
    assert new["linear"]["n"].dtype == jnp.int32
    assert new["linear"]["n"].tolist() == [3]
    assert ps.surgery.combine(grads, grads) is not None
    # An optimizer's fractions would be cut to whole numbers.
    with pytest.raises(ps.errors.ViewError, match="'linear/n'.*ps.trainable_only"):
        ps.Optimizer(optax.sgd(0.1)).init(params).update(params, params)


@pytest.mark.parametrize("wrong", [jnp.ones([2]), jnp.ones([7, 7]), jnp.ones([2, 1], jnp.int32)])
def test_gradients_of_frozen_parameters_do_not_matter(wrong):
    tx = ps.trainable_only(optax.adam(0.1), ps.surgery.glob("*/b"))
    updates, _ = tx.update(with_w(wrong), tx.init(PARAMS), PARAMS)
    assert np.asarray(updates["linear"]["w"]).tobytes() == np.full([2, 1], -0.0, "f4").tobytes()


@pytest.mark.parametrize("tree", [with_w(None), jax.tree.map(lambda _: None, PARAMS)])
def test_holes_fit(tree):
    assert ps.surgery.combine(tree, PARAMS)["linear"]["w"] is PARAMS["linear"]["w"]
    assert ps.surgery.combine(PARAMS, tree)["linear"]["w"] is PARAMS["linear"]["w"]
    assert model().update(tree).params["linear"]["w"] is PARAMS["linear"]["w"]


def test_state_may_change_its_shape():
    grown = ps.bind(lambda x: x, PARAMS, {"cache": {"keys": jnp.ones([9, 2])}})
    new = ps.bind(lambda x: x, PARAMS, {"cache": {"keys": jnp.ones([1, 2])}})
    f = ps.transform_with_state(lambda x: x)
    new, grown = (ps.bind(f, PARAMS, m.state) for m in (new, grown))
    assert new.update(grown).state["cache"]["keys"].shape == (9, 2)


def test_dtypes_of_at():
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    place = ps.surgery.at(params, "linear/w")
    with pytest.raises(
        ps.errors.ShapeMismatchError,
        match="'linear/w' has dtype bfloat16, and cannot be set to a value of dtype float32",
    ):
        place.set(PARAMS["linear"]["w"])
    assert place.set(PARAMS["linear"]["w"], any_dtype=True)["linear"]["w"].dtype == jnp.float32
    cast = ps.surgery.at(params, "linear").apply(
        lambda linear: jax.tree.map(lambda x: x.astype(jnp.float32), linear), any_dtype=True
    )
    assert {x.dtype for x in jax.tree.leaves(cast["linear"])} == {jnp.dtype("float32")}
    scalars = {"a": {"float": jnp.float32(1), "int": jnp.int32(1), "python": 1.0}}
    for path, value in (("a/float", 2), ("a/float", 2.5), ("a/int", 2), ("a/python", 3.0)):
        assert ps.surgery.at(scalars, path).set(value)["a"][path[2:]] == value
    assert ps.surgery.at(PARAMS, "linear/w").set(np.ones([2, 1])) is not None  # float32 to JAX
    for path, value in (("a/int", 2.5), ("a/float", 1j)):
        with pytest.raises(ps.errors.ShapeMismatchError, match="dtype"):
            ps.surgery.at(scalars, path).set(value)
