"""Sequences and graphs: a language model, attention, message passing, averages of weights."""

from typing import Any

import numpy as np

from tests.sonnet_programs.table import Batch, Phase, Program


class LanguageModel(Program):
    """An LSTM whose output weights are those of its embedding."""

    phases = (Phase("loss", "net"),)
    optimizers = {"loss": ("SGD", {"learning_rate": 0.5})}
    clip = 0.25
    vocabulary = 11

    def build(self, lib: Any, snt: Any) -> None:
        vocabulary = self.vocabulary

        class TiedModel(snt.Module):
            def __init__(self, embedding_size, name=None):
                super().__init__(name=name)
                self._embed = snt.Embed(vocabulary, embedding_size)
                cores = [snt.LSTM(7, name=f"lstm_{i}") for i in range(2)]
                self._core = snt.deep_rnn_with_residual_connections(cores)
                self._to_embedding = snt.Linear(embedding_size, with_bias=False)

            @snt.once
            def _make_bias(self):
                self.output_bias = lib.Variable(lib.zeros([vocabulary]), name="output_bias")

            def __call__(self, tokens, lengths):
                self._make_bias()
                state = self._core.initial_state(tokens.shape[1])
                x, _ = snt.dynamic_unroll(
                    self._core, self._embed(tokens), state, sequence_length=lengths
                )
                x = snt.BatchApply(self._to_embedding)(x)
                return lib.matmul(x, lib.transpose(self._embed.embeddings)) + self.output_bias

        self.parts = {"net": TiedModel(7)}

    def batch(self, rng: np.random.Generator) -> Batch:
        return {
            "tokens": rng.integers(0, self.vocabulary, (7, 4)).astype(np.int32),
            "lengths": rng.integers(2, 7, 4).astype(np.int32),
        }

    def loss(self, phase: str, batch: Batch) -> Any:
        lib, tokens = self.lib, batch["tokens"]
        logits = self.parts["net"](tokens[:-1], batch["lengths"])
        labels = lib.one_hot(tokens[1:], self.vocabulary)
        steps = lib.reshape(lib.arange(6), [6, 1])
        mask = lib.cast(steps < batch["lengths"], "float32")
        return lib.sum(lib.softmax_cross_entropy(labels, logits) * mask) / lib.sum(mask)


