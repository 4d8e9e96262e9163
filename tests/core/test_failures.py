"""Errors of JAX and Python inside a run: they name the module and the call they come from, or stay as they are."""

import functools
import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jnp.ones([2, 3])


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
    f = ps.transform(lambda bias: ps.Linear(3, with_bias=True)(X) if bias else X)
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
