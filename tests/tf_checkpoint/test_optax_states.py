"""Slots of Sonnet's optimizers in optax: one more step must give what Sonnet's step gave."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import purestate.sonnet.checkpoint as checkpoint
from purestate._checkpoint.errors import CheckpointError, CheckpointMismatchError
from tests.tf_checkpoint.fixtures import (
    assert_same,
    attributes,
    bundles,
    copy,
    params_and_state,
    prefix,
    where,
)


def rmsprop(**options: Any) -> Any:
    return optax.rmsprop(0.1, decay=0.9, eps=1e-10, momentum=0.9, **options)


OPTIMIZERS = {
    "mlp_adam": optax.adam(0.1),
    "resnet": optax.adam(0.1),
    "two_linears": optax.sgd(0.1, momentum=0.9),
    "dueling": rmsprop(centered=True),
    "rmsprop": rmsprop(),
}
# The slow ones differ from the others only in their size.
CASES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in ("resnet", "dueling") else [])
    for name in OPTIMIZERS
]
SLOTS = {"m", "v", "accumulated_momentum", "mom", "ms", "mg"}


@pytest.mark.parametrize("name", CASES)
def test_the_next_step_is_that_of_sonnet(name: str):
    optimizer = OPTIMIZERS[name]
    params = jax.tree.map(jnp.asarray, params_and_state(name)[0])
    opt_state = checkpoint.to_optax(
        prefix(name), optimizer.init(params), params, attributes=where(name)
    )
    updates, _ = optimizer.update(bundles(name, "gradient"), opt_state, params)
    after = optax.apply_updates(params, updates)
    expected = bundles(name, "next")
    for module, variables in expected.items():
        for variable, x in variables.items():
            np.testing.assert_allclose(after[module][variable], x, rtol=2e-5, atol=2e-6)
    # The slots matter: without them the step is another one.
    updates, _ = optimizer.update(bundles(name, "gradient"), optimizer.init(params), params)
    fresh = optax.apply_updates(params, updates)
    assert any(
        not np.allclose(fresh[m][n], x, rtol=1e-3, atol=1e-4)
        for m, variables in expected.items()
        for n, x in variables.items()
    )


@pytest.mark.parametrize("name", CASES)
def test_there_and_back(name: str, tmp_path: Path):
    params, state = params_and_state(name)
    optimizer = OPTIMIZERS[name]
    told: Any = {"attributes": where(name)}
    opt_state = checkpoint.to_optax(prefix(name), optimizer.init(params), params, **told)
    slots = checkpoint.from_optax(opt_state)
    assert set(slots) <= SLOTS | {"step"}
    path = str(tmp_path / "new")
    changed = jax.tree.map(lambda x: x + 1, opt_state)
    checkpoint.save(path, params, state, prefix(name), opt_state=changed, **told)
    again = checkpoint.to_optax(path, optimizer.init(params), params, **told)
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(changed), strict=True):
        np.testing.assert_array_equal(one, other)
    checkpoint.save(path, params, state, prefix(name), opt_state=opt_state, **told)
    for attribute, x in attributes(name).items():
        np.testing.assert_array_equal(checkpoint.load(path)[attribute], x)


def test_slots_are_where_the_recorder_saw_them():
    """Params are in the order of the attributes' names: `alpha` before `zeta`, and b before w."""
    params, _ = params_and_state("two_linears")
    slots = checkpoint.read_slots(prefix("two_linears"), params, attributes=where("two_linears"))
    recorded = attributes("two_linears")
    places = [("linear_1", "b"), ("linear_1", "w"), ("linear", "b"), ("linear", "w")]
    for i, (module, name) in enumerate(places):
        np.testing.assert_array_equal(
            slots["accumulated_momentum"][f"two_linears/{module}"][name],
            recorded[f"optimizer/accumulated_momentum/{i}"],
        )