class Transformer(Program):
    """Causal attention of several heads, written with Linear and LayerNorm."""

    phases = (Phase("loss", "net"), Phase("copying", "net"))
    optimizers = {
        "loss": ("Adam", {"learning_rate": 0.003, "beta2": 0.98, "epsilon": 1e-3}),
        "copying": ("SGD", {"learning_rate": 0.01}),
    }
    clip = 1.0

    def rate(self, step: int) -> float:
        return min(step / 3, (3 / step) ** 0.5)

    def build(self, lib: Any, snt: Any) -> None:
        init = snt.initializers.VarianceScaling(0.5)

        class Attention(snt.Module):
            def __init__(self, num_heads, key_size, name=None):
                super().__init__(name=name)
                self.num_heads, self.key_size = num_heads, key_size
                for role in ("query", "key", "value"):
                    layer = snt.Linear(num_heads * key_size, w_init=init, name=role)
                    setattr(self, role, layer)

            def _heads(self, layer, x):
                x = snt.split_leading_dim(layer(snt.merge_leading_dims(x, 2)), x, 2)
                shape = [*x.shape[:2], self.num_heads, self.key_size]
                return lib.transpose(lib.reshape(x, shape), [0, 2, 1, 3])

            def __call__(self, x):
                q, k, v = (self._heads(f, x) for f in (self.query, self.key, self.value))
                scores = lib.matmul(q, lib.transpose(k, [0, 1, 3, 2])) / self.key_size**0.5
                scores = scores - 1e9 * (1.0 - lib.band(x.shape[1]))
                mixed = lib.transpose(lib.matmul(lib.softmax(scores), v), [0, 2, 1, 3])
                return lib.reshape(mixed, [*x.shape[:2], self.num_heads * self.key_size])

        class Block(snt.Module):
            def __init__(self, size, name=None):
                super().__init__(name=name)
                self._attention = Attention(2, 3)
                self._project = snt.Linear(size, w_init=init, name="project")
                self._mlp = snt.nets.MLP([2 * size, size], w_init=init)
                self._norms = [snt.LayerNorm(-1, True, True, name=f"norm_{i}") for i in range(2)]

            def __call__(self, x):
                x = x + self._project(self._attention(self._norms[0](x)))
                return x + self._mlp(self._norms[1](x))

        class Model(snt.Module):
            def __init__(self, name=None):
                super().__init__(name=name)
                self._embed = snt.Embed(9, 6, name="tokens")
                self._blocks = [Block(6) for _ in range(2)]
                self._norm = snt.LayerNorm(-1, True, True)
                self._out = snt.Linear(9, name="out")

            @snt.once
            def _create_positions(self, length):
                init = snt.initializers.TruncatedNormal(stddev=0.02)
                value = init([length, 6], lib.float32)
                self.positions = lib.Variable(value, name="positions")

            def __call__(self, tokens):
                self._create_positions(tokens.shape[1])
                x = self._embed(tokens) + self.positions
                for block in self._blocks:
                    x = block(x)
                return self._out(self._norm(x))

        self.parts = {"net": Model()}

    def batch(self, rng: np.random.Generator) -> Batch:
        return {"tokens": rng.integers(0, 9, (4, 6)).astype(np.int32)}

    def loss(self, phase: str, batch: Batch) -> Any:
        lib, tokens = self.lib, batch["tokens"]
        logits = self.parts["net"](tokens)
        if phase == "copying":
            return lib.mean(lib.softmax_cross_entropy(lib.one_hot(tokens, 9), logits))
        labels = lib.one_hot(tokens[:, 1:], 9)
        return lib.mean(lib.softmax_cross_entropy(labels, logits[:, :-1]))


class GraphNetwork(Program):
    """Encode, process twice with the same core, decode; messages are summed over edges."""

    phases = (Phase("loss", "net"),)
    optimizers = {"loss": ("Momentum", {"learning_rate": 0.02, "momentum": 0.8})}

    def build(self, lib: Any, snt: Any) -> None:
        def mlp():
            return snt.Sequential(
                [
                    snt.nets.MLP([6, 5], activate_final=True),
                    snt.LayerNorm(axis=-1, create_offset=True, create_scale=True),
                ]
            )

        class GraphIndependent(snt.Module):
            def __init__(self, name="graph_independent"):
                super().__init__(name=name)
                self._edge, self._node = mlp(), mlp()

            def __call__(self, graph):
                return {
                    **graph,
                    "edges": self._edge(graph["edges"]),
                    "nodes": self._node(graph["nodes"]),
                }

        class Interaction(snt.Module):
            def __init__(self, name="interaction_network"):
                super().__init__(name=name)
                with self.name_scope:
                    self._edge, self._node = mlp(), mlp()
                self._globals = snt.Linear(4, name="globals")

            def __call__(self, graph):
                nodes, senders, receivers = graph["nodes"], graph["senders"], graph["receivers"]
                ends = [lib.gather(nodes, senders), lib.gather(nodes, receivers)]
                edges = self._edge(lib.concat([graph["edges"], *ends], -1))
                received = lib.segment_sum(edges, receivers, nodes.shape[0])
                nodes = self._node(lib.concat([nodes, received], -1))
                pooled = lib.segment_sum(nodes, graph["graph"], 2)
                return {**graph, "edges": edges, "nodes": nodes, "globals": self._globals(pooled)}

        class EncodeProcessDecode(snt.Module):
            def __init__(self, name="encode_process_decode"):
                super().__init__(name=name)
                self._encoder = GraphIndependent(name="encoder")
                self._core = Interaction()
                self._decoder = snt.nets.MLP([4, 2], name="decoder")

            def __call__(self, graph, num_steps):
                latent0 = latent = self._encoder(graph)
                outputs = []
                for _ in range(num_steps):
                    both = {
                        key: lib.concat([latent0[key], latent[key]], -1)
                        for key in ("edges", "nodes")
                    }
                    latent = self._core({**latent, **both})
                    outputs.append(self._decoder(latent["nodes"]))
                return outputs, latent["globals"]

        self.parts = {"net": EncodeProcessDecode()}

    def batch(self, rng: np.random.Generator) -> Batch:
        make = lambda *shape: rng.normal(size=shape).astype(np.float32)
        index = lambda n, *shape: rng.integers(0, n, shape).astype(np.int32)
        return {
            "nodes": make(7, 3),
            "edges": make(10, 2),
            "senders": index(7, 10),
            "receivers": index(7, 10),
            "graph": np.array([0, 0, 0, 0, 1, 1, 1], np.int32),
            "target": make(7, 2),
        }

    def loss(self, phase: str, batch: Batch) -> Any:
        lib = self.lib
        outputs, pooled = self.parts["net"](batch, num_steps=2)
        errors = [lib.mean((out - batch["target"]) ** 2) for out in outputs]
        return sum(errors) / 2.0 + 0.01 * lib.mean(pooled**2)


