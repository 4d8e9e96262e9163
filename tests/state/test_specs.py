"""Specs: what is known of variables, against what `init` makes."""

import haiku as hk
import jax
import jax.numpy as jnp
import pytest

import purestate as ps


def forward(x, is_training):
    x = ps.BatchNorm(True, True, 0.9)(ps.nets.MLP([4, 3])(x), is_training)
    w = ps.get_parameter("w", [3], init=jnp.ones, trainable=False, axes=("embed",))
    ps.variable("cache", "last", [3], jnp.bfloat16, jnp.zeros)
    return x * w


ARGUMENTS = (jax.random.key(0), jax.ShapeDtypeStruct([2, 5], jnp.float32), True)


@pytest.mark.parametrize(
    "transform", [ps.transform_with_state, ps.transform_with_collections, lambda f: f]
)
def test_shaped_like_what_init_gives(transform):
    f = transform(forward)
    found = ps.specs(f)(*ARGUMENTS)
    init = getattr(f, "init", ps.transform_with_state(forward).init)
    made = init(jax.random.key(0), jnp.ones([2, 5]), True)
    is_spec = lambda x: isinstance(x, ps.Spec)
    assert jax.tree.structure(found, is_leaf=is_spec) == jax.tree.structure(made)
    described = jax.tree.map(
        lambda spec: (spec.shape, spec.dtype, spec.size), found, is_leaf=is_spec
    )
    assert described == jax.tree.map(lambda x: (x.shape, x.dtype, x.size), made)


def test_what_a_spec_says():
    params, state = ps.specs(forward)(*ARGUMENTS)
    w, scale, last = params["~"]["w"], params["batch_norm"]["scale"], state["~"]["last"]
    assert (w.trainable, w.axes, w.initializer, w.module, w.collection, w.path) == (
        (False, ("embed",), jnp.ones, None, "params", "~/w")
    )
    assert (scale.trainable, scale.module, scale.initializer) == (True, ps.BatchNorm, jnp.ones)
    assert (last.trainable, last.collection, last.dtype) == (False, "cache", jnp.bfloat16)
    assert params["mlp/~/linear_0"]["w"].module is ps.Linear
    averages = state["batch_norm/~/mean_ema"]
    assert {spec.collection for spec in averages.values()} == {"batch_stats"}
    assert averages["hidden"].initializer is jnp.zeros


def test_nothing_is_computed():
    ran = []

    def init(shape, dtype):
        jax.debug.callback(lambda: ran.append(1))
        return jnp.zeros(shape, dtype)

    f = ps.transform(lambda: ps.get_parameter("w", [10**6, 10**6], init=init))
    assert ps.specs(f)(None)["~"]["w"].shape == (10**6, 10**6)
    assert not ran


def test_stacked_layers_have_more_axes():
    def layer(x):
        return x * ps.get_parameter("w", [3], init=jnp.ones, axes=("embed",))

    f = ps.transform(lambda x: ps.layer_stack(4)(layer)(x))
    (spec,) = jax.tree.leaves(
        ps.specs(f)(jax.random.key(0), jnp.ones([3])), is_leaf=lambda x: isinstance(x, ps.Spec)
    )
    assert (spec.shape, spec.axes) == ((4, 3), (None, "embed"))


def test_contradictions():
    def two(**second):
        ps.get_parameter("w", [2], init=jnp.ones, trainable=False, axes=("a",))
        ps.get_parameter("w", [2], init=jnp.ones, **second)

    ps.specs(two)(None, trainable=False)
    for second, words in (
        ({}, "trainable=False and with trainable=True"),
        ({"trainable": False, "axes": ("b",)}, "axes"),
    ):
        with pytest.raises(ps.errors.VariableError, match=words):
            ps.specs(two)(None, **second)
    with pytest.raises(ps.errors.VariableError, match=r"axes are named \('a', 'b'\)"):
        ps.specs(lambda: ps.get_parameter("w", [2], init=jnp.ones, axes=("a", "b")))(None)
    with pytest.raises(ps.errors.ArgumentError, match="int"):
        ps.specs(3)


def test_not_trainable_has_no_gradient():
    f = ps.transform(
        lambda x: (x * ps.get_parameter("w", [2], init=jnp.ones, trainable=False)).sum()
    )
    params = f.init(None, jnp.ones([2]))
    assert jax.grad(f.apply)(params, None, jnp.ones([2]))["~"]["w"].tolist() == [0, 0]


def test_init_is_the_same_with_and_without():
    # What specs adds is seen by nobody else: values as in dm-haiku.
    f = ps.transform_with_state(lambda x: ps.nets.MLP([4, 3])(x))
    theirs = hk.transform_with_state(lambda x: hk.nets.MLP([4, 3])(x)).init(
        jax.random.key(0), jnp.ones([2, 5])
    )
    ps.specs(f)(jax.random.key(0), jnp.ones([2, 5]))
    ours = f.init(jax.random.key(0), jnp.ones([2, 5]))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), ours, theirs))
