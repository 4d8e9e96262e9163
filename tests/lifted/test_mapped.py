"""What `vmap`, `scan` and `shard_map` share: slices of variables, and how writes leave them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import purestate as ps
from purestate._core.frame import get_frame
from purestate._core.sown import Reduced
from purestate._lifted.collection_modes import Modes
from purestate._lifted.lift_frame import Lifted
from purestate._lifted.mapped import (
    MappedAxis,
    elements,
    pack,
    run_mapped,
    sown_by_runs,
    unpack,
    with_own,
)
from purestate._lifted.snapshot import Snapshot, take_snapshot
from tests.core.raises import raises

N = 3
X = jnp.arange(1.0, N + 1)
KEY = jax.random.key(0)


def by_vmap(f, x, **collections):
    return ps.vmap(f, split_rng=False, collections=collections)(x)


def by_scan(f, x, **collections):
    return ps.scan(lambda c, x: (c, f(x)), None, x, collections=collections)[1]


def by_shard_map(f, x, **collections):
    """On one device, which holds all: a shard is one run."""
    mesh = jax.make_mesh((1,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))
    return ps.shard_map(f, mesh=mesh, in_specs=P("i"), out_specs=P("i"), collections=collections)(x)


MAPS = {"vmap": by_vmap, "scan": by_scan}
ALL = {**MAPS, "shard_map": by_shard_map}


def apply(f, variables, *args, mutable=("state", "cache")):
    pair = ps.transform_with_collections(f)
    return pair.apply(variables, None, *args, mutable=mutable)


def bundle(**values):
    return {"~": values}


# --- which variables are sliced ---


@pytest.mark.parametrize("by", MAPS)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_each_run_reads_its_slice(by, axis):
    w = jnp.arange(12.0).reshape(N, 4) if axis == 0 else jnp.arange(12.0).reshape(4, N)

    def f(x):
        return MAPS[by](lambda x: x * ps.get_parameter("w", [4]), x, params=axis)

    out, _ = apply(f, {"params": bundle(w=w)}, X)
    np.testing.assert_array_equal(out, X[:, None] * jnp.moveaxis(w, axis, 0))


@pytest.mark.parametrize("by", MAPS)
def test_a_variable_that_no_run_reads_may_have_any_shape(by):
    def f(x):
        return MAPS[by](lambda x: x * ps.get_parameter("w", []), x, params=0)

    out, _ = apply(f, {"params": bundle(w=X, scalar=jnp.ones([]), other=jnp.ones([7]))}, X)
    np.testing.assert_array_equal(out, X * X)


@pytest.mark.parametrize("by", MAPS)
def test_a_variable_that_is_set_before_it_is_read_has_no_slices(by):
    """It is new in each run, whatever was there."""

    def one(x):
        ps.set_variable("cache", "c", jnp.full([2], x))
        return ps.get_variable("cache", "c")

    out, updated = apply(
        lambda x: MAPS[by](one, x, cache=0), {"cache": bundle(c=jnp.zeros([7]))}, X
    )
    np.testing.assert_array_equal(out, np.stack([X, X], 1))
    np.testing.assert_array_equal(updated["cache"]["~"]["c"], out)


@pytest.mark.parametrize("by", MAPS)
def test_a_slice_is_read_written_and_stacked_again(by):
    def one(x):
        c = ps.get_variable("cache", "c")
        ps.set_variable("cache", "c", c + x)
        return c

    out, updated = apply(lambda x: MAPS[by](one, x, cache=0), {"cache": bundle(c=10 * X)}, X)
    np.testing.assert_array_equal(out, 10 * X)
    np.testing.assert_array_equal(updated["cache"]["~"]["c"], 11 * X)


@pytest.mark.parametrize("outer", MAPS)
@pytest.mark.parametrize("inner", MAPS)
def test_a_map_in_a_map_slices_twice(outer, inner):
    w = jnp.arange(6.0).reshape(2, N)
    x = jnp.ones([2, N])

    def f(x):
        one = lambda x: x * ps.get_parameter("w", [])
        return MAPS[outer](lambda x: MAPS[inner](one, x, params=0), x, params=0)

    out, _ = apply(f, {"params": bundle(w=w)}, x)
    np.testing.assert_array_equal(out, w)


def test_a_loop_without_steps_takes_no_slice():
    def f(x):
        return by_scan(lambda x: x * ps.get_parameter("w", []), x, params=0)

    out, _ = apply(f, {"params": bundle(w=jnp.zeros([0]))}, jnp.zeros([0]))
    assert out.shape == (0,)


@pytest.mark.parametrize("by", MAPS)
def test_too_few_axes_are_an_error(by):
    def f(x):
        return MAPS[by](lambda x: x * ps.get_parameter("w", []), x, params=1)

    with pytest.raises(ps.errors.VariableError, match=f"'~/w'.*`ps.{by}` along axis 1"):
        apply(f, {"params": bundle(w=X)}, X)


# --- how writes leave ---

MODES = {
    "mean": np.mean,
    "sum": np.sum,
    "max": np.max,
    "min": np.min,
    "first": lambda values: values[0],
}


@pytest.mark.parametrize("by", MAPS)
@pytest.mark.parametrize("mode", MODES)
def test_writes_that_differ_are_combined(by, mode):
    def one(x):
        ps.set_state("n", ps.get_state("n") + x)

    _, updated = apply(
        lambda x: MAPS[by](one, x, state=mode), {"state": bundle(n=jnp.float32(10))}, X
    )
    assert updated["state"]["~"]["n"] == MODES[mode](np.asarray(10 + X))


def test_a_write_that_does_not_differ_needs_no_combining():
    """An int32 has no 'mean' that is an int32, but a counter counts alike in each element."""

    def one(x):
        ps.set_state("count", ps.get_state("count") + 1)
        return x

    _, updated = apply(
        lambda x: by_vmap(one, x, state="mean"), {"state": bundle(count=jnp.int32(4))}, X
    )
    assert updated["state"]["~"]["count"] == 5
    assert updated["state"]["~"]["count"].dtype == jnp.int32


def test_the_error_names_all_that_differ_and_what_to_write():
    def one(x):
        ps.set_state("a", x)
        ps.set_variable("cache", "b", x)

    given = {"state": bundle(a=jnp.float32(0)), "cache": bundle(b=jnp.float32(0))}
    with pytest.raises(
        ps.errors.BatchedStateError,
        match=r"'~/a' \(collection 'state'\), '~/b' \(collection 'cache'\).*collections=\{'state'",
    ):
        apply(lambda x: by_vmap(one, x), given, X)


@pytest.mark.parametrize("by", ALL)
def test_broadcast_may_not_be_written(by):
    def one(x):
        ps.set_state("n", jnp.float32(1))
        return x

    given = {"state": bundle(n=jnp.float32(0))}
    with pytest.raises(
        ps.errors.CollectionModeError, match=f"Inside `ps.{by}`, '~/n' .*'broadcast'"
    ):
        apply(lambda x: ALL[by](one, x, state="broadcast"), given, X)


@pytest.mark.parametrize("by", ALL)
@pytest.mark.parametrize("style", [ps.transform_with_state, ps.transform_with_collections])
@pytest.mark.parametrize("rng_mode", ["sequence", "path"])
def test_init_makes_what_is_broadcast(by, style, rng_mode):
    def one(x):
        return ps.Linear(2)(x) * ps.get_state("scale", [], init=jnp.ones)

    def f(x, **modes):
        return ALL[by](one, x, **modes)

    x = jnp.ones([N, 1, 3])
    modes = {"params": "broadcast", "state": "broadcast"}
    plain, told = (
        style(lambda x, modes=modes: f(x, **modes), rng_mode=rng_mode) for modes in ({}, modes)
    )
    variables = told.init(KEY, x)
    assert len(jax.tree.leaves(variables)) == 3
    jax.tree.map(np.testing.assert_array_equal, variables, plain.init(KEY, x))
    args = variables if style is ps.transform_with_state else (variables,)
    np.testing.assert_array_equal(told.apply(*args, None, x)[0], plain.apply(*args, None, x)[0])


@pytest.mark.parametrize("by", ALL)
def test_what_is_broadcast_may_not_be_set_when_it_is_made(by):
    def one(x):
        n = ps.get_state("n", [], init=jnp.zeros)
        ps.set_state("n", n + 1)
        return x

    f = ps.transform_with_state(lambda x: ALL[by](one, x, state="broadcast"))
    for x in X, X[:1]:  # a single run, too
        with pytest.raises(ps.errors.CollectionModeError, match=f"Inside `ps.{by}`, '~/n' "):
            f.init(KEY, x)


def test_what_is_broadcast_may_not_differ_when_it_is_made():
    f = ps.transform_with_state(
        lambda x: by_vmap(
            lambda x: x + ps.get_state("n", [], init=lambda *_: x), x, state="broadcast"
        )
    )
    with pytest.raises(ps.errors.BatchedStateError, match="'~/n'"):
        f.init(KEY, X)


@pytest.mark.parametrize("by", ALL)
def test_what_is_read_outside_and_inside_is_one_variable(by):
    def f(x):
        before = ps.get_state("n")
        out = ALL[by](lambda x: x + ps.get_state("n"), x)
        return before, out

    (before, out), _ = apply(f, {"state": bundle(n=jnp.float32(5))}, X)
    assert before == 5
    np.testing.assert_array_equal(out, X + 5)


# --- the steps of the recipe ---


class Axis(MappedAxis):
    """Two runs, one after the other, of which the values with axes differ."""

    transform = "ps.vmap"
    fix = "somehow"
    stacks = True
    index = None

    def look(self, run):
        return lambda before, *args: [None, run(before, *args)][0]

    def size(self):
        return 2

    def run(self, body, own, args):
        def one(i):
            slices = {a: jax.tree.map(lambda x: x.take(i, a), part) for a, part in own.items()}
            return body(take_snapshot(get_frame("")), slices, *args)

        return jax.tree.map(lambda *both: jnp.stack(both), one(0), one(1))

    def differs(self, store, value):
        return value.ndim > 0

    def why(self, names):
        return f"{names} differ."

    def own(self, value, axis):
        return value + axis

    def combined(self, mode, value):
        return {"mean": -value}.get(mode, value)


def modes_of(frame, **given):
    return Modes(frame, given, "ps.vmap", ("broadcast", *MODES))


def in_a_run(check, given=None):
    given = {"params": bundle(w=X), "state": bundle(n=X), **(given or {})}
    return apply(lambda: check(get_frame("this test")), given)[0]


def test_what_changed_is_sorted_by_how_it_leaves():
    def check(frame):
        modes = modes_of(frame, cache=1, state="mean")
        changed = Snapshot(
            {"cache": bundle(c=X), "state": bundle(a=X, b=jnp.float32(1))},
            {"cache": bundle(c=10 * X)},
            None,
        )
        return pack(modes, changed, Axis())

    packed = in_a_run(check)
    np.testing.assert_array_equal(packed.by_axis[1][0]["cache"]["~"]["c"], X + 1)
    np.testing.assert_array_equal(packed.by_axis[1][1]["cache"]["~"]["c"], 10 * X + 1)
    np.testing.assert_array_equal(packed.by_mode[0]["mean"]["state"]["~"]["a"], -X)
    assert packed.same.values["state"]["~"] == {"b": 1}


def test_without_a_mode_what_differs_is_an_error():
    changed = Snapshot({"state": bundle(a=X)}, {}, None)
    with pytest.raises(
        ps.errors.BatchedStateError, match=r"'~/a' \(collection 'state'\) differ\..*somehow\."
    ):
        in_a_run(lambda frame: pack(modes_of(frame), changed, Axis()))


@pytest.mark.parametrize("combine_all", [True, False])
def test_what_is_unpacked_is_combined_once(combine_all):
    def check(frame):
        modes = modes_of(frame, state="sum")
        packed = pack(modes, Snapshot({"state": bundle(a=X, b=jnp.ones([]))}, {}, "k"), Axis())
        return unpack(packed, combine_all=combine_all)

    done = in_a_run(check)
    np.testing.assert_array_equal(done.values["state"]["~"]["a"], X.sum() if combine_all else X)
    assert done.values["state"]["~"]["b"] == 1
    assert done.keys == "k"


def test_a_run_begins_with_its_slices_in_the_place_of_whole_variables():
    def check(frame):
        whole = take_snapshot(frame)
        before = with_own(frame, whole, {0: {"params": bundle(w=X[0])}})
        assert before.values["params"]["~"]["w"] == 1
        np.testing.assert_array_equal(before.values["state"]["~"]["n"], X)
        assert with_own(frame, whole, {}).values == whole.values
        np.testing.assert_array_equal(frame.collections["params"].values["~"]["w"], X)

        two = {0: {"params": bundle(w=X[0])}, 1: {"state": bundle(n=X[1])}}
        values = with_own(frame, whole, two).values
        assert (float(values["params"]["~"]["w"]), float(values["state"]["~"]["n"])) == (1, 2)

    in_a_run(check)


@pytest.mark.parametrize("fails", [False, True])
def test_elements_are_known_in_the_block_only(fails):
    def check(frame):
        try:
            with elements(frame, modes_of(frame, params=0), {}, lambda: 0):
                assert len(frame.elements) == 1
                assert frame.elements[0].own("params", "net", "w")
                assert not frame.elements[0].own("state", "net", "n")
                if fails:
                    raise KeyError("stop")
        except KeyError:
            pass
        assert frame.elements == ()

    in_a_run(check)


def test_without_variables_of_their_own_elements_are_not_known():
    def check(frame):
        with elements(frame, modes_of(frame, state="mean"), {}, lambda: 0):
            assert frame.elements == ()
        with elements(frame, modes_of(frame, params=0), {}, None):
            assert frame.elements == ()

    in_a_run(check)


@pytest.mark.parametrize("by", MAPS)
def test_initial_values_of_own_variables_differ_and_of_shared_ones_do_not(by):
    def f(x):
        one = lambda x: ps.Linear(2, name="own")(x)
        shared = lambda x: ps.Linear(2, name="shared")(x)
        return MAPS[by](one, x, params=0), MAPS[by](shared, x)

    params = ps.transform(f).init(jax.random.key(0), jnp.ones([N, 4]))
    own = np.asarray(params["own"]["w"])
    assert own.shape == (N, 4, 2)
    assert len({slice_.tobytes() for slice_ in own}) == N
    assert params["shared"]["w"].shape == (4, 2)


# --- sown values ---


@pytest.mark.parametrize("mode", [None, *MODES])
@pytest.mark.parametrize("reduced", [False, True])
def test_sown_values_stay_apart_unless_their_collection_has_a_mode(mode, reduced):
    entry = Reduced(X) if reduced else (X, 2 * X)

    def check(frame):
        modes = modes_of(frame, **({} if mode is None else {"losses": mode}))
        return sown_by_runs(modes, {"losses": {"net": {"loss": entry}}})["losses"]["net"]["loss"]

    found = in_a_run(check)
    combine = (lambda values: values) if mode is None else MODES[mode]
    if reduced:
        np.testing.assert_array_equal(found.value, combine(np.asarray(X)))
        assert found.stacked == (1 if mode is None else 0)
    else:
        np.testing.assert_array_equal(found[1], combine(np.asarray(2 * X)))


def test_the_recipe_with_a_transform_of_ones_own():
    """Each run reads its slice, and what both have written is stacked."""

    def f():
        frame = get_frame("f")
        lifted = Lifted(lambda x: x * ps.get_parameter("w", [3]), frame)
        return run_mapped(frame, lifted, modes_of(frame, params=0), Axis(), (2.0,))

    w = jnp.arange(6.0).reshape(2, 3)
    out = ps.transform(f).apply({"~": {"w": w}}, None)
    np.testing.assert_array_equal(out, 2 * w)
    call = lambda: ps.transform(f).apply({"~": {"w": jnp.zeros([4, 3])}}, None)
    raises(ps.errors.VariableError, "'~/w'", "needs 2 slices", call=call)
