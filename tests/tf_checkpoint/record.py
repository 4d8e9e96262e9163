"""Writes the recorded checkpoints, with TensorFlow and Sonnet.

Run it with the Python of `make test-neighbours`:

    .venv-neighbours/bin/python tests/tf_checkpoint/record.py

Beside each checkpoint is an .npz with what must be read from it. Its names are `attribute:PATH`,
`params:MODULE:NAME` and `state:MODULE:NAME`; after a step of an optimizer, also `gradient:...`,
and `next:...` for the params after one more step with these gradients. The places in purestate come
from the objects themselves: a hook notes which module makes which, and in which order.
"""

import os
import shutil
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import sonnet as snt
import tensorflow as tf

FOLDER = Path(__file__).parent / "recorded"


class Log:
    """Which modules were made, in order, and in which module."""

    def __init__(self):
        self.made = []
        self._init = tf.Module.__init__

    def __enter__(self):
        log = self

        def noted(self, *args, **kwargs):
            log._init(self, *args, **kwargs)
            frame = sys._getframe(1)
            while frame is not None:
                parent = frame.f_locals.get("self")
                if isinstance(parent, tf.Module) and parent is not self:
                    break
                frame = frame.f_back
            log.made.append((self, parent if frame is not None else None))

        tf.Module.__init__ = noted
        return self

    def __exit__(self, *args):
        tf.Module.__init__ = self._init

    def places(self):
        """Returns `{id of a variable: (kind, module, name)}`."""
        paths, used, found = {}, set(), {}
        parents = {id(module): parent for module, parent in self.made}

        def path_of(module):  # BatchNorm makes submodules before it is a module itself
            if id(module) not in paths:
                parent = parents[id(module)]
                prefix = f"{path_of(parent)}/" if parent is not None else ""
                path, number = prefix + module.name, 0
                while path in used:
                    number += 1
                    path = f"{prefix}{module.name}_{number}"
                used.add(path)
                paths[id(module)] = path
            return paths[id(module)]

        for module, _ in self.made:
            path = path_of(module)
            own = [
                leaf
                for attribute, value in vars(module).items()
                if not attribute.startswith("_self_")
                for leaf in tf.nest.flatten(value)
                if isinstance(leaf, tf.Variable) and id(leaf) not in found
            ]
            taken = {}
            for v in sorted(own, key=lambda v: int(v._unique_id.rpartition("_")[2])):
                name = v.name.removesuffix(":0").rpartition("/")[2]
                taken[name] = taken.get(name, -1) + 1
                full = f"{name}_{taken[name]}" if taken[name] else name
                found[id(v)] = ("params" if v.trainable else "state", path, full)
        return found


def array(v):
    x = v.numpy()
    return x.astype(np.float32) if v.dtype == tf.bfloat16 else x


def attributes(**objects):
    """Returns `{path: variable}`, by walking the objects with `getattr`."""
    found, seen = {}, set()

    def walk(value, path):
        if isinstance(value, tf.Variable):
            found[path] = value
        elif isinstance(value, (list, tuple)):
            for i, each in enumerate(value):
                walk(each, f"{path}/{i}")
        elif isinstance(value, dict):
            for key, each in value.items():
                walk(each, f"{path}/" + key.replace("/", "\\/"))
        elif isinstance(value, tf.Module) and id(value) not in seen:
            seen.add(id(value))
            for name, each in vars(value).items():
                if not name.startswith("_self_"):
                    walk(each, f"{path}/{name}")

    for name, value in objects.items():
        walk(value, name)
    return found


def randomize(net):
    r = np.random.default_rng(0)
    for v in net.variables:
        if v.dtype.is_floating:
            v.assign(tf.cast(r.normal(size=v.shape).round(2), v.dtype))


