"""What comes out of transformed functions can be pickled and copied: plain dicts, specs, views, and the pairs themselves."""

import copy
import functools
import pickle

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
KEY = jax.random.PRNGKey(0)  # a raw one: JAX does not pickle typed keys


def net(x, is_training=True):
    x = ps.BatchNorm(True, True, 0.9)(ps.nets.MLP([4, 3])(x), is_training)
    calls = ps.get_state("calls", [], jnp.int32, init=jnp.zeros)
    ps.set_state("calls", calls + 1)
    return x + jax.random.normal(ps.next_rng_key(), x.shape)


def linear(x):
    return ps.Linear(2)(x)


class Net(ps.Module):
    def __call__(self, x):
        return linear(x)


def multi():
    def encode(x):
        return net(x)

    return encode, (encode, net)


PAIR = ps.transform_with_state(net)
STATELESS = ps.transform(linear)
COLLECTIONS = ps.transform_with_collections(net)
MULTI = ps.multi_transform_with_state(multi)


def made_through(transform):
    """State and parameters that came through a JAX transform inside."""

    def f(x):
        return transform(lambda x: ps.set_state("last", ps.Linear(3)(x).sum()))(x)

    return lambda: ps.transform_with_state(f).init(KEY, X)


# What a run returns.
RESULTS = {
    "init": lambda: PAIR.init(KEY, X),
    "apply": lambda: PAIR.apply(*PAIR.init(KEY, X), KEY, X)[1],
    "jit": lambda: jax.jit(PAIR.init)(KEY, X),
    "collections_init": lambda: COLLECTIONS.init(KEY, X),
    "collections_apply": lambda: COLLECTIONS.apply(
        COLLECTIONS.init(KEY, X), KEY, X, mutable=ps.AllBut("params")
    )[1],
    "multi_init": lambda: MULTI.init(KEY, X),
    "captured": lambda: ps.capture_intermediates(PAIR).apply(*PAIR.init(KEY, X), KEY, X)[0][1],
    "path_keys": lambda: ps.transform_with_state(net, rng_mode="path").init(KEY, X),
    "variables": lambda: ps.transform_with_state(lambda x: (net(x), ps.get_variables())[1]).apply(
        *PAIR.init(KEY, X), KEY, X
    )[0],
    "through_jit": made_through(ps.jit),
    "through_remat": made_through(ps.remat),
    "through_cond": made_through(lambda f: lambda x: ps.cond(True, f, lambda x: None, x)),
    "through_layer_stack": lambda: ps.transform(lambda x: ps.layer_stack(2)(ps.Linear(3))(x)).init(
        KEY, X
    ),
    "through_vmap": made_through(
        lambda f: ps.vmap(f, split_rng=False, collections={"state": "mean"})
    ),
}
COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "pickle_of_old": lambda value: pickle.loads(pickle.dumps(value, protocol=2)),
    "tree_map": lambda value: jax.tree.map(lambda leaf: leaf, value),
}


def containers(tree):
    """All dicts and lists in a tree: what a change in place would reach."""
    inner = (
        tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
    )
    found = [tree] if isinstance(tree, (dict, list)) else []
    return found + [container for value in inner for container in containers(value)]


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_plain_dicts_of_arrays(name):
    result = RESULTS[name]()
    assert containers(result)
    assert {type(container) for container in containers(result)} == {dict}
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(result))
    assert not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(result))


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", RESULTS)
def test_copies_of_results_share_nothing(name, how):
    result = RESULTS[name]()
    other = COPIES[how](result)
    assert_same(result, other)
    assert not {id(container) for container in containers(result)} & {
        id(container) for container in containers(other)
    }
    before = jax.tree.map(np.asarray, result)
    for container in containers(other):
        container["new"] = jnp.zeros([])
    assert_same(result, before)


@pytest.mark.parametrize("name", RESULTS)
def test_two_runs_share_no_dict(name):
    # One that outlives its run, in a cache or a default, would come with both.
    a, b = (containers(RESULTS[name]()) for _ in range(2))
    assert not {id(container) for container in a} & {id(container) for container in b}


def test_what_apply_returns_shares_no_dict_with_what_it_was_given():
    params, state = PAIR.init(KEY, X)
    for given in (params, copy.deepcopy(params)):
        _, new = PAIR.apply(given, state, KEY, X)
        assert not {id(c) for c in containers(new)} & {id(c) for c in containers((given, state))}
    variables = COLLECTIONS.init(KEY, X)
    for mutable in (
        ["state", "batch_stats"],
        ["params", "state", "batch_stats"],
        ps.AllBut("params"),
    ):
        _, new = COLLECTIONS.apply(variables, KEY, X, mutable=mutable)
        assert not {id(c) for c in containers(new)} & {id(c) for c in containers(variables)}


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_of_the_variables_gives_the_same(how):
    variables = PAIR.init(KEY, X)
    assert_same(PAIR.apply(*COPIES[how](variables), KEY, X), PAIR.apply(*variables, KEY, X))