class AveragedWeights(Program):
    """Trains one net, and keeps moving averages of its weights to be tested with."""

    phases = (Phase("loss", "net"), Phase("average", None), Phase("test", None))
    optimizers = {"loss": ("Adam", {"learning_rate": 0.02})}

    def build(self, lib: Any, snt: Any) -> None:
        class Scaled(snt.Linear):
            """A layer of the user's own, on the weights of `Linear`."""

            def __init__(self, output_size, gain, name=None):
                super().__init__(output_size, name=name)
                self.gain = gain

            def __call__(self, inputs):
                return self.gain * super().__call__(snt.scale_gradient(inputs, 0.5))

        class Net(snt.Module):
            def __init__(self, name="net"):
                super().__init__(name=name)
                self.layers = [Scaled(6, 1.5), Scaled(6, 0.5)]
                self.out = snt.Deferred(lambda: snt.Linear(1, name="out"))
                self.shared = self.layers[0]

            def __call__(self, x):
                x = lib.tanh(self.layers[1](lib.tanh(self.shared(x))))
                return self.out(x)[:, 0]

        self.net = Net()
        snt.build(self.net, [2, 4])
        self.averages = [
            snt.ExponentialMovingAverage(0.7, name="average") for _ in self.net.trainable_variables
        ]
        for average, variable in zip(self.averages, self.net.trainable_variables, strict=True):
            average.initialize(variable)
        self.parts = {"net": self.net, "averages": self.averages}

    def batch(self, rng: np.random.Generator) -> Batch:
        x = rng.normal(size=(9, 4)).astype(np.float32)
        return {"x": x, "y": np.sin(x.sum(-1))}

    def loss(self, phase: str, batch: Batch) -> Any:
        lib = self.lib
        if phase == "average":
            pairs = zip(self.averages, self.net.trainable_variables, strict=True)
            return sum(lib.mean(average(lib.stop_gradient(v)) ** 2) for average, v in pairs)
        if phase == "test":
            (b0, w0, b1, w1, b, w) = [average.value for average in self.averages]
            x = lib.tanh(1.5 * (lib.matmul(batch["x"], w0) + b0))
            x = lib.tanh(0.5 * (lib.matmul(x, w1) + b1))
            return lib.mean(lib.square((lib.matmul(x, w) + b)[:, 0] - batch["y"]))
        return lib.mean(lib.square(self.net(lib.cast(batch["x"], "float32")) - batch["y"]))


SEQUENCES = (LanguageModel, Transformer, GraphNetwork, AveragedWeights)
