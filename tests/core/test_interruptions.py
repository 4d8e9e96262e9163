"""Whatever is raised, wherever code of the user is called: nothing of the run is left, and the next one is right."""

import contextlib
import dataclasses
import gc
import operator
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

import purestate as ps
from purestate._core.config import get_config
from purestate._core.frame import Frame, ambient
from purestate._core.observer import observing

X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
KEY = jax.random.key(0)
MESH = jax.make_mesh((1,), ("batch",), axis_types=(AxisType.Auto,))
EXCEPTIONS = [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, RuntimeError]


class Reached:
    """Counts how often a place is reached, and raises there at one of these times."""

    def __init__(self):
        self.times = 0
        self.raises_at = None
        self.error = None

    def __call__(self, value=None):
        self.times += 1
        if self.times == self.raises_at:
            raise self.error
        return value

    def arm(self, time, error):
        self.times, self.raises_at, self.error = 0, time, error


reach = Reached()


@pytest.fixture(autouse=True)
def nothing_left_behind():
    reach.arm(None, None)
    settings = get_config()
    yield
    assert ambient.get() == ((), ())
    assert observing.get() == ()
    assert get_config() is settings


# Modules that reach in one of their methods


class InInit(ps.Module):
    def __init__(self, name=None):
        super().__init__(name=name)
        self.linear = ps.Linear(2)
        reach()

    def __call__(self, x):
        return self.linear(x)


class BeforeName(ps.Module):
    def __init__(self, name=None):
        reach()
        super().__init__(name=name)

    def __call__(self, x):
        return ps.Linear(2)(x)


class InMethods(ps.Module):
    def __call__(self, x):
        return reach(ps.Linear(2)(x))

    def other(self, x):
        return self.inner(x) + 1

    def inner(self, x):
        return reach(ps.Linear(2)(x))

    @property
    def scale(self):
        return reach(ps.get_parameter("scale", [], init=jnp.ones))

    @scale.setter
    def scale(self, value):
        ps.set_state("scale", reach(value))

    @ps.transparent
    def seen_through(self, x):
        return reach(ps.Linear(2)(x))

    @ps.name_like("__call__")
    def like_call(self, x):
        return reach(ps.Linear(2)(x))


class InSetUp(ps.SetUpModule):
    def set_up(self, x):
        self.linear = ps.Linear(2)
        reach()

    def forward(self, x):
        return self.linear(x)


class InForward(ps.SetUpModule):
    def forward(self, x):
        return reach(ps.Linear(2)(x))


@dataclasses.dataclass
class InPostInit(ps.Module):
    size: int
    name: str | None = None

    def __post_init__(self):
        super().__post_init__()
        self.linear = ps.Linear(self.size)
        reach()

    def __call__(self, x):
        return self.linear(x)


class InAttributes(ps.Module):
    w = ps.param_attr([3], jnp.float32, lambda shape, dtype: reach(jnp.ones(shape, dtype)))
    s = ps.state_attr([], jnp.float32, lambda shape, dtype: reach(jnp.ones(shape, dtype)))

    def __call__(self, x):
        self.s += x.sum()
        return self.w * x


class Cell(ps.RNNCore):
    def __call__(self, x, h):
        h = reach(jnp.tanh(ps.Linear(3)(h) + x))
        return h, h

    def initial_state(self, batch_size):
        return jnp.zeros([3])


def set_scale(x):
    InMethods().scale = x.sum()


# Blocks, hooks and functions that are called by the library


def layer(x):
    """What the lifted transforms run: parameters, state and a key, before and after."""
    x = ps.Linear(3)(x)
    count = ps.get_state("count", [], init=jnp.zeros)
    ps.set_state("count", count + 1)
    x = reach(x + jax.random.normal(ps.next_rng_key(), []))
    return ps.Linear(3)(x)


def stateless(x):
    return reach(ps.Linear(3)(x))


def within(*blocks):
    """Reaches inside of blocks, between uses of the frame."""

    def run(x):
        with contextlib.ExitStack() as stack:
            for block in blocks:
                stack.enter_context(block())
            return layer(x)

    return run


def hooked(*blocks):
    """A block whose hook reaches, around all that hooks listen to."""

    def run(x):
        with contextlib.ExitStack() as stack:
            for block in blocks:
                stack.enter_context(block())
            w = ps.get_parameter("w", [3], init=jnp.ones)
            ps.set_state("s", x.sum() + ps.get_state("s", [], init=jnp.zeros))
            return ps.Linear(3)(w * x)

    return run


