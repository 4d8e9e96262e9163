"""Side effects inside a plain JAX transform are right, or a JaxUsageError; never a leaked tracer."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)

P = jax.sharding.PartitionSpec
MESH = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))


def _with_custom_jvp(f):
    g = jax.custom_jvp(f)
    g.defjvp(lambda primals, tangents: (f(*primals), tangents[0]))
    return jax.grad(lambda x: g(x).sum())


def _with_custom_vjp(f):
    g = jax.custom_vjp(f)
    g.defvjp(lambda x: (f(x), None), lambda _, ct: (ct,))
    return jax.grad(lambda x: g(x).sum())


TRANSFORMS = {
    "jit": jax.jit,
    "vmap": jax.vmap,
    "grad": lambda f: jax.grad(lambda x: f(x).sum()),
    "value_and_grad": lambda f: jax.value_and_grad(lambda x: f(x).sum()),
    "jacfwd": jax.jacfwd,
    "checkpoint": jax.checkpoint,
    "scan": lambda f: lambda x: jax.lax.scan(lambda c, x: (c, f(x)), 0, x),
    "cond": lambda f: lambda x: jax.lax.cond(x.sum() > 0, f, f, x),
    "switch": lambda f: lambda x: jax.lax.switch(0, [f, f], x),
    "while_loop": lambda f: (
        lambda x: jax.lax.while_loop(lambda c: c[0] < 1, lambda c: (c[0] + 1, f(c[1])), (0, x))
    ),
    "fori_loop": lambda f: lambda x: jax.lax.fori_loop(0, 1, lambda i, x: f(x), x),
    "map": lambda f: lambda x: jax.lax.map(f, x),
    "eval_shape": lambda f: lambda x: jax.eval_shape(f, x),
    "make_jaxpr": lambda f: jax.make_jaxpr(f),
    "linearize": lambda f: lambda x: jax.linearize(f, x)[0],
    "shard_map": lambda f: jax.shard_map(f, mesh=MESH, in_specs=P("x"), out_specs=P("x")),
    "custom_jvp": lambda f: _with_custom_jvp(f),
    "custom_vjp": lambda f: _with_custom_vjp(f),
    "pmap": lambda f: lambda x: jax.pmap(f)(x[None]),
}


def create(x):
    return x + ps.get_parameter(
        "made", [], init=lambda s, d: jax.random.normal(ps.next_rng_key(), s, d)
    )


def make_state(x):
    return x + ps.get_state("made", [], init=jnp.zeros)


def set_state(x):
    ps.set_state("set", x.sum())
    return x


def set_constant(x):
    ps.set_state("set", jnp.ones([]))
    return x


def draw(x):
    return x + jax.random.normal(ps.next_rng_key(), [])


EFFECTS = {f.__name__: f for f in (create, make_state, set_state, set_constant, draw)}


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_right_or_an_error(transform, effect, wrap):
    def f(x):
        with ps.name_scope("tower"):
            TRANSFORMS[transform](EFFECTS[effect])(x)
        return ps.Linear(1)(x)

    pair = ps.transform_with_state(f)
    if (transform, effect) == ("vmap", "draw"):
        with pytest.warns(
            ps.errors.SharedKeyWarning, match=r"'tower' \(.*test_trace_guard.py:\d+\).*ps.vmap"
        ) as caught:
            wrap(pair.init)(jax.random.key(0), X)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        return
    try:
        params, state = wrap(pair.init)(jax.random.key(0), X)
    except ps.errors.JaxUsageError as error:
        assert "'tower'" in str(error)
        assert "test_trace_guard.py:" in str(error)
        assert "ps.purify" in str(error)
        return
    assert not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, state)))
    out, state = wrap(pair.apply)(params, state, jax.random.key(0), X)
    assert not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((out, state)))


# Under these a value that does not depend on the input is a plain array, and so may be kept.
PLAIN = ("custom_jvp", "custom_vjp")  # run eagerly, the function itself gets plain arrays
TRANSPARENT = ("vmap", "grad", "value_and_grad", "jacfwd", "linearize")


@pytest.mark.parametrize(
    "transform", [name for name in TRANSFORMS if name not in (*TRANSPARENT, *PLAIN)]
)
@pytest.mark.parametrize("effect", EFFECTS)
def test_staging_transforms_are_errors(transform, effect):
    pair = ps.transform_with_state(lambda x: TRANSFORMS[transform](EFFECTS[effect])(x))
    with pytest.raises(ps.errors.JaxUsageError):
        pair.init(jax.random.key(0), X)


@pytest.mark.parametrize("transform", TRANSPARENT)
def test_a_value_that_depends_on_the_input_is_an_error(transform):
    with pytest.raises(ps.errors.JaxUsageError):
        ps.transform_with_state(TRANSFORMS[transform](set_state)).init(jax.random.key(0), X)


def test_creating_under_vmap_is_right():
    f = ps.transform(lambda x: jax.vmap(ps.Linear(2))(x))
    g = ps.transform(lambda x: ps.Linear(2)(x))
    params = f.init(jax.random.key(0), X)
    assert jax.tree.all(
        jax.tree.map(lambda a, b: (a == b).all(), params, g.init(jax.random.key(0), X))
    )
    assert jnp.allclose(f.apply(params, None, X), g.apply(params, None, X))


def test_reading_is_always_right():
    def f(x):
        scale = lambda x: (
            x * ps.get_parameter("scale", [], init=jnp.ones) * ps.get_state("s", [], init=jnp.ones)
        )
        scale(x)
        return jax.lax.scan(lambda c, x: (c, jax.jit(jax.checkpoint(scale))(x)), 0, x)[1]

    pair = ps.transform_with_state(f)
    params, state = pair.init(None, X)
    assert jnp.allclose(pair.apply(params, state, None, X)[0], X)


def test_the_key_sequence_survives_a_refusal():
    def f(x):
        with pytest.raises(ps.errors.JaxUsageError):
            jax.lax.map(draw, x)
        return ps.next_rng_key()

    refused = ps.transform(f).apply({}, jax.random.key(0), X)
    assert (refused == ps.transform(ps.next_rng_key).apply({}, jax.random.key(0))).all()


def test_strict_mode_refuses_reads_too():
    def f(x):
        ps.get_parameter("w", [], init=jnp.ones)
        return jax.vmap(lambda x: x * ps.get_parameter("w", [], init=jnp.ones))(x)

    pair = ps.transform(f)
    params = pair.init(None, X)
    with ps.config.context(check_jax_usage=True), pytest.raises(ps.errors.JaxUsageError):
        pair.apply(params, None, X)
    pair.apply(params, None, X)


def draws_in_vmap():
    return ps.transform(lambda x: jax.vmap(draw)(x))


def test_settings_for_shared_keys():
    f = draws_in_vmap()
    with ps.config.context(shared_keys="off"):
        out = f.apply({}, jax.random.key(0), X)
    assert len(set((out - X)[:, 0].round(5).tolist())) == 1  # as in dm-haiku
    with (
        ps.config.context(shared_keys="error"),
        pytest.raises(ps.errors.JaxUsageError, match="split_rng"),
    ):
        f.apply({}, jax.random.key(0), X)
    with pytest.warns(ps.errors.SharedKeyWarning):
        f.apply({}, jax.random.key(0), X)


def test_no_warning_where_a_key_is_meant_to_be_shared():
    # Parameters are the same for all rows; a Jacobian's directions are no rows; and ps.vmap was told.
    ps.transform(lambda x: jax.vmap(ps.Linear(2))(x)).init(jax.random.key(0), X)
    ps.transform(lambda x: jax.jacfwd(draw)(x[0])).apply({}, jax.random.key(0), X)
    ps.transform(lambda x: ps.vmap(draw, split_rng=False)(x)).apply({}, jax.random.key(0), X)
    jax.vmap(lambda x: ps.transform(draw).apply({}, jax.random.key(0), x))(X)


def test_settings_for_leaks():
    f = ps.transform_with_state(lambda x: jax.lax.map(set_state, x))
    with ps.config.context(leaks="warn"), pytest.warns(ps.errors.JaxUsageWarning, match="'~'"):
        _, state = f.apply({}, {}, None, X)
    assert isinstance(state["~"]["set"], jax.core.Tracer)
    with ps.config.context(leaks="off"):
        _, state = f.apply({}, {}, None, X)
    assert isinstance(state["~"]["set"], jax.core.Tracer)  # as in dm-haiku
    with pytest.raises(ps.errors.ConfigError, match="'error', 'warn', 'off'"):
        ps.config.set(leaks="nothing")


AROUND = {
    "jit": lambda g, x: jax.jit(g)(x),
    "vmap": lambda g, x: jax.vmap(g)(x),
    "scan": lambda g, x: jax.lax.scan(lambda c, row: (c, g(row)), 0, x)[1],
    "grad": lambda g, x: jax.grad(lambda x: g(x).sum())(x),
}
WITHIN = {
    "remat": lambda g, x: ps.remat(g)(x),
    "grad": lambda g, x: ps.grad(lambda x: g(x).sum())(x),
    "jit": lambda g, x: ps.jit(g)(x),
    "cond": lambda g, x: ps.cond(True, g, g, x),
    "vmap": lambda g, x: ps.vmap(g, split_rng=False)(x[None])[0],
    "scan": lambda g, x: ps.scan(lambda c, row: (c, g(row)), 0, x[None])[1][0],
}


@pytest.mark.parametrize("within", WITHIN)
@pytest.mark.parametrize("around", AROUND)
def test_a_plain_transform_around_one_of_purestate_takes_nothing_with_it(around, within):
    def sets(x):
        ps.set_state("last", x)
        return x

    def makes(x):
        return x * ps.get_parameter("w", [], init=lambda shape, dtype: x.sum())

    def draws(x):
        return x + jax.random.uniform(ps.next_rng_key())

    x = jnp.ones([2, 3])
    for effect in (sets, makes, draws):
        f = ps.transform_with_state(
            lambda x, effect=effect: AROUND[around](lambda x: WITHIN[within](effect, x), x)
        )
        if effect is draws and around in (
            "vmap",
            "grad",
        ):  # one key for all rows; a key that does not depend on x
            continue
        with pytest.raises(
            (ps.errors.JaxUsageError, ps.errors.BatchedStateError, ps.errors.LoopError)
        ):
            f.init(jax.random.key(0), x)


def test_a_plain_vmap_around_a_transform_of_purestate_warns_of_a_shared_key():
    f = ps.transform(
        lambda x: jax.vmap(ps.remat(lambda x: ps.dropout(ps.next_rng_key(), 0.5, x)))(x)
    )
    with pytest.warns(ps.errors.SharedKeyWarning, match="all mapped elements get the same key"):
        f.apply({}, jax.random.key(0), jnp.ones([3, 4]))


@pytest.mark.parametrize("around", ["jit", "vmap", "scan"])
def test_keys_of_a_block_that_begins_inside_are_free(around):
    def f(library):
        def with_key(key):
            with library.with_rng(key):
                return jax.random.normal(library.next_rng_key())

        return lambda: AROUND[around](
            with_key, library.next_rng_key() if around == "jit" else library.next_rng_keys(3)
        )

    key = jax.random.PRNGKey(0)
    np.testing.assert_array_equal(
        ps.transform(f(ps)).apply({}, key), hk.transform(f(hk)).apply({}, key)
    )
    # The block began outside: its keys would be the same for each step.
    if around != "vmap":

        def outside():
            with ps.with_rng(ps.next_rng_key()):
                return AROUND[around](
                    lambda x: x + jax.random.normal(ps.next_rng_key()), jnp.ones([3])
                )

        with pytest.raises(ps.errors.JaxUsageError, match="next_rng_key"):
            ps.transform(outside).apply({}, key)


LOOPS = {
    "scan": lambda g, x: jax.lax.scan(lambda c, _: (g(c), None), x, None, length=2)[0],
    "fori_loop": lambda g, x: jax.lax.fori_loop(0, 2, lambda i, x: g(x), x),
    "map": lambda g, x: jax.lax.map(g, x),
    "jit": lambda g, x: jax.jit(g)(x),
}
RESERVED = {
    "reserve": lambda f, x: (ps.reserve_rng_keys(8), f(x))[1],
    "cond": lambda f, x: ps.cond(x.sum() > 0, f, lambda x: x, x),
    "switch": lambda f, x: ps.switch(1, [lambda x: x, f], x),
    "optimize_rng_use": lambda f, x: ps.experimental.optimize_rng_use(f)(x),
}


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("reserved", RESERVED)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_key_that_was_split_off_before_is_not_drawn_in_a_plain_loop(loop, reserved, wrap):
    """It would be the same in every step, and nothing would leak to show it."""
    x = jnp.ones([2, 3])
    inside = lambda x: LOOPS[loop](lambda x: x + jax.random.uniform(ps.next_rng_key(), x.shape), x)
    f = ps.transform(lambda x: RESERVED[reserved](inside, x))
    with pytest.raises(ps.errors.JaxUsageError, match="next_rng_key"):
        wrap(f.apply)({}, jax.random.key(0), x)
    around = lambda x: LOOPS[loop](
        ps.remat(lambda x: x + jax.random.uniform(ps.next_rng_key(), x.shape)), x
    )
    g = ps.transform(lambda x: RESERVED[reserved](around, x))
    with pytest.raises(ps.errors.JaxUsageError, match="random key"):
        wrap(g.apply)({}, jax.random.key(0), x)
