"""Ported programs run: those for Sonnet give the numbers that they gave in TensorFlow."""

import json
import re

import numpy as np
import pytest

from tests.port.golden import FOLDER, port_program
from tests.port.record import run_program

RECORDED = json.loads((FOLDER.parent / "recorded_programs.json").read_text())


def ported(name: str) -> str:
    """A ported program; what is left of TensorFlow is only in functions that are not called."""
    text = port_program((FOLDER / f"{name}.in.txt").read_text()).text
    return text.replace("import tensorflow as tf\n", "")


@pytest.mark.parametrize("name", RECORDED)
def test_numbers_of_sonnet(name):
    np.testing.assert_allclose(run_program(ported(name)), RECORDED[name], rtol=2e-5, atol=2e-6)


def test_random_numbers():
    import jax
    import jax.numpy as jnp

    import purestate as ps

    text = re.sub(r"many = .*", "many = picked", ported("sonnet_random"))
    space = {"__name__": "program"}
    exec(text.partition("def sample")[0], space)
    f = ps.transform_with_state(lambda x, training: space["Encoder"](4)(x, training))
    x = jnp.ones([200, 6])
    params, state = f.init(jax.random.key(0), x, True)
    (out, low, which, cut, order, picked, _), _ = f.apply(params, state, jax.random.key(1), x, True)
    assert out.shape == (200, 4)
    assert order.shape == (200, 4)
    assert ((low >= 1) & (low < 2)).all()
    assert 0 <= int(which) < 10
    assert ((cut >= 0) & (cut <= 2)).all()
    assert picked.shape == (200, 1)
    assert set(np.unique(picked)) <= {0, 1, 2, 3}
    (quiet, *_), _ = f.apply(params, state, jax.random.key(1), x, False)
    assert 0.05 < float(jnp.std(quiet - (x @ params["encoder/linear"]["w"]))) < 0.15


def test_haiku():
    import haiku
    import jax

    source = (FOLDER / "haiku_classic.in.txt").read_text()
    text = port_program(source).text
    assert run_program(text) == pytest.approx(run_program(text.replace("purestate", "haiku")))
    assert haiku.__name__ in source
    assert jax.tree.map is not None
