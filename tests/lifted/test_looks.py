"""Looking ahead leaves no mark: with and without a look, a run draws, names and returns the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
KEY = jax.random.key(0)


class Net(ps.SetUpModule):
    """Draws keys, makes variables of several collections, and is set up once."""

    def set_up(self, x):
        self.linear = ps.Linear(3, w_init=ps.initializers.RandomNormal())

    def forward(self, x):
        count = ps.get_state("count", [], init=jnp.zeros)
        ps.set_state("count", count + 1)
        cache = ps.variable("cache", "last", [3], init=jnp.zeros)
        cache.value = cache.value + 1
        ps.sow("hidden", x)
        x = ps.perturb("before", x)
        return self.linear(x) + jax.random.normal(ps.next_rng_key(), x.shape)


BODIES = {
    "plain": lambda net, x: net(x),
    "scan": lambda net, x: ps.scan(lambda c, x: (c, net(x)), 0, x)[1],
    "scan_tower": lambda net, x: ps.scan(
        lambda c, _: (c + ps.Linear(3)(c), None), x, None, length=2, collections={"params": 0}
    )[0],
    "map": lambda net, x: ps.map(net, x),
    "vmap": lambda net, x: ps.vmap(net, split_rng=not ps.running_init())(x),
    "ensemble": lambda net, x: ps.vmap(
        lambda x: ps.Linear(3)(x), split_rng=False, collections={"params": 0}
    )(x),
    "cond": lambda net, x: ps.cond(x.sum() > -99, net, lambda x: x, x),
    "switch": lambda net, x: ps.switch(1, [lambda x: x, net], x),
    "fori_loop": lambda net, x: ps.fori_loop(0, 2, lambda i, x: net(x), x),
    "while_loop": lambda net, x: (
        net(x)
        if ps.running_init()
        else ps.while_loop(lambda v: v[0] < 2, lambda v: (v[0] + 1, net(v[1])), (0, x))[1]
    ),
    "grad": lambda net, x: ps.grad(lambda x: net(x).sum())(x),
    "remat": lambda net, x: ps.remat(net)(x),
    "jit": lambda net, x: ps.jit(net)(x),
    "layer_stack": lambda net, x: ps.layer_stack(2)(
        lambda x: (
            ps.Linear(3, w_init=ps.initializers.RandomNormal())(x)
            + jax.random.normal(ps.next_rng_key(), x.shape)
        )
    )(x),
    "purify": lambda net, x: with_purify(net, x),
}


def with_purify(net, x):
    pure = ps.purify(net)
    out, variables = pure(ps.get_variables(), ps.next_rng_key(), x)
    ps.set_variables(variables)
    return out


# What looks ahead, inside of the function: before the body, and after it.
LOOKS = {
    "nothing": lambda body, net, x: None,
    "eval_shape": lambda body, net, x: ps.eval_shape(lambda x: body(net, x), x),
    "eval_shape_twice": lambda body, net, x: [
        ps.eval_shape(lambda x: body(net, x), x) for _ in range(2)
    ],
    "to_dot": lambda body, net, x: ps.experimental.to_dot(lambda x: body(net, x))(x),
}


def program(body, look):
    def f(x):
        net = Net()
        LOOKS[look](BODIES[body], net, x)
        y = BODIES[body](net, x)
        # What comes afterwards has the keys and names that it would have.
        return y, ps.Linear(2, w_init=ps.initializers.RandomNormal())(y), ps.next_rng_key()

    return f


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        # Two programs, which XLA may compile to round otherwise.
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


STYLES = {"state": ps.transform_with_state, "collections": ps.transform_with_collections}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("mode", ["sequence", "path"])
@pytest.mark.parametrize("look", [name for name in LOOKS if name != "nothing"])
@pytest.mark.parametrize("body", BODIES)
def test_a_look_inside_changes_nothing(body, look, mode, style):
    """The same equations come out, with the same names."""
    runs = []
    for chosen in ("nothing", look):
        f = STYLES[style](program(body, chosen), rng_mode=mode)
        shapes = jax.eval_shape(f.init, KEY, X)
        init = str(jax.make_jaxpr(f.init)(KEY, X))
        if style == "state":
            apply = f.apply
        else:
            apply = functools.partial(f.apply, mutable=["state", "cache"])
        given = shapes if style == "state" else (shapes,)
        runs.append((jax.tree.structure(shapes), init, str(jax.make_jaxpr(apply)(*given, KEY, X))))
    assert runs[0] == runs[1]


@pytest.mark.one_in(2)
@pytest.mark.parametrize("mode", ["sequence", "path"])
@pytest.mark.parametrize("body", BODIES)
def test_who_looks_from_outside_changes_nothing(body, mode):
    """`capture_intermediates`, `mutable`, `check` and `specs` see a run, and leave it as it is."""
    f = ps.transform_with_state(program(body, "nothing"), rng_mode=mode)
    params, state = f.init(KEY, X)
    expected = f.apply(params, state, KEY, X)
    (out, found), after = ps.capture_intermediates(f).apply(params, state, KEY, X)
    same((out, after), expected)
    ps.check(f)(params, state, KEY, X)
    specs = ps.specs(f)(KEY, X)
    shapes = jax.tree.map(lambda v: (v.shape, v.dtype), (params, state))
    assert jax.tree.map(lambda v: (v.shape, v.dtype), specs) == shapes

    g = ps.transform_with_collections(program(body, "nothing"), rng_mode=mode)
    variables = g.init(KEY, X)
    given = {name: tree for name, tree in variables.items() if name != "perturbations"}
    with_state = g.apply(given, KEY, X, mutable=["state", "cache"])[0]
    everything = g.apply(given, KEY, X, mutable=True)[0]
    but_params = g.apply(given, KEY, X, mutable=ps.AllBut("params"))[0]
    same(with_state, everything)
    same(with_state, but_params)
    same(with_state, g.apply(variables, KEY, X, mutable=["state", "cache"])[0])  # zeros added
    same(with_state, expected[0])


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    "body", [name for name in BODIES if name not in ("ensemble", "scan_tower")]
)
def test_by_path_another_variable_changes_no_initial_value(body):
    """Adding a module, and a key drawn before, leaves all other initial values as they are."""

    def f(x, more):
        net = Net()
        if more:
            ps.Linear(7, name="more", w_init=ps.initializers.RandomNormal())(x)
            if body != "layer_stack":
                ps.get_parameter("another", [3], init=ps.initializers.RandomNormal())
        return BODIES[body](net, x)

    g = ps.transform_with_state(f, rng_mode="path")
    few, many = (g.init(KEY, X, more)[0] for more in (False, True))
    assert len(jax.tree.leaves(many)) > len(jax.tree.leaves(few))
    same({module: many[module] for module in few}, few)


@pytest.mark.parametrize("layers", [None, "block_{}"])
def test_by_path_a_stack_keeps_its_initial_values(layers):
    class Block(ps.Module):
        def __call__(self, x, more):
            if more:
                x = x + ps.get_parameter("first", [3], init=ps.initializers.RandomNormal())
            return ps.Linear(3, w_init=ps.initializers.RandomNormal())(x)

    def f(x, more):
        if more:
            x = x * jax.random.normal(ps.next_rng_key(), [])
        return ps.layer_stack(3, layers=layers)(lambda x: Block(name="block")(x, more))(x)

    g = ps.transform(f, rng_mode="path")
    few, many = (g.init(KEY, X, more) for more in (False, True))
    weights = [bundle["w"] for bundle in few.values() if "w" in bundle]
    same([bundle["w"] for bundle in many.values() if "w" in bundle], weights)
    layers_of = jnp.concatenate([w.reshape(-1, 3, 3) for w in weights])
    assert len({tuple(w.ravel().tolist()) for w in layers_of}) == 3


MARKS = {
    "has_state": lambda: ps.has_state("a"),
    "has_variable": lambda: ps.has_variable("cache", "a"),
    "has_parameter": lambda: ps.has_parameter("a"),
    "is_mutable": lambda: [ps.is_mutable(name) for name in ("params", "state", "cache")],
    "collections": lambda: sorted(ps.get_variables()),
}
USES = {
    "get_state": lambda: ps.get_state("a", [], init=jnp.zeros),
    "cache": lambda: ps.variable("cache", "a", [], init=jnp.zeros).value,
    "set_state": lambda: ps.set_state("a", jnp.ones([])),
    "parameter": lambda: ps.get_parameter("b", [], init=jnp.zeros),
    "sow": lambda: ps.sow("a", jnp.ones([]), "cache"),
    "module": lambda: ps.Linear(2)(X),
    "integer": lambda: ps.get_parameter("c", [], jnp.int32, init=jnp.zeros),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("use", USES)
def test_what_a_run_says_of_itself_after_a_look(use, mark, style):
    def f(looks):
        if looks:
            ps.eval_shape(lambda: (USES[use](), jnp.zeros([]))[1])
        said = MARKS[mark]()
        ps.get_state("a", [], init=jnp.zeros)
        ps.get_parameter("c", [], init=jnp.zeros)
        return said, MARKS[mark]()

    answers = []
    for looks in (False, True):
        said = []
        run = lambda: said.append(f(looks))
        STYLES[style](run).init(KEY)
        answers += said
    assert answers[0] == answers[1]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("access", ["get_state", "set_state", "has_state"])
def test_plain_state_is_not_a_variable_of_a_collection(access, style):
    def f():
        ps.variable("cache", "a", [], init=jnp.zeros)
        if access == "has_state":
            return ps.has_state("a")
        if access == "get_state":
            return ps.get_state("a", [], init=jnp.ones)
        return ps.set_state("a", jnp.ones([]))

    f = STYLES[style](f)
    if access == "has_state":
        variables = f.init(None)
        out = f.apply(*variables, None)[0] if style == "state" else f.apply(variables, None)
        assert out is False
        return
    with pytest.raises(ps.errors.CollectionError, match="'a' of '~'.*'cache'"):
        f.init(None)


def test_parameters_are_mutable_only_where_they_may_be_set():
    def f():
        ps.get_parameter("w", [], init=jnp.zeros)
        if ps.is_mutable("params"):
            ps.set_parameter("w", jnp.ones([]))
        return ps.is_mutable("params")

    g = ps.transform_with_state(f)
    assert float(g.init(None)[0]["~"]["w"]) == 0
    h = ps.transform_with_collections(f)
    variables = h.init(None)
    assert h.apply(variables, None) is False
    out, updated = h.apply(variables, None, mutable=["params"])
    assert (out, float(updated["params"]["~"]["w"])) == (True, 1.0)
