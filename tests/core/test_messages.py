"""Errors teach: who asked, for what, what was there, and what to write instead."""

import functools
import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
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
    words = [
        "'w' of 'mlp/~/linear_0'",
        "(3, 4)",
        "no module 'mlp/~/linear_0'",
        "'mlp/~/linear0/w'",
        "`init`",
    ]
    raises(ps.errors.MissingParameterError, *words, call=lambda: NET.apply(params, None, X))


def test_a_missing_parameter_lists_its_siblings(params):
    params["mlp/~/linear_1"]["W"] = params["mlp/~/linear_1"].pop("w")
    words = ["'mlp/~/linear_1' has 'b', 'W'", "'mlp/~/linear_1/W'"]
    raises(ps.errors.MissingParameterError, *words, call=lambda: NET.apply(params, None, X))
    raises(ps.errors.MissingParameterError, "are empty", call=lambda: NET.apply({}, None, X))


def test_a_wrong_shape_shows_both(params):
    words = ["'w' of 'mlp/~/linear_0'", "(3, 4)", "(5, 4)"]
    raises(
        ps.errors.ShapeMismatchError, *words, call=lambda: NET.apply(params, None, jnp.ones([2, 5]))
    )


@pytest.mark.parametrize("bad", [None, "abc", 3.0, [1, 2]])
def test_an_initializer_that_makes_no_array(bad):
    f = ps.transform(lambda: ps.get_parameter("w", [], init=lambda s, d: bad))
    raises(
        ps.errors.VariableTypeError,
        "'w' of '~'",
        type(bad).__name__ if bad else "None",
        call=lambda: f.init(None),
    )


def test_arguments_in_the_wrong_order(params):
    f = ps.transform_with_state(lambda x: ps.Linear(1)(x))
    error = raises(
        ps.errors.ArgumentError,
        "apply(params, state, rng",
        "(2, 3)",
        call=lambda: f.apply(X, params, None, X),
    )
    assert "1." not in str(error), "no dump of arrays"
    raises(
        ps.errors.InvalidRNGError,
        "apply(params, rng",
        "`rng` was expected",
        call=lambda: NET.apply(params, params, X),
    )


def test_no_initializer():
    f = ps.transform(lambda: ps.get_parameter("w", [3]))
    raises(
        ps.errors.MissingInitializerError, "'w' of '~'", "init=jnp.zeros", call=lambda: f.init(None)
    )
    raises(ps.errors.MissingParameterError, "'w' of '~'", call=lambda: f.apply({}, None))


def test_state_that_is_not_there():
    f = ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9)(x, is_training=False))
    raises(
        ps.errors.MissingStateError,
        "'average' of 'batch_norm/~/mean_ema'",
        "is_training",
        call=lambda: f.init(None, X),
    )
    g = ps.transform_with_state(lambda: ps.get_state("s", init=jnp.zeros))
    raises(ps.errors.MissingStateError, "shape is None", call=lambda: g.init(None))


def test_state_without_a_place():
    f = ps.transform(lambda x: ps.BatchNorm(True, True, 0.9)(x, is_training=True))
    raises(
        ps.errors.NonEmptyStateError,
        "batch_norm/~/mean_ema",
        "transform_with_state",
        call=lambda: f.init(None, X),
    )


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
        raises(
            ps.errors.ModuleError,
            cls.__name__,
            "super().__init__",
            call=lambda: ps.transform(cls).init(None),
        )


@pytest.mark.parametrize("name", ["1a", "a b", "a/b", "", "a:b"])
def test_names_that_are_none(name):
    f = ps.transform(lambda: ps.Linear(1, name=name)(X))
    if name:
        raises(
            ps.errors.ModuleNameError,
            repr(name),
            "identifier",
            call=lambda: f.init(jax.random.key(0)),
        )


def test_a_numbered_name_twice():
    f = ps.transform(lambda: [ps.Linear(1, name="l_100")(X) for _ in range(2)])
    raises(ps.errors.ModuleNameError, "'l_100'", "name='l'", call=lambda: f.init(jax.random.key(0)))


def test_compiled_functions_are_not_transformed():
    raises(
        ps.errors.FrameError,
        "jax.jit(ps.transform(f).apply)",
        call=lambda: ps.transform(jax.jit(lambda: 0)),
    )
    raises(ps.errors.ArgumentError, "function", call=lambda: ps.transform(3))


