"""What `load_safetensors` returns is what `save_safetensors` got, and the file is what safetensors says it is."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import purestate as ps
from purestate import checkpoint
from tests.checkpoint.helpers import bits, same
from tests.checkpoint.test_names import KEYS

PLAIN = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
PLAIN += ["float16", "float32", "float64", "complex64", "complex128"]
JAX_ONLY = ["bfloat16", "int2", "uint2", "int4", "uint4", "int1", "uint1"]
JAX_ONLY += [name for name in dir(ml_dtypes) if name.startswith(("float4", "float6", "float8"))]
DTYPES = [*PLAIN, *JAX_ONLY]


def dtype(name):
    return np.dtype(getattr(ml_dtypes, name, name))


def some_values(name, shape, seed=0):
    """An array that has every bit of its dtype both set and not set."""
    rng = np.random.default_rng(seed)
    if name == "bool":
        return rng.random(shape) < 0.5
    if name.lstrip("u") in ("int1", "int2", "int4"):
        info = ml_dtypes.iinfo(dtype(name))
        return (
            rng.integers(int(info.min), int(info.max) + 1, shape)
            .astype(np.int8)
            .astype(dtype(name))
        )
    bits_of = 4 if name.startswith("float4") else 6 if name.startswith("float6") else 8
    size = dtype(name).itemsize
    raw = rng.integers(0, 2**bits_of, (*shape, size), dtype=np.uint8)
    return np.asarray(raw.reshape(-1).view(dtype(name)).reshape(shape))


def round_trip(path, tree, **kwargs):
    checkpoint.save_safetensors(path, tree, **kwargs)
    return checkpoint.load_safetensors(path)


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_in_every_layout(tmp_path, name):
    x = some_values(name, (4, 6))
    tree = {
        "plain": x,
        "transposed": x.T,
        "fortran": np.array(x, order="F"),
        "strided": x[::2, 1::2],
        "reversed": x[::-1, ::-1],
        "broadcast": np.broadcast_to(x[0, 0], (3, 2)),
        "scalar": x[0, 0],
        "of no axes": np.array(x[0, 0]),
        "no elements": x[:0],
        "odd": x.reshape(-1)[:5],
        "one": x[:1, :1],
    }
    loaded = round_trip(tmp_path / "a.safetensors", tree)
    assert same(tree, loaded)
    assert all(not np.shares_memory(np.asarray(loaded[key]), x) for key in tree)


@pytest.mark.parametrize("name", [name for name in PLAIN if np.dtype(name).itemsize > 1])
def test_big_endian(tmp_path, name):
    x = some_values(name, (3, 5))
    swapped = x.astype(x.dtype.newbyteorder(">"))
    assert same({"x": x}, round_trip(tmp_path / "a.safetensors", {"x": swapped}))


@pytest.mark.parametrize(
    "name", [*PLAIN[:7], "float16", "float32", "complex64", "bfloat16", "int4", "float8_e5m2"]
)
def test_arrays_of_jax_come_back_as_such(tmp_path, name):
    x = jnp.asarray(some_values(name, (3, 5)))
    loaded = round_trip(tmp_path / "a.safetensors", {"x": x.T, "0": x[0, 0]})
    assert isinstance(loaded["x"], jax.Array)
    assert same(loaded, {"x": x.T, "0": x[0, 0]})


def test_arrays_that_jax_cannot_hold_stay_with_numpy(tmp_path):
    x = {"x": np.array([1 + 2**-40]), "n": np.array(2**40), "c": np.array([1e-300 + 1e300j])}
    loaded = round_trip(tmp_path / "a.safetensors", x)
    assert same(loaded, x)
    assert all(type(leaf) is np.ndarray for leaf in loaded.values())
    with jax.enable_x64(True):
        loaded = checkpoint.load_safetensors(tmp_path / "a.safetensors")
    assert same(loaded, x)
    assert all(isinstance(leaf, jax.Array) for leaf in loaded.values())


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("shape", [(), (2, 3), (0,)])
def test_random_keys(tmp_path, impl, shape):
    keys = jax.random.split(jax.random.key(7, impl=impl), shape)
    loaded = round_trip(tmp_path / "a.safetensors", {"rng": {"key": keys}})
    assert same(loaded, {"rng": {"key": keys}})
    if shape == ():
        assert (jax.random.bits(loaded["rng"]["key"], [9]) == jax.random.bits(keys, [9])).all()


def test_python_numbers(tmp_path):
    loaded = round_trip(tmp_path / "a.safetensors", {"n": 3, "x": 0.5, "b": True, "c": 1j})
    assert loaded == {"n": 3, "x": 0.5, "b": True, "c": 1j}


@given(
    st.dictionaries(
        KEYS,
        st.dictionaries(
            KEYS,
            hnp.arrays(
                st.sampled_from(["f4", "i2", "?", "c8", ">f8"]),
                hnp.array_shapes(min_dims=0, min_side=0, max_side=3),
            ),
            max_size=3,
        ),
        max_size=3,
    )
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_names_and_shapes(tmp_path, tree):
    assert same(round_trip(tmp_path / "a.safetensors", tree), tree)


# Styles


def forward(x):
    h = ps.BatchNorm(True, True, 0.9)(ps.nets.MLP([4, 3])(x), is_training=True)
    ps.set_state("last", {"h": (h, [h.sum()])})
    return h


X = jnp.ones([2, 3])


def test_two_trees_a_named_tuple_and_collections(tmp_path):
    params, state = ps.transform_with_state(forward).init(jax.random.key(0), X)
    path = tmp_path / "a.safetensors"
    assert same(round_trip(path, params), params)
    assert same(round_trip(path, state), state)
    assert same(round_trip(path, (params, state)), (params, state))
    both = {"params": params, "state": state}
    assert same(round_trip(path, both), both)
    variables = ps.transform_with_collections(forward).init(jax.random.key(0), X)
    assert set(variables) == {"params", "state", "batch_stats"}
    assert same(round_trip(path, variables), dict(variables))


def test_the_state_of_a_core_is_a_dict_of_its_fields(tmp_path):
    state = ps.LSTMState(hidden=X, cell=2 * X)
    assert same(
        round_trip(tmp_path / "a.safetensors", {"lstm": state}),
        {"lstm": {"hidden": X, "cell": 2 * X}},
    )


def test_the_order_of_names_stays(tmp_path):
    tree = {"z": {"b": np.zeros(2, np.int8), "a": np.zeros(2)}, "a": {"w": np.zeros(2, np.float16)}}
    loaded = round_trip(tmp_path / "a.safetensors", tree)
    assert (list(loaded), list(loaded["z"])) == (["z", "a"], ["b", "a"])


def test_nothing(tmp_path):
    assert round_trip(tmp_path / "a.safetensors", {}) == {}
    assert round_trip(tmp_path / "a.safetensors", {"params": {}, "state": {"x": {}}}) == {
        "params": {},
        "state": {"x": {}},
    }


def test_metadata(tmp_path):
    path = tmp_path / "a.safetensors"
    given = {"step": "100", "größe": 'a "text"\n', "": ""}
    checkpoint.save_safetensors(path, {"w": X}, metadata=given)
    assert checkpoint.read_metadata(path) == given
    checkpoint.save_safetensors(path, {"w": X})
    assert checkpoint.read_metadata(path) == {}


# safetensors as an independent truth


def test_safetensors_reads_what_we_write(tmp_path):
    tree = {
        "mlp/~/linear_0": {"w": np.arange(6.0).reshape(2, 3).T, "b": np.float32(3)},
        "n": {"bf16": some_values("bfloat16", (3,)), "mask": np.array([[True], [False]])},
    }
    checkpoint.save_safetensors(tmp_path / "a.safetensors", tree)
    found = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert same(found, checkpoint.to_flat(tree))
    with safetensors.safe_open(tmp_path / "a.safetensors", "numpy") as file:
        assert bits(file.get_slice("mlp/~/linear_0.w")[1:]) == bits(tree["mlp/~/linear_0"]["w"][1:])


@pytest.mark.parametrize("name", ["bool", "int64", "float16", "float32", "complex64", "bfloat16"])
def test_we_read_what_safetensors_writes(tmp_path, name):
    flat = {
        "encoder.layer.0.weight": some_values(name, (3, 4)),
        "encoder.layer.1.weight": some_values(name, (1,), 1),
        "odd": np.array(some_values("uint8", ())),  # the arrays after it may not be aligned
        "empty": some_values(name, (0, 3)),
        "scale": np.array(some_values(name, ())),
    }
    path = tmp_path / "a.safetensors"
    for metadata in (None, {"format": "pt"}):
        safetensors.numpy.save_file(flat, path, metadata)
        found = checkpoint.load_safetensors(path)
        assert same(checkpoint.to_flat(found), flat)
        assert checkpoint.read_metadata(path) == (metadata or {})
    assert found["encoder"]["layer"]["0"]["weight"].shape == (3, 4)


def test_an_unknown_dtype_is_named(tmp_path):
    x = np.zeros(4, np.uint8)
    spec = safetensors.TensorSpec(
        dtype="float4_e2m1fn_x2", shape=[4], data_ptr=x.ctypes.data, data_len=4
    )
    safetensors.serialize_file({"quantized": spec}, tmp_path / "a.safetensors")
    with pytest.raises(ps.errors.CheckpointFileError, match="'quantized' has the dtype F4"):
        checkpoint.load_safetensors(tmp_path / "a.safetensors")


# What cannot be saved


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        ("text", "'linear.w' is a str"),
        (np.array(["text"]), "'linear.w' has dtype <U4"),
        (np.array([None]), "'linear.w' has dtype object"),
        (np.datetime64("2020-01-01"), "'linear.w' has dtype datetime64"),
        (np.zeros(2, [("a", "f4")]), "'linear.w' has dtype"),
        (jax.ShapeDtypeStruct((2,), jnp.float32), "'linear.w'"),
        (ps.Linear, "'linear.w' is the class Linear"),
    ],
)
def test_leaves_that_cannot_be_saved(tmp_path, leaf, message):
    path = tmp_path / "a.safetensors"
    checkpoint.save_safetensors(path, {"w": X})
    with pytest.raises(ps.errors.CheckpointError, match=message):
        checkpoint.save_safetensors(path, {"linear": {"w": leaf}})
    assert same(checkpoint.load_safetensors(path), {"w": X})
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_donated_array_and_a_tracer(tmp_path):
    x = jnp.ones([3])
    x.delete()
    with pytest.raises(ps.errors.CheckpointError, match=r"'w' has no values to save: .*deleted"):
        checkpoint.save_safetensors(tmp_path / "a.safetensors", {"w": x})
    with pytest.raises(ps.errors.CheckpointError, match="'w' has no values to save: .*[Tt]racer"):
        jax.jit(lambda w: checkpoint.save_safetensors(tmp_path / "a.safetensors", {"w": w}))(X)


@pytest.mark.parametrize(
    "metadata", [{"step": 3}, {3: "a"}, "text", {"purestate": "x"}, {"purestate.header": ""}]
)
def test_metadata_that_cannot_be_saved(tmp_path, metadata):
    with pytest.raises(ps.errors.CheckpointError, match="metadata"):
        checkpoint.save_safetensors(tmp_path / "a.safetensors", {"w": X}, metadata=metadata)


def test_a_name_that_is_not_unicode(tmp_path):
    with pytest.raises(ps.errors.CheckpointError, match="not valid Unicode"):
        checkpoint.save_safetensors(tmp_path / "a.safetensors", {"\ud800": X})


def test_without_safetensors():
    code = (
        "import sys; sys.modules['safetensors'] = None\n"
        "import purestate as ps\n"
        "try: ps.checkpoint.load_safetensors('a')\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "MissingPackageError" in done.stdout
    assert "pip install purestate[checkpoint]" in done.stdout


def test_it_is_imported_on_first_use():
    code = (
        "import sys, purestate as ps\n"
        "assert not any(n.startswith(('purestate._checkpoint', 'safetensors')) for n in sys.modules)\n"
        "ps.checkpoint; assert 'safetensors' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
