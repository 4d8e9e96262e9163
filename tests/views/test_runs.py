"""How often a model runs the user's function, and that a look at the skeleton tells what a run would."""

import collections
import functools
import inspect
import pydoc

import jax
import jax.numpy as jnp
import pytest

import purestate as ps

X = jnp.ones([2, 3])
COUNTS: collections.Counter[str] = collections.Counter()


class Net(ps.Module):
    """A network of two layers."""

    calls = ps.state_attr([], jnp.int32, jnp.zeros)

    def __init__(self):
        super().__init__()
        COUNTS["module"] += 1
        self.encoder = ps.nets.MLP([4, 2])
        self.layers = [ps.Linear(2), jax.nn.relu, {"deep": (ps.Linear(2),)}]
        self.heads = ps.Container({"a": ps.Linear(1)})
        self.rate = 0.5

    def __call__(self, x, is_training=False):
        self.calls += 1
        return self.encode(x)

    def encode(self, x):
        """Returns codes."""
        return self.encoder(x)


def make():
    COUNTS["function"] += 1
    return Net()


def forward(x):
    """Returns the output of two layers."""
    COUNTS["function"] += 1
    return ps.Linear(2)(x)


def without_needed_arguments(x=X):
    COUNTS["function"] += 1
    return ps.Linear(2)(x)


def everything():
    net = Net()
    return (
        net(X), net.layers[0](X), net.layers[2]["deep"][0](X), net.heads["a"](net.encode(X)),
    )  # fmt: skip


def counted(f):
    COUNTS.clear()
    out = f()
    return out, dict(COUNTS)


def variables():
    return ps.transform_with_state(everything).init(jax.random.key(0))


ONCE = {"module": {"module": 1}, "make": {"function": 1, "module": 1}}
SOURCES = {"module": lambda: type("Net", (Net,), {}), "make": lambda: lambda: make()}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_model_of_a_module(kind):
    source, given = SOURCES[kind](), variables()
    model, runs = counted(lambda: ps.bind(source, *given))
    assert runs == ONCE[kind]
    assert counted(lambda: ps.bind(source, *given))[1] == {}  # it is known
    assert counted(lambda: ps.bind(source, *given, strict=False).train())[1] == {}
    for call in (
        lambda: model(X),
        lambda: model.encode(X),
        lambda: model.encoder(X),
        lambda: model.encoder.layers[0](X),
        lambda: model.layers[0](X),
        lambda: model.layers[2]["deep"][0](X),
        lambda: model.heads["a"](jnp.ones([2, 2])),
    ):
        assert counted(call)[1] == ONCE[kind]
        assert counted(call)[1] == ONCE[kind]
    for look in (
        lambda: model.encode,
        lambda: model.encoder.layers,
        lambda: model.layers[2]["deep"][0],
        lambda: repr(model),
        lambda: help_of(model.encode),
        lambda: (model.train(), model.eval(), model.copy(), model.parameters(), model.freeze()),
        lambda: jax.tree.map(lambda leaf: leaf, model),
    ):
        assert counted(look)[1] == {}
    for attribute in (lambda: model.rate, lambda: model.calls, lambda: model.encoder.output_size):
        assert counted(attribute)[1] == ONCE[kind]  # only a run knows its value
    step = jax.jit(lambda model, x: (model(x), model))
    assert counted(lambda: step(model, X))[1] == ONCE[kind]
    assert counted(lambda: step(model, X))[1] == {}


@pytest.mark.parametrize(
    "source",
    [
        forward,
        ps.transform_with_state(forward),
        ps.transform(forward),
        ps.transform_with_collections(forward),
        ps.without_apply_rng(ps.transform(forward)),
    ],
    ids=["function", "with state", "without", "collections", "no key"],
)
def test_a_model_of_a_function(source):
    params = ps.transform(forward).init(0, X)
    given = {"params": params} if isinstance(source, ps.TransformedWithCollections) else params
    model, runs = counted(lambda: ps.bind(source, given))
    assert runs == {}
    assert counted(lambda: model(X))[1] == counted(lambda: model(X))[1] == {"function": 1}


def test_a_function_that_needs_no_arguments():
    params = ps.transform(forward).init(0, X)
    model, runs = counted(lambda: ps.bind(without_needed_arguments, params))
    assert runs == {"function": 1}  # on shapes: does it make a module?
    assert counted(lambda: ps.bind(without_needed_arguments, params))[1] == {}  # it is known
    assert counted(model)[1] == {"function": 1}


def test_errors_of_a_function_that_makes_a_module():
    def fails():
        raise KeyError("no such file")

    with pytest.raises(KeyError, match="no such file"):  # and not when it is called
        ps.bind(fails, {})

    class Reads(ps.Module):
        def __init__(self):
            super().__init__()
            self.size = ps.get_parameter("w", [2], init=jnp.zeros).shape

    for source in (Reads, lambda: Reads()):
        with pytest.raises(ps.errors.MissingParameterError, match="'w' of 'reads'"):
            ps.bind(source, {})
        assert ps.bind(source, {"reads": {"w": jnp.ones([2])}}).size == (2,)


def test_state_that_a_module_begins_is_warned_of_in_calls_only(recwarn):
    class Begins(ps.Module):
        def __init__(self):
            super().__init__()
            ps.get_state("n", [], init=jnp.zeros)

        def __call__(self, x):
            return x

    model = ps.bind(Begins, {})
    assert len(recwarn) == 0
    with pytest.warns(ps.errors.EmptyStateWarning):
        model(X)


# The skeleton against runs


