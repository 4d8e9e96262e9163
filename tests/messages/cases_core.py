"""Messages of running a function: names, variables, keys, hooks, what `init` and `apply` are given."""

import concurrent.futures
import contextvars
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps
from tests.messages.helpers import X, init, key, run, zeros

MLP = ps.transform(lambda x: ps.nets.MLP([4, 2])(x))
LINEAR = ps.transform(lambda x: ps.Linear(4)(x))
COUNTER = ps.transform_with_state(lambda: ps.get_state("n", [], init=jnp.zeros))


def weight(**kwargs: Any) -> Any:
    return ps.get_parameter("w", [], **kwargs)


def linear_params(**changes: Any) -> Any:
    return {"linear": {"w": zeros(3, 4), "b": zeros(4), **changes}}


# --- modules ---


class NoSuper(ps.Module):
    def __init__(self):
        self.size = 3


class EarlyVariable(ps.Module):
    def __init__(self):
        self.w = weight(init=jnp.zeros)
        super().__init__()


class EarlyAttribute(ps.Module):
    scale = ps.param_attr([], init=jnp.zeros)

    def __init__(self):
        self.size = self.scale
        super().__init__()


class Scale(ps.Module):
    scale = ps.param_attr([3], init=jnp.ones)

    def set_wrong(self):
        self.scale = zeros(4)


class Undeclared(ps.Module):
    scale = ps.param_attr()

    def __call__(self):
        return self.scale


class NoForward(ps.SetUpModule):
    pass


class WithForward(ps.SetUpModule):
    def forward(self, x):
        return x


class Net(ps.Module):
    def __call__(self, x):
        return x


def two_of_a_name():
    ps.Linear(1, w_init=jnp.zeros, name="linear_1")(X)
    ps.Linear(1, w_init=jnp.zeros, name="linear_1")(X)


def init_by_hand():
    net = Net()
    net.__init__()


def scope_twice(nested: bool) -> Any:
    scope = ps.name_scope("block")
    with scope:
        if nested:
            with scope:
                pass
    with scope:
        pass


def module_from_outside():
    linear = ps.Linear(2)
    ps.transparent_lift(ps.transform(lambda x: linear(x)).init)(ps.next_rng_key(), X)


def bad_protocol():
    class Mine(ps.ModuleProtocol):
        pass


MODULES: dict[str, Callable[[], Any]] = {
    "module outside a transform": lambda: ps.Linear(2),
    "module called outside a transform": lambda: run(lambda: Net())[0](X),
    "get_parameter outside a transform": lambda: weight(init=jnp.zeros),
    "get_state outside a transform": lambda: ps.get_state("n"),
    "set_state outside a transform": lambda: ps.set_state("n", X),
    "next_rng_key outside a transform": ps.next_rng_key,
    "vmap outside a transform": lambda: ps.vmap(lambda x: x, split_rng=False)(X),
    "module without super().__init__": lambda: init(NoSuper),
    "variable before super().__init__": lambda: init(EarlyVariable),
    "attribute before super().__init__": lambda: init(EarlyAttribute),
    "__init__ by hand": lambda: init(init_by_hand),
    "attribute of a module made without __init__": lambda: init(lambda: Scale.__new__(Scale).scale),
    "attribute of another shape": lambda: init(lambda: Scale().set_wrong()),
    "attribute without a value": lambda: init(lambda: Undeclared()()),
    "name that is no identifier": lambda: init(lambda: ps.Linear(1, name="my-layer")),
    "name taken": lambda: init(two_of_a_name),
    "name scope without a name": lambda: init(lambda: ps.name_scope("")),
    "name scope called by a number": lambda: init(lambda: ps.name_scope(3)),
    "name scope open": lambda: init(lambda: scope_twice(True)),
    "name scope twice": lambda: init(lambda: scope_twice(False)),
    "module from outside a lifted function": lambda: init(module_from_outside),
    "protocol as a base": bad_protocol,
    "SetUpModule without forward": lambda: init(lambda: NoForward()(X)),
    "forward before set_up": lambda: init(lambda: WithForward().forward(X)),
    "Container of a number": lambda: ps.Container(3),
    "Container with a number in it": lambda: ps.Container([jnp.tanh, {"rate": 0.5}]),
    "attribute of the package": lambda: ps.no_such_layer,
}

