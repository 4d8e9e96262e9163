"""`load_safetensors` into a model: names, shapes and dtypes are compared, and arrays go to their devices."""

import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps
from purestate import checkpoint
from tests.checkpoint.helpers import same

KEY, X = jax.random.key(0), jnp.ones([2, 3])


def forward(x):
    h = ps.BatchNorm(True, True, 0.9)(ps.nets.MLP([4, 3], name="encoder")(x), is_training=True)
    return ps.Linear(2, name="head")(h)


F = ps.transform_with_state(forward)
PARAMS, STATE = F.init(KEY, X)
ZEROS = jax.tree.map(jnp.zeros_like, PARAMS)


@pytest.fixture
def path(tmp_path):
    checkpoint.save_safetensors(tmp_path / "a.safetensors", PARAMS)
    return tmp_path / "a.safetensors"


@pytest.mark.parametrize(
    "like",
    [
        ZEROS,
        jax.eval_shape(F.init, KEY, X)[0],
        ps.specs(F)(KEY, X)[0],
        jax.tree.map(np.asarray, PARAMS),
    ],
)
def test_into_each_kind_of_model(path, like):
    loaded = checkpoint.load_safetensors(path, into=like)
    assert same(loaded, PARAMS)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(loaded))


class Both(NamedTuple):
    params: dict
    state: dict


@pytest.mark.parametrize(
    "kind", [tuple, list, lambda pair: Both(*pair), lambda pair: dict(zip("ab", pair, strict=True))]
)
def test_the_structure_is_that_of_the_model(tmp_path, kind):
    tree = kind((PARAMS, STATE))
    checkpoint.save_safetensors(tmp_path / "a.safetensors", tree)
    loaded = checkpoint.load_safetensors(
        tmp_path / "a.safetensors", into=jax.tree.map(jnp.zeros_like, tree)
    )
    assert jax.tree.structure(loaded) == jax.tree.structure(tree)
    assert all(map(same, jax.tree.leaves(loaded), jax.tree.leaves(tree)))


def test_random_keys_and_packed_integers(tmp_path):
    tree = {
        "rng": {"key": jax.random.key(5)},
        "q": {"w": jnp.arange(3, dtype=jnp.int4)},
        "n": {"n": np.complex128(1j)},
    }
    checkpoint.save_safetensors(tmp_path / "a.safetensors", tree)
    like = {**jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), {k: tree[k] for k in "q"}), "rng": {"key": jax.eval_shape(jax.random.key, 0)}, "n": {"n": np.complex128(0)}}  # fmt: skip
    assert same(checkpoint.load_safetensors(tmp_path / "a.safetensors", into=like), tree)
    like["rng"] = {"key": jax.random.key(0, impl="rbg")}
    with pytest.raises(ps.errors.CheckpointMismatchError, match="'rng/key': key<fry>"):
        checkpoint.load_safetensors(tmp_path / "a.safetensors", into=like)


def test_all_differences_at_once(path):
    like = {
        "encoder/~/linear_O": PARAMS["encoder/~/linear_0"],  # with the letter O
        "encoder/~/linear_1": {"w": jnp.zeros([4, 5]), "b": jnp.zeros([3], jnp.bfloat16)},
        "batch_norm": PARAMS["batch_norm"],
    }
    with pytest.raises(ps.errors.CheckpointMismatchError) as caught:
        checkpoint.load_safetensors(path, into=like)
    report = caught.value.report
    assert report.missing == ("encoder/~/linear_O/b", "encoder/~/linear_O/w")
    assert set(report.unexpected) == {
        "encoder/~/linear_0/b",
        "encoder/~/linear_0/w",
        "head/b",
        "head/w",
    }
    assert report.mismatched == (
        ("encoder/~/linear_1/b", "f32[3]", "bf16[3]"),
        ("encoder/~/linear_1/w", "f32[4,3]", "f32[4,5]"),
    )
    message = str(caught.value)
    assert "'encoder/~/linear_O/w' (near it: 'encoder/~/linear_0/w'" in message
    assert all(
        name in message
        for name in ("'head/b'", "f32[4,3] in the file, f32[4,5] in the model", "strict=False")
    )


def test_not_strict_loads_what_fits(path):
    like = {
        **ZEROS,
        "head": {"w": jnp.zeros([3, 9]), "b": ZEROS["head"]["b"]},
        "new": {"w": jnp.ones([1])},
    }
    del like["batch_norm"]
    loaded, report = checkpoint.load_safetensors(path, into=like, strict=False)
    assert isinstance(report, checkpoint.LoadReport)
    expected = {
        **PARAMS,
        "head": {"w": like["head"]["w"], "b": PARAMS["head"]["b"]},
        "new": like["new"],
    }
    del expected["batch_norm"]
    assert same(loaded, expected)
    assert report.missing == ("new/w",)
    assert set(report.unexpected) == {"batch_norm/scale", "batch_norm/offset"}
    assert report.mismatched == (("head/w", "f32[3,2]", "f32[3,9]"),)
    assert report
    assert not checkpoint.load_safetensors(path, into=ZEROS, strict=False)[1]


