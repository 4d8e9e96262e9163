"""`ResNet`, `ResNet50` and their blocks."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._layers.pool import max_pool
from purestate._sonnet import pad
from purestate._sonnet.batch_norm import BatchNorm
from purestate._sonnet.checks import as_array
from purestate._sonnet.conv import Conv2D
from purestate._sonnet.errors import SonnetValueError
from purestate._sonnet.initializers import Zeros
from purestate._sonnet.linear import Linear
from purestate._sonnet.module import Module

BNConfig = Mapping[str, Any]


def _conv(channels: int, kernel: int, stride: int | Sequence[int], name: str) -> Conv2D:
    return Conv2D(channels, kernel, stride, padding=pad.same, with_bias=False, name=name)


def _batch_norm(config: BNConfig, name: str, **options: Any) -> BatchNorm:
    return BatchNorm(
        **{"create_scale": True, "create_offset": True, **config}, name=name, **options
    )


class BottleNeckBlockV1(Module):
    """A bottleneck block: convolutions of size 1, 3 and 1, added to the input.

    He et al. 2016, arXiv:1512.03385, figure 5.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def forward(x):
    ...     return snt.nets.resnet.BottleNeckBlockV1(16, 2, True, {})(x, is_training=True)
    >>> f = ps.transform_with_state(forward)
    >>> x = jnp.ones([1, 8, 8, 4])
    >>> f.apply(*f.init(jax.random.key(0), x), None, x)[0].shape
    (1, 4, 4, 16)

    Args:
      channels: the number of output channels.
      stride: the stride.
      use_projection: whether a convolution brings the input to the shape of the output.
      bn_config: options of the `BatchNorm`s.
      name: the name of the module.
    """

    def __init__(
        self,
        channels: int,
        stride: int | Sequence[int],
        use_projection: bool,
        bn_config: BNConfig,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self._channels = channels
        self._stride = stride
        self._use_projection = use_projection
        self._bn_config = bn_config
        if use_projection:
            self._proj_conv = _conv(channels, 1, stride, "shortcut_conv")
            self._proj_batchnorm = _batch_norm(bn_config, "shortcut_batchnorm")
        narrow = channels // 4
        self._layers = [
            (_conv(narrow, 1, 1, "conv_0"), _batch_norm(bn_config, "batchnorm_0")),
            (_conv(narrow, 3, stride, "conv_1"), _batch_norm(bn_config, "batchnorm_1")),
            (
                _conv(channels, 1, 1, "conv_2"),
                _batch_norm(bn_config, "batchnorm_2", scale_init=Zeros()),
            ),
        ]

    def __call__(self, inputs: jax.Array, is_training: bool) -> jax.Array:
        """Applies the block.

        Args:
          inputs: `[N, H, W, C]`.
          is_training: see `BatchNorm`.

        Returns:
          `[N, H / stride, W / stride, channels]`.
        """
        shortcut = inputs = as_array(inputs)
        if self._use_projection:
            shortcut = self._proj_batchnorm(self._proj_conv(inputs), is_training=is_training)
        net = inputs
        for conv, norm in self._layers:
            net = norm(conv(net), is_training=is_training)
            if conv is not self._layers[-1][0]:
                net = jax.nn.relu(net)
        return jax.nn.relu(net + shortcut)


class BottleNeckBlockV2(Module):
    """A bottleneck block that normalizes before each convolution.

    He et al. 2016, arXiv:1603.05027, figure 4e.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def forward(x):
    ...     return snt.nets.resnet.BottleNeckBlockV2(16, 2, True, {})(x, is_training=True)
    >>> f = ps.transform_with_state(forward)
    >>> x = jnp.ones([1, 8, 8, 4])
    >>> f.apply(*f.init(jax.random.key(0), x), None, x)[0].shape
    (1, 4, 4, 16)

    Args:
      channels: the number of output channels.
      stride: the stride.
      use_projection: whether a convolution brings the input to the shape of the output.
      bn_config: options of the `BatchNorm`s.
      name: the name of the module.
    """

    def __init__(
        self,
        channels: int,
        stride: int | Sequence[int],
        use_projection: bool,
        bn_config: BNConfig,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self._channels = channels
        self._stride = stride
        self._use_projection = use_projection
        self._bn_config = bn_config
        if use_projection:
            self._proj_conv = _conv(channels, 1, stride, "shortcut_conv")
        narrow = channels // 4
        self._conv_0 = _conv(narrow, 1, 1, "conv_0")
        self._bn_0 = _batch_norm(bn_config, "batchnorm_0")
        self._conv_1 = _conv(narrow, 3, stride, "conv_1")
        self._bn_1 = _batch_norm(bn_config, "batchnorm_1")
        self._conv_2 = _conv(channels, 1, 1, "conv_2")
        self._bn_2 = _batch_norm(bn_config, "batchnorm_2")

    def __call__(self, inputs: jax.Array, is_training: bool) -> jax.Array:
        """Applies the block; see `BottleNeckBlockV1.__call__`.

        Args:
          inputs: `[N, H, W, C]`.
          is_training: see `BatchNorm`.

        Returns:
          `[N, H / stride, W / stride, channels]`.
        """
        net = shortcut = as_array(inputs)
        for conv, norm in (
            (self._conv_0, self._bn_0),
            (self._conv_1, self._bn_1),
            (self._conv_2, self._bn_2),
        ):
            net = jax.nn.relu(norm(net, is_training=is_training))
            if conv is self._conv_0 and self._use_projection:
                shortcut = self._proj_conv(net)
            net = conv(net)
        return net + shortcut


class BlockGroup(Module):
    """Several bottleneck blocks, the first of which changes the shape.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def forward(x):
    ...     return snt.nets.resnet.BlockGroup(16, 2, 2, {})(x, is_training=True)
    >>> f = ps.transform_with_state(forward)
    >>> x = jnp.ones([1, 8, 8, 4])
    >>> f.apply(*f.init(jax.random.key(0), x), None, x)[0].shape
    (1, 4, 4, 16)

    Args:
      channels: the number of output channels.
      num_blocks: the number of blocks.
      stride: the stride of the first block.
      bn_config: options of the `BatchNorm`s.
      resnet_v2: whether the blocks are `BottleNeckBlockV2`s.
      name: the name of the module.
    """

    def __init__(
        self,
        channels: int,
        num_blocks: int,
        stride: int | Sequence[int],
        bn_config: BNConfig,
        resnet_v2: bool = False,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self._channels = channels
        self._num_blocks = num_blocks
        self._stride = stride
        self._bn_config = bn_config
        block = BottleNeckBlockV2 if resnet_v2 else BottleNeckBlockV1
        self._blocks = [
            block(channels, 1 if index else stride, index == 0, bn_config, name=f"block_{index}")
            for index in range(num_blocks)
        ]

    def __call__(self, inputs: jax.Array, is_training: bool) -> jax.Array:
        """Applies the blocks.

        Args:
          inputs: `[N, H, W, C]`.
          is_training: see `BatchNorm`.

        Returns:
          `[N, H / stride, W / stride, channels]`.
        """
        net = inputs
        for block in self._blocks:
            net = block(net, is_training=is_training)
        return net


class ResNet(Module):
    """A residual network of bottleneck blocks.

    He et al. 2016, arXiv:1512.03385, table 1.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def forward(x):
    ...     net = snt.nets.ResNet([1, 1, 1, 1], 10, channels_per_group_list=(16, 16, 16, 16))
    ...     return net(x, is_training=True)
    >>> f = ps.transform_with_state(forward)
    >>> x = jnp.ones([1, 32, 32, 3])
    >>> f.apply(*f.init(jax.random.key(0), x), None, x)[0].shape
    (1, 10)

    Args:
      blocks_per_group_list: the number of blocks in each of the four groups.
      num_classes: the number of classes.
      bn_config: options of the `BatchNorm`s; None for a decay of 0.9 and eps of 1e-5.
      resnet_v2: whether blocks normalize before their convolutions (arXiv:1603.05027).
      channels_per_group_list: the channels of each of the four groups.
      name: the name of the module.

    Raises:
      SonnetValueError: there are not four groups.
    """

    def __init__(
        self,
        blocks_per_group_list: Sequence[int],
        num_classes: int,
        bn_config: BNConfig | None = None,
        resnet_v2: bool = False,
        channels_per_group_list: Sequence[int] = (256, 512, 1024, 2048),
        name: str | None = None,
    ):
        super().__init__(name=name)
        for option, values in (
            ("blocks_per_group_list", blocks_per_group_list),
            ("channels_per_group_list", channels_per_group_list),
        ):
            if len(values) != 4:
                raise SonnetValueError(
                    f"ResNet {self.module_name!r} has four groups, so {option} needs four numbers;"
                    f" got {list(values)}."
                )
        config = {"decay_rate": 0.9, "eps": 1e-5} if bn_config is None else bn_config
        self._bn_config = config
        self._resnet_v2 = resnet_v2
        self._blocks_per_group_list = blocks_per_group_list
        self._channels_per_group_list = channels_per_group_list
        self._initial_conv = _conv(64, 7, 2, "initial_conv")
        if not resnet_v2:
            self._initial_batchnorm = _batch_norm(config, "initial_batchnorm")
        groups = zip(channels_per_group_list, blocks_per_group_list, (1, 2, 2, 2), strict=True)
        self._block_groups = [
            BlockGroup(channels, blocks, stride, config, resnet_v2, name=f"block_group_{index}")
            for index, (channels, blocks, stride) in enumerate(groups)
        ]
        if resnet_v2:
            self._final_batchnorm = _batch_norm(config, "final_batchnorm")
        self._logits = Linear(num_classes, w_init=Zeros(), name="logits")

    def __call__(self, inputs: jax.Array, is_training: bool) -> jax.Array:
        """Returns logits.

        Args:
          inputs: `[N, H, W, C]`.
          is_training: see `BatchNorm`.

        Returns:
          `[N, num_classes]`.
        """
        net = self._initial_conv(as_array(inputs))
        if not self._resnet_v2:
            net = jax.nn.relu(self._initial_batchnorm(net, is_training=is_training))
        net = max_pool(net, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
        for group in self._block_groups:
            net = group(net, is_training)
        if self._resnet_v2:
            net = jax.nn.relu(self._final_batchnorm(net, is_training=is_training))
        return self._logits(jnp.mean(net, axis=(1, 2)))


class ResNet50(ResNet):
    """A `ResNet` with 3, 4, 6 and 3 blocks.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.nets.ResNet50(1000)(x, is_training=True))
    >>> shapes = jax.eval_shape(f.init, jax.random.key(0), jnp.ones([1, 64, 64, 3]))
    >>> sum(x.size for x in jax.tree.leaves(shapes[0]))
    25557032

    Args:
      num_classes: the number of classes.
      bn_config: options of the `BatchNorm`s; see `ResNet`.
      resnet_v2: whether blocks normalize before their convolutions.
      name: the name of the module.
    """

    def __init__(
        self,
        num_classes: int,
        bn_config: BNConfig | None = None,
        resnet_v2: bool = False,
        name: str | None = None,
    ):
        super().__init__([3, 4, 6, 3], num_classes, bn_config, resnet_v2, name=name)