def reaching_before(next_method, args, kwargs, context):
    reach()
    return next_method(*args, **kwargs)


def reaching_after(next_method, args, kwargs, context):
    return reach(next_method(*args, **kwargs))


def creator(next_creator, shape, dtype, init, context):
    return reach(next_creator(shape, dtype, init))


def transforming(next_value, value, context):
    return next_value(reach(value))


def transformed(next_value, value, context):
    return reach(next_value(value))


def plain_getter(next_getter, value, context):
    return next_getter(value)


def while_loop(x):
    if ps.running_init():
        return stateless(x)
    return ps.while_loop(lambda x: reach(x.sum() > 0), lambda x: stateless(x) - 10, x)


def purified(x):
    pure = ps.purify(layer)
    out, variables = pure(ps.get_variables(), ps.next_rng_key(), x)
    ps.set_variables(variables)
    return out


def differentiated(x):
    pure = ps.purify(stateless)
    if ps.running_init():
        out, variables = pure(ps.get_variables(), ps.next_rng_key(), x)
        ps.set_variables(variables)
        return out
    return jax.jacrev(lambda x: pure(ps.get_variables(), None, x)[0])(x)


def shaped(x):
    linear = ps.Linear(2)
    return linear(x) + jnp.zeros(ps.eval_shape(lambda x: reach(linear(x)), x).shape)


def sharded(x):
    spec = PartitionSpec("batch")
    return ps.shard_map(stateless, mesh=MESH, in_specs=spec, out_specs=spec)(x)


def lifted(x):
    inner = ps.transform_with_state(layer)
    init, updater = ps.lift_with_state(inner.init, name="lifted")
    try:
        out, state = inner.apply(*init(ps.next_rng_key(), x), ps.next_rng_key(), x)
    except BaseException:
        updater.ignore_update()
        raise
    updater.update(state)
    return out


def see_through_lifted(x):
    inner = ps.transform(stateless)
    params = ps.transparent_lift(inner.init)(ps.next_rng_key(), x)
    return inner.apply(params, None, x)


def sown_twice(x):
    ps.sow("h", x.sum(), reduce=lambda a, b: reach(a + b))
    ps.sow("h", x.sum(), reduce=lambda a, b: reach(a + b))
    return ps.Linear(2)(x)


def sown_around_scan(x):
    ps.sow("h", x.sum(), reduce=lambda a, b: reach(a + b.sum()))

    def step(carry, x):
        ps.sow("h", x.sum(), reduce=lambda a, b: reach(a + b.sum()))
        return carry, ps.Linear(2)(x)

    return ps.scan(step, 0.0, x)[1]


