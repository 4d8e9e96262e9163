"""`ps.bind`: models that hold their state, with the numbers that treex 0.6.12 and MLAX 0.2.6 print for the same models."""

import copy
import pickle

import cloudpickle
import haiku
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps

X, Y = jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([[1.0], [2.0]])


class Average(ps.Module):
    count = ps.state_attr([], jnp.int32, jnp.zeros)
    total = ps.state_attr([], jnp.float32, jnp.zeros)

    def __call__(self, x):
        self.count += x.size
        self.total += jnp.sum(x)
        return self.total / self.count


class Counted(ps.Module):
    """A linear layer that counts its calls, from the manual of Treex."""

    n = ps.state_attr([], jnp.int32, jnp.zeros)

    def __call__(self, x):
        self.n += 1
        return ps.Linear(1)(x)


def average():
    return ps.bind(Average, *ps.transform_with_state(lambda x: Average()(x)).init(None, X))


def counted():
    params = {"counted/linear": {"w": jnp.array([[1.0], [2.0]]), "b": jnp.zeros([1])}}
    return ps.bind(Counted, params, {"counted": {"n": jnp.zeros([], jnp.int32)}})


def noisy(rng=0):
    """A model that draws keys."""

    def forward(x):
        return ps.dropout(ps.next_rng_key(), 0.5, ps.Linear(8)(x))

    f = ps.transform(forward)
    return ps.bind(f, f.init(0, X), rng=rng)


def same(a, b):
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        (x == y).all() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


# State in place


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_average(jit):
    traces = []

    def step(model, x):
        traces.append(1)
        return model(x), model

    step = jax.jit(step) if jit else step
    model = average()
    for x, expected, count, total in (
        ([[1.0, 2], [3, 4]], 2.5, 4, 10.0),
        ([10.0, 20], 6.6666665, 6, 40.0),
        (5.0, 6.428571, 7, 45.0),
    ):
        out, model = step(model, jnp.array(x))
        np.testing.assert_allclose(out, expected, rtol=1e-6)
        assert (int(model.count), float(model.total)) == (count, total)
        assert model.state["average"]["count"].dtype == jnp.int32
    assert len(traces) == 3  # one for each shape


def test_forgetting_to_return_the_model_leaves_it_as_it_was():
    model = average()
    jax.jit(lambda model, x: model(x))(model, jnp.ones([2, 2]))
    assert int(model.count) == 0
    step = jax.jit(lambda model, x: (model(x), model))
    _, new = step(model, jnp.ones([2, 2]))
    out, new = step(new, 3 * jnp.ones([2, 2]))
    assert (float(out), int(new.count), float(new.total), int(model.count)) == (2.0, 8, 16.0, 0)


def test_kinds():
    model = average()
    assert len(jax.tree.leaves(model.filter("state"))) == 2
    assert jax.tree.leaves(model.parameters()) == []


def test_the_key_is_used_once():
    model, same_model = noisy(), noisy()
    first, second = model(X), model(X)
    assert not (first == second).all()
    np.testing.assert_array_equal(first, same_model(X))
    keep, use = jax.random.split(jax.random.key(0))
    f = ps.transform(lambda x: ps.dropout(ps.next_rng_key(), 0.5, ps.Linear(8)(x)))
    np.testing.assert_array_equal(first, f.apply(model.params, use, X))
    assert (same_model.rng == keep).all()


@pytest.mark.parametrize("rng", [jax.random.PRNGKey(3), jax.random.key(3)], ids=["raw", "typed"])
def test_raw_and_typed_keys(rng):
    model, jitted = noisy(rng), noisy(rng)
    step = jax.jit(lambda model, x: (model(x), model))
    for _ in range(2):
        out, jitted = step(jitted, X)
        np.testing.assert_allclose(out, model(X), rtol=1e-6)
    assert (model.rng == jitted.rng).all()
    assert (
        jax.tree.leaves(model.filter("rng"))
        == jax.tree.leaves(model.filter("state"))
        == [model.rng]
    )
    assert model.parameters().rng is None
    grads = jax.grad(lambda params, model: model.update(params)(X).sum())(model.parameters(), model)
    assert len(jax.tree.leaves(grads)) == 2


def test_keys_by_stream():
    def forward(x):
        return ps.dropout(ps.next_rng_key("dropout"), 0.5, x), ps.dropout(
            ps.next_rng_key("noise"), 0.5, x
        )

    model = ps.bind(forward, {}, rng={"dropout": 0, "noise": jax.random.key(1)})
    x = jnp.ones([50])
    (a, b), (c, d) = model(x), model(x)
    assert not (a == b).all()
    assert not (a == c).all()
    assert not (b == d).all()
    assert set(model.rng) == {"dropout", "noise"}