# --- variables ---


def two_dtypes():
    weight(init=jnp.zeros)
    weight(dtype=jnp.int32, init=jnp.zeros)


def used_and_shared():
    weight(init=ps.share(jnp.zeros([])))


def two_collections():
    ps.variable("cache", "n", [], init=jnp.zeros)
    ps.variable("losses", "n", [], init=jnp.zeros)


def set_count():
    ps.set_variable("counts", "n", ps.variable("counts", "n", [], init=jnp.zeros).value + 1)


def set_weight():
    ps.set_parameter("w", 2 * weight(init=jnp.ones))


def set_given_weight(value: Any) -> Any:
    f = ps.transform_with_collections(lambda: ps.set_parameter("w", value))
    return f.apply({"params": {"~": {"w": zeros(2)}}}, None, mutable=["params"])


COUNTS = ps.transform_with_collections(set_count)
GIVEN_COUNTS = {"counts": {"~": {"n": zeros()}}}
MISSING_COUNTS = {"counts": {"net": {"n": zeros()}}}


def foreign_handle():
    kept = []

    def f():
        kept.append(ps.variable("counts", "n", [], init=jnp.zeros))
        return kept[0].value

    init(f)
    init(f)


def axes_twice():
    ps.get_parameter("v", [2], init=jnp.zeros, axes=["a"])
    ps.get_parameter("v", [2], init=jnp.zeros, axes=["b"])


def trainable_twice():
    weight(init=jnp.zeros)
    weight(init=jnp.zeros, trainable=False)


def misspelt_collection() -> Any:
    f = ps.transform_with_collections(lambda: ps.get_variable("batchstats", "mean"))
    return f.apply({"batch_stats": {"~": {"mean": X}}}, None)


