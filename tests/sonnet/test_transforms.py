"""Sonnet's modules under every transform, style and rng mode give what a Python loop gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import purestate as ps
import purestate.sonnet as snt

KEY = jax.random.key(0)
X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)


class Net(snt.Module):
    """Makes modules and variables in `__init__`, under `once`, and with `hasattr`."""

    def __init__(self, name=None):
        super().__init__(name=name)
        self.first = snt.Linear(4)
        self.count = snt.Variable(0.0, trainable=False, name="count")

    @snt.once
    def _initialize(self, x):
        self.second = snt.Linear(x.shape[-1])
        self.shift = snt.Variable(
            lambda: jax.random.normal(ps.next_rng_key(), x.shape[-1:]), name="shift"
        )

    def __call__(self, x):
        self._initialize(x)
        self.count.assign_add(jnp.mean(x))
        if not hasattr(self, "third"):
            self.third = snt.Linear(x.shape[-1], name="linear")
        return jnp.tanh(self.third(self.second(jax.nn.relu(self.first(x)))) + self.shift)


class Stateless(snt.Module):
    def __init__(self, name=None):
        super().__init__(name=name)
        self.linear = snt.Linear(3)

    def __call__(self, x):
        return jnp.tanh(self.linear(x))


def plain(net, x):
    for _ in range(3):
        x = net(x)
    return x


def in_while_loop(net, x):
    if ps.running_init():  # since it may run no step at all
        return plain(net, x)
    return ps.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, net(c[1])), (0, x))[1]


TRANSFORMS = {
    "scan": lambda net, x: ps.scan(lambda c, _: (net(c), None), x, None, length=3)[0],
    "scan over xs": lambda net, x: ps.scan(lambda c, _: (net(c), None), x, jnp.arange(3))[0],
    "fori_loop": lambda net, x: ps.fori_loop(0, 3, lambda i, c: net(c), x),
    "while_loop": in_while_loop,
    "remat": lambda net, x: ps.remat(net)(ps.remat(net)(ps.remat(net)(x))),
    "jit": lambda net, x: ps.jit(net)(ps.jit(net)(net(x))),
    "cond": lambda net, x: ps.cond(x.sum() > -9, lambda x: plain(net, x), net, x),
    "switch": lambda net, x: ps.switch(1, [net, lambda x: plain(net, x)], x),
    "eval_shape": lambda net, x: (ps.eval_shape(net, x), plain(net, x))[1],
    "value_and_grad": lambda net, x: ps.value_and_grad(
        lambda x: (jnp.sum(y := plain(net, x)), y), has_aux=True
    )(x)[0][1],
}
STYLES = {
    "transform_with_state": ps.transform_with_state,
    "transform_with_collections": ps.transform_with_collections,
}


def programs(step):
    """A function of a net under a transform, with modules of the same names around it."""

    def f(x):
        net = Net()
        y = step(net, x)
        return y, Net()(snt.Linear(5)(y)), snt.Linear(2)(net.second(net.first(x)))

    return f


def run(style, rng_mode, step):
    pair = STYLES[style](programs(step), rng_mode=rng_mode)
    if style == "transform_with_state":
        variables = pair.init(KEY, X)
        return variables, jax.jit(pair.apply)(*variables, None, X)
    variables = pair.init(KEY, X)
    apply = jax.jit(lambda v, x: pair.apply(v, None, x, mutable=["state"]))
    return variables, apply(variables, X)


@pytest.mark.parametrize("rng_mode", ["sequence", "path"])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_inside_changes_nothing(name, style, rng_mode):
    expected = run(style, rng_mode, plain)
    actual = run(style, rng_mode, TRANSFORMS[name])
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual[0]), jax.tree.leaves(expected[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(jax.tree.leaves(actual[1]), jax.tree.leaves(expected[1]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def one_row(module):
    return lambda row: module(row[None])[0]


MAPPED = {
    "made outside": lambda x: (lambda net: ps.vmap(one_row(net), split_rng=False)(x))(Stateless()),
    "made inside": lambda x: ps.vmap(lambda row: one_row(Stateless())(row), split_rng=False)(x),
    "jax.vmap of apply": None,
}


@pytest.mark.parametrize("rng_mode", ["sequence", "path"])
@pytest.mark.parametrize("name", MAPPED)
def test_a_mapped_module_is_that_of_a_batch(name, rng_mode):
    batch = ps.transform_with_state(lambda x: Stateless()(x), rng_mode=rng_mode)
    params, state = batch.init(KEY, X)
    expected = batch.apply(params, state, None, X)[0]
    if MAPPED[name] is None:
        actual = jax.vmap(lambda x: batch.apply(params, state, None, x[None])[0][0])(X)
    else:
        pair = ps.transform_with_state(MAPPED[name], rng_mode=rng_mode)
        assert jax.tree.map(jnp.shape, pair.init(KEY, X)[0]) == jax.tree.map(jnp.shape, params)
        actual = pair.apply(params, state, None, X)[0]
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("rng_mode", ["sequence", "path"])
def test_an_ensemble_has_variables_for_each_element(rng_mode):
    modes = {"params": 0, "state": 0}

    def f(x):
        return ps.vmap(
            lambda x: Net()(x), in_axes=None, axis_size=5, collections=modes, split_rng=True
        )(x)

    pair = ps.transform_with_state(f, rng_mode=rng_mode)
    params, state = pair.init(KEY, X)
    out, state = pair.apply(params, state, KEY, X)
    one = ps.transform_with_state(lambda x: Net()(x), rng_mode=rng_mode)
    for i in range(5):
        mine = jax.tree.map(lambda value: value[i], params)
        expected, own = one.apply(mine, jax.tree.map(jnp.zeros_like, own_state(state)), None, X)
        np.testing.assert_allclose(out[i], expected, atol=1e-6)
        np.testing.assert_allclose(state["net"]["count"][i], own["net"]["count"], atol=1e-6)
    assert len({np.asarray(w).tobytes() for w in params["net/linear"]["w"]}) == 5


def own_state(state):
    return jax.tree.map(lambda value: value[0], state)


def test_layer_stack_has_one_module_with_a_leading_axis():
    def stacked(x):
        return ps.layer_stack(3)(lambda x: Net()(x))(x)

    pair = ps.transform_with_state(stacked)
    params, state = pair.init(KEY, X)
    out, after = pair.apply(params, state, None, X)
    one = ps.transform_with_state(lambda x: Net()(x))
    (prefix,) = {path.partition("/")[0] for path in params}
    expected = X
    for i in range(3):
        take = lambda bundles, i=i: {  # noqa: E731
            path.removeprefix(f"{prefix}/"): {name: value[i] for name, value in bundle.items()}
            for path, bundle in bundles.items()
        }
        expected, own = one.apply(take(params), take(state), None, expected)
        np.testing.assert_allclose(take(after)["net"]["count"], own["net"]["count"], atol=1e-6)
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_shard_map_around_apply():
    pair = ps.transform_with_state(lambda x: Stateless()(x))
    params, state = pair.init(KEY, X)
    mesh = jax.make_mesh((1,), ("data",))
    spec = PartitionSpec("data")
    x = jax.device_put(X, jax.sharding.NamedSharding(mesh, spec))
    sharded = jax.shard_map(
        lambda p, x: pair.apply(p, state, None, x)[0],
        mesh=mesh,
        in_specs=(PartitionSpec(), spec),
        out_specs=spec,
    )
    np.testing.assert_allclose(sharded(params, x), pair.apply(params, state, None, X)[0], atol=1e-6)


def test_freeze_getters_and_precision_reach_the_variables():
    def frozen(x):
        with ps.freeze("stateless/*"):
            return Stateless()(x)

    def doubled(x):
        with ps.custom_getter(lambda next_getter, value, context: 2 * next_getter(value)):
            return Stateless()(x)

    pair = ps.transform_with_state(frozen)
    params, state = pair.init(KEY, X)
    grads = jax.grad(lambda p: jnp.sum(pair.apply(p, state, None, X)[0]))(params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads))
    twice = ps.transform_with_state(doubled).apply(params, state, None, X)[0]
    bigger = jax.tree.map(lambda p: 2 * p, params)
    np.testing.assert_allclose(twice, pair.apply(bigger, state, None, X)[0], atol=1e-6)
    specs, _ = ps.specs(pair)(KEY, X)
    assert specs["stateless/linear"]["w"].shape == (3, 3)
    ps.check(pair.apply)(params, state, None, X)


def test_a_bound_function_keeps_its_state():
    pair = ps.transform_with_state(lambda x: Net()(x))
    model = ps.bind(pair, *pair.init(KEY, X))
    out, state = pair.apply(*pair.init(KEY, X), None, X)
    np.testing.assert_array_equal(model(X), out)
    np.testing.assert_array_equal(model.state["net"]["count"], state["net"]["count"])
