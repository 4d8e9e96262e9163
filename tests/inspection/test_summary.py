"""`eval_summary`: which calls it tells of, and what."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps


def net(lib):
    def f(x):
        core = lib.DeepRNN([lib.LSTM(4), lib.nets.MLP([3])])
        out, _ = lib.static_unroll(core, x, core.initial_state(2))
        with lib.name_scope("end"):
            return lib.BatchNorm(True, True, 0.9, name="norm")(out, is_training=True)

    return f


def described(calls):
    def details(d):
        return d.module.module_name, d.method_name, {**d.params}, {**d.state}

    return [
        repr((
            details(call.module_details), call.args_spec, call.kwargs_spec, call.output_spec, call.context.method_name,
            [details(d) for d in call.call_stack],
        ))
        for call in calls
    ]  # fmt: skip


def test_same_as_dm_haiku():
    x = jnp.ones([2, 2, 3])
    ours = described(ps.experimental.eval_summary(net(ps))(x))
    theirs = described(hk.experimental.eval_summary(net(hk))(x))
    assert len(ours) == 15
    assert ours == theirs


def paths(calls):
    return [call.module_details.module.module_name for call in calls]


def test_nothing_is_told_of_what_only_is_made():
    assert ps.experimental.eval_summary(lambda: None)() == []
    assert ps.experimental.eval_summary(lambda: ps.Linear(1) and None)() == []


def test_every_way_to_give_a_function():
    def f(x):
        return ps.nets.MLP([4, 2])(x)

    x = jnp.ones([1, 3])
    expected = ["mlp", "mlp/~/linear_0", "mlp/~/linear_1"]
    g, h = ps.transform(f), ps.transform_with_state(f)
    for given in (f, g, h, g.init, g.apply, h.apply, jax.jit(g.init), jax.jit(h.apply)):
        assert paths(ps.experimental.eval_summary(given)(x)) == expected
    params = g.init(jax.random.key(0), x)
    jitted = jax.jit(g.apply)
    jitted(params, None, x)  # so that JAX has it cached
    for _ in range(2):
        assert (
            paths(ps.experimental.eval_summary(lambda p, x: jitted(p, None, x))(params, x))
            == expected
        )
    grads = ps.experimental.eval_summary(
        lambda p, x: jax.grad(lambda p: jitted(p, None, x).sum())(p)
    )(params, x)
    assert paths(grads) == expected
    mapped = jax.pmap(lambda p, x: g.apply(p, None, x), in_axes=(None, 0))
    assert (
        paths(ps.experimental.eval_summary(lambda p, x: mapped(p, x))(params, x[None])) == expected
    )


def test_python_values_stay_python_values():
    # In dm-haiku they are traced, so that `if is_training` fails.
    def f(x, is_training, sizes, activation, scale=2.0):
        if is_training and scale > 1:
            x = ps.dropout(ps.next_rng_key(), 0.5, x)
        return ps.nets.MLP(sizes, activation=activation)(x)

    calls = ps.experimental.eval_summary(f)(np.ones([1, 3]), True, [4, 2], jax.nn.relu, scale=1.5)
    assert repr(calls[0].args_spec) == "(f32[1,3],)"
    assert paths(calls) == ["mlp", "mlp/~/linear_0", "mlp/~/linear_1"]


def test_numpy_arrays_are_told_by_their_shape():
    class Constant(ps.Module):
        def __call__(self, x):
            return np.ones([100])

    (call,) = ps.experimental.eval_summary(lambda: Constant()(np.zeros([50])))()
    assert repr((call.args_spec, call.output_spec)) == "((f64[50],), f64[100])"


def test_nothing_is_computed():
    huge = jax.ShapeDtypeStruct([10**6, 10**6], jnp.float32)
    (call,) = ps.experimental.eval_summary(lambda x: ps.Linear(10**6)(x))(huge)
    assert call.output_spec.size == 10**12
    assert call.module_details.params["linear/w"].size == 10**12


def test_loops_are_told_of_once():
    def f(xs):
        core = ps.LSTM(4)
        return ps.dynamic_unroll(core, xs, core.initial_state(None))

    calls = ps.experimental.eval_summary(f)(jnp.ones([1000, 3]))
    assert [
        (call.module_details.module.module_name, call.context.method_name) for call in calls
    ] == [
        ("lstm", "initial_state"),
        ("lstm", "__call__"),
        ("lstm/linear", "__call__"),
    ]


def test_a_call_that_failed_is_left_out():
    class Failing(ps.Module):
        def __call__(self, x):
            raise KeyError

    def f(x):
        try:
            Failing()(x)
        except KeyError:
            return ps.Linear(1)(x)

    assert paths(ps.experimental.eval_summary(f)(jnp.ones([1, 1]))) == ["linear"]


def test_what_is_wrong_in_the_function_is_raised():
    with pytest.raises(ps.errors.LayerError):
        ps.experimental.eval_summary(lambda x: ps.Linear(1)(x))(jnp.ones([]))


def test_array_spec():
    spec = ps.experimental.ArraySpec.from_array(jnp.ones([2, 3], jnp.int8))
    assert (spec.size, repr(spec), str(spec)) == (6, "s8[2,3]", "s8[2,3]")
    assert spec == ps.experimental.ArraySpec((2, 3), jnp.dtype("int8"))
    assert ps.experimental.ArraySpec((), jnp.float32).size == 1
