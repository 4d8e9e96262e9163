"""Images: VQ-VAE, a residual classifier, a GAN, prediction of frames."""

from typing import Any

import numpy as np

from tests.sonnet_programs.table import Batch, Phase, Program


class VqVae(Program):
    """An autoencoder through a codebook that follows moving averages, as in Sonnet's example."""

    phases = (Phase("loss", "net"),)
    optimizers = {"loss": ("Adam", {"learning_rate": 0.003})}

    def build(self, lib: Any, snt: Any) -> None:
        class ResidualStack(snt.Module):
            def __init__(self, num_hiddens, num_layers, num_residual_hiddens, name=None):
                super().__init__(name=name)
                self._layers = []
                for i in range(num_layers):
                    conv3 = snt.Conv2D(num_residual_hiddens, (3, 3), name=f"res3x3_{i}")
                    conv1 = snt.Conv2D(num_hiddens, (1, 1), name=f"res1x1_{i}")
                    self._layers.append((conv3, conv1))

            def __call__(self, inputs):
                h = inputs
                for conv3, conv1 in self._layers:
                    h = h + conv1(lib.relu(conv3(lib.relu(h))))
                return lib.relu(h)

        class Encoder(snt.Module):
            def __init__(self, name=None):
                super().__init__(name=name)
                self._enc_1 = snt.Conv2D(4, 4, stride=2, name="enc_1")
                self._enc_2 = snt.Conv2D(8, 3, name="enc_2")
                self._stack = ResidualStack(8, 2, 4)

            def __call__(self, x):
                return self._stack(lib.relu(self._enc_2(lib.relu(self._enc_1(x)))))

        class Decoder(snt.Module):
            def __init__(self, name=None):
                super().__init__(name=name)
                self._dec_1 = snt.Conv2D(8, 3, name="dec_1")
                self._stack = ResidualStack(8, 1, 4)
                self._dec_2 = snt.Conv2DTranspose(3, 4, output_shape=None, stride=2, name="dec_2")

            def __call__(self, x):
                return self._dec_2(self._stack(self._dec_1(x)))

        class Model(snt.Module):
            def __init__(self, name=None):
                super().__init__(name=name)
                self._encoder, self._decoder = Encoder(), Decoder()
                self._pre_vq = snt.Conv2D(6, 1, name="to_vq")
                self._vq = snt.nets.VectorQuantizerEMA(
                    embedding_dim=6, num_embeddings=9, commitment_cost=0.25, decay=0.9
                )

            def __call__(self, x, is_training):
                vq = self._vq(self._pre_vq(self._encoder(x)), is_training=is_training)
                error = lib.mean((self._decoder(vq["quantize"]) - x) ** 2) / 0.3
                return {"loss": error + vq["loss"], "perplexity": vq["perplexity"]}

        self.parts = {"net": Model()}

    def batch(self, rng: np.random.Generator) -> Batch:
        return {"image": rng.uniform(-0.5, 0.5, (4, 6, 6, 3)).astype(np.float32)}

    def loss(self, phase: str, batch: Batch) -> Any:
        return self.parts["net"](batch["image"], is_training=True)["loss"]


class ResidualClassifier(Program):
    """A residual network with batch norm, and a penalty on its weights."""

    phases = (Phase("loss", "net"), Phase("test", None))
    optimizers = {
        "loss": ("Momentum", {"learning_rate": 0.05, "momentum": 0.9, "use_nesterov": True})
    }

    def rate(self, step: int) -> float:
        return 1.0 if step < 3 else 0.1

    def build(self, lib: Any, snt: Any) -> None:
        norm = {"create_scale": True, "create_offset": True, "decay_rate": 0.8}

        class Block(snt.Module):
            def __init__(self, channels, stride, use_projection, name=None):
                super().__init__(name=name)
                if use_projection:
                    self._shortcut = snt.Conv2D(
                        channels, 1, stride=stride, with_bias=False, name="shortcut"
                    )
                    self._shortcut_norm = snt.BatchNorm(**norm, name="shortcut_batchnorm")
                self._projects = use_projection
                self._convs = [
                    (
                        snt.Conv2D(channels, 3, stride=stride, with_bias=False, name="conv_0"),
                        snt.BatchNorm(**norm, name="batchnorm_0"),
                    ),
                    (
                        snt.Conv2D(channels, 3, with_bias=False, name="conv_1"),
                        snt.BatchNorm(**norm, name="batchnorm_1"),
                    ),
                ]

            def __call__(self, x, is_training):
                shortcut = x
                if self._projects:
                    shortcut = self._shortcut_norm(self._shortcut(x), is_training)
                for i, (conv, batch_norm) in enumerate(self._convs):
                    x = batch_norm(conv(x), is_training=is_training)
                    x = lib.relu(x) if i == 0 else x
                return lib.relu(x + shortcut)

        class Net(snt.Module):
            def __init__(self, num_classes, name="res_net"):
                super().__init__(name=name)
                self._initial = snt.Conv2D(4, 3, with_bias=False, name="initial_conv")
                self.blocks = [Block(4, 1, False), Block(6, 2, True)]
                self._logits = snt.Linear(
                    num_classes, w_init=snt.initializers.Zeros(), name="logits"
                )

            def __call__(self, x, is_training):
                x = self._initial(x)
                for block in self.blocks:
                    x = block(x, is_training=is_training)
                return self._logits(lib.mean(x, axis=(1, 2)))

        self.regularizer = snt.regularizers.L2(0.01)
        self.parts = {"net": Net(4)}

    def batch(self, rng: np.random.Generator) -> Batch:
        return {
            "image": rng.normal(size=(8, 5, 5, 2)).astype(np.float32),
            "label": rng.integers(0, 4, 8).astype(np.int32),
        }

    def loss(self, phase: str, batch: Batch) -> Any:
        lib, net = self.lib, self.parts["net"]
        logits = net(batch["image"], is_training=phase == "loss")
        labels = 0.9 * lib.one_hot(batch["label"], 4) + 0.1 / 4
        error = lib.mean(lib.softmax_cross_entropy(labels, logits))
        if phase == "test":
            return error
        kernels = [v for v in net.trainable_variables if v.name.endswith("/w:0")]
        return error + self.regularizer(kernels)