def test_no_key():
    with pytest.raises(ps.errors.MissingRNGError) as error:
        noisy(None)(X)
    assert "Give it one: ps.bind(f, params, state, jax.random.key(0))" in error.value.__notes__[0]


def test_key_held_as_state():
    class Dropout(ps.Module):
        def __init__(self, key):
            super().__init__()
            self.first = lambda: key

        def __call__(self, x):
            kept = ps.variable("rng", "key", init=self.first)
            key, kept.value = jax.random.split(kept.value)
            return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x / 0.5, 0)

    key, x = jax.random.key(7), jnp.ones([6])
    f = ps.transform_with_collections(lambda x: Dropout(key)(x))
    model = ps.bind(f, f.init(None, x))
    assert len(jax.tree.leaves(model.filter("rng"))) == 1
    for _ in range(3):
        use, keep = jax.random.split(model.state["rng"]["dropout"]["key"])
        np.testing.assert_array_equal(model(x), 2.0 * jax.random.bernoulli(use, 0.5, x.shape))
        assert (model.state["rng"]["dropout"]["key"] == keep).all()


# The loss function of Treex's manual


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_always_output_the_module(jit):
    def loss_fn(params, model, x, y):
        model = model.update(params)

        preds = model(x)
        loss = jnp.mean((preds - y) ** 2)

        return loss, model

    step = jax.value_and_grad(loss_fn, has_aux=True)
    model = old = counted()
    params = model.parameters()
    (loss, model), grads = (jax.jit(step) if jit else step)(params, model, X, Y)
    assert float(loss) == 48.5
    assert grads.params["counted/linear"]["w"].tolist() == [[31], [44]]
    assert grads.params["counted/linear"]["b"].tolist() == [13]
    assert grads.state == {"counted": {"n": None}}
    assert (int(old.n), int(model.n)) == (0, 1)


def test_value_and_grad_in_float64():
    w, b, x, y = (np.asarray(v, np.float64) for v in ([[1], [2]], [0], X, Y))
    error = 2 * (x @ w + b - y) / 2
    np.testing.assert_array_equal(x.T @ error, [[31], [44]])
    np.testing.assert_array_equal(error.sum(0), [13])


def test_update():
    model = counted()
    model(X)
    for update in (model.update, model.merge):
        new = update(jax.tree.map(lambda p: 2 * p, model.parameters()))
        assert new.params["counted/linear"]["w"].tolist() == [[2], [4]]
        assert int(new.n) == 1  # the state stays
        assert model.params["counted/linear"]["w"].tolist() == [[1], [2]]
    assert same(
        model.update(jax.tree.map(lambda _: None, model.parameters())), model
    )  # holes keep what was there
    from_dicts = model.update({"counted/linear": {"w": None, "b": jnp.ones([1])}})
    assert (from_dicts.params["counted/linear"]["w"].tolist(), from_dicts(X).tolist()) == (
        [[1], [2]],
        [[6], [12]],
    )
    assert same(model.update(haiku.data_structures.to_immutable_dict(model.params)), model)
    with pytest.raises(ps.errors.ViewError, match="only the model has 'counted/linear/b'"):
        model.update({"counted/linear": {"w": X}})
    with pytest.raises(ps.errors.ViewTypeError, match="takes a model, a submodule or params"):
        model.update([1])


def test_copies_have_nothing_in_common():
    params = counted().params
    model = ps.bind(Counted, params, counted().state)
    others = [
        model.copy(),
        copy.copy(model),
        copy.deepcopy(model),
        model.freeze(),
        model.update(model.parameters()),
    ]
    others += [model.partition(lambda leaf: True)[0], ps.bind(Counted, *model.unbind())]
    for other in others:
        assert same(other(X), model.copy()(X))
        assert int(other.n) == 1
        other.params["counted/linear"]["b"] = jnp.ones([1])
        other.state["counted"]["n"] = jnp.zeros([])
    assert int(model.n) == 0
    assert (
        params["counted/linear"]["b"].tolist()
        == model.params["counted/linear"]["b"].tolist()
        == [0]
    )
    alias = model  # two names for one model
    alias(X)
    assert int(model.n) == 1


