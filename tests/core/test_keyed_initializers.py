"""Initializers that take a key: all of `jax.nn.initializers`, in every way that keys are drawn."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import purestate as ps

KEY = jax.random.key(0)
SHAPE = (3, 3, 2, 4)

JAX = jax.nn.initializers
FACTORIES = [
    name
    for name in dir(JAX)
    if not name.startswith("_") and name not in ("Initializer", "ones", "zeros")
]
ARGUMENTS = {"constant": (2.0,), "variance_scaling": (2.0, "fan_in", "normal")}
MADE = {name: getattr(JAX, name)(*ARGUMENTS.get(name, ())) for name in FACTORIES}
INITIALIZERS = {**MADE, "ones": JAX.ones, "zeros": JAX.zeros}


class Object:
    """An initializer that is an object."""

    def __call__(self, key: Any, shape: Any, dtype: Any = jnp.float32) -> Any:
        return jax.random.normal(key, shape, dtype)

    def method(self, rng: Any, shape: Any, dtype: Any) -> Any:
        return self(rng, shape, dtype)


def by_hand(key: Any, shape: Any, dtype: Any) -> Any:
    return jax.random.normal(key, shape, dtype)


# All draw `jax.random.normal(key, shape, dtype)`.
KINDS = {
    "function": by_hand,
    "called rng": lambda rng, shape, dtype=jnp.float32: by_hand(rng, shape, dtype),
    "other names": lambda k, s, d: by_hand(k, s, d),
    "object": Object(),
    "method": Object().method,
    "partial": functools.partial(by_hand),
    "compiled": jax.jit(by_hand, static_argnums=(1, 2)),
}


def explicit(init: Any) -> Any:
    """The same as an initializer of purestate."""
    return lambda shape, dtype: init(ps.next_rng_key(), tuple(shape), dtype)


def program(init: Any, **options: Any) -> str:
    """What `init` of a transform traces to."""

    def f() -> Any:
        ps.next_rng_key()
        ps.get_parameter("a", SHAPE, init=init)
        ps.get_parameter("b", list(SHAPE), jnp.bfloat16, init)
        ps.get_state("c", SHAPE, init=init)
        return ps.next_rng_key()

    return str(jax.make_jaxpr(ps.transform_with_state(f, **options).init)(KEY))


@pytest.mark.parametrize("mode", ["sequence", "path"])
@pytest.mark.parametrize("name", INITIALIZERS)
def test_jax_initializers(name, mode):
    init = INITIALIZERS[name]
    try:
        expected = program(explicit(init), rng_mode=mode)
    except TypeError as error:  # newer versions of JAX refuse a QR of bfloat16
        with pytest.raises(TypeError, match=re.escape(str(error).partition(".")[0])):
            program(init, rng_mode=mode)
    else:
        assert program(init, rng_mode=mode) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_callables(kind):
    expected = program(explicit(by_hand)) if kind != "compiled" else program(explicit(KINDS[kind]))
    assert program(KINDS[kind]) == expected


def as_params(f: Any, keys: Any = KEY) -> Any:
    return ps.transform_with_collections(f).init(keys)["params"]["~"]


@pytest.mark.parametrize("kind", KINDS)
def test_streams_and_hooks(kind):
    def f(init: Any) -> Any:
        def creator(next_creator: Any, shape: Any, dtype: Any, init: Any, context: Any) -> Any:
            assert context.original_init is not None
            return next_creator(shape, dtype, init) + 1

        with ps.custom_creator(creator):
            return ps.get_parameter("w", [3, 2], init=init)

    keys = {"params": KEY, "dropout": jax.random.key(1)}
    found, expected = (as_params(lambda i=i: f(i), keys) for i in (KINDS[kind], explicit(by_hand)))
    assert (found["w"] == expected["w"]).all()


def test_a_creator_may_call_it_itself():
    def creator(next_creator: Any, shape: Any, dtype: Any, init: Any, context: Any) -> Any:
        return init(shape, dtype)

    def f() -> Any:
        with ps.custom_creator(creator):
            return ps.get_parameter("w", [3, 2], init=JAX.glorot_uniform())

    expected = ps.transform(
        lambda: ps.get_parameter("w", [3, 2], init=explicit(JAX.glorot_uniform()))
    ).init(KEY)
    assert (ps.transform(f).init(KEY)["~"]["w"] == expected["~"]["w"]).all()


@pytest.mark.parametrize("name", ["zeros", "ones", "constant"])
def test_no_key_is_needed_where_none_is_used(name):
    init = INITIALIZERS[name]
    w = ps.transform(lambda: ps.get_parameter("w", [2], init=init)).init(None)["~"]["w"]
    assert (w == init(None, (2,), jnp.float32)).all()
    out, _ = ps.transform_with_state(lambda: ps.get_state("w", [2], init=init)).apply(
        {}, None, None
    )
    assert (out == w).all()


def test_a_key_that_is_missing():
    f = ps.transform(lambda: ps.get_parameter("w", [2, 2], init=JAX.normal()))
    with pytest.raises(ps.errors.MissingRNGError, match="`init` was given no key"):
        f.init(None)
    with pytest.raises(ps.errors.MissingParameterError, match="'w' of '~'"):
        f.apply({}, None)
    with pytest.raises(ps.errors.MissingParameterError, match="'w' of '~'"):
        f.apply({}, KEY)


@pytest.mark.parametrize("name", FACTORIES)
def test_a_factory_has_to_be_called(name):
    factory = getattr(JAX, name)
    for f in (
        lambda: ps.get_parameter("w", [3, 2], init=factory),
        lambda: ps.get_state("w", [3, 2], init=factory),
    ):
        with pytest.raises(ps.errors.VariableTypeError, match=r"w'.*parentheses"):
            ps.transform_with_state(f).init(KEY)


CLASSES = [
    cls
    for cls in vars(ps.initializers).values()
    if isinstance(cls, type) and "__call__" in vars(cls)
]


@pytest.mark.parametrize("cls", CLASSES)
def test_a_class_has_to_be_called(cls):
    f = ps.transform(lambda: ps.get_parameter("w", [3, 2], init=cls))
    with pytest.raises(ps.errors.VariableTypeError, match="w'.*(parentheses|Pass an instance)"):
        f.init(KEY)


def test_what_jax_refuses_is_named():
    f = ps.transform(lambda: ps.Linear(3, b_init=JAX.glorot_uniform())(jnp.ones([2, 4])))
    with pytest.raises(ValueError, match=r"1-dimensional[\s\S]*module 'linear'"):
        f.init(KEY)
