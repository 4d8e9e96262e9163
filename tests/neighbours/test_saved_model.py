"""SavedModels of TensorFlow, made of `apply` by jax2tf, against `apply` itself."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import purestate as ps
from tests.convert.helpers import KEY, SAME, array, attention, case, difference, norm, unroll

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")
jax2tf = pytest.importorskip("jax.experimental.jax2tf")


def cnn(x: Any) -> Any:
    h = jax.nn.relu(ps.Conv2D(6, 3, 2, padding=SAME)(x))
    h = ps.BatchNorm(True, True, 0.9, stats_at_init=True)(h, False)
    h = ps.MaxPool((2, 2, 1), (1, 1, 1), "SAME")(h)
    h = ps.AvgPool((2, 2, 1), (2, 2, 1), "VALID")(ps.Conv2D(4, 3, feature_group_count=2)(h))
    return ps.Linear(3)(ps.Flatten()(h))


def causal(x: Any) -> Any:
    mask = np.tril(np.ones([1, 1, 5, 5], bool))
    init = ps.initializers.VarianceScaling()
    return norm(x + ps.MultiHeadAttention(2, 4, w_init=init)(x, x, x, mask))


def mlp(x: Any) -> Any:
    return ps.nets.MLP([16, 16, 3])(x)


def embedded(tokens: Any) -> Any:
    return unroll(ps.GRU(6), ps.Embed(7, 4)(tokens))


CASES: dict[str, tuple[Any, np.ndarray]] = {
    "MLP": (mlp, array(4, 6)),
    "CNN": (cnn, array(4, 8, 8, 2)),
    "attention": (attention, array(4, 5, 8)),
    "causal attention": (causal, array(4, 5, 8)),
    "LSTM": (lambda x: unroll(ps.LSTM(6), x), array(4, 5, 8)),
    "GRU of tokens": (embedded, np.array([[0, 3, 6], [6, 2, 1]], np.int32)),
}


def saved(folder: Path, f: Any, params: Any, state: Any, x: np.ndarray, **options: Any) -> None:
    """Writes the SavedModel as the page `tensorflow.md` does."""
    shape = ", ".join(map(str, ("b", *x.shape[1:])))
    program = jax2tf.convert(
        lambda params, x: f.apply(params, state, None, x)[0],
        polymorphic_shapes=[None, f"({shape})"],
        **options,
    )
    model = tf.Module()
    model.params = tf.nest.map_structure(tf.Variable, params)
    model.predict = tf.function(
        lambda x: program(model.params, x),
        autograph=False,
        input_signature=[tf.TensorSpec([None, *x.shape[1:]], x.dtype)],
    )
    kept = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(model, str(folder), options=kept)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("native", [None, True])
def test_saved_model(name: str, native: bool | None, tmp_path: Path):
    f, example, _ = case(*CASES[name])
    x = example[0]
    params, state = f.init(KEY, x)
    if native is None:
        saved(tmp_path, f, params, state, x)
    else:  # the default, which JAX no longer lets one choose
        with pytest.warns(DeprecationWarning, match="native_serialization"):
            saved(tmp_path, f, params, state, x, native_serialization=native)
    loaded = tf.saved_model.load(str(tmp_path))
    for inputs in (x, x[:1], np.concatenate([x, x, x])):
        expected, _ = jax.jit(f.apply)(params, state, None, inputs)
        assert difference(loaded.predict(inputs), expected) < 1e-6


PROGRAM = """
import sys
import numpy as np
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
with tf.GradientTape() as tape:
    out = model.predict(np.load(sys.argv[2]))
    loss = tf.reduce_sum(out**2)
assert "purestate" not in sys.modules
np.savez(sys.argv[3], out, tape.gradient(loss, model.params["mlp/~/linear_1"]["w"]))
"""


def test_another_process_without_purestate(tmp_path: Path):
    f, example, _ = case(*CASES["MLP"])
    x = example[0]
    params, state = f.init(KEY, x)
    saved(tmp_path / "model", f, params, state, x)
    np.save(tmp_path / "x.npy", x)
    files = [str(tmp_path / name) for name in ("model", "x.npy", "out.npz")]
    # In another folder, so that purestate cannot be imported by accident.
    subprocess.run([sys.executable, "-c", PROGRAM, *files], check=True, cwd=tmp_path)
    loss = lambda params: (f.apply(params, state, None, x)[0] ** 2).sum()
    out, gradient = np.load(tmp_path / "out.npz").values()
    assert difference(out, f.apply(params, state, None, x)[0]) < 1e-6
    assert difference(gradient, jax.grad(loss)(params)["mlp/~/linear_1"]["w"]) < 1e-5
