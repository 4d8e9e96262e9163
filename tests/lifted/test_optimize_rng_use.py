"""`optimize_rng_use`: one split for all keys of a function; what it draws is counted without running it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

KEY = jax.random.key(0)
optimize = ps.experimental.optimize_rng_use


def draws(number):
    return lambda: [ps.next_rng_key() for _ in range(number)]


def data(keys):
    return np.asarray(jax.random.key_data(jnp.stack(keys)))


@pytest.mark.parametrize("number", [0, 1, 4])
def test_the_keys_are_those_of_one_split(number):
    f = ps.transform(lambda: [*optimize(draws(number))(), ps.next_rng_key()])
    first, *rest = jax.random.split(KEY, number + 1) if number else (KEY,)
    expected = [*rest, jax.random.split(first)[1]]
    np.testing.assert_array_equal(data(f.apply({}, KEY)), data(expected))


@pytest.mark.parametrize("number", [1, 5])
def test_it_takes_one_operation(number):
    f = ps.transform(lambda: optimize(draws(number))())
    assert str(jax.make_jaxpr(f.apply)({}, KEY)).count("random_split") == 1
    plain = ps.transform(draws(number))
    assert str(jax.make_jaxpr(plain.apply)({}, KEY)).count("random_split") == number


def test_the_look_ahead_leaves_no_mark():
    runs = []

    def step():
        runs.append(1)
        n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
        ps.set_state("n", n + 1)
        ps.next_rng_key()
        return ps.Module(name="m").module_name, ps.get_parameter("w", [], init=jnp.ones)

    f = ps.transform_with_state(lambda: (optimize(step)(), optimize(step)()))
    params, state = f.init(KEY)
    assert (list(params["~"]), int(state["~"]["n"])) == (["w"], 0)
    runs.clear()
    (first, second), state = f.apply(params, state, KEY)
    assert ([first[0], second[0]], int(state["~"]["n"]), len(runs)) == (["m", "m_1"], 2, 4)


def test_arguments_and_keywords_are_passed_on():
    def noisy(x, *, scale):
        return x + scale * (ps.next_rng_key() is not None)

    f = ps.transform(lambda x: optimize(noisy)(x, scale=2))
    assert f.apply({}, KEY, jnp.ones([])) == 3


@pytest.mark.parametrize("rng", [None, {"default": KEY}])
def test_other_sources_of_keys_draw_as_ever(rng):
    def f(wrap):
        return lambda: wrap(draws(2) if rng else draws(0))()

    pairs = [ps.transform(f(wrap)) for wrap in (lambda g: g, optimize)]
    plain, ours = (pair.apply({}, rng) for pair in pairs)
    assert len(plain) == len(ours)
    assert all((a == b).all() for a, b in zip(plain, ours, strict=True))


def test_only_inside_of_a_run():
    with pytest.raises(ps.errors.FrameError, match="optimize_rng_use"):
        optimize(draws(1))()
