"""`lift`, `lift_with_state` and the transparent ones: dm-haiku's bits, whose variables are whose, errors."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import check, normal

KEY = jax.random.key(3)
X = normal(2, 3)


def ensemble(lib, x):
    inner = lib.transform(lambda x: lib.nets.MLP([4, 3])(x))
    keys = lib.next_rng_keys(5) if lib.running_init() else None
    params = lib.lift(jax.vmap(inner.init, in_axes=(0, None)), name="ensemble")(keys, x)
    return jax.vmap(inner.apply, in_axes=(0, None, None))(params, None, x), lib.Linear(3)(x)


def batch_norm(lib, x):
    inner = lib.transform_with_state(
        lambda x: lib.BatchNorm(True, True, 0.9)(lib.Linear(3)(x), is_training=True)
    )
    variables, updater = lib.lift_with_state(inner.init, name="inner")
    out, state = inner.apply(*variables(lib.maybe_next_rng_key(), x), None, x)
    updater.update(state)
    return out


def transparent(lib, x):
    inner = lib.transform(lambda x: lib.Linear(3, name="within")(x))
    params = lib.transparent_lift(inner.init)(lib.maybe_next_rng_key(), x)
    return inner.apply({"within": params["within"]}, None, x) + lib.Linear(3)(x)


def transparent_with_state(lib, x):
    inner = lib.transform_with_state(lambda x: lib.BatchNorm(True, True, 0.9)(x, is_training=True))
    variables, updater = lib.transparent_lift_with_state(inner.init)
    out, state = inner.apply(*variables(lib.maybe_next_rng_key(), x), None, x)
    updater.update(state)
    return out


def within(lift_it):
    def run(lib, x):
        class Outer(lib.Module):
            def __call__(self, x):
                return lift_it(lib, x)

        return Outer()(lib.Linear(3)(x))

    return run


def one_in_another(lib, x):
    inner = lib.transform(lambda x: lib.Linear(3)(x))

    def middle(x):
        return inner.apply(lib.lift(inner.init, name="inner")(lib.maybe_next_rng_key(), x), None, x)

    outer = lib.transform(middle)
    return outer.apply(lib.lift(outer.init, name="outer")(lib.maybe_next_rng_key(), x), None, x)


def twice(lib, x):
    inner = lib.transform(lambda x: lib.Linear(3)(x))
    for _ in range(2):
        x = inner.apply(lib.lift(inner.init)(lib.maybe_next_rng_key(), x), None, x)
    return x


def shared(lib, x):
    inner = lib.transform(lambda x: lib.Linear(3)(x))
    params = lib.transparent_lift(inner.init, allow_reuse=True)
    for _ in range(2):
        x = inner.apply(params(lib.maybe_next_rng_key(), x), None, x)
    return x


ROWS = {
    "ensemble": ensemble,
    "batch_norm": batch_norm,
    "transparent": transparent,
    "transparent_with_state": transparent_with_state,
    "ensemble_in_a_module": within(ensemble),
    "batch_norm_in_a_module": within(batch_norm),
    "transparent_in_a_module": within(lambda lib, x: transparent_with_state(lib, x)),
    "one_in_another": one_in_another,
    "twice": twice,
    "shared": shared,
}


@pytest.mark.parametrize("name", ROWS)
def test_same_bits_as_haiku(name):
    check(ROWS[name], X)


def names(run, x=X):
    params, state = jax.eval_shape(ps.transform_with_state(lambda x: run(ps, x)).init, KEY, x)
    return {
        module: jax.tree.map(lambda leaf: leaf.shape, params[module]) for module in params
    }, sorted(state)


def test_names_and_shapes():
    assert names(ensemble)[0] == {
        "ensemble/mlp/~/linear_0": {"w": (5, 3, 4), "b": (5, 4)},
        "ensemble/mlp/~/linear_1": {"w": (5, 4, 3), "b": (5, 3)},
        "linear": {"w": (3, 3), "b": (3,)},
    }
    assert sorted(names(twice)[0]) == ["lifted/linear", "lifted_1/linear"]
    assert sorted(names(shared)[0]) == ["linear"]
    assert sorted(names(within(transparent_with_state))[0]) == ["linear", "outer/batch_norm"]
    assert names(within(batch_norm))[1] == [
        "outer/inner/batch_norm/~/mean_ema",
        "outer/inner/batch_norm/~/var_ema",
    ]
    assert sorted(names(one_in_another)[0]) == ["outer/inner/linear"]


def test_members_of_an_ensemble_differ_and_are_the_model_by_itself():
    f, member = (
        ps.transform(lambda x: ensemble(ps, x)),
        ps.transform(lambda x: ps.nets.MLP([4, 3])(x)),
    )
    params = f.init(KEY, X)
    outs, _ = f.apply(params, None, X)
    own = {path.removeprefix("ensemble/"): p for path, p in params.items() if path != "linear"}
    for i, out in enumerate(outs):
        by_itself = member.apply(jax.tree.map(lambda leaf, i=i: leaf[i], own), None, X)
        np.testing.assert_allclose(out, by_itself, rtol=1e-5, atol=1e-6)
    assert len({np.asarray(out).tobytes() for out in outs}) == 5


def counter(lib, updated):
    def count():
        n = ps.get_state("n", [], jnp.int32, init=jnp.zeros)
        ps.set_state("n", n + 1)
        return n

    inner = ps.transform_with_state(count)

    def f():
        variables, updater = ps.lift_with_state(inner.init)
        out, state = inner.apply(*variables(None), None)
        if updated:
            updater.update(state)
        else:
            updater.ignore_update()
        return out

    return ps.transform_with_state(f)


@pytest.mark.parametrize(("updated", "expected"), [(True, [0, 1, 2]), (False, [0, 0, 0])])
def test_state_is_taken_back_or_left(updated, expected):
    f = counter(ps, updated)
    params, state = f.init(None)
    assert int(state["lifted/~"]["n"]) == 0
    outs = []
    for _ in range(3):
        out, state = f.apply(params, state, None)
        outs.append(int(out))
    assert outs == expected


def run(f, lib=ps):
    return lib.transform_with_state(f).init(KEY)


LINEAR = ps.transform(lambda x: ps.Linear(3)(x))
STATEFUL = ps.transform_with_state(lambda x: ps.BatchNorm(True, True, 0.9)(x, is_training=True))


def taken(lib):
    inner = lib.transform(lambda x: lib.Linear(3)(x))
    lib.Linear(3)(X)
    lib.transparent_lift(inner.init)(lib.next_rng_key(), X)


def stateful(lib):
    inner = lib.transform_with_state(lambda x: lib.Linear(3)(x))
    lib.lift(inner.init)(lib.next_rng_key(), X)


def forgotten(lib):
    inner = lib.transform_with_state(lambda x: lib.Linear(3)(x))
    variables, _ = lib.lift_with_state(inner.init, name="inner")
    variables(lib.next_rng_key(), X)


def used_twice(lib):
    _, updater = lib.lift_with_state(lib.transform_with_state(lambda: None).init)
    updater.ignore_update()
    updater.update({})


def made_outside(lib):
    layer = lib.Linear(3)
    lib.transparent_lift(lib.transform(lambda x: layer(x)).init)(lib.next_rng_key(), X)


@pytest.mark.parametrize(
    ("broken", "error", "words"),
    [
        (taken, "LiftError", r"'linear' into the params.*allow_reuse=True"),
        (stateful, "NonEmptyStateError", r"ps\.lift_with_state"),
        (
            forgotten,
            "LiftError",
            r"'inner' was not taken back.*updater\.update\(state\).*ignore_update",
        ),
        (used_twice, "LiftError", "'lifted' was used already"),
        (made_outside, "ModuleError", "linear"),
    ],
)
def test_errors(broken, error, words):
    with pytest.raises(getattr(ps.errors, error), match=words):
        run(lambda: broken(ps))
    with pytest.raises(ValueError):  # what dm-haiku raises, so that what catches it goes on to
        run(lambda: broken(hk), hk)
    assert issubclass(getattr(ps.errors, error), ValueError)


def test_an_updater_of_another_run():
    kept = []

    def first():
        updater = ps.lift_with_state(STATEFUL.init)[1]
        kept.append(updater)
        updater.assert_used()

    with pytest.raises(ps.errors.LiftError, match="not taken back"):
        run(first)
    with pytest.raises(ps.errors.LiftError, match="another run of init or apply"):
        run(lambda: kept[0].update({}))


@pytest.mark.parametrize(
    "name", ["lift", "lift_with_state", "transparent_lift", "transparent_lift_with_state"]
)
def test_outside_a_transform(name):
    with pytest.raises(ps.errors.FrameError, match=f"ps.{name}"):
        getattr(ps, name)(LINEAR.init)


def test_values_of_an_inner_trace_do_not_get_out():
    """Lifting inside of a JAX transform would put tracers into the parameters."""

    def f(x):
        params, key = ps.lift(LINEAR.init), ps.next_rng_key()
        return jax.jit(lambda x: LINEAR.apply(params(key, x), None, x))(x)

    with pytest.raises(ps.errors.JaxUsageError, match="lifted/linear.*plain JAX transform"):
        ps.transform(f).init(KEY, X)
