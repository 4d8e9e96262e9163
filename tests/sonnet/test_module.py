"""How modules are named, what they hold, and when their methods run."""

import jax
import jax.numpy as jnp
import pytest

import purestate as ps
import purestate.sonnet as snt
from purestate.errors import ModuleNameError

KEY = jax.random.key(0)
X = jnp.ones([2, 3])


def names(f, *args):
    """The paths of the params and of the state that a function makes."""
    params, state = ps.transform_with_state(f).init(KEY, *args)
    return sorted(params), sorted(state)


class InInit(snt.Module):
    def __init__(self, name=None):
        super().__init__(name=name)
        self.linear = snt.Linear(2)

    def __call__(self, x):
        return self.linear(x)


class InCall(snt.Module):
    def __call__(self, x):
        return snt.Linear(2)(x)


class InMethod(snt.Module):
    def encode(self, x):
        return snt.Linear(2)(x)

    __call__ = encode


class InProperty(snt.Module):
    @property
    def linear(self):
        return snt.Linear(2)

    def __call__(self, x):
        return self.linear(x)


class InNameScope(snt.Module):
    @snt.no_name_scope
    def __call__(self, x):
        with self.name_scope:
            return snt.Linear(2)(x)


@pytest.mark.parametrize("cls", [InInit, InCall, InMethod, InProperty, InNameScope])
def test_modules_belong_to_their_module_whichever_method_makes_them(cls):
    module = "in_" + cls.__name__[2:].lower().replace("namescope", "name_scope")
    assert names(lambda x: cls()(x), X) == ([f"{module}/linear"], [])


def test_without_name_scope_modules_belong_to_the_caller():
    class Wrapper(snt.Module):
        @snt.no_name_scope
        def __call__(self, x):
            return snt.Linear(2)(x)

    class Outer(snt.Module):
        def __call__(self, x):
            return Wrapper()(x)

    assert names(lambda x: Outer()(x), X)[0] == ["outer/linear"]


def test_a_constructor_without_name_scope_makes_modules_of_the_caller():
    class Wrapper(snt.Module):
        @snt.no_name_scope
        def __init__(self):
            super().__init__()
            self.linear = snt.Linear(2)

        def __call__(self, x):
            return snt.Bias()(self.linear(x))

    assert names(lambda x: Wrapper()(x), X)[0] == ["linear", "wrapper/bias"]


def test_equal_names_are_numbered_in_order_of_construction_over_all_methods():
    class Net(snt.Module):
        def __init__(self):
            super().__init__()
            self.first = snt.Linear(1)

        @snt.once
        def _initialize(self):
            self.second = snt.Linear(2)

        def __call__(self, x):
            self._initialize()
            third = snt.Linear(3)
            return self.first(x), self.second(x), third(x)

    params, _ = ps.transform_with_state(lambda x: Net()(x)).init(KEY, X)
    sizes = {path: bundle["b"].shape for path, bundle in params.items()}
    assert sizes == {"net/linear": (1,), "net/linear_1": (2,), "net/linear_2": (3,)}


def test_each_call_that_makes_a_module_makes_a_new_one():
    def f(x):
        net = InCall()
        return net(net(x))

    assert names(f, X)[0] == ["in_call/linear", "in_call/linear_1"]


def test_two_modules_of_one_numbered_name():
    def f(x):
        return snt.Linear(2, name="head_1")(x), snt.Linear(2, name="head_1")(x)

    assert names(f, X)[0] == ["head_1", "head_1_1"]


def test_sonnet_modules_and_modules_of_purestate_in_one_another():
    class Inner(snt.Module):
        def __call__(self, x):
            return ps.Linear(2)(x)

    class Outer(ps.Module):
        def __init__(self, name=None):
            super().__init__(name=name)
            self.inner = Inner()

        def __call__(self, x):
            return snt.Linear(2)(self.inner(x))

    assert names(lambda x: Outer()(x), X)[0] == ["outer/linear", "outer/~/inner/linear"]


def test_name_and_name_scope():
    def f(x):
        linear = [snt.Linear(2), snt.Linear(2, name="other")]
        return [(module.name, module.name_scope.name) for module in linear]

    assert ps.transform_with_state(f).apply({}, {}, None, X)[0] == [
        ("linear", "linear/"),
        ("other", "other/"),
    ]


def test_a_name_must_be_an_identifier():
    with pytest.raises(ModuleNameError, match="Try 'a_b'"):
        names(lambda: snt.Linear(2, name="a-b"))
    assert issubclass(ModuleNameError, ValueError)


