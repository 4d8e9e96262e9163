"""State that `apply` needs and was not given; one parameter asked for in two ways."""

import warnings

import jax
import jax.numpy as jnp
import pytest

import purestate as ps

X = jnp.arange(8.0).reshape(4, 2)


def norm(x, is_training=True):
    return ps.BatchNorm(True, True, 0.9)(x, is_training)


F = ps.transform_with_state(norm)
PARAMS, STATE = F.init(None, X)
WITHOUT_MODULE = {path: bundle for path, bundle in STATE.items() if "var_ema" not in path}
WITHOUT_ENTRY = {
    **STATE,
    "batch_norm/~/mean_ema": {"average": STATE["batch_norm/~/mean_ema"]["average"]},
}


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize(
    ("state", "words"),
    [
        (WITHOUT_MODULE, "'counter' of 'batch_norm/~/var_ema'.*no module"),
        (WITHOUT_ENTRY, "'counter' of 'batch_norm/~/mean_ema'.*has 'average'"),
    ],
    ids=["module", "entry"],
)
def test_a_missing_entry_is_an_error_where_there_is_state(wrap, state, words):
    with pytest.raises(ps.errors.MissingStateError, match=words):
        wrap(F.apply)(PARAMS, state, None, X)
    with (
        ps.config.context(new_state="warn"),
        pytest.warns(ps.errors.EmptyStateWarning, match="counter"),
    ):
        wrap(lambda *args: F.apply(*args))(PARAMS, state, None, X)
    with ps.config.context(new_state="off"):
        _, new = wrap(lambda *args: F.apply(*args))(PARAMS, state, None, X)
    assert jax.tree.structure(new) == jax.tree.structure(STATE)


@pytest.mark.parametrize(
    "state",
    [{}, {"batch_norm/~/mean_ema": {}, "batch_norm/~/var_ema": {}}],
    ids=["empty", "hollow"],
)
def test_an_empty_state_warns_once_and_names_what_was_made(state):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, new = jax.jit(F.apply)(PARAMS, state, None, X)
    assert [w.category for w in caught] == [ps.errors.EmptyStateWarning]
    for name in ("mean_ema/counter", "mean_ema/hidden", "var_ema/counter", "var_ema/hidden"):
        assert f"'batch_norm/~/{name}'" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert jax.tree.structure(new) == jax.tree.structure(STATE)
    with ps.config.context(new_state="off"):
        F.apply(PARAMS, {}, None, X)


def test_none_begins_anew_and_programs_without_state_say_nothing():
    _, new = F.apply(PARAMS, None, None, X)
    assert jax.tree.structure(new) == jax.tree.structure(STATE)
    g = ps.transform_with_state(lambda x: ps.Linear(2)(x))
    params, state = g.init(0, X)
    assert g.apply(params, state, None, X)[1] == {}
    # Setting a new entry is no loss: nothing was read in its place.
    h = ps.transform_with_state(lambda x: ps.set_state("last", x))
    assert list(h.apply({}, {}, None, X)[1]["~"]) == ["last"]
    assert list(h.apply({}, {"other": {"n": X}}, None, X)[1]) == ["other", "~"]


def test_variables_of_other_collections_too():
    def f():
        return ps.variable("counts", "n", [], jnp.int32, init=jnp.zeros).value

    pair = ps.transform_with_state(f)
    with pytest.raises(ps.errors.MissingStateError, match="'n' of '~'"):
        pair.apply({}, {"m": {"k": X}}, None)


ASKS = {
    "float, int": (jnp.float32, jnp.int32, True),
    "int, bool": (jnp.int32, bool, True),
    "complex, float": (jnp.complex64, jnp.float32, True),
    "default, int": (None, jnp.uint8, True),
    "two floats": (jnp.float32, jnp.bfloat16, False),
    "default, float": (None, jnp.float32, False),
    "two ints": (jnp.int32, jnp.uint8, False),
    "the same": (jnp.int32, "int32", False),
}


@pytest.mark.parametrize("ask", ASKS)
def test_one_name_is_one_kind_of_number(ask):
    first, second, is_wrong = ASKS[ask]

    def f():
        a = ps.get_parameter("w", [2], first, init=jnp.ones)
        return a, ps.get_parameter("w", [2], second, init=jnp.ones)

    pair = ps.transform(f)
    params = ps.transform(lambda: ps.get_parameter("w", [2], first, init=jnp.ones)).init(None)
    for run in (
        lambda: pair.init(None),
        lambda: pair.apply(params, None),
        lambda: jax.jit(pair.apply)(params, None),
    ):
        if is_wrong:
            with pytest.raises(ps.errors.DtypeMismatchError, match="'w' of '~'.*in one run"):
                run()
        else:
            run()


def test_one_name_is_one_shape():
    def f():
        ps.get_parameter("w", [2], init=jnp.ones)
        ps.get_parameter("w", [3], init=jnp.ones)

    pair = ps.transform(f)
    for run in (lambda: pair.init(None), lambda: pair.apply({"~": {"w": jnp.ones([2])}}, None)):
        with pytest.raises(
            ps.errors.ShapeMismatchError, match=r"'w' of '~' has shape \(2,\), but \(3,\)"
        ):
            run()


def test_the_same_name_in_another_module_is_another_parameter():
    def f(x):
        return ps.Linear(2)(x), ps.get_parameter("w", [2], jnp.int32, init=jnp.ones), ps.Bias()(x)

    ps.transform(f).init(0, X)


def test_params_and_state_in_each_others_place():
    with pytest.raises(
        ps.errors.MissingParameterError, match="params and state in each other's place"
    ):
        ps.transform_with_state(lambda x: ps.get_parameter("n", [], init=jnp.zeros) + x).apply(
            {}, {"~": {"n": jnp.zeros([])}}, None, X
        )


WRONG_ORDER = {
    "state forgotten": (
        lambda: F.apply(PARAMS, jax.random.key(0), X),
        "`state` was expected.*got an array of shape",
    ),
    "params as key": (
        lambda: F.apply(jax.random.key(0), PARAMS, STATE, X),
        "`params` was expected",
    ),
    "input as key": (lambda: F.apply(PARAMS, STATE, X), "`rng` was expected to be a random key"),
    "init without key": (
        lambda: F.init(X),
        r"`rng` was expected.*Expected init\(rng, ...\), got init\(an array",
    ),
}


@pytest.mark.parametrize("case", WRONG_ORDER)
def test_arguments_in_the_wrong_order_are_told_as_expected_and_got(case):
    run, words = WRONG_ORDER[case]
    with pytest.raises(ps.errors.PurestateError, match=words) as caught:
        run()
    text = str(caught.value)
    assert "Expected " in text
    assert ", got " in text
    assert "[[" not in text, "no dump of arrays"
