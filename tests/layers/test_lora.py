"""LoRA: float64 arithmetic, that the network itself stays as it is, and merging."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from purestate._layers.errors import LayerError
from purestate._layers.lora import lora
from purestate._layers.merge_lora import merge_lora

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), [4, 6])


def network(x):
    h = ps.nets.MLP([6])(x)
    h = ps.MultiHeadAttention(2, 3, w_init=ps.initializers.VarianceScaling())(h, h, h)
    return ps.Linear(6, w_init=jnp.ones)(h)


def adapted(f=network, *args, **kwargs):
    def run(x):
        with lora(*args, **kwargs):
            return f(x)

    return ps.transform(run)


def is_lora(module, name, value):
    return name.startswith("lora_")


def randomized(params):
    """With `lora_b` away from zero."""
    return ps.data_structures.map(
        lambda m, n, v: (
            0.1 * jax.random.normal(jax.random.key(len(m)), v.shape, v.dtype)
            if n == "lora_b"
            else v
        ),
        params,
    )


def test_nothing_changes_at_first():
    base, params = ps.transform(network).init(KEY, X), adapted(network, 2).init(KEY, X)
    added, same = ps.data_structures.partition(is_lora, params)
    assert jax.tree.structure(same) == jax.tree.structure(base)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), same, base))
    assert len(added) == 6
    out = adapted(network, 2).apply(params, None, X)
    np.testing.assert_array_equal(out, ps.transform(network).apply(base, None, X))


def test_against_float64():
    f = adapted(lambda x: ps.Linear(3)(x), 2, alpha=5.0)
    params = randomized(f.init(KEY, X))
    p = {name: np.asarray(value, np.float64) for name, value in params["linear"].items()}
    expected = np.asarray(X, np.float64) @ (p["w"] + p["lora_a"] @ p["lora_b"] * 5 / 2) + p["b"]
    np.testing.assert_allclose(f.apply(params, None, X), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("alpha", [None, 4.0])
def test_merged(alpha):
    f = adapted(network, 2, alpha=alpha)
    params = randomized(f.init(KEY, X))
    merged = merge_lora(params, alpha)
    assert jax.tree.structure(merged) == jax.tree.structure(ps.transform(network).init(KEY, X))
    out = f.apply(params, None, X)
    np.testing.assert_allclose(
        ps.transform(network).apply(merged, None, X), out, rtol=1e-4, atol=1e-4
    )
    assert "lora_a" in params["linear"]  # the argument is as it was


def test_first_values_of_a_differ_from_layer_to_layer():
    # Also where no layer draws random numbers of its own in between.
    f = adapted(lambda x: sum(ps.Linear(6, w_init=jnp.ones)(x) for _ in range(3)), 2)
    params = f.init(KEY, X)
    values = [variables["lora_a"] for variables in params.values()]
    assert len({np.asarray(value).tobytes() for value in values}) == 3
    again = f.init(KEY, X)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), params, again))
    other = f.init(jax.random.key(9), X)
    assert not (other["linear"]["lora_a"] == params["linear"]["lora_a"]).any()
    assert abs(float(jnp.stack(values).std()) * np.sqrt(6) - 0.88) < 0.3


def test_rng_is_left_alone():
    def f(x):
        ps.Linear(2)(x)
        return ps.next_rng_key()

    keys = [ps.transform_with_state(g).init(KEY, X) for g in (f, lambda x: adapted_inside(f, x))]
    assert keys[0][0]["linear"]["w"].tolist() == keys[1][0]["linear"]["w"].tolist()

    def draws_after(x, adapt):
        with lora(2, predicate=lambda layer: adapt):
            ps.Linear(2)(x)
        return ps.Linear(3, name="after")(x)

    a, b = (ps.transform(draws_after).init(KEY, X, adapt)["after"]["w"] for adapt in (True, False))
    np.testing.assert_array_equal(a, b)


def adapted_inside(f, x):
    with lora(2):
        return f(x)


def test_predicate():
    params = adapted(network, 2, predicate=lambda layer: layer.name in ("query", "value")).init(
        KEY, X
    )
    found = {module for module, variables in params.items() if "lora_a" in variables}
    assert found == {"multi_head_attention/query", "multi_head_attention/value"}


def test_outside_of_the_transformed_function_and_keywords():
    f = ps.transform(lambda x: ps.Linear(3)(inputs=x, precision="highest"))
    with lora(2):
        params = randomized(f.init(KEY, X))
        out = f.apply(params, None, X)
    np.testing.assert_allclose(out, f.apply(merge_lora(params), None, X), rtol=1e-5, atol=1e-5)


def test_subclass_is_adapted_once():
    class Scaled(ps.Linear):
        def __call__(self, inputs):
            return super().__call__(inputs) * 2

    f = adapted(lambda x: Scaled(3, with_bias=False)(x), 2)
    params = randomized(f.init(KEY, X))
    p = params["scaled"]
    np.testing.assert_allclose(
        f.apply(params, None, X), 2 * X @ (p["w"] + p["lora_a"] @ p["lora_b"]), rtol=1e-4, atol=1e-5
    )


def test_training_changes_the_two_alone():
    f = adapted(network, 2)
    params = f.init(KEY, X)
    trained, base = ps.data_structures.partition(is_lora, params)

    def loss(trained):
        return jnp.square(f.apply(ps.data_structures.merge(base, trained), None, X) - 1).mean()

    first = loss(trained)
    step = jax.jit(lambda t: jax.tree.map(lambda p, g: p - 0.05 * g, t, jax.grad(loss)(t)))
    for _ in range(20):
        trained = step(trained)
    assert loss(trained) < 0.8 * first


@pytest.mark.slow
def test_transforms():
    f = adapted(network, 2)
    params = randomized(f.init(KEY, X))
    out = f.apply(params, None, X)
    np.testing.assert_allclose(jax.jit(f.apply)(params, None, X), out, rtol=1e-4, atol=1e-5)
    batch = jnp.stack([X, X[::-1]])
    rows = jax.vmap(lambda x: f.apply(params, None, x))(batch)
    np.testing.assert_allclose(rows[0], out, rtol=1e-4, atol=1e-5)
    assert jax.tree.map(jnp.shape, jax.jit(f.init)(KEY, X)) == jax.tree.map(jnp.shape, params)


@pytest.mark.slow
def test_inside_layer_stack_and_remat():
    def stacked(x):
        return ps.layer_stack(3)(lambda x: ps.remat(ps.Linear(6))(x))(x)

    base, f = ps.transform(stacked), adapted(stacked, 2)
    params = f.init(KEY, X)
    ((module, variables),) = params.items()
    assert variables["lora_a"].shape == (3, 6, 2)
    assert not (variables["lora_a"][0] == variables["lora_a"][1]).any()
    np.testing.assert_array_equal(variables["w"], base.init(KEY, X)[module]["w"])
    params = randomized(params)
    merged = base.apply(merge_lora(params), None, X)
    np.testing.assert_allclose(f.apply(params, None, X), merged, rtol=1e-4, atol=1e-4)


def test_param_dtype():
    x = X.astype(jnp.bfloat16)
    f = adapted(lambda x: ps.Linear(3)(x), 2, param_dtype=jnp.float32)
    params = f.init(KEY, x)
    dtypes = {name: str(value.dtype) for name, value in params["linear"].items()}
    assert dtypes == {"w": "bfloat16", "b": "bfloat16", "lora_a": "float32", "lora_b": "float32"}
    assert f.apply(params, None, x).dtype == jnp.bfloat16
    assert merge_lora(params)["linear"]["w"].dtype == jnp.bfloat16


def test_errors():
    with pytest.raises(LayerError, match="rank must be at least 1"):
        lora(0)

    def twice(x):
        with lora(2), lora(2):
            return ps.Linear(3)(x)

    with pytest.raises(LayerError, match="'linear' is in two"):
        ps.transform(twice).init(KEY, X)

    def apart(x):
        with lora(2, lambda layer: layer.name == "a"), lora(3, lambda layer: layer.name == "b"):
            return ps.Linear(3, name="a")(x) + ps.Linear(3, name="b")(x)

    params = ps.transform(apart).init(KEY, X)
    assert {module: v["lora_a"].shape for module, v in params.items()} == {"a": (6, 2), "b": (6, 3)}
    with pytest.raises(ps.errors.MissingParameterError, match="'lora_a' of 'linear'"):
        adapted(lambda x: ps.Linear(3)(x), 2).apply(
            ps.transform(lambda x: ps.Linear(3)(x)).init(KEY, X), None, X
        )
    with pytest.raises(LayerError, match="'linear' has lora_a, but not lora_b and w"):
        merge_lora({"linear": {"lora_a": X}})