def record(name, make, inputs, optimizer=None, shard=None, step=1, **more):
    with Log() as log:
        net = make()
        call = getattr(net, "unrolled", net)
        call(*inputs)
    randomize(net)
    out = {}
    objects = {"model": net, **more}
    if optimizer is not None:
        objects["optimizer"] = optimizer

        def gradients():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(call(*inputs)))
            return tape.gradient(loss, net.trainable_variables)

        for _ in range(2):  # with step -1 the variables are in another order
            optimizer.apply(gradients()[::step], net.trainable_variables[::step])
    for f in FOLDER.glob(f"{name}.*"):
        f.unlink()
    options = tf.train.CheckpointOptions()
    if shard is not None:  # tensors are then cut into parts too
        policy = tf.train.experimental.MaxShardSizePolicy(shard)
        options = tf.train.CheckpointOptions(experimental_sharding_callback=policy)
    tf.train.Checkpoint(**objects).write(str(FOLDER / name), options)
    for path, v in attributes(**objects).items():
        if v.dtype != tf.string:
            out[f"attribute:{path}"] = array(v)
    places = log.places()
    for v in net.variables:
        out[":".join(places[id(v)])] = array(v)
    if optimizer is not None:
        g = gradients()
        for each, v in zip(g, net.trainable_variables, strict=True):
            out[":".join(("gradient", *places[id(v)][1:]))] = each.numpy()
        optimizer.apply(g[::step], net.trainable_variables[::step])
        for v in net.trainable_variables:
            out[":".join(("next", *places[id(v)][1:]))] = v.numpy()
    np.savez_compressed(FOLDER / f"{name}.npz", **out)
    print(name, sorted(k for k in out if k.startswith(("params", "state"))))


class TwoLinears(snt.Module):
    """Two Linears of one name and one shape, which are first called in the other order."""

    def __init__(self):
        super().__init__()
        self.zeta = snt.Linear(3)
        self.alpha = snt.Linear(3)

    def __call__(self, x):
        return self.zeta(self.alpha(x))


class Dueling(snt.Module):
    def __init__(self):
        super().__init__()
        self.torso = snt.nets.MLP([4], activate_final=True)
        self.value = snt.nets.MLP([3, 1])
        self.advantage = snt.nets.MLP([3, 2])

    def __call__(self, x):
        x = self.torso(x)
        return self.value(x) + self.advantage(x)


class Block(snt.Module):
    def __init__(self, channels, name=None):
        super().__init__(name)
        norm = {"create_scale": True, "create_offset": True}
        self._conv_0 = snt.Conv2D(channels, 3, with_bias=False, name="conv_0")
        self._bn_0 = snt.BatchNorm(name="batchnorm_0", **norm)
        self._conv_1 = snt.Conv2D(channels, 3, with_bias=False, name="conv_1")
        self._bn_1 = snt.BatchNorm(name="batchnorm_1", create_scale=False, create_offset=False)

    def __call__(self, x):
        h = tf.nn.relu(self._bn_0(self._conv_0(x), True))
        return x + self._bn_1(self._conv_1(h), True)


class ResNet(snt.Module):
    def __init__(self):
        super().__init__(name="net")
        self.blocks = [Block(2), Block(2)]
        self.out = snt.Linear(2)

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return self.out(tf.reduce_mean(x, [1, 2]))


class Nested(snt.Module):
    """Two MLPs, of which each has layers of the same names."""

    def __init__(self):
        super().__init__()
        self.second = snt.nets.MLP([3, 3])
        self.first = snt.nets.MLP([3, 3])

    def __call__(self, x):
        return self.second(self.first(x))