def test_train_by_tree_map():
    model, traces = counted(), []

    @jax.jit
    def step(model, x, y):
        traces.append(1)

        def loss(params):
            new = model.update(params)
            return jnp.mean((new(x) - y) ** 2), new

        params = model.parameters()
        (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params)
        return new.update(jax.tree.map(lambda p, g: p - 0.01 * g, params, grads)), value

    w, b = np.array([[1.0], [2.0]]), np.zeros(1)
    for i in range(5):
        model, value = step(model, X, Y)
        error = np.asarray(X, np.float64) @ w + b - np.asarray(Y)
        np.testing.assert_allclose(value, (error**2).mean(), rtol=1e-5)
        w, b = w - 0.01 * np.asarray(X).T @ error, b - 0.01 * error.sum(0)
        assert int(model.n) == i + 1
    np.testing.assert_allclose(model.params["counted/linear"]["w"], w, rtol=1e-5)
    assert len(traces) == 1


# Through JAX


def test_pytree():
    model = counted()
    leaves, structure = jax.tree.flatten(model)
    assert len(leaves) == 3
    assert structure == jax.tree.structure(counted())
    assert hash(structure) == hash(jax.tree.structure(counted()))
    assert structure != jax.tree.structure(model.freeze())
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(model)]
    assert names == [
        ".params['counted/linear']['b']",
        ".params['counted/linear']['w']",
        ".state['counted']['n']",
    ]
    assert same(structure.unflatten(leaves)(X), model(X))


def test_jit_does_not_trace_again():
    traces = []

    @jax.jit
    def step(model, x):
        traces.append(1)
        return model(x), model

    model = noisy()
    _, model = step(model, X)
    _, model = step(noisy(1), X)
    _, model = step(jax.tree.map(lambda leaf: leaf, model), X)
    assert len(traces) == 2  # each noisy() is of its own function
    for _ in range(3):
        _, model = step(model.copy(), X)
    step(counted(), X)
    step(counted(), X)
    assert len(traces) == 3


def test_scan():
    model = average()
    xs = jnp.arange(6.0).reshape(3, 2)

    def step(model, x):
        out = model(x)
        return model, out

    new, outs = jax.lax.scan(step, model, xs)
    np.testing.assert_allclose(outs, [0.5, 1.5, 2.5])
    assert (int(new.count), float(new.total), int(model.count)) == (6, 15, 0)
    new, outs = jax.lax.scan(lambda model, x: (model, model(x)), noisy(), jnp.stack([X, X]))
    step_by_step = noisy()
    np.testing.assert_allclose(outs, jnp.stack([step_by_step(X), step_by_step(X)]), rtol=1e-6)
    assert not (outs[0] == outs[1]).all()


def test_vmap_over_models_and_rows():
    f = ps.transform_with_state(lambda x: Counted()(x))
    keys = jax.random.split(jax.random.key(0), 3)
    models = jax.vmap(lambda key: ps.bind(Counted, *f.init(key, X)))(keys)
    outs, models = jax.vmap(lambda model, x: (model(x), model), in_axes=(0, None))(models, X)
    assert models.n.tolist() == [1, 1, 1]
    one = jax.tree.map(lambda leaf: leaf[1], models)
    np.testing.assert_allclose(one(X), outs[1], rtol=1e-6)
    model = counted()
    rows = jax.vmap(lambda model, x: model(x), in_axes=(None, 0))(model, X)
    np.testing.assert_allclose(rows, model(X))


def test_models_in_a_list():
    @jax.jit
    def step(models, x):
        for model in models:
            x = jnp.broadcast_to(model(x), x.shape)
        return models, x

    models, _ = step([counted(), counted()], X)
    models, _ = step(models, X)
    assert [int(model.n) for model in models] == [2, 2]


def test_donation():
    model = jax.tree.map(jnp.copy, counted())
    step = jax.jit(lambda model, x: (model, model(x))[::-1], donate_argnums=0)
    _, new = step(model, X)
    assert model.params["counted/linear"]["w"].is_deleted()
    _, new = step(new, X)
    assert int(new.n) == 2


def test_shapes():
    shapes, model = jax.eval_shape(lambda model, x: (model(x), model), counted(), X)
    assert shapes.shape == (2, 1)
    assert model.state["counted"]["n"].shape == ()
    made = jax.eval_shape(
        lambda: ps.bind(Counted, *ps.transform_with_state(lambda x: Counted()(x)).init(0, X))
    )
    assert jax.tree.map(jnp.shape, made.params) == {"counted/linear": {"w": (2, 1), "b": (1,)}}


