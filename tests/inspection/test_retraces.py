"""Why JAX traces again: each thing that a trace depends on, one after the other."""

import contextlib
import functools
import logging
import threading

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import purestate as ps

X = jnp.ones([4, 3])
KEY = jax.random.key(0)


def net(x, scale=1.0, flag=True):
    return (ps.Linear(2)(x) if flag else ps.Linear(2)(-x)) * scale


F = ps.transform(net)
PARAMS = F.init(KEY, X)


class Call:
    """A call of `apply`: what is changed of it, and the block around it."""

    def __init__(self, params=PARAMS, rng=None, x=X, block=contextlib.nullcontext, **options):
        self.args, self.block, self.options = (params, rng, x), block, options

    def run(self, f):
        with self.block():
            return f(*self.args, **self.options)


def cast(dtype):
    return jax.tree.map(lambda leaf: leaf.astype(dtype), PARAMS)


CHANGES = {
    "shape": (Call(x=jnp.ones([5, 3])), [("x", "float32[4,3]", "float32[5,3]")]),
    "rank": (Call(x=jnp.ones([2, 4, 3])), [("x", "float32[4,3]", "float32[2,4,3]")]),
    "dtype": (
        Call(params=cast("bfloat16")),
        [
            ("params['linear']['b']", "float32[2]", "bfloat16[2]"),
            ("params['linear']['w']", "float32[3,2]", "bfloat16[3,2]"),
        ],
    ),
    "a key": (Call(rng=KEY), [("rng", "None", "key<fry>[]")]),
    "weak type": (Call(scale=jnp.float32(1)), [("scale", "1.0", "float32[]")]),
    "static": (Call(flag=False), [("flag", "True", "False")]),
    "structure": (
        Call(params={**PARAMS, "other": {"w": X}}),
        [("params['other']['w']", "nothing", "float32[4,3]")],
    ),
    "freeze": (
        Call(block=ps.freeze),
        [("purestate's hooks", "nothing", "freeze('*')")],
    ),
    "config": (
        Call(block=lambda: ps.config.context(new_state="off")),
        [("ps.config's new_state", "'error'", "'off'")],
    ),
    "matmul": (
        Call(block=lambda: jax.default_matmul_precision("float32")),
        [("jax_default_matmul_precision", "None", "'float32'")],
    ),
    "x64": (Call(block=lambda: jax.enable_x64(True)), [("jax_enable_x64", "False", "True")]),
}


def watched(f=F.apply, **options):
    heard = []
    return jax.jit(ps.explain_retrace(f, heard.append), **options), heard


@pytest.mark.whole
@pytest.mark.parametrize("name", CHANGES)
def test_what_changed(name):
    call, changes = CHANGES[name]
    apply, heard = watched(static_argnames="flag")
    for _ in range(2):
        Call().run(apply)
    assert heard == []
    for _ in range(2):
        call.run(apply)
    assert all(isinstance(h, ps.Retrace) for h in heard)
    assert [(h.function, h.number, sorted(h.changes)) for h in heard] == [
        ("net_apply", 2, sorted(changes))
    ]
    Call().run(apply)  # this JAX remembers
    assert len(heard) == 1
    for where, was, now in changes:
        assert f"\n  {where}: {was} -> {now}" in str(heard[0])


def test_weak_types_of_arrays():
    double, heard = watched(lambda x: 2 * x)
    double(jnp.float32(1))
    double(1.0)
    double(1)
    assert [h.changes for h in heard] == [
        (("x", "float32[]", "float32[], weakly typed"),),
        (("x", "float32[], weakly typed", "int32[], weakly typed"),),
    ]


def test_the_earlier_trace_that_is_most_like_it():
    pair, heard = watched(lambda x, y: (x, y))
    for x, y in [(2, 2), (3, 3), (5, 5), (4, 3)]:
        pair(jnp.ones(x), jnp.ones(y))
    assert heard[-1].changes == (("x", "float32[3]", "float32[4]"),)


def test_nothing_that_can_be_seen():
    def f(x):
        return 2 * x

    heard = []
    again = ps.explain_retrace(f, heard.append)
    for _ in range(2):
        jax.jit(lambda x: again(x))(X)
    assert heard[0].changes == ()
    assert "Call jax.jit(f) once" in str(heard[0])
    once = jax.jit(lambda x: again(x))
    for _ in range(3):
        once(X)  # as it says
    assert len(heard) == 2


def test_any_setting_of_jax():
    double, heard = watched(lambda x: 2 * x)
    double(X)
    with jax.debug_key_reuse(True):
        double(X)
    assert heard[0].changes == (("jax_debug_key_reuse", "False", "True"),)


@pytest.mark.parametrize("explicit", [False, True])
def test_meshes_and_shardings(explicit):
    kind = AxisType.Explicit if explicit else AxisType.Auto
    mesh = jax.make_mesh((1,), ("data",), axis_types=(kind,))
    spread = jax.device_put(X, NamedSharding(mesh, PartitionSpec("data")))
    apply, heard = watched(lambda x: 2 * x)
    apply(X)
    with jax.set_mesh(mesh):
        apply(spread)
    (only,) = heard
    found = {where: (was, now) for where, was, now in only.changes}
    assert found["the mesh"][0] == "nothing"
    assert "'data': 1" in found["the mesh"][1]
    assert found.get("x") == (("float32[4,3]", "float32[4@data,3]") if explicit else None)


