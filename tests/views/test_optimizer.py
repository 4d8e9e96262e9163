"""`ps.Optimizer`, inside a transformed function and outside, against written numbers and against optax itself."""

import copy

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps

PARAMS = {"w": jnp.array([1.0, 2.0]), "b": jnp.array([0.5])}
GRADS = {"w": jnp.array([0.1, -0.2]), "b": jnp.array([1.0])}

# Parameters after one, two and three steps.
STEPS = {
    "sgd": (optax.sgd(0.1), [([0.99, 2.02], 0.4), ([0.98, 2.04], 0.3), ([0.97, 2.06], 0.2)]),
    "momentum": (
        optax.sgd(0.1, momentum=0.9),
        [([0.99, 2.02], 0.4), ([0.971, 2.058], 0.21), ([0.9439, 2.1122], -0.061)],
    ),
    "adam": (
        optax.adam(0.1),
        [
            ([0.9000007, 2.0999994], 0.4000006),
            ([0.8000017, 2.1999984], 0.3000017),
            ([0.7000021, 2.2999980], 0.2000020),
        ],
    ),
}
# What is in the state after three, leaf by leaf.
STATES = {
    "sgd": [],
    "momentum": [[2.71], [0.271, -0.542]],
    "adam": [3, [0.271], [0.0271, -0.0542], [0.002997], [2.997e-5, 1.1988e-4]],
}
CASES = [
    pytest.param(name, jit, id=f"{name}-{'jit' if jit else 'eager'}")
    for name in STEPS
    for jit in (False, True)
]


def check_steps(name, step, opt_state_of):
    params = PARAMS
    for w, b in STEPS[name][1]:
        params = step(params)
        np.testing.assert_allclose(params["w"], w, atol=1e-6)
        np.testing.assert_allclose(params["b"], [b], atol=1e-6)
    leaves = jax.tree.leaves(opt_state_of())
    assert len(leaves) == len(STATES[name])
    for leaf, expected in zip(leaves, STATES[name], strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=1e-5)


@pytest.mark.parametrize(("name", "jit"), CASES)
def test_outside(name, jit):
    opt = first = ps.Optimizer(STEPS[name][0]).init(PARAMS)
    traces = []

    def update(grads, params, opt):
        traces.append(1)
        return opt.update(grads, params)

    run = jax.jit(update) if jit else update

    def step(params):
        nonlocal opt
        params, opt = run(GRADS, params, opt)
        return params

    check_steps(name, step, lambda: opt.opt_state)
    assert len(traces) == (1 if jit else 3)
    assert all(
        (leaf == 0).all() for leaf in jax.tree.leaves(first.opt_state)
    )  # the first one is as it was


@pytest.mark.parametrize(("name", "jit"), CASES)
def test_inside(name, jit):
    f = ps.transform_with_state(
        lambda grads, params: ps.Optimizer(STEPS[name][0]).update(grads, params)
    )
    params, state = f.init(None, GRADS, PARAMS)
    assert params == {}
    assert {module: list(bundle) for module, bundle in state.items()} == {
        "optimizer": ["opt_state"]
    }
    assert all(
        (leaf == 0).all() for leaf in jax.tree.leaves(state)
    )  # `init` gives the first values
    apply = jax.jit(f.apply) if jit else f.apply

    def step(params):
        nonlocal state
        params, state = apply({}, state, None, GRADS, params)
        return params

    check_steps(name, step, lambda: state["optimizer"]["opt_state"])