VARIABLES: dict[str, Callable[[], Any]] = {
    "parameter missing, no params": lambda: MLP.apply({}, None, X),
    "parameter missing, a module near": lambda: MLP.apply(
        {"mlp/~/linear0": {"w": zeros(3, 4)}}, None, X
    ),
    "parameter missing, one near": lambda: LINEAR.apply(
        {"linear": {"W": zeros(3, 4), "b": zeros(4)}}, None, X
    ),
    "parameter missing, `params` and `~` swapped": lambda: MLP.apply(
        {"mlp/linear_0": {"w": zeros(3, 4)}}, None, X
    ),
    "parameter of another shape": lambda: LINEAR.apply(linear_params(w=zeros(5, 4)), None, X),
    "parameter that is no array, from its initializer": lambda: init(
        lambda: weight(init=lambda shape, dtype: 3.0)
    ),
    "parameter that is no array, None": lambda: init(
        lambda: weight(init=lambda shape, dtype: None)
    ),
    "parameter without initializer": lambda: init(weight),
    "parameter called by a number": lambda: init(lambda: ps.get_parameter(3, [], init=jnp.zeros)),
    "parameter of one number as shape": lambda: init(
        lambda: ps.get_parameter("w", 3, init=jnp.zeros)
    ),
    "parameter of a word as shape": lambda: init(
        lambda: ps.get_parameter("w", "34", init=jnp.zeros)
    ),
    "parameter of a shape of words": lambda: init(
        lambda: ps.get_parameter("w", [3, "4"], init=jnp.zeros)
    ),
    "parameter of a size below 0": lambda: init(
        lambda: ps.get_parameter("w", [3, -4], init=jnp.zeros)
    ),
    "parameter of a dtype that is none": lambda: init(
        lambda: ps.get_parameter("w", [3], "float33", jnp.zeros)
    ),
    "parameter with a class as initializer": lambda: init(
        lambda: ps.get_parameter("w", [3], init=ps.initializers.Constant)
    ),
    "parameter with a number as initializer": lambda: init(
        lambda: ps.get_parameter("w", [3], init=0.0)
    ),
    "parameter given as a text": lambda: LINEAR.apply(linear_params(w="text"), None, X),
    "parameter with a hole in its place": lambda: LINEAR.apply(linear_params(w=None), None, X),
    "parameter in a module that is no dict": lambda: LINEAR.apply({"linear": zeros(3, 4)}, None, X),
    "parameter too large": lambda: init(
        lambda: ps.get_parameter("w", [2**40, 2**40], init=jnp.zeros)
    ),
    "parameter of two dtypes": lambda: init(two_dtypes),
    "parameter trainable and not": lambda: ps.specs(trainable_twice)(None),
    "parameter with two lists of axes": lambda: ps.specs(axes_twice)(None),
    "parameter with too many axes": lambda: ps.specs(lambda: weight(init=jnp.zeros, axes=["in"]))(
        None
    ),
    "parameter shared and given": lambda: ps.transform(used_and_shared).apply(
        {"~": {"w": zeros()}}, None
    ),
    "share of no array": lambda: ps.share("embeddings"),
    "state without initializer": lambda: init(lambda: ps.get_state("n")),
    "state without initializer, others there": lambda: init(
        lambda: (ps.set_state("m", X), ps.get_state("n"))
    ),
    "state without shape": lambda: init(lambda: ps.get_state("n", init=jnp.zeros)),
    "state without dtype": lambda: init(lambda: ps.get_state("n", [], None, jnp.zeros)),
    "state too large": lambda: init(lambda: ps.get_state("n", [2**63], init=jnp.zeros)),
    "state in a module that is no dict": lambda: COUNTER.apply({}, {"~": zeros()}, None),
    "state missing": lambda: COUNTER.apply({}, {"~": {"m": zeros()}}, None),
    "state empty": lambda: COUNTER.apply({}, {}, None),
    "state that is no array": lambda: init(lambda: ps.set_state("n", "three")),
    "state that JAX does not know": lambda: init(lambda: ps.set_state("n", np.array(["three"]))),
    "state with a module in it": lambda: init(lambda: ps.set_state("net", [Net()])),
    "state made that is no array": lambda: init(
        lambda: ps.get_state("n", [], init=lambda shape, dtype: "three")
    ),
    "state under transform": lambda: ps.transform(lambda: ps.set_state("n", X)).init(None),
    "state that is no dict": lambda: COUNTER.apply({}, X, None),
    "variable in two collections": lambda: init(two_collections),
    "variable of another run": foreign_handle,
    "variable missing": lambda: init(lambda: ps.get_variable("counts", "n")),
    "variable missing, of a collection that is misspelt": misspelt_collection,
    "variable missing in params": lambda: init(lambda: ps.get_variable("params", "n")),
    "variable missing, and may not be made": lambda: COUNTS.apply(MISSING_COUNTS, None),
    "collection that may not change": lambda: COUNTS.apply(GIVEN_COUNTS, None),
    "collection that may not change, one near": lambda: COUNTS.apply(
        GIVEN_COUNTS, None, mutable=["count"]
    ),
    "collection that may not change, AllBut": lambda: COUNTS.apply(
        GIVEN_COUNTS, None, mutable=ps.AllBut("counts")
    ),
    "params that do not change": lambda: ps.transform(set_weight).apply(
        {"~": {"w": zeros()}}, None
    ),
    "set_parameter of another shape": lambda: set_given_weight(zeros(3)),
    "DO_NOT_STORE has no shape": lambda: ps.DO_NOT_STORE.shape,
    "DO_NOT_STORE has no dtype": lambda: ps.DO_NOT_STORE.dtype,
}

# --- random keys ---

KEYS: dict[str, Callable[[], Any]] = {
    "seed of more than 64 bits": lambda: ps.PRNGSequence(2**70),
    "PRNGSequence of one part": lambda: ps.PRNGSequence((3,)),
    "no key, apply": lambda: ps.transform(ps.next_rng_key).apply({}, None),
    "no key, init": lambda: LINEAR.init(None, X),
    "no key, in a module": lambda: ps.transform(lambda: ps.Dropout(0.5)(X, True)).apply({}, None),
    "key that is a text": lambda: ps.PRNGSequence("seed"),
    "key of floats": lambda: ps.PRNGSequence(zeros(2)),
    "several keys": lambda: ps.PRNGSequence(jax.random.split(key(), 3)),
    "several raw keys": lambda: ps.PRNGSequence(zeros(3, 2, dtype=np.uint32)),
    "raw key of another size": lambda: ps.PRNGSequence(zeros(4, dtype=np.uint32)),
    "key for init that is none": lambda: LINEAR.init(X, X),
    "key for apply that is params": lambda: LINEAR.apply(linear_params(), linear_params(), X),
    "no keys in a dict": lambda: LINEAR.init({}, X),
    "no keys in a dict, in a block": lambda: init(lambda: ps.with_rng({})),
    "stream without key": lambda: ps.transform(lambda: ps.next_rng_key("dropout")).apply(
        {}, {"noise": key()}
    ),
    "no keys to return": lambda: init(lambda: ps.next_rng_keys(0)),
    "less than no keys": lambda: init(lambda: ps.reserve_rng_keys(-1)),
    "rng_mode unknown": lambda: ps.transform(weight, rng_mode="random").init(key()),
    "one key for all rows": lambda: run(
        lambda: jax.vmap(lambda x: jax.random.normal(ps.next_rng_key()))(X)
    ),
}

