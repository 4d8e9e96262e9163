"""Modules that users write: names, order, variables made by hand."""

from tests.sonnet.table import Call, Case, values

X = values(4, 5)


def nested(snt, lib):
    class Inner(snt.Module):
        def __init__(self, size, name=None):
            super().__init__(name=name)
            self.linear = snt.Linear(size)

        def __call__(self, x):
            return lib.relu(self.linear(x))

    class Outer(snt.Module):
        def __init__(self):
            super().__init__()
            self.second = Inner(3)
            self.first = Inner(4, name="named")
            self.last = snt.Linear(2)

        def __call__(self, x):
            return self.last(self.second(self.first(x)))

    return Outer()


def equal_names(snt, lib):
    class Twins(snt.Module):
        def __init__(self):
            super().__init__()
            self.b = snt.Linear(5)
            self.a = snt.Linear(5)
            self.c = snt.Linear(3)

        def __call__(self, x):
            # The last that was made is called first.
            return self.b(self.a(x)) + lib.sum(self.c(x))

    return Twins()


def equal_nets(snt, lib):
    class Nets(snt.Module):
        def __init__(self):
            super().__init__()
            self.nets = [snt.nets.MLP([4, 2]) for _ in range(3)]

        def __call__(self, x):
            return [net(x) for net in reversed(self.nets)]

    return Nets()


def made_once(snt, lib):
    class Late(snt.Module):
        def __init__(self, name=None):
            super().__init__(name=name)
            self.early = snt.Linear(5)

        @snt.once
        def _initialize(self, x):
            self.w = lib.Variable(values(x.shape[-1], 3), name="w")
            self.b = lib.Variable(lib.zeros([3]), name="b")
            self.layer = snt.Linear(2)

        def __call__(self, x):
            self._initialize(x)
            return self.layer(lib.matmul(self.early(x), self.w) + self.b)

    return Late()


def by_hand(snt, lib):
    class Scale(snt.Module):
        def __init__(self):
            super().__init__(name="scale_it")
            self.scale = lib.Variable(2.0, name="scale")
            self.shift = lib.Variable(values(5), trainable=True, name="shift")
            self.fixed = lib.Variable(values(5, seed=1), trainable=False, name="fixed")

        def __call__(self, x):
            return x * self.scale + self.shift - self.fixed

    return Scale()


def unnamed(snt, lib):
    class Unnamed(snt.Module):
        def __init__(self):
            super().__init__()
            self.one = lib.Variable(values(5))
            self.two = lib.Variable(values(5, seed=1))

        def __call__(self, x):
            return lib.value(self.one) * x + lib.value(self.two)

    return Unnamed()


def same_variable_names(snt, lib):
    class Same(snt.Module):
        def __init__(self):
            super().__init__()
            self.ws = [lib.Variable(values(5, seed=i), name="w") for i in range(3)]

        def __call__(self, x):
            return sum(x * lib.value(w) for w in self.ws)

    return Same()


def operators(snt, lib):
    class Operators(snt.Module):
        def __init__(self):
            super().__init__()
            self.v = lib.Variable(values(5) + 3.0, name="v")

        def __call__(self, x):
            v = self.v
            return [
                v + x,
                x + v,
                v - x,
                x - v,
                v * x,
                x / v,
                v / 2.0,
                2.0 - v,
                -v,
                abs(v),
                v**2,
                v[1:3],
                v[0],
                lib.exp(v * 0.1),
                lib.square(v),
                lib.shape(v),
            ]

    return Operators()


def counter(snt, lib):
    class Counter(snt.Module):
        def __init__(self):
            super().__init__()
            self.total = lib.Variable(lib.zeros([5]), trainable=False, name="total")
            self.calls = lib.Variable(0, trainable=False, name="calls")

        def __call__(self, x):
            before = lib.identity(lib.value(self.total))
            self.total.assign_add(lib.sum(x, axis=0))
            self.calls.assign_add(1)
            return x - before, lib.value(self.total), lib.value(self.calls)

        def reset(self):
            self.total.assign(lib.zeros([5]))
            self.calls.assign(0)
            return lib.value(self.total)

        def take(self, x):
            self.total.assign_sub(x)
            return lib.value(self.total)

    return Counter()


def no_name_scope(snt, lib):
    class Plain(snt.Module):
        def __init__(self):
            super().__init__()
            self.inside = snt.Linear(3, name="inside")

        @snt.no_name_scope
        def outside(self, x):
            if not hasattr(self, "other"):
                self.other = snt.Linear(2, name="other")
            return self.other(x)

        def __call__(self, x):
            return self.inside(x)

    return Plain()


