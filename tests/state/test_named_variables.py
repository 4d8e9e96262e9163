"""Variables by collection and name: handles, and functions that read, set and ask."""

import jax
import jax.numpy as jnp
import pytest

import purestate as ps

X = jnp.ones([3])


def everything():
    """Uses each kind of variable by its name, and by a handle."""
    w = ps.variable("params", "w", [2], init=jnp.ones)
    n = ps.variable("state", "n", [], jnp.int32, init=jnp.zeros)
    tree = ps.variable("cache", "tree", init=lambda: {"a": [1.0, jnp.zeros([3])]})
    n.value += 3
    tree.value = jax.tree.map(lambda x: x + 1, tree.value)
    return w.value, n.value, tree.value


@pytest.mark.parametrize("transform", [ps.transform_with_state, ps.transform_with_collections])
def test_handles_read_and_set(transform):
    f = transform(everything)
    made = f.init(None)
    if transform is ps.transform_with_state:
        params, state = made
        initial, (out, _) = {**params["~"], **state["~"]}, f.apply(params, state, None)
    else:
        initial = {name: value for bundle in made.values() for name, value in bundle["~"].items()}
        out, _ = f.apply(made, None, mutable=["state", "cache"])
    w, n, tree = out
    assert (w.tolist(), int(n), tree["a"][0], tree["a"][1].tolist()) == ([1, 1], 3, 2, [1, 1, 1])
    assert (initial["w"].tolist(), int(initial["n"])) == ([1, 1], 0)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(initial))


def test_a_handle_is_what_the_functions_see():
    def f():
        handle = ps.variable("cache", "x", [], init=jnp.zeros)
        ps.set_variable("cache", "x", jnp.ones([]))
        first = handle.value
        handle.value = 5 * first
        return first, ps.get_variable("cache", "x"), ps.get_state("x", collection="cache")

    out, state = ps.transform_with_state(f).apply({}, None, None)
    assert [float(value) for value in out] == [1, 5, 5]
    assert float(state["~"]["x"]) == 5


def test_a_handle_shows_its_collection_and_path():
    f = ps.transform_with_state(lambda: repr(ps.variable("cache", "x", [], init=jnp.zeros)))
    assert f.apply({}, None, None)[0] == "Variable('cache', '~/x')"


def test_parameters_are_those_of_get_parameter():
    options = {"init": jnp.ones, "trainable": False, "axes": ["embed"]}
    gets = [
        lambda: ps.variable("params", "w", [3], **options).value,
        lambda: ps.get_parameter("w", [3], **options),
    ]
    found = []
    for get in gets:
        f = ps.transform(get)
        (spec,) = jax.tree.leaves(ps.specs(f)(None))
        found.append((spec.shape, spec.trainable, spec.axes))
    assert found == [((3,), False, ("embed",))] * 2


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("shape", [[], None])
def test_one_that_is_not_trainable_gets_no_gradient(trainable, shape):
    init = (lambda: jnp.ones([])) if shape is None else jnp.ones

    def f():
        return 3 * ps.variable("params", "w", shape, init=init, trainable=trainable).value

    g = ps.transform(f)
    assert float(jax.grad(g.apply)(g.init(None), None)["~"]["w"]) == 3 * trainable


@pytest.mark.parametrize("collection", ["params", "state", "cache"])
def test_one_that_is_not_there(collection):
    f = ps.transform_with_state(lambda: ps.get_variable(collection, "x"))
    error = (
        ps.errors.MissingParameterError if collection == "params" else ps.errors.MissingStateError
    )
    for run in (lambda: f.init(None), lambda: f.apply({}, {}, None)):
        with pytest.raises(error, match="'x' of '~'"):
            run()


@pytest.mark.parametrize("use", [ps.variable, ps.get_variable, ps.has_variable, ps.set_variable])
def test_a_name_is_a_string(use):
    value = {ps.set_variable: (jnp.ones([]),), ps.variable: ([], "float32", jnp.ones)}.get(use, ())
    with pytest.raises(ps.errors.VariableTypeError, match="string.*but is 3"):
        ps.transform_with_state(lambda: use("cache", 3, *value)).init(None)


def test_has_variable():
    seen = []

    def look(x):
        def all_four():
            return [
                ps.has_variable("batch_stats", "mean"),
                ps.has_state("mean", collection="batch_stats"),
                ps.has_variable("params", "w"),
                ps.has_parameter("w"),
            ]

        before = all_four()
        ps.variable("batch_stats", "mean", [], init=jnp.zeros)
        ps.get_parameter("w", [], init=jnp.zeros)
        seen.append((before, all_four()))

    for transform in (ps.transform_with_collections, ps.transform_with_state):
        g = transform(look)
        given = g.init(None, X)
        g.apply(*(given if isinstance(given, tuple) else (given,)), None, X)
    assert seen == [([False] * 4, [True] * 4), ([True] * 4, [True] * 4)] * 2