def test_typed_keys_in_the_state():
    def f():
        key = ps.get_state("key", [], jnp.uint32, init=lambda *_: jax.random.key(3))
        ps.set_state("key", jax.random.split(key)[0])
        return jax.random.uniform(key)

    pair = ps.transform_with_state(f)
    params, state = pair.init(None)
    assert_same(
        pair.apply(params, copy.deepcopy(state), None)[0], pair.apply(params, state, None)[0]
    )


# The pairs themselves


PAIRS = {
    "transform": STATELESS,
    "transform_with_state": PAIR,
    "collections": COLLECTIONS,
    "multi": MULTI,
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_copied_pair_is_the_pair(name):
    for copied in (copy.copy(PAIRS[name]), copy.deepcopy(PAIRS[name])):
        assert type(copied) is type(PAIRS[name])
        assert_same(copied.init(KEY, X), PAIRS[name].init(KEY, X))


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_goes_to_another_process_with_cloudpickle(name):
    other = cloudpickle.loads(cloudpickle.dumps(PAIRS[name]))
    assert_same(other.init(KEY, X), PAIRS[name].init(KEY, X))


MADE_OF_PAIRS = {
    **PAIRS,
    "without_state": ps.without_state(ps.transform_with_state(linear)),
    "with_empty_state": ps.with_empty_state(ps.transform(linear)),
    "without_apply_rng": ps.without_apply_rng(ps.transform_with_state(net)),
    "multi_without_rng": ps.without_apply_rng(ps.multi_transform_with_state(multi)),
    "by_path": ps.transform(linear, rng_mode="path", strict=True),
    "class": ps.transform(Net),
}


@pytest.mark.parametrize("name", MADE_OF_PAIRS)
def test_a_pair_goes_through_plain_pickle(name):
    """As process pools and Ray need it (dm-haiku issue 59)."""
    pair = MADE_OF_PAIRS[name]
    other = pickle.loads(pickle.dumps(pair))
    assert type(other) is type(pair)
    assert_same(other.init(KEY, X), pair.init(KEY, X))
    for a, b in zip(jax.tree.leaves(other.apply), jax.tree.leaves(pair.apply), strict=True):
        assert (a.__name__, repr(a), a.__doc__) == (b.__name__, repr(b), b.__doc__)
    init = pickle.loads(pickle.dumps(pair.init))
    assert_same(init(KEY, X), pair.init(KEY, X))


def test_a_pair_of_a_lambda_says_what_cannot_be_pickled():
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(ps.transform(lambda x: x))


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda value: cloudpickle.loads(cloudpickle.dumps(value))],
    ids=["copy", "pickle"],
)
def test_specs(copied):
    found = ps.specs(PAIR)(KEY, X)
    other = copied(found)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(other), strict=True):
        assert (a.shape, a.dtype, a.path, a.collection, a.trainable, a.module) == (
            b.shape,
            b.dtype,
            b.path,
            b.collection,
            b.trainable,
            b.module,
        )
    assert not {id(c) for c in containers(found)} & {id(c) for c in containers(other)}


def test_specs_of_layers_go_through_plain_pickle():
    found = ps.specs(ps.transform(lambda x: ps.Linear(2)(x)))(KEY, X)
    assert pickle.loads(pickle.dumps(found))["linear"]["w"].module is ps.Linear


# Views


MODEL_COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "method": lambda model: model.copy(),
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


def bound():
    return ps.bind(net, *PAIR.init(KEY, X), rng=KEY)


@pytest.mark.parametrize("how", MODEL_COPIES)
def test_a_copied_model_goes_its_own_way(how):
    model, same = bound(), bound()
    other = MODEL_COPIES[how](model)
    assert_same((model.params, model.state, model.rng), (other.params, other.state, other.rng))
    shared = {id(c) for c in containers((model.params, model.state))} & {
        id(c) for c in containers((other.params, other.state))
    }
    for _ in range(3):
        other(X)
    other.params = jax.tree.map(jnp.zeros_like, other.params)
    assert_same(model(X), same(X))
    assert int(other.state["~"]["calls"]) == 3
    assert how == "copy" or not shared


ERRORS = [
    lambda: ps.Linear(2),
    lambda: PAIR.apply({}, None, KEY, X),
    lambda: PAIR.init("key", X),
    lambda: ps.transform(lambda: ps.set_state("a", jnp.ones([]))).init(None),
    lambda: ps.config.set(rng_reserve_size=0),
]


@functools.cache
def raised(number):
    try:
        ERRORS[number]()
    except ps.errors.PurestateError as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_errors_come_back_from_other_processes(number):
    error = raised(number)
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is type(error)
    assert str(other) == str(error)
