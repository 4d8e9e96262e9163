"""`eval_shape_of`: a run on shapes; what is not an array keeps its value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purestate._core.abstract import eval_shape_of, function_of_arrays

HUGE = jax.ShapeDtypeStruct((2**30, 2**20), jnp.float32)  # four petabytes


def add(x, y):
    return {"sum": x + y, "first": x[0]}


@pytest.mark.parametrize("x", [jnp.ones([2, 3]), np.ones([2, 3], np.float32), HUGE])
def test_shapes_are_those_of_jax(x):
    assert eval_shape_of(add, (x,), {"y": x}) == jax.eval_shape(add, x, y=x)


def test_what_is_not_an_array_keeps_its_value():
    seen = []

    def f(x, *args, **kwargs):
        seen.append((args, kwargs))
        assert isinstance(x, jax.core.Tracer)
        return x * len(args)

    marker = object()
    out = eval_shape_of(f, (jnp.ones([3]), True, 2, marker, None), {"mode": "same", "f": f})
    assert seen == [((True, 2, marker, None), {"mode": "same", "f": f})]
    assert out.shape == (3,)


def test_leaves_of_trees_too():
    def f(tree):
        return tree["x"] if tree["flag"] else tree["y"]

    tree = {"flag": True, "x": HUGE, "y": jnp.ones([])}
    assert eval_shape_of(f, (tree,), {}).shape == HUGE.shape
    assert eval_shape_of(f, ({**tree, "flag": False},), {}).shape == ()
    with pytest.raises(jax.errors.TracerBoolConversionError):  # what plain JAX makes of it
        jax.eval_shape(f, tree)


def test_arrays_are_told_from_python_values():
    class Thing:
        pass

    thing = Thing()
    arrays = [
        jnp.ones([1]),
        np.ones([2]),
        np.float32(3),
        jax.ShapeDtypeStruct([4], jnp.float32),
        jax.random.key(0),
    ]
    run, found = function_of_arrays(
        lambda *args, **kwargs: (args, kwargs), (arrays, True, None), {"a": thing, "b": 1.5}
    )
    assert found == arrays
    (filled, flag, none), kwargs = run(["a", "b", "c", "d", "e"])
    assert filled == ["a", "b", "c", "d", "e"]
    assert flag is True
    assert none is None
    assert kwargs == {"a": thing, "b": 1.5}