def test_batched_writes_under_vmap():
    f = ps.transform_with_state(
        lambda x: ps.vmap(lambda r: ps.set_state("last", r.sum()), split_rng=False)(x)
    )
    raises(ps.errors.BatchedStateError, "~/last", "pmean", call=lambda: f.init(None, X))
    g = ps.transform(lambda x: ps.vmap(ps.Linear(1), split_rng=True)(x))
    raises(
        ps.errors.BatchedStateError,
        "linear/w",
        "split_rng=not ps.running_init()",
        call=lambda: g.init(0, X),
    )
    raises(ps.errors.ArgumentError, "split_rng", call=lambda: ps.vmap(lambda x: x))


def test_vmap_with_nothing_to_map_needs_axis_size():
    call = lambda: ps.transform(
        lambda x: ps.vmap(lambda x: x, in_axes=None, split_rng=False)(x)
    ).apply({}, None, X)
    raises(ps.errors.MappingError, "axis_size", call=call)
    f = ps.transform(lambda x: ps.vmap(lambda x: x, in_axes=None, axis_size=4, split_rng=False)(x))
    assert f.apply({}, None, X).shape == (4, 2, 3)


def test_loops_that_make_variables():
    f = ps.transform(
        lambda x: ps.scan(
            lambda c, x: (c, ps.Linear(1)(x) if isinstance(x, jax.core.Tracer) else x[:1]), 0, x
        )
    )
    raises(ps.errors.NewVariableError, "linear/w", call=lambda: f.init(jax.random.key(0), X))
    g = ps.transform(lambda x: ps.while_loop(lambda x: True, ps.Linear(3), x))
    raises(ps.errors.LoopError, "running_init", call=lambda: g.init(jax.random.key(0), X))


def drawn():
    """The tree that the module draws: each class, what it is below, and the builtins in brackets."""
    above = {}
    for line in ps.errors.__doc__.splitlines():
        found = re.match(r"    ([│├└─ ]*)(\w+)(?: +\(([\w, ]+)\))?(  .*)?$", line)
        if found is None or not found[2].endswith(("Error", "Warning")):
            continue
        depth = len(found[1]) // 4
        above[depth] = found[2]
        builtins = found[3].split(", ") if found[3] and found[2] != "CallError" else []
        yield found[2], above[depth - 1] if depth else None, builtins


def test_the_tree_is_as_it_is_drawn():
    rows = {name: (above, builtins) for name, above, builtins in drawn()}
    assert sorted(rows) == sorted(ps.errors.__all__)
    for name, (above, builtins) in rows.items():
        bases = [base.__name__ for base in getattr(ps.errors, name).__bases__]
        assert [above or "Exception", *builtins] == bases or (above, *builtins) == (None, *bases), (
            name
        )


def test_every_error_is_ours_and_catchable_as_haikus():
    for name in ps.errors.__all__:
        cls = getattr(ps.errors, name)
        assert issubclass(cls, (ps.errors.PurestateError, ps.errors.PurestateWarning))
        assert cls.__doc__
        if name not in ("PurestateError", "CallError"):
            assert issubclass(
                cls,
                (UserWarning, ValueError, TypeError, AttributeError, AssertionError, ImportError),
            ), name


# Which module failed


class Block(ps.Module):
    """Fails in one of several ways, asked for by name."""

    def __init__(self, fail=None, name=None):
        if fail == "before a name":
            raise ValueError("too early")
        super().__init__(name=name)
        if fail == "in init":
            raise ValueError("no")

    def __call__(self, x, fail):
        return fail(x)

    def encode(self, x, fail):
        return self(x["x"], fail)

    @property
    def size(self):
        raise ValueError("no size")


class Outer(ps.Module):
    def __init__(self, use, name=None):
        super().__init__(name=name)
        self.use = use

    def __call__(self, x):
        return self.use(x)


def wrong_dot(x):
    return x @ jnp.ones([7, 7])


def own_error(x):
    raise ps.errors.LayerError("`width` has to be 1, got 2.")


class Frozen(ValueError):
    def add_note(self, note):
        raise RuntimeError("no notes here")


def frozen_error(x):
    raise Frozen("mine")


def in_block(fail):
    return lambda x: Block()(x, fail)


def lifted(transform):
    return lambda x: transform(lambda x: Block()(x, wrong_dot))(x)


