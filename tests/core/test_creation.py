"""Creating variables: initializers and creators run once, in their own order, and nothing is left of a failure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

ONE = jnp.ones([])
A, B = jax.random.key(1), jax.random.key(2)


def bits(shape, dtype):
    return jax.random.bits(ps.next_rng_key(), shape).astype(dtype)


GETS = {
    "parameter": (lambda name, **k: ps.get_parameter(name, [2], **k), "params"),
    "state": (lambda name, **k: ps.get_state(name, [2], **k), "state"),
    "variable": (lambda name, **k: ps.variable("cache", name, [2], **k).value, "state"),
}


@pytest.mark.parametrize("kind", GETS)
def test_an_initializer_that_fails_leaves_nothing(kind):
    get, _ = GETS[kind]

    def fails(shape, dtype):
        ps.next_rng_key()
        raise KeyError("mine")

    drawn = []

    def f():
        with pytest.raises(KeyError, match="mine"):
            get("w", init=fails)
        drawn.append(ps.next_rng_key())  # not one of those for initial values
        return get("w", init=jnp.zeros)

    params, state = ps.transform_with_state(f).init({"params": A, "default": B})
    assert {**params, **state}["~"]["w"].tolist() == [0, 0]
    assert drawn[0] == next(ps.PRNGSequence(B))


@pytest.mark.parametrize("kind", GETS)
def test_keys_of_initial_values_are_those_of_the_stream_of_params(kind):
    get, part = GETS[kind]

    def f():
        return ps.next_rng_key(), get("w", init=bits), ps.next_rng_key()

    params, state = ps.transform_with_state(f).init({"params": A, "default": B})
    value = {"params": params, "state": state}[part]["~"]["w"]
    expected = jax.random.bits(next(ps.PRNGSequence(A)), [2])
    np.testing.assert_array_equal(value, expected.astype(jnp.float32))


def test_creators_run_around_the_initializer():
    log = []

    def creator(tag):
        def create(next_creator, shape, dtype, init, context):
            log.append((tag, shape, dtype, init.__name__))

            def more(shape, dtype):
                return init(shape, dtype) + tag

            return 10 * next_creator([3], jnp.bfloat16, more)

        return create

    def f():
        with ps.custom_creator(creator(1), state=True), ps.custom_creator(creator(2), state=True):
            return ps.get_state("w", [2], init=jnp.ones)

    value = ps.transform_with_state(f).init(None)[1]["~"]["w"]
    assert (value.tolist(), value.dtype) == ([(1 + 1 + 2) * 10 * 10] * 3, jnp.bfloat16)
    assert log == [(1, [2], jnp.float32, "ones"), (2, [3], jnp.bfloat16, "more")]


@pytest.mark.parametrize("value", [3, None, "text", [ONE, ONE]])
def test_a_parameter_that_is_created_is_an_array(value):
    f = ps.transform(lambda: ps.get_parameter("w", [2], init=lambda shape, dtype: value))
    with pytest.raises(ps.errors.VariableTypeError, match="'w' of '~' must be an array"):
        f.init(None)


@pytest.mark.parametrize("kind", ["state", "variable"])
def test_state_that_is_created_may_be_a_tree_of_arrays(kind):
    get, _ = GETS[kind]
    tree = {"a": [ONE, 2 * ONE]}
    f = ps.transform_with_state(lambda value: get("w", init=lambda shape, dtype: value) and None)
    assert f.init(None, tree)[1] == {"~": {"w": tree}}
    with pytest.raises(ps.errors.VariableTypeError, match="'~/w'.*text|'~/w'.*str"):
        f.init(None, {"a": ["text"]})


@pytest.mark.parametrize("kind", GETS)
def test_a_variable_created_in_a_plain_transform_does_not_get_out(kind):
    get, _ = GETS[kind]
    f = ps.transform_with_state(lambda: jax.jit(lambda x: x + get("w", init=jnp.ones))(ONE))
    with pytest.raises(ps.errors.JaxUsageError, match="'w'.*ps.purify"):
        f.init(None)


def test_getters_change_what_is_read_and_not_what_is_created():
    def f():
        with ps.custom_getter(lambda n, value, c: n(value + 1), state=True):
            return [get("w", init=jnp.zeros) for get, _ in list(GETS.values())[:2]]

    pair = ps.transform_with_state(f)
    params, state = pair.init(None)
    assert params["~"]["w"].tolist() == state["~"]["w"].tolist() == [0, 0]
    out, new = pair.apply(params, state, None)
    assert [value.tolist() for value in out] == [[1, 1], [1, 1]]
    assert new["~"]["w"].tolist() == [0, 0]
