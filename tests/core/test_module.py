"""Modules: construction, methods in scopes, marks on methods, and the variables of a module."""

import abc
import dataclasses
import inspect
import subprocess
import sys
from typing import Generic, TypeVar

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.core.raises import raises

X = jnp.ones([2, 3])
T = TypeVar("T")


def init(f, *args):
    return ps.transform_with_state(f).init(jax.random.key(0), *args)


def test_a_module_without_a_name():
    class Forgets(ps.Module):
        def __init__(self):
            pass

    class Late(ps.Module):
        def __init__(self):
            self.inner = ps.Linear(1)
            super().__init__()

    for cls in (Forgets, Late):
        words = (cls.__name__, "super().__init__")
        raises(ps.errors.ModuleError, *words, call=lambda cls=cls: init(lambda: cls()))


def test_init_is_not_called_by_hand():
    def f():
        ps.Linear(1).__init__(2)

    raises(ps.errors.FrameError, "Linear", "make a new module", call=lambda: init(f))


def make_kinds(lib):
    """A module with every kind of method, each of which makes a module `w`."""

    def made():
        return lib.Module(name="w").module_name

    class Kinds(lib.Module):
        def __init__(self, name=None):
            super().__init__(name=name)
            self.in_init = made()

        def __call__(self):
            return made()

        def plain(self):
            return made()

        @property
        def prop(self):
            return made()

        @staticmethod
        def static():
            return made()

        @classmethod
        def of_class(cls):
            return made()

        @lib.transparent
        def marked(self):
            return made()

        @lib.name_like("__call__")
        def like_call(self):
            return made()

        @lib.name_like("plain")
        def like_plain(self):
            return made()

        def _private(self):
            return made()

        def __len__(self):
            return len(made())

    class Derived(Kinds):
        def plain(self):
            return super().plain()

    return Kinds, Derived


def paths_of_kinds(lib, derived):
    def f():
        module = make_kinds(lib)[derived]()
        return {
            "in_init": module.in_init, "call": module(), "plain": module.plain(), "prop": module.prop,
            "static": module.static(), "of_class": module.of_class(), "marked": module.marked(),
            "like_call": module.like_call(), "like_plain": module.like_plain(),
            "private": module._private(), "len": len(module),
        }  # fmt: skip

    return lib.transform(f).apply({}, None)


@pytest.mark.parametrize("derived", [False, True])
def test_the_scope_of_each_kind_of_method_is_that_of_dm_haiku(derived):
    assert paths_of_kinds(ps, derived) == paths_of_kinds(hk, derived)
    assert paths_of_kinds(ps, False)["like_plain"] == "kinds/~plain/w"


def test_names_of_a_module():
    def f():
        with ps.name_scope("tower"):
            module = ps.Linear(1, name="head")
        forced = ps.Linear(1, name=ps.force_name("a/b"))
        return [(m.name, m.module_name) for m in (module, forced)]

    assert ps.transform(f).apply({}, None) == [("head", "tower/head"), ("b", "a/b")]


def test_dataclasses():
    @dataclasses.dataclass
    class Net(ps.Module):
        size: int = 2
        name: str | None = None

        def __post_init__(self):
            super().__post_init__(name=self.name)
            self.double = 2 * self.size

        def __call__(self, x):
            return ps.Linear(self.double)(x)

    f = ps.transform(lambda x: (Net()(x), Net(3, name="other")(x)))
    shapes = jax.tree.map(jnp.shape, jax.eval_shape(f.init, jax.random.key(0), X))
    assert shapes == {
        "net/linear": {"b": (4,), "w": (3, 4)},
        "other/linear": {"b": (6,), "w": (3, 6)},
    }


def test_a_frozen_dataclass_cannot_get_its_name():
    @dataclasses.dataclass(frozen=True)
    class Frozen(ps.Module):
        size: int = 2

    with pytest.raises(dataclasses.FrozenInstanceError):
        init(lambda: Frozen())


