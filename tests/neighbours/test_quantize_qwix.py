"""`ps.quantize.qwix` beside qwix's own providers, which replace functions of JAX in a module of Flax."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps

linen: Any = pytest.importorskip("flax.linen")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    qwix: Any = pytest.importorskip("qwix")

KEY = jax.random.key(0)
X = jax.random.normal(KEY, [4, 32])
IMAGES = jax.random.normal(KEY, [2, 8, 8, 4])

RULES: dict[str, dict[str, Any]] = {
    "weights": {"weight_qtype": jnp.int8},
    "weights and inputs": {"weight_qtype": jnp.int8, "act_qtype": jnp.int8},
    "int4 in tiles": {"weight_qtype": jnp.int4, "tile_size": 16},
    "tiles and inputs": {"weight_qtype": jnp.int4, "act_qtype": jnp.int8, "tile_size": 8},
    "float8": {"weight_qtype": jnp.float8_e4m3fn, "act_qtype": jnp.float8_e4m3fn},
}


def flax_mlp() -> Any:
    return linen.Sequential([linen.Dense(16), linen.relu, linen.Dense(8)])


NETS: dict[str, Any] = {
    "MLP": (lambda x: ps.nets.MLP([16, 8])(x), flax_mlp, X),
    "Conv2D": (lambda x: ps.Conv2D(8, 3)(x), lambda: linen.Conv(8, (3, 3)), IMAGES),
}


def of_purestate(params: Any) -> Any:
    """The parameters of a module of Flax under the names that they have in purestate."""
    if "kernel" in params:
        return {"conv2_d": {"w": params["kernel"], "b": params["bias"]}}
    return {
        f"mlp/~/linear_{i}": {"w": params[name]["kernel"], "b": params[name]["bias"]}
        for i, name in enumerate(sorted(params))
    }


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("name", NETS)
def test_it_computes_what_qwix_computes_in_flax(name: str, kind: str) -> None:
    layer, module, x = NETS[name]
    rule = qwix.QtRule(**RULES[kind])
    if name == "Conv2D" and rule.tile_size:
        pytest.skip("qwix has no tiles for convolutions")
    net, module = ps.transform(layer), module()
    variables = module.init(KEY, x)
    params = of_purestate(variables["params"])
    model = qwix.quantize_model(module, qwix.QtProvider([rule], disable_jit=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        expected = model.apply(variables, x)
    with ps.quantize.qwix(rule):
        out = net.apply(params, None, x)
        compiled = jax.jit(net.apply)(params, None, x)
    assert np.allclose(out, expected, rtol=1e-5, atol=1e-6)
    assert np.allclose(compiled, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(out, net.apply(params, None, x), rtol=1e-5, atol=1e-6)


def test_gradients_pass_through_the_rounding() -> None:
    net = ps.transform(lambda x: ps.Linear(8)(x))
    params = net.init(KEY, X)
    with ps.quantize.qwix(qwix.QuantizationRule(weight_qtype=jnp.int8, act_qtype=jnp.int8)):
        gradient = jax.jit(jax.grad(lambda p: net.apply(p, None, X).sum()))(params)
    plain = jax.grad(lambda p: net.apply(p, None, X).sum())(params)
    assert np.allclose(gradient["linear"]["w"], plain["linear"]["w"], rtol=1e-5)


def test_stored_values_are_taken_as_they_are() -> None:
    net = ps.transform(lambda x: ps.nets.MLP([16, 8])(x))
    params = net.init(KEY, X)
    small = ps.quantize.weights(params, "int8")
    rule = qwix.QuantizationRule(weight_qtype=jnp.int8, act_qtype=jnp.int8)
    with ps.quantize.qwix(rule):
        out, from_floats = net.apply(small, None, X), net.apply(params, None, X)
        program = str(jax.make_jaxpr(lambda p: net.apply(p, None, X))(small))
    assert np.allclose(out, from_floats, atol=0.02)
    assert "preferred_element_type=int32" in program
    with ps.quantize.serving("int8"):
        ours = net.apply(small, None, X)
    assert np.allclose(out, ours, atol=0.02)


def test_the_first_rule_that_fits_counts() -> None:
    net = ps.transform(lambda x: ps.nets.MLP([16, 8])(x))
    params = net.init(KEY, X)
    rules = [
        qwix.QuantizationRule(module_path=".*linear_1", weight_qtype=None),
        qwix.QuantizationRule(op_names=("dot_general",), weight_qtype=jnp.int8, act_qtype=jnp.int8),
    ]
    with ps.quantize.qwix(rules):
        program = str(jax.make_jaxpr(lambda p: net.apply(p, None, X))(params))
    assert program.count("preferred_element_type=int32") == 1


def test_what_only_a_provider_does_is_refused() -> None:
    for rule, text in (
        (qwix.QuantizationRule(act_qtype=jnp.int8, act_static_scale=True), "act_static_scale"),
        (qwix.QtRule(weight_qtype=jnp.int8, bwd_qtype=jnp.int8), "bwd_qtype"),
        ("int8", "takes rules of qwix"),
    ):
        with pytest.raises(ps.errors.QuantizeError, match=text):
            ps.quantize.qwix([rule])
