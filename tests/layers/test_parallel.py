"""`Parallel` against its layers called one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), [4, 3])


def test_a_tuple_of_the_results():
    f = ps.transform(lambda x: ps.Parallel([ps.Linear(2), jnp.tanh, ps.Linear(5)])(x))
    g = ps.transform(lambda x: (ps.Linear(2)(x), jnp.tanh(x), ps.Linear(5)(x)))
    params = f.init(KEY, X)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, params, g.init(KEY, X)))
    assert list(params) == ["linear", "linear_1"]  # no name of its own in them
    out = f.apply(params, None, X)
    assert type(out) is tuple
    jax.tree.map(np.testing.assert_array_equal, out, g.apply(params, None, X))


@pytest.mark.parametrize(
    "combine, expected",
    [
        (sum, lambda x: x + x**2 + jnp.sin(x)),
        (jnp.stack, lambda x: jnp.stack([x, x**2, jnp.sin(x)])),
        (lambda outs: outs[0] * outs[1] - outs[2], lambda x: x**3 - jnp.sin(x)),
        (lambda outs: jnp.concatenate(outs, 1), lambda x: jnp.hstack([x, x**2, jnp.sin(x)])),
    ],
    ids=["sum", "stack", "lambda", "concatenate"],
)
def test_combined(combine, expected):
    layers = [lambda x: x, jnp.square, jnp.sin]
    f = ps.transform(lambda x: ps.Parallel(layers, combine)(x))
    np.testing.assert_allclose(f.apply({}, None, X), expected(X), rtol=1e-6)


def test_all_arguments_go_to_all_layers():
    layers = [lambda a, b, *, c: a + b + c, lambda *args, **kwargs: (args, kwargs)]
    f = ps.transform(lambda: ps.Parallel(layers)(1, 2, c=3))
    assert f.apply({}, None) == (6, ((1, 2), {"c": 3}))


def test_layers_made_inside_and_in_a_constructor():
    class Net(ps.Module):
        def __init__(self):
            super().__init__()
            self.branches = ps.Parallel([ps.Linear(size, name=f"to_{size}") for size in (2, 4)])

        def __call__(self, x):
            return ps.Parallel([lambda x: ps.Linear(3)(x), ps.Linear(3)], sum)(
                jnp.concatenate(self.branches(x), -1)
            )

    params = ps.transform(lambda x: Net()(x)).init(KEY, X)
    assert jax.tree.map(jnp.shape, params) == {
        "net/~/to_2": {"w": (3, 2), "b": (2,)},
        "net/~/to_4": {"w": (3, 4), "b": (4,)},
        "net/parallel/linear": {"w": (6, 3), "b": (3,)},  # made while it runs, as in Sequential
        "net/linear": {"w": (6, 3), "b": (3,)},
    }


def test_names_are_those_of_sequential():
    """Also of layers that a generator makes, which are made in the constructor."""
    for make in (
        lambda layer: layer([ps.Linear(3), lambda x: ps.Linear(3)(x)], name="layers"),
        lambda layer: layer((ps.Linear(size) for size in (3, 3)), name="layers"),
    ):
        found = [
            ps.transform(lambda x, make=make, layer=layer: make(layer)(x)).init(KEY, X)
            for layer in (ps.Parallel, ps.Sequential)
        ]
        assert list(found[0]) == list(found[1])
        assert len(found[0]) == 2


def test_no_layers():
    assert ps.transform(lambda x: ps.Parallel([])(x)).apply({}, None, X) == ()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ps.Parallel(ps.Linear(2)), r"write ps.Parallel\(\[first, second\]\)"),
        (lambda: ps.Parallel([ps.Linear]), r"as each layer.*Make an instance of it: Linear"),
        (lambda: ps.Parallel([ps.Linear(2)], "sum"), "a function such as `sum`"),
        (lambda: ps.Parallel([ps.Linear(2)], ps.Linear), "as combine.*Make an instance"),
    ],
    ids=["no list", "a class", "combine", "combine, a class"],
)
def test_errors(make, message):
    with pytest.raises(ps.errors.ArgumentError, match=message):
        ps.transform(lambda x: make()(x)).init(KEY, X)
