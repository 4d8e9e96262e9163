import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

TABLE = np.random.RandomState(0).standard_normal((6, 3)).astype(np.float32)
IDS = np.array([[0, 5, 2], [2, 2, 1]])
STYLES = ["ARRAY_INDEX", "one_hot", ps.EmbedLookupStyle.ONE_HOT]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("ids", [IDS, IDS[0], IDS[0].tolist(), np.int32(4)])
def test_rows_of_the_table(style, ids):
    f = ps.transform(lambda ids: ps.Embed(6, 3, lookup_style=style)(ids))
    np.testing.assert_array_equal(
        f.apply({"embed": {"embeddings": TABLE}}, None, ids), TABLE[np.asarray(ids)]
    )


@pytest.mark.parametrize("style", STYLES)
def test_gradient_counts_the_ids(style):
    f = ps.transform(lambda: ps.Embed(6, 3)(IDS, lookup_style=style))
    gradient = jax.grad(lambda table: f.apply({"embed": {"embeddings": table}}, None).sum())(
        jnp.asarray(TABLE)
    )
    counts = np.bincount(IDS.ravel(), minlength=6)
    np.testing.assert_array_equal(gradient, np.repeat(counts[:, None], 3, 1))


def test_first_values():
    f = ps.transform(lambda: ps.Embed(1000, 100)(IDS))
    table = f.init(jax.random.key(0))["embed"]["embeddings"]
    # A normal distribution cut at two standard deviations has 0.8796 of its standard deviation.
    np.testing.assert_allclose([table.std(), abs(table).max()], [0.8796, 2.0], rtol=1e-2)


def test_matrix_as_first_value():
    def f():
        layer = ps.Embed(embedding_matrix=TABLE.tolist())
        assert (layer.vocab_size, layer.embed_dim) == (6, 3)
        return layer(IDS), layer.embeddings

    g = ps.transform(f)
    params = g.init(None)
    np.testing.assert_array_equal(params["embed"]["embeddings"], TABLE)
    out, table = g.apply(params, None)
    np.testing.assert_array_equal(out, TABLE[IDS])
    np.testing.assert_array_equal(table, TABLE)


@pytest.mark.parametrize(
    ("make", "ids", "error", "says"),
    [
        (lambda: ps.Embed(), IDS, ValueError, "vocab_size"),
        (lambda: ps.Embed(6), IDS, ValueError, "embed_dim"),
        (lambda: ps.Embed(5, embedding_matrix=TABLE), IDS, ValueError, r"\(6, 3\).*vocab_size=5"),
        (
            lambda: ps.Embed(embed_dim=4, embedding_matrix=TABLE),
            IDS,
            ValueError,
            r"\(6, 3\).*embed_dim=4",
        ),
        (lambda: ps.Embed(embedding_matrix=TABLE[0]), IDS, ValueError, r"\(3,\)"),
        (lambda: ps.Embed(6, 3), IDS * 1.0, ValueError, "embed.*float"),
        (lambda: ps.Embed(6, 3, lookup_style="MAGIC"), IDS, AttributeError, "MAGIC.*ARRAY_INDEX"),
    ],
)
def test_errors(make, ids, error, says):
    with pytest.raises(error, match=says) as caught:
        ps.transform(lambda: make()(ids)).init(jax.random.key(0))
    assert isinstance(caught.value, ps.errors.PurestateError)


def test_attend():
    def f(ids, query):
        embed = ps.Embed(7, 4)
        return embed(ids), embed.attend(query)

    g = ps.transform(f)
    ids, query = jnp.array([1, 2]), jax.random.normal(jax.random.key(1), [2, 3, 4])
    params = g.init(jax.random.key(0), ids, query)
    assert jax.tree.map(jnp.shape, params) == {
        "embed": {"embeddings": (7, 4)}
    }  # one leaf for both ends
    module = flax.linen.Embed(7, 4)
    theirs = module.apply(
        {"params": {"embedding": params["embed"]["embeddings"]}},
        query,
        method=flax.linen.Embed.attend,
    )
    np.testing.assert_allclose(g.apply(params, None, ids, query)[1], theirs, rtol=1e-5, atol=1e-6)
    with pytest.raises(ps.errors.LayerError, match=r"'embed'.*\[\.\.\., 4\].*\(2, 3\)"):
        g.apply(params, None, ids, jnp.ones([2, 3]))
