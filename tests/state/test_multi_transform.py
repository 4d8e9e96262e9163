"""Several functions over one set of variables: one `init`, an `apply` for each, in any tree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.core.raises import raises

X = jnp.arange(6.0).reshape(2, 3)


def bits(shape, dtype):
    return jax.random.bits(ps.next_rng_key(), shape).astype(dtype)


def functions():
    encoder, decoder = (ps.Linear(2, w_init=bits, name=name) for name in ("encoder", "decoder"))

    def both(x):
        return decoder(encoder(x))

    return both, {"encode": encoder, "rest": [decoder, both]}


def test_each_function_is_that_of_plain_arrays():
    init, apply = ps.multi_transform(functions)
    params = init(jax.random.key(0), X)
    assert sorted(params) == ["decoder", "encoder"]
    w, v = params["encoder"]["w"], params["decoder"]["w"]
    np.testing.assert_allclose(apply["encode"](params, None, X), X @ w)
    np.testing.assert_allclose(apply["rest"][0](params, None, X @ w), X @ w @ v)
    np.testing.assert_allclose(apply["rest"][1](params, None, X), X @ w @ v)


def test_init_is_that_of_the_first_function():
    params = ps.multi_transform(functions).init(jax.random.key(0), X)
    plain = ps.transform(lambda x: functions()[0](x)).init(jax.random.key(0), X)
    jax.tree.map(np.testing.assert_array_equal, params, plain)


def counting():
    def step(by):
        n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
        ps.set_state("n", n + by)
        return n

    return step, (step, lambda: step(10))


def test_they_share_their_state():
    init, (add, add_ten) = ps.multi_transform_with_state(counting)
    params, state = init(None, 1)
    out = []
    for run, args in ((add, (1,)), (add_ten, ()), (add, (2,))):
        n, state = run(params, state, None, *args)
        out.append(int(n))
    assert (out, int(state["~"]["n"])) == ([0, 1, 11], 13)


def test_state_without_a_place():
    init, (add, _) = ps.multi_transform(counting)
    for run in (lambda: init(None, 1), lambda: add({}, None, 1)):
        raises(ps.errors.NonEmptyStateError, "'~'", "multi_transform_with_state", call=run)


def test_without_a_key_for_apply():
    pairs = [
        (ps.transform(lambda x: x), ({}, X)),
        (ps.transform_with_state(lambda x: x), ({}, {}, X)),
        (ps.multi_transform(lambda: (lambda x: x, lambda x: x)), ({}, X)),
        (ps.multi_transform_with_state(lambda: (lambda x: x, lambda x: x)), ({}, {}, X)),
    ]
    for pair, given in pairs:
        without = ps.without_apply_rng(pair)
        assert type(without) is type(pair)
        out = without.apply(*given)
        assert (out[0] if isinstance(out, tuple) else out) is X
    f = ps.without_apply_rng(ps.transform(ps.next_rng_key))
    raises(ps.errors.MissingRNGError, "ps.without_apply_rng", call=lambda: f.apply({}))


def test_params_and_state_by_name():
    f = ps.without_apply_rng(ps.transform_with_state(lambda x: (x, ps.get_state("s"))))
    state = {"~": {"s": X}}
    (out, s), _ = f.apply(x=1, state=state, params={})
    assert out == 1
    assert s is X
    raises(ps.errors.ArgumentError, "rng", call=lambda: f.apply({}, state, 1, rng=None))


@pytest.mark.parametrize("wrong", [lambda: 3, lambda: (1, 2), lambda: (len,), lambda: None])
def test_what_the_function_has_to_return(wrong):
    raises(ps.errors.ArgumentError, "return", "two", call=lambda: ps.multi_transform(wrong))


@pytest.mark.parametrize("wrong", [len, (len, len), None])
def test_without_apply_rng_takes_pairs(wrong):
    words = "ps.without_apply_rng(ps.transform(f))"
    raises(ps.errors.ArgumentError, words, call=lambda: ps.without_apply_rng(wrong))


def test_nothing_is_computed_to_find_the_functions():
    def f():
        layer = ps.Linear(2**20, w_init=lambda s, d: jnp.zeros([2**20, 2**20], d))
        return layer, [layer] if layer(jnp.ones([1, 2**20])).shape else None

    assert len(ps.multi_transform(f).apply) == 1  # a petabyte, were it computed
