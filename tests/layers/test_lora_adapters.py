"""DoRA against NumPy, several adapters side by side, adapters saved alone, and lora among other blocks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.layers.test_lora_everywhere import CASES, adapted, input_of, moved, network

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), [4, 6])
NAMES = ("french", "german", "welsh")


def linear(x: Any, **options: Any) -> Any:
    with ps.lora(2, **options):
        return ps.Linear(3)(x)


def test_dora_against_float64():
    f = ps.transform(lambda x: linear(x, alpha=5.0, dora=True))
    first = f.init(KEY, X)
    p = {name: np.asarray(value, np.float64) for name, value in first["linear"].items()}
    assert p["lora_m"].shape == (1, 3)
    np.testing.assert_allclose(p["lora_m"][0], np.linalg.norm(p["w"], axis=0), rtol=1e-6)
    params = moved(first)
    p = {name: np.asarray(value, np.float64) for name, value in params["linear"].items()}
    v = p["w"] + p["lora_a"] @ p["lora_b"] * 5 / 2
    weight = p["lora_m"] * v / np.linalg.norm(v, axis=0)
    expected = np.asarray(X, np.float64) @ weight + p["b"]
    np.testing.assert_allclose(f.apply(params, None, X), expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_takes_the_length_of_dora_for_a_constant():
    """Section 4.3 of the paper: the gradient of V is that of the weight times m / |V|."""
    f = ps.transform(lambda x: linear(x, dora=True))
    params = moved(f.init(KEY, X))
    grads = jax.grad(lambda p: jnp.sum(f.apply(p, None, X) ** 2))(params)["linear"]
    p = {name: np.asarray(value, np.float64) for name, value in params["linear"].items()}
    x = np.asarray(X, np.float64)
    v = p["w"] + p["lora_a"] @ p["lora_b"]
    ratio = p["lora_m"] / np.linalg.norm(v, axis=0)
    of_weight = x.T @ (2 * (x @ (v * ratio) + p["b"]))
    np.testing.assert_allclose(grads["w"], of_weight * ratio, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        grads["lora_a"], of_weight * ratio @ p["lora_b"].T, rtol=1e-4, atol=1e-4
    )
    of_m = (of_weight * v / np.linalg.norm(v, axis=0)).sum(0, keepdims=True)
    np.testing.assert_allclose(grads["lora_m"], of_m, rtol=1e-4, atol=1e-4)


def test_dora_of_a_weight_of_zeros():
    def f(x):
        with ps.lora(2, dora=True):
            return ps.Linear(3, w_init=jnp.zeros)(x)

    net = ps.transform(f)
    params = net.init(KEY, X)
    grads = jax.grad(lambda p: jnp.sum(net.apply(p, None, X)))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_rank_stabilized_scaling():
    f = ps.transform(lambda x: linear(x, alpha=5.0, rank_stabilized=True))
    params = moved(f.init(KEY, X))
    p = params["linear"]
    expected = X @ (p["w"] + p["lora_a"] @ p["lora_b"] * 5 / np.sqrt(2)) + p["b"]
    np.testing.assert_allclose(f.apply(params, None, X), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ps.errors.LayerError, match="needs alpha"):
        ps.lora(2, rank_stabilized=True)


# --- several adapters ---

SIDE_BY_SIDE = (
    "Linear", "Einsum-outputs first", "Conv2D", "Conv2D-channels first", "Conv2D-groups",
    "Conv2DTranspose", "GRU-reset after", "MultiHeadAttention", "own", "Einsum-batch between",
)  # fmt: skip


def chosen(case: Any, which: Any, **options: Any) -> Any:
    return adapted(case, alpha=3.0, adapter=NAMES, which=which, **options)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_an_adapter_for_each_example(name, dora):
    case = CASES[name]
    x = input_of(case)
    which = jnp.array(([2, 0, -1, 1, 1, 2])[: x.shape[0]])
    f = chosen(case, which, dora=dora)
    params = moved(f.init(KEY, x))
    out = f.apply(params, None, x)
    _, base = ps.data_structures.partition(ps.surgery.of_lora(), params)
    for i, adapter in enumerate(np.asarray(which)):
        final = base if adapter < 0 else ps.merge_lora(params, 3.0, adapter=NAMES[adapter])
        expected = network(case).apply(final, None, x)[i]
        np.testing.assert_allclose(out[i], expected, rtol=1e-5, atol=1e-5)
        if adapter >= 0 and not i:
            alone = adapted(case, alpha=3.0, adapter=NAMES[adapter], dora=dora)
            np.testing.assert_allclose(
                alone.apply(params, None, x)[i], expected, rtol=1e-5, atol=1e-5
            )


@pytest.mark.parametrize("name", ["Embed", "GRU", "Conv2D-mask", "Embed-both by hand"])
def test_one_adapter_for_all_examples_without_tracing_again(name):
    case = CASES[name]
    x = input_of(case)
    params = moved(chosen(case, 0).init(KEY, x))
    traces = []

    @jax.jit
    def run(params, which):
        traces.append(which)
        return chosen(case, which).apply(params, None, x)

    for i, adapter in enumerate(NAMES):
        final = ps.merge_lora(params, 3.0, adapter=adapter)
        expected = network(case).apply(final, None, x)
        np.testing.assert_allclose(run(params, i), expected, rtol=1e-5, atol=1e-5)
    assert len(traces) == 1


def test_a_batch_of_ids_with_an_adapter_each():
    case = CASES["Embed"]
    x = input_of(case)
    which = jnp.array([1, 0])
    params = moved(chosen(case, which).init(KEY, x))
    out = chosen(case, which).apply(params, None, x)
    for i in range(2):
        one = chosen(case, which[i]).apply(params, None, x)
        np.testing.assert_allclose(out[i], one[i], rtol=1e-5, atol=1e-5)


def test_under_vmap_each_example_has_its_index():
    def f(x, which):
        return ps.vmap(lambda x, i: linear(x, adapter=NAMES, which=i), split_rng=False)(x, which)

    net = ps.transform(f)
    which = jnp.array([0, 2, -1, 1])
    params = moved(net.init(KEY, X, which))
    whole = ps.transform(lambda x: linear(x, adapter=NAMES, which=which))
    np.testing.assert_allclose(
        net.apply(params, None, X, which), whole.apply(params, None, X), rtol=1e-5, atol=1e-5
    )


def test_the_adapters_of_two_blocks_add_up():
    def f(x):
        with ps.lora(2, adapter="french"), ps.lora(1, adapter="german"):
            return ps.Linear(3)(x)

    net = ps.transform(f)
    params = moved(net.init(KEY, X))
    p = params["linear"]
    weight = (
        p["w"] + p["lora_french_a"] @ p["lora_french_b"] + p["lora_german_a"] @ p["lora_german_b"]
    )
    np.testing.assert_allclose(
        net.apply(params, None, X), X @ weight + p["b"], rtol=1e-5, atol=1e-5
    )
    french, _ = ps.data_structures.partition(ps.surgery.of_lora("french"), params)
    assert list(french["linear"]) == ["lora_french_a", "lora_french_b"]


def test_wrong_adapters():
    error = ps.errors.LayerError
    for adapter in ("my lora", "lora", ["a", "a"], []):
        with pytest.raises(error, match="lora: "):
            ps.lora(2, adapter=adapter, which=None if isinstance(adapter, str) else 0)
    with pytest.raises(error, match="Pass both"):
        ps.lora(2, adapter=["french", "german"])
    with pytest.raises(error, match="Pass both"):
        ps.lora(2, adapter="french", which=0)
    with pytest.raises(error, match="got float32 of shape"):
        ps.lora(2, adapter=NAMES, which=jnp.ones([2]))
    for case, wrong in (("Linear", "whose axis 0 has 2"), ("GRU", "in parts")):
        with pytest.raises(error, match=wrong):
            chosen(CASES[case], jnp.zeros(3, int)).init(KEY, input_of(CASES[case]))
    params = {"linear": {"w": X, "lora_french_a": X[:, :2], "lora_french_b": X[:2]}}
    for adapter in (None, "german"):
        with pytest.raises(error, match="In them: 'french'"):
            ps.merge_lora(params, adapter=adapter)
    with pytest.raises(error, match="do not fit"):
        ps.merge_lora({"linear": {"w": X, "lora_a": X[:3, :2], "lora_b": X[:2]}})


# --- saved, and among other blocks ---


def test_saved_without_the_network_and_loaded_beside_another(tmp_path):
    case = CASES["GRU"]
    x = input_of(case)
    f = adapted(case, adapter="french")
    params = moved(f.init(KEY, x))
    adapters, _ = ps.data_structures.partition(ps.surgery.of_lora("french"), params)
    ps.checkpoint.save_safetensors(tmp_path / "french.safetensors", adapters)
    loaded = ps.checkpoint.load_safetensors(tmp_path / "french.safetensors")
    assert jax.tree.structure(loaded) == jax.tree.structure(adapters)
    other = network(case).init(jax.random.key(5), x)
    both = ps.data_structures.merge(other, loaded)
    np.testing.assert_allclose(
        f.apply(both, None, x),
        network(case).apply(ps.merge_lora(both, adapter="french"), None, x),
        rtol=1e-5,
        atol=1e-5,
    )


def block(x):
    h = ps.Conv1D(3, 3)(x)
    h = ps.Embed(4, 3, name="embed")(jnp.array([1, 2]))[:, None] + h
    return ps.GRU(3)(h[:, 0], h[:, 1])[0]


def with_block(x):
    with ps.lora(2, alpha=3.0):
        return block(x)


B = jax.random.normal(KEY, [2, 5, 4])


def same_base(params, base):
    _, rest = ps.data_structures.partition(ps.surgery.of_lora(), params)
    assert jax.tree.structure(rest) == jax.tree.structure(base)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), rest, base))


def test_random_numbers_by_path():
    params = ps.transform(with_block, rng_mode="path").init(KEY, B)
    same_base(params, ps.transform(block, rng_mode="path").init(KEY, B))
    values = [v for bundle in params.values() for n, v in bundle.items() if n.endswith("lora_a")]
    assert len({np.asarray(v).tobytes() for v in values}) == 4


def test_state_and_collections():
    params, _ = ps.transform_with_state(with_block).init(KEY, B)
    same_base(params, ps.transform(block).init(KEY, B))
    f = ps.transform_with_collections(with_block)
    variables = f.init(KEY, B)
    same_base(variables["params"], ps.transform(block).init(KEY, B))
    final = ps.merge_lora(moved(variables["params"]), 3.0)
    out = f.apply({"params": moved(variables["params"])}, None, B)
    out = out[0] if isinstance(out, tuple) else out
    np.testing.assert_allclose(out, ps.transform(block).apply(final, None, B), rtol=1e-5, atol=1e-5)


def test_bound():
    f = ps.transform(with_block)
    params = moved(f.init(KEY, B))
    bound = ps.bind(f, params)
    np.testing.assert_allclose(bound(B), f.apply(params, None, B), rtol=1e-6, atol=1e-6)


def test_frozen():
    def f(x):
        with ps.freeze(~ps.surgery.of_lora()):
            return with_block(x)

    net = ps.transform(f)
    params = moved(net.init(KEY, B))
    grads = jax.grad(lambda p: jnp.sum(net.apply(p, None, B) ** 2))(params)
    for module, name, value in ps.data_structures.traverse(grads):
        assert bool(jnp.any(value != 0)) == name.partition("lora")[1].startswith("lora"), (
            module,
            name,
        )


def test_in_a_policy_of_mixed_precision():
    policy = ps.mixed_precision.Policy(jnp.float32, jnp.bfloat16, jnp.float32)

    class Net(ps.Module):
        def __call__(self, x):
            return with_block(x)

    f = ps.transform(lambda x: Net()(x))
    with ps.mixed_precision.push_policy(Net, policy):
        params = moved(f.init(KEY, B))
        out = f.apply(params, None, B)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(params)} == {"float32"}
    assert out.dtype == jnp.float32
    plain = f.apply(params, None, B)
    np.testing.assert_allclose(out, plain, rtol=0.1, atol=0.1)
    assert not np.array_equal(out, plain)


def test_the_network_in_another_precision_and_the_adapter_in_its_own():
    seen = []

    def lower(next_op, operands, context):
        seen.append(dict(context.params))
        return next_op(*(x.astype(jnp.bfloat16) for x in operands)).astype(jnp.float32)

    def f(x):
        with ps.lora(2), ps.intercept_ops(lower):
            return ps.Linear(3, with_bias=False)(x)

    net = ps.transform(f)
    params = moved(net.init(KEY, X))
    seen.clear()
    out = net.apply(params, None, X)
    assert seen == [{"w": 1}]
    p = params["linear"]
    base = (X.astype(jnp.bfloat16) @ p["w"].astype(jnp.bfloat16)).astype(jnp.float32)
    np.testing.assert_allclose(out, base + X @ p["lora_a"] @ p["lora_b"], rtol=1e-5, atol=1e-5)


def test_around_a_compiled_function_inside_of_another():
    net = ps.transform(lambda x: ps.Linear(3)(x))
    inner = jax.jit(net.apply)

    @jax.jit
    def outer(params, which):
        with ps.lora(2, adapter=NAMES, which=which):
            return inner(params, None, X)

    with ps.lora(2, adapter=NAMES, which=0):
        params = moved(net.init(KEY, X))
    for i, name in enumerate(NAMES):
        expected = net.apply(ps.merge_lora(params, adapter=name), None, X)
        np.testing.assert_allclose(outer(params, i), expected, rtol=1e-5, atol=1e-5)


def test_names_of_parameters_are_read_back():
    from purestate._editing.lora_names import lora_name, parse_lora_name

    for weight in ("w", "w_i", "embeddings", "a_b"):
        for adapter in (None, "french", "a", "b_m", "x_1"):
            for part in "abm":
                assert parse_lora_name(lora_name(weight, adapter, part)) == (weight, adapter, part)
    for name in ("w", "lora_a_g", "flora", "lora_c", "lora", "lora_alpha", "floral_a"):
        assert parse_lora_name(name) is None, name
