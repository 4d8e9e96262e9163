"""`tree_size` and `tree_bytes`."""

import jax
import jax.numpy as jnp
import numpy as np

import purestate as ps


def test_sizes():
    tree = {
        "a": [np.zeros([2, 3], np.float32), jnp.zeros([4], jnp.bfloat16)],
        "b": (np.int8(1), None),
    }
    assert ps.data_structures.tree_size(tree) == 6 + 4 + 1
    assert (
        ps.data_structures.tree_bytes(tree)
        == sum(np.asarray(x).nbytes for x in jax.tree.leaves(tree))
        == 24 + 8 + 1
    )


def test_what_only_has_a_shape():
    tree = jax.eval_shape(lambda: {"w": jnp.zeros([10, 10]), "empty": jnp.zeros([0, 5])})
    assert ps.data_structures.tree_size(tree) == 100
    assert ps.data_structures.tree_bytes(tree) == 400
    assert ps.data_structures.tree_size({}) == ps.data_structures.tree_bytes(None) == 0
