"""What modules with a policy compute: bit for bit what dm-haiku computes with jmp."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import jmp
import numpy as np
import pytest

import purestate as ps
from purestate import mixed_precision
from purestate._core.frame import ambient
from purestate._precision import policy_registry

POLICIES = ["p=f32,c=bf16,o=f32", "p=f32,c=f16,o=f16", "p=bf16,c=f32,o=f16", "f16", "bf16", "f32"]


def any_policies() -> bool:
    places = (
        policy_registry._pushed.get(),
        policy_registry._thread.policies,
        policy_registry._of_main_thread,
    )
    return any(policy is not None for policies in places for policy in policies.values())


@pytest.fixture(autouse=True)
def no_policies() -> Iterator[None]:
    yield
    assert not any_policies()


def assert_same_bits(ours: Any, theirs: Any) -> None:
    our_leaves, our_tree = jax.tree_util.tree_flatten_with_path(ours)
    their_leaves, their_tree = jax.tree_util.tree_flatten_with_path(theirs)
    assert our_tree == their_tree
    for (path, a), (_, b) in zip(our_leaves, their_leaves, strict=True):
        where = jax.tree_util.keystr(path)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), where
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), where


def mlp(lib: Any, x: Any) -> Any:
    return lib.nets.MLP([8, 5])(x)


def conv_net(lib: Any, x: Any) -> Any:
    x = lib.Conv2D(4, 3)(x.reshape([2, 3, 2, 2]))
    x = lib.BatchNorm(True, True, 0.9)(x, is_training=True)
    return lib.Linear(3)(lib.Flatten()(x))


def module_of_modules(lib: Any, x: Any) -> Any:
    class Net(lib.Module):
        def __init__(self) -> None:
            super().__init__(name="net")
            self.first = lib.Linear(4)
            self.scale = lib.get_parameter("scale", [12], init=jnp.ones)

        @property
        def doubled(self) -> Any:
            return self.scale * 2

        def encode(self, x: Any) -> Any:
            lib.set_state("seen", lib.get_state("seen", [], init=jnp.zeros) + x.sum())
            return self.first(x * self.doubled)

        def __call__(self, x: Any) -> Any:
            return {
                "out": lib.Linear(2)(self.encode(x)),
                "step": lib.get_parameter("step", [], jnp.int32, init=jnp.ones),
            }

    with policy_for(lib, Net, "p=f32,c=bf16,o=f16"):
        return Net()(x)


def nested_policies(lib: Any, x: Any) -> Any:
    class Inner(lib.Module):
        def __call__(self, x: Any) -> Any:
            return x * lib.get_parameter("w", [12], init=lib.initializers.RandomNormal())

    class Outer(lib.Module):
        def __call__(self, x: Any) -> Any:
            w = lib.get_parameter("w", [12], init=lib.initializers.RandomNormal())
            inner = Inner()(x)
            return x * w, inner, inner * w, lib.Linear(2)(inner)

    with policy_for(lib, Outer, "p=f32,c=bf16,o=f32"), policy_for(lib, Inner, "p=bf16,c=f32,o=f16"):
        return Outer()(x), Inner()(x)


def with_hooks(lib: Any, x: Any) -> Any:
    """Users' hooks outside and inside a module with a policy."""
    seen: list[Any] = []

    def creator(next_creator: Any, shape: Any, dtype: Any, init: Any, context: Any) -> Any:
        seen.append(("create", context.full_name, jnp.dtype(dtype).name))
        return next_creator(shape, dtype, init) + 1

    def getter(next_getter: Any, value: Any, context: Any) -> Any:
        seen.append(
            ("get", context.full_name, value.dtype.name, jnp.dtype(context.original_dtype).name)
        )
        return next_getter(value * np.ones(value.shape, np.float32))  # float32, whatever it was

    def setter(next_setter: Any, value: Any, context: Any) -> Any:
        seen.append(("set", context.full_name, value.dtype.name))
        return next_setter(value + 1)

    def interceptor(next_method: Any, args: Any, kwargs: Any, context: Any) -> Any:
        dtypes = [a.dtype.name for a in jax.tree.leaves((args, kwargs)) if hasattr(a, "dtype")]
        out = next_method(*args, **kwargs)
        seen.append(
            (
                "call",
                context.method_name,
                type(context.module).__name__,
                dtypes,
                getattr(out, "dtype", None),
            )
        )
        return out

    @contextlib.contextmanager
    def hooks() -> Iterator[None]:
        with (
            lib.custom_creator(creator, state=True),
            lib.custom_getter(getter, state=True),
            lib.custom_setter(setter),
        ):
            with lib.intercept_methods(interceptor):
                yield

    class Net(lib.Module):
        def __call__(self, x: Any) -> Any:
            lib.set_state("count", lib.get_state("count", [], init=jnp.zeros) + 1)
            x = lib.Linear(3)(x)
            with hooks():
                return lib.Linear(3)(x)

    with (
        policy_for(lib, Net, "p=bf16,c=f16,o=f32"),
        policy_for(lib, lib.Linear, "p=f16,c=bf16,o=bf16"),
        hooks(),
    ):
        out = Net()(x=x)
    # In the state, so that what is seen in `init` is compared too; strings cannot be compared as arrays.
    lib.set_state(
        "seen",
        np.frombuffer(repr([[str(part) for part in entry] for entry in seen]).encode(), np.uint8),
    )
    return out