@pytest.mark.parametrize(
    "only",
    ["encoder/**", "encoder/*", ps.surgery.glob("encoder/*"), lambda name, leaf: name[0] == "e"],
)
def test_only(path, only):
    loaded = checkpoint.load_safetensors(path, only=only)
    assert same(loaded, {name: PARAMS[name] for name in PARAMS if name.startswith("encoder")})
    like = {**ZEROS, "head": {"other": jnp.ones([])}}
    assert same(checkpoint.load_safetensors(path, into=like, only=only), {**like, **loaded})


@pytest.mark.parametrize(
    ("rename", "new"),
    [
        ({"encoder/**": "model/encoder/**"}, lambda n: n.replace("encoder", "model/encoder")),
        ({"encoder": "model/encoder"}, lambda n: n.replace("encoder", "model/encoder")),
        ({"*linear_?/*": "*layers_?/*"}, lambda n: n.replace("linear", "layers")),
        (
            {"encoder/~/linear_0": "first", "**": "rest/**"},
            lambda n: "first" if n.endswith("_0") else f"rest/{n}",
        ),
        ({"head/w": "head/w"}, lambda n: n),
    ],
)
def test_rename(path, rename, new):
    like = {new(name): values for name, values in ZEROS.items()}
    loaded = checkpoint.load_safetensors(path, into=like, rename=rename)
    assert same(loaded, {new(name): values for name, values in PARAMS.items()})


def test_levels_of_names_of_other_libraries(tmp_path):
    checkpoint.save_safetensors(
        tmp_path / "a.safetensors",
        {"model": {"layers": {"0": {"weight": X}, "1": {"weight": 2 * X}}}},
    )
    like = {"mlp/~/linear_0": {"w": X}, "mlp/~/linear_1": {"w": X}}
    loaded = checkpoint.load_safetensors(
        tmp_path / "a.safetensors", into=like, rename={"model/layers/*/weight": "mlp/~/linear_*/w"}
    )
    assert same(loaded, {"mlp/~/linear_0": {"w": X}, "mlp/~/linear_1": {"w": 2 * X}})


def test_equal_names_with_other_levels_stay_apart(tmp_path):
    tree = {"a/b": {"c": jnp.ones([])}, "a": {"b/c": jnp.zeros([])}}
    checkpoint.save_safetensors(tmp_path / "a.safetensors", tree)
    assert same(checkpoint.load_safetensors(tmp_path / "a.safetensors", into=tree), tree)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"rename": {"encodr/**": "e/**"}}, r"nothing at 'encodr/\*\*'.* Near it: 'encoder"),
        ({"rename": {"encoder/**": "e"}}, "differ in their number of wildcards, 1 and 0"),
        ({"rename": {"*/w": "*/b"}}, "both become"),
        ({"rename": ["a"]}, "`rename` must be a dict"),
        ({"rename": {3: "a"}}, "a pattern is a string"),
        ({"only": 3}, "`only` must be a pattern"),
        ({"only": "encodr/**"}, "found nothing"),
        ({"shardings": {"head": "data"}}, "has a str at 'head'"),
    ],
)
def test_wrong_arguments(path, kwargs, message):
    with pytest.raises(ps.errors.CheckpointError, match=message):
        checkpoint.load_safetensors(path, into=ZEROS, **kwargs)


@pytest.mark.parametrize("kwargs", [{"rename": {"a": "b"}}, {"strict": False}])
def test_what_needs_a_model(path, kwargs):
    with pytest.raises(ps.errors.CheckpointError, match="only together with `into`"):
        checkpoint.load_safetensors(path, **kwargs)


SHARDED = """
import sys, jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_num_cpu_devices", 4)
import purestate as ps
from purestate import checkpoint
from jax.sharding import NamedSharding, PartitionSpec as P
from tests.checkpoint.helpers import same

path = sys.argv[1]
tree = {"a": {"w": np.arange(32, dtype=np.float32).reshape(4, 8), "n": np.int32(3)}, "b": {"w": jnp.arange(8, dtype=jnp.int4)}}
tree["b"]["key"] = jax.random.split(jax.random.key(0), 4)
checkpoint.save_safetensors(path, tree)
mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
whole, parts = NamedSharding(mesh, P()), NamedSharding(mesh, P("x"))
columns = NamedSharding(mesh, P(None, "x"))

loaded = checkpoint.load_safetensors(path, shardings=whole)
assert same(loaded, tree) and all(leaf.sharding.is_equivalent_to(whole, leaf.ndim) for leaf in jax.tree.leaves(loaded))

shardings = {"a": {"w": columns, "n": whole}, "b": parts}
for into in (None, jax.eval_shape(lambda: jax.tree.map(jnp.asarray, tree))):
    loaded = checkpoint.load_safetensors(path, into=into, shardings=shardings)
    assert same(loaded, tree)
    assert loaded["a"]["w"].sharding == columns and loaded["b"]["w"].sharding == parts
    assert {shard.data.shape for shard in loaded["a"]["w"].addressable_shards} == {(4, 2)}

for wrong, words in (({"a": {"v": whole}}, "'a/v', which does not exist"), ({"a": {"n": parts}}, "'a/n' has shape ()")):
    try:
        checkpoint.load_safetensors(path, shardings=wrong)
    except ps.errors.CheckpointError as error:
        assert words in str(error), error
    else:
        raise AssertionError(words)
"""