def test_remat_and_cond():
    model = counted()
    grads = jax.grad(jax.checkpoint(lambda params, model: model.update(params)(X).sum()))(
        model.parameters(), model
    )
    assert grads.params["counted/linear"]["w"].tolist() == [[4], [6]]

    def twice(model):
        model(X)
        model(X)
        return model

    def once(model):
        model(X)
        return model

    assert [int(jax.lax.cond(flag, twice, once, model).n) for flag in (True, False)] == [2, 1]


@pytest.mark.parametrize(
    "transform", [jax.jit, jax.grad, jax.vmap, jax.checkpoint], ids=lambda t: t.__name__
)
def test_a_model_that_is_closed_over(transform):
    model = average()
    with pytest.raises(
        ps.errors.JaxUsageError, match="Pass the model as an argument, and return it"
    ):
        transform(lambda x: model(x))(1.5 * jnp.ones([2]) if transform is jax.vmap else 1.5)
    with pytest.raises(ps.errors.JaxUsageError, match="Pass the model"):
        jax.lax.scan(lambda carry, x: (carry, model(x)), 0, jnp.ones([3]))
    with pytest.raises(ps.errors.JaxUsageError, match=r"Under jax.grad.*`model.copy\(\)`"):
        jax.grad(lambda x, model: model(x))(1.0, model)
    assert jax.grad(lambda x, model: model.copy()(x))(1.0, model) == 1.0
    assert int(model.count) == 0  # it is as it was
    model(1.5 * jnp.ones([2]))
    assert int(model.count) == 2


def test_a_model_without_state_may_be_closed_over():
    f = ps.transform(lambda x: ps.Linear(1)(x))
    model = ps.bind(f, f.init(0, X))
    np.testing.assert_allclose(jax.jit(lambda x: model(x))(X), model(X), rtol=1e-6)
    with pytest.raises(ps.errors.JaxUsageError):  # it would have one key for all calls
        jax.jit(noisy())(X)


# Copies on disk


def test_pickle():
    model = counted()
    model(X)
    for dump, load in ((pickle.dumps, pickle.loads), (cloudpickle.dumps, cloudpickle.loads)):
        other = load(dump(model))
        assert same(other, model)  # the same structure, so that nothing is traced again
        assert same(other(X), model.copy()(X))
    other = cloudpickle.loads(cloudpickle.dumps(noisy(jax.random.PRNGKey(0))))
    assert same(other(X), noisy()(X))


# Attributes and methods


class Net(ps.Module):
    calls = ps.state_attr([], jnp.int32, jnp.zeros)

    def __init__(self, size=3):
        super().__init__()
        self.encoder = ps.nets.MLP([4, size])
        self.layers = [ps.Linear(size), jax.nn.relu]
        self.heads = ps.Container({"a": ps.Linear(1), "b": ps.Linear(2)})
        self.rate = 0.5

    def __call__(self, x, is_training=True):
        self.calls += 1
        return self.heads["a"](self.encode(x, is_training)), self.heads["b"](self.layers[0](x))

    def encode(self, x, is_training):
        self.calls += 10
        h = self.encoder(x)
        return ps.dropout(ps.next_rng_key(), self.rate, h) if is_training else h


def net(size=3, rng=0):
    f = ps.transform_with_state(lambda x: Net(size)(x))
    return ps.bind(lambda: Net(size), *f.init(jax.random.key(0), X), rng)


def test_methods_and_submodules():
    model = net()
    h = model.encode(X, is_training=False)
    assert int(model.calls) == 10  # methods update the state, too
    np.testing.assert_array_equal(model.encoder(X), h)
    linear = model.params["net/~/linear"]
    np.testing.assert_allclose(model.layers[0](X), X @ linear["w"] + linear["b"], rtol=1e-6)
    assert model.layers[1](jnp.array(-1.0)) == 0
    np.testing.assert_array_equal(model.heads["a"](h), model(X, False)[0])
    assert model.encoder.layers[0].name == "linear_0"
    assert model.rate == 0.5
    assert repr(model.layers[0]).startswith("<layers[0] of Model(")
    assert [int(model.calls), model.encoder.output_size] == [21, 3]
    out, new = jax.jit(lambda model, x: (model.encode(x, True), model))(model, X)
    assert out.shape == (2, 3)
    assert (int(model.calls), int(new.calls)) == (21, 31)


