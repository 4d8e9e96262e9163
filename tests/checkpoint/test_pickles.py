"""Pickles of dm-haiku's users: arrays and dicts come out, and nothing runs."""

import collections
import os
import pickle
import sys
import types
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from haiku._src import data_structures

import purestate as ps
from purestate import checkpoint
from tests.checkpoint.helpers import same

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def forward(x):
    h = hk.BatchNorm(True, True, 0.9)(hk.nets.MLP([4, 3])(x), is_training=True)
    return hk.Linear(2)(h)


HAIKU = hk.transform_with_state(forward)
PAIR = HAIKU.init(jax.random.PRNGKey(0), jnp.ones([2, 3]))
as_numpy = lambda tree: jax.tree.map(np.asarray, tree)
with_key = lambda x: {"a": {"w": x}}

TREES = {
    "params and state": PAIR,
    "of numpy": as_numpy(PAIR),
    "shared": [PAIR[0], PAIR[0]],
    "bfloat16": with_key(np.arange(3, dtype=ml_dtypes.bfloat16)),
    "float8": with_key(jnp.arange(3, dtype=jnp.float8_e4m3fn)),
    "int4": with_key(jnp.arange(3, dtype=jnp.int4)),
    "scalars": with_key([np.float32(3), np.int8(1), np.bool_(True), jnp.float32(2), 3, 2.5, True]),
    "texts": {"step": 100, "name": "a", "none": None, "bytes": b"\0\xff"},
    "fortran": with_key(np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))),
    "transposed": with_key(np.arange(6, dtype=np.int32).reshape(2, 3).T),
    "empty": with_key(np.zeros([0, 3], np.float32)),
    "float64": with_key(np.arange(3.0)),
    "big endian": with_key(np.arange(3, dtype=">f4")),
    "complex": with_key(np.complex64([1j])),
    "ordered": collections.OrderedDict(a=collections.OrderedDict(w=np.ones(2, np.float32))),
}


def plain(tree):
    if isinstance(tree, dict):
        return {key: plain(child) for key, child in tree.items()}
    return tree


def agree(a, b):
    if isinstance(a, dict):
        return type(a) is dict and a.keys() == b.keys() and all(agree(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(agree, a, b))
    if hasattr(b, "dtype"):
        return same(a, np.asarray(b, np.asarray(b).dtype.newbyteorder("=")))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", TREES)
def test_the_same_arrays_come_out(tmp_path, name, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(TREES[name], protocol))
    loaded = checkpoint.load_pickle(path)
    assert agree(loaded, plain(TREES[name]))
    for leaf, there in zip(jax.tree.leaves(loaded), jax.tree.leaves(TREES[name]), strict=True):
        held = hasattr(there, "dtype") and jax.dtypes.canonicalize_dtype(there.dtype) == there.dtype
        assert isinstance(leaf, jax.Array) or not held


OLD_CLASSES = {
    "FlatMapping": lambda tree: data_structures.FlatMap(
        {key: data_structures.FlatMap(child) for key, child in tree.items()}
    ),
    "FlatMap": lambda tree: Reduced("haiku._src.data_structures", "FlatMap", tree),
    "frozendict": lambda tree: data_structures.frozendict(
        {key: data_structures.frozendict(child) for key, child in tree.items()}
    ),
    "immutable": hk.data_structures.to_immutable_dict,
}


class Reduced:
    """Pickled as a call of a class that may no longer exist."""

    def __init__(self, module, name, *args):
        self.function, self.args = named(module, name), args

    def __reduce__(self):
        return self.function, self.args


def named(module, name):
    """A function that pickle saves by this name, whether there is one or not."""
    holder = sys.modules.get(module) or sys.modules.setdefault(module, types.ModuleType(module))
    if not hasattr(holder, name):

        def function(*args):
            raise AssertionError("a pickle ran something")

        function.__module__, function.__qualname__, function.__name__ = module, name, name
        setattr(holder, name, function)
    return getattr(holder, name)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", OLD_CLASSES)
def test_haikus_own_dicts_become_plain_ones(tmp_path, kind, protocol):
    path = tmp_path / "a.pkl"
    params = as_numpy(PAIR[0])
    path.write_bytes(pickle.dumps(OLD_CLASSES[kind](params), protocol))
    assert agree(checkpoint.load_pickle(path), params)


class OldDeviceArray:
    """Pickled as `DeviceArray` was until JAX 0.4."""

    def __init__(self, x):
        self.x = x

    def __reduce__(self):
        function, args, state = self.x.__reduce__()
        aval = {"weak_type": False, "named_shape": {}}
        return named("jax._src.device_array", "reconstruct_device_array"), (function, args, state, aval)  # fmt: skip


class OldNames(pickle._Pickler):
    """Writes the names that modules had before numpy 2 and JAX 0.4."""

    def save_global(self, obj, name=None):
        old = {
            "_reconstruct": "numpy.core.multiarray",
            "scalar": "numpy.core.multiarray",
            "_frombuffer": "numpy.core.numeric",
            "bfloat16": "jaxlib.xla_extension",
        }
        known = getattr(obj, "__name__", None)
        if known in old:
            self.write(pickle.GLOBAL + f"{old[known]}\n{known}\n".encode())
            self.memoize(obj)
        else:
            super().save_global(obj, name)

    dispatch = {**pickle._Pickler.dispatch, types.FunctionType: save_global, type: save_global}


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickles_of_old_versions(tmp_path, protocol):
    tree = {
        "a": {
            "w": np.ones([2, 3], np.float32),
            "b": np.ones(2, ml_dtypes.bfloat16),
            "n": np.int32(1),
        }
    }
    path = tmp_path / "a.pkl"
    with open(path, "wb") as file:
        OldNames(file, protocol).dump({**tree, "device": {"w": OldDeviceArray(np.ones(3))}})
    assert b"numpy.core" in path.read_bytes()
    loaded = checkpoint.load_pickle(path)
    assert agree(loaded, {**tree, "device": {"w": np.ones(3)}})


def test_bytes_of_python_2(tmp_path):
    """Python 2 wrote the bytes of arrays as texts."""
    x = np.array([1.5, -2], np.float32)
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
    path = tmp_path / "a.pkl"
    path.write_bytes(head + b"S" + repr(x.tobytes()).encode()[1:] + b"\ntb.")
    assert agree(checkpoint.load_pickle(path), x)


class Point(NamedTuple):
    x: int


class Calls:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


RAN = []
REFUSED = {
    "a call of the system": (Calls(os.system, ("echo ran",)), "posix.system"),
    "eval": (Calls(eval, ("RAN.append(1)",)), ".eval"),
    "a function of ours": (Calls(RAN.append, (1,)), ".getattr"),
    "a NamedTuple": ({"a": Point(3)}, "Point"),
    "an optimizer": ({"a": optax.ScaleByAdamState(1, {}, {})}, "ScaleByAdamState"),
    "a class": (dict, ".dict"),
    "a set": ({"a": frozenset([1])}, "frozenset"),
    "an object of numpy": (Calls(np.load, ("x",)), "numpy"),
    "a name like one of numpy's": (Calls(named("evil", "_reconstruct"), ()), "evil._reconstruct"),
    "a name like one of Haiku's": (Calls(named("haikuevil", "FlatMap"), ()), "haikuevil.FlatMap"),
    "a dtype of another package": (Calls(named("evil", "bfloat16"), ()), "evil.bfloat16"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused_before_it_runs(tmp_path, capfd, name, protocol):
    value, named_in_error = REFUSED[name]
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"before": np.ones(2), "w": value}, protocol))
    with pytest.raises(ps.errors.CheckpointError, match="load_pickle reads only arrays") as error:
        checkpoint.load_pickle(path)
    # Protocols 0 and 1 make objects with a function of `copyreg`.
    assert named_in_error in str(error.value) or (protocol < 2 and "copy" in str(error.value))
    assert capfd.readouterr().out == ""
    assert RAN == []


