"""`stack_layers` and `unstack_layers`: a loop model and a `layer_stack` model load each other's checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps

COUNT = 3
RNG, X = jax.random.key(0), jnp.linspace(-1, 1, 12).reshape(4, 3)


class Block(ps.Module):
    """A layer with modules inside, a parameter of its own, and state."""

    def __call__(self, x):
        gain = ps.get_parameter("gain", [], init=jnp.ones)
        calls = ps.get_state("calls", [], jnp.int32, init=jnp.zeros)
        ps.set_state("calls", calls + 1)
        ps.set_state("last", x.mean(0))
        return x + gain * jnp.tanh(ps.nets.MLP([5, 3])(x))


def loop(x, name="block_{}"):
    x = ps.Linear(3, name="first")(x)
    for i in range(COUNT):
        x = Block(name=name.format(i))(x)
    return ps.Linear(1, name="last")(x)


def stack(x):
    x = ps.Linear(3, name="first")(x)
    x = ps.layer_stack(COUNT, name="blocks")(lambda x: Block(name="block")(x))(x)
    return ps.Linear(1, name="last")(x)


LOOP, STACK = ps.transform_with_state(loop), ps.transform_with_state(stack)
NAMES = ("block_{}", "blocks/block")


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert [type(leaf) for leaf in jax.tree.leaves(a)] == [
        type(leaf) for leaf in jax.tree.leaves(b)
    ]


def near(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), a, b)


@pytest.fixture(scope="module")
def variables():
    params, state = LOOP.init(RNG, X)
    # So that all numbers of one layer differ from those of the others.
    state = jax.tree.map(lambda leaf: leaf + jnp.asarray(leaf.size, leaf.dtype), state)
    return params, state


def test_names_and_shapes_are_those_of_layer_stack(variables):
    theirs = STACK.init(RNG, X)
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), theirs)
    assert (
        jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), ps.stack_layers(variables, *NAMES))
        == shapes
    )
    flat = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), ps.unstack_layers(theirs, *NAMES))
    assert flat == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), variables)


def test_inverse_of_each_other(variables):
    before = jax.tree.map(np.array, variables)
    stacked = ps.stack_layers(variables, *NAMES)
    assert_same(ps.unstack_layers(stacked, *NAMES), variables)
    there = STACK.init(RNG, X)
    assert_same(ps.stack_layers(ps.unstack_layers(there, *NAMES), *NAMES), there)
    jax.tree.map(np.testing.assert_array_equal, variables, before)
    np.testing.assert_array_equal(
        stacked[0]["blocks/block/mlp/~/linear_1"]["w"],
        np.stack([variables[0][f"block_{i}/mlp/~/linear_1"]["w"] for i in range(COUNT)]),
    )


def test_same_outputs_and_state(variables):
    out, state = jax.jit(LOOP.apply)(*variables, None, X)
    stacked_out, stacked_state = jax.jit(STACK.apply)(*ps.stack_layers(variables, *NAMES), None, X)
    np.testing.assert_allclose(out, stacked_out, rtol=1e-6, atol=1e-6)
    near(ps.unstack_layers(stacked_state, *NAMES), state)
    assert int(state["block_1"]["calls"]) == int(variables[1]["block_1"]["calls"]) + 1


OPTIMIZERS = {
    "adam": lambda: optax.adam(0.05),
    "momentum": lambda: optax.sgd(0.05, momentum=0.9),
    "chain": lambda: optax.chain(
        optax.clip_by_global_norm(0.5), optax.adamw(0.05, weight_decay=0.1)
    ),
    "masked": lambda: optax.masked(optax.adam(0.05), ps.surgery.glob("*block*/w")),
    "hyperparams": lambda: optax.inject_hyperparams(optax.adam)(0.05),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("chain", "masked") else pytest.mark.slow)
        for name in OPTIMIZERS
    ],
)
def test_optimizers_go_on_in_the_other_model(name, variables):
    tx = OPTIMIZERS[name]()

    def stepping(f):
        @jax.jit
        def step(params, state, opt_state):
            def loss(params):
                out, new_state = f.apply(params, state, None, X)
                return ((out - 1) ** 2).mean(), new_state

            grads, state_ = jax.grad(loss, has_aux=True)(params)
            updates, opt_state = tx.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), state_, opt_state

        return step

    step, stacked_step = stepping(LOOP), stepping(STACK)
    here = (*variables, tx.init(variables[0]))
    for _ in range(2):
        here = step(*here)
    there = ps.stack_layers(here, *NAMES)
    for _ in range(2):
        here, there = step(*here), stacked_step(*there)
    near(ps.unstack_layers(there, *NAMES), here)
    # And back in the middle.
    near(step(*ps.unstack_layers(there, *NAMES)), step(*here))


def test_names_that_purestate_gives(variables):
    """block, block_1, block_2, and a layer_stack without a name."""

    def unnamed(x):
        for _ in range(COUNT):
            x = Block()(x)
        return x

    def stacked(x):
        return ps.layer_stack(COUNT)(lambda x: Block()(x))(x)

    f, g = ps.transform_with_state(unnamed), ps.transform_with_state(stacked)
    made = f.init(RNG, X)
    assert {"block", "block_1", "block_2"} < made[0].keys()
    there = ps.stack_layers(made, "block")
    near(g.apply(*there, None, X)[0], f.apply(*made, None, X)[0])
    assert_same(ps.unstack_layers(there, "block"), made)
    params = {"block_0": {"w": np.zeros(2)}, "block_1": {"w": np.ones(2)}}
    assert list(ps.stack_layers(params)) == ["__layer_stack_no_per_layer/block"]
    assert_same(ps.unstack_layers(ps.stack_layers(params)), params)


@pytest.mark.parametrize(
    ("layers", "keys"),
    [
        (
            "model/~/layer_{}/attention",
            ["model/~/layer_0/attention", "model/~/layer_1/attention/~/query"],
        ),
        ("layer", ["layer", "layer_1"]),
        ("layer_{}", [f"layer_{i}" for i in range(12)]),
    ],
)
def test_patterns(layers, keys):
    count = max(len(keys), 2)
    params = {
        (layers.format(i) if "{}" in layers else f"layer_{i}" if i else "layer") + rest: {
            "w": np.full(2, i)
        }
        for i in range(count)
        for rest in ("", "/~/query")
    }
    assert set(keys) <= params.keys()
    params["layer_norm"] = params["layers"] = {"w": np.ones(1)}
    stacked = ps.stack_layers(params, layers, "s/layer")
    assert stacked.keys() == {"s/layer", "s/layer/~/query", "layer_norm", "layers"}
    assert stacked["s/layer"]["w"].tolist() == [[i, i] for i in range(count)]  # 10 after 9
    assert_same(ps.unstack_layers(stacked, layers, "s/layer"), params)


def test_leaves_of_every_kind():
    params = {
        f"block_{i}": {
            "array": jnp.ones([2], jnp.bfloat16),
            "numpy": np.ones([2]),
            "key": jax.random.key(i),
            "hole": None,
            "pytree": [jnp.float32(i), {"n": jnp.int32(i)}],
        }
        for i in range(2)
    }
    there = ps.stack_layers(params)
    (module,) = there.values()
    assert module["hole"] is None
    assert module["key"].shape == (2,)
    assert type(module["numpy"]) is np.ndarray
    assert module["numpy"].dtype == np.float64
    back = ps.unstack_layers(there)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    assert (
        jax.random.key_data(back["block_1"]["key"]).tolist()
        == jax.random.key_data(jax.random.key(1)).tolist()
    )
    assert back["block_1"]["pytree"][1]["n"].dtype == jnp.int32
    shapes = jax.eval_shape(lambda: params["block_0"]["array"])
    there = ps.stack_layers({"block_0": {"w": shapes}, "block_1": {"w": shapes}})
    assert jax.tree.leaves(there)[0].shape == (2, 2)
    assert jax.tree.leaves(ps.unstack_layers(there)) == [shapes, shapes]


def test_under_jit(variables):
    there = jax.jit(lambda tree: ps.stack_layers(tree, *NAMES))(variables)
    assert_same(there, ps.stack_layers(variables, *NAMES))


W = {"w": np.ones(2)}
REFUSED = [
    (ps.stack_layers, {"blok_0": W}, "no module is called like 'block_{}'. Near it: 'blok_0"),
    (ps.stack_layers, {"block_0": W, "block_2": W}, "there is 'block_0', but not 'block_1'"),
    (ps.stack_layers, {"block_1": W, "block_2": W}, "there is 'block_1', but not 'block_0'"),
    (
        ps.stack_layers,
        {"block_0": W, "block_1": W, "block_1/a": W},
        "there is 'block_1/a', but not 'block_0/a'",
    ),
    (ps.stack_layers, {"block_0": W, "blocks/block": W}, "cannot become 'blocks/block'"),
    (
        ps.stack_layers,
        {"block_0": W, "block_1": {"v": np.ones(2)}},
        "only 'block_0' has 'w'; only 'block_1' has 'v'",
    ),
    (
        ps.stack_layers,
        {"block_0": W, "block_1": {"w": np.ones(3)}},
        r"'w' is \(\(2,\), 'float64'\) in 'block_0' and \(\(3,\)",
    ),
    (ps.stack_layers, {"block_0": W, "block_1": {"w": np.ones(2, int)}}, "'float64'.*'int64'"),
    (ps.unstack_layers, {"block": W}, "the params have no module 'blocks/block'"),
    (
        ps.unstack_layers,
        {"blocks/block": W, "block_1": W},
        "'blocks/block' cannot become 'block_1'",
    ),
    (
        ps.unstack_layers,
        {"block_1": W, "blocks/block": W},
        "'blocks/block' cannot become 'block_1'",
    ),
    (
        ps.unstack_layers,
        {"blocks/block": {"w": np.ones(2), "v": np.ones(3)}},
        "stacks of one length, but .*has 3.*has 2",
    ),
    (
        ps.unstack_layers,
        {"blocks/block": {"w": np.ones(2), "v": np.float32(3)}},
        "'blocks/block/v' is a scalar",
    ),
]


@pytest.mark.parametrize(("convert", "tree", "message"), REFUSED)
def test_refusals(convert, tree, message):
    with pytest.raises(ps.errors.BundleError, match=message):
        convert(tree, *NAMES)


def test_two_places_for_numbers():
    with pytest.raises(ps.errors.PathError, match="2 places for the number"):
        ps.stack_layers({"a_0/b_0": W}, "a_{}/b_{}")