FAILS = {
    "error of JAX": (
        in_block(wrong_dot),
        TypeError,
        "`Block.__call__` of module 'outer/block', called with (float32[2,3], a function)",
    ),
    "a wrong call": (
        lambda x: Block()(x),
        TypeError,
        "`Block.__call__` of module 'outer/block', called with (float32[2,3])",
    ),
    "another method": (
        lambda x: Block().encode({"x": x}, fail=wrong_dot),
        TypeError,
        "`Block.__call__` of module 'outer/block', called with (float32[2,3], a function)",
    ),
    "a property": (
        lambda x: Block().size,
        ValueError,
        "`Block.size` of module 'outer/block', called with ()",
    ),
    "in init": (
        lambda x: Block("in init"),
        ValueError,
        "`Block.__init__` of module 'outer/block', called with ('in init')",
    ),
    "before a name": (
        lambda x: Block("before a name"),
        ValueError,
        "`Outer.__call__` of module 'outer', called with (float32[2,3])",
    ),
    "many arguments": (
        lambda x: Block()([x, x], None, 1, True, 0.5, "a text that goes on and on", last=x),
        TypeError,
        "`Block.__call__` of module 'outer/block', called with (a tree of 2 (float32[2,3], float32[2,3]), None, 1, True, 0.5, "
        "'a text that goes on ...', ...)",
    ),
    "within vmap": (
        lifted(functools.partial(ps.vmap, split_rng=False)),
        TypeError,
        "`Block.__call__` of module 'outer/block', called with (float32[3], a function)",
    ),
    "within remat": (
        lifted(ps.remat),
        TypeError,
        "`Block.__call__` of module 'outer/block', called with (float32[2,3], a function)",
    ),
    "within jit": (
        lifted(ps.jit),
        TypeError,
        "`Block.__call__` of module 'outer/block', called with (float32[2,3], a function)",
    ),
    "within scan": (
        lambda x: ps.scan(lambda c, x: (c, Block()(x, fail=wrong_dot)), 0, x),
        TypeError,
        "`Block.__call__` of module 'outer/block', called with (float32[3], fail=a function)",
    ),
    "an error of ours": (
        lambda x: Block()(x, lambda x: ps.Linear(3, name="inner")("no array")),
        ps.errors.LayerError,
        None,
    ),
}


@pytest.mark.parametrize("name", FAILS)
def test_an_error_names_the_innermost_module(name):
    use, kind, where = FAILS[name]
    with pytest.raises(kind) as caught:
        ps.transform(lambda x: Outer(use)(x)).init(jax.random.key(0), X)
    lines = [*str(caught.value).split("\n"), *getattr(caught.value, "__notes__", [])]
    assert [line for line in lines if "This came up" in line] == (
        [] if where is None else [f"This came up in {where}."]
    )
    is_ours = isinstance(caught.value, ps.errors.PurestateError)
    assert is_ours or "This came up" not in str(caught.value), (
        "an error of another library keeps its message"
    )


def test_an_error_of_ours_says_it_in_its_message():
    with pytest.raises(ps.errors.LayerError) as caught:
        ps.transform(lambda x: Outer(in_block(own_error))(x)).init(None, X)
    assert (
        str(caught.value)
        == "`width` has to be 1, got 2.\nThis came up in `Block.__call__` of module 'outer/block'."
    )
    assert not hasattr(caught.value, "__notes__")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_an_error_that_takes_no_notes_is_raised_as_it_is():
    with pytest.raises(Frozen, match="mine"):
        ps.transform(lambda x: Outer(in_block(frozen_error))(x)).init(None, X)


def test_an_error_outside_modules_and_one_that_is_caught_stay_as_they_are():
    kept = []

    def f(x):
        try:
            Block()(x, wrong_dot)
        except TypeError as error:
            kept.append(error)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="^mine$") as caught:
        ps.transform(f).init(None, X)
    assert not hasattr(caught.value, "__notes__")
    assert "'block'" in kept[0].__notes__[-1]


def test_the_end_of_the_program_is_not_touched():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        ps.transform(lambda x: Outer(in_block(interrupted))(x)).init(None, X)
    assert not hasattr(caught.value, "__notes__")


# What JAX and Python say of what purestate was given


class Unnamed(ps.Module):
    def __call__(self, x, is_training):
        return x


class NoShape:
    @property
    def shape(self):
        raise RuntimeError("no shape")


def misspelt(x):
    return {"weight": x}["wieght"]


