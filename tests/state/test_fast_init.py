"""`fast_init`: the bits of `init`, in every style, with every key, in every block."""

import contextlib
import os
import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.haiku_parity import table_core, table_layers, table_recurrent
from tests.haiku_parity.table_layers import inputs_of
from tests.state.test_init_with_output import FUNCTIONS, IN_EACH_STYLE, TRANSFORMS, Net, plain

KEY = jax.random.key(1)
X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
SHAPE = jax.ShapeDtypeStruct(X.shape, X.dtype)
ROWS = {row.name: row for row in table_layers.ROWS + table_recurrent.ROWS}


def bits(leaf):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf).tobytes()


def identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        assert (x.shape, x.dtype, bits(x)) == (y.shape, y.dtype, bits(y)), path


def identical_in_loops(a, b):
    """As `identical`; but with little optimization XLA rounds by what else is in the loop."""
    if "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ:
        return identical(a, b)
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


@pytest.mark.one_slow_in(2)
@pytest.mark.one_in(10)
@pytest.mark.parametrize("mode", ["sequence", "path"])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(row.name, dtype) for row in ROWS.values() for dtype in row.dtypes if dtype != "float64"],
)
def test_every_layer(name, mode, dtype):
    row = ROWS[name]
    f = ps.transform_with_state(lambda *args: row.run(ps, *args), rng_mode=mode)
    inputs = inputs_of(row, dtype)
    identical(ps.fast_init(f)(KEY, *inputs), f.init(KEY, *inputs))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", table_core.ROWS)
def test_every_program_of_the_core(name):
    made = [table_core.ROWS[name](ps, []) for _ in range(2)]
    (f, args), (again, _) = made
    fast = ps.fast_init(ps.transform_with_state(f))
    identical(fast(KEY, *args), ps.transform_with_state(again).init(KEY, *args))


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("mode", ["sequence", "path"])
@pytest.mark.parametrize(("name", "transform"), IN_EACH_STYLE)
def test_every_style(name, transform, mode, jitted):
    pair = TRANSFORMS[transform](FUNCTIONS[name], rng_mode=mode)
    wrap = jax.jit if jitted else lambda f: f
    identical_in_loops(wrap(ps.fast_init(pair))(KEY, X), wrap(pair.init)(KEY, X))
    if name != "stateful":  # the average of a BatchNorm depends on x
        identical_in_loops(ps.fast_init(pair)(KEY, SHAPE), pair.init(KEY, X))
        identical_in_loops(pair.init(KEY, SHAPE), pair.init(KEY, X))


@pytest.mark.parametrize(
    "rng",
    [
        3,
        jax.random.PRNGKey(3),
        jax.random.key(3, impl="rbg"),
        jax.random.key(3, impl="unsafe_rbg"),
        {"params": 1, "default": jax.random.key(2)},
    ],
    ids=["seed", "raw", "rbg", "unsafe_rbg", "streams"],
)
@pytest.mark.parametrize("mode", ["sequence", "path"])
def test_every_key(rng, mode):
    f = ps.transform(FUNCTIONS["stacked"], rng_mode=mode)
    identical_in_loops(ps.fast_init(f)(rng, X), f.init(rng, X))
    identical_in_loops(f.init(rng, SHAPE), f.init(rng, X))


def test_no_key():
    f = ps.transform(lambda x: x * ps.get_parameter("w", [3], init=jnp.ones))
    identical(ps.fast_init(f)(None, SHAPE), f.init(None, X))


def doubled(next_creator, shape, dtype, init, context):
    return 2 * next_creator(shape, dtype, init)


BLOCKS = {
    "creator": contextlib.nullcontext,
    "reserve": lambda: ps.config.context(rng_reserve_size=3),
    "lora": lambda: ps.lora(rank=2),
    "freeze": lambda: ps.freeze(),
    "rules": contextlib.nullcontext,
}


@pytest.mark.parametrize("name", BLOCKS)
def test_inside_a_block(name):
    def f(x):
        with ps.custom_creator(doubled) if name == "creator" else contextlib.nullcontext():
            return plain(x)

    if name == "rules":
        f = ps.configured(f, {"linear": ps.rules.precision("bfloat16", params="bfloat16")})
    f = ps.transform(f)
    with BLOCKS[name]():
        expected, made = f.init(KEY, X), ps.fast_init(f)(KEY, X)
        identical(f.init(KEY, SHAPE), expected)
    identical(made, expected)


def test_several_functions():
    def f():
        net = ps.Linear(2)
        return net, {"twice": lambda x: 2 * net(x)}

    pair = ps.multi_transform(f)
    identical(ps.fast_init(pair)(KEY, SHAPE), pair.init(KEY, X))


def test_under_vmap():
    f = ps.transform(FUNCTIONS["plain"])
    keys = jax.random.split(KEY, 3)
    made = jax.vmap(ps.fast_init(f), in_axes=(0, None))(keys, X)
    identical(made, jax.vmap(f.init, in_axes=(0, None))(keys, X))


def test_progress(capsys):
    f = ps.transform(Net)
    identical(ps.fast_init(f, progress=True)(KEY, X), f.init(KEY, X))
    shown = capsys.readouterr().err
    assert "100%" in shown
    assert "32.0/32.0" in shown  # bytes of w [3, 2] and b [2]


def test_progress_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ps.errors.MissingPackageError, match="pip install tqdm"):
        ps.fast_init(ps.transform(Net), progress=True)(KEY, X)


def test_pickles_names_and_signature():
    fast = ps.fast_init(ps.transform(plain))
    identical(pickle.loads(pickle.dumps(fast))(KEY, X), fast(KEY, X))
    assert fast.__name__ == "plain_fast_init"
    identical(ps.fast_init(ps.transform(Net))(KEY, SHAPE), ps.transform(Net).init(KEY, X))


def test_what_is_not_a_pair():
    with pytest.raises(ps.errors.ArgumentError, match="ps.fast_init\\(ps.transform\\(f\\)\\)"):
        ps.fast_init(plain)
    compiled = ps.transform(plain)._replace(init=jax.jit(ps.transform(plain).init))
    identical(ps.fast_init(compiled)(KEY, X), ps.transform(plain).init(KEY, X))
