"""`ema` against a loop in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps

RNG = np.random.default_rng(0)
STEPS = [
    {
        "a": {
            "w": RNG.normal(size=(3,)).astype(np.float32),
            "b": RNG.normal(size=()).astype(np.float32),
        }
    }
    for _ in range(20)
]
DECAYS = [0.9, 0.99, 0.5, 0.0]


def by_hand(decays, name, start):
    average, weight = np.asarray(start, np.float64), 1.0
    for step, decay in zip(STEPS[1:], decays, strict=False):
        average = decay * average + (1 - decay) * np.asarray(step["a"][name], np.float64)
        weight *= decay
    return average, weight


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("decay", [*DECAYS, None])
def test_against_float64(decay, compiled):
    decays = (
        [decay] * 19 if decay is not None else [min(0.99, (1 + t) / (10 + t)) for t in range(19)]
    )
    update = (
        jax.jit(lambda average, params, decay: average.update(params, decay))
        if compiled
        else ps.ema(STEPS[0]).__class__.update
    )
    plain, debiased = ps.ema(STEPS[0]), ps.ema(STEPS[0], zero_debias=True)
    for step, d in zip(STEPS[1:], decays, strict=True):
        plain, debiased = update(plain, step, d), update(debiased, step, d)
    for name in ("w", "b"):
        average, _ = by_hand(decays, name, STEPS[0]["a"][name])
        np.testing.assert_allclose(plain.params["a"][name], average, rtol=2e-5, atol=1e-6)
        average, weight = by_hand(decays, name, np.zeros_like(STEPS[0]["a"][name]))
        np.testing.assert_allclose(
            debiased.params["a"][name], average / (1 - weight), rtol=2e-5, atol=1e-6
        )


def test_against_optax():
    ours, theirs = ps.ema(STEPS[0], zero_debias=True), optax.ema(0.9, debias=True)
    state = theirs.init(STEPS[0])
    for step in STEPS[:5]:
        ours = ours.update(step, 0.9)
        expected, state = theirs.update(step, state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours.params, expected)


def test_what_was_given_stays_as_it_is():
    params = {"a": {"w": jnp.ones([2])}}
    first = ps.ema(params)
    first.update({"a": {"w": jnp.zeros([2])}}, 0.5)
    assert first.params["a"]["w"].tolist() == [1, 1]
    assert ps.ema(params, zero_debias=True).params["a"]["w"].tolist() == [0, 0]


def test_low_precision_is_averaged_in_float32():
    params = {"w": jnp.ones([], jnp.bfloat16), "n": jnp.int32(1)}
    average = ps.ema(jax.tree.map(jnp.zeros_like, params))
    for _ in range(1000):
        average = average.update(params, 0.999)
    assert average.params["w"].dtype == jnp.bfloat16
    assert average.hidden["w"].dtype == jnp.float32
    np.testing.assert_allclose(
        average.hidden["w"], 1 - 0.999**1000, rtol=1e-3
    )  # in bfloat16 it would stay near 0.25
    assert average.params["n"] == 1
    assert average.params["n"].dtype == jnp.int32


def test_stays_where_the_parameters_stay():
    params = {"w": jnp.array([0.1, 1e-30, 3e30, -0.7])}
    average = ps.ema(params)
    for _ in range(10):
        average = average.update(params, 0.999)
    assert average.params["w"].tobytes() == params["w"].tobytes()


def test_other_structures():
    with pytest.raises(ps.errors.BundleError, match="only the average has 'a/b'"):
        ps.ema({"a": {"w": 1.0, "b": 2.0}}).update({"a": {"w": 1.0}})


def test_as_a_pytree():
    average = jax.jit(lambda average: average)(ps.ema({"a": {"w": jnp.ones([2])}}))
    assert average.params["a"]["w"].tolist() == [1, 1]
    _, stepped = jax.lax.scan(
        lambda average, p: (average.update({"w": p}, 0.5), average.params["w"]),
        ps.ema({"w": 0.0}),
        jnp.ones(3),
    )
    assert stepped.tolist() == [0, 0.5, 0.75]