PLACES = {
    "body": lambda x: reach(ps.Linear(2)(x)),
    "module_init": lambda x: InInit()(x),
    "module_before_its_name": lambda x: BeforeName()(x),
    "call": lambda x: InMethods()(x),
    "method": lambda x: InMethods().other(x),
    "property": lambda x: InMethods().scale * x,
    "property_setter": set_scale,
    "transparent": lambda x: InMethods().seen_through(x),
    "name_like": lambda x: InMethods().like_call(x),
    "set_up": lambda x: InSetUp()(x),
    "forward": lambda x: InForward()(x),
    "post_init": lambda x: InPostInit(2)(x),
    "attributes": lambda x: InAttributes()(x),
    "named_scope": within(lambda: jax.named_scope("block")),
    "name_scope": within(
        lambda: ps.name_scope("a/b"), lambda: ps.name_scope("c", method_name="other")
    ),
    "with_rng": within(lambda: ps.with_rng(jax.random.key(1))),
    "config": within(lambda: ps.config.context(rng_reserve_size=3)),
    "blocks": within(
        lambda: ps.custom_getter(plain_getter, state=True),
        lambda: ps.name_scope("a"),
        lambda: ps.with_rng(jax.random.key(1)),
        lambda: ps.custom_setter(plain_getter),
    ),
    "parameter_initializer": lambda x: (
        x * ps.get_parameter("w", [3], init=lambda *_: reach(jnp.ones([3])))
    ),
    "initializer_with_key": lambda x: ps.Linear(
        2, w_init=lambda s, d: reach(jax.random.normal(ps.next_rng_key(), s, d))
    )(x),
    "state_initializer": lambda x: x * ps.get_state("s", [], init=lambda *_: reach(jnp.ones([]))),
    "variable_initializer": lambda x: (
        x * ps.variable("state", "v", init=lambda: reach(jnp.ones([]))).value
    ),
    "creator": hooked(lambda: ps.custom_creator(creator, state=True)),
    "getter": hooked(lambda: ps.custom_getter(transforming, state=True)),
    "getter_after": hooked(lambda: ps.custom_getter(transformed, state=True)),
    "setter": hooked(lambda: ps.custom_setter(transforming)),
    "setter_after": hooked(lambda: ps.custom_setter(transformed)),
    "interceptor_before": hooked(lambda: ps.intercept_methods(reaching_before)),
    "interceptor_after": hooked(lambda: ps.intercept_methods(reaching_after)),
    "inner_of_two_getters": hooked(
        lambda: ps.custom_getter(plain_getter), lambda: ps.custom_getter(transforming)
    ),
    "outer_of_two_getters": hooked(
        lambda: ps.custom_getter(transforming), lambda: ps.custom_getter(plain_getter)
    ),
    "scan": lambda x: ps.scan(lambda carry, x: (carry, layer(x)), 0.0, x),
    "map": lambda x: ps.map(layer, x),
    "fori_loop": lambda x: ps.fori_loop(0, 2, lambda _, x: layer(x), x),
    "while_loop": while_loop,
    "vmap": lambda x: ps.vmap(stateless, split_rng=False)(x),
    "vmap_with_modes": lambda x: ps.vmap(
        layer, split_rng=not ps.running_init(), collections={"state": 0}
    )(x),
    "cond": lambda x: ps.cond(x.sum() > 0, layer, stateless, x),
    "switch": lambda x: ps.switch(1, [layer, lambda x: x, stateless], x),
    "remat": lambda x: ps.remat(layer)(x),
    "jit": lambda x: ps.jit(layer)(x),
    "grad": lambda x: ps.grad(lambda x: layer(x).sum())(x),
    "value_and_grad": lambda x: ps.value_and_grad(lambda x: layer(x).sum())(x),
    "eval_shape": shaped,
    "layer_stack": lambda x: ps.layer_stack(2)(stateless)(x),
    "purify": purified,
    "purify_in_jacrev": differentiated,
    "shard_map": sharded,
    "lift_with_state": lifted,
    "transparent_lift": see_through_lifted,
    "frame_within": lambda x: ps.transform_with_state(layer).init(ps.next_rng_key(), x),
    "scan_of_remat_of_vmap": lambda x: ps.scan(
        lambda c, _: (ps.remat(ps.vmap(stateless, split_rng=False))(c), None), x, None, length=2
    ),
    "dynamic_unroll": lambda x: ps.dynamic_unroll(Cell(), x, jnp.zeros([3])),
    "static_unroll": lambda x: ps.static_unroll(Cell(), x, jnp.zeros([3])),
    "sequential": lambda x: ps.Sequential([ps.Linear(3), reach, ps.Linear(2)])(x),
    "batch_apply": lambda x: ps.BatchApply(stateless)(x[None]),
    "to_module": lambda x: ps.to_module(stateless)("wrapped")(x),
    "deferred": lambda x: ps.Deferred(lambda: reach(ps.Linear(2)))(x),
    "optimize_rng_use": lambda x: ps.experimental.optimize_rng_use(layer)(x),
    "captured_function": lambda x: ps.capture_intermediates(layer)(x),
    "capture_filter": lambda x: ps.capture_intermediates(
        ps.Linear(2), lambda module, method: reach(True)
    )(x),
    "sow_reduce": lambda x: ps.capture_intermediates(sown_twice)(x),
    "sow_reduce_around_scan": lambda x: ps.capture_intermediates(sown_around_scan)(x),
}
# Initializers run in `init` alone, and there nothing is kept of what is sown.
UNREACHED = {
    ("init", "sow_reduce"),
    ("init", "sow_reduce_around_scan"),
    ("apply", "parameter_initializer"),
    ("apply", "initializer_with_key"),
    ("apply", "state_initializer"),
    ("apply", "variable_initializer"),
    ("apply", "attributes"),
    ("apply", "creator"),
}


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if isinstance(x, (str, jax.ShapeDtypeStruct)):
            assert x == y
        else:
            np.testing.assert_array_equal(x, y)


