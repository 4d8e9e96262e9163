import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate.sonnet import mixed_precision as mp

VALID = [jnp.float32, jnp.float16]
SEEN = []


class Scale(snt.Module):
    @snt.once
    def _initialize(self, x):
        self.w = snt.Variable.create("w", x.shape, x.dtype, jnp.ones)

    @mp.modes(VALID)
    def __call__(self, x, shift=None):
        self._initialize(x)
        SEEN.append((x.dtype.name, self.w.dtype.name))
        return {"y": x * self.w, "n": jnp.int32(3)}

    @mp.modes(VALID)
    def other(self, x):
        SEEN.append(x.dtype.name)
        return x


@pytest.fixture(autouse=True)
def nothing_seen():
    SEEN.clear()
    yield
    assert mp.get_mode() is None


X = jnp.array([1.0, 2.0])


def test_the_first_call_of_a_module_stays_and_the_next_is_cast():
    scale = Scale()
    with mp.scope(jnp.float16):
        first, second = scale(X), scale(X, shift=X)
        scale.other(X)
        scale.other(X)
        Scale()(X)
    third = scale(X)
    full, half = ("float32", "float32"), ("float16", "float16")
    assert [full, half, "float32", "float16", full, full] == SEEN
    for out in (first, second, third):
        assert out["y"].dtype == jnp.float32
        assert out["n"].dtype == jnp.int32
        np.testing.assert_array_equal(out["y"], X)
    assert scale.w.dtype == jnp.float32


def test_a_call_before_the_mode_is_set_does_not_count():
    scale = Scale()
    scale(X)
    with mp.scope(jnp.float16):
        scale(X)
        scale(X)
    assert [dtype for dtype, _ in SEEN] == ["float32", "float32", "float16"]


def test_types_that_are_not_valid():
    scale = Scale()
    with mp.scope(jnp.bfloat16):
        scale(X)
        scale(X)
    assert [dtype for dtype, _ in SEEN] == ["float32", "float32"]


def test_enable_and_disable():
    scale = Scale()
    mp.enable("float16")
    try:
        assert mp.get_mode() == jnp.float16
        with mp.scope(jnp.float32):
            assert mp.get_mode() == jnp.float32
        assert mp.get_mode() == jnp.float16
        scale(X)
        scale(X)
    finally:
        mp.disable()
    assert SEEN[-1] == ("float16", "float16")


def test_functions_and_objects():
    seen = []
    decorate = mp.modes(VALID)

    @decorate
    def f(x, n, text):
        seen.append(getattr(x, "dtype", x))
        return x, n, text

    @decorate
    def g(x):
        seen.append(x.dtype)
        return x

    class Callable:
        def __call__(self, x):
            seen.append(x.dtype)
            return x

        def method(self, x):
            seen.append(x.dtype)

    instance = Callable()
    of_object, of_method = decorate(instance), decorate(instance.method)
    with mp.scope(jnp.float16):
        assert f(X, 2, "a")[1:] == (2, "a")
        f(X, n=jnp.array([1]), text=None)
        g(X)  # the first call of any function of the decorator has been
        of_object(X)
        of_object(X)
        of_method(X)
        f(1.5, 2, None)  # a Python number stays
    assert seen == [
        jnp.float32,
        jnp.float16,
        jnp.float16,
        jnp.float32,
        jnp.float16,
        jnp.float16,
        1.5,
    ]


def test_decorating_a_class_afterwards():
    class Plain(snt.Module):
        def __call__(self, x):
            SEEN.append(x.dtype.name)
            return x

    Plain.__call__ = mp.modes(VALID)(Plain.__call__)
    plain = Plain()
    with mp.scope(jnp.float16):
        plain(X)
        plain(X)
        Plain()(X)
    assert SEEN == ["float32", "float16", "float32"]


def test_in_a_transformed_function_init_makes_float32_and_apply_casts():
    def f(x):
        return Scale()(x)["y"]

    pair = ps.transform_with_state(f)
    with mp.scope(jnp.float16):
        params, state = pair.init(None, X)
        assert params["scale"]["w"].dtype == jnp.float32
        assert SEEN == [("float32", "float32")]
        y, _ = jax.jit(pair.apply)(params, state, None, X)
    assert SEEN[-1] == ("float16", "float16")
    assert y.dtype == jnp.float32
    grads = jax.grad(lambda p: pair.apply(p, state, None, X)[0].sum())(params)
    assert grads["scale"]["w"].dtype == jnp.float32


def test_a_compiled_function_follows_the_mode():
    pair = ps.transform_with_state(lambda x: Scale()(x)["y"])
    params, state = pair.init(None, X)
    apply = jax.jit(pair.apply)
    apply(params, state, None, X)
    with mp.scope(jnp.float16):
        apply(params, state, None, X)
    apply(params, state, None, X)
    assert [dtype for dtype, _ in SEEN[1:]] == ["float32", "float16"]


def test_a_lifted_function_that_jax_traces_twice_creates_float32():
    def f(x):
        scale = Scale()
        return ps.cond(True, lambda x: scale(x)["y"], lambda x: x, x)

    with mp.scope(jnp.float16):
        params, _ = ps.transform_with_state(f).init(None, X)
    assert params["scale"]["w"].dtype == jnp.float32


def test_after_an_error_the_first_call_has_not_been():
    class Fails(snt.Module):
        @mp.modes(VALID)
        def __call__(self, x):
            SEEN.append(x.dtype.name)
            if len(SEEN) == 1:
                raise RuntimeError
            return x

    fails = Fails()
    with mp.scope(jnp.float16):
        with pytest.raises(RuntimeError):
            fails(X)
        fails(X)
        fails(X)
    assert SEEN == ["float32", "float32", "float16"]
