import jax
import jax.numpy as jnp
import pytest

import purestate as ps

X = jnp.ones([1, 3])


def names(f):
    return list(ps.transform(f).init(jax.random.key(0), X))


class Outer(ps.Module):
    def __init__(self, factory):
        super().__init__()
        self.layer = ps.Deferred(factory)

    def __call__(self, x):
        return self.layer(x)

    def other(self, x):
        return self.layer(x)


@pytest.mark.parametrize("method", ["__call__", "other"])
def test_name_is_that_of_where_it_was_deferred(method):
    assert names(lambda x: getattr(Outer(lambda: ps.Linear(2)), method)(x)) == ["outer/~/linear"]


def test_name_in_a_scope_that_is_left():
    def f(x):
        with ps.name_scope("tower"):
            layer = ps.Deferred(lambda: ps.Linear(2))
        return layer(x)

    assert names(f) == ["tower/linear"]


def test_two_are_two():
    """In dm-haiku each gets the same name, and so the same parameters, if they are made in different calls."""

    class Pair(ps.Module):
        def __init__(self):
            super().__init__()
            self.now = ps.Linear(3)
            self.layers = [ps.Deferred(lambda: ps.Linear(3)), ps.Deferred(lambda: ps.Linear(3))]

        def __call__(self, x, i):
            return self.layers[i](self.now(x))

    def f(x):
        pair = Pair()
        return pair(pair(x, 0), 1)

    assert names(f) == ["pair/~/linear", "pair/~/linear_1", "pair/~/linear_2"]


def test_made_once_and_used_again():
    made = []

    def factory():
        made.append(0)
        return ps.Linear(3)

    def f(x):
        layer = ps.Deferred(factory)
        assert made == []
        assert layer.target is layer.target
        return layer(layer(x))

    assert names(f) == ["linear"]
    assert made == [0]


def test_made_inside_a_lifted_function():
    def f(x):
        layer = Outer(lambda: ps.Linear(3))
        x, _ = ps.scan(lambda x, _: (layer(x), None), x, None, length=2)
        return layer(x)

    g = ps.transform(f)
    params = g.init(jax.random.key(0), X)
    assert list(params) == ["outer/~/linear"]
    out = g.apply(params, None, X)
    w = params["outer/~/linear"]["w"]
    assert jnp.allclose(out, X @ w @ w @ w, atol=1e-5)


def test_attributes_are_the_targets():
    def f(x):
        layer = ps.Deferred(lambda: ps.Linear(2, with_bias=False))
        with pytest.raises(AttributeError, match="output_size.*not made yet"):
            _ = layer.output_size
        assert not hasattr(layer, "w_init")
        layer(x)
        assert layer.output_size == 2
        layer.with_bias = True
        assert layer.target.with_bias
        assert not hasattr(layer.target, "_factory")
        del layer.with_bias
        assert not hasattr(layer.target, "with_bias")
        with pytest.raises(AttributeError, match="nonsense"):
            _ = layer.nonsense

    names(f)


def test_attributes_set_before_it_is_made_are_its_own():
    def f(x):
        layer = ps.Deferred(lambda: ps.Linear(2))
        layer.note = 1
        assert layer.note == 1
        del layer.note
        assert not hasattr(layer, "note")
        return layer(x)

    names(f)


def test_other_methods():
    class Encoder(ps.Module):
        def encode(self, x):
            return ps.Linear(2)(x)

    def f(x):
        layer = ps.Deferred(Encoder, call_methods=("encode",))
        return layer.encode(x)

    assert names(f) == ["encoder/~encode/linear"]

    def not_callable(x):
        return ps.Deferred(Encoder, call_methods=("encode",))(x)

    with pytest.raises(TypeError, match="not callable"):
        names(not_callable)


def test_text():
    def f(x):
        layer = ps.Deferred(lambda: ps.Linear(2))
        assert str(layer) == f"Deferred({layer.target})"
        assert repr(layer) == f"Deferred({layer.target!r})"

    names(f)


def test_scope_is_put_back_if_the_factory_fails():
    def broken():
        raise KeyError("broken")

    def f(x):
        layer = Outer(broken)
        with pytest.raises(KeyError):
            layer(x)
        return ps.Linear(2)(x)

    assert names(f) == ["linear"]


def test_outside_a_transform():
    with pytest.raises(ps.errors.FrameError, match=r"ps\.Deferred"):
        ps.Deferred(lambda: ps.Linear(2))


def test_error_of_the_factory_is_seen():
    def f(x):
        layer = ps.Deferred(lambda: ps.Linear(x.size_of_output))
        with pytest.raises(AttributeError, match="size_of_output"):
            _ = layer.target
        with pytest.raises(AttributeError, match="size_of_output"):
            layer(x)

    names(f)