# --- what the transforms and their functions are given ---


def generator():
    yield weight(init=jnp.zeros)


def without_state(name: str) -> Any:
    f = ps.transform_with_state(lambda: None)
    return (
        ps.without_state(f).apply({}, None, state={})
        if name == "state"
        else ps.without_apply_rng(f).apply({}, {}, rng=None)
    )


def give_many_wrong() -> Any:
    f = ps.transform(lambda x: ps.nets.MLP([2] * 20)(x))
    return ps.check(f)({}, None, X)


def renamed(params: Any) -> Any:
    return {"linaer": params["linear"]}


def drifting() -> Any:
    f = ps.transform_with_state(
        lambda: ps.set_state(
            "n", jnp.zeros([len(np.shape(ps.get_state("n", [], init=jnp.zeros))) + 1])
        )
    )
    return ps.check(f)({}, {"~": {"n": zeros()}}, None)


PERTURBED = ps.transform_with_collections(lambda x: ps.perturb("h", x))


def capture_compiled() -> Any:
    compiled = LINEAR._replace(apply=jax.jit(LINEAR.apply))
    return ps.capture_intermediates(compiled).apply(linear_params(), None, X)


GIVEN: dict[str, Callable[[], Any]] = {
    "transform of no function": lambda: ps.transform(3),
    "transform of an array": lambda: ps.transform(X),
    "a pair is called": lambda: ps.transform(weight)(X),
    "a pair with state is called": lambda: ps.transform_with_state(weight)(X),
    "a pair over collections is called": lambda: ps.transform_with_collections(weight)(X),
    "transform of a pair": lambda: ps.transform(ps.transform(weight)),
    "transform of a compiled function": lambda: ps.transform(jax.jit(set_weight)),
    "transform of a generator": lambda: init(generator),
    "transform of a class that needs arguments": lambda: ps.transform(ps.Linear),
    "transform with apply_rng=False": lambda: ps.transform(weight, apply_rng=False),
    "params that are no dict": lambda: LINEAR.apply(X, None, X),
    "arguments in another order": lambda: COUNTER.apply(key(), {}, {}),
    "state by name, though there is none": lambda: without_state("state"),
    "rng by name, though there is none": lambda: without_state("rng"),
    "without_apply_rng of a function": lambda: ps.without_apply_rng(weight),
    "mutable that is a number": lambda: COUNTS.apply(GIVEN_COUNTS, None, mutable=3),
    "mutable with a number in it": lambda: COUNTS.apply(GIVEN_COUNTS, None, mutable=["counts", 3]),
    "variables that are no dict": lambda: COUNTS.apply(X, None),
    "variables with a collection that is no dict": lambda: COUNTS.apply({"counts": X}, None),
    "variables one level short": lambda: COUNTS.apply({"~": {"n": zeros()}}, None),
    "intercept_methods with a class": lambda: init(lambda: ps.intercept_methods(Net).__enter__()),
    "multi_transform of a function of one thing": lambda: ps.multi_transform(lambda: Net()),
    "multi_transform of a function of no functions": lambda: ps.multi_transform(lambda: (3, Net())),
    "without_state of a function": lambda: ps.without_state(weight),
    "with_empty_state of a function": lambda: ps.with_empty_state(weight),
    "check of a number": lambda: ps.check(3),
    "check, missing": lambda: ps.check(LINEAR)({}, None, X),
    "check, renamed": lambda: ps.check(LINEAR)(renamed(linear_params()), None, X),
    "check, shapes and dtypes": lambda: ps.check(LINEAR)(
        linear_params(w=zeros(5, 4), b=zeros(4, dtype=np.int32)), None, X
    ),
    "check, unused": lambda: ps.check(LINEAR)(linear_params(scale=zeros(4)), None, X),
    "check, more than are shown": give_many_wrong,
    "check, no key": lambda: ps.check(ps.transform(ps.next_rng_key))({}, None),
    "check, state that drifts": drifting,
    "specs of a number": lambda: ps.specs(3),
    "capture_intermediates of a number": lambda: ps.capture_intermediates(3),
    "capture_intermediates of a compiled apply": capture_compiled,
    "perturbation of another shape": lambda: PERTURBED.apply(
        {"perturbations": {"~": {"h": zeros(3)}}}, None, X
    ),
    "config, rng_reserve_size": lambda: ps.config.set(rng_reserve_size=0),
    "config, rng_reserve_size no int": lambda: ps.config.set(rng_reserve_size=0.5),
    "config, an action": lambda: ps.config.set(leaks="ignore"),
    "config, lifted_names": lambda: ps.config.set(lifted_names="flax"),
    "config, a switch": lambda: ps.config.set(check_jax_usage="yes"),
    "check of a number, to a function": lambda: ps.data_structures.map(3, {}),
}

