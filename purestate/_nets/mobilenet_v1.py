"""Small convolutional networks for images."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.module import Module
from purestate._layers.batch_norm import BatchNorm
from purestate._layers.conv import Conv2D
from purestate._layers.depthwise_conv import DepthwiseConv2D
from purestate._layers.errors import LayerError, check_bool
from purestate._layers.linear import Linear
from purestate._layers.reshape import Flatten

_BN_CONFIG: dict[str, Any] = {"create_scale": True, "create_offset": True, "decay_rate": 0.999}


def _normalized_relu(
    x: jax.Array, is_training: bool, use_bn: bool, bn_config: Mapping[str, Any] | None
) -> jax.Array:
    if use_bn:
        x = BatchNorm(**{**_BN_CONFIG, **(bn_config or {})})(x, is_training)
    return jax.nn.relu(x)


def _check_bn_config(layer: Module, use_bn: bool, bn_config: Mapping[str, Any] | None) -> None:
    if bn_config is not None and not use_bn:
        raise LayerError(
            f"{type(layer).__name__} {layer.module_name!r}: bn_config is given, but use_bn=False"
            " makes no BatchNorm."
        )


class MobileNetV1Block(Module):
    """A convolution of each channel by itself, and one of each pixel by itself.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.nets.MobileNetV1((2,), (8,), 10)(x, True))
    >>> params, state = f.init(jax.random.key(0), jnp.ones([1, 9, 9, 3]))
    >>> [name for name in params if "block" in name and "norm" not in name]
    ['mobile_net_v1/mobile_net_v1_block/depthwise_conv',
    'mobile_net_v1/mobile_net_v1_block/pointwise_conv']

    Args:
      channels: the number of output channels.
      stride: the step between outputs.
      use_bn: whether to normalize after both; without, they have biases.
      name: the name of the module.
      bn_config: what to give to `BatchNorm`; by default `decay_rate=0.999`, with scale and offset.

    Raises:
      LayerError: `bn_config` is given although `use_bn` is False.
    """

    def __init__(
        self,
        channels: int,
        stride: int,
        use_bn: bool = True,
        name: str | None = None,
        *,
        bn_config: Mapping[str, Any] | None = None,
    ):
        super().__init__(name=name)
        if use_bn.__class__ is not bool:
            check_bool(self, "use_bn", use_bn)
        _check_bn_config(self, use_bn, bn_config)
        self.bn_config = bn_config
        self.channels = channels
        self.stride = stride
        self.use_bn = use_bn
        self.with_bias = not use_bn

    def __call__(self, inputs: jax.Array, is_training: bool) -> jax.Array:
        """Returns the output of the block.

        Args:
          inputs: `[B, H, W, C]`.
          is_training: see `BatchNorm`.

        Returns:
          `[B, H / stride, W / stride, channels]`.
        """
        depthwise = DepthwiseConv2D(
            1,
            3,
            self.stride,
            padding=((1, 1), (1, 1)),
            with_bias=self.with_bias,
            name="depthwise_conv",
        )
        pointwise = Conv2D(
            self.channels, 1, padding="VALID", with_bias=self.with_bias, name="pointwise_conv"
        )
        out = _normalized_relu(depthwise(inputs), is_training, self.use_bn, self.bn_config)
        return _normalized_relu(pointwise(out), is_training, self.use_bn, self.bn_config)


class MobileNetV1(Module):
    """A network of depthwise separable convolutions; Howard et al. 2017, arXiv:1704.04861.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.nets.MobileNetV1()(x, True))
    >>> params, state = jax.eval_shape(f.init, jax.random.key(0), jnp.ones([1, 224, 224, 3]))
    >>> sum(x.size for x in jax.tree.leaves(params))
    4231976

    Args:
      strides: the step between outputs of each block.
      channels: the number of output channels of each block.
      num_classes: the number of outputs.
      use_bn: whether to normalize; without, the convolutions have biases.
      name: the name of the module.
      bn_config: what to give to `BatchNorm`; by default `decay_rate=0.999`, with scale and offset.

    Raises:
      LayerError: there are not as many strides as channels, or `bn_config` is given although
        `use_bn` is False.
    """

    def __init__(
        self,
        strides: Sequence[int] = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1),
        channels: Sequence[int] = (
            64,
            128,
            128,
            256,
            256,
            512,
            512,
            512,
            512,
            512,
            512,
            1024,
            1024,
        ),
        num_classes: int = 1000,
        use_bn: bool = True,
        name: str | None = None,
        *,
        bn_config: Mapping[str, Any] | None = None,
    ):
        super().__init__(name=name)
        if use_bn.__class__ is not bool:
            check_bool(self, "use_bn", use_bn)
        _check_bn_config(self, use_bn, bn_config)
        self.bn_config = bn_config
        if len(strides) != len(channels):
            raise LayerError(
                f"MobileNetV1 {self.module_name!r} has a block for each of {len(strides)} strides"
                f" and {len(channels)} channels; give as many of both."
            )
        self.strides = strides
        self.channels = channels
        self.use_bn = use_bn
        self.with_bias = not use_bn
        self.num_classes = num_classes

    def __call__(self, inputs: jax.Array, is_training: bool) -> jax.Array:
        """Returns the logits of each class.

        Args:
          inputs: `[B, H, W, C]`.
          is_training: see `BatchNorm`.

        Returns:
          `[B, num_classes]`.
        """
        out = Conv2D(32, 3, stride=2, padding="VALID", with_bias=self.with_bias)(inputs)
        out = _normalized_relu(out, is_training, self.use_bn, self.bn_config)
        options: dict[str, Any] = {} if self.bn_config is None else {"bn_config": self.bn_config}
        for channels, stride in zip(self.channels, self.strides, strict=True):
            out = MobileNetV1Block(channels, stride, self.use_bn, **options)(out, is_training)
        out = Flatten()(jnp.mean(out, axis=(1, 2)))
        return Linear(self.num_classes, name="logits")(out)