def in_another_scope(snt, lib):
    """Modules given to others stay where they were made."""

    class Holder(snt.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer
            self.own = snt.Linear(2)

        def __call__(self, x):
            return self.own(self.layer(x))

    return Holder(Holder(snt.Linear(5)))


def tied(snt, lib):
    class Tied(snt.Module):
        def __init__(self):
            super().__init__()
            self.linear = snt.Linear(3)

        def __call__(self, x):
            return lib.matmul(self.linear(x), lib.transpose(self.linear.w))

    return Tied()


def containers(snt, lib):
    class Containers(snt.Module):
        def __init__(self):
            super().__init__()
            self.z = {"b": snt.Linear(3, name="zb"), "a": snt.Linear(2, name="za")}
            self.y = [snt.Linear(2, name="y0"), (snt.Linear(3, name="y1"),)]
            self.x = lib.Variable(values(5), name="x")
            self._hidden = snt.Linear(2, name="hidden")
            self.none = None

        def __call__(self, x):
            x = x * self.x
            return self.z["a"](x) + self.y[0](x) + self._hidden(x), self.z["b"](x) + self.y[1][0](x)

    return Containers()


def many_methods(snt, lib):
    class Model(snt.Module):
        def __init__(self):
            super().__init__()
            self.encoder = snt.Linear(3, name="encoder")
            self.decoder = snt.Linear(5, name="decoder")

        def encode(self, x):
            return self.encoder(x)

        def decode(self, z):
            return self.decoder(z)

        @property
        def size(self):
            return self.encoder.output_size

    return Model()


def inherited(snt, lib):
    class MyLinear(snt.Linear):
        def __call__(self, x):
            return 2.0 * super().__call__(x)

    class HTTPNet2D(snt.Module):
        def __init__(self):
            super().__init__()
            self.mine = MyLinear(3)
            self.again = MyLinear(2, name="other")

        def __call__(self, x):
            return self.again(self.mine(x))

    return HTTPNet2D()


def once_returns_none(snt, lib):
    class Once(snt.Module):
        def __init__(self):
            super().__init__()
            self.count = []

        @snt.once
        def first(self, x):
            self.count.append(1)
            self.v = lib.Variable(values(5), name="v")

        def __call__(self, x):
            results = [self.first(x), self.first(x)]
            return x * self.v, len(self.count), [r is None for r in results]

    return Once()


def lazy_without_once(snt, lib):
    class Lazy(snt.Module):
        def __init__(self):
            super().__init__()
            self.layer = None

        def __call__(self, x):
            if self.layer is None:
                self.layer = snt.Linear(3)
            return self.layer(x)

    return Lazy()


def allow_empty(snt, lib):
    @snt.allow_empty_variables
    class Empty(snt.Module):
        def __call__(self, x):
            return 2.0 * x, len(self.variables), len(self.trainable_variables)

    return Empty()


def twice_in_sequence(snt, lib):
    return snt.Sequential([nested(snt, lib), nested(snt, lib), equal_names_2(snt, lib)])


def equal_names_2(snt, lib):
    class Twins(snt.Module):
        def __init__(self):
            super().__init__()
            self.b = snt.Linear(5)
            self.a = snt.Linear(5)

        def __call__(self, x):
            return self.b(self.a(x))

    return Twins()


def with_metrics(snt, lib):
    """A module that holds a metric, an average and a layer."""

    class Tracked(snt.Module):
        def __init__(self):
            super().__init__()
            self.mean = snt.Mean()
            self.average = snt.ExponentialMovingAverage(0.5)
            self.layer = snt.Linear(3)

        def __call__(self, x):
            y = self.layer(x)
            return y - self.average(lib.mean(y, axis=0)), self.mean(lib.mean(y))

    return Tracked()


CASES = (
    Case("nested modules", nested, (Call(X), Call(X * 2))),
    Case("equal names", equal_names, (Call(X),)),
    Case("equal nets", equal_nets, (Call(X),)),
    Case("made once", made_once, (Call(X), Call(X * 2))),
    Case("variables by hand", by_hand, (Call(X),)),
    Case("variables without names", unnamed, (Call(X),)),
    Case("variables of one name", same_variable_names, (Call(X),)),
    Case("operators of variables", operators, (Call(X),)),
    Case(
        "assigned variables",
        counter,
        (Call(X), Call(X), Call(values(5), method="take"), Call(method="reset"), Call(X)),
    ),
    Case("no_name_scope", no_name_scope, (Call(X), Call(X, method="outside"))),
    Case("modules from outside", in_another_scope, (Call(X),)),
    Case("tied weights", tied, (Call(X),)),
    Case("containers", containers, (Call(X),)),
    Case(
        "many methods",
        many_methods,
        (
            Call(X, method="encode"),
            Call(values(4, 3), method="decode"),
            Call(X, run=lambda lib, m, x: (m.decode(m.encode(x)), m.size)),
        ),
    ),
    Case("inherited", inherited, (Call(X),)),
    Case("once", once_returns_none, (Call(X),)),
    Case("lazy without once", lazy_without_once, (Call(X),)),
    Case("allow_empty_variables", allow_empty, (Call(X),)),
    Case(
        "allow_empty_variables of an instance",
        lambda snt, lib: snt.allow_empty_variables(snt.Flatten()),
        (Call(X, run=lambda lib, m, x: (m(x), len(m.variables), len(m.trainable_variables))),),
    ),
    Case("user modules twice", twice_in_sequence, (Call(X),)),
    Case("metrics in a module", with_metrics, (Call(X), Call(X + 1))),
)
