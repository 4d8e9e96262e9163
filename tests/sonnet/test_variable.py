"""`snt.Variable`: an array to read, a variable to set."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate.errors import ImmutableCollectionError, MissingParameterError, ShapeMismatchError

KEY = jax.random.key(0)
A = np.linspace(0.5, 2.0, 9).reshape(3, 3).astype(np.float32)
B = np.arange(1.0, 10.0, dtype=np.float32).reshape(3, 3)

BINARY = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "lt",
    "le",
    "gt",
    "ge",
]


@pytest.mark.parametrize("name", BINARY)
def test_operators_are_those_of_its_value(name):
    operate = getattr(operator, name)
    a, b = snt.Variable(A), snt.Variable(B)
    for left, right in ((a, b), (a, B), (A, b), (a, jnp.asarray(B)), (jnp.asarray(A), b)):
        out = operate(left, right)
        assert isinstance(out, jax.Array)
        np.testing.assert_allclose(out, operate(A, B), rtol=1e-6)
    if name != "matmul":
        np.testing.assert_allclose(operate(a, 2.0), operate(A, 2.0), rtol=1e-6)
        np.testing.assert_allclose(operate(2.0, a), operate(2.0, A), rtol=1e-6)


def test_functions_of_jax_and_numpy_take_it():
    a = snt.Variable(A)
    np.testing.assert_allclose(jnp.tanh(a), np.tanh(A), rtol=1e-6)
    np.testing.assert_allclose(jnp.concatenate([a, a]), np.concatenate([A, A]))
    np.testing.assert_allclose(jax.nn.relu(a), A)
    np.testing.assert_array_equal(np.asarray(a), A)
    np.testing.assert_array_equal(a.numpy(), A)
    np.testing.assert_array_equal(a[1], A[1])
    assert (a.shape, a.ndim, a.size, len(a), a.dtype) == ((3, 3), 2, 9, 3, jnp.float32)
    assert float(-snt.Variable(2.0)) == -2.0
    assert int(snt.Variable(3)) == 3
    assert bool(snt.Variable(True))
    assert [0, 1, 2][snt.Variable(2)] == 2


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1, jnp.int32), (1.0, jnp.float32), (True, jnp.bool_), (np.int8(1), jnp.int8)],
)
def test_the_dtype_is_that_of_the_initial_value(value, dtype):
    assert snt.Variable(value).dtype == dtype
    assert snt.Variable(value, dtype=jnp.bfloat16).value().dtype == jnp.bfloat16
    assert not snt.Variable(value).value().weak_type


def test_where_a_variable_is_kept():
    class Net(snt.Module):
        def __init__(self):
            super().__init__()
            self.w = [snt.Variable(1.0, name="w") for _ in range(3)]
            self.steps = snt.Variable(0, False, name="steps")

        def __call__(self):
            return sum(self.w) + self.steps

    params, state = ps.transform_with_state(lambda: Net()()).init(None)
    assert params == {"net": {"w": 1.0, "w_1": 1.0, "w_2": 1.0}}
    assert state == {"net": {"steps": 0}}


def test_outside_any_module_it_is_kept_at_the_root():
    f = ps.transform_with_state(lambda: snt.Variable(1.0).name)
    assert f.init(None) == ({"~": {"Variable": 1.0}}, {})
    assert f.apply({"~": {"Variable": jnp.ones([])}}, {}, None)[0] == "Variable:0"


def test_a_function_as_initial_value_is_called_in_init_only():
    calls = []

    def initial():
        calls.append(1)
        return jax.random.normal(ps.next_rng_key(), [3])

    f = ps.transform_with_state(lambda: snt.Variable(initial, name="w").value())
    params, state = f.init(KEY)
    assert calls == [1]
    np.testing.assert_array_equal(f.apply(params, state, None)[0], params["~"]["w"])
    assert calls == [1]
    with pytest.raises(MissingParameterError):
        ps.transform_with_state(lambda: snt.Variable(jnp.ones(3), name="w").value()).apply(
            {}, {}, None
        )


@pytest.mark.parametrize("where", ["outside", "transformed"])
def test_assign(where):
    def f(delta):
        v = snt.Variable([1.0, 2.0], trainable=False)
        v.assign([3.0, 4.0]).assign_add(delta)
        v.assign_sub(jnp.array([1, 1]))  # cast to the dtype of the variable
        return v.value()

    delta = jnp.array([0.5, 0.5])
    out = (
        f(delta)
        if where == "outside"
        else ps.transform_with_state(f).apply({}, None, None, delta)[0]
    )
    np.testing.assert_array_equal(out, [2.5, 3.5])


def test_the_gradient_does_not_flow_through_what_is_stored():
    def f(x):
        v = snt.Variable(0.0, trainable=False)
        v.assign(x**2)
        return v * x

    pair = ps.transform_with_state(f)
    grad = jax.grad(lambda x: pair.apply({}, None, None, x)[0])(3.0)
    assert float(grad) == 9.0  # of `v * x` with v = 9; through v it would be 27


@pytest.mark.parametrize("value", [[1.0], 1.0, np.ones([2, 2])])
def test_another_shape_is_an_error(value):
    with pytest.raises(ShapeMismatchError, match="Reshape the value"):
        snt.Variable([1.0, 2.0]).assign(value)
    with pytest.raises(ValueError, match="its initial value has the shape"):
        snt.Variable(value, shape=[5])


def test_no_initial_value_is_an_error():
    with pytest.raises(ValueError, match="needs an initial value"):
        snt.Variable(name="w")


def test_a_parameter_is_set_where_parameters_may_change():
    def f():
        v = snt.Variable(1.0, name="w")
        v.assign(2.0)
        return v.value()

    with pytest.raises(ImmutableCollectionError, match="transform_with_collections"):
        ps.transform_with_state(f).init(None)
    pair = ps.transform_with_collections(f)
    variables = pair.init(None)
    out, updated = pair.apply(variables, None, mutable=["params"])
    assert float(out) == 2.0
    assert updated["params"]["~"]["w"] == 2.0


def test_a_variable_is_good_for_one_run():
    kept = []
    f = ps.transform_with_state(lambda: kept.append(snt.Variable(1.0, name="w")))
    params, state = f.init(None)
    with pytest.raises(ValueError, match=r"params\['~'\]\['w'\]"):
        kept[0].value()
    f.apply(params, state, None)
    with pytest.raises(ValueError, match=r"created in one run.*used in another run"):
        ps.transform_with_state(lambda: kept[0].value()).apply(params, state, None)


def test_repr():
    assert repr(snt.Sequential([]).name_scope) != ""
    text = repr(snt.Variable(np.zeros([2, 3]), trainable=False, name="zeros"))
    assert text.startswith("<Variable 'zeros")
    assert "[2, 3] float32, not trainable>" in text


@pytest.mark.whole
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda **options: snt.Variable(jnp.zeros(3), **options),
        lambda **options: snt.Variable(np.zeros(3, np.float32), **options),
        lambda **options: snt.Variable(lambda: jnp.zeros(3), shape=[3], **options),
        lambda **options: snt.Variable(0.0, **options),
        lambda **options: snt.Variable(
            snt.initializers.RandomNormal()([3], jnp.float32), **options
        ),
    ],
    ids=["jax", "numpy", "function", "number", "random"],
)
def test_a_given_value_of_another_shape(make, trainable):
    """It would be used silently, and broadcast."""
    pair = ps.transform_with_state(lambda: make(name="v", trainable=trainable).value())
    given = {"~": {"v": jnp.ones(2)}}
    with pytest.raises(ShapeMismatchError):
        pair.apply(*((given, {}) if trainable else ({}, given)), None)


def test_iteration_ends():
    """An index past the end is not an error in JAX."""
    variable = snt.Variable(jnp.arange(6.0).reshape(3, 2), name="v")
    assert [row.tolist() for row in variable] == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    first, *_ = variable
    assert first.tolist() == [0.0, 1.0]
    assert 3.0 in snt.Variable(jnp.arange(4.0))
    with pytest.raises(TypeError):
        iter(snt.Variable(1.0))

    def f():
        late = snt.initializers.Ones()([3], jnp.float32)
        drawn = snt.initializers.RandomNormal(seed=0)([3], jnp.float32)
        return len(list(late)), len(list(drawn))

    assert ps.transform_with_state(f).apply({}, {}, None)[0] == (3, 3)