def with_state(x):
    return ps.BatchNorm(True, True, 0.9)(x, is_training=True)


@pytest.mark.parametrize("wrap", ["jit", "grad of jit", "jit of grad", "vmap of jit", "lower"])
@pytest.mark.parametrize(
    "transform", ["transform", "transform_with_state", "transform_with_collections"]
)
def test_styles_and_transforms(transform, wrap):
    function = {"transform": lambda x: ps.Linear(2)(x)}.get(transform, with_state)
    f = getattr(ps, transform)(function)
    variables = f.init(KEY, X)
    variables = variables if isinstance(variables, tuple) else (variables,)
    heard = []
    apply = ps.explain_retrace(
        functools.partial(f.apply, mutable=True) if "collections" in transform else f.apply,
        heard.append,
    )

    def loss(*args):
        return jnp.sum(jax.tree.leaves(apply(*args))[0])

    run = {
        "jit": jax.jit(apply),
        "grad of jit": jax.grad(jax.jit(loss), allow_int=True),
        "jit of grad": jax.jit(jax.grad(loss, allow_int=True)),
        "vmap of jit": jax.vmap(jax.jit(apply), in_axes=(None,) * (len(variables) + 1) + (0,)),
        "lower": lambda *args: jax.jit(apply).lower(*args),
    }[wrap]
    many = X if "vmap" not in wrap else jnp.stack([X, X])
    run(*variables, None, many)
    assert heard == []
    run(*variables, None, many[..., :2, :])
    assert [h.changes for h in heard] == [(("x", "float32[4,3]", "float32[2,3]"),)]


def test_a_bound_model():
    model = ps.bind(F, PARAMS)
    call, heard = watched(lambda model, x: model(x))
    call(model, X)
    call(model, X[:2])
    (only,) = heard
    assert only.changes == (("x", "float32[4,3]", "float32[2,3]"),)


def test_calls_without_jit_are_no_traces():
    heard = []
    apply = ps.explain_retrace(F.apply, heard.append)
    for size in (1, 2, 3):
        apply(PARAMS, None, X[:size])
        jax.vmap(apply, (None, None, 0))(PARAMS, None, X[:size])
    assert heard == []
    assert apply.__name__ == F.apply.__name__


def test_print_is_the_default(capsys):
    double = jax.jit(ps.explain_retrace(lambda x: 2 * x))
    double(X)
    double(X[0])
    assert (
        capsys.readouterr().out
        == "Trace 2 of <lambda>. What changed:\n  x: float32[4,3] -> float32[3]\n"
    )


def test_arguments_that_the_signature_does_not_have():
    f = functools.partial(max, key=lambda x: x.ndim)  # `max` has no signature
    largest, heard = watched(f)
    largest(X, X[0])
    largest(X, X[0, :2])
    assert heard[0].changes == (("args[1]", "float32[3]", "float32[2]"),)


def test_in_several_threads():
    heard = []
    double = jax.jit(ps.explain_retrace(lambda x: 2 * x, heard.append))
    threads = [threading.Thread(target=lambda n=n: double(jnp.ones(n))) for n in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(h.number for h in heard) == [2, 3, 4]


# At most so many


@pytest.mark.parametrize("n", [1, 2, 3])
def test_at_most(n):
    double = jax.jit(ps.assert_max_traces(lambda x: 2 * x, n))
    for size in range(1, n + 1):
        double(jnp.ones(size))
        double(jnp.ones(size))
    with pytest.raises(ps.errors.RetraceError) as caught:
        double(jnp.ones(n + 1))
    assert f"float32[{n}] -> float32[{n + 1}]" in str(caught.value)
    assert f"allows {n}." in str(caught.value)
    assert isinstance(caught.value, AssertionError)
    double(jnp.ones(n))  # and goes on
    more = jax.jit(ps.assert_max_traces(lambda x: 2 * x, n + 1))
    for size in range(1, n + 2):
        more(jnp.ones(size))  # as it says


@pytest.mark.parametrize("n", [0, -1, 1.0, True, None, "1"], ids=repr)
def test_a_number_that_is_not_one(n):
    with pytest.raises(ps.errors.ArgumentError, match="1 or more"):
        ps.assert_max_traces(net, n)


@pytest.mark.parametrize("wrap", [lambda f: ps.assert_max_traces(f, 1), ps.explain_retrace])
def test_what_is_not_a_plain_function(wrap):
    with pytest.raises(ps.errors.ArgumentError, match="Wrap the plain function"):
        wrap(jax.jit(net))
    with pytest.raises(ps.errors.ArgumentError, match="takes a function"):
        wrap(3)
    with pytest.raises(ps.errors.ArgumentError, match="f.apply"):
        wrap(F)


# What JAX itself says


def test_jax_explains_traces_of_users_only(caplog):
    def run():
        f = ps.transform(lambda x: ps.nets.MLP([17, 2])(ps.LayerNorm(-1, True, True)(x)))
        jax.jit(f.apply)(f.init(KEY, X), None, X)

    jax.clear_caches()
    run()
    with caplog.at_level(logging.WARNING):
        jax.config.update("jax_explain_cache_misses", True)
        try:
            run()
        finally:
            jax.config.update("jax_explain_cache_misses", False)
    told = [r.getMessage() for r in caplog.records if "TRACING CACHE MISS" in r.getMessage()]
    assert any("test_retraces.py" in text.partition("\n")[0] for text in told)
    assert not [text for text in told if "/purestate/_" in text.partition("\n")[0]]
