"""Saves a train state on 8 devices as (4, 2), and restores it elsewhere: `python -m tests.checkpoint.another_mesh FOLDER`."""

import json
import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding  # noqa: E402

import purestate as ps  # noqa: E402
from tests.checkpoint.helpers import bits  # noqa: E402

F = ps.transform(lambda x: ps.Linear(16)(x))


def sharded(shape, names):
    """Returns a function from a leaf to its sharding: matrices over all axes, the rest everywhere."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(shape), names)
    spec = PartitionSpec(*names) if len(names) == 2 else PartitionSpec(None, *names)
    return lambda x: NamedSharding(mesh, spec if x.ndim == 2 else PartitionSpec())


def equal(restored, train, shardings):
    return all(
        bits(a) == bits(b) and a.sharding == sharding
        for a, b, sharding in zip(*map(jax.tree.leaves, (restored, train, shardings)), strict=True)
    )


def main():
    train = ps.TrainState.create(F, optax.adam(0.1), 0, jnp.ones([1, 8]))
    specs = jax.eval_shape(lambda: train)
    on_4_2 = jax.tree.map(sharded((4, 2), ("a", "b")), specs)
    train = jax.device_put(train, on_4_2)
    found = {}
    with ps.checkpoint.Checkpointer(sys.argv[1]) as checkpoints:
        checkpoints.save(0, train)
        for name, of in {
            "(2, 4)": sharded((2, 4), ("a", "b")),
            "(8,)": sharded((8,), ("a",)),
            "one device": lambda leaf: SingleDeviceSharding(jax.devices()[3]),
        }.items():
            shardings = jax.tree.map(of, specs)
            restored = checkpoints.restore(into=specs, shardings=shardings)
            found[name] = equal(restored, train, shardings)
        on_8 = jax.tree.map(sharded((8,), ("a",)), specs)
        wanted = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), specs, on_8
        )
        found["as into"] = equal(checkpoints.restore(into=wanted), train, on_8)
        found["as saved"] = equal(checkpoints.restore(into=train), train, on_4_2)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
