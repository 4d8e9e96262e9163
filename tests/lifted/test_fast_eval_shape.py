"""`experimental.fast_eval_shape`: the shapes of `jax.eval_shape` and of dm-haiku, and no initializer traced."""

from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import pytest

import purestate as ps

KEY = jax.random.key(0)
X = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)


def net(lib: Any, x: Any) -> Any:
    x = lib.BatchNorm(True, True, 0.9)(lib.Conv2D(4, 3)(x), is_training=True)
    x = lib.nets.MLP([5, 3])(lib.Flatten()(x))
    n = lib.get_state("n", [], jnp.int32, init=jnp.zeros)
    lib.set_state("n", n + 1)
    return {"out": x.astype(jnp.bfloat16), "noise": jax.random.normal(lib.next_rng_key(), [2])}


def shapes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree)


def test_shapes_of_init_and_apply() -> None:
    results = []
    for lib in (ps, hk):
        f = lib.transform_with_state(lambda x, lib=lib: net(lib, x))
        variables = lib.experimental.fast_eval_shape(f.init, KEY, X)
        out = lib.experimental.fast_eval_shape(f.apply, *variables, KEY, X)
        results.append((shapes(variables), shapes(out)))
    assert results[0] == results[1]
    f = ps.transform_with_state(lambda x: net(ps, x))
    variables = jax.eval_shape(f.init, KEY, X)
    assert results[0] == (shapes(variables), shapes(jax.eval_shape(f.apply, *variables, KEY, X)))
    assert results[0][1][0] == {"out": ((2, 3), "bfloat16"), "noise": ((2,), "float32")}


@pytest.mark.parametrize("lib", [ps, hk], ids=["purestate", "dm-haiku"])
def test_inside_a_transform(lib: Any) -> None:
    seen = []

    def f(x: Any) -> Any:
        seen.append(lib.experimental.fast_eval_shape(lambda x: lib.Linear(7)(x), x).shape)
        return lib.Linear(5)(x)

    params = lib.transform(f).init(KEY, jnp.ones([2, 3]))
    assert seen == [(2, 7)]
    assert shapes(params) == {"linear": {"w": ((3, 5), "float32"), "b": ((5,), "float32")}}


def equations_of_init(fast: bool) -> int:
    """How many equations are traced: those of the jaxpr that `eval_shape` makes on the way."""
    f = ps.transform(lambda x: ps.nets.MLP([16, 16, 4])(x))
    x = jnp.ones([2, 3])
    made = []

    def init(key: Any, x: Any) -> Any:
        made.append(jax.make_jaxpr(f.init)(key, x))
        return f.init(key, x)

    (ps.experimental.fast_eval_shape if fast else jax.eval_shape)(init, KEY, x)
    return count(made[0].jaxpr)


def count(jaxpr: Any) -> int:
    inner = jax.tree.leaves(
        [eqn.params for eqn in jaxpr.eqns], is_leaf=lambda x: hasattr(x, "eqns")
    )
    return len(jaxpr.eqns) + sum(count(getattr(x, "jaxpr", x)) for x in inner if hasattr(x, "eqns"))


def test_no_initializer_is_traced() -> None:
    slow, fast = equations_of_init(fast=False), equations_of_init(fast=True)
    assert fast < slow / 4, (fast, slow)

    def init(shape: Any, dtype: Any) -> Any:
        raise AssertionError("an initializer was called")

    f = ps.transform(lambda x: ps.Linear(3, w_init=init)(x))
    assert shapes(ps.experimental.fast_eval_shape(f.init, KEY, jnp.ones([2, 5]))) == {
        "linear": {"w": ((5, 3), "float32"), "b": ((3,), "float32")}
    }
    with pytest.raises(AssertionError, match="an initializer was called"):
        f.init(KEY, jnp.ones([2, 5]))


def test_creators_of_others_still_run() -> None:
    seen = []

    def creator(next_creator: Any, shape: Any, dtype: Any, init: Any, context: Any) -> Any:
        seen.append(context.full_name)
        return next_creator(shape, jnp.bfloat16, init)

    def f() -> Any:
        with ps.custom_creator(creator):
            return ps.get_parameter("w", [2, 3], init=jnp.ones)

    params = ps.experimental.fast_eval_shape(ps.transform(f).init, KEY)
    assert seen == ["~/w"]
    assert shapes(params) == {"~": {"w": ((2, 3), "bfloat16")}}


def test_an_error_of_the_function_is_its_own() -> None:
    f = ps.transform(lambda x: ps.Linear(3)(x))
    with pytest.raises(ps.errors.ShapeMismatchError, match=r"\(5, 3\)"):
        params = f.init(KEY, jnp.ones([2, 4]))
        ps.experimental.fast_eval_shape(f.apply, params, None, jnp.ones([2, 5]))
    # And its creator does not stay behind.
    assert float(abs(f.init(KEY, jnp.ones([2, 4]))["linear"]["w"]).sum()) > 0
