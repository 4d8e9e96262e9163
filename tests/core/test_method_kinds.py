"""Marks on methods x kinds of methods x where they run: names, hook order and name stacks of dm-haiku."""

import dataclasses
import functools
from typing import Protocol

import haiku
import jax
import jax.numpy as jnp
import pytest

import purestate

X = jnp.ones([2, 3])


def marks(hk):
    experimental = hk.experimental
    name_like = getattr(experimental, "name_like", None) or hk.name_like
    return {
        "none": lambda method: method,
        "transparent": getattr(experimental, "transparent", None) or hk.transparent,
        "name_like_call": name_like("__call__"),
        "name_like_init": name_like("__init__"),
        "name_like_other": name_like("other"),
    }


def use(hk, where):
    """Makes a parameter and a module, whose names say where."""
    hk.get_parameter("p_" + where, [1], init=jnp.ones)
    return hk.Linear(1, name="lin_" + where)(X)


def kinds(hk, mark):
    """Programs by kind of method; each makes a module and uses it."""

    def init(sup=True):
        class M(hk.Module):
            @mark
            def __init__(self, name=None):
                super().__init__(name=name)
                use(hk, "i")

            def __call__(self):
                return use(hk, "c")

        return lambda: M()()

    def init_order():
        class M(hk.Module):
            @mark
            def __init__(self, name=None):
                super().__init__(name=name)
                self.l = hk.Linear(1, name="l")

            def __call__(self):
                return self.l(X)

        return lambda: (M()(), M()())

    def call():
        class M(hk.Module):
            @mark
            def __call__(self):
                return use(hk, "c")

        return lambda: M()()

    def method():
        class M(hk.Module):
            @mark
            def enc(self):
                return use(hk, "m")

        return lambda: M().enc()

    def prop():
        class M(hk.Module):
            @property
            @mark
            def p(self):
                return use(hk, "p")

            @p.setter
            @mark
            def p(self, v):
                use(hk, "s")

        def f():
            m = M()
            getattr(m, "p")  # noqa: B009
            m.p = 3

        return f

    def mark_prop():
        class M(hk.Module):
            def p(self):
                return use(hk, "p")

            p = property(mark(p))

        return lambda: M().p

    def classm():
        class M(hk.Module):
            @classmethod
            @mark
            def make(cls):
                use(hk, "k")
                return cls()

            def __call__(self):
                return use(hk, "c")

        return lambda: M.make()()

    def staticm():
        class M(hk.Module):
            @staticmethod
            @mark
            def st():
                return use(hk, "t")

            def __call__(self):
                return self.st()

        return lambda: M()()

    def staticm_out():
        class M(hk.Module):
            @staticmethod
            @mark
            def st():
                return use(hk, "t")

        return lambda: M.st()

    def gen():
        class M(hk.Module):
            @mark
            def g(self):
                yield use(hk, "g")
                yield use(hk, "h")

            def __call__(self):
                return list(self.g())

        return lambda: M()()

    def post():
        @dataclasses.dataclass
        class M(hk.Module):
            n: int = 1

            @mark
            def __post_init__(self):
                super().__post_init__()
                use(hk, "o")

            def __call__(self):
                return use(hk, "c")

        return lambda: M()()

    def inherited():
        class A(hk.Module):
            @mark
            def enc(self):
                return use(hk, "a")

        class B(A):
            pass

        return lambda: B().enc()

    def overridden():
        class A(hk.Module):
            @mark
            def enc(self):
                return use(hk, "a")

        class B(A):
            def enc(self):
                use(hk, "b")
                return super().enc()

        return lambda: B().enc()

    def overridden2():
        class A(hk.Module):
            def enc(self):
                return use(hk, "a")

        class B(A):
            @mark
            def enc(self):
                use(hk, "b")
                return super().enc()

        return lambda: B().enc()

    def init_inherited():
        class A(hk.Module):
            @mark
            def __init__(self, name=None):
                super().__init__(name=name)
                use(hk, "a")

        class B(A):
            def __init__(self, name=None):
                super().__init__(name=name)
                use(hk, "b")

        return lambda: B()

    def init_inherited2():
        class A(hk.Module):
            def __init__(self, name=None):
                super().__init__(name=name)
                use(hk, "a")

        class B(A):
            @mark
            def __init__(self, name=None):
                super().__init__(name=name)
                use(hk, "b")

        return lambda: B()

    def dunder():
        class M(hk.Module):
            @mark
            def __getitem__(self, i):
                return use(hk, "d")

            @mark
            def __len__(self):
                use(hk, "l")
                return 1

            @mark
            def __enter__(self):
                use(hk, "e")

            def __exit__(self, *a):
                pass

        def f():
            m = M()
            m[0]
            len(m)
            with m:
                pass

        return f

    def partialm():
        class M(hk.Module):
            @mark
            def enc(self, a):
                return use(hk, "m")

            enc1 = functools.partialmethod(enc, 1)

        return lambda: M().enc1()

    def cached():
        class M(hk.Module):
            @functools.cached_property
            @mark
            def c(self):
                return use(hk, "c")

        return lambda: M().c

    def lam():
        class M(hk.Module):
            enc = mark(lambda self: use(hk, "m"))

        return lambda: M().enc()

    def mod_in_method():
        class M(hk.Module):
            @mark
            def enc(self):
                return N()()

        class N(hk.Module):
            def __call__(self):
                return use(hk, "n")

        return lambda: M().enc()

    def init_calls_method():
        class M(hk.Module):
            def __init__(self, name=None):
                super().__init__(name=name)
                self.enc()

            @mark
            def enc(self):
                return use(hk, "m")

        return lambda: M()

    def method_calls_method():
        class M(hk.Module):
            def __call__(self):
                return self.enc()

            @mark
            def enc(self):
                use(hk, "m")
                return self.dec()

            def dec(self):
                return use(hk, "d")

        return lambda: M()()

    def wrapped():
        def deco(f):
            @functools.wraps(f)
            def g(*a):
                use(hk, "w")
                return f(*a)

            return g

        class M(hk.Module):
            @deco
            @mark
            def enc(self):
                return use(hk, "m")

        return lambda: M().enc()

    def protocol():
        class P(Protocol):
            def enc(self): ...

        class M(hk.Module, P):
            @mark
            def enc(self):
                return use(hk, "m")

        return lambda: M().enc()

    def mixin():
        class Mix:
            @mark
            def enc(self):
                return use(hk, "x")

        class M(Mix, hk.Module):
            pass

        return lambda: M().enc()

    def mixin_init():
        class Mix:
            @mark
            def __init__(self, name=None):
                super().__init__(name=name)
                use(hk, "x")

        class M(Mix, hk.Module):
            def __call__(self):
                return use(hk, "c")

        return lambda: M()()

    def module_name_prop():
        class M(hk.Module):
            @mark
            def setup(self):
                self.l = hk.Linear(1)

            def __call__(self):
                self.setup()
                return self.l(X)

        return lambda: M()()

    def new_attr():
        class M(hk.Module):
            pass

        M.enc = mark(lambda self: use(hk, "m"))
        return lambda: M().enc()

    def instance_attr():
        class M(hk.Module):
            def __init__(self, name=None):
                super().__init__(name=name)
                self.f = mark(lambda: use(hk, "m"))

        return lambda: M().f()

    def callable_obj():
        class C:
            def __get__(self, o, t):
                return functools.partial(use, hk, "m")

        class M(hk.Module):
            enc = C()

        return lambda: M().enc()

    def set_name():
        class M(hk.Module):
            def __init__(self, name=None):
                use(hk, "z")
                super().__init__(name=name)

        return lambda: M()

    def bare_mark_module():
        class M(hk.Module):
            @mark
            def __call__(self):
                return use(hk, "c")

        class Around(hk.Module):
            def __call__(self):
                return (M()(), M()())

        return lambda: Around()()

    def singledispatch():
        class M(hk.Module):
            @functools.singledispatchmethod
            @mark
            def enc(self, a):
                return use(hk, "m")

        return lambda: M().enc(1)

    return {name: f for name, f in locals().items() if name not in ("hk", "mark")}


