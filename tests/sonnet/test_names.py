"""Params and state that `init` makes have the names, shapes and types that Sonnet recorded."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.sonnet.facade import KEY, Program, Recorded, cases_by_id, split

IDS = list(cases_by_id())


def described(tree: Any) -> dict[tuple[str, str], tuple[tuple[int, ...], str]]:
    return {
        (module, name): (value.shape, value.dtype.name)
        for module, values in tree.items()
        for name, value in values.items()
    }


def recorded_names(recorded: Recorded, trainable: bool) -> dict[Any, Any]:
    return {
        split(v["path"]): (tuple(v["shape"]), v["dtype"])
        for v in recorded.variables
        if v["trainable"] == trainable
    }


@pytest.mark.one_slow_in(2)
@pytest.mark.one_in(3)
@pytest.mark.parametrize("i", IDS)
def test_names_shapes_and_types(i):
    """Of variables, and of what each call returns."""
    group, case = cases_by_id()[i]
    program, recorded = Program(case), Recorded(group, case)
    arrays = program.arrays()
    params, state = jax.eval_shape(lambda: program.init(KEY, arrays))
    assert described(params) == recorded_names(recorded, True)
    assert described(state) == recorded_names(recorded, False)
    assert program.outlines == [call["outline"] for call in recorded.record["calls"]]


CONSTANT = [
    i
    for i, (group, case) in cases_by_id().items()
    if any(not v["random"] for v in Recorded(group, case).variables)
]


@pytest.mark.one_slow_in(2)
@pytest.mark.one_in(96)
@pytest.mark.parametrize("i", CONSTANT)
def test_values_at_creation(i):
    """What is not random is created with the recorded value, as the bias of a forget gate with 1."""
    group, case = cases_by_id()[i]
    program, recorded = Program(case), Recorded(group, case)
    params, state = program.init(KEY, program.arrays())
    for variable in recorded.variables:
        module, name = split(variable["path"])
        value = (params if variable["trainable"] else state)[module][name]
        if variable["random"]:
            assert jnp.unique(value).size > value.size // 2
        else:
            expected = recorded.created(variable)
            np.testing.assert_allclose(value, expected, rtol=1e-6, err_msg=variable["path"])
