"""Records what Sonnet 2 itself does with the programs: `python -m tests.sonnet_programs.record`.

It needs dm-sonnet 2.0.2 and TensorFlow, which the suite does not. What it writes is `recordings.npz`.
"""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import sonnet as snt
import tensorflow as tf

from tests.sonnet_programs.programs import PROGRAMS
from tests.sonnet_programs.table import Program, set_start, variables

PATH = Path(__file__).parent / "recordings.npz"


def value_and_grad(f: Any, variables: Any) -> Any:
    with tf.GradientTape() as tape:
        loss = f()
    grads = tape.gradient(loss, variables)
    return loss, [tf.convert_to_tensor(grad) for grad in grads]


lib = SimpleNamespace(
    snt=snt,
    Variable=tf.Variable,
    value_and_grad=value_and_grad,
    clip_by_global_norm=lambda grads, norm: tf.clip_by_global_norm(grads, norm)[0],
    map_structure=tf.nest.map_structure,
    abs=tf.abs,
    arange=tf.range,
    argmax=lambda x, axis: tf.argmax(x, axis, output_type=tf.int32),
    band=lambda size: tf.linalg.band_part(tf.ones([size, size]), -1, 0),
    cast=tf.cast,
    clip=tf.clip_by_value,
    concat=tf.concat,
    elu=tf.nn.elu,
    exp=tf.exp,
    float32=tf.float32,
    gather=tf.gather,
    leaky_relu=lambda x: tf.nn.leaky_relu(x, 0.2),
    linspace=tf.linspace,
    log=tf.math.log,
    log_softmax=tf.nn.log_softmax,
    matmul=tf.matmul,
    max=tf.reduce_max,
    maximum=tf.maximum,
    mean=tf.reduce_mean,
    minimum=tf.minimum,
    one_hot=tf.one_hot,
    ones=tf.ones,
    relu=tf.nn.relu,
    reshape=tf.reshape,
    segment_sum=lambda x, ids, n: tf.math.unsorted_segment_sum(x, ids, n),
    sigmoid=tf.sigmoid,
    softmax=tf.nn.softmax,
    softmax_cross_entropy=lambda labels, logits: tf.nn.softmax_cross_entropy_with_logits(
        labels=labels, logits=logits
    ),
    softplus=tf.nn.softplus,
    sqrt=tf.sqrt,
    square=tf.square,
    stack=tf.stack,
    stop_gradient=tf.stop_gradient,
    sum=tf.reduce_sum,
    tanh=tf.tanh,
    transpose=tf.transpose,
    where=tf.where,
    zeros=tf.zeros,
    zeros_like=tf.zeros_like,
)


def record(kind: type[Program]) -> tuple[Any, dict[str, np.ndarray]]:
    """Trains a program; returns its losses and names, and the last values of its variables."""
    program = kind(lib)
    as_tensors = lambda batch: {k: tf.constant(v) for k, v in batch.items()}
    batches = [as_tensors(batch) for batch in program.batches()]
    program.create(batches[0])
    set_start(program, lambda variable: variable.dtype.as_numpy_dtype)
    program.make_optimizers()
    losses = []
    for number, batch in enumerate(batches, 1):
        program.before(number)
        losses.append([float(loss) for loss in program.step(batch)])
        program.after(number)
    described, arrays = {}, {}
    for part, held in program.parts.items():
        described[part] = [[v.name, v.shape.as_list(), bool(v.trainable)] for v in variables(held)]
        for index, variable in enumerate(variables(held)):
            arrays[f"{kind.__name__}/{part}/{index}"] = variable.numpy()
    return {"losses": losses, "variables": described}, arrays


def main(names: list[str]) -> None:
    facts: dict[str, Any] = {}
    everything: dict[str, np.ndarray] = {}
    for kind in PROGRAMS:
        if not names or kind.__name__ in names:
            facts[kind.__name__], arrays = record(kind)
            everything.update(arrays)
            print(kind.__name__, [row[0] for row in facts[kind.__name__]["losses"]])
    if not names:
        np.savez_compressed(PATH, facts=np.array(json.dumps(facts)), **everything)


if __name__ == "__main__":
    main(sys.argv[1:])