class Passed(snt.Module):
    """Modules that were made outside, in an order that the checkpoint does not have."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def __call__(self, x):
        return self.second(self.first(x))


class Numbered(snt.Module):
    """Variables of one name in one module, in a list and as attributes."""

    def __call__(self, x):
        if not hasattr(self, "ws"):
            self.ws = [tf.Variable(tf.ones([2]) * i, name="scale") for i in range(3)]
            self.b = tf.Variable(tf.ones([2]), name="b")
            self.a = tf.Variable(tf.ones([2]), name="b")
        return x * self.ws[0] * self.ws[1] + self.a + self.b


class Heads(snt.Module):
    """A dict of modules, with keys that have to be escaped."""

    def __init__(self):
        super().__init__()
        self.heads = {"b/x.y": snt.Linear(2), "a": snt.Linear(3)}

    def __call__(self, x):
        return self.heads["a"](x), self.heads["b/x.y"](x)


class Dense(tf.Module):
    @tf.Module.with_name_scope
    def __call__(self, x):
        if not hasattr(self, "w"):
            self.w = tf.Variable(tf.ones([x.shape[-1], 2]), name="w")
        return x @ self.w


class Plain(tf.Module):
    def __init__(self):
        super().__init__()
        with self.name_scope:
            self.layers = [Dense(), Dense()]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Dtypes(snt.Module):
    def __call__(self, x):
        if not hasattr(self, "half"):
            for name in ("bfloat16", "float16", "float32", "int8", "uint8", "int16", "uint16"):
                v = tf.Variable(tf.cast([1, 2, 3], name), trainable=False, name=name)
                setattr(self, name, v)
            for name in ("int32", "uint32", "int64", "complex64"):
                v = tf.Variable(tf.cast([1, 2, 3], name), trainable=False, name=name)
                setattr(self, name, v)
            self.bool = tf.Variable([[True, False]], trainable=False, name="bool")
            self.empty = tf.Variable(tf.zeros([0, 3]), trainable=False, name="empty")
            self.half = tf.Variable(tf.cast([0.5, 1.5], tf.bfloat16), name="half")
        return x


def deep_lstm():
    net = snt.DeepRNN([snt.LSTM(3), tf.nn.relu, snt.LSTM(3)])
    net.unrolled = lambda x: snt.static_unroll(net, x, net.initial_state(1))[0]
    return net


def main():
    tf.random.set_seed(0)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    x = tf.constant(np.random.default_rng(1).normal(size=[4, 3]).round(2), tf.float32)
    image = tf.random.stateless_normal([2, 4, 4, 2], [0, 1])
    adam = snt.optimizers.Adam(0.1)
    record("mlp_adam", lambda: snt.nets.MLP([4, 2]), (x,), adam)
    record("two_linears", TwoLinears, (x,), snt.optimizers.Momentum(0.1, 0.9))
    record("dueling", Dueling, (x,), snt.optimizers.RMSProp(0.1, momentum=0.9, centered=True))
    momentum = lambda: snt.optimizers.Momentum(0.1, 0.9)
    record("mlp_reversed", lambda: snt.nets.MLP([4, 2]), (x,), momentum(), step=-1)
    record("twins_reversed", TwoLinears, (x,), momentum(), step=-1)
    record("before_a_step", lambda: snt.Linear(2), (x,), optimizer=None, other=momentum())
    record("rmsprop", lambda: snt.Linear(2), (x,), snt.optimizers.RMSProp(0.1, momentum=0.9))
    sequential = lambda: snt.Sequential([snt.Linear(3), tf.nn.relu, snt.Linear(3), snt.Linear(3)])
    record("sequential", sequential, (x,))
    record("lstm", deep_lstm, (tf.ones([2, 1, 3]),))
    record("resnet", ResNet, (image,), snt.optimizers.Adam(0.1))
    record("vq", lambda: snt.nets.VectorQuantizerEMA(3, 4, 0.25, 0.9), (x, True))
    record("nested", Nested, (x,))
    mlps = lambda: snt.Sequential([snt.nets.MLP([3]), snt.nets.MLP([3])])
    record("mlps", mlps, (x,))
    record("passed", lambda: Passed(second=snt.Linear(3), first=snt.Linear(3)), (x,))
    record("numbered", Numbered, (tf.ones([2]),))
    record("heads", Heads, (x,))
    record("plain", Plain, (tf.ones([1, 2]),))
    record("shards", lambda: snt.nets.MLP([5, 2]), (x,), shard=24)
    words = tf.Variable([["a", ""], ["longer", "\0\xff"]])
    record("dtypes", Dtypes, (x,), words=words)
    whole = np.arange(12, dtype=np.float32).reshape(4, 3)
    tf.raw_ops.SaveV2(
        prefix=str(FOLDER / "parts"),
        tensor_names=["x", "x", "y"],
        shape_and_slices=["4 3 0,1:-", "4 3 1,3:-", ""],
        tensors=[whole[:1], whole[1:], whole[0]],
    )
    net, adam = snt.nets.MLP([4, 2]), tf.compat.v1.train.AdamOptimizer(0.1)
    net(x)
    adam.apply_gradients([(tf.ones_like(v), v) for v in net.trainable_variables[::-1]])
    tf.train.Checkpoint(model=net, optimizer=adam).write(str(FOLDER / "slot_variables"))
    big = snt.Linear(2)
    big(x)
    saved = tf.train.Checkpoint(model=big)
    os.makedirs(FOLDER / "folder")
    for _ in range(2):
        saved.save(str(FOLDER / "folder" / "ckpt"))


if __name__ == "__main__":
    main()
