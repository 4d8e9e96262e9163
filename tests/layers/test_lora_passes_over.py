"""`ps.lora` names every module that it was asked to adapt and cannot; `merge_lora` under weight norm."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purestate as ps
from tests.haiku_parity.table_layers import inputs_of
from tests.layers.every_layer import ROWS

KEY = jax.random.key(0)
X = np.asarray(jax.random.normal(jax.random.key(1), [4, 6]))


def with_lora(f: Any, **options: Any) -> Any:
    def run(*args: Any) -> Any:
        with ps.lora(2, **options):
            return f(*args)

    return run


def weights_of(row: Any) -> set[str]:
    """The modules that own a parameter with two axes or more, other than norms and biases, by their path."""
    params, _ = jax.eval_shape(
        ps.transform_with_state(lambda *inputs: row.run(ps, *inputs)).init,
        KEY,
        *inputs_of(row, "float32"),
    )
    return {
        module
        for module, variables in params.items()
        for name, value in variables.items()
        if sum(size > 1 for size in value.shape) > 1 and name not in ("b", "scale", "offset")
    }


def run_with_lora(row: Any, **options: Any) -> tuple[set[str], list[str]]:
    """Returns the adapted modules, and what is warned of."""
    f = ps.transform_with_state(with_lora(lambda *inputs: row.run(ps, *inputs), **options))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        params, _ = jax.eval_shape(f.init, KEY, *inputs_of(row, "float32"))
    adapted = set(ps.data_structures.filter(ps.surgery.of_lora(), params))
    said = [str(w.message) for w in caught if issubclass(w.category, ps.errors.LoraWarning)]
    return adapted, said


LEARNED = ("trainable_initial_state",)
"""Not weights, although they may have several axes."""


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.name != "lora"], ids=lambda row: row.name
)
def test_every_weight_of_ours_is_adapted(row):
    weights = {path for path in weights_of(row) if path not in LEARNED}
    adapted, said = run_with_lora(row)
    assert weights <= adapted
    assert said == []


@pytest.mark.parametrize("row", [row for row in ROWS if row.name in ("mlp", "attention", "embed")])
def test_no_warning_for_what_nobody_asked_for(row):
    for predicate in (
        lambda layer: isinstance(layer, ps.Linear),
        lambda layer: layer.output_size > 0,
        lambda layer: layer.name == "nobody",
    ):
        assert run_with_lora(row, predicate=predicate)[1] == []


class OwnWeight(ps.Linear):
    """A Linear layer with a method of its own in place of that of Linear."""

    def __call__(self, inputs, *, precision=None):
        w = ps.get_parameter("w", [inputs.shape[-1], self.output_size], init=jnp.ones)
        return inputs @ w


def test_asked_for_by_name():
    def f(x):
        return OwnWeight(3, name="query")(x), OwnWeight(3, name="key")(x)

    pair = ps.transform(with_lora(f, predicate=lambda layer: layer.name == "query"))
    with pytest.warns(ps.errors.LoraWarning, match="OwnWeight 'query':") as caught:
        pair.init(KEY, X)
    assert "'key'" not in str(caught[0].message)


class AtRead(OwnWeight):
    lora_at_read = ("w",)


def test_a_class_that_names_its_weights():
    f = ps.transform(with_lora(lambda x: AtRead(3)(x), alpha=3.0))
    params = randomized(f.init(KEY, X))
    w, a, b = (params["at_read"][name] for name in ("w", "lora_a", "lora_b"))
    np.testing.assert_allclose(f.apply(params, None, X), X @ (w + a @ b * 1.5), rtol=1e-4)


def test_modules_of_the_user_and_no_module():
    def f(x):
        return OwnWeight(3)(x) @ ps.get_parameter("table", [3, 2], init=jnp.ones)

    with pytest.warns(ps.errors.LoraWarning) as caught:
        ps.transform(with_lora(f)).init(KEY, X)
    assert "OwnWeight 'own_weight'" in str(caught[0].message)
    assert "parameter 'table' outside of any module" in str(caught[0].message)


def test_around_the_transform_it_says_so_once_for_each_block():
    f = ps.transform(lambda x: ps.Linear(3)(OwnWeight(3)(OwnWeight(3)(x))))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ps.lora(2):
            params = f.init(KEY, X)
            f.apply(params, None, X)
    assert len(caught) == 1
    assert "OwnWeight 'own_weight_1', OwnWeight 'own_weight': some" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_no_warning_where_the_block_fails():
    def f(x):
        OwnWeight(3)(x)
        raise KeyError("of the user")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyError):
            ps.transform(with_lora(f)).init(KEY, X)


def test_values_are_as_without_the_look():
    f = lambda x: ps.Linear(2)(OwnWeight(3)(x))
    plain = ps.transform(f).init(KEY, X)
    with pytest.warns(ps.errors.LoraWarning):
        adapted = ps.transform(with_lora(f)).init(KEY, X)
    for module, variables in plain.items():
        for name, value in variables.items():
            np.testing.assert_array_equal(adapted[module][name], value)


def test_a_weight_that_is_used_in_two_ways():
    """One of the two is not adapted, so the merged network would be another."""

    class Twice(ps.Module):
        def logits(self, x):
            return x @ self.table.T

        @property
        def table(self):
            return ps.get_parameter("table", [5, 6], init=jnp.ones)

        def __call__(self, x):
            return ps.ops.dot_general(x, self.table, (((1,), (1,)), ((), ())))

    def f(x):
        twice = Twice()
        return twice(x), twice.logits(x)

    with pytest.warns(ps.errors.LoraWarning, match="Twice 'twice'"):
        ps.transform(with_lora(f)).init(KEY, X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ps.transform(with_lora(lambda x: Twice()(x))).init(KEY, X)


# --- merge_lora under weight norm ---


def normalized(axis: Any, eps: float, alpha: float | None = None, stacked: bool = False) -> Any:
    def block(x: Any) -> Any:
        return jnp.tanh(ps.Linear(6)(x))

    def f(x: Any, adapt: bool) -> Any:
        with ps.weight_norm(axis=axis, eps=eps):
            if not adapt:
                return ps.layer_stack(2)(block)(x) if stacked else block(x)
            with ps.lora(2, alpha=alpha):
                return ps.layer_stack(2)(block)(x) if stacked else block(x)

    return ps.transform(f)


def randomized(params: Any) -> Any:
    return ps.data_structures.map(
        lambda m, n, v: v + 0.3 * jax.random.normal(jax.random.key(len(n)), v.shape), params
    )


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("eps", [1e-12, 0.1])
@pytest.mark.parametrize("axis", [-1, 0, (0, 1), ()], ids=str)
def test_merged_under_weight_norm(axis, eps, stacked):
    f = normalized(axis, eps, 3.0, stacked)
    params = randomized(f.init(KEY, X, True))
    out = f.apply(params, None, X, True)
    with pytest.raises(ps.errors.LayerError, match="has w_g.*weight_norm_eps=1e-12"):
        ps.merge_lora(params, 3.0)
    merged = ps.merge_lora(params, 3.0, weight_norm_eps=eps)
    expected = jax.eval_shape(lambda: f.init(KEY, X, False))
    assert jax.tree.map(jnp.shape, merged) == jax.tree.map(jnp.shape, expected)
    np.testing.assert_allclose(f.apply(merged, None, X, False), out, rtol=1e-4, atol=1e-4)


KERNELS = {
    "Conv2D": (lambda x: ps.Conv2D(3, 2)(x), (2, 4, 4, 3)),
    "Conv2DTranspose": (lambda x: ps.Conv2DTranspose(3, 2)(x), (2, 4, 4, 3)),
    "DenseGeneral": (lambda x: ps.DenseGeneral([2, 3], batch_axes=1)(x), (2, 3, 4)),
}


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("axis", [-1, -2, (0, 1)], ids=str)
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_merged_under_weight_norm(name, axis, dora):
    layer, shape = KERNELS[name]
    x = np.random.RandomState(0).standard_normal(shape).astype(np.float32)

    def f(x: Any, adapt: bool, lora_first: bool = False) -> Any:
        if not adapt:
            with ps.weight_norm(axis=axis, eps=1e-3):
                return layer(x)
        blocks = [lambda: ps.weight_norm(axis=axis, eps=1e-3), lambda: ps.lora(2, dora=dora)]
        first, second = blocks[::-1] if lora_first else blocks
        with first(), second():
            return layer(x)

    net = ps.transform(f)
    params = randomized(net.init(KEY, x, True))
    out = net.apply(params, None, x, True)
    np.testing.assert_array_equal(net.apply(params, None, x, True, True), out)
    merged = ps.merge_lora(params, weight_norm_eps=1e-3)
    np.testing.assert_allclose(net.apply(merged, None, x, False), out, rtol=1e-4, atol=1e-4)


def test_matrices_of_lora_that_are_normalized_too():
    with pytest.raises(ps.errors.LayerError, match="lora_a_g.*predicate that leaves out"):
        ps.merge_lora({"linear": {"w": X, "lora_a": X, "lora_b": X, "lora_a_g": X}})


def test_another_parameter_of_that_name():
    params = {"linear": {"w": X, "lora_a": X[:, :2], "lora_b": X[:2], "w_g": X[:, :5]}}
    with pytest.raises(ps.errors.LayerError, match="not the length of w"):
        ps.merge_lora(params, weight_norm_eps=1e-12)
