"""purestate against dm-haiku: the same names, shapes, bits, state and order of hooks."""

import haiku
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate
from tests.haiku_parity.table_core import ROWS

KEYS = {
    "raw": lambda: jax.random.PRNGKey(3),
    "typed": lambda: jax.random.key(3),
    "rbg": lambda: jax.random.key(3, impl="rbg"),
}


def as_bits(leaf):
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(jax.random.key_impl(leaf)), np.asarray(jax.random.key_data(leaf)).tobytes()
    leaf = np.asarray(leaf)
    return leaf.shape, str(leaf.dtype), leaf.tobytes()


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        assert as_bits(x) == as_bits(y), jax.tree_util.keystr(path)


def run(library, make, key, wrap):
    log = []
    f, args = make(library, log)
    pair = library.transform_with_state(f)
    params, state = wrap(pair.init)(key, *args)
    out, state_1 = wrap(pair.apply)(params, state, key, *args)
    out_2, state_2 = wrap(pair.apply)(params, state_1, key, *args)
    return {
        "params": params,
        "state": state,
        "out": (out, out_2),
        "states": (state_1, state_2),
    }, log


@pytest.mark.parametrize(
    ("key", "wrap"),
    [("raw", lambda f: f), ("typed", jax.jit), ("rbg", jax.jit)],
    ids=["eager", "jit", "rbg"],
)
@pytest.mark.parametrize("name", ROWS)
def test_same_as_haiku(name, key, wrap):
    theirs, their_log = run(haiku, ROWS[name], KEYS[key](), wrap)
    ours, our_log = run(purestate, ROWS[name], KEYS[key](), wrap)
    for part, value in theirs.items():
        assert_same_bits(value, ours[part])
    assert our_log == their_log
    assert list(ours["params"]) == list(theirs["params"]), "the order in which modules were made"


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 7])
def test_reserve_size_changes_the_same_keys(size):
    results = []
    for library in (haiku, purestate):
        with library.config.context(rng_reserve_size=size):
            results.append(run(library, ROWS["scan"], jax.random.key(0), jax.jit)[0])
    for part, value in results[0].items():
        assert_same_bits(value, results[1][part])


@pytest.mark.parametrize("name", ROWS)
def test_jaxpr_is_no_longer_than_haikus(name):
    from benchmarks.trace import equations

    counts = []
    for library in (haiku, purestate):
        f, args = ROWS[name](library, [])
        pair = library.transform_with_state(f)
        params, state = pair.init(jax.random.key(0), *args)
        jaxpr = jax.make_jaxpr(lambda p, s, *a, pair=pair: pair.apply(p, s, jax.random.key(0), *a))(
            params, state, *args
        )
        counts.append(equations(jaxpr.jaxpr))
    assert counts[1] <= counts[0]


@pytest.mark.parametrize("name", ["nested_modules", "batch_norm", "methods_and_properties"])
def test_scopes_in_the_jaxpr(name):
    stacks = []
    for library in (haiku, purestate):
        f, args = ROWS[name](library, [])
        pair = library.transform_with_state(f)
        params, state = pair.init(jax.random.key(0), *args)
        jaxpr = jax.make_jaxpr(lambda p, s, *a, pair=pair: pair.apply(p, s, None, *a))(
            params, state, *args
        )
        stacks.append({str(equation.source_info.name_stack) for equation in jaxpr.eqns})
    assert stacks[0] == stacks[1]
    assert any(stacks[0])