def test_set_parameter():
    def g():
        w = ps.get_parameter("w", [2], init=jnp.ones)
        ps.set_parameter("w", 2 * w)
        return ps.get_parameter("w", [2])

    h = ps.transform_with_collections(g)
    variables = h.init(None)
    assert variables["params"]["~"]["w"].tolist() == [1, 1]
    out, updated = h.apply(variables, None, mutable="params")
    assert out.tolist() == updated["params"]["~"]["w"].tolist() == [2, 2]
    with pytest.raises(ps.errors.ImmutableCollectionError, match="'params'"):
        h.apply(variables, None)
    with pytest.raises(ps.errors.ImmutableCollectionError, match="transform_with_collections"):
        ps.transform(g).init(None)

    def wrong_shape():
        ps.get_parameter("w", [2], init=jnp.ones)
        ps.set_parameter("w", jnp.ones([3]))

    with pytest.raises(ps.errors.ShapeMismatchError, match=r"\(2,\).*\(3,\)"):
        ps.transform_with_collections(wrong_shape).init(None)


def test_is_mutable():
    def look():
        return ps.is_mutable("params"), ps.is_mutable("cache")

    g = ps.transform_with_collections(look)
    assert g.apply({}, None) == (False, False)
    assert g.apply({}, None, mutable="cache")[0] == (False, True)
    assert ps.transform_with_state(look).apply({}, None, None)[0] == (False, True)


def test_values_that_are_no_arrays():
    for value in ("abc", [object()]):
        with pytest.raises(TypeError, match="'~/x'"):
            ps.transform_with_state(lambda value=value: ps.set_state("x", value)).init(None)
    with pytest.raises(TypeError, match="contains a Module"):
        ps.transform_with_state(lambda: ps.set_state("x", ps.Linear(1))).init(None)


def test_handles_stay_at_home():
    class Owner(ps.Module):
        def __call__(self):
            return ps.variable("cache", "n", [], init=jnp.zeros)

    class Other(ps.Module):
        def __call__(self, handle):
            handle.value += 1
            return handle.value

    g = ps.transform_with_collections(lambda: Other()(Owner()()))
    out, updated = g.apply(g.init(None), None, mutable="cache")
    assert float(out) == 1
    assert list(updated["cache"]) == ["owner"]


def test_a_handle_is_good_for_one_run():
    kept = []

    def f():
        kept.append(ps.variable("cache", "n", [], init=jnp.zeros))
        return kept[0].value

    g = ps.transform_with_collections(f)
    variables = g.init(None)
    with pytest.raises(ps.errors.FrameError, match=r"'~/n'.*another run"):
        g.apply(variables, None)


def test_parameters_set_in_init_are_made():
    f = ps.transform_with_collections(lambda: ps.set_variable("params", "w", jnp.ones([2])))
    assert f.init(None)["params"]["~"]["w"].tolist() == [1, 1]
    with pytest.raises(ps.errors.MissingParameterError, match="'w' of '~'"):
        f.apply({}, None, mutable="params")


MAPS = {
    "vmap": lambda f, x, modes: ps.vmap(
        f, in_axes=None, axis_size=3, collections=modes, split_rng=ps.running_init()
    )(x).sum(0),
    "scan": lambda f, x, modes: ps.scan(
        lambda total, _: (total + f(x), None), jnp.zeros_like(x), None, length=3, collections=modes
    )[0],
}


@pytest.mark.parametrize("transform", [ps.transform_with_state, ps.transform_with_collections])
@pytest.mark.parametrize("rng_mode", ["sequence", "path"])
@pytest.mark.parametrize("collection", ["params", "state", "cache"])
@pytest.mark.parametrize("name", MAPS)
def test_each_element_reads_its_own_of_a_variable_without_a_shape(
    name, collection, rng_mode, transform
):
    """An initializer without arguments says no shape, so that a reader takes what is there."""

    def body(x):
        own = ps.variable(collection, "own", init=lambda: jax.random.normal(ps.next_rng_key(), [2]))
        return x + own.value

    def f(x):
        return MAPS[name](body, x, {collection: 0})

    pair = transform(f, rng_mode=rng_mode)
    x = jnp.zeros([2])
    given = pair.init(jax.random.key(0), x)
    leaves = jax.tree.leaves(given)
    assert [leaf.shape for leaf in leaves] == [(3, 2)]
    arguments = given if transform is ps.transform_with_state else (given,)
    out = pair.apply(*arguments, None, x)
    out = out[0] if transform is ps.transform_with_state else out
    assert jnp.allclose(out, leaves[0].sum(0), atol=1e-6)