def test_a_method_needs_a_name_first():
    class Net(snt.Module):
        def __init__(self):
            self.prepare()
            super().__init__()

        def prepare(self):
            self.size = 3

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(name=name\)"):
        names(lambda: Net())
    Net.__init__ = lambda self: None
    with pytest.raises(ValueError, match="without a name"):
        names(lambda: Net())


def test_submodules_and_variables_in_the_order_of_tf_module():
    class Net(snt.Module):
        def __init__(self):
            super().__init__()
            self.z = snt.Variable(1.0, name="z")
            self.layers = {"b": [snt.Linear(1, name="b")], "a": snt.Linear(1, name="a")}
            self.alias = self.layers["b"][0]
            self.steps = snt.Variable(0, trainable=False, name="steps")

        def __call__(self, x):
            return self.layers["a"](x) + self.layers["b"][0](x)

    def f(x):
        net = Net()
        net(x)
        return (
            [v.name for v in net.variables],
            [v.name for v in net.trainable_variables],
            [m.name for m in net.submodules],
            snt.attribute_paths(net),
        )

    pair = ps.transform_with_state(f)
    every, trainable, modules, paths = pair.apply(*pair.init(KEY, X), None, X)[0]
    assert every == ["net/steps:0", "net/z:0", "net/b/b:0", "net/b/w:0", "net/a/b:0", "net/a/w:0"]
    assert trainable == [name for name in every if "steps" not in name]
    assert modules == ["b", "a"]
    assert paths["layers/a/w"] == ("net/a", "w")
    assert paths["z"] == ("net", "z")


@pytest.mark.parametrize("what", ["variables", "trainable_variables"])
def test_no_variables_is_an_error_that_says_what_to_do(what):
    net = snt.Sequential([])
    with pytest.raises(ValueError, match="allow_empty_variables"):
        getattr(net, what)
    assert getattr(snt.allow_empty_variables(net), what) == ()

    @snt.allow_empty_variables
    class Empty(snt.Module):
        pass

    assert getattr(Empty(), what) == ()


def test_repr_is_the_call():
    assert repr(snt.Linear(3, with_bias=False)) == "Linear(output_size=3, with_bias=False)"


def test_hooks_see_sonnets_methods():
    seen = []

    def record(f, args, kwargs, context):
        if context.method_name != "__init__":  # which gives the module its name
            seen.append((context.module.module_name, context.method_name))
        return f(*args, **kwargs)

    def f(x):
        with ps.intercept_methods(record):
            return InInit()(x)

    ps.transform_with_state(f).init(KEY, X)
    assert ("in_init/linear", "__call__") in seen
    assert ("in_init", "__call__") in seen


class Mixed(snt.Module):
    """Has variables that are the value of no attribute."""

    def __init__(self):
        super().__init__()
        self.ordinary = ps.nets.MLP([3, 2])
        self.norm = ps.BatchNorm(True, True, 0.9)
        self.last = snt.Linear(2)

    def __call__(self, x):
        gain = ps.get_parameter("gain", [2], init=jnp.ones)
        ps.set_state("last", x)
        return self.norm(self.ordinary(x), is_training=True) * gain + self.last(x)


def names_of(net, x):
    net(x)
    return {v.name: v.trainable for v in net.variables}


def test_variables_of_ordinary_layers_and_functions_are_listed_too():
    pair = ps.transform_with_state(lambda x: names_of(Mixed(), x))
    params, state = pair.init(KEY, X)
    inside = pair.apply(params, state, None, X)[0]
    outside = {name.partition("/")[2]: trainable for name, trainable in names_of(Mixed(), X).items()}
    assert {name.partition("/")[2]: trainable for name, trainable in inside.items()} == outside
    assert sum(inside.values()) == sum(len(bundle) for bundle in params.values()) == 9
    assert len(inside) == 9 + sum(len(bundle) for bundle in state.values())
    assert inside["mixed/mlp/linear_0/w:0"]
    assert not inside["mixed/batch_norm/mean_ema/hidden:0"]


def test_they_are_trained_outside():
    net = Mixed()
    x = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
    net(x)
    loss, grads = snt.value_and_grad(lambda: jnp.sum(net(x) ** 2), net.trainable_variables)()
    assert len(grads) == 9
    snt.optimizers.SGD(0.01).apply(grads, net.trainable_variables)
    assert jnp.sum(net(x) ** 2) < loss
