"""Functions over a library `L`, dm-haiku or purestate, for both to agree on to the last bit.

Each row makes a function to transform and its arguments; `log` collects what hooks see, in order.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

X = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)


def _normal(L: Any) -> Any:
    return lambda shape, dtype: jax.random.normal(L.next_rng_key(), shape, dtype)


def _layers(L: Any) -> Any:
    class Counter(L.Module):
        def __call__(self) -> Any:
            n = L.get_state("n", [], jnp.int32, init=jnp.zeros)
            L.set_state("n", n + 1)
            return n

    class Net(L.Module):
        def __init__(self, sizes: Any, name: Any = None):
            super().__init__(name=name)
            self.layers = [L.Linear(size, name=f"linear_{i}") for i, size in enumerate(sizes)]
            self.unnamed = L.Linear(3)

        def __call__(self, x: Any) -> Any:
            for layer in self.layers:
                x = jnp.tanh(layer(x))
            return L.Linear(3)(x) + self.extra(x)

        def extra(self, x: Any) -> Any:
            return L.Linear(3)(x) * 0.5

        def twice(self, x: Any) -> Any:
            return self(self(x))

        @property
        def scale(self) -> Any:
            return L.get_parameter("scale", [], init=_normal(L))

    return Counter, Net


ROWS: dict[str, Callable[[Any, list[Any]], tuple[Callable[..., Any], tuple[Any, ...]]]] = {}


def row(make: Callable[[Any, list[Any]], Any]) -> Any:
    ROWS[make.__name__] = make
    return make


@row
def nested_modules(L: Any, log: Any) -> Any:
    _, Net = _layers(L)
    return lambda x: Net([4, 3])(x) + Net([2, 3])(x), (X,)


@row
def shared_module(L: Any, log: Any) -> Any:
    _, Net = _layers(L)

    def f(x: Any) -> Any:
        net = Net([3])
        return net(net(x)) + L.Linear(3)(x) + L.Linear(3)(x)

    return f, (X,)


@row
def methods_and_properties(L: Any, log: Any) -> Any:
    _, Net = _layers(L)

    def f(x: Any) -> Any:
        net = Net([3])
        return net.twice(x) + net.extra(x) + net.scale + net.unnamed(x)

    return f, (X,)


@row
def passed_in_modules(L: Any, log: Any) -> Any:
    class Outer(L.Module):
        def __init__(self, inner: Any):
            super().__init__()
            self.inner = inner

        def __call__(self, x: Any) -> Any:
            out = self.inner(x)
            log.append(sorted(self.params_dict()))
            return out

    return lambda x: Outer(L.Linear(3))(x) + Outer(lambda x: L.Linear(3)(x))(x), (X,)


@row
def state(L: Any, log: Any) -> Any:
    Counter, _ = _layers(L)

    def f(x: Any) -> Any:
        counter = Counter()
        counter()
        other = Counter(name="other")
        L.set_state("last", x.sum())
        return (
            counter() + other(),
            L.get_state("last"),
            L.get_current_state(),
            L.get_initial_state(),
        )

    return f, (X,)


@row
def batch_norm(L: Any, log: Any) -> Any:
    return lambda x: L.BatchNorm(True, True, 0.9)(L.BatchNorm(False, False, 0.5)(x, True), True), (
        X,
    )


@row
def dataclass_modules(L: Any, log: Any) -> Any:
    @dataclasses.dataclass
    class Data(L.Module):
        size: int
        bias: bool = True
        name: Any = None

        def __call__(self, x: Any) -> Any:
            log.append(repr(self))
            return L.Linear(self.size, with_bias=self.bias)(x)

    return lambda x: Data(3)(x) + Data(3, bias=False)(x) + Data(3, name="named")(x), (X,)


@row
def numbered_names(L: Any, log: Any) -> Any:
    def f(x: Any) -> Any:
        return sum(
            L.Linear(3, name=name)(x) for name in ("a", "a", "a_5", "a", "b_0", "b", "c_01", "c")
        )

    return f, (X,)


@row
def scopes_and_forced_names(L: Any, log: Any) -> Any:
    class Inner(L.Module):
        @L.name_like("__call__")
        def alike(self, x: Any) -> Any:
            return L.Linear(3)(x)

        @L.transparent
        def seen_through(self, x: Any) -> Any:
            return L.Linear(3)(x)

        def __call__(self, x: Any) -> Any:
            with L.name_scope("within/deep"):
                log.append(L.current_name())
                return L.Linear(3)(x) + L.Linear(3, name=L.force_name("elsewhere/here"))(x)

    def f(x: Any) -> Any:
        inner = Inner()
        with L.name_scope("tower", method_name="build"):
            y = L.Linear(3)(x) + Inner()(x)
        return inner.alike(x) + inner.seen_through(x) + inner(x) + y

    return f, (X,)


@row
def to_module(L: Any, log: Any) -> Any:
    def encoder(x: Any) -> Any:
        return L.Linear(3)(x)

    return lambda x: L.to_module(encoder)()(x) + L.to_module(encoder)(name="other")(x), (X,)


@row
def getters_creators_setters(L: Any, log: Any) -> Any:
    Counter, Net = _layers(L)

    def getter(tag: str) -> Any:
        def get(next_getter: Any, value: Any, context: Any) -> Any:
            log.append(
                (
                    "get",
                    tag,
                    context.full_name,
                    tuple(context.original_shape),
                    context.module_name,
                    context.name,
                )
            )
            value = next_getter(value * 2)
            log.append(("got", tag))
            return value + 1

        return get

    def creator(tag: str) -> Any:
        def create(next_creator: Any, shape: Any, dtype: Any, init: Any, context: Any) -> Any:
            log.append(("create", tag, context.full_name, context.module is None))
            return next_creator(shape, dtype, init) + 1

        return create

    def setter(tag: str) -> Any:
        def set_(next_setter: Any, value: Any, context: Any) -> Any:
            log.append(
                ("set", tag, context.full_name, context.original_shape, context.original_dtype)
            )
            return next_setter(value + 1)

        return set_

    def f(x: Any) -> Any:
        net, counter = Net([3]), Counter()
        y = net(x)
        with L.custom_creator(creator("outer"), state=True), L.custom_creator(creator("inner")):
            with L.custom_getter(getter("outer")), L.custom_getter(getter("inner"), state=True):
                with L.custom_setter(setter("outer")), L.custom_setter(setter("inner")):
                    return (
                        net(y)
                        + L.Linear(3)(x)
                        + counter()
                        + L.get_parameter("own", [3], init=_normal(L))
                    )

    return f, (X,)


@row
def not_stored(L: Any, log: Any) -> Any:
    def create(next_creator: Any, shape: Any, dtype: Any, init: Any, context: Any) -> Any:
        return L.DO_NOT_STORE if context.name == "w" else next_creator(shape, dtype, init)

    def get(next_getter: Any, value: Any, context: Any) -> Any:
        if value is L.DO_NOT_STORE:
            value = jnp.full(context.original_shape, 0.5, context.original_dtype)
        return next_getter(value)

    def f(x: Any) -> Any:
        with L.custom_creator(create), L.custom_getter(get):
            return L.Linear(3)(x)

    return f, (X,)


@row
def interceptors(L: Any, log: Any) -> Any:
    Counter, Net = _layers(L)

    def interceptor(tag: str) -> Any:
        def intercept(next_method: Any, args: Any, kwargs: Any, context: Any) -> Any:
            name = getattr(context.module, "module_name", None)
            log.append(
                (
                    tag,
                    name,
                    context.method_name,
                    context.orig_class.__name__,
                    len(args),
                    sorted(kwargs),
                )
            )
            out = next_method(*args, **kwargs)
            log.append((tag, "end", getattr(context.module, "module_name", None)))
            return out

        return intercept

    def f(x: Any) -> Any:
        with L.intercept_methods(interceptor("outer")), L.intercept_methods(interceptor("inner")):
            net = Net([3])
            y = net(x=x) + net.scale + L.nets.MLP([4, 3])(x)
        return net(y)

    return f, (X,)


@row
def random_keys(L: Any, log: Any) -> Any:
    def f(x: Any) -> Any:
        a = L.next_rng_key()
        L.reserve_rng_keys(3)
        b, c = L.next_rng_key(), L.next_rng_keys(4)
        saved = L.maybe_get_rng_sequence_state()
        d = L.maybe_next_rng_key()
        L.replace_rng_sequence_state(saved)
        e = L.next_rng_key()
        with L.with_rng(a):
            g = L.next_rng_key()
        y = L.Linear(3)(L.dropout(L.next_rng_key(), 0.5, x))
        return a, b, c, d, e, g, y, next(L.PRNGSequence(42)), L.PRNGSequence(7).take(3)

    return f, (X,)


@row
def scan(L: Any, log: Any) -> Any:
    Counter, Net = _layers(L)

    def f(x: Any) -> Any:
        net, counter = Net([3]), Counter()

        def body(carry: Any, x: Any) -> Any:
            n = counter()
            return net(carry) + x + jax.random.normal(L.next_rng_key(), [3]), (carry.sum(), n)

        carry, ys = L.scan(body, X[0], jnp.stack([x[0]] * 5))
        reverse = L.scan(body, X[0], jnp.stack([x[0], x[1]]), reverse=True)
        return carry, ys, reverse, L.Linear(3)(x), L.scan(body, X[1], x[:1]), L.next_rng_key()

    return f, (X,)


@row
def map_and_fori_loop(L: Any, log: Any) -> Any:
    Counter, Net = _layers(L)

    def f(x: Any) -> Any:
        net, counter = Net([3]), Counter()
        mapped = L.map(lambda row: net(row) + counter(), x)
        looped = L.fori_loop(
            0, 3, lambda i, h: net(h) * i + jax.random.normal(L.next_rng_key(), h.shape), x
        )
        return mapped, looped, counter(), L.next_rng_key()

    return f, (X,)


@row
def while_loop(L: Any, log: Any) -> Any:
    Counter, Net = _layers(L)

    def f(x: Any) -> Any:
        net, counter = Net([3]), Counter()
        counter()
        if L.running_init():
            return net(x)
        i, x = L.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, net(c[1]) + counter()), (0, x))
        return x, i, L.next_rng_key()

    return f, (X,)


@row
def cond_and_switch(L: Any, log: Any) -> Any:
    Counter, Net = _layers(L)

    def f(x: Any) -> Any:
        a, b, counter = L.Linear(3, name="a"), L.Linear(3, name="b"), Counter()
        if L.running_init():
            a(x), b(x)
        counter()

        def true(x: Any) -> Any:
            counter()
            return a(x) + jax.random.normal(L.next_rng_key(), x.shape)

        y = L.cond(x.sum() > 0, true, b, x)
        z = L.switch(jnp.int32(2), [a, b, true], y)
        old = L.cond(x.sum() > 0, x, a, y, b)
        return (
            y,
            z,
            old,
            L.cond(True, lambda x: a(x), lambda x: b(x), operand=x),
            counter(),
            L.next_rng_key(),
        )

    return f, (X,)


@row
def cond_drops_reserved_keys(L: Any, log: Any) -> Any:
    def f(x: Any) -> Any:
        L.reserve_rng_keys(4)
        draw = lambda x: x + jax.random.normal(L.next_rng_key(), x.shape)  # noqa: E731
        return L.cond(x.sum() > 0, draw, lambda x: x, x), L.next_rng_key(), L.Linear(3)(x)

    return f, (X,)


@row
def remat(L: Any, log: Any) -> Any:
    Counter, Net = _layers(L)

    def f(x: Any) -> Any:
        counter = Counter()

        def block(x: Any) -> Any:
            counter()
            return jnp.tanh(L.Linear(3)(x)) + jax.random.normal(L.next_rng_key(), x.shape)

        for _ in range(2):
            x = L.remat(block)(x)
        policy = jax.checkpoint_policies.everything_saveable
        return L.remat(Net([3]), policy=policy)(x), counter(), L.next_rng_key()

    return f, (X,)


@row
def gradients(L: Any, log: Any) -> Any:
    Counter, Net = _layers(L)

    def f(x: Any) -> Any:
        net, counter = Net([3]), Counter()

        def loss(x: Any, scale: Any) -> Any:
            counter()
            return (net(x) * scale).sum() + jax.random.normal(L.next_rng_key(), []), counter()

        grads, aux = L.grad(loss, argnums=(0, 1), has_aux=True)(x, 2.0)
        value, grad = L.value_and_grad(lambda x: loss(x, 1.0)[0])(x)
        return grads, aux, value, grad, counter(), L.next_rng_key()

    return f, (X,)


@row
def vmap_shared_keys(L: Any, log: Any) -> Any:
    _, Net = _layers(L)

    def f(x: Any) -> Any:
        net = Net([3])
        draw = lambda row: net(row) + jax.random.normal(L.next_rng_key(), row.shape)  # noqa: E731
        return (
            L.vmap(draw, split_rng=False)(x),
            L.vmap(net, in_axes=1, out_axes=1, split_rng=False)(jnp.ones([3, 4])),
            L.next_rng_key(),
        )

    return f, (X,)


@row
def vmap_split_keys(L: Any, log: Any) -> Any:
    _, Net = _layers(L)

    def f(x: Any) -> Any:
        net = Net([3])
        draw = lambda row, y: net(row) + y + jax.random.normal(L.next_rng_key(), row.shape)  # noqa: E731
        out = L.vmap(draw, in_axes=(0, None), split_rng=not L.running_init())(x, 2.0)
        return out, L.next_rng_key()

    return f, (X,)


@row
def eval_shape(L: Any, log: Any) -> Any:
    _, Net = _layers(L)

    def f(x: Any) -> Any:
        log.append(L.eval_shape(lambda x: Net([3])(x) + jax.random.normal(L.next_rng_key(), []), x))
        return Net([3])(x), L.next_rng_key()

    return f, (X,)


@row
def nested_transforms(L: Any, log: Any) -> Any:
    def f(x: Any) -> Any:
        inner = L.transform_with_state(lambda x: (L.Linear(3)(x), L.current_name()))
        params, state = inner.init(L.next_rng_key(), x)
        (y, name), _ = inner.apply(params, state, None, x)
        log.append(name)
        return y + L.Linear(3)(x)

    return f, (X,)


@row
def moving_averages(L: Any, log: Any) -> Any:
    def f(x: Any) -> Any:
        ema = L.ExponentialMovingAverage(0.9, name="ema")
        ema.initialize(x.shape, x.dtype)
        warm = L.ExponentialMovingAverage(0.9, zero_debias=False, warmup_length=1)
        tree = L.EMAParamsTree(0.5, ignore_regex=".*/b")({"a/~/b": {"w": x, "b": x}})
        return ema(x), ema.average, warm(x * 2), tree, ema(x + 1, update_stats=False)

    return f, (X,)


@row
def optimized_keys(L: Any, log: Any) -> Any:
    def f(x: Any) -> Any:
        draw = lambda: [L.next_rng_key() for _ in range(3)]  # noqa: E731
        return L.experimental.optimize_rng_use(draw)(), L.next_rng_key()

    return f, (X,)
