"""Keys in loops and branches: dm-haiku's to the last bit, and none is split off that nobody draws."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.suite.jaxprs import every_equation


def draw_none(L):
    return []


def draw_one(L):
    return [L.next_rng_key()]


def draw_several(L):
    return [L.next_rng_key(), *L.next_rng_keys(3), L.next_rng_key()]


def reserve(L):
    L.reserve_rng_keys(4)
    return [L.next_rng_key()]


def reserve_and_leave(L):
    L.reserve_rng_keys(3)
    return []


def in_a_scan(L):
    return [L.scan(lambda c, _: (c, total(draw_one(L))), 0, None, length=2)[1]]


def without_a_draw_in_a_scan(L):
    L.scan(lambda c, _: (c, c), 0, None, length=2)
    return [L.next_rng_key()]


def in_a_branch(L):
    return [L.cond(jnp.ones([]) > 0, lambda: total(draw_several(L)), lambda: total(draw_none(L)))]


DRAWS = {
    f.__name__: f
    for f in (
        draw_none,
        draw_one,
        draw_several,
        reserve,
        reserve_and_leave,
        in_a_scan,
        without_a_draw_in_a_scan,
        in_a_branch,
    )
}


def total(keys):
    bits = [jax.random.key_data(key) if key.dtype != jnp.uint32 else key for key in keys]
    return sum((x.astype(jnp.uint32).sum() for x in bits), jnp.zeros([], jnp.uint32))


TRANSFORMS = {
    "scan": lambda L, draw: L.scan(lambda c, _: (c + total(draw()), None), ZERO, None, length=3)[0],
    "scan, reversed": lambda L, draw: L.scan(
        lambda c, x: (c * x + total(draw()), c), ZERO, ONES, reverse=True
    )[0],
    "map": lambda L, draw: L.map(lambda x: x + total(draw()), ONES),
    "fori": lambda L, draw: L.fori_loop(0, 3, lambda i, c: c + total(draw()), ZERO),
    "while": lambda L, draw: (
        total(draw())
        if L.running_init()
        else L.while_loop(
            lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 3 + total(draw())), (0, ZERO)
        )[1]
    ),
    "cond": lambda L, draw: L.cond(
        jnp.ones([]) > 0, lambda x: x + total(draw()), lambda x: x + total(L.next_rng_keys(2)), ZERO
    ),
    "switch": lambda L, draw: L.switch(
        jnp.ones([], int), [lambda: ZERO, lambda: total(draw()), lambda: ZERO + 1]
    ),
    "remat": lambda L, draw: L.remat(lambda: total(draw()))(),
}
ZERO, ONES = jnp.zeros([], jnp.uint32), jnp.ones([3], jnp.uint32)

AFTER = {
    "one by one": lambda L: [L.next_rng_key() for _ in range(3)],
    "several": lambda L: list(L.next_rng_keys(3)),
    "reserved": lambda L: [L.reserve_rng_keys(2), L.next_rng_key(), L.next_rng_key()][1:],
    "another loop": lambda L: [
        L.scan(lambda c, _: (c, total(draw_one(L))), 0, None, length=2)[1],
        *L.next_rng_keys(2),
    ],
    "the state": lambda L: [
        key for part in [L.maybe_get_rng_sequence_state()] for key in (part[0], *part[1])
    ],
}


def program(L, transform, draw, after):
    def f():
        first = total([L.next_rng_key()]) if draw == "draw_several" else None
        inside = TRANSFORMS[transform](L, lambda: DRAWS[draw](L))
        return first, inside, [jnp.asarray(key) for key in AFTER[after](L)]

    return L.transform(f)


@pytest.mark.one_slow_in(4)
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_keys_are_those_of_dm_haiku(transform, draw, after, size):
    found = []
    for L in (hk, ps):
        key = jax.random.PRNGKey(3)
        with L.config.context(rng_reserve_size=size):
            pair = program(L, transform, draw, after)
            try:
                found.append([pair.apply({}, key), jax.jit(pair.apply)({}, key), pair.init(key)])
            except (TypeError, ValueError) as error:
                found.append(type(error))
    theirs, ours = found
    if isinstance(theirs, type):
        assert not isinstance(ours, type), "where dm-haiku raises, it works here"
        return
    if after != "the state":  # that of streams is a dict
        with ps.config.context(rng_reserve_size=size):
            pair, streams = program(ps, transform, draw, after), {"default": jax.random.PRNGKey(3)}
            assert jax.tree.all(jax.tree.map(jnp.array_equal, pair.apply({}, streams), ours[0]))
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make_key", [jax.random.PRNGKey, jax.random.key])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_no_key_is_split_off_that_nobody_draws(transform, make_key):
    pair = ps.transform(lambda: TRANSFORMS[transform](ps, lambda: [jnp.zeros([2], jnp.uint32)]))
    jaxpr = jax.make_jaxpr(pair.apply)({}, make_key(0)).jaxpr
    found = [eqn.primitive.name for eqn in every_equation(jaxpr)]
    # The other branch of this one draws.
    assert ("random_split" in found) == (transform == "cond")