def code(*parts):
    return b"".join(parts) + b"."


NDARRAY, DTYPE = b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"
BROKEN = {
    "empty": b"",
    "text": b"hello",
    "an ndarray itself": code(NDARRAY),
    "an array without state": code(NDARRAY, b"(tR"),
    "a dtype": code(DTYPE, b"(Vf4\ntR"),
    "too few bytes": code(NDARRAY, b"(tR(I1\n(I5\nt", DTYPE, b"(Vf4\ntRI0\nVabcd\ntb"),
    "a size below zero": code(NDARRAY, b"(tR(I1\n(I-5\nt", DTYPE, b"(Vf4\ntRI0\nVabcd\ntb"),
    "an array of objects": code(NDARRAY, b"(tR(I1\n(I1\nt", DTYPE, b"(VO\ntRI0\nVabcdefgh\ntb"),
    "an array of records": code(NDARRAY, b"(tR(I1\n(I1\nt", DTYPE, b"(Vf4,f4\ntRI0\nVabcdefgh\ntb"),
    "a changed function": code(NDARRAY, b"}Vname\nVx\nsb"),
    "changed slots of a function": code(NDARRAY, b"N}Vname\nVx\ns\x86b"),
    "an object made without its class": b"\x80\x02" + code(NDARRAY, b")\x81"),
    "a persistent object": code(b"Pid\n"),
    "a dict in itself": code(b"}p0\nVa\ng0\ns"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pickles(tmp_path, name):
    path = tmp_path / "a.pkl"
    path.write_bytes(BROKEN[name])
    refused = {"a persistent object", "an ndarray itself", "a dtype"}
    expected = "load_pickle reads only" if name in refused else "is damaged, or has other things"
    with pytest.raises(ps.errors.CheckpointError, match=expected):
        checkpoint.load_pickle(path)


def test_each_byte_flipped_and_each_length_never_crash(tmp_path):
    """A pickle has no checksums, so arrays may be wrong; but nothing else than our errors comes out."""
    data = pickle.dumps(as_numpy({"a": {"w": PAIR[0]["linear"]["b"]}}), 4)
    path = tmp_path / "a.pkl"
    damaged = [data[:length] for length in range(len(data))]
    for place in range(len(data)):
        for flip in (0x01, 0xFF):
            damaged.append(data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :])
    errors = 0
    for each in damaged:
        path.write_bytes(each)
        try:
            checkpoint.load_pickle(path)
        except ps.errors.CheckpointError:
            errors += 1
    assert errors >= len(data)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        checkpoint.load_pickle(tmp_path / "a.pkl")
    with pytest.raises(ps.errors.CheckpointFileError, match="cannot be read"):
        checkpoint.load_pickle(tmp_path)


def test_a_program_of_haiku_goes_on_with_its_pickle(tmp_path):
    path, x = tmp_path / "a.pkl", jnp.ones([2, 3])
    path.write_bytes(pickle.dumps(hk.data_structures.to_immutable_dict(PAIR[0])))
    ours = ps.transform_with_state(
        lambda x: ps.Linear(2)(
            ps.BatchNorm(True, True, 0.9)(ps.nets.MLP([4, 3])(x), is_training=True)
        )
    )
    out, _ = ours.apply(checkpoint.load_pickle(path), PAIR[1], None, x)
    theirs, _ = HAIKU.apply(*PAIR, None, x)
    np.testing.assert_array_equal(out, theirs)