def test_attributes_that_are_not_there():
    model = net()
    for wrong in (lambda: model.encodr, lambda: model.encoder.layerz, lambda: noisy().linear):
        with pytest.raises(AttributeError) as error:
            wrong()
        assert isinstance(error.value, ps.errors.ViewAttributeError)
    assert not hasattr(model, "encodr")
    with pytest.raises(AttributeError):
        model.calls = 3
    assert "no attribute 'linear'. A model has methods and submodules if" in str(error.value)


def test_training_or_not():
    model = net()
    quiet, loud = model.eval(), model.train()
    assert (model.training, quiet.training, loud.training) == (None, False, True)
    expected = model.encode(X, False)
    np.testing.assert_array_equal(quiet.encode(X), expected)
    assert not (loud.encode(X) == expected).all()
    np.testing.assert_array_equal(loud.encode(X, False), expected)  # who says so is heard
    np.testing.assert_array_equal(loud.encode(X, is_training=False), expected)
    np.testing.assert_array_equal(quiet(X)[0], quiet(X)[0])
    assert not (loud(X)[0] == loud(X)[0]).all()
    assert same(loud(X, False), quiet(X))
    assert same(jax.jit(lambda m: m.eval()(X))(model), quiet(X))
    with pytest.raises(
        ps.errors.ViewError, match="no argument for it. Give it one of is_training, training"
    ):
        average().train()


@pytest.mark.parametrize("kind", ["state", "collections", "function"])
def test_training_of_functions(kind):
    def forward(x, train):
        return ps.BatchNorm(True, True, 0.9)(x, train)

    f = ps.transform_with_state(forward)
    source = {
        "state": f,
        "collections": ps.transform_with_collections(forward),
        "function": forward,
    }[kind]
    variables = (source.init(None, X, True),) if kind == "collections" else f.init(None, X, True)
    model = ps.bind(source, *variables).train()
    out, state = f.apply(*f.init(None, X, True), None, X, True)
    np.testing.assert_array_equal(model(X), out)
    expected = f.apply(f.init(None, X, True)[0], state, None, X, False)[0]
    np.testing.assert_array_equal(model.eval()(X), expected)
    np.testing.assert_array_equal(model(X, False), expected)


class SetUp(ps.SetUpModule):
    def set_up(self, x):
        self.linear = ps.Linear(2)

    def forward(self, x, *, inference_mode=False):
        count = ps.get_state("count", [], jnp.int32, jnp.zeros)
        ps.set_state("count", count + 1)
        return self.linear(x) * (0 if inference_mode else 1)


def test_set_up_module():
    f = ps.transform_with_state(lambda x: SetUp()(x))
    params, state = f.init(jax.random.key(0), X)
    assert set(params) == {"set_up/~set_up/linear"}
    model, traces = ps.bind(SetUp, params, state), []

    @jax.jit
    def step(model, x):
        traces.append(1)
        return model(x), model

    out, new = step(model, X)
    counts = [int(m.state["set_up"]["count"]) for m in (model, new)]
    assert counts == [0, 1]  # what was passed in stays as it was
    out, new = step(new, X)
    np.testing.assert_allclose(out, model.train()(X), rtol=1e-6)
    assert (model.eval()(X) == 0).all()
    assert len(traces) == 1


# Fields, as in MLAX's manual, and hyperparameters that change


class Fields(ps.Module):
    def __init__(self, **fields):
        super().__init__()
        for name, value in fields.items():
            setattr(self, name, value)

    def __call__(self, x):
        return x


def test_hyperparameters():
    model = ps.bind(lambda: Fields(k="abc", l=1, m=[1, 2, 3]), {})
    assert (model.k, model.l, model.m) == ("abc", 1, [1, 2, 3])
    assert jax.tree.leaves(model) == []
    with pytest.raises(TypeError, match="hyperparameter 'm' of type list, which cannot be hashed"):
        ps.bind(lambda: Fields(k="abc", m=[1, 2, 3]), {}, strict=True)
    ps.bind(lambda: Fields(k="abc", m=(1, 2, 3)), {}, strict=True)
    for value in (jnp.ones([2]), np.ones([2]), [jnp.ones([2])]):
        with pytest.raises(TypeError, match="Fields keeps an array as the plain attribute 'n'"):
            ps.bind(lambda: Fields(n=value), {})


class Counter(ps.Module):
    def __init__(self, inner=None):
        super().__init__()
        self.h = 0
        self.inner = inner
        self.size = None

    def __call__(self, x):
        self.h += 1
        self.size = x.shape[0]  # worked out each time
        return x * self.h + (self.inner[0](x) if self.inner else 0)


