"""`Cifar10ConvNet`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._sonnet.batch_norm import BatchNorm
from purestate._sonnet.checks import as_array
from purestate._sonnet.conv import Conv2D
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.initializers import Initializer
from purestate._sonnet.linear import Linear
from purestate._sonnet.module import Module


class Cifar10ConvNet(Module):
    """A convolutional network for images of 32 by 32 pixels.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def forward(x):
    ...     net = snt.nets.Cifar10ConvNet(output_channels=[4, 8], strides=[1, 2])
    ...     return net(x, is_training=True)["logits"]
    >>> f = ps.transform_with_state(forward)
    >>> x = jnp.ones([2, 8, 8, 3])
    >>> f.apply(*f.init(jax.random.key(0), x), None, x)[0].shape
    (2, 10)

    Args:
      num_classes: the number of classes.
      w_init: the initializer of each `w`.
      b_init: the initializer of each `b`.
      data_format: the position of the channels.
      output_channels: the channels of each convolution.
      strides: the stride of each convolution.
      name: the name of the module.

    Raises:
      SonnetValueError: `output_channels` and `strides` have different lengths.
    """

    def __init__(
        self,
        num_classes: int = 10,
        w_init: Initializer | None = None,
        b_init: Initializer | None = None,
        data_format: str = "NHWC",
        output_channels: Sequence[int] = (64, 64, 128, 128, 128, 256, 256, 256, 512, 512, 512),
        strides: Sequence[int] = (1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1),
        name: str | None = None,
    ):
        super().__init__(name=name)
        if len(strides) != len(output_channels):
            raise SonnetValueError(
                f"Cifar10ConvNet {self.module_name!r} needs a stride for each convolution; got"
                f" {len(output_channels)} output_channels and {len(strides)} strides."
            )
        self._num_classes = num_classes
        self._data_format = data_format
        self._output_channels = output_channels
        self._strides = strides
        self._num_layers = len(output_channels)
        self._conv_modules = [
            Conv2D(
                channels,
                (3, 3),
                stride,
                w_init=w_init,
                b_init=b_init,
                data_format=data_format,
                name=f"conv_2d_{index}",
            )
            for index, (channels, stride) in enumerate(zip(output_channels, strides, strict=True))
        ]
        self._bn_modules = [
            BatchNorm(
                create_scale=False,
                create_offset=True,
                decay_rate=0.999,
                data_format=data_format,
                name=f"batch_norm_{index}",
            )
            for index in range(self._num_layers)
        ]
        self._logits_module = Linear(num_classes, w_init=w_init, b_init=b_init, name="logits")

    def __call__(
        self, inputs: jax.Array, is_training: bool, test_local_stats: bool = True
    ) -> dict[str, Any]:
        """Returns logits and activations.

        Args:
          inputs: `[N, H, W, C]`, or as `data_format` says.
          is_training: whether to update the running statistics.
          test_local_stats: whether to use the statistics of the batch without training.

        Returns:
          `{"logits": [N, num_classes], "activations": the output of each layer}`.
        """
        activations: list[jax.Array] = []
        net = as_array(inputs)
        for conv, norm in zip(self._conv_modules, self._bn_modules, strict=True):
            net = norm(conv(net), is_training=is_training, test_local_stats=test_local_stats)
            net = jax.nn.relu(net)
            activations.append(net)
        flat = jnp.mean(net, axis=(1, 2))  # these axes for every data_format, as in Sonnet
        activations.append(flat)
        return {"logits": self._logits_module(flat), "activations": activations}