def in_transforms(lib: Any, x: Any) -> Any:
    """JAX's transforms inside a module with a policy."""

    class Net(lib.Module):
        def __call__(self, x: Any) -> Any:
            cell = lib.Linear(12)
            out, ys = lib.scan(lambda c, _: (cell(c), c.sum()), cell(x), None, length=3)
            remat = lib.remat(lib.Linear(4))(out)
            picked = lib.cond(x.sum() > 0, lambda x: x * 2, lambda x: x, remat)
            batch = lib.vmap(lib.Linear(2), split_rng=False)(picked)
            return batch, ys, lib.grad(lambda x: lib.Linear(1)(x).sum())(x)

    with policy_for(lib, Net, "p=f32,c=bf16,o=f32"):
        return Net()(x)


def inner_transform(lib: Any, x: Any) -> Any:
    """A transformed function that runs inside a module with a policy."""

    class Net(lib.Module):
        def __call__(self, x: Any) -> Any:
            f = lib.transform(lambda x: lib.Linear(3)(x))
            params = f.init(lib.next_rng_key() if lib.running_init() else jax.random.PRNGKey(1), x)
            return params, f.apply(params, None, x)

    with policy_for(lib, Net, "p=f16,c=bf16,o=f32"):
        return Net()(x)


def policy_for(lib: Any, cls: Any, name: str) -> Any:
    return lib.mixed_precision.push_policy(cls, jmp.get_policy(name))


def run(lib: Any, net: Callable[..., Any], *, eager: bool = True) -> dict[str, Any]:
    """All that is compared; without `eager` where one operation at a time takes too long."""
    f = lib.transform_with_state(lambda x: net(lib, x))
    x = jnp.asarray(np.random.RandomState(0).standard_normal([2, 12]), jnp.float32)
    params, state = (f.init if eager else jax.jit(f.init))(jax.random.PRNGKey(3), x)
    out = f.apply(params, state, None, x) if eager else None

    def loss(params: Any) -> Any:
        out, new_state = f.apply(params, state, None, x)
        leaves = [y for y in jax.tree.leaves(out) if jnp.issubdtype(y.dtype, jnp.floating)]
        return sum(jnp.sum(y.astype(jnp.float32) ** 2) for y in leaves), (out, new_state)

    jit = jax.jit(jax.value_and_grad(loss, has_aux=True, allow_int=True))(params)
    equations = count_equations(jax.make_jaxpr(f.apply)(params, state, None, x).jaxpr)
    return {
        "params": params,
        "state": state,
        "eager": out,
        "jit": jit,
        "equations": np.array(equations),
    }