def test_two_inside_are_apart():
    def forward(grads, params):
        first, second = ps.Optimizer(optax.adam(0.1)), ps.Optimizer(optax.adam(0.1))
        ps.Optimizer(optax.sgd(0.1, momentum=0.9), name="slow").init(params)
        return second.update(grads, first.update(grads, params))

    f = ps.transform_with_state(forward)
    _, state = f.init(None, GRADS, PARAMS)
    assert list(state) == ["slow", "optimizer", "optimizer_1"]
    params, state = f.apply({}, state, None, GRADS, PARAMS)
    np.testing.assert_allclose(params["w"], [0.8, 2.2], atol=1e-5)
    assert [int(state[name]["opt_state"][0].count) for name in ("optimizer", "optimizer_1")] == [
        1,
        1,
    ]


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_updates_alone(inside):
    def run(grads, params=None):
        out = ps.Optimizer(optax.sgd(0.1)).init(PARAMS).update(grads, params, apply_updates=False)
        return out if inside else out[0]

    updates = ps.transform_with_state(run).apply({}, {}, None, GRADS)[0] if inside else run(GRADS)
    np.testing.assert_allclose(updates["w"], [-0.01, 0.02], rtol=1e-6)


def test_misuse():
    with pytest.raises(RuntimeError, match="has no state yet"):
        ps.Optimizer(optax.sgd(0.1)).update(GRADS, PARAMS)
    opt = ps.Optimizer(optax.sgd(0.1)).init(PARAMS)
    with pytest.raises(ValueError, match="no params to update"):
        opt.update(GRADS)
    less = {"w": GRADS["w"]}
    with pytest.raises(ValueError, match="initialized with 2 arrays, but grads have 1"):
        opt.update(less, {"w": PARAMS["w"]})
    with pytest.raises(ValueError, match="only params has 'b'"):
        ps.Optimizer(optax.sgd(0.1)).init(less).update(less, PARAMS)
    with pytest.raises(ValueError, match="holes, None, in different places"):
        ps.Optimizer(optax.sgd(0.1)).init(less).update({"w": GRADS["w"], "b": None}, PARAMS)
    with pytest.raises(TypeError, match="takes an optax optimizer.*float"):
        ps.Optimizer(0.1)

    def inside(f):
        return ps.transform_with_state(f).init(None)

    with pytest.raises(RuntimeError, match="'optimizer' has no state yet"):
        inside(lambda: ps.Optimizer(optax.sgd(0.1)).update(GRADS, apply_updates=False))
    with pytest.raises(ValueError, match="no params to update"):
        inside(lambda: ps.Optimizer(optax.sgd(0.1)).init(PARAMS).update(GRADS))
    with pytest.raises(TypeError, match="takes an optax optimizer"):
        inside(lambda: ps.Optimizer(jnp.ones([2])))


OPTIMIZERS = {
    "adamw": lambda: optax.adamw(0.1, weight_decay=0.3),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(0.1), optax.lion(0.1)),
    "schedule": lambda: optax.adam(optax.linear_schedule(0.1, 0.0, 4)),
    "hyperparams": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=0.1),
    "masked": lambda: optax.masked(optax.adam(0.1), {"w": True, "b": False}),
    "trainable_only": lambda: ps.trainable_only(optax.adamw(0.1), {"w": True, "b": False}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_same_bits_as_optax(name):
    tx = OPTIMIZERS[name]()
    expected, opt_state = PARAMS, tx.init(PARAMS)
    params, opt = PARAMS, ps.Optimizer(tx).init(PARAMS)
    for _ in range(3):
        updates, opt_state = tx.update(GRADS, opt_state, expected)
        expected = optax.apply_updates(expected, updates)
        params, opt = opt.update(GRADS, params)
    jax.tree.map(np.testing.assert_array_equal, (params, opt.opt_state), (expected, opt_state))


def test_frozen_parameters_keep_their_bits():
    tx = ps.trainable_only(optax.adamw(0.1, weight_decay=0.5), {"w": True, "b": False})
    params, opt = ps.Optimizer(tx).init(PARAMS).update(GRADS, PARAMS)
    assert np.asarray(params["b"]).tobytes() == np.asarray(PARAMS["b"]).tobytes()
    assert (params["w"] != PARAMS["w"]).all()


def test_holes():
    params, grads = {**PARAMS, "b": None}, {**GRADS, "b": None}
    new, opt = ps.Optimizer(optax.adamw(0.1)).init(params).update(grads, params)
    assert new["b"] is None
    assert len(jax.tree.leaves(opt)) == 3  # count, and two moments of w


def test_what_an_optimizer_takes_besides():
    tx = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1))
    opt, opt_state = ps.Optimizer(tx).init(PARAMS), tx.init(PARAMS)
    f = ps.transform_with_state(lambda value: ps.Optimizer(tx).update(GRADS, PARAMS, value=value))
    _, state = f.init(None, 1.0)
    for _ in range(3):
        _, opt_state = tx.update(GRADS, opt_state, PARAMS, value=1.0)
        _, opt = opt.update(GRADS, PARAMS, value=1.0)
        _, state = f.apply({}, state, None, 1.0)
    assert float(opt.opt_state[-1].scale) == float(opt_state[-1].scale) < 1
    assert float(state["optimizer"]["opt_state"][-1].scale) == float(opt_state[-1].scale)