# --- plain JAX transforms inside ---


def leak(x: Any) -> Any:
    return jax.vmap(lambda row: ps.set_state("row", row))(x)


def in_context(f: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    def do() -> Any:
        with ps.config.context(**settings):
            return run(f, X)

    return do


def compiled_in_a_thread_with_blocks() -> Any:
    with ps.freeze("*"):
        context = contextvars.copy_context()
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        compiled = jax.jit(LINEAR.apply)
        return threads.submit(context.run, compiled, linear_params(), None, X).result()


def draw_in_vmap(x: Any) -> Any:
    return jax.vmap(lambda row: ps.next_rng_key())(x)


LAST = ps.transform_with_state(lambda x: ps.set_state("last", x))


def in_shards(**settings: Any) -> Callable[..., Any]:
    def do() -> Any:
        P = jax.sharding.PartitionSpec
        mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("data",))
        step = jax.shard_map(
            lambda x: LAST.apply({}, {}, None, x)[1],
            mesh=mesh,
            in_specs=P("data"),
            out_specs=P(),
            check_vma=False,
        )
        with ps.config.context(new_state="off", **settings):
            return jax.eval_shape(step, X)

    return do


def stale(action: str) -> Any:
    f = ps.transform_with_state(lambda: ps.set_state("n", ps.get_state("n") + 1))
    state = {"~": {"n": zeros(2)}}
    with ps.config.context(stale_state=action):
        for _ in range(2):
            f.apply({}, state, None)


def in_pmap() -> Any:
    step = jax.pmap(lambda x: LAST.apply({}, None, None, x)[1], axis_name="data", out_axes=None)
    return jax.eval_shape(step, X[None])


JAX: dict[str, Callable[[], Any]] = {
    "state set in jax.vmap": lambda: init(leak, X),
    "stale state": lambda: stale("error"),
    "stale state, as a warning": lambda: stale("warn"),
    "parameter made in jax.jit": lambda: init(lambda x: jax.jit(lambda y: ps.Linear(2)(y))(x), X),
    "key drawn in jax.lax.scan": lambda: init(
        lambda x: jax.lax.scan(lambda c, y: (c, ps.next_rng_key()), 0, x), X
    ),
    "state set in jax.vmap, as a warning": in_context(leak, leaks="warn"),
    "one key for all rows, as an error": in_context(draw_in_vmap, shared_keys="error"),
    "compiled in a thread with the blocks of another": compiled_in_a_thread_with_blocks,
    "parameter read in jax.jit, strictly": lambda: in_context(
        lambda x: (ps.Linear(2)(x), jax.jit(lambda y: ps.get_state("n", [], init=jnp.zeros))(x)),
        check_jax_usage=True,
    )(),
    "state of one shard": in_shards(),
    "state of one shard, as a warning": in_shards(unsynced_state="warn"),
    "state of one device of jax.pmap": in_pmap,
}

CASES: dict[str, Callable[[], Any]] = {**MODULES, **VARIABLES, **KEYS, **GIVEN, **JAX}