def seen(hk, kind, mark, place):
    """Returns what names, hooks and jaxprs show of a program, or that it raises."""
    log = []

    def interceptor(next_method, args, kwargs, context):
        log.append(
            (context.method_name, type(context.module).__name__, context.orig_class.__name__)
        )
        return next_method(*args, **kwargs)

    def f():
        made = kinds(hk, marks(hk)[mark])[kind]()
        if place == "name_scope":
            with (getattr(hk, "name_scope", None) or hk.experimental.name_scope)("scope"):
                made()
        elif place == "module":

            class Outer(hk.Module):
                def __call__(self):
                    made()

            Outer()()
        elif place == "interceptor":
            intercept = getattr(hk, "intercept_methods", None)
            with (intercept or hk.experimental.intercept_methods)(interceptor):
                made()
        else:
            made()

    g = hk.transform(f)
    try:
        params = g.init(jax.random.PRNGKey(0))
    except Exception:
        return "raises"
    names = [(module, list(bundle)) for module, bundle in params.items()]
    jaxpr = jax.make_jaxpr(lambda params: g.apply(params, None))(params)
    stacks = [str(equation.source_info.name_stack) for equation in jaxpr.eqns]
    return names, log, stacks if place == "module" else None


@pytest.mark.parametrize("mark", marks(haiku))
@pytest.mark.parametrize("place", ["plain", "name_scope", "module", "interceptor"])
def test_every_kind_of_method(mark, place):
    raised = 0
    for kind in kinds(haiku, lambda method: method):
        expected = seen(haiku, kind, mark, place)
        assert seen(purestate, kind, mark, place) == expected, kind
        raised += expected == "raises"
    assert raised <= 4