@pytest.mark.slow
def test_nested_states_and_schedules():
    name = "mlp_adam"
    params = params_and_state(name)[0]
    schedule = optax.linear_schedule(1.0, 0.0, 10)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.inject_hyperparams(optax.adam)(schedule),
        optax.scale_by_schedule(schedule),
    )
    opt_state = checkpoint.to_optax(prefix(name), optimizer.init(params), params)
    inner = opt_state[1].inner_state[0]
    assert inner.count == 2
    np.testing.assert_array_equal(inner.mu["mlp/linear_0"]["b"], attributes(name)["optimizer/m/0"])
    assert opt_state[2].count == 2
    optimizer.update(params, opt_state, params)


def test_optimizers_that_do_not_fit():
    params = params_and_state("mlp_adam")[0]
    linear = params_and_state("rmsprop")[0]
    sgd = optax.sgd(0.1, momentum=0.9).init(params)
    with pytest.raises(CheckpointError, match="needs the slots 'accumulated_momentum'.*'m', 'v'"):
        checkpoint.to_optax(prefix("mlp_adam"), sgd, params)
    for nothing in (optax.sgd(0.1).init(params), optax.lion(0.1).init(params)):
        with pytest.raises(CheckpointError, match="has none of the states"):
            checkpoint.to_optax(prefix("mlp_adam"), nothing, params)
        with pytest.raises(CheckpointError, match="has none of the states"):
            checkpoint.from_optax(nothing)
    early = optax.chain(optax.scale_by_rms(), optax.trace(0.9), optax.scale(-0.1)).init(linear)
    with pytest.raises(CheckpointError, match="momentum right after"):
        checkpoint.to_optax(prefix("rmsprop"), early, linear)
    twice = optax.chain(optax.adam(0.1), optax.adam(0.1)).init(params)
    with pytest.raises(CheckpointError, match="has two of ScaleByAdamState"):
        checkpoint.from_optax(twice)
    with pytest.raises(CheckpointError, match="no object 'adam'.*root='optimizer'|'optimizer'"):
        checkpoint.read_slots(prefix("mlp_adam"), params, "adam")
    with pytest.raises(CheckpointError, match="has no slots"):
        checkpoint.read_slots(prefix("mlp_adam"), params, "model")


def test_slots_that_do_not_fit(tmp_path: Path):
    params, state = params_and_state("mlp_adam")
    other = {"linear": {"w": np.zeros(2, np.float32)}}
    with pytest.raises(CheckpointMismatchError, match="linear/w: nothing in the checkpoint"):
        checkpoint.to_optax(prefix("mlp_adam"), optax.adam(0.1).init(other), params)
    half = optax.adam(0.1, mu_dtype=jnp.bfloat16).init(params)
    with pytest.raises(CheckpointMismatchError, match="bf16"):
        checkpoint.to_optax(prefix("mlp_adam"), half, params)
    path = str(tmp_path / "new")
    for wrong, text in (
        ({"m": other}, "only `opt_state` has it for 'linear/w'"),
        ({"m": jax.tree.map(lambda x: x[:1], params)}, "has the shape"),
        ({"q": params}, "has no 'q'"),
        ({"step": np.zeros(3)}, "must be one number"),
    ):
        with pytest.raises(CheckpointError, match=text):
            checkpoint.save(path, params, state, prefix("mlp_adam"), opt_state=wrong)
    assert not list(tmp_path.iterdir())


def test_masked_params_keep_their_masks(tmp_path: Path):
    params = params_and_state("mlp_adam")[0]
    mask = {
        module: dict.fromkeys(values, module.endswith("0")) for module, values in params.items()
    }
    masked = optax.masked(optax.adam(0.1), mask)
    opt_state = checkpoint.to_optax(copy("mlp_adam", tmp_path), masked.init(params), params)
    adam = opt_state.inner_state[0]
    np.testing.assert_array_equal(
        adam.mu["mlp/linear_0"]["b"], attributes("mlp_adam")["optimizer/m/0"]
    )
    assert isinstance(adam.mu["mlp/linear_1"]["b"], optax.MaskedNode)
    assert_same({"": {"": adam.count}}, {"": {"": np.int32(2)}})