def test_hyperparameter_that_changes_in_a_call():
    traces = []

    @jax.jit
    def step(model, x):
        traces.append(1)
        return model(x), model

    model = ps.bind(Counter, {})
    outs, new = [], model
    for _ in range(3):
        out, new = step(new, 1.0 * jnp.ones([1]))
        outs.append(out.item())
    assert (outs, len(traces), new.h, model.h) == ([1, 2, 3], 3, 3, 0)
    step(model, jnp.ones([1]))
    assert (len(traces), model.h) == (3, 0)  # the old one: no new trace
    model(jnp.ones([1]))
    assert (model.h, model.copy().h, model.size) == (1, 1, None)


def test_hyperparameter_of_a_submodule_that_changes_in_a_call():
    model = ps.bind(lambda: Counter([Counter()]), {})
    assert [model(jnp.ones([1])).item() for _ in range(3)] == [2, 4, 6]
    assert (model.h, model.inner[0].h) == (3, 3)


def test_hyperparameter_that_becomes_an_array():
    class Bad(ps.Module):
        def __init__(self):
            super().__init__()
            self.h = (0,)

        def __call__(self, x):
            self.h = (x,)
            return x

    model = ps.bind(Bad, {})
    with pytest.raises(TypeError, match="hyperparameter 'h' of type tuple, which cannot be hashed"):
        model(jnp.ones([2]))
    assert model.h == (0,)


def test_layers_do_not_trace_again():
    layers = {
        "linear": lambda: ps.Linear(2),
        "bias": lambda: ps.Bias(),
        "mlp": lambda: ps.nets.MLP([3, 2]),
        "layer_norm": lambda: ps.LayerNorm(-1, True, True),
        "conv": lambda: ps.Conv1D(2, 1),
    }
    for name, make in layers.items():
        traces = []

        @jax.jit
        def step(model, x):
            traces.append(1)
            return model(x), model

        f = ps.transform_with_state(lambda x: make()(x))
        model = ps.bind(make, *f.init(jax.random.key(0), X))
        for _ in range(3):
            _, model = step(model, X)
        assert len(traces) == 1, name


# Surgery (M4) and freezing


def test_filter_and_partition():
    model = net()
    kernels = model.filter(lambda leaf: leaf.ndim == 2)
    assert {leaf.ndim for leaf in jax.tree.leaves(kernels)} == {2}
    assert {
        leaf.ndim
        for leaf in jax.tree.leaves(model.filter(lambda leaf: leaf.ndim == 2, inverse=True).params)
    } == {1}
    for f in (
        lambda leaf: leaf.ndim == 2,
        ps.surgery.glob("net/~/*/b"),
        "params",
        "state",
        "rng",
        lambda leaf: False,
    ):
        part, rest = model.partition(f)
        assert len(jax.tree.leaves(part)) + len(jax.tree.leaves(rest)) == len(
            jax.tree.leaves(model)
        )
        assert same(part.update(rest), model)
        assert same(rest.update(part), model)
        assert same(ps.surgery.combine(part, rest), model)
        assert same(part, model.filter(f))
        assert same(rest, model.filter(f, inverse=True))
    assert jax.tree.leaves(model.filter("state"))[0] == 0
    with pytest.raises(ps.errors.ViewError, match="has to be one of params, state, rng;"):
        model.filter("batch_stats")
    with pytest.raises(ps.errors.ViewError, match="holes"):
        kernels(X)


def test_gradients_by_a_part():
    model = counted()
    part, _ = model.partition(ps.surgery.glob("*/b"))
    grads = jax.grad(lambda part: ((model.update(part)(X) - Y) ** 2).mean())(part)
    assert grads.params["counted/linear"]["w"] is None
    assert grads.params["counted/linear"]["b"].tolist() == [13]


def test_freeze():
    model = net()
    everything = len(jax.tree.leaves(model.parameters()))
    frozen = model.freeze()
    assert jax.tree.leaves(frozen.trainable_parameters()) == []
    assert len(jax.tree.leaves(model.trainable_parameters())) == everything  # a copy was frozen
    assert len(jax.tree.leaves(frozen.unfreeze().trainable_parameters())) == everything
    for predicate in (
        "net/~/mlp/*",
        ps.surgery.glob("net/~/mlp/*"),
        lambda module, name, value: module.startswith("net/~/mlp/"),
    ):
        part = model.freeze(predicate).trainable_parameters()
        assert len(jax.tree.leaves(part)) == everything - 4
    both = model.freeze("net/~/mlp/*").freeze("*/b").trainable_parameters()
    assert {leaf.ndim for leaf in jax.tree.leaves(both)} == {2}
    assert len(jax.tree.leaves(both)) == (everything - 4) // 2
    assert same(model.freeze("*/b").update(both), model.freeze("*/b"))
    assert jax.tree.structure(model.freeze("*/b")) == jax.tree.structure(model.freeze("*/b"))