def test_dtypes_stay():
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    new, _ = ps.Optimizer(optax.sgd(0.1)).init(params).update(GRADS, params)
    assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {jnp.dtype(jnp.bfloat16)}


def test_weak_types():
    traces = []

    @jax.jit
    def step(params, opt):
        traces.append(1)
        return opt.update(jax.grad(lambda p: p["x"] ** 2)(params), params)

    params = {"x": jnp.array(2.0)}
    assert params["x"].weak_type
    opt = ps.Optimizer(optax.adam(0.1)).init(params)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(opt))
    for _ in range(4):
        params, opt = step(params, opt)
    assert len(traces) == 2  # the parameter itself has a weak type, and then no more


def test_through_jax():
    opt = ps.Optimizer(optax.adam(0.1)).init(PARAMS)

    def step(carry, grads):
        return carry[1].update(grads, carry[0]), None

    many = jax.tree.map(lambda g: jnp.stack([g] * 3), GRADS)
    (params, opt), _ = jax.lax.scan(step, (PARAMS, opt), many)
    np.testing.assert_allclose(params["w"], [0.7000021, 2.2999980], atol=1e-6)
    assert int(opt.opt_state[0].count) == 3
    rows = jax.tree.map(lambda p: jnp.stack([p] * 4), PARAMS)
    opts = jax.vmap(ps.Optimizer(optax.adam(0.1)).init)(rows)
    assert opts.opt_state[0].count.shape == (4,)
    new, _ = jax.vmap(lambda opt, p: opt.update(GRADS, p))(opts, rows)
    np.testing.assert_allclose(new["w"], [[0.9, 2.1]] * 4, atol=1e-5)
    shapes = jax.eval_shape(ps.Optimizer(optax.adam(0.1)).init, PARAMS)
    assert jax.tree.structure(shapes.opt_state) == jax.tree.structure(opt.opt_state)


def test_donation():
    opt = ps.Optimizer(optax.adam(0.1)).init(PARAMS)
    step = jax.jit(lambda params, opt: opt.update(GRADS, params), donate_argnums=(0, 1))
    params, new = step(jax.tree.map(jnp.copy, PARAMS), opt)
    assert opt.opt_state[0].mu["w"].is_deleted()
    _, new = step(params, new)
    assert int(new.opt_state[0].count) == 2


def test_copies():
    _, opt = ps.Optimizer(optax.adam(0.1)).init(PARAMS).update(GRADS, PARAMS)
    expected, _ = opt.update(GRADS, PARAMS)
    for other in (copy.copy(opt), copy.deepcopy(opt), cloudpickle.loads(cloudpickle.dumps(opt))):
        jax.tree.map(np.testing.assert_array_equal, other.update(GRADS, PARAMS)[0], expected)
    assert jax.tree.structure(copy.deepcopy(opt)) == jax.tree.structure(opt)
    assert "of 2 arrays" in repr(opt)
    assert "without a state" in repr(ps.Optimizer(optax.adam(0.1)))


def test_paths_of_leaves():
    opt = ps.Optimizer(optax.sgd(0.1, momentum=0.9)).init(PARAMS)
    (path, _), *_ = jax.tree_util.tree_leaves_with_path(opt)
    assert jax.tree_util.keystr(path) == ".opt_state[0].trace['b']"


