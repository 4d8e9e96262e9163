"""Initial values without the rest of the run: what is computed, what is in memory, and shapes in place of arrays."""

import jax
import jax.numpy as jnp
import pytest

import purestate as ps
from purestate._core import trace_guard
from tests.state.test_fast_init import KEY, SHAPE, X, identical
from tests.state.test_init_with_output import plain


@pytest.fixture
def equations(monkeypatch):
    """The names of the operations that run."""
    ran, run = [], trace_guard.run_equation

    def recorded(eqn, inputs):
        ran.append(eqn.primitive.name)
        return run(eqn, inputs)

    monkeypatch.setattr(trace_guard, "run_equation", recorded)
    return ran


# What is computed


def test_nothing_of_the_forward_pass_runs(equations):
    told = []

    def f(x):
        jax.debug.callback(told.append, x)
        return ps.nets.MLP([8, 8, 2])(x)

    identical(ps.fast_init(ps.transform(f))(KEY, X), ps.transform(lambda x: f(x)).init(KEY, X))
    jax.effects_barrier()
    assert len(told) == 1  # by `init`, with which it was compared
    assert equations
    assert not {"dot_general", "max", "debug_callback"} & set(equations)


def test_what_an_initial_value_depends_on_runs(equations):
    def f(x):
        h = ps.Linear(5, name="first")(x)
        scale = ps.get_parameter("scale", [5], init=lambda s, d: jnp.std(h, 0))
        return ps.Linear(7, name="last")(h / scale)

    f = ps.transform(f)
    identical(ps.fast_init(f)(KEY, X), f.init(KEY, X))
    assert equations.count("dot_general") == 1


def test_equal_layers_are_compiled_once():
    compiled = []

    def heard(event, duration_secs, **_):
        if "backend_compile" in event:
            compiled.append(event)

    def number(layers):
        def f(x):
            for _ in range(layers):
                x = jnp.tanh(ps.Linear(13)(x))
            return x

        jax.clear_caches()
        compiled.clear()
        ps.fast_init(ps.transform(f))(KEY, jax.ShapeDtypeStruct([2, 13], jnp.float32))
        return len(compiled)

    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        assert number(3) == number(30) > 0
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)


def test_no_more_is_in_memory_than_the_variables(monkeypatch):
    most, run = [], trace_guard.run_equation
    before = sum(array.nbytes for array in jax.live_arrays())

    def recorded(eqn, inputs):
        outs = run(eqn, inputs)
        most.append(sum(array.nbytes for array in jax.live_arrays()) - before)
        return outs

    monkeypatch.setattr(trace_guard, "run_equation", recorded)
    f = ps.transform(lambda x: ps.nets.MLP([64] * 10)(x))
    params = ps.fast_init(f)(KEY, jax.ShapeDtypeStruct([2, 64], jnp.float32))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert max(most) < size + 4 * 64 * 64 * 4


# Shapes


def data_dependent(x, y=None):
    h = ps.get_parameter("mean", [3], init=lambda s, d: x.mean(0))
    return ps.Linear(2)(x - h) + (0 if y is None else y)


@pytest.mark.parametrize("init", ["init", "fast_init"])
@pytest.mark.parametrize(
    "transform", ["transform", "transform_with_state", "transform_with_collections"]
)
def test_which_value_mattered(transform, init):
    f = getattr(ps, transform)(data_dependent)
    run = f.init if init == "init" else ps.fast_init(f)
    place = "~/mean" if transform != "transform_with_collections" else "params/~/mean"
    with pytest.raises(ps.errors.ArgumentError) as caught:
        run(KEY, SHAPE)
    assert f"{place!r} depends on the elements of `args[0]`" in str(caught.value)
    assert "jnp.zeros((4, 3), 'float32')" in str(caught.value)
    run(KEY, jnp.zeros((4, 3), "float32"))  # as it says
    with pytest.raises(ps.errors.ArgumentError, match="elements of `x`"):
        run(KEY, x=SHAPE)
    y = jax.ShapeDtypeStruct([4, 2], jnp.float32)
    identical(run(KEY, X, y), f.init(KEY, X, jnp.zeros(y.shape)))


def test_a_key_is_needed():
    f = ps.transform(plain)
    key = jax.eval_shape(jax.random.key, 0)
    with pytest.raises(ps.errors.ArgumentError, match="without elements as `rng`"):
        f.init(key, X)
    assert jax.eval_shape(f.init, key, X)["linear"]["w"].shape == (3, 2)  # as it says


def test_python_asks_for_an_element():
    def f(x, deep):
        return ps.Linear(2)(x) if deep and x.sum() > 0 else ps.Linear(3)(x)

    f = ps.transform(f)
    with pytest.raises(jax.errors.ConcretizationTypeError) as caught:
        ps.fast_init(f)(KEY, X + 1, True)
    assert "Call `f.init` with arrays" in "".join(caught.value.__notes__)
    assert f.init(KEY, X + 1, True)["linear"]["w"].shape == (3, 2)  # as it says
    identical(ps.fast_init(f)(KEY, X, False), f.init(KEY, X, False))  # a bool is known


def test_an_initial_value_that_is_an_argument():
    def f(x):
        ps.set_state("last", x)
        ps.set_state("one", 1)

    f = ps.transform_with_state(f)
    params, state = ps.fast_init(f)(None, X)
    assert params == {}
    assert state["~"]["last"] is X
    assert int(state["~"]["one"]) == 1
    with pytest.raises(ps.errors.ArgumentError, match="'~/last' depends"):
        f.init(None, SHAPE)