def test_parameters_that_modules_freeze():
    def forward(x):
        return ps.Linear(1)(x) * ps.get_parameter("scale", [], init=jnp.ones, trainable=False)

    for transform in (ps.transform, ps.transform_with_state, ps.transform_with_collections):
        f = transform(forward)
        given = f.init(0, X)
        given = given if isinstance(given, tuple) else (given,)
        model = ps.bind(f, *given, specs=ps.specs(f)(0, X))
        part = model.trainable_parameters()
        assert part.params["~"] == {"scale": None}
        assert len(jax.tree.leaves(part)) == 2
        assert same(model.unfreeze().trainable_parameters(), part)


def test_frozen_bits_under_weight_decay():
    model = counted().freeze("*/w")
    tx = optax.adamw(0.1, weight_decay=0.5)
    params = model.trainable_parameters()
    opt_state = tx.init(params)
    grads = jax.grad(lambda params: (model.update(params)(X) ** 2).mean())(params)
    updates, opt_state = tx.update(grads, opt_state, params)
    new = model.update(optax.apply_updates(params, updates))
    np.testing.assert_array_equal(
        new.params["counted/linear"]["w"], model.params["counted/linear"]["w"]
    )
    np.testing.assert_allclose(new.params["counted/linear"]["b"], [-0.1], rtol=1e-5)
    assert len(jax.tree.leaves(opt_state)) == 3


def test_parameters_that_are_pytrees():
    class Tree(ps.Module):
        w = ps.param_attr(init={"a": jnp.ones([2]), "none": None})

        def __call__(self, x):
            return x * self.w["a"]

    f = ps.transform(lambda x: Tree()(x))
    model = ps.bind(f, f.init(None, X))
    assert model(X).tolist() == X.tolist()  # None inside is no hole
    assert same(model.parameters().update(model), model)
    assert model.freeze().trainable_parameters().params["tree"]["w"] == {"a": None, "none": None}


# What can be bound


