"""A missing, misspelt or mis-shaped parameter, of every layer, net and core: what is said."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import purestate as ps
from tests.haiku_parity import table_layers, table_recurrent
from tests.haiku_parity.table_layers import Row, inputs_of

KEY = jax.random.key(0)


def specs(row: Row) -> Any:
    f = ps.transform_with_state(lambda *inputs: row.run(ps, *inputs))
    inputs = inputs_of(row, "float32")
    return f, inputs, jax.eval_shape(f.init, KEY, *inputs)


def message(row: Row, change: Any, error: type[Exception]) -> str:
    """What is said of the params that `change` makes of the right ones."""
    f, inputs, (params, state) = specs(row)
    wrong = change({module: dict(bundle) for module, bundle in params.items()})
    with pytest.raises(error) as caught:
        jax.eval_shape(f.apply, wrong, state, KEY, *inputs)
    return str(caught.value).split("\n")[0]


ROWS = [
    pytest.param(row, id=row.name)
    for row in table_layers.ROWS + table_recurrent.ROWS
    if jax.tree.leaves(specs(row)[2][0])
]


def last_variable(row: Row) -> tuple[str, str, Any]:
    params = specs(row)[2][0]
    module = list(params)[-1]
    name = list(params[module])[-1]
    return module, name, params[module][name]


@pytest.mark.parametrize("row", ROWS)
def test_missing(row: Row) -> None:
    module, name, spec = last_variable(row)
    said = message(row, lambda p: p[module].pop(name) and p, ps.errors.MissingParameterError)
    for words in (f"'{name}' of '{module}'", f"with shape {tuple(spec.shape)}", "`init`"):
        assert words in said


@pytest.mark.parametrize("row", ROWS)
def test_misspelt(row: Row) -> None:
    module, name, _ = last_variable(row)

    def misspell_name(params: Any) -> Any:
        params[module][name.upper() + "_"] = params[module].pop(name)
        return params

    def misspell_module(params: Any) -> Any:
        params[module + "_"] = params.pop(module)
        return params

    said = message(row, misspell_name, ps.errors.MissingParameterError)
    assert f"'{name}' of '{module}'" in said
    assert f"'{name.upper()}_'" in said, "what the module has"
    said = message(row, misspell_module, ps.errors.MissingParameterError)
    assert f"'params' has no module '{module}'" in said
    assert f"'{module}_/" in said.partition("Near it")[2]


@pytest.mark.parametrize("row", ROWS)
def test_mis_shaped(row: Row) -> None:
    module, name, spec = last_variable(row)
    shape = (*spec.shape, 7)

    def reshape(params: Any) -> Any:
        params[module][name] = jax.ShapeDtypeStruct(shape, spec.dtype)
        return params

    said = message(row, reshape, ps.errors.ShapeMismatchError)
    for words in (
        f"'{name}' of '{module}'",
        f"has shape {shape}",
        f"{tuple(spec.shape)} was requested",
    ):
        assert words in said


NET = ps.transform(lambda x: ps.nets.MLP([4, 2])(x))
X = jnp.ones([2, 3])


def said_of(params: Any, x: Any = X) -> str:
    with pytest.raises(ps.errors.VariableError) as caught:
        NET.apply(params, None, x)
    return str(caught.value)


def test_in_full() -> None:
    """The messages as they are, for one network."""
    params = NET.init(KEY, X)
    first = params["mlp/~/linear_0"]
    asked = (
        "`apply` needs parameter 'w' of 'mlp/~/linear_0' with shape (3, 4), and was not given it. "
    )
    advice = " All parameters are made by `init`: run it on the same function, and pass on what it returned."
    assert said_of({}) == asked + "The collection 'params' is empty." + advice
    renamed = {"mlp/~/linear0": first, "mlp/~/linear_1": params["mlp/~/linear_1"]}
    assert said_of(renamed) == (
        asked
        + "The collection 'params' has no module 'mlp/~/linear_0'. Near it: 'mlp/~/linear0/w', 'mlp/~/linear_1/w', "
        "'mlp/~/linear0/b'." + advice
    )
    assert said_of({"mlp/~/linear_0": {"W": first["w"], "b": first["b"]}}) == (
        asked
        + "'mlp/~/linear_0' has 'W', 'b'. Near it: 'mlp/~/linear_0/b', 'mlp/~/linear_0/W'."
        + advice
    )
    other = "Parameter 'w' of 'mlp/~/linear_0' has shape {}, but {} was requested (dtype float32). Either the params "
    other += "come from another model, or the input has another shape than at init."
    turned = {**params, "mlp/~/linear_0": {"w": first["w"].T, "b": first["b"]}}
    assert said_of(turned) == other.format((4, 3), (3, 4))
    assert said_of(params, jnp.ones([2, 5])) == other.format((3, 4), (5, 4))
    # The same where jit traces.
    with pytest.raises(ps.errors.ShapeMismatchError, match=r"\(3, 4\), but \(5, 4\) was requested"):
        jax.jit(NET.apply)(params, None, jnp.ones([2, 5]))


def test_params_of_a_model_within_another() -> None:
    params = NET.init(KEY, X)
    said = said_of({f"net/{module}": bundle for module, bundle in params.items()})
    assert "Near it: 'net/mlp/~/linear_0/w'" in said


def test_in_a_loop_and_in_a_stack() -> None:
    def f(xs: Any) -> Any:
        core = ps.GRU(4)
        outs, _ = ps.dynamic_unroll(core, xs, core.initial_state(2))
        return ps.layer_stack(3)(lambda x: ps.Linear(4, name="inner")(x))(outs)

    g = ps.transform(f)
    params = jax.eval_shape(g.init, KEY, jnp.ones([5, 2, 3]))
    with pytest.raises(
        ps.errors.ShapeMismatchError, match=r"'w_i' of 'gru' has shape \(3, 12\), but \(6, 12\)"
    ):
        jax.eval_shape(g.apply, params, None, jnp.ones([5, 2, 6]))
    del params["__layer_stack_no_per_layer/inner"]["w"]
    with pytest.raises(
        ps.errors.MissingParameterError, match=r"'w' of '.*inner' with shape \(4, 4\)"
    ):
        jax.eval_shape(g.apply, params, None, jnp.ones([5, 2, 3]))
