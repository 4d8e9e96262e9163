"""`remat`, `jit` and `eval_shape` of functions that use the frame."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jnp.array([0.5, -1.0, 2.0])
PARAMS = {"~": {"w": jnp.array([1.0, 2.0, 3.0])}}


def layer(x):
    return jnp.sin(x * ps.get_parameter("w", [3], init=jnp.ones))


def count_of(primitive, f, *args):
    """How often a primitive is computed, however deep in the jaxpr."""
    return str(jax.make_jaxpr(f)(*args)).count(f" {primitive} ")


def loss(wrap, times):
    def f(x):
        for _ in range(times):
            x = wrap(layer)(x)
        return x.sum()

    return ps.transform(f).apply


@pytest.mark.parametrize("times", [1, 3])
def test_remat_computes_again_what_is_needed_for_the_gradient(times):
    plain, again = (jax.grad(loss(wrap, times)) for wrap in (lambda f: f, ps.remat))
    by_hand = jax.grad(
        lambda params, _, x: jax.checkpoint(lambda w, x: jnp.sin(x * w))(params["~"]["w"], x).sum()
    )
    np.testing.assert_allclose(
        again(PARAMS, None, X)["~"]["w"], plain(PARAMS, None, X)["~"]["w"], rtol=1e-6
    )
    assert count_of("mul", again, PARAMS, None, X) > count_of("mul", plain, PARAMS, None, X)
    if times == 1:
        expected = count_of("mul", by_hand, PARAMS, None, X)
        assert count_of("mul", again, PARAMS, None, X) == expected


def test_a_policy_says_what_is_stored_after_all():
    policy = jax.checkpoint_policies.everything_saveable
    stored = jax.grad(loss(lambda f: ps.remat(f, policy=policy), 1))
    plain = jax.grad(loss(lambda f: f, 1))
    assert count_of("cos", stored, PARAMS, None, X) == count_of("cos", plain, PARAMS, None, X)


@pytest.mark.parametrize("static_argnums", [1, -2, (1,), (1, 2)])
def test_static_arguments_are_python_values(static_argnums):
    def f(x, double, name):
        assert double is True
        return x * (2 if double else 1), len(str(name)) if isinstance(name, str) else name

    name = "text" if static_argnums == (1, 2) else 1.0
    g = ps.transform(lambda x: ps.remat(f, static_argnums=static_argnums)(x, True, name))
    out, rest = g.apply({}, None, X)
    np.testing.assert_array_equal(out, 2 * X)
    assert float(rest) == (4 if static_argnums == (1, 2) else 1)


def test_static_and_keyword_arguments_together():
    f = ps.transform(lambda x: ps.remat(lambda x, n, *, y: x * n + y, static_argnums=1)(x, 3, y=x))
    np.testing.assert_array_equal(f.apply({}, None, X), 4 * X)


@pytest.mark.parametrize("wrap", [ps.remat, ps.jit], ids=lambda f: f.__name__)
def test_state_and_parameters_made_inside_are_kept(wrap):
    def f(x):
        def step(x):
            n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
            ps.set_state("n", n + 1)
            return layer(x)

        return wrap(step)(wrap(step)(x))

    pair = ps.transform_with_state(f)
    params, state = pair.init(None, X)
    assert (params["~"]["w"].tolist(), int(state["~"]["n"])) == ([1, 1, 1], 0)
    out, state = pair.apply(PARAMS, state, None, X)
    np.testing.assert_allclose(
        out, jnp.sin(jnp.sin(X * PARAMS["~"]["w"]) * PARAMS["~"]["w"]), rtol=1e-6
    )
    assert int(state["~"]["n"]) == 2


def test_jit_takes_parameters_as_arguments():
    """Not as constants of the compiled program, which would be compiled anew for each step of training."""
    f = ps.transform(lambda x: ps.jit(layer)(x))
    traces = []
    jaxpr = jax.make_jaxpr(lambda p: traces.append(1) or f.apply(p, None, X))(PARAMS)
    (call,) = (e for e in jaxpr.eqns if e.primitive.name in ("jit", "pjit"))
    assert not call.params["jaxpr"].consts
    assert jaxpr.jaxpr.invars[0] in call.invars


def test_eval_shape_leaves_the_frame_as_it_was():
    def f(x):
        def step(x):
            ps.set_state("n", ps.get_state("n", [], init=jnp.zeros) + 1)
            noise = jax.random.uniform(ps.next_rng_key(), [4])
            return {"out": layer(x)[:, None] + noise, "made": ps.Linear(2)(x[None])}

        before = ps.maybe_get_rng_sequence_state(), ps.get_params(), ps.get_current_state()
        shapes = ps.eval_shape(step, x)
        after = ps.maybe_get_rng_sequence_state(), ps.get_params(), ps.get_current_state()
        return shapes, before, after, ps.Linear(1).module_name

    shapes, before, after, name = ps.transform_with_state(f).apply(
        {**PARAMS, "linear": {"w": jnp.ones([3, 2]), "b": jnp.ones([2])}},
        None,
        jax.random.key(0),
        X,
    )[0]
    assert shapes == {
        "out": jax.ShapeDtypeStruct((3, 4), jnp.float32),
        "made": jax.ShapeDtypeStruct((1, 2), jnp.float32),
    }
    assert before == after
    assert name == "linear"


def test_eval_shape_computes_nothing_in_init():
    def f(x):
        return ps.eval_shape(lambda x: x @ ps.get_parameter("w", [2**30, 2**20], init=jnp.ones), x)

    params = ps.transform(f).init(None, jax.ShapeDtypeStruct((1, 2**30), jnp.float32))
    assert params == {}


@pytest.mark.parametrize("name", ["remat", "jit"])
def test_only_inside_of_a_run(name):
    with pytest.raises(ps.errors.FrameError, match=rf"`ps.{name}` \(outside, `jax"):
        getattr(ps, name)(layer)
    with pytest.raises(ps.errors.FrameError, match=r"`ps.eval_shape` \(outside, `jax.eval_shape`"):
        ps.eval_shape(layer, X)