class ZNorm(ps.SetUpModule):
    mean = ps.param_attr(trainable=False)
    var = ps.param_attr(trainable=False)

    def set_up(self, x):
        self.mean, self.var = jnp.zeros(x.shape[-1:]), jnp.ones(x.shape[-1:])

    def forward(self, x, *, inference_mode=False):
        if inference_mode:
            return (x - self.mean) / jnp.sqrt(self.var + 1e-5)
        mean, var = x.mean(0), x.var(0)
        self.mean, self.var = 0.9 * self.mean + 0.1 * mean, 0.9 * self.var + 0.1 * var
        return (x - mean) / jnp.sqrt(var + 1e-5)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_parameters_that_change_in_a_call(jit):
    def step(model, x):
        return model(x), model

    f = ps.transform_with_collections(
        lambda x, inference_mode: ZNorm()(x, inference_mode=inference_mode)
    )
    x = jnp.array([[1.0, 2], [3, 6]])
    model = ps.bind(f, f.init(None, x, False)).train()
    out, model = (jax.jit(step) if jit else step)(model, x)
    np.testing.assert_allclose(
        out, [[-0.99999505, -0.99999875], [0.99999505, 0.99999875]], rtol=1e-6
    )
    np.testing.assert_allclose(model.params["z_norm"]["mean"], [0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose(model.params["z_norm"]["var"], [1.0, 1.3], rtol=1e-6)
    expected = (np.asarray(x) - [0.2, 0.4]) / np.sqrt(np.array([1.0, 1.3]) + 1e-5)
    new = model.eval()
    np.testing.assert_allclose(new(x), expected, rtol=1e-5)
    assert same(new.params, model.params)


def test_collections():
    def forward(x):
        mean = ps.variable("batch_stats", "mean", [2], init=jnp.zeros)
        calls = ps.variable("counts", "calls", [], jnp.int32, init=jnp.zeros)
        mean.value = 0.9 * mean.value + 0.1 * x.mean(0)
        calls.value += 1
        ps.sow("x", x)
        ps.sow("loss", x.sum(), collection="losses")
        return x - mean.value + ps.get_parameter("b", [2], init=jnp.zeros)

    f = ps.transform_with_collections(forward)
    variables = f.init(None, X)
    rest, params = ps.data_structures.pop(variables, "params")
    for model in (ps.bind(f, variables), ps.bind(f, params, rest)):
        structure = jax.tree.structure(model)
        expected = variables
        for _ in range(2):
            out, updated = f.apply(expected, None, X, mutable=list(rest))
            expected = {**expected, **updated}
            np.testing.assert_array_equal(model(X), out)
        assert same({"params": model.params, **model.state}, expected)
        assert jax.tree.structure(model) == structure  # what is sown does not pile up
        assert same(ps.bind(f, *model.unbind()), model)
        part, other = model.partition("batch_stats")
        assert part.state == {
            "batch_stats": model.state["batch_stats"],
            "counts": {"~": {"calls": None}},
        }
        assert same(other.update(part), model)
        assert len(jax.tree.leaves(model.filter("state"))) == 2
        with pytest.raises(ps.errors.ViewError, match="holes"):
            part(X)
    new = jax.jit(lambda model: (model(X), model))(ps.bind(f, variables))[1]
    assert int(new.state["counts"]["~"]["calls"]) == 1


def test_a_collection_that_was_not_given():
    def forward(x):
        calls = ps.variable("counts", "calls", [], jnp.int32, init=jnp.zeros)
        calls.value += 1
        return x

    # It would begin anew with each call.
    with pytest.raises(ps.errors.PurestateError, match="counts"):
        ps.bind(ps.transform_with_collections(forward), {"params": {}})(X)
    # In the one state there is a place for it.
    model = ps.bind(forward, {}, {"~": {}})
    with pytest.warns(ps.errors.EmptyStateWarning, match="calls"):
        model(X)
    model(X)
    assert int(model.state["~"]["calls"]) == 2


def test_functions_that_take_no_key_and_own_apply():
    f = ps.without_apply_rng(ps.transform(lambda x: ps.Linear(1)(x)))
    g = ps.without_apply_rng(ps.transform_with_state(lambda x: Counted()(x)))
    params = f.init(0, X)
    expected = f.apply(params, X)
    np.testing.assert_array_equal(ps.bind(f, params)(X), expected)
    model = ps.bind(g, *g.init(0, X))
    np.testing.assert_array_equal(model(X), g.apply(*g.init(0, X), X)[0])
    assert int(model.state["counted"]["n"]) == 1
    h = ps.transform(lambda x: ps.Linear(1)(x))
    jitted = h._replace(apply=jax.jit(h.apply))
    np.testing.assert_allclose(ps.bind(jitted, params)(X), expected, rtol=1e-6)
    np.testing.assert_array_equal(
        ps.bind(h._replace(apply=lambda *args: h.apply(*args)), params)(X), expected
    )
    np.testing.assert_array_equal(ps.bind(lambda x: ps.Linear(1)(x), params)(X), expected)


def test_the_same_function_is_known_again():
    f = ps.transform(lambda x: x)
    assert jax.tree.structure(ps.bind(f, {})) == jax.tree.structure(ps.bind(f, {}))
    assert jax.tree.structure(ps.bind(Average, {})) == jax.tree.structure(ps.bind(Average, {}))
    assert jax.tree.structure(ps.bind(f, {})) != jax.tree.structure(ps.bind(Average, {}))


@pytest.mark.parametrize(
    ("bind", "words"),
    [
        (lambda: ps.bind(3, {}), "takes a function or a transformed one, but got an int"),
        (lambda: ps.bind(ps.transform(lambda x: x), [1]), "params has to be .* but it is a list"),
        (
            lambda: ps.bind(lambda x: x, {}, jax.random.key(0)),
            "state has to be .*, but it is an array of shape",
        ),
        (lambda: ps.bind(lambda x: x, {"w": X}), "params has to be .*has an array of shape"),
        (
            lambda: ps.bind(ps.transform_with_collections(lambda x: x), {"linear": {"w": X}}),
            "it takes all variables",
        ),
        (
            lambda: ps.bind(ps.Linear, {}),
            r"cannot be made without 'output_size'. Write `ps.bind\(lambda: Linear",
        ),
    ],
)
def test_what_cannot_be_bound(bind, words):
    with pytest.raises(TypeError, match=words) as error:
        bind()
    assert isinstance(error.value, ps.errors.ViewTypeError)


def test_an_error_in_a_call_changes_nothing():
    model = counted()
    with pytest.raises(TypeError):
        model(X, X)
    assert int(model.n) == 0