def test_onto_several_devices(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, str(tmp_path / "a.safetensors")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# Another shape in the model: smaller, larger, both, and the same.
SHAPES = {"less": (3, 2), "more": (6, 3), "both": (3, 4), "same": (5, 3)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int4])
@pytest.mark.parametrize("sharded", [False, True])
def test_resized_variables(tmp_path, shape, dtype, sharded):
    there = jnp.arange(15).reshape(5, 3).astype(dtype)
    checkpoint.save_safetensors(
        tmp_path / "a.safetensors", {"embed": {"w": there}, "head": {"w": there}}
    )
    like = {"embed": {"w": jnp.full(shape, -1, dtype)}, "head": {"w": jnp.zeros_like(there)}}
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0]) if sharded else None
    loaded = checkpoint.load_safetensors(
        tmp_path / "a.safetensors", into=like, resize="embed/*", shardings=sharding
    )
    expected = np.full(shape, -1, dtype)
    for i, j in np.ndindex(*shape):
        if i < 5 and j < 3:
            expected[i, j] = np.asarray(there)[i, j]
    assert same(loaded, {"embed": {"w": expected}, "head": {"w": there}})
    assert isinstance(loaded["embed"]["w"], jax.Array)


def test_resized_keys(tmp_path):
    key = jax.random.key(0)
    checkpoint.save_safetensors(tmp_path / "a.safetensors", {"k": jax.random.split(key, 3)})
    for size in (2, 4):
        like = jax.random.split(jax.random.key(1), size)
        loaded = checkpoint.load_safetensors(
            tmp_path / "a.safetensors", into={"k": like}, resize=lambda name, leaf: leaf.ndim == 1
        )
        assert same(loaded["k"][:2], jax.random.split(key, 3)[:2])
        assert same(loaded["k"][3:], like[3:])


def test_what_resize_does_not_allow(path):
    specs = {**ZEROS, "head": {"w": jax.ShapeDtypeStruct((5, 2), jnp.float32), "b": jnp.zeros(1)}}
    with pytest.raises(ps.errors.CheckpointMismatchError, match=r"'head/b': f32\[2\] in the file"):
        checkpoint.load_safetensors(path, into=specs, resize="head/w")
    with pytest.raises(ps.errors.CheckpointError, match="has no values for the rest. Pass params"):
        checkpoint.load_safetensors(path, into=specs, resize="head/*")
    specs["head"]["w"] = jnp.zeros((1, 2))
    loaded, report = checkpoint.load_safetensors(path, into=specs, resize="head/*", strict=False)
    assert same(loaded["head"], {"w": PARAMS["head"]["w"][:1], "b": PARAMS["head"]["b"][:1]})
    assert not report
    assert [name for name, *_ in report.resized] == ["head/b", "head/w"]
    for other in (jnp.zeros([2, 3, 1]), jnp.zeros([3, 2], jnp.bfloat16)):
        specs["head"]["w"] = other
        with pytest.raises(ps.errors.CheckpointMismatchError, match="'head/w'"):
            checkpoint.load_safetensors(path, into=specs, resize="head/*")
    with pytest.raises(ps.errors.CheckpointError, match="`resize` only together with `into`"):
        checkpoint.load_safetensors(path, resize="head/*")
    with pytest.raises(ps.errors.CheckpointError, match="`resize` must be a pattern"):
        checkpoint.load_safetensors(path, into=specs, resize=3)


def test_moments_follow_a_rename(tmp_path):
    """One pattern with a leading `*/` renames a module in params, in moments and in an average."""
    tx = optax.chain(optax.clip(1.0), optax.adamw(1e-2))
    opt_state = tx.init(PARAMS)
    _, opt_state = tx.update(jax.tree.map(jnp.ones_like, PARAMS), opt_state, PARAMS)
    run = {"params": PARAMS, "opt": opt_state, "average": PARAMS}
    checkpoint.save_safetensors(tmp_path / "a.safetensors", run)

    def renamed(params):
        return {key.replace("encoder/~", "trunk/mlp"): each for key, each in params.items()}

    into = {"params": renamed(ZEROS), "opt": tx.init(renamed(ZEROS)), "average": renamed(ZEROS)}
    loaded = checkpoint.load_safetensors(
        tmp_path / "a.safetensors", into=into, rename={"*/encoder/~/*": "*/trunk/mlp/*"}
    )
    assert jax.tree.structure(loaded) == jax.tree.structure(into)
    assert same(loaded["params"], renamed(PARAMS))
    assert same(loaded["average"], renamed(PARAMS))
    moments, there = loaded["opt"][1][0], opt_state[1][0]
    assert same(moments.mu, renamed(there.mu))
    assert same(moments.nu, renamed(there.nu))
    assert same(moments.count, there.count)
