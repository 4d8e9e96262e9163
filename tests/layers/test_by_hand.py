"""The jaxpr of each layer has exactly the equations of the same arithmetic written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

import purestate as ps
from benchmarks.trace import equations

X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
IMAGE = jnp.linspace(-1.0, 1.0, 2 * 8 * 8 * 3).reshape(2, 8, 8, 3)


def linear(p, s, x):
    return jnp.dot(x, p["linear"]["w"]) + p["linear"]["b"], s


def conv(p, s, x):
    dims = ("NHWC", "HWIO", "NHWC")
    out = lax.conv_general_dilated(x, p["conv2_d"]["w"], (2, 2), "SAME", dimension_numbers=dims)
    return out + p["conv2_d"]["b"], s


def average(s, value):
    counter = s["counter"] + 1
    decay = np.asarray(0.9, value.dtype)
    hidden = s["hidden"] * decay + value * (1 - decay)
    average = hidden / (1 - jnp.power(decay, counter))
    return average, {"average": average, "counter": counter, "hidden": hidden}


def batch_norm(p, s, x):
    mean = jnp.mean(x, [0], keepdims=True)
    var = jnp.mean(jnp.square(x), [0], keepdims=True) - jnp.square(mean)
    s = {
        "batch_norm/~/mean_ema": average(s["batch_norm/~/mean_ema"], mean)[1],
        "batch_norm/~/var_ema": average(s["batch_norm/~/var_ema"], var)[1],
    }
    eps = lax.convert_element_type(1e-5, var.dtype)
    p = p["batch_norm"]
    return (x - mean) * (p["scale"] * lax.rsqrt(var + eps)) + p["offset"], s


def batch_norm_test(p, s, x):
    mean, var = s["batch_norm/~/mean_ema"]["average"], s["batch_norm/~/var_ema"]["average"]
    eps = lax.convert_element_type(1e-5, var.dtype)
    p = p["batch_norm"]
    return (x - mean) * (p["scale"] * lax.rsqrt(var + eps)) + p["offset"], s


def dropout(key, x):
    return jax.random.bernoulli(key, 0.9, x.shape) * x / 0.9


def mlp(p, s, x):
    x = jax.nn.relu(jnp.dot(x, p["mlp/~/linear_0"]["w"]) + p["mlp/~/linear_0"]["b"])
    return jnp.dot(x, p["mlp/~/linear_1"]["w"]) + p["mlp/~/linear_1"]["b"], s


def avg_pool(p, s, x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / np.float64(
        4
    ), s


def max_pool(p, s, x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME"), s


ROWS = {
    "Linear": (lambda x: ps.Linear(5)(x), linear, X),
    "Bias": (lambda x: ps.Bias()(x), lambda p, s, x: (x + p["bias"]["b"], s), X),
    "Conv2D": (lambda x: ps.Conv2D(4, 3, stride=2)(x), conv, IMAGE),
    "BatchNorm": (lambda x: ps.BatchNorm(True, True, 0.9)(x, True), batch_norm, X),
    "BatchNorm, test": (
        lambda x: ps.BatchNorm(True, True, 0.9)(x, ps.running_init()),
        batch_norm_test,
        X,
    ),
    "ExponentialMovingAverage": (
        lambda x: ps.ExponentialMovingAverage(0.9, name="ema")(x),
        lambda p, s, x: (lambda a: (a[0], {"ema": a[1]}))(average(s["ema"], x)),
        X,
    ),
    "dropout": (
        lambda x: ps.dropout(jax.random.key(1), 0.1, x),
        lambda p, s, x: (dropout(jax.random.key(1), x), s),
        X,
    ),
    "MLP": (lambda x: ps.nets.MLP([5, 2])(x), mlp, X),
    "Sequential": (
        lambda x: ps.Sequential([jax.nn.relu, jnp.tanh])(x),
        lambda p, s, x: (jnp.tanh(jax.nn.relu(x)), s),
        X,
    ),
    "Flatten": (lambda x: ps.Flatten()(x), lambda p, s, x: (x.reshape(2, -1), s), IMAGE),
    "avg_pool": (lambda x: ps.avg_pool(x, (2, 2, 1), (2, 2, 1), "VALID"), avg_pool, IMAGE),
    "max_pool": (lambda x: ps.max_pool(x, (2, 2, 1), (2, 2, 1), "SAME"), max_pool, IMAGE),
}


def primitives(jaxpr):
    return sorted(equation.primitive.name for equation in jaxpr.eqns)


@pytest.mark.parametrize("name", ROWS)
def test_equations_are_those_by_hand(name):
    f, by_hand, x = ROWS[name]
    pair = ps.transform_with_state(f)
    params, state = pair.init(jax.random.key(0), x)
    ours = jax.make_jaxpr(lambda p, s, x: pair.apply(p, s, None, x))(params, state, x)
    theirs = jax.make_jaxpr(by_hand)(params, state, x)
    assert equations(ours.jaxpr) == equations(theirs.jaxpr)
    assert primitives(ours.jaxpr) == primitives(theirs.jaxpr)
    out, new_state = pair.apply(params, state, None, x)
    expected, expected_state = by_hand(params, state, x)
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-6)
    for a, b in zip(jax.tree.leaves(new_state), jax.tree.leaves(expected_state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def mlp_broadcast(p, x):
    """As `mlp`, with the biases brought to full shape by hand, which makes a gradient two equations shorter."""
    for i in range(2):
        w, b = p[f"mlp/~/linear_{i}"]["w"], p[f"mlp/~/linear_{i}"]["b"]
        out = jnp.dot(x, w)
        x = out + jnp.broadcast_to(b, out.shape)
        x = jax.nn.relu(x) if i == 0 else x
    return x


def test_a_train_step_has_the_equations_by_hand():
    import haiku as hk

    def step(apply, params):
        optimizer = optax.adam(1e-3)

        def run(params, opt_state, x):
            grads = jax.grad(lambda p: jnp.square(apply(p, x)).mean())(params)
            updates, opt_state = optimizer.update(grads, opt_state)
            return optax.apply_updates(params, updates), opt_state

        return jax.make_jaxpr(run)(params, optimizer.init(params), X).jaxpr

    ours, theirs = (
        library.transform(lambda x, L=library: L.nets.MLP([5, 2])(x)) for library in (ps, hk)
    )
    params = ours.init(jax.random.key(0), X)
    jaxpr = step(lambda p, x: ours.apply(p, None, x), params)
    by_hand = step(mlp_broadcast, params)
    assert equations(jaxpr) == equations(by_hand)
    assert primitives(jaxpr) == primitives(by_hand)
    assert equations(jaxpr) <= equations(step(lambda p, x: theirs.apply(p, None, x), params))
    assert equations(jaxpr) <= equations(step(lambda p, x: mlp(p, {}, x)[0], params))


def test_one_copy_of_a_scan_body_in_apply():
    pair = ps.transform(lambda xs: ps.scan(lambda c, x: (jnp.sin(c), ps.Linear(3)(x)), 0.0, xs)[1])
    params = pair.init(jax.random.key(0), X)
    jaxpr = jax.make_jaxpr(pair.apply)(params, None, X).jaxpr
    assert primitives(jaxpr) == ["scan"]
    assert primitives(jaxpr.eqns[0].params["jaxpr"].jaxpr) == ["add", "dot_general", "sin"]
