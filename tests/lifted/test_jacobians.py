"""`jacfwd`, `jacrev`, `hessian`: JAX's arguments, and a function that runs once however many directions there are.

`test_differentials.py` compares their numbers, crossed with all else.
"""

import jax
import jax.numpy as jnp
import pytest

import purestate as ps
from tests.lifted.derivatives import KEY, X, identical, same

NAMES = ["jacfwd", "jacrev", "hessian"]
W = jnp.linspace(-1.0, 1.0, 6).reshape(3, 2)
PARAMS = {"~": {"w": W}}


def f(x, y, w):
    return jnp.sin(x @ w) * y["a"]


@pytest.mark.parametrize("argnums", [0, 1, (0, 1), (1,), -1])
@pytest.mark.parametrize("name", NAMES)
def test_argnums(name, argnums):
    def own(x, y):
        w = ps.get_parameter("w", [3, 2], init=jnp.ones)
        return f(x, y, w)

    args = (X[0], {"a": jnp.ones([2])})
    g = ps.transform(lambda *args: getattr(ps, name)(own, argnums)(*args))
    expected = getattr(jax, name)(lambda x, y: f(x, y, W), argnums)(*args)
    mine = g.apply(PARAMS, None, *args)
    same(mine, expected)
    assert jax.tree.structure(mine) == jax.tree.structure(expected)


@pytest.mark.parametrize("name", NAMES)
def test_changes_are_made_once(name):
    """The names, keys and state afterwards are those of a plain call."""

    def noisy(x):
        n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
        ps.set_state("n", n + 1)
        return ps.Linear(2)(x * jax.random.normal(ps.next_rng_key(), x.shape))

    def run(through):
        def f(x):
            through(noisy, x)
            return ps.Linear(2)(x), ps.next_rng_key(), ps.get_state("n")

        g = ps.transform_with_state(f)
        return g.apply(*g.init(KEY, X[0]), KEY, X[0])

    mine = run(lambda f, x: getattr(ps, name)(f)(x))
    (out, key, n), state = run(lambda f, x: f(x))
    (own_out, own_key, own_n), own_state = mine
    identical((own_out, own_n, own_state), (out, n, state))
    identical(jax.random.key_data(own_key), jax.random.key_data(key))


@pytest.mark.parametrize("name", NAMES)
def test_holomorphic(name):
    x = jnp.array([1 + 2j, 3.0])
    mine = ps.transform(
        lambda x: getattr(ps, name)(lambda x: (x**3).sum(), holomorphic=True)(x)
    ).apply({}, None, x)
    same(mine, getattr(jax, name)(lambda x: (x**3).sum(), holomorphic=True)(x))


def test_integers():
    f = ps.transform(lambda x: ps.jacrev(lambda x: 2.0 * x, allow_int=True)(x))
    truth = jax.jacrev(lambda x: 2.0 * x, allow_int=True)(jnp.array(3))
    assert f.apply({}, None, jnp.array(3)).dtype == truth.dtype
    with pytest.raises(TypeError):
        ps.transform(lambda x: ps.jacrev(lambda x: 2.0 * x)(x)).apply({}, None, jnp.array(3))


@pytest.mark.parametrize("name", NAMES)
def test_a_function_kept_after_the_run(name):
    kept = []
    ps.transform(lambda: kept.append(getattr(ps, name)(lambda x: x))).apply({}, None)
    with pytest.raises(ps.errors.FrameError, match="A function made by"):
        kept[0](X[0])