def standing():
    """All of the running frame that is put elsewhere for a while by something, and has to come back."""
    frames, hooks = ambient.get()
    frame = frames[-1]
    passing = [
        "scope",
        "creating",
        "sown",
        "home",
        "boundary",
        "boundary_within",
        "keys",
        "ledger",
        "observers",
        "elements",
        "mapped_axes",
    ]
    values = [
        (name, id(kept), id(kept.values), id(kept.initial))
        for name, kept in frame.collections.items()
    ]
    return (
        frames,
        hooks,
        [getattr(frame, name) for name in passing],
        values,
        observing.get(),
        get_config(),
    )


def spread(last, count):
    return [1 + round(i * (last - 1) / (count - 1)) for i in range(count)]


def interrupted(run, expected, times):
    """Has `run` raise each exception, from the first time that the place is reached to the last."""
    for error_class, time in zip(EXCEPTIONS, spread(times, len(EXCEPTIONS)), strict=True):
        error = error_class("stop")
        reach.arm(time, error)
        with pytest.raises(error_class) as raised:
            run()
        assert raised.value is error
        assert ambient.get() == ((), ()), (error_class, time)
        assert observing.get() == (), (error_class, time)
    reach.arm(None, None)
    assert_same(run(), expected)


def program_of(f):
    """The program that JAX makes of a function: no less than its result, and quicker than to compile it."""
    # A new function each time, since JAX remembers the programs of those it has seen.
    return lambda *args: re.sub(
        "0x[0-9a-f]+", "", str(jax.make_jaxpr(lambda *args: f(*args))(*args))
    )


def shapes_of(f):
    return lambda *args: jax.eval_shape(lambda *args: f(*args), *args)


def variables_of(init, traced):
    return jax.eval_shape(init, KEY, X) if traced else init(KEY, X)


HALVES = ["init", "apply"]
TRACED = [pytest.param(True, id="traced"), pytest.param(False, id="eager", marks=pytest.mark.slow)]


@pytest.mark.parametrize("traced", TRACED)
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_left(place, half, traced):
    f = ps.transform_with_state(PLACES[place])
    args = (KEY, X) if half == "init" else (*variables_of(f.init, traced), KEY, X)
    function = program_of(getattr(f, half)) if traced else getattr(f, half)
    reach.arm(None, None)
    expected = function(*args)
    if not (times := reach.times):
        assert (half, place) in UNREACHED
        return
    interrupted(lambda: function(*args), expected, times)


@pytest.mark.parametrize("traced", TRACED)
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("place", PLACES)
def test_the_frame_goes_on_where_the_exception_is_caught(place, half, traced):
    before_and_after = []

    def f(x, caught):
        before = ps.Linear(3, name="before")(x)
        if caught:
            at_first = standing()
            with pytest.raises(KeyboardInterrupt):
                PLACES[place](before)
            before_and_after.append((at_first, standing()))
        else:
            PLACES[place](before)
        return before + ps.Linear(3, name="after")(x)

    pair = ps.transform_with_state(f, rng_mode="path")

    def run(caught):
        reach.times = 0
        if half == "init":
            function, args = (
                lambda *args: operator.itemgetter("before", "after")(pair.init(*args, caught)[0]),
                (KEY, X),
            )
        else:
            function, args = lambda *args: pair.apply(*args, caught)[0], (params, state, KEY, X)
        return shapes_of(function)(*args) if traced else function(*args)

    reach.arm(None, None)
    params, state = variables_of(lambda key, x: pair.init(key, x, False), traced)
    expected = run(False)
    times = reach.times
    for time in set(spread(times, 3)) if times else ():
        reach.arm(time, KeyboardInterrupt())
        assert_same(run(True), expected)
    assert bool(before_and_after) == ((half, place) not in UNREACHED)
    for at_first, in_the_end in before_and_after:
        assert at_first == in_the_end


# Ways to run a function, each of which is interrupted in the middle of it


def model_of(x):
    ps.set_state("calls", 1 + ps.get_state("calls", [], init=jnp.zeros))
    return ps.dropout(ps.next_rng_key(), 0.5, InMethods()(x))