def count_equations(jaxpr: Any) -> int:
    inner = jax.tree.leaves(
        [eqn.params for eqn in jaxpr.eqns], is_leaf=lambda x: hasattr(x, "eqns")
    )
    return len(jaxpr.eqns) + sum(count_equations(x) for x in inner if hasattr(x, "eqns"))


@pytest.mark.parametrize(
    ("net", "where", "name"),
    [
        *[(mlp, "whole", name) for name in POLICIES],
        (mlp, "part", POLICIES[0]),
        *[pytest.param(mlp, "part", name, marks=pytest.mark.slow) for name in POLICIES[1:3]],
        (conv_net, "whole", POLICIES[0]),
        pytest.param(conv_net, "whole", POLICIES[2], marks=pytest.mark.slow),
        pytest.param(conv_net, "part", POLICIES[0], marks=pytest.mark.slow),
    ],
)
def test_layers_compute_as_in_dm_haiku(net: Callable[..., Any], where: str, name: str):
    results: list[Any] = []
    for lib in (ps, hk):
        Net = lib.to_module(lambda x, lib=lib: net(lib, x))
        with policy_for(lib, Net if where == "whole" else lib.Linear, name):
            results.append(run(lib, lambda _, x, Net=Net: Net(name="net")(x), eager=net is mlp))
    ours, theirs = results
    assert ours.pop("equations") <= theirs.pop("equations")
    assert_same_bits(ours, theirs)


@pytest.mark.parametrize(
    "net",
    [
        pytest.param(module_of_modules, marks=pytest.mark.slow),
        nested_policies,
        pytest.param(with_hooks, marks=pytest.mark.slow),
        in_transforms,
        pytest.param(inner_transform, marks=pytest.mark.slow),
    ],
)
def test_modules_compute_as_in_dm_haiku(net: Callable[..., Any]):
    # scan's structure differs; equations are compared for layers.
    ours, theirs = (run(lib, net, eager=net is not in_transforms) for lib in (ps, hk))
    ours.pop("equations"), theirs.pop("equations")
    assert_same_bits(ours, theirs)


def test_batch_norm_in_full_precision_in_a_half_precision_net_as_in_dm_haiku():
    # How dm-haiku's ImageNet example has it.
    results: list[Any] = []
    for lib in (ps, hk):
        Net = lib.to_module(lambda x, lib=lib: conv_net(lib, x))
        half = jmp.get_policy("p=f32,c=f16,o=f32")
        norm = jmp.get_policy("p=f32,c=f32,o=f32").with_output_dtype(jnp.float16)
        with (
            lib.mixed_precision.push_policy(Net, half),
            lib.mixed_precision.push_policy(lib.BatchNorm, norm),
        ):
            results.append(run(lib, lambda _, x, Net=Net: Net(name="net")(x), eager=False))
    ours, theirs = results
    assert ours.pop("equations") <= theirs.pop("equations")
    assert_same_bits(ours, theirs)
    assert ours["state"]["net/batch_norm/~/mean_ema"]["average"].dtype == jnp.float32


@pytest.mark.parametrize(
    "name",
    [POLICIES[0], *[pytest.param(name, marks=pytest.mark.slow) for name in POLICIES[1:3]]],
)
def test_own_policies_compute_as_those_of_jmp(name: str):
    results: list[Any] = []
    for policy in (mixed_precision.get_named_policy(name), jmp.get_policy(name)):
        with mixed_precision.push_policy(ps.nets.MLP, policy):
            results.append(run(ps, mlp))
    assert_same_bits(*results)


def test_casting_against_casting_by_hand():
    policy = mixed_precision.get_named_policy("p=f32,c=bf16,o=f32")
    f = ps.transform(lambda x: ps.Linear(5)(x))
    x = jnp.asarray(np.random.RandomState(0).standard_normal([2, 12]), jnp.float32)
    with mixed_precision.push_policy(ps.Linear, policy):
        params = f.init(jax.random.key(0), x)
        out = f.apply(params, None, x)
    w, b = (params["linear"][name].astype(jnp.bfloat16) for name in ("w", "b"))
    by_hand = (jnp.dot(x.astype(jnp.bfloat16), w) + b).astype(jnp.float32)
    assert_same_bits(out, by_hand)
    assert params["linear"]["w"].dtype == jnp.float32


