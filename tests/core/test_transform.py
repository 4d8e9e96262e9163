"""`transform` and its kin: every way to a pair gives the same numbers; what cannot be transformed is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.core.raises import raises

X = jnp.arange(6.0).reshape(2, 3)
PARAMS = {"~": {"w": jnp.array([1.0, 2.0, 3.0])}}


def scale(x, factor=1.0):
    return factor * x * ps.get_parameter("w", x.shape[-1:], init=jnp.ones)


def count():
    ps.set_state("n", jnp.ones([]))


class Method:
    def forward(self, x):
        return scale(x)

    def __call__(self, x):
        return scale(x)


FUNCTIONS = {
    "function": scale,
    "partial": functools.partial(scale, factor=1.0),
    "bound method": Method().forward,
    "object": Method(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_kinds_of_functions(name):
    f = ps.transform(FUNCTIONS[name])
    assert jax.tree.map(np.shape, f.init(None, X)) == {"~": {"w": (3,)}}
    np.testing.assert_array_equal(f.apply(PARAMS, None, X), X * PARAMS["~"]["w"])


PAIRS = {
    "transform": (ps.transform, ()),
    "transform_with_state": (ps.transform_with_state, ({},)),
    "without_state": (lambda f: ps.without_state(ps.transform_with_state(f)), ()),
    "with_empty_state": (lambda f: ps.with_empty_state(ps.transform(f)), ({},)),
    "and back": (lambda f: ps.without_state(ps.with_empty_state(ps.transform(f))), ()),
}


@pytest.mark.parametrize("name", PAIRS)
def test_all_pairs_give_the_same(name):
    def noisy(x):
        return scale(x) + jax.random.bits(ps.next_rng_key(), x.shape)

    make, state = PAIRS[name]
    f = make(noisy)
    key = jax.random.key(0)
    made = f.init(key, X)
    params, *rest = made if isinstance(made, tuple) else (made,)
    assert (params.keys(), rest) == ({"~"}, list(state))
    out = f.apply(params, *state, key, X)
    expected = ps.transform(noisy).apply(params, key, X)
    np.testing.assert_array_equal(out[0] if state else out, expected)


@pytest.mark.parametrize(
    "wrap", [ps.transform, lambda f: ps.without_state(ps.transform_with_state(f))]
)
def test_state_without_a_place(wrap):
    f = wrap(count)
    words = ("'~'", "ps.transform_with_state")
    raises(ps.errors.NonEmptyStateError, *words, call=lambda: f.init(None))
    raises(ps.errors.NonEmptyStateError, *words, call=lambda: f.apply({}, None))


def test_compiled_functions_are_not_transformed():
    words = "jax.jit(ps.transform(f).apply)"
    raises(ps.errors.FrameError, words, call=lambda: ps.transform(jax.jit(lambda: 0)))
    raises(ps.errors.ArgumentError, "function", call=lambda: ps.transform(3))


def test_what_was_dropped_says_what_to_write():
    raises(
        ps.errors.FrameError,
        "ps.without_apply_rng(ps.transform(f))",
        call=lambda: ps.transform(scale, apply_rng=False),
    )
    f = ps.transform(lambda x, state: x)
    raises(ps.errors.ArgumentError, "state", call=lambda: f.apply({}, None, X, state=1))


@pytest.mark.parametrize("name", ["without_state", "with_empty_state"])
def test_of_a_function_that_was_not_transformed(name):
    raises(
        ps.errors.ArgumentError, f"ps.{name}(ps.transform", call=lambda: getattr(ps, name)(scale)
    )


def test_pairs_go_through_transforms_of_jax():
    f = ps.transform(lambda x: scale(x).sum())
    by_hand = lambda w: (X * w).sum()
    w = PARAMS["~"]["w"]
    grads = jax.jit(jax.grad(f.apply))(PARAMS, None, X)
    np.testing.assert_allclose(grads["~"]["w"], jax.grad(by_hand)(w))
    stacked = {"~": {"w": jnp.stack([w, 2 * w])}}
    outs = jax.vmap(f.apply, (0, None, None))(stacked, None, X)
    np.testing.assert_allclose(outs, [by_hand(w), by_hand(2 * w)])
