"""`ps.share`: one parameter in modules of different classes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps

TOKENS = jnp.array([[1, 2, 3, 0], [4, 4, 1, 2]])
VOCAB, DIM = 7, 4


def tied(tokens):
    embed = ps.Embed(VOCAB, DIM)
    x = ps.nets.MLP([8, DIM])(embed(tokens))
    return ps.Linear(VOCAB, w_init=ps.share(embed.embeddings.T))(x)


def untied(tokens):
    embed = ps.Embed(VOCAB, DIM)
    return ps.Linear(VOCAB)(ps.nets.MLP([8, DIM])(embed(tokens)))


F, G = ps.transform(tied), ps.transform(untied)


def loss(f):
    def of(params):
        logits = f.apply(params, None, TOKENS)
        return optax.softmax_cross_entropy_with_integer_labels(logits, TOKENS).mean()

    return of


@pytest.fixture
def params():
    return F.init(jax.random.key(0), TOKENS)


def test_it_is_one_leaf_and_one_slot_of_the_optimizer(params):
    assert set(params) == {"embed", "linear", "mlp/~/linear_0", "mlp/~/linear_1"}
    assert list(params["linear"]) == ["b"]
    moments = optax.adam(0.1).init(params)[0].mu
    assert jax.tree.map(jnp.shape, moments) == jax.tree.map(jnp.shape, params)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_its_gradient_is_the_sum_of_all_uses(params, wrap):
    apart = {**params, "linear": {"w": params["embed"]["embeddings"].T, **params["linear"]}}
    np.testing.assert_array_equal(F.apply(params, None, TOKENS), G.apply(apart, None, TOKENS))
    together, parts = wrap(jax.grad(loss(F)))(params), wrap(jax.grad(loss(G)))(apart)
    expected = parts["embed"]["embeddings"] + parts["linear"]["w"].T
    np.testing.assert_allclose(together["embed"]["embeddings"], expected, rtol=1e-5, atol=1e-7)


def test_it_stays_one_through_a_checkpoint_and_training(params, tmp_path):
    tx = optax.adam(0.1)
    opt_state = tx.init(params)
    first = loss(F)(params)
    for _ in range(5):
        updates, opt_state = tx.update(jax.grad(loss(F))(params), opt_state)
        params = optax.apply_updates(params, updates)
    flat = {f"{module}:{name}": v for module, name, v in ps.data_structures.traverse(params)}
    np.savez(tmp_path / "params.npz", **flat)
    loaded = {}
    with np.load(tmp_path / "params.npz") as file:
        for key in file:
            module, name = key.split(":")
            loaded.setdefault(module, {})[name] = file[key]
    assert loss(F)(loaded) == loss(F)(params) < first


@pytest.mark.parametrize(
    "around", [ps.remat, lambda f: ps.jit(f), lambda f: ps.vmap(f, split_rng=False)]
)
def test_inside_transforms(around, request):
    def f(tokens):
        embed = ps.Embed(VOCAB, DIM)
        embed(tokens)
        table = embed.embeddings
        return around(lambda x: ps.Linear(VOCAB, w_init=ps.share(table.T))(x))(embed(tokens))

    pair = ps.transform(f)
    params = pair.init(jax.random.key(0), TOKENS)
    assert set(params["linear"]) == {"b"}
    table = params["embed"]["embeddings"]
    np.testing.assert_allclose(
        pair.apply(params, None, TOKENS), table[TOKENS] @ table.T + params["linear"]["b"], rtol=1e-5
    )


def test_every_layer_of_a_scan_uses_it():
    def f(x):
        w = ps.get_parameter("w", [3, 3], init=ps.initializers.RandomNormal())
        return ps.scan(lambda x, _: (ps.Linear(3, w_init=ps.share(w))(x), None), x, None, length=3)[
            0
        ]

    pair = ps.transform(f)
    params = pair.init(jax.random.key(0), jnp.ones([2, 3]))
    assert jax.tree.map(jnp.shape, params) == {"~": {"w": (3, 3)}, "linear": {"b": (3,)}}


def test_own_modules_share_through_get_parameter():
    class Decoder(ps.Module):
        def __init__(self, w):
            super().__init__()
            self.w = w

        def __call__(self, x):
            return x @ ps.get_parameter("w", self.w.shape, init=ps.share(self.w))

    f = ps.transform(lambda x: Decoder(ps.get_parameter("v", [3, 2], init=jnp.ones))(x))
    params = f.init(None, jnp.ones([1, 3]))
    assert jax.tree.map(jnp.shape, params) == {"~": {"v": (3, 2)}}


def test_what_does_not_fit(params):
    with pytest.raises(ps.errors.VariableTypeError, match="function"):
        ps.share(jnp.ones)
    with pytest.raises(ps.errors.VariableTypeError, match="Linear"):
        ps.transform(lambda: ps.share(ps.Linear(1))).init(None)
    wrong = ps.transform(lambda x: ps.Linear(3, w_init=ps.share(jnp.ones([2, 2])))(x))
    with pytest.raises(ps.errors.ShapeMismatchError, match=r"\(2, 2\), but \(4, 3\)"):
        wrong.init(0, jnp.ones([1, 4]))
    # A checkpoint from before it was shared: its own array would be left unused.
    stale = {**params, "linear": {"w": jnp.ones([DIM, VOCAB]), **params["linear"]}}
    with pytest.raises(ps.errors.VariableError, match=r"'w' of 'linear' is shared[\s\S]*delete"):
        F.apply(stale, None, TOKENS)
    mended = ps.surgery.delete(stale, "linear/w").tree
    np.testing.assert_array_equal(F.apply(mended, None, TOKENS), F.apply(params, None, TOKENS))


def test_it_shows_what_it_is():
    assert repr(ps.share(jnp.ones([2, 3]))) == "share(float32[2, 3])"