def test_current_policy_is_that_of_the_innermost_module_that_has_one():
    outer, inner = (mixed_precision.get_named_policy(name) for name in ("f16", "bf16"))
    seen: list[Any] = []

    def note() -> None:
        seen.append(mixed_precision.current_policy())

    class Inner(ps.Module):
        def __call__(self) -> None:
            note()

    class Plain(ps.Module):
        def __call__(self) -> None:
            note()
            Inner()()
            note()

    class Outer(ps.Module):
        def __call__(self) -> None:
            note()
            Plain()()

    def f() -> None:
        note()
        Outer()()
        note()

    with mixed_precision.push_policy(Outer, outer), mixed_precision.push_policy(Inner, inner):
        ps.transform(f).apply({}, None)
    assert seen == [None, outer, outer, inner, outer, None]


def test_error_in_a_module_leaves_nothing_behind():
    class Fails(ps.Module):
        def __call__(self, x: Any) -> Any:
            raise KeyError

    def f(x: Any) -> Any:
        with contextlib.suppress(KeyError):
            Fails()(x)
        assert mixed_precision.current_policy() is None
        return ps.Linear(1)(x)

    with mixed_precision.push_policy(Fails, mixed_precision.get_named_policy("f16")):
        params = ps.transform(f).init(jax.random.key(0), jnp.ones([1, 2]))
    assert params["linear"]["w"].dtype == jnp.float32


class Reads(ps.Module):
    def __call__(self) -> Any:
        return ps.get_parameter("w", [], init=jnp.ones)


HALF = mixed_precision.get_named_policy("f16")


def test_policy_set_while_a_function_runs():
    def f() -> Any:
        before = Reads()()
        mixed_precision.set_policy(Reads, HALF)
        now = Reads()()
        mixed_precision.clear_policy(Reads)
        return before.dtype, now.dtype, Reads()().dtype

    g = ps.transform(lambda: jnp.array([d == jnp.float16 for d in f()]))
    params = g.init(None)
    assert [p["w"].dtype.name for p in params.values()] == ["float32", "float16", "float32"]
    assert g.apply(params, None).tolist() == [False, True, False]


def test_policy_set_while_a_function_runs_holds_after_it():
    ps.transform(lambda: mixed_precision.set_policy(Reads, HALF)).init(None)
    try:
        assert ps.transform(lambda: Reads()()).init(None)["reads"]["w"].dtype == jnp.float16
    finally:
        mixed_precision.clear_policy(Reads)


@pytest.mark.parametrize(
    "block",
    [
        lambda: ps.intercept_methods(
            lambda next_method, args, kwargs, context: next_method(*args, **kwargs)
        ),
        lambda: ps.custom_getter(lambda next_getter, value, context: next_getter(value)),
        lambda: mixed_precision.push_policy(ps.Linear, HALF),
    ],
)
def test_policy_set_in_a_block_of_hooks_holds_after_it(block: Any):
    def f() -> Any:
        with block():
            mixed_precision.set_policy(Reads, HALF)
        return Reads()()

    try:
        assert ps.transform(f).init(None)["reads"]["w"].dtype == jnp.float16
    finally:
        mixed_precision.clear_policy(Reads)


def calls_of(f: Callable[[], Any]) -> int:
    """Counts the calls, of Python and of C functions, that `f` makes."""
    count = 0

    def profile(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        f()
    finally:
        sys.setprofile(None)
    return count


def test_modules_without_a_policy_are_not_cast():
    hooks: list[Any] = []
    f = ps.transform(
        lambda n: [(Reads()(), hooks.append(ambient.get()[1])) for _ in range(n)] and None
    )

    def one_call_of_reads() -> int:
        few, many = (calls_of(lambda n=n: f.init(None, n)) for n in (2, 12))
        return (many - few) // 10

    one_call_of_reads()  # fills caches
    with mixed_precision.push_policy(Reads, HALF):
        with_policy = one_call_of_reads()
    assert all(hooks[-1])
    assert one_call_of_reads() < with_policy
