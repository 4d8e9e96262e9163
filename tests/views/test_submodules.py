"""`submodules`, and submodules of a model as values of a pytree: through jit, grad, vmap and optax."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps

RNG = jax.random.key(0)
X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)


class Pair(NamedTuple):
    first: ps.Module
    second: ps.Module


class Block(ps.Module):
    def __init__(self, size: int, name: str):
        super().__init__(name=name)
        self._hidden = ps.Linear(size, name="hidden")

    def __call__(self, x):
        return jax.nn.relu(self._hidden(x))


class Net(ps.Module):
    def __init__(self):
        super().__init__()
        self.z = Block(4, "z")
        self.a = [Block(4, "a"), ("text", {"deep": ps.Linear(4, name="deep")}), jax.nn.relu]
        self.pair = Pair(ps.Linear(4, name="one"), self.z)
        self.again = self.z
        self.container = ps.Container({"in": ps.Linear(4, name="in_container")})
        self.owner = self
        self.count = 3

    def __call__(self, x):
        return ps.Linear(1)(self.z(x))


ORDER = ["z", "hidden", "a", "hidden", "deep", "one", "in_container"]


def run(f):
    return ps.transform(f).apply({}, None)


def test_each_once_in_order():
    assert run(lambda: [module.name for module in ps.submodules(Net())]) == ORDER


def test_none_of_a_layer_nor_of_the_arguments():
    class Uses(ps.Module):
        def __init__(self, other):
            super().__init__()
            self.size = other.output_size

    assert run(lambda: ps.submodules(ps.Linear(2))) == []
    assert run(lambda: ps.submodules(Uses(ps.Linear(2)))) == []


def test_what_a_method_keeps_is_there_afterwards():
    class Late(ps.Module):
        def __call__(self, x):
            self.linear = ps.Linear(1)
            return self.linear(x)

    def f(x):
        late = Late()
        before = ps.submodules(late)
        late(x)
        return before, [module.module_name for module in ps.submodules(late)]

    g = ps.transform(f)
    params = ps.transform(lambda x: Late()(x)).init(RNG, X)
    assert g.apply(params, None, X) == ([], ["late/linear"])


def test_a_users_own_name_is_free():
    class Own(ps.Module):
        submodules = "mine"

    assert run(lambda: (Own().submodules, ps.submodules(Own()))) == ("mine", [])


class Model(ps.Module):
    def __init__(self):
        super().__init__()
        self.encoder = ps.nets.MLP([4, 4], name="encoder")
        self.norm = ps.BatchNorm(True, True, 0.9, name="norm")
        self.heads = [ps.Linear(2, name="left"), ps.Linear(1, name="right")]

    def encode(self, x):
        return self.encoder(x)

    def noise(self, x):
        return ps.dropout(ps.next_rng_key(), 0.5, x)

    def __call__(self, x, is_training=True):
        x = self.norm(self.encoder(x), is_training)
        return [head(x) for head in self.heads]


F = ps.transform_with_state(lambda x: Model()(x))


def model(rng=None) -> ps.Model:
    return ps.bind(Model, *F.init(RNG, X), rng)


def test_of_a_model_they_can_be_called():
    bound = model()
    found = ps.submodules(bound)
    assert [repr(part).partition(" ")[0] for part in found][:2] == [
        "<encoder",
        "<encoder.layers[0]",
    ]
    assert len(found) == 8  # encoder, its 2 layers, norm, its 2 averages, 2 heads
    encoder, left = found[0], found[-2]
    np.testing.assert_array_equal(encoder(X), bound.encode(X))
    assert left(jnp.ones([1, 4])).shape == (1, 2)
    assert [repr(part) for part in ps.submodules(bound.encoder)] == [
        repr(part) for part in found[1:3]
    ]


@pytest.mark.parametrize("value", [3, lambda x: x, ps.Linear])
def test_other_values_are_an_error(value):
    with pytest.raises(ps.errors.ViewTypeError, match="takes a module"):
        ps.submodules(value)


def test_a_model_of_a_function_has_none():
    with pytest.raises(ps.errors.ViewTypeError, match="a model of a function"):
        ps.submodules(ps.bind(F, *F.init(RNG, X)))


# As values of a pytree


def test_its_leaves_are_its_own():
    bound = model()
    flat = jax.tree_util.tree_leaves_with_path(bound.encoder)
    assert sorted(jax.tree_util.keystr(path) for path, _ in flat) == [
        f".params['model/~/encoder/~/linear_{i}']['{name}']" for i in (0, 1) for name in "bw"
    ]
    assert len(jax.tree.leaves(bound.heads)) == 4
    assert len(jax.tree.leaves(bound.heads[0])) == 2
    state = jax.tree.leaves(bound.norm)
    assert len(state) == 2 + 6
    # A method may use all that its module has.
    assert len(jax.tree.leaves(bound.encode)) == len(jax.tree.leaves(bound))


def test_tree_map():
    bound = model()
    zero = jax.tree.map(jnp.zeros_like, bound.encoder)
    assert float(jnp.abs(zero(X)).sum()) == 0
    assert float(jnp.abs(bound.encoder(X)).sum()) > 0
    two = jax.tree.map(lambda p: 2 * p, {"parts": [bound.heads[0], bound.heads[1]], "all": bound})
    np.testing.assert_array_equal(
        two["parts"][1](jnp.ones([1, 4])), 2 * bound.heads[1](jnp.ones([1, 4]))
    )
    assert isinstance(two["all"], ps.Model)


def test_jit_takes_and_returns_it():
    bound = model()
    traces = []

    @jax.jit
    def step(parts, x):
        traces.append(1)
        y = parts["norm"](parts["encoder"](x), True)
        return y, parts

    for _ in range(2):
        out, parts = step({"encoder": bound.encoder, "norm": bound.norm}, X)
        expected = bound.norm(bound.encode(X), True)
        np.testing.assert_allclose(out, expected, rtol=1e-5)
        np.testing.assert_allclose(parts["encoder"](X), bound.encode(X), rtol=1e-5)
        # The averages moved in what jit returned; `bound` was called itself just now.
        for moved, same in zip(
            jax.tree.leaves(parts["norm"]), jax.tree.leaves(bound.norm), strict=True
        ):
            np.testing.assert_allclose(moved, same, rtol=1e-5)
    assert len(traces) == 1


def test_update_puts_it_back():
    bound = model()
    zero = jax.tree.map(jnp.zeros_like, bound.heads[0])
    new = bound.update(zero)
    assert not np.any(new.params["model/~/left"]["w"])
    assert new.params["model/~/right"]["w"] is bound.params["model/~/right"]["w"]
    assert np.any(bound.params["model/~/left"]["w"])
    _, moved = jax.jit(lambda norm, x: (norm(x, True), norm))(bound.norm, jnp.ones([4, 4]))
    state = bound.update(moved).state["model/~/norm/~/mean_ema"]
    assert int(state["counter"]) == int(bound.state["model/~/norm/~/mean_ema"]["counter"]) + 1
    with pytest.raises(ps.errors.ViewError, match="do not fit"):
        bound.update(jax.tree.map(lambda p: p[None], bound.heads[0]))


def test_gradients_and_optax():
    bound = model()
    parts = {"encoder": bound.encoder, "head": bound.heads[1]}
    tx = optax.adam(0.05)
    opt_state = tx.init(parts)

    def loss(parts, x):
        return ((parts["head"](parts["encoder"](x)) - 1.0) ** 2).mean()

    @jax.jit
    def step(parts, opt_state, x):
        value, grads = jax.value_and_grad(loss)(parts, x)
        updates, opt_state = tx.update(grads, opt_state, parts)
        return optax.apply_updates(parts, updates), opt_state, value

    def by_hand(params):
        def f(x):
            net = Model()
            return net.heads[1](net.encoder(x))

        return ((ps.transform(f).apply(params, None, X) - 1.0) ** 2).mean()

    grads = jax.grad(loss)(parts, X)
    zeros = ps.bind(Model, jax.tree.map(jnp.zeros_like, bound.params), bound.state)
    found = zeros.update(grads["encoder"]).update(grads["head"]).params
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        found,
        jax.grad(by_hand)(bound.params),
    )
    first = float(loss(parts, X))
    for _ in range(30):
        parts, opt_state, value = step(parts, opt_state, X)
    assert float(value) < 0.2 * first
    trained = bound.update(parts["encoder"]).update(parts["head"])
    np.testing.assert_allclose(trained.encode(X), parts["encoder"](X), rtol=1e-5)


def test_only_the_parameters():
    part = model().parameters().norm
    assert len(jax.tree.leaves(part)) == 2
    with pytest.raises(ps.errors.ViewError, match="holes"):
        part(X, True)
    bound = model()
    grads = jax.grad(
        lambda p: (bound.copy().update(p).norm(jnp.ones([2, 4]) * X[:2, :1], True) ** 2).sum()
    )(part)
    assert jax.tree.structure(grads) == jax.tree.structure(part)


def test_vmap_over_an_ensemble():
    both = [ps.bind(Model, *F.init(jax.random.key(n), X)).encoder for n in (1, 2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *both)
    out = jax.vmap(lambda part, x: part(x), in_axes=(0, None))(stacked, X)
    for part, found in zip(both, out, strict=True):
        np.testing.assert_allclose(found, part(X), rtol=1e-5)


def test_scan_carries_it():
    bound = model()

    def step(norm, x):
        norm(x, True)
        return norm, None

    norm, _ = jax.lax.scan(step, bound.norm, jnp.ones([3, 2, 4]))
    before = bound.state["model/~/norm/~/mean_ema"]["counter"]
    assert int(bound.update(norm).state["model/~/norm/~/mean_ema"]["counter"]) == int(before) + 3


def test_it_has_no_key():
    bound = model(jax.random.key(1))
    assert bound.noise(X).shape == X.shape
    copied = jax.tree.map(lambda leaf: leaf, bound.noise)
    with pytest.raises(ps.errors.MissingRNGError) as caught:
        copied(X)
    assert "without a key" in "".join(caught.value.__notes__)
    assert bound.update(copied).rng is bound.rng or (bound.update(copied).rng == bound.rng).all()


def test_a_whole_model_through_tree_map_stays_a_model():
    bound = jax.tree.map(lambda p: p + 1, model())
    assert isinstance(bound, ps.Model)
    assert [out.shape for out in bound(X)] == [(4, 2), (4, 1)]


MADE = []


class Counted(ps.Linear):
    def __init__(self, size, name=None):
        MADE.append(name)
        super().__init__(size, name=name)


class Autoencoder(ps.Module):
    def __init__(self):
        super().__init__()
        self.first = Counted(3, name="first")

    def __call__(self, x):
        return Counted(4, name="back")(self.encode(x))

    def encode(self, x):
        return Counted(2, name="second")(self.first(x))


def test_a_method_builds_the_modules_that_a_call_of_it_builds_and_no_more():
    f = ps.transform(lambda x: Autoencoder()(x))
    model = ps.bind(Autoencoder, f.init(RNG, X))
    for call, names in (
        (lambda: model(X), ["first", "second", "back"]),
        (lambda: model.encode(X), ["first", "second"]),
        (lambda: model.first, []),
        (lambda: model.first(X), ["first"]),
    ):
        MADE.clear()
        call()
        assert sorted(MADE) == sorted(names)
