"""Variables as attributes, `SetUpModule` and `Container`: two examples of Treex and MLAX, with their numbers."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps


class Average(ps.Module):
    count = ps.state_attr([], jnp.int32, jnp.zeros)
    total = ps.state_attr([], jnp.float32, jnp.zeros)

    def __call__(self, x):
        self.count += np.prod(x.shape)
        self.total += jnp.sum(x)
        return self.total / self.count


# Input, result, count and total, as treex 0.6.12 prints them.
CALLS = [
    ([[1.0, 2], [3, 4]], 2.5, 4, 10.0),
    ([10.0, 20], 6.6666665, 6, 40.0),
    (5.0, 6.428571, 7, 45.0),
]


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_average(jit):
    traces = []

    def forward(x):
        traces.append(x)
        return Average()(x)

    f = ps.transform_with_state(forward)
    params, first = f.init(None, jnp.array(CALLS[0][0]))
    assert params == {}
    assert first == {"average": {"count": 0, "total": 0.0}}
    apply, state = jax.jit(f.apply) if jit else f.apply, first
    traces.clear()
    for x, expected, count, total in CALLS:
        out, state = apply(params, state, None, jnp.array(x))
        np.testing.assert_allclose(out, expected, rtol=1e-6)
        average = state["average"]
        assert (int(average["count"]), float(average["total"])) == (count, total)
        assert (average["count"].dtype, average["total"].dtype) == (jnp.int32, jnp.float32)
    assert (
        float(apply(params, first, None, jnp.array(CALLS[0][0]))[0]) == 2.5
    )  # what was given is not changed
    assert len(traces) == (3 if jit else 4)  # one for each shape


def test_two_instances():
    f = ps.transform_with_state(lambda x: (Average()(x), Average()(2 * x)))
    params, state = f.init(None, jnp.ones([2]))
    _, state = f.apply(params, state, None, jnp.ones([2]))
    assert {name: float(bundle["total"]) for name, bundle in state.items()} == {
        "average": 2,
        "average_1": 4,
    }


class HoldsKey(ps.Module):
    def __init__(self, key):
        super().__init__()
        self.first = key

    def __call__(self, x):
        state = ps.variable("rng", "key", init=lambda: self.first)
        key, state.value = jax.random.split(state.value)
        return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x / 0.5, 0)


@pytest.mark.parametrize("make_key", [jax.random.PRNGKey, jax.random.key])
def test_dropout_that_holds_its_key(make_key):
    key, x = make_key(0), jnp.ones([6])
    f = ps.transform_with_collections(lambda x: HoldsKey(key)(x))
    variables = f.init(None, x)
    assert list(variables) == ["params", "rng"]
    assert (variables["rng"]["holds_key"]["key"] == key).all()
    for _ in range(3):
        now, kept = jax.random.split(variables["rng"]["holds_key"]["key"])
        out, updated = f.apply(variables, None, x, mutable="rng")
        again, _ = f.apply(variables, None, x, mutable="rng")
        np.testing.assert_array_equal(out, 2.0 * jax.random.bernoulli(now, 0.5, x.shape))
        np.testing.assert_array_equal(out, again)
        assert (updated["rng"]["holds_key"]["key"] == kept).all()
        variables |= updated


def test_setters_and_getters_see_attributes():
    seen = []

    def getter(next_getter, value, context):
        seen.append(("get", context.full_name))
        return next_getter(value)

    def setter(next_setter, value, context):
        seen.append(("set", context.full_name))
        return next_setter(value)

    def f(x):
        with ps.custom_getter(getter, state=True), ps.custom_setter(setter):
            return Average()(x)

    g = ps.transform_with_state(f)
    state = g.init(None, 1.0 * jnp.ones([]))[1]
    seen.clear()
    g.apply({}, state, None, jnp.ones([]))
    assert seen[:4] == [
        ("get", "average/count"),
        ("set", "average/count"),
        ("get", "average/total"),
        ("set", "average/total"),
    ]


@dataclasses.dataclass
class Counts(ps.Module):
    step: int = 2
    count: Any = ps.state_attr([], jnp.int32, jnp.zeros)  # noqa: RUF009 (a descriptor)
    scale = ps.param_attr([3], init=jnp.ones)

    def __call__(self, x):
        self.count += self.step
        return x * self.scale * self.count


def test_dataclass():
    f = ps.transform_with_state(lambda x: Counts(5)(x))
    params, state = f.init(None, jnp.ones([3]))
    assert jax.tree.map(jnp.shape, params) == {"counts": {"scale": (3,)}}
    out, state = f.apply(params, state, None, jnp.ones([3]))
    assert out.tolist() == [5, 5, 5]
    assert int(state["counts"]["count"]) == 5


def test_from_outside_the_module():
    def f(x):
        average = Average()
        average(x)
        average.total = 7.0
        return average.count, average.total

    g = ps.transform_with_state(f)
    (count, total), state = g.apply(*g.init(None, jnp.ones([3])), None, jnp.ones([3]))
    assert (int(count), float(total), float(state["average"]["total"])) == (3, 7.0, 7.0)


def test_shape_stays():
    class Grows(ps.Module):
        x = ps.state_attr([2], init=jnp.zeros)
        free = ps.state_attr(init=lambda: jnp.zeros([2]))

        def __call__(self, name):
            setattr(self, name, jnp.zeros([3]))

    f = ps.transform_with_state(lambda name: Grows()(name))
    f.init(None, "free")
    with pytest.raises(
        ps.errors.ShapeMismatchError, match=r"'grows/x' is declared with shape \(2,\).*\(3,\)"
    ):
        f.init(None, "x")


class Foo(ps.Module):
    pass


# The kinds of fields that MLAX's manual refuses; the ids are the letters of its example.
@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        pytest.param(ps.param_attr(init="abc"), "'bar/x'.*str", id="c"),
        pytest.param(
            ps.param_attr([], init=lambda *_: "abc"), "'x' of 'bar'.*str", id="c-with-shape"
        ),
        pytest.param(ps.param_attr(init=Foo), "'bar/x'.*contains a Module", id="d"),
        pytest.param(ps.state_attr(init="abc"), "'bar/x'.*str", id="f"),
        pytest.param(ps.state_attr([], init=lambda *_: "abc"), "'bar/x'.*str", id="f-with-shape"),
        pytest.param(ps.state_attr(init=Foo), "'bar/x'.*contains a Module", id="g"),
    ],
)
def test_fields_that_are_not_ok(attribute, words):
    Bar = type("Bar", (ps.Module,), {"x": attribute, "__call__": lambda self: self.x})  # noqa: N806
    with pytest.raises(TypeError, match=words) as error:
        ps.transform_with_state(lambda: Bar()()).init(None)
    assert isinstance(error.value, ps.errors.VariableTypeError)


def test_fields_that_are_ok():
    class Bar(ps.Module):
        a = ps.param_attr(init=jnp.ones((3, 4)))
        b = ps.param_attr(init=np.ones([1, 2, 3]), trainable=False)
        e = ps.state_attr(init=jnp.ones((3, 4)))
        o = ps.param_attr(init={"w": np.ones([2]), "b": [np.zeros([1])]})

        def __init__(self):
            super().__init__()
            self.h = ps.Container([ps.Linear(1), ps.Linear(1)])
            self.j = Foo()
            self.k, self.l, self.m = "abc", 1, [1, 2, 3]

        def __call__(self, x):
            for layer in self.h:
                x = layer(x)
            return self.a, self.b, self.e, self.o

    f = ps.transform_with_state(lambda x: Bar()(x))
    params, state = f.init(jax.random.key(0), jnp.ones([1, 1]))
    shapes = jax.tree.map(jnp.shape, params["bar"])
    assert shapes == {"a": (3, 4), "b": (1, 2, 3), "o": {"w": (2,), "b": [(1,)]}}
    assert params["bar"]["b"].dtype == jnp.float32
    assert set(params) == {"bar", "bar/~/linear", "bar/~/linear_1"}
    assert list(state["bar"]) == ["e"]
    specs, _ = ps.specs(f)(jax.random.key(0), jnp.ones([1, 1]))
    assert (specs["bar"]["a"].trainable, specs["bar"]["b"].trainable) == (True, False)


def test_getters_see_parameters_that_are_pytrees():
    class Tree(ps.Module):
        w = ps.param_attr(init={"a": jnp.ones([2])})

        def __call__(self):
            return self.w["a"].sum()

    def f():
        with ps.custom_getter(
            lambda next_getter, value, context: next_getter(jax.tree.map(lambda x: 3 * x, value))
        ):
            return Tree()()

    g = ps.transform(f)
    assert float(g.apply(g.init(None), None)) == 6


def test_what_the_constructor_sets_is_a_first_value():
    class AsInTheSeed(ps.Module):
        count = ps.state_attr()
        total = ps.state_attr()

        def __init__(self):
            super().__init__()
            self.count = jnp.array(0)
            self.total = jnp.array(0.0)

        def __call__(self, x):
            self.count += np.prod(x.shape).astype(int)
            self.total += jnp.sum(x)
            return self.total / self.count

    f = ps.transform_with_state(lambda x: AsInTheSeed()(x))
    params, state = f.init(None, jnp.array(CALLS[0][0]))
    for x, expected, count, total in CALLS:
        out, state = f.apply(params, state, None, jnp.array(x))
        np.testing.assert_allclose(out, expected, rtol=1e-6)
        assert (int(state["as_in_the_seed"]["count"]), float(state["as_in_the_seed"]["total"])) == (
            count,
            total,
        )