class Gan(Program):
    """Two networks, two optimizers, and a step that trains one after the other."""

    phases = (Phase("discriminator", "discriminator"), Phase("generator", "generator"))
    optimizers = {
        "discriminator": ("Adam", {"learning_rate": 0.002, "beta1": 0.5, "epsilon": 1e-3}),
        "generator": (
            "Adam",
            {"learning_rate": 0.001, "beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3},
        ),
    }

    def build(self, lib: Any, snt: Any) -> None:
        class Generator(snt.Module):
            def __init__(self, name=None):
                super().__init__(name=name)
                self._project = snt.Linear(2 * 2 * 6)
                self._reshape = snt.Reshape([2, 2, 6])
                self._norms = [snt.InstanceNorm(True, True) for _ in range(2)]
                self._up = [snt.Conv2DTranspose(c, 4, stride=2) for c in (5, 1)]

            def __call__(self, z):
                x = self._reshape(self._project(z))
                for norm, up in zip(self._norms, self._up, strict=True):
                    x = up(lib.relu(norm(x)))
                return lib.tanh(x)

        class Discriminator(snt.Module):
            def __init__(self, name=None):
                super().__init__(name=name)
                self.layers = {
                    "conv": snt.Conv2D(4, 4, stride=2, padding="SAME"),
                    "depthwise": snt.DepthwiseConv2D(3, channel_multiplier=2),
                    "norm": snt.GroupNorm(2),
                    "out": snt.Linear(1),
                }

            def __call__(self, x):
                x = lib.leaky_relu(self.layers["conv"](x))
                x = lib.leaky_relu(self.layers["norm"](self.layers["depthwise"](x)))
                return self.layers["out"](snt.flatten(x))[:, 0]

        self.parts = {"generator": Generator(), "discriminator": Discriminator()}

    def batch(self, rng: np.random.Generator) -> Batch:
        return {
            "image": rng.uniform(-1, 1, (5, 8, 8, 1)).astype(np.float32),
            "z": rng.normal(size=(5, 3)).astype(np.float32),
        }

    def loss(self, phase: str, batch: Batch) -> Any:
        lib = self.lib
        generate, judge = self.parts["generator"], self.parts["discriminator"]
        fake = judge(generate(batch["z"]))
        if phase == "generator":
            return lib.mean(lib.softplus(-fake))
        return lib.mean(lib.softplus(-judge(batch["image"])) + lib.softplus(fake))


class VideoPrediction(Program):
    """A convolutional LSTM that predicts the next frame, with skip connections over a norm."""

    phases = (Phase("loss", "net"),)
    optimizers = {"loss": ("SGD", {"learning_rate": 0.1})}
    clip = 1.0

    def build(self, lib: Any, snt: Any) -> None:
        class Predictor(snt.Module):
            def __init__(self, shape, name=None):
                super().__init__(name=name)
                self._encode = snt.BatchApply(snt.Conv2D(4, 3, name="encode"))
                self._core = snt.Conv2DLSTM([*shape[:2], 4], output_channels=5, kernel_shape=3)
                self._norm = snt.BatchApply(
                    snt.LayerNorm(axis=[1, 2, 3], create_scale=True, create_offset=True)
                )
                self._decode = snt.BatchApply(snt.Conv2D(shape[-1], 1, name="decode"))
                self._bias = snt.Bias(bias_dims=[-1])

            def __call__(self, frames):
                x = lib.relu(self._encode(frames))
                state = self._core.initial_state(frames.shape[1])
                x, _ = snt.dynamic_unroll(self._core, x, state)
                return self._bias(self._decode(self._norm(x))) + frames

        self.parts = {"net": Predictor([4, 4, 2])}

    def batch(self, rng: np.random.Generator) -> Batch:
        return {"frames": rng.normal(size=(5, 3, 4, 4, 2)).astype(np.float32)}

    def loss(self, phase: str, batch: Batch) -> Any:
        predicted = self.parts["net"](self.lib.cast(batch["frames"], "float32"))
        return self.lib.mean(self.lib.square(predicted[:-1] - batch["frames"][1:]))


IMAGES = (VqVae, ResidualClassifier, Gan, VideoPrediction)