def test_abstract_and_generic_classes():
    class Base(ps.Module, abc.ABC):
        @abc.abstractmethod
        def encode(self, x): ...

    class Box(ps.Module, Generic[T]):
        def __call__(self, x):
            return ps.Bias()(x)

    with pytest.raises(TypeError, match="abstract"):
        init(lambda: Base())
    assert list(init(lambda x: Box[int]()(x), X)[0]) == ["box/bias"]


def test_the_signature_of_a_class_is_that_of_its_constructor():
    class Net(ps.Module):
        def __init__(self, size, *, rate=0.5, name=None):
            super().__init__(name=name)

    assert str(inspect.signature(Net)) == "(size, *, rate=0.5, name=None)"


def test_methods_keep_their_name_and_text():
    class Net(ps.Module):
        def __call__(self, x):
            """What it says."""

    assert (Net.__call__.__name__, Net.__call__.__doc__) == ("__call__", "What it says.")
    assert list(inspect.signature(Net.__call__).parameters) == ["self", "x"]


def test_variables_of_a_module_and_of_those_used_in_it():
    class Net(ps.Module):
        def __init__(self, shared, name=None):
            super().__init__(name=name)
            self.shared = shared

        def __call__(self, x):
            ps.set_state("n", jnp.ones([]))
            return self.shared(ps.Linear(3)(x))

    found = []

    def f(x):
        shared, other = ps.Bias(), ps.Linear(3)
        net = Net(shared)
        net(other(x))
        found.append((net.params_dict(), net.state_dict(), shared.params_dict()))

    params, state = init(f, X)
    expected = {f"{m}/{n}": params[m][n] for m in ("net/linear", "bias") for n in params[m]}
    own_params, own_state, of_shared = found[0]
    assert own_params == expected
    assert own_state == {"net/n": state["net"]["n"]}
    assert list(of_shared) == ["bias/b"]


def stacks_of_names(lib):
    """The name of each equation of a module with two methods."""

    class Net(lib.Module):
        def __call__(self, x):
            return self.encode(x) + 1

        def encode(self, x):
            return jnp.sin(x)

    f = lib.transform(lambda x: Net(name="n")(x))
    jaxpr = jax.make_jaxpr(f.apply)({}, None, X)
    return [(e.primitive.name, str(e.source_info.name_stack)) for e in jaxpr.eqns]


def test_each_method_is_named_in_the_jaxpr():
    assert stacks_of_names(ps) == stacks_of_names(hk) == [("sin", "n/encode/n"), ("add", "n")]


def test_a_module_is_used_again_with_the_same_parameters():
    def f(x):
        layer = ps.Linear(3)
        return layer(layer(x))

    g = ps.transform(f)
    params = g.init(jax.random.key(0), X)
    w, b = params["linear"]["w"], params["linear"]["b"] + 1
    out = g.apply({"linear": {"w": w, "b": b}}, None, X)
    np.testing.assert_allclose(out, (X @ w + b) @ w + b, rtol=1e-5)


DEPTHS = """
import itertools, sys
import jax.numpy as jnp, purestate as ps

depths = []

class Nested(ps.Module):
    def __call__(self, x, deep):
        frame, depth = sys._getframe(), 0
        while frame is not None:
            frame, depth = frame.f_back, depth + 1
        depths.append(depth)
        return Nested(name="inner")(x, deep - 1) if deep else x

def interceptor(call, args, kwargs, context):
    return call(*args, **kwargs)

def forward(x):
    {block}
        return Nested()(x, 20)

ps.transform(forward).init(None, jnp.ones([]))
print({{after - before for before, after in itertools.pairwise(depths)}})
"""

BLOCKS = {  # and how many frames a nested module has inside
    "if True:": 2,
    "with ps.intercept_methods(interceptor):": 6,
    "with ps.intercept_methods(interceptor), ps.intercept_methods(interceptor):": 8,
    "with ps.mixed_precision.push_policy(Nested, ps.mixed_precision.Policy.parse('bfloat16')):": 7,
}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_call_of_a_module_adds_few_frames_of_python(block):
    """So a model may be 300 modules deep, within Python's limit of 1,000 frames. A plain call adds one.

    In a process of its own, since a hook that other tests have left adds more.
    """
    program = DEPTHS.format(block=block)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{{{BLOCKS[block]}}}\n"
