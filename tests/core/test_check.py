"""`ps.check` and `strict=True`: all that is wrong with what `apply` was given, at once."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jnp.ones([4, 5])


def forward(x, is_training=True):
    x = ps.nets.MLP([3, 3])(x)
    x = ps.BatchNorm(True, True, 0.9)(x, is_training)
    x = ps.layer_stack(2)(lambda x: x + ps.Linear(3, name="stacked")(x))(x)
    inner = ps.transform(lambda x: ps.Linear(2)(x))
    params = ps.lift(inner.init, name="inner")(ps.next_rng_key() if ps.running_init() else None, x)
    return inner.apply(params, None, x)


F = ps.transform_with_state(forward)
PARAMS, STATE = F.init(jax.random.key(0), X)


def renamed(bundle, module, old, new):
    bundle = copy.deepcopy(bundle)
    bundle[module][new] = bundle[module].pop(old)
    return bundle


def with_value(bundle, module, name, value):
    bundle = copy.deepcopy(bundle)
    bundle.setdefault(module, {})[name] = value
    return bundle


def without(bundle, module):
    return {path: variables for path, variables in bundle.items() if path != module}


def problems_of(f, *args, **kwargs):
    with pytest.raises(ps.errors.CheckError) as caught:
        ps.check(f)(*args, **kwargs)
    for problem in caught.value.problems:
        assert problem.message in str(caught.value)
    return {
        (problem.kind, problem.collection, problem.path): problem.message
        for problem in caught.value.problems
    }


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("rng", [None, 0])
def test_what_init_made_fits(is_training, rng):
    assert ps.check(F)(PARAMS, STATE, rng, X, is_training) is None
    _, state = F.apply(PARAMS, STATE, None, X)
    assert ps.check(F)(PARAMS, state, rng, X, is_training=is_training) is None


FAULTS = {
    "a missing module": (
        without(PARAMS, "mlp/~/linear_1"),
        STATE,
        {("missing", "params", "mlp/~/linear_1/w"), ("missing", "params", "mlp/~/linear_1/b")},
        "float32[3,3] is needed",
    ),
    "a misspelt parameter": (
        renamed(PARAMS, "mlp/~/linear_0", "w", "W"),
        STATE,
        {("missing", "params", "mlp/~/linear_0/w"), ("unknown", "params", "mlp/~/linear_0/W")},
        "Near it: 'mlp/~/linear_0/W'",
    ),
    "an unknown module": (
        with_value(PARAMS, "linear_7", "w", np.ones([2])),
        STATE,
        {("unknown", "params", "linear_7/w")},
        "float32[2]",
    ),
    "a wrong shape": (
        with_value(PARAMS, "inner/linear", "b", np.ones([7], np.float32)),
        STATE,
        {("shape", "params", "inner/linear/b")},
        "float32[7], but float32[2]",
    ),
    "a wrong dtype": (
        with_value(PARAMS, "batch_norm", "scale", np.ones([1, 3], np.int32)),
        STATE,
        {("dtype", "params", "batch_norm/scale")},
        "int32[1,3], but float32[1,3]",
    ),
    "a wrong number of layers": (
        jax.tree.map(
            lambda leaf: leaf[:1] if leaf.shape[0] == 2 and leaf.ndim == 3 else leaf, PARAMS
        ),
        STATE,
        {("shape", "params", f"{next(path for path in PARAMS if 'stack' in path)}/w")},
        "float32[1,3,3], but float32[2,3,3]",
    ),
    "misspelt state": (
        PARAMS,
        renamed(STATE, "batch_norm/~/mean_ema", "hidden", "hiden"),
        {
            ("missing", "state", "batch_norm/~/mean_ema/hidden"),
            ("unknown", "state", "batch_norm/~/mean_ema/hiden"),
        },
        "Near it: 'batch_norm/~/mean_ema/hiden'",
    ),
    "state of another shape": (
        PARAMS,
        with_value(STATE, "batch_norm/~/var_ema", "average", jnp.ones([5])),
        {("shape", "state", "batch_norm/~/var_ema/average")},
        "float32[5], but float32[1,3]",
    ),
    "an empty state": (
        PARAMS,
        {},
        {
            ("missing", "state", f"batch_norm/~/{which}_ema/{name}")
            for which in ("mean", "var")
            for name in ("counter", "hidden", "average")
        },
        "int32[] is needed",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told(fault):
    params, state, expected, words = FAULTS[fault]
    found = problems_of(F, params, state, None, X)
    assert set(found) == expected
    assert any(words in message for message in found.values()), found


def test_all_faults_are_told_at_once():
    params = renamed(PARAMS, "mlp/~/linear_0", "w", "W")
    params = with_value(params, "inner/linear", "b", np.ones([7], np.float32))
    params = with_value(params, "batch_norm", "scale", np.ones([1, 3], np.int32))
    state = renamed(STATE, "batch_norm/~/mean_ema", "hidden", "hiden")
    found = problems_of(F, params, state, None, X)
    assert sorted(kind for kind, *_ in found) == [
        "dtype",
        "missing",
        "missing",
        "shape",
        "unknown",
        "unknown",
    ]


def test_state_to_begin_anew_and_state_of_a_call_of_another_kind():
    assert ps.check(F)(PARAMS, None, None, X) is None
    # `hidden` is read in training alone: that it is there is no fault.
    assert ps.check(F)(PARAMS, STATE, None, X, False) is None
    found = problems_of(F, PARAMS, without(STATE, "batch_norm/~/mean_ema"), None, X, False)
    assert "average" in str(found)


def test_nothing_is_computed():
    ran = []

    def f(x):
        jax.debug.callback(lambda x: ran.append(x), x)
        return ps.Linear(2)(x)

    pair = ps.transform(f)
    params = {
        "linear": {
            "w": jax.ShapeDtypeStruct([5, 2], "float32"),
            "b": jax.ShapeDtypeStruct([2], "float32"),
        }
    }
    assert ps.check(pair)(params, None, jax.ShapeDtypeStruct([4, 5], "float32")) is None
    found = problems_of(pair, params, None, jnp.ones([4, 6]))
    assert found == {
        (
            "shape",
            "params",
            "linear/w",
        ): "params 'linear/w' has shape float32[5,2], but float32[6,2] is needed."
    }
    jax.effects_barrier()
    assert not ran


def test_state_that_drifts():
    def grows():
        ps.set_state(
            "seen", jnp.concatenate([ps.get_state("seen", [2], init=jnp.zeros), jnp.ones([3])])
        )
        ps.set_state("new", jnp.ones([]))

    f = ps.transform_with_state(grows)
    found = problems_of(
        f, {}, {"~": {"seen": jnp.zeros([2]), "new": jnp.zeros([], jnp.int32)}}, None
    )
    # What `init` makes first is float32[2], and float32[] for `new`, which is set in it.
    assert set(found) == {("dtype", "state", "~/new")} | {
        ("drift", "state", "~/seen"),
        ("drift", "state", "~/new"),
    }
    assert "float32[2], and `apply` makes float32[5]" in found["drift", "state", "~/seen"]


def test_every_kind_of_pair():
    without_state = ps.transform(lambda x: ps.Linear(2)(x))
    params = without_state.init(0, X)
    wrong = renamed(params, "linear", "w", "v")
    expected = {("missing", "params", "linear/w"), ("unknown", "params", "linear/v")}
    assert set(problems_of(without_state, wrong, None, X)) == expected
    assert set(problems_of(without_state.apply, wrong, None, X)) == expected
    assert set(problems_of(ps.without_apply_rng(without_state), wrong, X)) == expected
    assert set(problems_of(ps.with_empty_state(without_state), wrong, {}, None, X)) == expected
    collections = ps.transform_with_collections(forward)
    variables = collections.init(0, X)
    assert ps.check(collections)(variables, None, X, mutable=True) is None
    assert ps.check(collections)(variables, None, X, False) is None
    wrong = {
        **variables,
        "batch_stats": renamed(variables["batch_stats"], "batch_norm/~/mean_ema", "hidden", "h"),
    }
    found = problems_of(collections, wrong, None, X, mutable=True)
    assert ("missing", "batch_stats", "batch_norm/~/mean_ema/hidden") in found


def test_each_function_of_a_multi_transform():
    def f():
        encoder, decoder = ps.Linear(2, name="encoder"), ps.nets.MLP([5], name="decoder")
        return lambda x: decoder(encoder(x)), {"encode": encoder, "decode": decoder}

    pair = ps.multi_transform(f)
    params = pair.init(0, X)
    checks = ps.check(pair)
    assert checks["encode"](params, None, X) is None
    assert checks["decode"](params, None, jnp.ones([4, 2])) is None
    with pytest.raises(ps.errors.CheckError, match="encoder/w"):
        checks["encode"](without(params, "encoder"), None, X)
    with pytest.raises(ps.errors.CheckError, match="other/w"):
        checks["decode"](with_value(params, "other", "w", X), None, jnp.ones([4, 2]))


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_strict_transforms_check_what_they_are_given(wrap):
    for f, args, wrong in (
        (
            ps.transform_with_state(forward, strict=True),
            (PARAMS, STATE),
            (FAULTS["an unknown module"][0], STATE),
        ),
        (
            ps.transform_with_state(forward, strict=True),
            (PARAMS, STATE),
            FAULTS["state of another shape"][:2],
        ),
    ):
        np.testing.assert_array_equal(wrap(f.apply)(*args, None, X)[0], F.apply(*args, None, X)[0])
        with pytest.raises(ps.errors.CheckError):
            wrap(f.apply)(*wrong, None, X)
    g = ps.transform(lambda x: ps.Linear(2)(x), strict=True)
    params = g.init(0, X)
    wrap(g.apply)(params, None, X)
    with pytest.raises(ps.errors.CheckError, match="int32"):
        wrap(g.apply)(jax.tree.map(lambda leaf: leaf.astype(jnp.int32), params), None, X)
    h = ps.transform_with_collections(forward, strict=True)
    variables = h.init(0, X)
    wrap(lambda *args: h.apply(*args, False))(variables, None, X)
    with pytest.raises(ps.errors.CheckError, match="linear_7"):
        wrap(lambda *args: h.apply(*args, False))(
            {**variables, "params": FAULTS["an unknown module"][0]}, None, X
        )
    _, apply = ps.multi_transform(lambda: (ps.Bias(name="b"), ps.Bias(name="b")), strict=True)
    with pytest.raises(ps.errors.CheckError, match="'b_1/b' is missing"):
        wrap(apply)({}, None, X)


def test_what_creators_make_is_what_is_needed():
    def halved(next_creator, shape, dtype, init, context):
        return next_creator(shape, jnp.bfloat16, init)

    def f(x):
        with ps.custom_creator(halved):
            return ps.Linear(2)(x)

    pair = ps.transform(f)
    assert ps.check(pair)(pair.init(0, X), None, X) is None


def test_a_long_list_is_cut_in_the_message_alone():
    pair = ps.transform(lambda x: ps.nets.MLP([2] * 60)(x))
    with pytest.raises(
        ps.errors.CheckError, match=r"Found 120 problems[\s\S]*and 80 more"
    ) as caught:
        ps.check(pair)({}, None, X)
    assert len(caught.value.problems) == 120
    copied = pickle.loads(pickle.dumps(caught.value))
    assert copied.problems == caught.value.problems
    assert str(copied) == str(caught.value)


def test_what_is_no_pair_and_what_is_no_tree():
    for wrong, name in ((3, "an int"), (None, "None"), ("text", "a str"), ({}, "a dict")):
        with pytest.raises(ps.errors.ArgumentError, match=f"but got {name}"):
            ps.check(wrong)
    with pytest.raises(ps.errors.ArgumentError, match="expected"):
        ps.check(F)(X, STATE, None, X)
    problems = problems_of(
        ps.transform(lambda x: ps.Linear(2)(x)), {"linear": 3, "other": None}, None, X
    )
    assert ("missing", "params", "linear/w") in problems


@pytest.mark.one_in(3)
@pytest.mark.parametrize("given", [(None, None), ({}, {}), ({"linear": {"w": X}}, None)])
def test_no_tracer_outlives_it(given):
    f = ps.transform_with_state(forward)
    with jax.checking_leaks(), pytest.raises(ps.errors.CheckError):
        ps.check(f)(*given, None, X)
    variables = f.init(jax.random.key(0), X)
    with jax.checking_leaks():
        ps.check(f)(*variables, None, X)
