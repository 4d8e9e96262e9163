"""`ps.config.set(stale_state=...)`: an old state that is passed on once more, by identity of its arrays."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._core import stale_state
from purestate.errors import StaleStateError, StaleStateWarning

X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)


def forward(x, is_training=True):
    x = ps.Linear(2)(x)
    return ps.BatchNorm(True, True, 0.9)(x, is_training)


F = ps.transform_with_state(forward)
PARAMS, _ = F.init(jax.random.key(0), X)


def new_state():
    return F.init(jax.random.key(0), X)[1]


@pytest.fixture(autouse=True)
def errors():
    with ps.config.context(stale_state="error"):
        yield


def step(state, is_training=True):
    return F.apply(PARAMS, state, None, X, is_training)[1]


def test_twice_is_an_error_that_names_it():
    state = new_state()
    step(state)
    with pytest.raises(StaleStateError, match="'batch_norm/~/mean_ema/hidden'") as caught:
        step(state)
    assert isinstance(caught.value, ValueError)
    assert "out, state = f.apply" in str(caught.value)


def test_passing_on_is_right():
    state = new_state()
    for _ in range(3):
        state = step(state)
    step(jax.tree.map(jnp.copy, state))
    step(state)


def test_what_a_call_does_not_change_stays_fresh():
    state = new_state()
    for _ in range(2):
        step(state, is_training=False)
    new = step(state)
    with pytest.raises(StaleStateError):
        step(state, is_training=False)
    step(new, is_training=False)


def test_one_stale_array_in_a_new_state():
    old = new_state()
    new = step(old)
    mixed = {**new, "batch_norm/~/var_ema": old["batch_norm/~/var_ema"]}
    with pytest.raises(StaleStateError) as caught:
        step(mixed)
    assert "var_ema" in str(caught.value)
    assert "mean_ema" not in str(caught.value)


def test_off_by_default_and_a_warning():
    state = new_state()
    with ps.config.context(stale_state="off"):
        step(state)
        step(state)
    step(state)  # nothing was noted
    with (
        ps.config.context(stale_state="warn"),
        pytest.warns(StaleStateWarning, match="mean_ema") as caught,
    ):
        step(state)
    assert caught[0].filename == __file__
    assert ps.config.set.__kwdefaults__["stale_state"] is None
    with pytest.raises(ps.errors.ConfigError, match="stale_state must be one of"):
        ps.config.set(stale_state="always")


def loss(params, state):
    out, state = F.apply(params, state, None, X, True)
    return (out**2).sum(), state


def test_under_grad_without_jit():
    state = new_state()
    jax.grad(loss, has_aux=True)(PARAMS, state)
    with pytest.raises(StaleStateError):
        jax.grad(loss, has_aux=True)(PARAMS, state)


@pytest.mark.parametrize("twice", [False, True])
def test_within_one_compiled_function(twice: bool):
    @jax.jit
    def two_steps(state):
        (_, new), _ = jax.value_and_grad(loss, has_aux=True)(PARAMS, state)
        return step(state if twice else new)

    if twice:
        with pytest.raises(StaleStateError):
            two_steps(new_state())
    else:
        two_steps(new_state())


def test_compiled_calls_are_not_seen_and_donation_is():
    state = new_state()
    compiled = jax.jit(step)
    compiled(state)
    compiled(state)
    donating = jax.jit(step, donate_argnums=0)
    donating(state)
    with pytest.raises((RuntimeError, ValueError), match="deleted|donated"):
        donating(state)


def test_both_branches_may_begin_with_the_same_state():
    @jax.jit
    def f(pred, state):
        return jax.lax.cond(pred, step, step, state)

    f(True, new_state())

    @jax.jit
    def closes_over(pred, state):
        return jax.lax.cond(pred, lambda: step(state), lambda: step(state))

    closes_over(True, new_state())


def test_vmap_scan_and_remat():
    jax.vmap(lambda x: F.apply(PARAMS, new_state(), None, x)[1])(jnp.stack([X, X]))
    jax.lax.scan(lambda state, _: (step(state), None), new_state(), None, length=3)
    jax.grad(jax.checkpoint(loss), has_aux=True)(PARAMS, new_state())
    jax.jit(lambda state: jax.hessian(lambda p: loss(p, state)[0])(PARAMS))(new_state())


def test_collections():
    f = ps.transform_with_collections(forward)
    variables = f.init(jax.random.key(0), X)
    f.apply(variables, None, X, is_training=False)
    _, updated = f.apply(variables, None, X, mutable="batch_stats")
    f.apply({**variables, **updated}, None, X, mutable="batch_stats")
    with pytest.raises(StaleStateError, match="mean_ema/hidden' of 'batch_stats'"):
        f.apply(variables, None, X, mutable="batch_stats")


def test_a_model_passes_its_state_on():
    model = ps.bind(F, PARAMS, new_state())
    for _ in range(2):
        model(X)


def test_numpy_arrays_and_python_numbers():
    def count():
        n, m = ps.get_state("n"), ps.get_state("m")
        ps.set_state("n", n + 1)
        ps.set_state("m", m + 1)

    f = ps.transform_with_state(count)
    state = {"~": {"n": np.zeros(2), "m": 0}}
    f.apply({}, state, None)
    with pytest.raises(StaleStateError, match="'~/n'"):
        f.apply({}, state, None)
    f.apply({}, {"~": {"n": np.zeros(2), "m": 0}}, None)


def test_it_keeps_nothing_alive():
    gc.collect()
    before = len(stale_state._replaced)
    state = new_state()
    for _ in range(3):
        state = step(state)
    assert len(stale_state._replaced) <= before
    kept = new_state()
    step(kept)
    assert len(stale_state._replaced) > before
    del kept
    gc.collect()
    assert len(stale_state._replaced) <= before


def test_a_strict_transform():
    f = ps.transform_with_state(forward, strict=True)
    state = new_state()
    _, new = f.apply(PARAMS, state, None, X)
    f.apply(PARAMS, new, None, X)
    with pytest.raises(StaleStateError):
        f.apply(PARAMS, new, None, X)
