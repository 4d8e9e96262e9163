"""Which class has which policy: reload, subclasses, local classes, blocks, threads, tasks."""

import asyncio
import contextvars
import importlib.util
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jmp
import pytest

import purestate as ps
from purestate._precision import policy_registry
from purestate._precision.errors import PolicyError
from purestate.mixed_precision import (
    clear_policy,
    current_policy,
    get_named_policy,
    get_policy,
    push_policy,
    set_policy,
)

HALF = get_named_policy("f16")
BRAIN = get_named_policy("bf16")


class Outer(ps.Module):
    def __call__(self, x: Any) -> Any:
        return Inner()(x)


class Inner(ps.Module):
    def __call__(self, x: Any) -> Any:
        return x * ps.get_parameter("w", [], init=jnp.ones)


class Derived(Inner):
    pass


def any_policies() -> bool:
    places = (
        policy_registry._pushed.get(),
        policy_registry._thread.policies,
        policy_registry._of_main_thread,
    )
    return any(policy is not None for policies in places for policy in policies.values())


@pytest.fixture(autouse=True)
def no_policies() -> Iterator[None]:
    assert not any_policies()
    yield
    for cls in (Outer, Inner, Derived, ps.Linear):
        clear_policy(cls)
    assert not any_policies()


def dtype_of(cls: Any) -> Any:
    """What a call of a module of this class returns."""
    f = ps.transform(lambda x: cls()(x))
    x = jax.ShapeDtypeStruct([], jnp.float32)
    return jax.eval_shape(lambda x: f.apply(f.init(None, x), None, x), x).dtype


def in_thread(f: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(f()))
    thread.start()
    thread.join()
    return results[0]


def test_set_get_clear():
    assert get_policy(Inner) is None
    set_policy(Inner, HALF)
    assert get_policy(Inner) is HALF
    assert get_policy(Outer) is None
    assert dtype_of(Inner) == jnp.float16
    set_policy(Inner, BRAIN)
    assert dtype_of(Inner) == jnp.bfloat16
    clear_policy(Inner)
    clear_policy(Inner)
    assert get_policy(Inner) is None
    assert dtype_of(Inner) == jnp.float32


def test_policies_of_jmp_are_kept_as_they_are():
    policy = jmp.get_policy("f16")
    set_policy(Inner, policy)
    assert get_policy(Inner) is policy
    assert dtype_of(Inner) == jnp.float16


def test_subclasses_do_not_inherit():
    set_policy(Inner, HALF)
    assert dtype_of(Derived) == jnp.float32
    clear_policy(Inner)
    set_policy(Derived, HALF)
    assert dtype_of(Derived) == jnp.float16
    assert dtype_of(Inner) == jnp.float32


def test_class_of_to_module_has_its_own():
    def same(x: Any) -> Any:
        return x

    first, second = ps.to_module(same), ps.to_module(same)
    with push_policy(first, HALF), push_policy(second, BRAIN):
        assert dtype_of(first) == jnp.float16
        assert dtype_of(second) == jnp.bfloat16


def test_local_classes_of_one_name_have_their_own():
    def make() -> Any:
        class Local(Inner):
            pass

        return Local

    first, second = make(), make()
    with push_policy(first, HALF):
        assert dtype_of(first) == jnp.float16
        assert dtype_of(second) == jnp.float32


