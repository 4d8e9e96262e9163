"""`trainable_only`, against optax's own `multi_transform` with `set_to_zero`, and down to the bits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps

PARAMS = {
    "a": {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.array([-0.0, 0.0, 1.0])},
    "b": {"w": jnp.linspace(-1, 1, 4).reshape(2, 2)},
}
MASK = {"a": {"w": True, "b": False}, "b": {"w": False}}
ALL = jax.tree.map(lambda leaf: True, PARAMS)


def grads_at(step):
    return jax.tree.map(lambda p: jnp.cos(p * 3 + step), PARAMS)


def train(tx, params, state, steps, update=None):
    update = update or tx.update
    for step in steps:
        updates, state = update(grads_at(step), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def bits(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf).tobytes(), tree)


def assert_same(a, b):
    assert bits(a) == bits(b)


OPTIMIZERS = {
    "adamw": lambda: optax.adamw(0.1, weight_decay=0.3),
    "sgd": lambda: optax.sgd(0.1),
    "momentum": lambda: optax.sgd(0.1, momentum=0.9),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.1)),
    "lion": lambda: optax.lion(0.1, weight_decay=0.1),
    "adafactor": lambda: optax.adafactor(0.1),
    "schedule": lambda: optax.adam(optax.linear_schedule(0.1, 0.0, 4)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_same_as_multi_transform(name):
    tx = ps.trainable_only(OPTIMIZERS[name](), MASK)
    labels = jax.tree.map(lambda train: "t" if train else "f", MASK)
    reference = optax.multi_transform({"t": OPTIMIZERS[name](), "f": optax.set_to_zero()}, labels)
    ours, state = train(tx, PARAMS, tx.init(PARAMS), range(3))
    theirs, _ = train(reference, PARAMS, reference.init(PARAMS), range(3))
    np.testing.assert_array_equal(ours["a"]["w"], theirs["a"]["w"])
    assert not np.array_equal(ours["a"]["w"], PARAMS["a"]["w"])
    for module, key in (("a", "b"), ("b", "w")):
        assert_same(ours[module][key], PARAMS[module][key])
    # Nothing is kept for the others.
    shapes = {leaf.shape for leaf in jax.tree.leaves(state) if leaf.ndim}
    assert shapes <= {(2, 3), (2,), (3,), (1,)}
    assert (
        len(jax.tree.leaves(state)) < len(jax.tree.leaves(OPTIMIZERS[name]().init(PARAMS)))
        or name == "sgd"
    )


def test_optax_masked_would_not_do():
    tx = optax.masked(optax.sgd(0.1), MASK)
    params, _ = train(tx, PARAMS, tx.init(PARAMS), range(1))
    assert not np.array_equal(params["b"]["w"], PARAMS["b"]["w"])


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize(
    "frozen",
    [
        jnp.array([-0.0, 0.0, jnp.nan, -jnp.nan, jnp.inf, -jnp.inf, 1e38, 1.2e-38]),
        jnp.array([-0.0, 0.0, 3.0], jnp.bfloat16),
        jnp.array([-0.0, 6e-5, 65504.0], jnp.float16),
        jnp.array([complex(-0.0, 0.0), complex(0.0, -0.0), complex(-0.0, -0.0)], jnp.complex64),
        jnp.array([-(2**31), 0, 7], jnp.int32),
        jnp.array([True, False]),
        jnp.array(-0.0),
    ],
    ids=lambda leaf: str(leaf.dtype) + str(leaf.shape),
)
def test_bits_of_what_is_frozen(frozen, compiled):
    params = {"a": {"w": jnp.ones([2])}, "b": {"frozen": frozen}}
    bad = jnp.full(
        frozen.shape, jnp.nan if jnp.issubdtype(frozen.dtype, jnp.inexact) else 1, frozen.dtype
    )
    grads = {"a": {"w": jnp.ones([2])}, "b": {"frozen": bad}}
    tx = ps.trainable_only(optax.adamw(0.1, weight_decay=0.5), ps.surgery.glob("a/*"))

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        assert updates["b"]["frozen"].dtype == frozen.dtype
        return optax.apply_updates(params, updates), updates, state

    new, updates, state = (jax.jit(step) if compiled else step)(params, tx.init(params), grads)
    assert_same(new["b"], params["b"])
    assert new["b"]["frozen"].dtype == frozen.dtype
    assert not np.any(updates["b"]["frozen"])
    assert np.all(np.isfinite(new["a"]["w"]))
    assert np.all(new["a"]["w"] != 1)


def test_gradients_of_integers():
    params = {"a": {"w": jnp.ones([2]), "table": jnp.arange(2)}}
    grads = jax.grad(lambda p: (p["a"]["w"] * p["a"]["table"]).sum(), allow_int=True)(params)
    assert grads["a"]["table"].dtype == jax.dtypes.float0
    tx = ps.trainable_only(optax.adam(0.1), {"a": {"w": True, "table": False}})
    new = optax.apply_updates(params, tx.update(grads, tx.init(params), params)[0])
    assert new["a"]["table"].tolist() == [0, 1]
    assert new["a"]["table"].dtype == params["a"]["table"].dtype


def specs():
    def f():
        with ps.freeze(~ps.surgery.glob("a/w")):
            for module, values in PARAMS.items():
                with ps.name_scope(module):
                    for name, value in values.items():
                        ps.get_parameter(name, value.shape, init=jnp.zeros)

    return ps.specs(ps.transform_with_state(f))(None)


@pytest.mark.parametrize(
    "mask",
    [
        MASK,
        lambda params: MASK,
        ps.surgery.glob("a/w"),
        {"a": {"w": True, "b": False}, "b": False},
        specs,
        np.bool_,
    ],
    ids=["bools", "function", "predicate", "prefix", "specs", "numpy"],
)
def test_every_kind_of_mask(mask):
    if mask is specs:
        mask = specs()
    elif mask is np.bool_:
        mask = jax.tree.map(np.bool_, MASK)
    tx, expected = (
        ps.trainable_only(optax.adam(0.1), mask),
        ps.trainable_only(optax.adam(0.1), MASK),
    )
    assert_same(*(train(tx, PARAMS, tx.init(PARAMS), range(2)) for tx in (tx, expected)))


def test_in_chains_and_with_extra_arguments():
    tx = optax.chain(optax.clip(0.5), ps.trainable_only(optax.adamw(0.1), MASK))
    reference = optax.chain(
        optax.clip(0.5),
        optax.multi_transform({True: optax.adamw(0.1), False: optax.set_to_zero()}, MASK),
    )
    ours, theirs = (train(tx, PARAMS, tx.init(PARAMS), range(3))[0] for tx in (tx, reference))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    extra = ps.trainable_only(optax.polyak_sgd(0.1), MASK)
    assert isinstance(extra, optax.GradientTransformationExtraArgs)
    assert type(ps.trainable_only(optax.identity(), MASK)) is type(optax.identity())
    chained = optax.chain(extra, optax.identity())
    updates, _ = chained.update(grads_at(0), chained.init(PARAMS), PARAMS, value=jnp.float32(2.0))
    held = {"a": {"w": PARAMS["a"]["w"]}}
    alone = optax.polyak_sgd(0.1)
    expected, _ = alone.update(
        {"a": {"w": grads_at(0)["a"]["w"]}}, alone.init(held), held, value=jnp.float32(2.0)
    )
    np.testing.assert_array_equal(updates["a"]["w"], expected["a"]["w"])


def test_any_pair_of_functions():
    class Plain:
        init = staticmethod(lambda params: ())
        update = staticmethod(
            lambda grads, state, params=None: (jax.tree.map(lambda g: -g, grads), state)
        )

    tx = ps.trainable_only(Plain, MASK)
    updates, _ = tx.update(grads_at(0), tx.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["a"]["w"], -grads_at(0)["a"]["w"])
    assert not np.any(updates["b"]["w"])
    assert optax.chain(tx).init(PARAMS) == ((),)


def test_parts_with_holes():
    """Gradients and parameters of the trained half alone, as `partition_trainable` gives them."""
    held = ps.surgery.filter(PARAMS, ps.surgery.glob("a/w"))
    grads = ps.surgery.filter(grads_at(0), ps.surgery.glob("a/w"))
    tx = ps.trainable_only(optax.adamw(0.1), ps.surgery.glob("a/w"))
    expected, _ = train(tx, PARAMS, tx.init(PARAMS), range(1))
    updates, _ = tx.update(grads, tx.init(held), held)
    assert updates["b"] == {"w": None}
    np.testing.assert_array_equal(PARAMS["a"]["w"] + updates["a"]["w"], expected["a"]["w"])
    updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)  # gradients with holes, whole parameters
    assert_same(optax.apply_updates(PARAMS, updates), expected)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_unfreezing_keeps_moments_and_count(compiled):
    first, then = ps.trainable_only(optax.adam(0.1), MASK), ps.trainable_only(optax.adam(0.1), ALL)
    compile_ = jax.jit if compiled else lambda f: f
    params, state = train(first, PARAMS, first.init(PARAMS), range(3), compile_(first.update))
    new_params, new_state = train(then, params, state, [3, 4], compile_(then.update))
    # What was trained all along goes on as if it had been alone.
    alone = optax.adam(0.1)
    held = {"a": {"w": PARAMS["a"]["w"]}}
    alone_state = alone.init(held)
    for step in range(5):
        updates, alone_state = compile_(alone.update)(
            {"a": {"w": grads_at(step)["a"]["w"]}}, alone_state, held
        )
        held = optax.apply_updates(held, updates)
    np.testing.assert_array_equal(new_params["a"]["w"], held["a"]["w"])
    np.testing.assert_array_equal(new_state[0].mu["a"]["w"], alone_state[0].mu["a"]["w"])
    np.testing.assert_array_equal(new_state[0].nu["a"]["w"], alone_state[0].nu["a"]["w"])
    assert int(new_state[0].count) == 5
    # What is new began with empty moments: two steps of Adam's first moment, in float64.
    g3, g4 = (np.asarray(grads_at(step)["b"]["w"], np.float64) for step in (3, 4))
    np.testing.assert_allclose(new_state[0].mu["b"]["w"], 0.9 * 0.1 * g3 + 0.1 * g4, rtol=1e-5)
    assert not np.array_equal(new_params["b"]["w"], PARAMS["b"]["w"])
    # And back: the moments of what is frozen again are dropped, and all others stay.
    final_params, final_state = train(first, new_params, new_state, [5])
    assert final_state[0].mu["b"] == {"w": None}
    assert int(final_state[0].count) == 6
    assert_same(final_params["b"], new_params["b"])


def test_other_parameters_take_turns():
    one, other = (
        ps.trainable_only(optax.sgd(0.1, momentum=0.9), ps.surgery.glob(f"{name}/w"))
        for name in "ab"
    )
    params, state = train(one, PARAMS, one.init(PARAMS), [0])
    params, state = train(other, params, state, [1])
    assert optax.tree.get(state, "trace")["a"]["w"] is None
    np.testing.assert_allclose(
        params["b"]["w"], PARAMS["b"]["w"] - 0.1 * grads_at(1)["b"]["w"], rtol=1e-6
    )


def test_states_that_were_stored_as_dicts():
    tx = ps.trainable_only(optax.adam(0.1), MASK)
    params, state = train(tx, PARAMS, tx.init(PARAMS), [0])
    stored = [
        {
            "count": state[0].count,
            "mu": {"a": {"w": state[0].mu["a"]["w"]}},
            "nu": {"a": {"w": state[0].nu["a"]["w"]}},
        }
    ]
    assert_same(train(tx, params, stored, [1]), train(tx, params, state, [1]))


def test_all_trained_is_the_optimizer_itself():
    tx, plain = ps.trainable_only(optax.adamw(0.1), ALL), optax.adamw(0.1)
    assert_same(
        train(tx, PARAMS, tx.init(PARAMS), range(2)),
        train(plain, PARAMS, plain.init(PARAMS), range(2)),
    )


def test_refusals():
    tx = ps.trainable_only(optax.adam(0.1), MASK)
    state = tx.init(PARAMS)
    with pytest.raises(ps.errors.BundleError, match="mask does not fit the params: .*'c/w'"):
        tx.init({**PARAMS, "c": {"w": jnp.ones([1])}})
    with pytest.raises(ps.errors.BundleError, match="a mask is of bools.*Array"):
        ps.trainable_only(optax.adam(0.1), PARAMS).init(PARAMS)
    with pytest.raises(ps.errors.BundleError, match="'a/w' is trained, but has no gradient"):
        tx.update({"a": {"w": None, "b": None}, "b": {"w": None}}, state, PARAMS)
    with pytest.raises(
        ps.errors.BundleError, match="grads and params differ in structure: only params has 'b/w'"
    ):
        tx.update({"a": grads_at(0)["a"]}, state, PARAMS)
    with pytest.raises(
        ps.errors.BundleError, match=r"needs the params: tx.update\(grads, state, params\)"
    ):
        ps.trainable_only(optax.adam(0.1), ALL).update(grads_at(0), state)
    with pytest.raises(
        ps.errors.BundleError,
        match="the state has '0/trace/a/w', so it belongs to another optimizer",
    ):
        tx.update(
            grads_at(0), ps.trainable_only(optax.sgd(0.1, momentum=0.9), MASK).init(PARAMS), PARAMS
        )
    smaller = jax.tree.map(lambda leaf: leaf[..., :1], PARAMS)
    wrong = ps.trainable_only(optax.adam(0.1), ALL)
    with pytest.raises(
        ps.errors.BundleError,
        match=r"'0/mu/a/w' in the state has shape \(2, 3\), but the new mask needs \(2, 1\)",
    ):
        wrong.update(smaller, state, smaller)


def test_training_a_model_with_a_frozen_half():
    def forward(x):
        with ps.freeze("encoder/*"):
            h = ps.nets.MLP([4, 4], name="encoder")(x)
        return ps.Linear(1, name="head")(h)

    f, x, y = ps.transform(forward), jnp.linspace(-1, 1, 24).reshape(8, 3), jnp.ones([8, 1])
    params = f.init(jax.random.key(0), x)
    tx = ps.trainable_only(optax.adamw(0.05, weight_decay=0.1), ps.specs(f)(jax.random.key(0), x))

    @jax.jit
    def step(params, state):
        loss, grads = jax.value_and_grad(
            lambda params: ((f.apply(params, None, x) - y) ** 2).mean()
        )(params)
        updates, state = tx.update(grads, state, params)
        return loss, optax.apply_updates(params, updates), state

    state, new, losses = tx.init(params), params, []
    for _ in range(20):
        loss, new, state = step(new, state)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
    assert bits(new["encoder/~/linear_0"]) == bits(params["encoder/~/linear_0"])
    assert bits(new["head"]) != bits(params["head"])
