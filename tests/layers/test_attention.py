"""`MultiHeadAttention`: bits, a reference in float64, masks and errors."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.haiku_bits import check, normal

DTYPES = ["float32", "bfloat16"]


def scaled(lib):
    return lib.initializers.VarianceScaling(2.0)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_bits(leading, dtype):
    def run(lib, query, value):
        return lib.MultiHeadAttention(2, 4, w_init=scaled(lib), value_size=5, model_size=7)(
            query, value, value
        )

    inputs = normal(*leading, 4, 6, dtype=dtype), normal(*leading, 5, 3, dtype=dtype, seed=1)
    check(run, *inputs, eager=leading == (3,))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_with_mask_and_without_bias(dtype):
    def run(lib, x, mask):
        return lib.MultiHeadAttention(2, 4, w_init=scaled(lib), with_bias=False)(x, x, x, mask=mask)

    check(run, normal(2, 4, 6, dtype=dtype), jnp.tril(jnp.ones([1, 1, 4, 4], bool)))
    check(run, normal(4, 6, dtype=dtype), jnp.tril(jnp.ones([1, 4, 4])))


@pytest.mark.parametrize("dtypes", [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_bits_of_several_dtypes(dtypes):
    def run(lib, query, value):
        b_init = lib.initializers.Constant(0.1)
        return lib.MultiHeadAttention(2, 3, w_init=scaled(lib), b_init=b_init)(query, value, value)

    check(run, normal(4, 6, dtype=dtypes[0]), normal(5, 3, dtype=dtypes[1]))


def test_bits_with_values_without_batch():
    def run(lib, query, value):
        return lib.MultiHeadAttention(2, 3, w_init=scaled(lib))(query, value, value)

    check(run, normal(2, 4, 6), normal(5, 3))


def by_hand(params, num_heads, query, key, value, mask):
    """In float64, one head and one query after the other."""
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    parts = {
        name: x @ params[f"multi_head_attention/{name}"]["w"]
        + params[f"multi_head_attention/{name}"]["b"]
        for name, x in (("query", query), ("key", key), ("value", value))
    }
    heads = {name: x.reshape(len(x), num_heads, -1) for name, x in parts.items()}
    out = np.zeros([len(query), num_heads, heads["value"].shape[-1]])
    for h in range(num_heads):
        for t in range(len(query)):
            logits = heads["key"][:, h] @ heads["query"][t, h] / np.sqrt(heads["key"].shape[-1])
            weights = np.exp(logits) * mask[t]
            out[t, h] = weights / weights.sum() @ heads["value"][:, h]
    last = params["multi_head_attention/linear"]
    return out.reshape(len(query), -1) @ last["w"] + last["b"]


@pytest.mark.parametrize("batch", [(), (2,)])
def test_reference_in_float64(batch):
    f = ps.transform(
        lambda *a: ps.MultiHeadAttention(
            3,
            4,
            w_init=ps.initializers.VarianceScaling(),
            b_init=ps.initializers.RandomNormal(),
            value_size=2,
        )(*a)
    )
    query, key, value = (
        normal(*batch, 5, 6),
        normal(*batch, 7, 3, seed=1),
        normal(*batch, 7, 4, seed=2),
    )
    mask = np.random.RandomState(3).uniform(size=[5, 7]) < 0.6
    mask[:, 0] = True
    args = query, key, value, jnp.asarray(mask)[(None,) * (len(batch) + 1)]
    params = f.init(jax.random.key(0), *args)
    out = np.asarray(f.apply(params, None, *args))
    if batch:
        expected = np.stack(
            [by_hand(params, 3, *(np.float64(x[i]) for x in args[:3]), mask) for i in range(2)]
        )
    else:
        expected = by_hand(params, 3, *(np.float64(x) for x in args[:3]), mask)
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=2e-6)


def test_attributes_and_defaults():
    names = [
        "num_heads",
        "key_size",
        "value_size",
        "model_size",
        "w_init",
        "with_bias",
        "b_init",
        "name",
        "module_name",
    ]

    def f(lib):
        mha = lib.MultiHeadAttention(5, 3, w_init=jnp.ones)
        return {name: getattr(mha, name) for name in names}

    ours, theirs = (lib.transform(lambda lib=lib: f(lib)).apply({}, None) for lib in (ps, hk))
    assert ours == theirs
    assert (ours["value_size"], ours["model_size"]) == (3, 15)


def made_with(**options):
    return ps.transform(lambda: ps.MultiHeadAttention(2, 3, **options).w_init).apply({}, None)


def test_w_init_scale_is_deprecated():
    with pytest.warns(DeprecationWarning, match="VarianceScaling"):
        w_init = made_with(w_init_scale=5.0)
    assert isinstance(w_init, ps.initializers.VarianceScaling)
    assert w_init.scale == 5.0


def test_w_init_has_to_be_given_once():
    with pytest.raises(ValueError, match="needs w_init"):
        made_with()
    with (
        pytest.warns(DeprecationWarning, match="w_init_scale"),
        pytest.raises(ps.errors.LayerError, match="leave out w_init_scale"),
    ):
        made_with(w_init=jnp.ones, w_init_scale=1.0)


X = np.ones([2, 4, 3], np.float32)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3,), (4, 3), (4, 3)), "needs a query with a time axis"),
        (((4, 3), (5, 3), (6, 3)), "of one length T"),
        # In dm-haiku the batch of the values ends up among the features of the output.
        (((4, 3), (2, 4, 3), (2, 4, 3)), "leading axes"),
        (((1, 4, 3), (2, 4, 3), (2, 4, 3)), "leading axes"),
        (((2, 4, 3), (2, 4, 3), (2, 4, 3), (4, 4)), r"mask of shape \(4, 4\).*\(2, 2, 4, 4\)"),
        (((2, 4, 3), (2, 4, 3), (2, 4, 3), (2, 1, 4, 3)), "mask of shape"),
        (((1, 4, 3), (1, 4, 3), (1, 4, 3), (2, 1, 4, 4)), "mask of shape"),
    ],
)
def test_shapes_that_do_not_fit(shapes, message):
    f = ps.transform(lambda *a: ps.MultiHeadAttention(2, 3, w_init=jnp.ones)(*a))
    with pytest.raises(ps.errors.LayerError, match=message) as error:
        f.init(None, *(jnp.ones(shape) for shape in shapes))
    assert "'multi_head_attention'" in str(error.value)
