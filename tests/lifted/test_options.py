"""Keywords of JAX's transforms reach them; axis_size where nothing is mapped; seeds where raw keys are forbidden."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import normal
from tests.suite.jaxprs import every_equation

KEY = jax.random.key(3)
X = normal(4, 3)
INLINE = (
    jax.Inline.JAX_EARLY if hasattr(jax, "Inline") else True
)  # from JAX 0.11 on True means when lowering


def equations(jaxpr, name):
    """All equations of a primitive, with those inside of others."""
    return [eqn for eqn in every_equation(jaxpr) if eqn.primitive.name == name]


def params_of(f, primitive, *args):
    """The parameters of the first equation of a primitive in the `apply` of `f`."""
    g = ps.transform(f)
    params = jax.eval_shape(g.init, KEY, *args)
    return equations(jax.make_jaxpr(g.apply)(params, KEY, *args).jaxpr, primitive)[0].params


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        ({"reverse": True}, "reverse", True),
        ({"unroll": 2}, "unroll", 2),
        ({"unroll": True}, "unroll", 4),
        ({"length": 4}, "length", 4),
    ],
)
def test_scan(options, name, expected):
    def f(xs):
        return ps.scan(lambda c, x: (c, ps.Linear(3)(x)), 0.0, xs, **options)

    assert params_of(f, "scan", X)[name] == expected


def test_split_transpose(monkeypatch):
    """JAX takes it, and has nothing to show for it any more."""
    seen = []
    scan = jax.lax.scan
    monkeypatch.setattr(
        jax.lax, "scan", lambda *args, **options: seen.append(options) or scan(*args, **options)
    )
    f = ps.transform(
        lambda xs: ps.scan(lambda c, x: (c + x, c), jnp.zeros([3]), xs, _split_transpose=True)
    )
    np.testing.assert_allclose(f.apply({}, None, X)[0], X.sum(0), rtol=1e-5)
    assert [options["_split_transpose"] for options in seen] == [True]


def test_fori_loop_unroll():
    f = lambda x: ps.fori_loop(0, 4, lambda i, x: ps.Linear(3)(x), x, unroll=2)
    assert params_of(f, "scan", X)["unroll"] == 2


def test_jit():
    f = lambda x: ps.jit(lambda x: ps.Linear(3)(x), keep_unused=True)(x)
    assert params_of(f, "jit", X)["keep_unused"] is True
    inlined = ps.transform(lambda x: ps.jit(lambda x: ps.Linear(3)(x), inline=INLINE)(x))
    params = inlined.init(KEY, X)
    assert not equations(jax.make_jaxpr(inlined.apply)(params, None, X).jaxpr, "jit")

    def static(x):
        layer = lambda x, size, flip: -ps.Linear(size)(x) if flip else ps.Linear(size)(x)
        return ps.jit(layer, static_argnums=1, static_argnames="flip")(x, 5, flip=True)

    g = ps.transform(static)
    params = g.init(KEY, X)
    np.testing.assert_allclose(g.apply(params, None, X), -X @ params["linear"]["w"], rtol=1e-5)


def test_remat():
    def f(x):
        layer = lambda x, flip: -jnp.sin(ps.Linear(3)(x)) if flip else x
        policy = jax.checkpoint_policies.everything_saveable
        return ps.remat(layer, policy=policy, prevent_cse=False, static_argnums=1)(x, True)

    found = params_of(f, "remat2", X)
    assert found["policy"] is jax.checkpoint_policies.everything_saveable
    assert found["prevent_cse"] is False or not any(found["prevent_cse"])


def test_grad():
    def f(x):
        layer = ps.Linear(3)
        loss = lambda n, x: (n * layer(x)).sum()
        return ps.grad(loss, argnums=(0, 1), allow_int=True)(2, x), ps.value_and_grad(loss, 1)(
            2, x
        )[1]

    g = ps.transform(f)
    params = g.init(KEY, X)
    (by_int, by_x), again = g.apply(params, None, X)
    assert by_int.dtype == jax.dtypes.float0
    np.testing.assert_array_equal(by_x, again)
    np.testing.assert_allclose(
        by_x, np.broadcast_to(2 * params["linear"]["w"].sum(1), [4, 3]), rtol=1e-5
    )


def test_conditionals_with_an_operand_by_name():
    branches = [lambda x: ps.Linear(3)(x), lambda x: -x]
    for call in (
        lambda x: ps.cond(False, *branches, operand=x),
        lambda x: ps.cond(False, *branches, x),
        lambda x: ps.switch(1, branches, x),
    ):
        f = ps.transform(call)
        params = f.init(KEY, X)
        assert list(params) == ["linear"]
        np.testing.assert_array_equal(f.apply(params, None, X), -X)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ps.scan(lambda c, x: (c, x), 0, X, no_such=1),
        lambda: ps.fori_loop(0, 2, lambda i, x: x, X, no_such=1),
        lambda: ps.cond(True, lambda x: x, lambda x: x, X, no_such=1),
        lambda: ps.switch(0, [lambda x: x], X, no_such=1),
        lambda: ps.jit(lambda x: x, no_such=1)(X),
        lambda: ps.grad(lambda x: x.sum(), no_such=1)(X),
        lambda: ps.remat(lambda x: x, no_such=1)(X),
        lambda: ps.vmap(lambda x: x, no_such=1, split_rng=False)(X),
    ],
)
def test_keywords_that_are_none_are_refused(call):
    with pytest.raises(TypeError, match="no_such"):
        ps.transform(call).apply({}, None)


@pytest.mark.parametrize("in_axes", [None, (None,), [None], ({"a": None},)])
@pytest.mark.parametrize("split_rng", [False, True])
def test_vmap_of_axis_size_with_nothing_mapped(split_rng, in_axes):
    def f(x):
        def row(x):
            x = jax.tree.leaves(x)[0]
            return (
                ps.get_parameter("b", [3], init=jnp.ones)
                + x
                + jax.random.uniform(ps.next_rng_key())
            )

        split = split_rng and not ps.running_init()
        x = {"a": x} if isinstance(in_axes, tuple) and isinstance(in_axes[0], dict) else x
        return ps.vmap(row, in_axes=in_axes, axis_size=5, split_rng=split)(x)

    g = ps.transform(f)
    params = g.init(KEY, X[0])
    assert jax.tree.map(jnp.shape, params) == {"~": {"b": (3,)}}
    out = g.apply(params, KEY, X[0])
    assert out.shape == (5, 3)
    assert len({row.tobytes() for row in np.asarray(out)}) == (5 if split_rng else 1)


def test_vmap_of_axis_size_without_arguments():
    f = ps.transform(
        lambda: ps.vmap(
            lambda: jax.random.uniform(ps.next_rng_key()), axis_size=5, split_rng=True
        )()
    )
    assert len(set(f.apply({}, KEY).tolist())) == 5


def test_vmap_names_its_axis():
    def f(x):
        total = lambda x: jax.lax.psum(ps.Linear(3)(x), "rows")
        return ps.vmap(total, axis_name="rows", split_rng=False, out_axes=1)(x)

    g = ps.transform(f)
    params = g.init(KEY, X)
    out = g.apply(params, None, X)
    assert out.shape == (3, 4)
    expected = np.broadcast_to((X @ params["linear"]["w"]).sum(0)[:, None], [3, 4])
    np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_a_wrong_axis_size():
    f = ps.transform(lambda x: ps.vmap(lambda x: x, axis_size=7, split_rng=False)(x))
    with pytest.raises(ValueError, match="7"):
        f.apply({}, None, X)


def noise(x):
    return x + jax.random.uniform(ps.next_rng_key())


DRAWS = {
    "linear": lambda x: ps.Linear(3)(x),
    "dropout": lambda x: ps.dropout(ps.next_rng_key(), 0.5, x),
    "keys": lambda x: x + sum(jax.random.uniform(key) for key in ps.next_rng_keys(2)),
    "with_rng": lambda x: _with_rng(x),
    "scan": lambda x: ps.scan(lambda c, x: (c, noise(x)), 0, x)[1],
    "vmap": lambda x: ps.vmap(noise, split_rng=True)(x),
    "cond": lambda x: ps.cond(x.sum() > 0, noise, noise, x),
    "remat": lambda x: ps.remat(noise)(x),
    "jit": lambda x: ps.jit(noise)(x),
    "layer_stack": lambda x: ps.layer_stack(2)(lambda x: noise(ps.Linear(3)(x)))(x),
    "lift": lambda x: x @ ps.lift(ps.transform(_linear).init)(5, x)["linear"]["w"],
}


def _linear(x):
    return ps.Linear(3)(x)


def _with_rng(x):
    with ps.with_rng(ps.next_rng_key()):
        return noise(x)


@pytest.mark.parametrize("name", DRAWS)
def test_int_seeds_where_raw_keys_are_forbidden(name):
    f = ps.transform(DRAWS[name])

    def init_and_apply(seed):
        def run(x):
            params = f.init(seed, x)
            return params, f.apply(params, seed, x)

        return jax.jit(run)(X)

    with jax.legacy_prng_key("error"):
        params, out = init_and_apply(42)
    again, out_again = init_and_apply(jax.random.PRNGKey(42))
    assert jax.tree.all(jax.tree.map(np.array_equal, params, again))
    np.testing.assert_array_equal(out, out_again)


def test_haiku_cannot_take_int_seeds_there():
    import haiku as hk

    with jax.legacy_prng_key("error"), pytest.raises(ValueError, match="Legacy"):
        hk.transform(lambda x: hk.Linear(3)(x)).init(42, X)


def test_parameters_of_jax_are_those_of_ours():
    """What is given by position stays in its place."""
    for ours, theirs in (
        (ps.scan, jax.lax.scan),
        (ps.vmap, jax.vmap),
        (ps.grad, jax.grad),
        (ps.cond, jax.lax.cond),
    ):
        positional = [
            [
                p.name
                for p in inspect.signature(f).parameters.values()
                if p.kind is p.POSITIONAL_OR_KEYWORD
            ]
            for f in (ours, theirs)
        ]
        common = min(map(len, positional))
        assert common >= 3
        assert [name for name in positional[0][:common] if name not in ("fun",)] == [
            name for name in positional[1][:common] if name not in ("fun",)
        ]


@pytest.mark.parametrize("index", [0, 1])
def test_switch_with_an_operand_by_name(index):
    f = ps.transform(
        lambda x: ps.switch(index, [lambda x: ps.Linear(3)(x), lambda x: -x], operand=x)
    )
    x = jnp.ones([4, 3])
    params = f.init(jax.random.key(0), x)
    expected = [x @ params["linear"]["w"] + params["linear"]["b"], -x][index]
    assert jnp.allclose(f.apply(params, None, x), expected)
    with pytest.raises(ps.errors.BranchError, match="ps.switch"):
        ps.transform(lambda x: ps.switch(index, [jnp.sin, jnp.cos], x, operand=x)).init(None, x)
