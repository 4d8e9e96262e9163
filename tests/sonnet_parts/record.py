"""Records numbers of the real Sonnet: `python -m tests.sonnet_parts.record`, with dm-sonnet."""

import json
import os
import pathlib

from tests.sonnet_parts.tables import (
    AVERAGES,
    CLIPS,
    GRADIENTS,
    HYPERPARAMETERS,
    INITIALIZER_CALLS,
    OPTIMIZERS,
    PADDINGS,
    PARAMETERS,
    RECORDINGS,
    REGULARIZED,
)


def as_list(value):
    return value.numpy().astype("float64").tolist()


def optimizer(snt, tf, name, args, kwargs):
    opt = getattr(snt.optimizers, name)(*args, **kwargs)
    variables = [tf.Variable(value, name=key, dtype=tf.float32) for key, value in PARAMETERS]
    steps = []
    for gradients in GRADIENTS:
        updates = [None if g is None else tf.constant(g, tf.float32) for g in gradients]
        opt.apply(updates, variables)
        steps.append([as_list(v) for v in variables])
    slots = {} if name == "SGD" else {v.name: as_list(v) for v in opt.variables}
    return {"steps": steps, "slots": slots}


def scheduled(snt, tf, name):
    """Hyperparameters as variables, to which each step assigns."""
    rate = tf.Variable(0.1)
    args = (rate, 0.9) if name == "Momentum" else (rate,)
    opt = getattr(snt.optimizers, name)(*args)
    variables = [tf.Variable(value, name=key, dtype=tf.float32) for key, value in PARAMETERS]
    for number, gradients in enumerate(GRADIENTS):
        rate.assign(0.1 / (number + 1))
        opt.apply([None if g is None else tf.constant(g, tf.float32) for g in gradients], variables)
    return [as_list(v) for v in variables]


def functional(snt, tf, name, args, kwargs):
    with snt.functional.variables():
        variables = [tf.Variable(value, name=key, dtype=tf.float32) for key, value in PARAMETERS]
    opt = getattr(snt.functional, name.lower())(*args, **kwargs)
    params = {v.ref(): v.initial_tensor_value for v in variables}
    state = opt.init(params)
    order = sorted(params)
    for gradients in GRADIENTS:
        updates = [tf.zeros_like(params[r]) for r in order]
        for v, g in zip(variables, gradients, strict=True):
            if g is not None:
                updates[order.index(v.ref())] = tf.constant(g, tf.float32)
        params, state = opt.apply(state, updates, params)
    return [as_list(params[v.ref()]) for v in variables]


def averages(snt, tf, decay, values):
    ema = snt.ExponentialMovingAverage(decay)
    seen = [as_list(ema(tf.constant(value, tf.float32))) for value in values]
    slots = {v.name: as_list(v) for v in ema.variables}
    ema.reset()
    return {"seen": seen, "slots": slots, "after reset": as_list(ema(tf.constant(values[0])))}


def clipped(snt, tf, x, low, high, dy):
    x, low, high = tf.constant(x), tf.constant(low), tf.constant(high)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = snt.leaky_clip_by_value(x, low, high)
    return [as_list(y), as_list(tape.gradient(y, x, tf.constant(dy)))]


def initializer(snt, tf, name, args, shape, dtype):
    """Returns the class that a call raises, or the dtype and shape of what it returns."""
    try:
        value = getattr(snt.initializers, name)(*args)(shape, tf.as_dtype(dtype))
    except Exception as error:
        return type(error).__name__
    return [value.dtype.name, value.shape.as_list()]


def padded(snt, functions, *args):
    chosen = [getattr(snt.pad, name) for name in functions]
    return snt.pad.create(chosen if len(chosen) > 1 else chosen[0], *args)


def main():
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import sonnet as snt
    import tensorflow as tf

    def regularized(name, scale, tensors):
        return as_list(getattr(snt.regularizers, name)(scale)([tf.constant(t) for t in tensors]))

    table = {
        "optimizers": [optimizer(snt, tf, *row) for row in OPTIMIZERS],
        "scheduled": {name: scheduled(snt, tf, name) for name in HYPERPARAMETERS},
        "functional": [functional(snt, tf, *row) for row in OPTIMIZERS],
        "averages": [averages(snt, tf, *row) for row in AVERAGES],
        "clips": [clipped(snt, tf, *row) for row in CLIPS],
        "initializers": [initializer(snt, tf, *row) for row in INITIALIZER_CALLS],
        "paddings": [padded(snt, *row) for row in PADDINGS],
        "regularizers": [regularized(*row) for row in REGULARIZED],
    }
    path = pathlib.Path(__file__).with_name(RECORDINGS)
    path.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
