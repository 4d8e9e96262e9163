"""`bind`: a model has the arguments and the result of its function."""

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8, 3])
params: ps.MutableParams = {}


class Net(ps.Module):
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, int]:
        return x, 1

    def encode(self, x: jax.Array) -> jax.Array:
        return x


class Sized(Net):
    def __init__(self, size: int):
        super().__init__()


class Methods(ps.Module):
    def encode(self, x: jax.Array) -> jax.Array:
        return x


def f(x: jax.Array, train: bool = True) -> jax.Array:
    return x


def make() -> Net:
    return Net()


# A function
model = ps.bind(f, params)
reveal_type(model)  # Model[(x: Array, train: bool =), Array]
reveal_type(model(x, train=False))  # Array
model("x")  # error: "Array"
model(x, trian=False)  # error: trian
reveal_type(ps.bind(lambda: 1, params)())  # int

# What a transform returned
reveal_type(ps.bind(ps.transform(f), params)(x))  # Array
reveal_type(ps.bind(ps.transform(f), params))  # Model[(x: Array, train: bool =), Array]
reveal_type(ps.bind(ps.without_apply_rng(ps.transform(f)), params))
# in both: Model[(x: Array, train: bool =), Array]
reveal_type(ps.bind(ps.transform_with_state(f), params, {}))
# in both: Model[(x: Array, train: bool =), Array]
reveal_type(ps.bind(ps.without_apply_rng(ps.transform_with_state(f)), params))
# in both: Model[(x: Array, train: bool =), Array]
reveal_type(ps.bind(ps.transform_with_collections(f), {"params": params}))
# in both: Model[(x: Array, train: bool =), Array]
reveal_type(ps.bind(ps.transform(Net), params))
# in both: Model[(x: Array, *, train: bool), tuple[Array, int]]
ps.bind(ps.transform(f), params)("x")  # error: "Array"
t = ps.transform(f)
reveal_type(ps.bind(t._replace(apply=jax.jit(t.apply)), params))
# in both: Model[(x: Array, train: bool =), Array]

# A class of modules, a function that makes a module, an instance
reveal_type(ps.bind(Net, params))  # Model[(x: Array, *, train: bool), tuple[Array, int]]
reveal_type(ps.bind(Net, params)(x, train=True))  # tuple[Array, int]
reveal_type(ps.bind(make, params))  # Model[(x: Array, *, train: bool), tuple[Array, int]]
reveal_type(ps.bind(lambda: Sized(3), params))
# in both: Model[(x: Array, *, train: bool), tuple[Array, int]]
reveal_type(ps.bind(lambda: ps.Linear(3), params)(x))  # Array
reveal_type(ps.bind(lambda: ps.Sequential([ps.Linear(3)]), params))
# in both: Model[(inputs: Any, ...), Any]
reveal_type(ps.bind(Net(), params))  # Model[(x: Array, *, train: bool), tuple[Array, int]]
ps.bind(Net, params)(x)  # error: "train"
ps.bind(make, params)("x", train=True)  # error: "Array"
# A class without `__call__`, and one that cannot be made without arguments.
reveal_type(ps.bind(Methods, params))  # Model[..., Any]
reveal_type(ps.bind(lambda: Methods(), params))  # Model[..., Any]
reveal_type(ps.bind(Sized, params))  # Model[..., Any]

# Methods and submodules are Any.
net = ps.bind(Net, params)
reveal_type(net.encode)  # Any
reveal_type(net.encode(x))  # Any
reveal_type(net.layers[0].w)  # Any

# Copies of a model are of the same function. In a mode, `train` may be left out.
reveal_type(net.copy())  # Model[(x: Array, *, train: bool), tuple[Array, int]]
reveal_type(net.parameters())  # Model[(x: Array, *, train: bool), tuple[Array, int]]
reveal_type(net.update(params))  # Model[(x: Array, *, train: bool), tuple[Array, int]]
reveal_type(net.freeze("encoder/*").unfreeze())
# in both: Model[(x: Array, *, train: bool), tuple[Array, int]]
reveal_type(net.partition("params"))
# in both: tuple[Model[(x: Array, *, train: bool), tuple[Array, int]], Model[(x: Array, *, train: bool), tuple[Array, int]]]
reveal_type(net.train())  # Model[..., tuple[Array, int]]
reveal_type(net.eval()(x))  # tuple[Array, int]
reveal_type(net.params)  # dict[str, dict[str, Array]]
reveal_type(net.state)  # dict[str, dict[str, Any]]
reveal_type(net.training)  # bool | None
reveal_type(net.unbind())
# in both: tuple[dict[str, dict[str, Array]], dict[str, dict[str, Any]], Array | dict[str, Array] | None]
net.freeze(3)  # error: "freeze"
net.update(3)  # error: "update"


# In annotations
def loss(part: ps.Model, model: ps.Model, x: jax.Array) -> jax.Array:
    out: jax.Array = model.update(part)(x)
    return out.mean()


def mean(model: ps.Model[[jax.Array], jax.Array]) -> jax.Array:
    return model(x).mean()


reveal_type(ps.grad(loss)(model, model, x))  # Model[..., Any]
reveal_type(jax.jit(mean)(ps.bind(ps.transform(lambda x: ps.Linear(3)(x)), params)))  # Any
mean(net)  # error: "Model[

ps.bind(3, params)
# in pyright: error: No overloads
# in pyright: error: "Literal[3]"
# in mypy: error: No overload
ps.bind(f)
# in pyright: error: No overloads
# in mypy: error: No overload
ps.bind(f, params, None, jax.random.key(0), specs=None, strickt=True)
# in pyright: error: No overloads
# in mypy: error: strickt
# in mypy: error: No overload