CALLS = {
    # What is called, the builtin error that it is, the first words and the last line but for the place.
    "JAX cannot": (
        lambda x: ps.GRU(3)(x, x[:, :2]),
        TypeError,
        "dot_general requires",
        "It was called at",
    ),
    "numpy cannot": (
        lambda x: ps.dropout(ps.next_rng_key(), np.array("a"), x),
        TypeError,
        "ufunc",
        "`ps.dropout` was called at",
    ),
    "Python cannot": (
        lambda x: ps.GRU(None)(x, x),
        TypeError,
        "unsupported operand",
        "It was called at",
    ),
    "wrong arguments": (
        lambda x: Unnamed()(x),
        TypeError,
        "Unnamed.__call__() missing 1",
        "It was called at",
    ),
    "of a layer": (
        lambda x: ps.Linear(),
        TypeError,
        "Linear.__init__() missing 1",
        "It was called at",
    ),
    "a lifted function": (lambda x: ps.scan(3, x, x), TypeError, "", "`ps.scan` was called at"),
    "another carry": (
        lambda x: ps.scan(lambda c, x: (c.astype(int), x), x[0], x),
        TypeError,
        "scan body function carry",
        "`ps.scan` was called at",
    ),
    "of no device": (
        lambda x: ps.get_parameter("w", [2**40, 2], init=jnp.ones),
        jax.errors.JaxRuntimeError,
        "RESOURCE_EXHAUSTED",
        "`ps.get_parameter` was called at",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_cannot_be_done_with_what_was_given_is_an_error_of_ours(name):
    f, kind, first, last = CALLS[name]
    f = ps.transform(f)
    with pytest.raises(kind) as caught:
        f.apply(f.init(jax.random.key(0), X), jax.random.key(0), X)
    assert isinstance(caught.value, ps.errors.CallError)
    lines = str(caught.value).split("\n")
    assert lines[0].startswith(first)
    assert re.fullmatch(rf"{last} {re.escape(__file__)}:\d+\.", lines[-1])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (type(caught.value), str(caught.value))


def test_the_place_is_the_line_of_the_caller():
    def f(x):
        y = x + 1
        return ps.GRU(3)(y, y[:, :2])

    with pytest.raises(ps.errors.CallError, match=rf":{f.__code__.co_firstlineno + 2}\.$"):
        ps.transform(f).init(jax.random.key(0), X)


def test_wrong_arguments_of_the_transformed_function():
    with pytest.raises(
        ps.errors.CallError, match=r"missing 1 required .*\n.*was called with \(float32\[2,3\]\)"
    ) as caught:
        ps.transform(lambda x, y: x).init(None, X)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("f", "kind"),
    [
        (lambda x: misspelt(x), KeyError),
        (lambda x: x @ jnp.ones([7, 7]), TypeError),
        (lambda x: ps.vmap(lambda x: misspelt(x), split_rng=False)(x), KeyError),
        (lambda x: ps.Sequential([jnp.tanh, misspelt])(x), KeyError),
        (lambda x: ps.Linear(3, w_init=lambda s, d: misspelt(x))(x), KeyError),
    ],
)
def test_errors_of_the_users_own_code_stay_as_they_are(f, kind):
    with pytest.raises(kind) as caught:
        ps.transform(f).init(jax.random.key(0), X)
    assert type(caught.value) is kind


def test_the_classes_that_jax_has_for_itself_stay():
    f = ps.transform(lambda with_bias: ps.Linear(3, with_bias)(X))
    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        jax.jit(f.init)(jax.random.key(0), True)
    assert not isinstance(caught.value, ps.errors.PurestateError)


def test_it_can_be_caught_inside_as_what_it_was():
    def f(x):
        try:
            return ps.GRU(3)(x, x[:, :2])
        except TypeError:
            return ps.Linear(1)(x)

    assert list(ps.transform(f).init(jax.random.key(0), X)) == ["gru", "linear"]


def test_a_creator_may_know_what_to_do_with_any_dtype_and_initializer():
    def creator(next_creator, shape, dtype, init, context):
        return jnp.full(shape, len(dtype) + len(init))

    def f():
        with ps.custom_creator(creator):
            return ps.get_parameter("w", [2], "weird", init="marker")

    assert ps.transform(f).init(None)["~"]["w"].tolist() == [11, 11]


@pytest.mark.parametrize("get", [ps.get_parameter, ps.get_state])
@pytest.mark.parametrize(
    "dtype", [jax.random.key(0).dtype, jax.dtypes.prng_key, float, "bfloat16", np.int8]
)
def test_all_that_jax_takes_for_a_dtype(get, dtype):
    init = (
        jnp.zeros
        if dtype in (float, "bfloat16", np.int8)
        else lambda shape, dtype: jax.random.key(1)
    )
    params, state = ps.transform_with_state(lambda: get("w", (), dtype, init=init)).init(None)
    (value,) = jax.tree.leaves((params, state))
    assert value.dtype == init((), dtype).dtype


@pytest.mark.parametrize("value", [{1: X, "a": X}, NoShape(), [NoShape(), X]])
def test_what_cannot_be_outlined_hides_no_error(value):
    with pytest.raises(ps.errors.CallError, match="missing 1 required positional argument"):
        ps.transform(lambda x, y: x).init(None, value)
    with pytest.raises(ps.errors.ConfigError, match="one of 'error'"):
        ps.config.set(leaks=value)
