"""Derivatives inside of a function, each with its truth: the one of JAX's name, of a pure function."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps

X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
KEY = jax.random.key(3)

STYLES = ("state", "collections")
MODES = ("sequence", "path")
WAYS = {
    "plain": lambda g, x: g(x),
    "remat": lambda g, x: ps.remat(g)(x),
    "jit": lambda g, x: ps.jit(g)(x),
    "scan": lambda g, x: ps.scan(lambda c, x: (c, g(x)), 0, x)[1],
    "tower": lambda g, x: ps.scan(
        lambda h, _: (h + g(h), None), x, None, length=2, collections={"params": 0}
    )[0],
    "vmap": lambda g, x: ps.vmap(g, split_rng=False)(x),
    "layer_stack": lambda g, x: ps.layer_stack(2)(lambda x: x + g(x))(x),
    "grad": lambda g, x: ps.grad(lambda x: g(x).sum())(x),
}


def block(x):
    """Reads parameters, draws a key, sets state, sows: `[3] -> [3]`."""
    x = jnp.tanh(ps.Linear(3)(x))
    n = ps.get_state("n", [], init=jnp.zeros)
    ps.set_state("n", n + 1)
    ps.set_state("last", x)
    ps.sow("hidden", x)
    return ps.dropout(ps.next_rng_key(), 0.5, x + n) ** 2


def quiet(x):
    """Like `block`, without a key."""
    x = jnp.tanh(ps.Linear(3)(x))
    n = ps.get_state("n", [], init=jnp.zeros)
    ps.set_state("n", n + 1)
    return (x + n) ** 2


def total(f):
    @functools.wraps(f)
    def summed(x):
        return f(x).sum()

    return summed


# Each takes a library (purestate inside, or jax outside) and a function of x.
DERIVATIVES = {
    "vjp": lambda library, f, x: pulled(*library.vjp(f, x), x),
    "jvp": lambda library, f, x: library.jvp(f, (x,), (jnp.cos(x),)),
    "linearize": lambda library, f, x: pushed(*library.linearize(f, x), x),
    "jacfwd": lambda library, f, x: library.jacfwd(f)(x),
    "jacrev": lambda library, f, x: library.jacrev(f)(x),
    "hessian": lambda library, f, x: library.hessian(total(f))(x),
}


def pulled(y, back, x):
    return y, back(jnp.cos(y))


def pushed(y, forward, x):
    return y, forward(jnp.cos(x)), forward(jnp.sin(x))


def pair(f, style, mode):
    """Returns `init(rng, x) -> variables` and `apply(variables, rng, x) -> (out, variables)`."""
    if style == "state":
        made = ps.transform_with_state(f, rng_mode=mode)

        def init(rng, *args):
            params, state = made.init(rng, *args)
            return {"params": params, "state": state}

        def apply(variables, rng, *args):
            out, state = made.apply(variables["params"], variables["state"], rng, *args)
            return out, {"params": variables["params"], "state": state}

        return init, apply
    made = ps.transform_with_collections(f, rng_mode=mode)

    def apply_all(variables, rng, *args):
        out, updated = made.apply(variables, rng, *args, mutable=["state"])
        return out, {**variables, **updated}

    return made.init, apply_all


def same(a, b, **close):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **{"rtol": 2e-6, "atol": 1e-6, **close})


def identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def mapped(g, x):
    return ps.vmap(g, split_rng=not ps.running_init())(x)


# Ways to run `g`, a function of a vector, on X inside of a model.
SETTINGS = {
    "remat": lambda g, x: ps.remat(g)(x[0]),
    "jit": lambda g, x: ps.jit(g)(x[0]),
    "scan": lambda g, x: ps.scan(lambda c, x: (c, g(x)), 0, x)[1],
    "tower": lambda g, x: ps.scan(
        lambda h, _: (h + flat(g(h)), None), x[0], None, length=2, collections={"params": 0}
    )[0],
    "vmap": mapped,
    "cond": lambda g, x: ps.cond(x[0, 0] < 9, g, g, x[0]),
    "layer_stack": lambda g, x: ps.layer_stack(2)(lambda h: h + flat(g(h)))(x[0]),
    "fori_loop": lambda g, x: ps.fori_loop(0, 2, lambda i, h: h + flat(g(h)), x[0]),
    "grad": lambda g, x: ps.grad(lambda h: flat(g(h)).sum())(x[0]),
    "nested": lambda g, x: ps.jacrev(lambda h: flat(g(h)))(x[0]),
}


def flat(tree):
    """Returns `[3]`, of all values that a derivative returned."""
    return sum(
        jnp.asarray(leaf, jnp.float32).reshape(-1, 3).mean(0) for leaf in jax.tree.leaves(tree)
    )