def ways():
    f = ps.transform_with_state(model_of)
    variables = f.init(KEY, X)
    with_collections = ps.transform_with_collections(model_of)
    multi = ps.multi_transform_with_state(lambda: (model_of, (model_of, model_of)))
    return {
        "jit_init": lambda: jax.jit(f.init)(KEY, X),
        "jit_apply": lambda: jax.jit(f.apply)(*variables, KEY, X),
        "grad": lambda: jax.grad(lambda params: f.apply(params, variables[1], KEY, X)[0].sum())(
            variables[0]
        ),
        "vmap": lambda: jax.vmap(lambda key: f.apply(*variables, key, X))(jax.random.split(KEY, 2)),
        "specs": lambda: jax.tree.map(lambda spec: jnp.zeros(spec.shape), ps.specs(f)(KEY, X)),
        "capture": lambda: ps.capture_intermediates(f).apply(*variables, KEY, X),
        "capture_with_filter": lambda: ps.capture_intermediates(f, lambda *_: True).apply(
            *variables, KEY, X
        ),
        "collections_init": lambda: with_collections.init(KEY, X),
        "collections_apply": lambda: with_collections.apply(
            {"params": variables[0], "state": variables[1]}, KEY, X, mutable=["state"]
        ),
        "collections_capture": lambda: ps.capture_intermediates(with_collections).apply(
            {"params": variables[0], "state": variables[1]}, KEY, X, mutable=["state"]
        ),
        "multi_init": lambda: ps.multi_transform_with_state(lambda: (model_of, model_of)).init(
            KEY, X
        ),
        "multi_apply": lambda: multi.apply[1](*variables, KEY, X),
        "bind": lambda: ps.bind(f, *variables, rng=KEY)(X),
        "tabulate": lambda: (ps.experimental.tabulate(f)(X), X)[1],
        "interceptor_around": lambda: intercepted(lambda: f.apply(*variables, KEY, X)),
        "hooks_of_a_frame_around": lambda: ps.transform(
            lambda: intercepted(lambda: f.apply(*variables, KEY, X))
        ).apply({}, None),
    }


def intercepted(run):
    with ps.intercept_methods(
        lambda next_method, args, kwargs, context: next_method(*args, **kwargs)
    ):
        return run()


@pytest.mark.parametrize("way", ways())
def test_nothing_is_left_of_any_way_to_run(way):
    run = ways()[way]
    reach.arm(None, None)
    expected = run()
    interrupted(lambda: ways_again(way), expected, 1)


def ways_again(way):
    """Runs it from the beginning, as what JAX compiled would not be traced again; what `ways` does first is not to be stopped."""
    at, reach.raises_at = reach.raises_at, None
    run = ways()[way]
    reach.times, reach.raises_at = 0, at
    return run()


def test_a_model_holds_what_it_held():
    f = ps.transform_with_state(model_of)
    model = ps.bind(f, *f.init(KEY, X), rng=KEY)
    model(X)
    before = jax.tree.map(np.asarray, (model.params, model.state, jax.random.key_data(model.rng)))
    for error_class in EXCEPTIONS:
        reach.arm(1, error_class())
        with pytest.raises(error_class):
            model(X)
        assert_same((model.params, model.state, jax.random.key_data(model.rng)), before)
    reach.arm(None, None)
    model(X)
    assert model.state["~"]["calls"] == 2


# What outlives a run


def with_static_argument(x):
    return ps.remat(lambda x, layers: ps.nets.MLP([3] * layers)(x), static_argnums=1)(x, 2)


def frames_that_live():
    gc.collect()
    return [frame for frame in gc.get_objects() if isinstance(frame, Frame)]


GROUPS = [
    pytest.param([PLACES[place] for place in PLACES], id="places"),
    pytest.param([with_static_argument], id="remat_with_static_argument"),
]


@pytest.mark.one_in(2)
@pytest.mark.parametrize("functions", GROUPS)
def test_no_frame_outlives_its_run(functions):
    reach.arm(None, None)
    before = len(frames_that_live())
    for f in functions:
        pair = ps.transform_with_state(f)
        variables = jax.eval_shape(pair.init, KEY, X)
        jax.eval_shape(pair.apply, *variables, KEY, X)
        reach.arm(1, KeyboardInterrupt())
        with contextlib.suppress(KeyboardInterrupt):
            shapes_of(pair.init)(KEY, X)
        reach.arm(None, None)
    del pair
    assert len(frames_that_live()) == before
