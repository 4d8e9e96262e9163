"""TensorFlow reads what `purestate.sonnet.checkpoint` writes, and the other way round."""

import os
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

import purestate.sonnet.checkpoint as checkpoint

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of TensorFlow's own imports
    snt = pytest.importorskip("sonnet")
    tf = pytest.importorskip("tensorflow")

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


class Twins(snt.Module):
    """Two MLPs of one name and shape, a dict whose key is escaped, and variables of no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.second = snt.nets.MLP([3, 3])
        self.first = snt.nets.MLP([3, 3])
        self.heads = {"a/b.c": snt.Linear(2)}
        self.norm = snt.BatchNorm(True, True)

    def __call__(self, x: Any) -> Any:
        return self.heads["a/b.c"](self.norm(self.second(self.first(x)), is_training=True))


PLACES = {
    "second/_layers/0": "twins/mlp/linear_0",
    "second/_layers/1": "twins/mlp/linear_1",
    "first/_layers/0": "twins/mlp_1/linear_0",
    "first/_layers/1": "twins/mlp_1/linear_1",
    r"heads/a\/b.c": "twins/linear",
}
NORM = {
    "norm/scale": ("twins/batch_norm", "scale"),
    "norm/offset": ("twins/batch_norm", "offset"),
    **{
        f"norm/{ema}/{attribute}": (f"twins/batch_norm/{ema}", attribute.strip("_"))
        for ema in ("moving_mean", "moving_variance")
        for attribute in ("_counter", "_hidden", "average")
    },
}
ATTRIBUTES = {f"{at}/{n}": (to, n) for at, to in PLACES.items() for n in "wb"} | NORM


def variable_at(net: Any, path: str) -> Any:
    for name in path.replace("\\/", "\0").split("/"):
        name = name.replace("\0", "/")
        if isinstance(net, (list, tuple)):
            net = net[int(name)]
        else:
            net = net[name] if hasattr(net, "keys") else getattr(net, name)
    return net


def bundles(net: Any) -> tuple[Any, Any]:
    """Returns params and state with the values of a model."""
    params: dict[str, Any] = {}
    state: dict[str, Any] = {}
    for path, (module, name) in ATTRIBUTES.items():
        v = variable_at(net, path)
        (params if v.trainable else state).setdefault(module, {})[name] = v.numpy()
    return params, state


def step(net: Any, optimizer: Any) -> Any:
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(net(X)))
    gradients = tape.gradient(loss, net.trainable_variables)
    optimizer.apply(gradients, net.trainable_variables)
    return gradients


def made(seed: int) -> tuple[Any, Any]:
    tf.random.set_seed(seed)
    net, optimizer = Twins(), snt.optimizers.Adam(0.1)
    step(net, optimizer)
    step(net, optimizer)
    return net, optimizer


def assert_equal(net: Any, params: Any, state: Any) -> None:
    for path, (module, name) in ATTRIBUTES.items():
        value = {**params.get(module, {}), **state.get(module, {})}[name]
        np.testing.assert_array_equal(variable_at(net, path).numpy(), value, err_msg=path)


def test_tensorflow_reads_what_we_wrote_like_its_own(tmp_path: Path) -> None:
    attributes = ATTRIBUTES  # nothing else tells the twins apart
    net, optimizer = made(0)
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    old = tf.train.Checkpoint(model=net, optimizer=optimizer).save(old)
    params, state = checkpoint.restore(old, *bundles(made(1)[0]), attributes=attributes)
    assert_equal(net, params, state)
    params = jax.tree.map(lambda x: x * 2 + 1, params)
    slots = checkpoint.read_slots(old, params, attributes=attributes)
    slots |= {"m": jax.tree.map(lambda x: x + 1, slots["m"]), "step": 9}
    checkpoint.save(new, params, state, old, attributes=attributes, opt_state=slots)
    net, optimizer = made(2)
    status = tf.train.Checkpoint(model=net, optimizer=optimizer).restore(new)
    status.assert_consumed()
    assert_equal(net, params, state)
    assert optimizer.step.numpy() == 9
    again = checkpoint.read_slots(new, params, attributes=attributes)
    for i, v in enumerate(net.trainable_variables):
        path = next(p for p in ATTRIBUTES if variable_at(net, p) is v)
        module, name = ATTRIBUTES[path]
        np.testing.assert_array_equal(optimizer.m[i].numpy(), again["m"][module][name])
        np.testing.assert_array_equal(optimizer.m[i].numpy(), slots["m"][module][name])
        np.testing.assert_array_equal(optimizer.v[i].numpy(), slots["v"][module][name])


def test_tensorflow_reads_a_checkpoint_of_no_other(tmp_path: Path) -> None:
    net, _ = made(0)
    params, state = bundles(net)
    opt_state = optax.adam(0.1).init(params)
    gradients = jax.tree.map(lambda x: x + 1, params)
    updates, opt_state = optax.adam(0.1).update(gradients, opt_state)
    prefix = str(tmp_path / "new")
    checkpoint.save(prefix, params, state, attributes=ATTRIBUTES, opt_state=opt_state)
    params = jax.tree.map(lambda x, u: x + u, params, updates)
    net, optimizer = made(1)
    status = tf.train.Checkpoint(model=net, optimizer=optimizer).restore(prefix)
    status.assert_existing_objects_matched()
    assert optimizer.step.numpy() == 1
    # One more step, in TensorFlow and in optax.
    gradients = step(net, optimizer)
    tree: dict[str, Any] = {}
    for gradient, v in zip(gradients, net.trainable_variables, strict=True):
        path = next(p for p in ATTRIBUTES if variable_at(net, p) is v)
        module, name = ATTRIBUTES[path]
        tree.setdefault(module, {})[name] = gradient.numpy()
    updates, _ = optax.adam(0.1).update(tree, opt_state)
    start = bundles(net)[0]
    written, _ = checkpoint.restore(prefix, *bundles(net))
    after = jax.tree.map(lambda x, u: x + u, written, updates)
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(start), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_tables_with_many_blocks(tmp_path: Path) -> None:
    """TensorFlow finds each of 300 variables, which are in several blocks of the index."""
    net = tf.Module()
    net.many = [tf.Variable(tf.fill([i % 5], float(i)), name="v") for i in range(300)]
    attributes = {f"many/{i}": ("~", f"v_{i}") for i in range(300)}
    params = {"~": {f"v_{i}": np.full(i % 5, -i, np.float32) for i in range(300)}}
    prefix = str(tmp_path / "new")
    checkpoint.save(prefix, params, {}, attributes=attributes)
    tf.train.Checkpoint(model=net).restore(prefix).assert_existing_objects_matched()
    for i, v in enumerate(net.many):
        np.testing.assert_array_equal(v.numpy(), params["~"][f"v_{i}"])
