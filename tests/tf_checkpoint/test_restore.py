"""`restore` against places that were recorded from the objects themselves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate as ps
import purestate.sonnet as snt
import purestate.sonnet.checkpoint as checkpoint
from purestate._checkpoint.errors import CheckpointError, CheckpointMismatchError
from purestate._convert.errors import UnverifiedWarning
from tests.tf_checkpoint.fixtures import (
    MODELS,
    TWINS,
    Bundles,
    assert_same,
    blank,
    by_value,
    params_and_state,
    prefix,
    where,
)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in (*TWINS, "dtypes")])
def test_restored_by_the_object_graph(name: str):
    params, state = params_and_state(name)
    read_params, read_state = checkpoint.restore(prefix(name), blank(params), blank(state))
    assert_same(read_params, params)
    assert_same(read_state, state)


@pytest.mark.parametrize("name", [name for name in TWINS if name != "passed"])
def test_equal_modules_are_matched_by_order_with_a_warning(name: str):
    params, state = params_and_state(name)
    with pytest.warns(UnverifiedWarning, match="in the order of the attributes") as caught:
        read_params, read_state = checkpoint.restore(prefix(name), blank(params), blank(state))
    assert [each.filename for each in caught] == [__file__]
    assert_same(read_params, params)
    assert_same(read_state, state)


def test_the_warning_says_what_to_write():
    """A net in a transform tells its attributes as the warning says."""
    params, state = params_and_state("sequential")
    with pytest.warns(UnverifiedWarning) as caught:
        checkpoint.restore(prefix("sequential"), params, state)
    message = str(caught[0].message)
    assert "'_layers/0/" in message or "'_layers/2/" in message
    assert "paths.update(snt.attribute_paths(net))" in message
    paths: dict[str, tuple[str, str]] = {}

    def model(x: Any) -> Any:
        net = snt.Sequential([snt.Linear(3), jax.nn.relu, snt.Linear(3), snt.Linear(3)])
        out = net(x)
        paths.update(snt.attribute_paths(net))
        return out

    shapes = jax.eval_shape(
        ps.transform_with_state(model).init, jax.random.key(0), jnp.ones([4, 3])
    )
    assert paths == by_value("sequential")
    read = checkpoint.restore(prefix("sequential"), *shapes, attributes=paths)
    assert_same(read[0], jax.tree.map(jnp.asarray, params))


def test_one_warning_for_each_call(tmp_path: Path):
    params, state = params_and_state("resnet")
    opt_state = optax.adam(0.1).init(params)
    calls: list[Callable[[], Any]] = [
        lambda: checkpoint.save(tmp_path / "new", params, state, like=prefix("resnet")),
        lambda: checkpoint.read_slots(prefix("resnet"), params),
        lambda: checkpoint.to_optax(prefix("resnet"), opt_state, params),
    ]
    told = where("resnet")
    expected: list[Callable[[], Any]] = [
        lambda: checkpoint.load(prefix("resnet")),
        lambda: checkpoint.read_slots(prefix("resnet"), params, attributes=told),
        lambda: checkpoint.to_optax(prefix("resnet"), opt_state, params, attributes=told),
    ]
    for call, other in zip(calls, expected, strict=True):
        with pytest.warns(UnverifiedWarning) as caught:
            result = call()
        assert [each.filename for each in caught] == [__file__]
        result = checkpoint.load(tmp_path / "new") if result is None else result
        jax.tree.map(np.testing.assert_array_equal, result, other())


def test_modules_passed_from_outside_are_not_guessed():
    """Their attributes are not in the order in which they were made."""
    params, state = params_and_state("passed")
    with pytest.raises(CheckpointError, match="(?s)equal names and shapes.*`attributes`"):
        checkpoint.restore(prefix("passed"), params, state)


@pytest.mark.parametrize("name", [*TWINS, "heads", "shards"])
@pytest.mark.parametrize("start", ["", "model/"])
def test_restored_by_attributes(name: str, start: str):
    params, state = params_and_state(name)
    where = {start + path: place for path, place in by_value(name).items()}
    read = checkpoint.restore(prefix(name), blank(params), blank(state), attributes=where)
    assert_same(read[0], params)
    assert_same(read[1], state)


def test_attributes_decide_against_the_graph():
    params, state = params_and_state("two_linears")
    where = by_value("two_linears")
    swapped = {
        path: (where[path.replace(*pair)][0], where[path][1])
        for path in where
        for pair in [("zeta", "alpha") if "zeta" in path else ("alpha", "zeta")]
    }
    read, _ = checkpoint.restore(prefix("two_linears"), blank(params), state, attributes=swapped)
    one, other = sorted(params)
    assert_same(read, {one: params[other], other: params[one]})


def test_names_of_methods_do_not_count():
    params, state = params_and_state("nested")
    tilde: Callable[[str], str] = lambda path: path.replace("nested/", "nested/~/", 1)
    inner = {tilde(module): values for module, values in params.items()}
    where = {path: (tilde(module), n) for path, (module, n) in by_value("nested").items()}
    read, _ = checkpoint.restore(prefix("nested"), blank(inner), state, attributes=where)
    assert_same(read, inner)


def test_roots():
    params, state = params_and_state("nested")
    with pytest.raises(CheckpointError, match=r"no object 'net'.*pass root='model'"):
        checkpoint.restore(prefix("nested"), params, state, "net")
    first = {m.replace("mlp_1", "mlp"): v for m, v in params.items() if "mlp_1" in m}
    read, _ = checkpoint.restore(prefix("nested"), blank(first), {}, "model/first")
    assert_same(read, first)
    where = {f"model/{path}": place for path, place in by_value("nested").items()}
    read, _ = checkpoint.restore(prefix("nested"), blank(params), {}, "", attributes=where)
    assert_same(read, params)


def test_all_problems_at_once():
    params, state = params_and_state("sequential")
    changed: Bundles = blank(params)
    changed["more"] = {"w": np.zeros(2, np.float32)}
    del changed["linear_2"]["b"]
    changed["linear"]["w"] = np.zeros([3, 4], np.float32)
    changed["linear_1"]["b"] = changed["linear_1"]["b"].astype(np.float16)
    with pytest.raises(CheckpointMismatchError) as failure:
        checkpoint.restore(prefix("sequential"), changed, state)
    report = failure.value.report
    assert report.missing == ("more/w",)
    assert report.unexpected == ("linear_2/b (_layers/3/b)",)
    assert sorted(report.mismatched) == [
        ("linear/w (_layers/0/w)", "f32[3,3]", "f32[3,4]"),
        ("linear_1/b (_layers/2/b)", "f32[3]", "f16[3]"),
    ]
    for text in ("more/w", "linear_2/b", "f32[3,4]", "f16[3]", "attributes"):
        assert text in str(failure.value)


def test_problems_of_attributes():
    params, state = params_and_state("sequential")
    where = by_value("sequential")
    del where["_layers/0/w"]
    where["_layers/9/w"] = ("linear", "w")
    where["_layers/0/b"] = ("other", "b")
    with pytest.raises(CheckpointMismatchError) as failure:
        checkpoint.restore(prefix("sequential"), params, state, attributes=where)
    assert failure.value.report.missing == ("linear/w (_layers/9/w is not in the file)", "linear/b")
    assert failure.value.report.unexpected == ("_layers/0/w", "_layers/0/b")
    for wrong in ([], {"_layers/0/w": "linear/w"}, {"_layers/0/w": ("linear", 3)}):
        with pytest.raises(CheckpointError, match="attributes"):
            checkpoint.restore(prefix("sequential"), params, state, attributes=wrong)  # type: ignore


def test_kinds_of_arrays():
    params, state = params_and_state("vq")
    shapes: Any = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    in_jax = jax.tree.map(jnp.asarray, state)  # whose counters are then int32
    read_params, read_state = checkpoint.restore(prefix("vq"), shapes, in_jax)
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves((read_params, read_state)))
    assert_same(read_state, in_jax)
    read_params, read_state = checkpoint.restore(prefix("vq"), params, blank(state))
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves((read_params, read_state)))


def test_a_counter_that_jax_cannot_hold(tmp_path: Path):
    path = str(tmp_path / "ckpt")
    counter = {"m": {"counter": np.array(2**40)}}
    checkpoint.save(path, {}, counter, attributes={"c": ("m", "counter")})
    with pytest.raises(CheckpointError, match="jax_enable_x64"):
        checkpoint.restore(path, {}, {"m": {"counter": jnp.zeros([], jnp.int32)}})
    assert checkpoint.restore(path, {}, blank(counter))[1]["m"]["counter"] == 2**40


def test_wrong_values_of_the_model():
    with pytest.raises(CheckpointError, match="must be an array"):
        checkpoint.restore(prefix("nested"), {"linear": {"w": "text"}}, {})
    with pytest.raises(TypeError):
        checkpoint.restore(prefix("nested"), {"linear": 3}, {})  # type: ignore
    with pytest.raises(CheckpointError, match="no object graph"):
        checkpoint.restore(prefix("parts"), {}, {})


def test_one_name_in_params_and_state():
    params, _ = params_and_state("sequential")
    with pytest.raises(CheckpointMismatchError, match="in params and state"):
        checkpoint.restore(prefix("sequential"), params, {"linear": params["linear"]})
