"""Errors teach: who asked, for what, what was there, and what to write instead."""

import jax
import jax.numpy as jnp
import pytest

import purestate as ps

X = jnp.ones([2, 3])
NET = ps.transform(lambda x: ps.nets.MLP([4, 2])(x))


@pytest.fixture
def params():
    return NET.init(jax.random.key(0), X)


def raises(error, *words, call):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert len(str(caught.value)) < 1000
    return caught.value


def test_a_missing_module_lists_what_is_near(params):
    params["mlp/~/linear0"] = params.pop("mlp/~/linear_0")
    words = ["'w' of 'mlp/~/linear_0'", "(3, 4)", "no module 'mlp/~/linear_0'", "'mlp/~/linear0/w'", "`init`"]
    raises(ps.errors.MissingParameterError, *words, call=lambda: NET.apply(params, None, X))


def test_a_missing_parameter_lists_its_siblings(params):
    params["mlp/~/linear_1"]["W"] = params["mlp/~/linear_1"].pop("w")
    words = ["'mlp/~/linear_1' has 'b', 'W'", "'mlp/~/linear_1/W'"]
    raises(ps.errors.MissingParameterError, *words, call=lambda: NET.apply(params, None, X))
    raises(ps.errors.MissingParameterError, "are empty", call=lambda: NET.apply({}, None, X))


def test_a_wrong_shape_shows_both(params):
    words = ["'w' of 'mlp/~/linear_0'", "(3, 4)", "(5, 4)"]
    raises(ps.errors.ShapeMismatchError, *words, call=lambda: NET.apply(params, None, jnp.ones([2, 5])))


@pytest.mark.parametrize("bad", [None, "abc", 3.0, [1, 2]])
def test_an_initializer_that_makes_no_array(bad):
    f = ps.transform(lambda: ps.get_parameter("w", [], init=lambda s, d: bad))
    raises(ps.errors.VariableTypeError, "'w' of '~'", type(bad).__name__ if bad else "None", call=lambda: f.init(None))


def test_arguments_in_the_wrong_order(params):
    f = ps.transform_with_state(lambda x: ps.Linear(1)(x))
    error = raises(
        ps.errors.ArgumentError, "apply(params, state, rng", "(2, 3)", call=lambda: f.apply(X, params, None, X)
    )
    assert "1." not in str(error), "no dump of arrays"
    raises(
        ps.errors.InvalidRNGError, "apply(params, rng", "`rng` was expected", call=lambda: NET.apply(params, params, X)
    )


def test_no_initializer():
    f = ps.transform(lambda: ps.get_parameter("w", [3]))
    raises(ps.errors.MissingInitializerError, "'w' of '~'", "init=jnp.zeros", call=lambda: f.init(None))
    raises(ps.errors.MissingParameterError, "'w' of '~'", call=lambda: f.apply({}, None))


def test_state_that_is_not_there():
    f = ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9)(x, is_training=False))
    raises(
        ps.errors.MissingStateError, "'average' of 'batch_norm/~/mean_ema'", "is_training", call=lambda: f.init(None, X)
    )
    g = ps.transform_with_state(lambda: ps.get_state("s", init=jnp.zeros))
    raises(ps.errors.MissingStateError, "shape is None", call=lambda: g.init(None))


def test_state_without_a_place():
    f = ps.transform(lambda x: ps.BatchNorm(True, True, 0.9)(x, is_training=True))
    raises(ps.errors.NonEmptyStateError, "batch_norm/~/mean_ema", "transform_with_state", call=lambda: f.init(None, X))


@pytest.mark.parametrize(
    "call",
    [
        lambda: ps.Linear(1),
        lambda: ps.get_parameter("w", []),
        lambda: ps.get_state("w"),
        lambda: ps.set_state("w", X),
        lambda: ps.next_rng_key(),
        lambda: ps.scan(lambda c, x: (c, x), 0, X),
        lambda: ps.purify(lambda: 0),
        lambda: ps.custom_getter(lambda n, v, c: n(v)),
        lambda: ps.name_scope("a"),
        lambda: ps.running_init(),
    ],
)
def test_outside_a_transform(call):
    raises(ps.errors.FrameError, "ps.transform", call=call)


def test_a_module_without_a_name():
    class Forgets(ps.Module):
        def __init__(self):
            pass

    class Late(ps.Module):
        def __init__(self):
            self.inner = ps.Linear(1)
            super().__init__()

    for cls in (Forgets, Late):
        raises(ps.errors.ModuleError, cls.__name__, "super().__init__", call=lambda: ps.transform(cls).init(None))


@pytest.mark.parametrize("name", ["1a", "a b", "a/b", "", "a:b"])
def test_names_that_are_none(name):
    f = ps.transform(lambda: ps.Linear(1, name=name)(X))
    if name:
        raises(ps.errors.ModuleNameError, repr(name), "identifier", call=lambda: f.init(jax.random.key(0)))


def test_a_numbered_name_twice():
    f = ps.transform(lambda: [ps.Linear(1, name="l_100")(X) for _ in range(2)])
    raises(ps.errors.ModuleNameError, "'l_100'", "name='l'", call=lambda: f.init(jax.random.key(0)))


def test_compiled_functions_are_not_transformed():
    raises(ps.errors.FrameError, "jax.jit(ps.transform(f).apply)", call=lambda: ps.transform(jax.jit(lambda: 0)))
    raises(ps.errors.ArgumentError, "function", call=lambda: ps.transform(3))


def test_batched_writes_under_vmap():
    f = ps.transform_with_state(lambda x: ps.vmap(lambda r: ps.set_state("last", r.sum()), split_rng=False)(x))
    raises(ps.errors.BatchedStateError, "~/last", "pmean", call=lambda: f.init(None, X))
    g = ps.transform(lambda x: ps.vmap(ps.Linear(1), split_rng=True)(x))
    raises(ps.errors.BatchedStateError, "linear/w", "split_rng=not ps.running_init()", call=lambda: g.init(0, X))
    raises(ps.errors.ArgumentError, "split_rng", call=lambda: ps.vmap(lambda x: x))


def test_vmap_with_nothing_to_map_needs_axis_size():
    call = lambda: ps.transform(lambda x: ps.vmap(lambda x: x, in_axes=None, split_rng=False)(x)).apply({}, None, X)
    raises(ps.errors.MappingError, "axis_size", call=call)
    f = ps.transform(lambda x: ps.vmap(lambda x: x, in_axes=None, axis_size=4, split_rng=False)(x))
    assert f.apply({}, None, X).shape == (4, 2, 3)


def test_loops_that_make_variables():
    f = ps.transform(
        lambda x: ps.scan(lambda c, x: (c, ps.Linear(1)(x) if isinstance(x, jax.core.Tracer) else x[:1]), 0, x)
    )
    raises(ps.errors.NewVariableError, "linear/w", call=lambda: f.init(jax.random.key(0), X))
    g = ps.transform(lambda x: ps.while_loop(lambda x: True, ps.Linear(3), x))
    raises(ps.errors.LoopError, "running_init", call=lambda: g.init(jax.random.key(0), X))


def test_every_error_is_ours_and_catchable_as_haikus():
    for name in ps.errors.__all__:
        cls = getattr(ps.errors, name)
        assert issubclass(cls, (ps.errors.PurestateError, ps.errors.PurestateWarning))
        assert cls.__doc__
        if name != "PurestateError":
            assert issubclass(cls, (UserWarning, ValueError, TypeError, AttributeError, AssertionError, ImportError)), (
                name
            )
