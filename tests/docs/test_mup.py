"""The coordinate check of muP, measured with the code of its page, and against rules written by hand."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "mup.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page():
    names = {}
    for block in (*BLOCKS[:2], BLOCKS[3]):
        exec(block, names)
    return names


def slopes(page, net, watched, widths, base, x, y):
    """How fast the changes of a hidden layer and of the output grow, as a power of the width."""
    change = []
    for width in widths:
        f, growth = net(width), width / (base or width)
        run = jax.jit(
            lambda x, y, f=f, growth=growth: page["coordinate_check"](f, *watched, growth, x, y)
        )
        change.append(np.asarray(run(x, y))[-1])
    return np.polyfit(np.log2(widths), np.log2(change), 1)[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_activations_grow_with_the_usual_rules_and_stay_with_mup(page, name):
    net, watched = page[name], page[f"of_{name}"]
    x, y = page["x"], page["y"]
    widths = (64, 128, 256, 512, 1024)
    if name == "transformer":
        tokens = jax.random.randint(jax.random.key(1), [8, 9], 0, 50)
        x, y, widths = tokens[:, :-1], tokens[:, 1:], (64, 128, 256)
    usual = slopes(page, net, watched, widths, None, x, y)
    assert usual[0] > 0.5, usual
    assert usual[1] > 0.7, usual
    flat = slopes(page, net, watched, widths, 64, x, y)
    np.testing.assert_allclose(flat, 0, atol=0.25)


def test_a_step_is_the_one_of_the_rules_by_hand(page):
    """Adam in NumPy and float64, with a rate and an initial scale for each array (table 3 of the paper)."""
    growth, rate = 4.0, 1e-2
    f, x, y = page["mlp"](64), page["x"], page["y"]
    first = f.init(jax.random.key(0), x)
    tx, params = page["mup"](first, {"hidden*/w": "hidden"}, growth, rate)
    start = jax.tree.map(lambda p: np.asarray(p, np.float64), first)
    start["output"]["w"] /= 2.0  # the root of the growth
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), params, start)
    rates = {
        "input": {"w": rate, "b": rate},
        "hidden": {"w": rate / growth, "b": rate},
        "hidden_1": {"w": rate / growth, "b": rate},
        "output": {"w": rate / growth, "b": rate},
    }

    def loss(params):
        logits = f.apply(params, None, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    mean = var = jax.tree.map(lambda p: 0.0 * np.asarray(p), start)
    expected, state = start, tx.init(params)
    for t in (1, 2):
        grads = jax.grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        g = jax.tree.map(lambda g: np.asarray(g, np.float64), grads)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, g)
        var = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, var, g)
        expected = jax.tree.map(
            lambda p, m, v, r, t=t: p - r * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8),
            expected, mean, var, rates,
        )  # fmt: skip
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), params, expected
    )
    assert jnp.isfinite(loss(params))
