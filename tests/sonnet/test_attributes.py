"""Inside the function a module has Sonnet's attributes, in TensorFlow's order."""

from typing import Any

import jax
import numpy as np
import pytest

from tests.sonnet.facade import KEY, Program, Recorded, cases_by_id, snt, type_name

WITH_MODULES = [
    i
    for i, (group, case) in cases_by_id().items()
    if "attributes" in Recorded(group, case).record and Recorded(group, case).variables
]


def seen(i: str, look: Any, values: bool = False) -> Recorded:
    """Runs all calls, and `look(module)` after them."""
    group, case = cases_by_id()[i]
    program, recorded = Program(case), Recorded(group, case)
    params, state = recorded.trees(0)
    arrays = program.arrays()
    run = lambda: program.apply(params, state, KEY, arrays, None, look)
    run() if values else jax.eval_shape(run)
    return recorded


@pytest.mark.one_in(8)
@pytest.mark.parametrize("i", WITH_MODULES)
def test_variables_in_order(i):
    """`.variables` and `.trainable_variables`, with names, shapes and types."""
    found: dict[str, Any] = {}

    def look(module: Any) -> None:
        snt.allow_empty_variables(module)
        for which in ("variables", "trainable_variables"):
            found[which] = [
                (v.name, tuple(v.shape), type_name(v.dtype), bool(v.trainable))
                for v in getattr(module, which)
            ]
        assert all(isinstance(getattr(module, w), tuple) for w in found)

    recorded = seen(i, look)
    for which, actual in found.items():
        places = [p for p in recorded.record["order"][which] if p is not None]
        expected = [recorded.variables[p] for p in places]
        assert actual == [
            (f"{v['path']}:0", tuple(v["shape"]), v["dtype"], v["trainable"]) for v in expected
        ]


@pytest.mark.one_in(8)
@pytest.mark.parametrize("i", WITH_MODULES)
def test_submodules_and_name(i):
    found: dict[str, Any] = {}

    def look(module: Any) -> None:
        found["submodules"] = [type(m).__name__ for m in module.submodules]
        found["paths"] = [m.name_scope.name.rstrip("/") for m in module.submodules]
        found["name"], found["scope"] = module.name, module.name_scope.name

    record = seen(i, look).record
    for kind, there in zip(found["submodules"], record["submodules"], strict=True):
        assert kind == there[1] or there[1].startswith("_")
    assert found["paths"] == [path for path, _ in record["submodules"]]
    assert (found["name"], found["scope"]) == (record["name"], f"{record['path']}/")


def at(module: Any, path: str) -> Any:
    """What an attribute path leads to; private attributes are nobody's business."""
    value = module
    for part in path.split("/"):
        if part.startswith("_"):
            return None
        if isinstance(value, dict):
            value = value[part]
        elif isinstance(value, (list, tuple)):
            value = value[int(part)]
        else:
            value = getattr(value, part)
    return value


@pytest.mark.one_in(8)
@pytest.mark.parametrize("i", WITH_MODULES)
def test_variables_as_attributes(i):
    """`.w`, `.b`, `.moving_mean.average` and so on have the shape and type that they have there."""
    found: dict[str, Any] = {}
    group, case = cases_by_id()[i]
    paths = Recorded(group, case).record["attributes"]

    def look(module: Any) -> None:
        for path, _ in paths:
            variable = at(module, path)
            if variable is not None:
                found[path] = (tuple(variable.shape), type_name(variable.dtype))

    recorded = seen(i, look)
    for path, place in recorded.record["attributes"]:
        if path in found and place is not None:
            variable = recorded.variables[place]
            assert found[path] == (tuple(variable["shape"]), variable["dtype"]), path


@pytest.mark.parametrize("i", ["linear: Linear", "recurrent: LSTM(6), steps", "nets: MLP"])
def test_values_of_handles(i):
    """`.value()` of the handles in `.variables`."""
    found: dict[str, Any] = {}

    def look(module: Any) -> None:
        found.update({v.name: np.asarray(v.value()) for v in module.variables})

    recorded = seen(i, look, values=True)
    for number, variable in enumerate(recorded.variables):
        expected = recorded.value(variable, 0, number)
        np.testing.assert_allclose(found[f"{variable['path']}:0"], expected)


def test_assigned_handles():
    def look(module: Any) -> None:
        for variable in module.moving_mean.variables:
            variable.assign(variable.value() + 1)
            before = np.asarray(variable.value())
            variable.assign_add(variable.value())
            np.testing.assert_allclose(variable.value(), 2 * before)

    seen("norm: BatchNorm [6, 4]", look, values=True)


def test_equal_modules_are_not_one_submodule():
    assert issubclass(snt.Linear, snt.Module)
    found: list[Any] = []
    seen("variables: equal names", lambda module: found.extend(module.submodules))
    assert len({id(m) for m in found}) == len(found) == 3