def test_of_a_model_in_jit_traced_once():
    f = ps.transform_with_state(lambda x: ps.Linear(2)(x))
    x, traces = jnp.ones([4, 3]), []
    model = ps.bind(f, *f.init(jax.random.key(0), x)).freeze("*/b")
    opt = ps.Optimizer(optax.adamw(0.1)).init(model.trainable_parameters())

    @jax.jit
    def step(model, opt, x):
        traces.append(1)
        params = model.trainable_parameters()
        grads = jax.grad(lambda params: (model.update(params)(x) ** 2).mean())(params)
        params, opt = opt.update(grads, params)
        return model.update(params), opt

    structure, first = jax.tree.structure((model, opt)), model
    for _ in range(4):
        model, opt = step(model, opt, x)
        assert jax.tree.structure((model, opt)) == structure
    assert len(traces) == 1
    np.testing.assert_array_equal(model.params["linear"]["b"], first.params["linear"]["b"])
    assert (jnp.abs(model.params["linear"]["w"]) < jnp.abs(first.params["linear"]["w"])).any()


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_models_are_their_params_to_optax(inside):
    f = ps.transform_with_state(
        lambda x, is_training: ps.BatchNorm(True, True, 0.9)(x, is_training)
    )
    x = jnp.array([[1.0, 2.0], [3.0, 5.0]])
    model = ps.bind(f, *f.init(None, x, True))
    mask = {"batch_norm": {"scale": True, "offset": False}}
    tx = ps.trainable_only(optax.adamw(0.1), mask)  # a mask of dicts does for models

    def grads_of(model):
        return jax.grad(lambda params: (model.update(params)(x) ** 3).sum())(model.parameters())

    def step(grads, params):
        return ps.Optimizer(tx).update(grads, params)

    g, expected, grads = ps.transform_with_state(step), model.params, grads_of(model.train())
    first = state = (
        g.init(None, grads, model.parameters())[1]
        if inside
        else ps.Optimizer(tx).init(model.parameters())
    )
    opt_state = tx.init(expected)
    assert jax.tree.structure(
        state["optimizer"]["opt_state"] if inside else state.opt_state
    ) == jax.tree.structure(opt_state)
    for i, view in enumerate((model.train(), model.freeze("nothing").train(), model.train())):
        # Models that differ in what they are made of, and one that is more than its parameters.
        grads, params = grads_of(view.update(expected)), view.update(expected)
        params = params if i == 2 else params.parameters()
        if inside:
            params, state = g.apply({}, state, None, grads, params)
        else:
            params, state = state.update(grads, params)
        updates, opt_state = tx.update(grads.params, opt_state, expected)
        expected = optax.apply_updates(expected, updates)
        jax.tree.map(np.testing.assert_array_equal, params.params, expected)
        assert params.training is True
        assert (params.state == view.state) is (i == 2)
    assert jax.tree.structure(first) == jax.tree.structure(state)
    two, _ = (
        ps.Optimizer(optax.sgd(1.0)).init([model, model]).update([grads, grads], [model, model])
    )
    np.testing.assert_allclose(
        two[1].params["batch_norm"]["scale"], 1 - grads.params["batch_norm"]["scale"], rtol=1e-6
    )
    updates, _ = ps.Optimizer(optax.sgd(1.0)).init(model).update(grads, apply_updates=False)
    assert jax.tree.structure(updates) == jax.tree.structure(grads)


def test_gradient_descent_as_flax_had_it():
    definition = ps.optim.GradientDescent(learning_rate=jnp.array(0.02))
    opt = definition.create({"bias": jnp.zeros([3])})
    grads = {"bias": jnp.array([-16.2, -21.6, -32.4])}
    new = jax.jit(lambda opt: opt.apply_gradient(grads))(opt)
    np.testing.assert_allclose(new.target["bias"], [0.324, 0.432, 0.648], rtol=1e-6)
    assert opt.target["bias"].tolist() == [0, 0, 0]
    updates, _ = optax.sgd(0.02).update(grads, optax.sgd(0.02).init(opt.target))
    np.testing.assert_allclose(new.target["bias"], updates["bias"], rtol=1e-6)