def test_reloaded_class_keeps_its_policy(tmp_path: Any):
    file = tmp_path / "reloaded_layers.py"
    file.write_text(
        "import purestate as ps\nclass Same(ps.Module):\n    def __call__(self, x):\n        return x\n"
    )

    def load() -> Any:
        spec: Any = importlib.util.spec_from_file_location("reloaded_layers", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.Same

    before = load()
    with push_policy(before, HALF):
        after = load()
        assert after is not before
        assert dtype_of(after) == jnp.float16


def test_push_restores():
    with push_policy(Inner, HALF):
        with push_policy(Inner, BRAIN):
            assert dtype_of(Inner) == jnp.bfloat16
        assert dtype_of(Inner) == jnp.float16
    assert get_policy(Inner) is None
    set_policy(Inner, HALF)
    with pytest.raises(KeyError), push_policy(Inner, BRAIN):
        raise KeyError
    assert get_policy(Inner) is HALF


def test_what_is_set_in_a_block_ends_with_it_for_that_class_alone():
    with push_policy(Inner, HALF):
        with push_policy(Outer, HALF):
            set_policy(Inner, BRAIN)
            set_policy(Outer, BRAIN)
            set_policy(Derived, BRAIN)
        assert get_policy(Inner) is BRAIN
        assert get_policy(Outer) is None
    assert get_policy(Inner) is None
    assert get_policy(Derived) is BRAIN


def test_clear_in_a_block():
    set_policy(Inner, BRAIN)
    with push_policy(Inner, HALF):
        clear_policy(Inner)
        assert get_policy(Inner) is None
        assert dtype_of(Inner) == jnp.float32
    assert get_policy(Inner) is BRAIN


def test_push_decorates():
    @push_policy(Inner, HALF)
    def run() -> Any:
        return dtype_of(Inner)

    assert (run(), run(), dtype_of(Inner)) == (jnp.float16, jnp.float16, jnp.float32)


def test_push_in_a_method_of_the_same_class_is_an_error():
    class Pushes(ps.Module):
        def __call__(self, cls: Any) -> Any:
            with push_policy(cls, HALF):
                return Inner()(jnp.ones([]))

    def f(cls: Any) -> Any:
        return Pushes()(cls)

    with pytest.raises(ValueError, match="'pushes'"):
        ps.transform(f).init(None, Pushes)
    assert ps.transform(f).init(None, Inner)["pushes/inner"]["w"].dtype == jnp.float16


@pytest.mark.parametrize(
    "use", [set_policy, lambda cls, policy: push_policy(cls, policy).__enter__()]
)
def test_no_policy_is_an_error(use: Any):
    with pytest.raises(AssertionError, match="clear_policy"):
        use(Inner, None)
    with pytest.raises(PolicyError, match="param_dtype"):
        use(Inner, "float16")
    assert get_policy(Inner) is None


def test_policy_of_something_else_than_a_class_is_an_error():
    for use in (get_policy, clear_policy, lambda x: set_policy(x, HALF)):
        with pytest.raises(PolicyError, match="class"):
            use(dtype_of)  # type: ignore[arg-type]


def test_policy_of_the_base_class_warns():
    # In dm-haiku, too, it changes nothing: issue 380 there.
    with pytest.warns(UserWarning, match="outermost"):
        set_policy(ps.Module, HALF)
    assert dtype_of(Inner) == jnp.float32
    clear_policy(ps.Module)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        set_policy(Inner, HALF)


def test_policy_of_the_main_thread_holds_in_all():
    set_policy(Inner, HALF)
    assert in_thread(lambda: (get_policy(Inner), dtype_of(Inner))) == (HALF, jnp.float16)


def test_policy_of_another_thread_holds_there_alone():
    set_policy(Inner, HALF)

    def work() -> Any:
        set_policy(Inner, BRAIN)
        set_policy(Outer, BRAIN)
        own = dtype_of(Inner)
        clear_policy(Inner)
        return own, get_policy(Inner), dtype_of(Inner)

    assert in_thread(work) == (jnp.bfloat16, None, jnp.float32)
    assert get_policy(Inner) is HALF
    assert get_policy(Outer) is None
    assert in_thread(lambda: get_policy(Inner)) is HALF


def test_threads_do_not_disturb_each_other():
    # All trace at the same time: none goes on before all are inside the module.
    policies = [get_named_policy(name) for name in ("f16", "bf16", "f32", "p=f16,c=bf16,o=f16")]
    barrier = threading.Barrier(len(policies), timeout=30)
    found: dict[int, Any] = {}

    class Waits(ps.Module):
        def __call__(self, x: Any) -> Any:
            barrier.wait()
            w = ps.get_parameter("w", [], init=jnp.ones)
            barrier.wait()
            assert current_policy() is get_policy(Waits)
            return x, w

    def work(index: int) -> None:
        policy = policies[index]
        with push_policy(Waits, policy):
            f = ps.transform(lambda x: (*Waits()(x), x))
            params = f.init(None, jnp.ones([]))
            out, _, outside = f.apply(params, None, jnp.ones([]))
        found[index] = params["waits"]["w"].dtype, out.dtype, outside.dtype

    threads = [threading.Thread(target=work, args=[index]) for index in range(len(policies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {
        i: (p.param_dtype, p.output_dtype, jnp.float32) for i, p in enumerate(policies)
    }


def test_block_does_not_reach_other_threads_unless_they_take_the_context():
    with push_policy(Inner, HALF):
        assert in_thread(lambda: dtype_of(Inner)) == jnp.float32
        context = contextvars.copy_context()
        assert in_thread(lambda: context.run(dtype_of, Inner)) == jnp.float16


def test_set_policy_outlives_its_context():
    # As from one cell of a notebook to the next.
    contextvars.copy_context().run(set_policy, Inner, HALF)
    assert dtype_of(Inner) == jnp.float16


def test_tasks_do_not_disturb_each_other():
    async def work(policy: Any) -> Any:
        with push_policy(Inner, policy):
            await asyncio.sleep(0.01)
            return dtype_of(Inner)

    async def both() -> Any:
        return await asyncio.gather(work(HALF), work(BRAIN))

    assert asyncio.run(both()) == [jnp.float16, jnp.bfloat16]
    assert dtype_of(Inner) == jnp.float32
