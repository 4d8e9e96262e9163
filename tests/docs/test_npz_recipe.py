"""The recipe of `docs/coming_from_haiku.md` for files of NumPy, with every dtype of jax.numpy."""

import re
from pathlib import Path

import haiku
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

PAGE = Path(__file__).parents[2] / "docs" / "coming_from_haiku.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
HELPERS = next(block for block in BLOCKS if "def to_numpy" in block)
SAVE_AND_LOAD = next(block for block in BLOCKS if "np.savez(" in block)
KEYS = ["threefry2x32", "rbg", "unsafe_rbg"]


def dtypes():
    with jax.enable_x64(True):
        names = [name for name in dir(jnp) if isinstance(getattr(jnp, name), type(jnp.float32))]
        found = {}
        for name in names:
            try:
                array = jnp.zeros([2], getattr(jnp, name))
            except Exception:  # XLA has no such type on this machine
                continue
            found[array.dtype.name] = array.dtype
    return found


DTYPES = dtypes()


def test_all_dtypes_are_there():
    assert {"bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4", "bool", "int64", "float64", "complex128"} <= set(DTYPES)  # fmt: skip
    assert len(DTYPES) >= 20


def through_a_file(params, folder):
    def same_bits(a, b):
        return True  # compared below

    scope = dict(
        haiku=haiku, jax=jax, jnp=jnp, np=np, folder=folder, params=params, same_bits=same_bits
    )
    exec(HELPERS, scope)
    exec(SAVE_AND_LOAD, scope)
    return scope["loaded"]


def bits(x):
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    return np.asarray(x).tobytes()


def check(params, folder):
    loaded = through_a_file(params, folder)
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(params), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert bits(a) == bits(b)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)], ids=str)
@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype(name, shape, tmp_path):
    with jax.enable_x64(True):
        numbers = jax.random.normal(jax.random.key(0), shape) * 3
        array = numbers.astype(DTYPES[name])
        other = jnp.ones([2], jnp.float32)
        check({"mlp/~/linear_0": {"w": array, "b": other}, "~": {"n": np.asarray(array)}}, tmp_path)


@pytest.mark.parametrize("impl", KEYS)
def test_typed_keys(impl, tmp_path):
    keys = jax.random.key(3, impl=impl), jax.random.split(jax.random.key(4, impl=impl), (2, 3))
    check({"dropout": {"rng": keys[0], "many": keys[1]}}, tmp_path)


def test_what_is_loaded_is_used_as_it_was(tmp_path):
    f = ps.transform(lambda x: ps.Linear(2)(x))
    x = jnp.ones([1, 3], jnp.bfloat16)
    params = f.init(0, x)
    assert params["linear"]["w"].dtype == jnp.bfloat16
    loaded = through_a_file(params, tmp_path)
    assert bits(f.apply(loaded, None, x)) == bits(f.apply(params, None, x))