class Kinds(ps.Module):
    """Every kind of attribute."""

    constant = 3
    a_class = ps.Linear

    def __init__(self):
        super().__init__()
        self.inner = Net()
        self.inner.outer = self  # a cycle
        self.number, self.text, self.numbers = 1, "a", [1, 2]
        self.function = jax.nn.relu
        self.partial = functools.partial(jnp.add, 1)
        self.items = [1, ps.Linear(1)]
        self.named = {"a": ps.Linear(1), "b": 2}
        self.a_tuple = (ps.Linear(1),)
        self.container = ps.Container([ps.Linear(1), ps.Linear(1)])
        self.shadowed = 5  # a method of the class
        self.lazy = ps.Deferred(lambda: ps.Linear(1))
        self._private = ps.Linear(1)

    def __call__(self, x):
        return x

    def method(self, x):
        return x

    def shadowed(self, x):
        return x

    @property
    def a_property(self):
        return 4

    @property
    def a_part(self):
        return self.inner

    @staticmethod
    def a_static(x):
        return x

    @classmethod
    def a_classmethod(cls):
        return 1

    @ps.transparent
    def transparent(self, x):
        return x

    @functools.cached_property
    def cached(self):
        return 7


class WithGetattr(Kinds):
    def __getattr__(self, name):
        if name == "made_up":
            return 8
        raise AttributeError(name)


class WithGetattribute(ps.Module):
    def __init__(self):
        super().__init__()
        self.number = 1

    def __getattribute__(self, name):
        if name == "number":
            return jax.nn.relu
        return super().__getattribute__(name)


class SetUp(ps.SetUpModule):
    def set_up(self, x):
        self.linear = ps.Linear(2)

    def forward(self, x):
        return self.linear(x)


KINDS = [Kinds, WithGetattr, WithGetattribute, SetUp, Net, lambda: ps.GRU(3)]  # fmt: skip


def found(f):
    try:
        return type(f()).__name__
    except Exception as error:
        return type(error).__name__


@pytest.mark.parametrize(
    "source",
    [*KINDS, pytest.param(lambda: ps.nets.ResNet18(3), id="ResNet18", marks=pytest.mark.slow)],
    ids=lambda f: getattr(f, "__name__", "?"),
)
def test_members_are_what_a_run_finds(source):
    def variables_of(module):
        return [name for name in (*dir(type(module)), *vars(module)) if not name.startswith("__")]

    names = []
    ps.transform_with_state(lambda: names.extend(variables_of(source() if callable(source) else source))).init(0)  # fmt: skip
    assert len(names) > 5
    known, unknown = (ps.bind(source, {}, {"~": {}}) for _ in range(2))
    bound = known._static.f
    paths = [(name,) for name in names]
    paths += [(name, (key,)) for name in names for key in (0, 1, -1, "a", "b", slice(1))]
    paths += [(a, b) for a in ("inner", "lazy", "container", "_private", "encoder", "layers") for b in
              ("encode", "rate", "layers", "outer", "output_size", "keys", "nothing", "append")]  # fmt: skip
    for path in paths:

        def get(path=path):
            value = known
            for step in path:
                value = value[step[0]] if isinstance(step, tuple) else getattr(value, step)
            return value

        with_skeleton = found(get)
        looked, bound.looked, bound.see = bound.looked, None, lambda module: None
        without = found(get)
        bound.looked = looked
        del bound.see
        assert with_skeleton == without, path


def help_of(thing):
    return pydoc.plain(pydoc.render_doc(thing))


def test_help_and_signatures():
    model = ps.bind(Net, *variables())
    assert "Net(x, is_training=False)" in help_of(model)
    assert "A network of two layers." in help_of(model)
    assert "encode(x)" in help_of(model.encode)
    assert "Returns codes." in help_of(model.encode)
    assert "parameters, state and key" in help_of(model.layers[:1])
    assert str(inspect.signature(model)) == "(x, is_training=False)"
    assert str(inspect.signature(model.encode)) == "(x)"
    assert inspect.signature(model.encoder).parameters["inputs"] is not None
    of_pair = ps.bind(ps.transform(forward), {})
    assert str(inspect.signature(of_pair)) == "(x)"
    assert "forward(x)" in help_of(of_pair)
    assert "Returns the output of two layers." in help_of(of_pair)
    assert ps.Model.__doc__.startswith("A function with its parameters, state and key")
    assert "parameters()" not in help_of(of_pair)
    assert "trainable_parameters" in help_of(ps.Model)


@pytest.mark.parametrize(
    ("make_model", "text"),
    [
        (lambda: ps.bind(Net, *variables()), "Model(Net, 45 parameters, state of 1 module)"),
        (lambda: ps.bind(lambda: Net(), *variables()), "Model(Net, 45 parameters, state of 1 module)"),
        (lambda: ps.bind(make, *variables()), "Model(make, 45 parameters, state of 1 module)"),
        (lambda: ps.bind(ps.transform(forward), {}), "Model(forward, 0 parameters)"),
        (lambda: ps.bind(lambda x: x, {}), "Model(<lambda>, 0 parameters)"),
        (lambda: ps.bind(functools.partial(forward), {}), "Model(partial, 0 parameters)"),
        (
            lambda: ps.bind(ps.transform_with_collections(forward), {"a": {}, "b": {}}),
            "Model(forward, 0 parameters, state of 2 collections)",
        ),
    ],
)  # fmt: skip
def test_reprs_are_short(make_model, text):
    model = make_model()
    assert repr(model) == text
    structure = repr(jax.tree.structure(model.freeze("*/b")))
    assert "frozen=('*/b',)" in structure
    assert "object at 0x" not in structure
