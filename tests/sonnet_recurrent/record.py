"""Records what Sonnet itself does: `python -m tests.sonnet_recurrent.record`.

It needs dm-sonnet 2.0.2 and TensorFlow, which the suite does not.
"""

import os
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import sonnet as snt
import tensorflow as tf
import tree

from tests.sonnet_recurrent.cases import CORES, GRADIENTS, LENGTHS, PROGRAMS, XS, weighted
from tests.sonnet_recurrent.recordings import PATH

LIB = SimpleNamespace(array=tf.constant, zeros=tf.zeros, sum=tf.reduce_sum)


def gradients(name):
    core = CORES[name](snt)
    with tf.GradientTape() as tape:
        outputs, _ = snt.dynamic_unroll(
            core, tf.constant(XS), core.initial_state(3), tf.constant(LENGTHS["some"])
        )
        loss = weighted(outputs, LIB)
    variables = core.trainable_variables
    return zip([v.name for v in variables], tape.gradient(loss, variables), strict=True)


def main():
    recorded = {}
    for name, run in PROGRAMS.items():
        leaves = [leaf for leaf in tree.flatten(run(snt, LIB)) if leaf is not None]
        recorded |= {f"{name}/{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    for name in GRADIENTS:
        for i, (variable, gradient) in enumerate(gradients(name)):
            recorded[f"gradient {name}/{i} {variable.replace('/', '.')}"] = np.asarray(gradient)
    np.savez_compressed(PATH, **recorded)


if __name__ == "__main__":
    main()
