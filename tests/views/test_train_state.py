"""`TrainState` against the same steps with optax by hand; through JAX's transforms; and when it is misused."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

import purestate as ps

KEY = jax.random.key(0)
X = jnp.linspace(-1, 1, 12).reshape(4, 3)
TX = optax.adam(0.1)


def forward(x):
    h = ps.BatchNorm(True, True, 0.9)(ps.Linear(4)(x), is_training=True)
    return ps.Linear(1)(ps.dropout(ps.next_rng_key(), 0.5, h))


F = ps.transform_with_state(forward)


def grads_of(params, state, rng, x):
    def loss_fn(params):
        out, new = F.apply(params, state, rng, x)
        return (out**2).mean(), new

    return jax.grad(loss_fn, has_aux=True)(params)


def train_step(train, x):
    grads, state = grads_of(train.params, train.state, train.step_rng(), x)
    return train.update(TX, grads, state)


def equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def data(train):
    """A train state whose key is plain numbers, to compare it."""
    return train._replace(rng=jax.random.key_data(train.rng))


def test_the_same_as_by_hand():
    train = ps.TrainState.create(F, TX, KEY, X)
    init_rng, rng = jax.random.split(KEY)
    params, state = F.init(init_rng, X)
    opt_state = TX.init(params)
    for step in range(3):
        train = jax.jit(train_step)(train, X)

        @jax.jit
        def by_hand(params, state, opt_state, step):
            grads, state = grads_of(params, state, jax.random.fold_in(rng, step), X)
            updates, opt_state = TX.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), state, opt_state

        params, state, opt_state = by_hand(params, state, opt_state, jnp.int32(step))
    equal(tuple(data(train))[:3], (params, state, opt_state))
    assert train.step == 3


@pytest.mark.parametrize(
    "kind", ["transform", "with_state", "collections", "multi", "a seed", "keywords"]
)
def test_create_takes_any_transformed_function(kind):
    def g(x, scale=1.0):
        return ps.Linear(2)(x) * scale

    made = {
        "transform": lambda: ps.TrainState.create(ps.transform(g), TX, KEY, X),
        "with_state": lambda: ps.TrainState.create(ps.transform_with_state(g), TX, KEY, X),
        "collections": lambda: ps.TrainState.create(ps.transform_with_collections(g), TX, KEY, X),
        "multi": lambda: ps.TrainState.create(ps.multi_transform(lambda: (g, (g, g))), TX, KEY, X),
        "a seed": lambda: ps.TrainState.create(ps.transform(g), TX, 0, X),
        "keywords": lambda: ps.TrainState.create(ps.transform(g), TX, KEY, x=X, scale=2.0),
    }[kind]()
    params = ps.transform(g).init(jax.random.split(KEY)[0], X)
    equal(made.params, params)
    assert made.state == {}
    equal(made.opt_state, TX.init(params))


def test_collections_other_than_params_are_the_state():
    f = ps.transform_with_collections(forward)
    train = ps.TrainState.create(f, TX, KEY, X)
    equal({"params": train.params, **train.state}, f.init(jax.random.split(KEY)[0], X))


def test_keys_follow_from_the_step():
    train = ps.TrainState.create(F, TX, KEY, X)
    later = train._replace(step=jnp.int32(5))
    assert train.step_rng() == jax.random.fold_in(train.rng, 0)
    assert later.step_rng() == jax.random.fold_in(train.rng, 5)
    assert jax.jit(ps.TrainState.step_rng)(later) == later.step_rng()


@pytest.mark.parametrize(
    "tx",
    [
        optax.sgd(0.1),
        optax.adam(0.1),
        optax.lbfgs(),  # keeps one array twice
        optax.chain(optax.clip(1.0), optax.ema(0.9)),
        optax.adamw(optax.cosine_decay_schedule(0.1, 10)),
    ],
    ids=["sgd", "adam", "lbfgs", "ema", "schedule"],
)
def test_every_array_can_be_donated(tx):
    train = ps.TrainState.create(F, tx, KEY, X)
    kept = jax.tree.map(jnp.copy, train)
    new = jax.jit(lambda train: train, donate_argnums=0)(train)
    equal(data(new), data(kept))


def test_jax_says_that_a_donated_state_is_gone():
    step = jax.jit(train_step, donate_argnums=0)
    old = ps.TrainState.create(F, TX, KEY, X)
    new = step(old, X)
    with pytest.raises((RuntimeError, ValueError), match="deleted|donated"):
        step(old, X)
    assert step(new, X).step == 2


def test_one_compilation_for_states_that_were_made_separately():
    traces = []

    @jax.jit
    def step(train):
        traces.append(1)
        return train_step(train, X)

    for _ in range(2):
        step(step(ps.TrainState.create(F, optax.adam(0.1), KEY, X)))
    assert len(traces) == 1


def test_an_ensemble_by_vmap():
    keys = jax.random.split(KEY, 3)
    tx = optax.sgd(0.1, momentum=0.9)  # Adam's first step is only the sign of a gradient

    def sgd_step(train, x):
        grads, state = grads_of(train.params, train.state, train.step_rng(), x)
        return train.update(tx, grads, state)

    many = jax.vmap(lambda key: ps.TrainState.create(F, tx, key, X))(keys)
    many = jax.jit(jax.vmap(sgd_step, in_axes=(0, None)))(many, X)
    one = jax.jit(sgd_step)(ps.TrainState.create(F, tx, keys[1], X), X)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-6),
        data(many),
        data(one),
    )


def test_through_shard_map():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    f = ps.transform(lambda x: ps.Linear(1)(x))

    def step(train, x, mean=lambda grads: grads):
        grads = jax.grad(lambda params: (f.apply(params, None, x) ** 2).mean())(train.params)
        return train.update(TX, mean(grads))

    spread = jax.shard_map(
        lambda train, x: step(train, x, lambda grads: jax.lax.pmean(grads, "data")),
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec("data")),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    train = ps.TrainState.create(f, TX, KEY, X)
    equal(data(jax.jit(spread)(train, X)), data(jax.jit(step)(train, X)))


def test_pickle_and_safetensors(tmp_path):
    train = ps.TrainState.create(F, TX, KEY, X)
    plain = jax.tree.map(np.asarray, data(train))
    equal(pickle.loads(pickle.dumps(plain)), plain)
    ps.checkpoint.save_safetensors(tmp_path / "a.safetensors", train)
    loaded = ps.checkpoint.load_safetensors(tmp_path / "a.safetensors", into=train)
    equal(data(loaded), data(train))


def test_weak_types_do_not_compile_twice():
    f = ps.transform(lambda: ps.get_parameter("w", [], init=lambda shape, dtype: jnp.asarray(1.0)))
    train = ps.TrainState.create(f, TX, KEY)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((train.opt_state, train.step)))


def test_extra_arguments_reach_the_optimizer():
    tx = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1))
    train = ps.TrainState.create(ps.transform(lambda x: ps.Linear(1)(x)), tx, KEY, X)
    for _ in range(4):
        train = train.update(tx, jax.tree.map(jnp.zeros_like, train.params), value=1.0)
    assert train.opt_state[1].scale < 1


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda t: t.update(TX, t.params), ps.errors.ViewError, "got no new state"),
        (
            lambda t: t.update(None, t.params, t.state),
            ps.errors.ViewTypeError,
            "an optax optimizer",
        ),
        (lambda t: t.update(TX, {}, t.state), ps.errors.ViewError, "different structures"),
        (lambda t: ps.TrainState.create(forward, TX, 0, X), ps.errors.ViewTypeError, "as `f`"),
        (lambda t: ps.TrainState.create(F, None, 0, X), ps.errors.ViewTypeError, "optax optimizer"),
        (lambda t: ps.TrainState.create(F, TX, X, X), ps.errors.ViewTypeError, "one random key"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(ps.TrainState.create(F, TX, KEY, X))


def test_the_old_state_can_be_kept():
    train = ps.TrainState.create(F, TX, KEY, X)
    assert train.update(TX, train.params, train.state).state is train.state
