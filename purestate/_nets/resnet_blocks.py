"""The blocks of residual networks."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from purestate._core.module import Module
from purestate._layers.batch_norm import BatchNorm
from purestate._layers.conv import Conv2D
from purestate._layers.errors import check_bool


def _convs(channels: int, stride: int | Sequence[int], bottleneck: bool) -> list[Conv2D]:
    """The convolutions on the residual branch of a block."""
    if bottleneck:
        sizes = [(channels // 4, 1, 1), (channels // 4, 3, stride), (channels, 1, 1)]
    else:
        sizes = [(channels, 3, stride), (channels, 3, 1)]
    return [
        Conv2D(width, kernel, step, with_bias=False, name=f"conv_{i}")
        for i, (width, kernel, step) in enumerate(sizes)
    ]


def _shortcut_conv(channels: int, stride: int | Sequence[int]) -> Conv2D:
    return Conv2D(channels, 1, stride, with_bias=False, name="shortcut_conv")


class BlockV1(Module):
    """A residual block that normalizes after each convolution; He et al. 2015, arXiv:1512.03385.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     block = ps.nets.ResNet.BlockV1(8, 2, True, bn_config={}, bottleneck=False)
    ...     return block(x, True, False)
    >>> f = ps.transform_with_state(f)
    >>> x = jnp.ones([1, 4, 4, 3])
    >>> f.apply(*f.init(jax.random.key(0), x), None, x)[0].shape
    (1, 2, 2, 8)

    Args:
      channels: the number of output channels.
      stride: the step between outputs.
      use_projection: whether the shortcut has a convolution; it needs one where the shape changes.
      bn_config: what to give to `BatchNorm`.
      bottleneck: whether the convolution of size 3 has a quarter of the channels.
      name: the name of the module.
    """

    def __init__(
        self,
        channels: int,
        stride: int | Sequence[int],
        use_projection: bool,
        bn_config: Mapping[str, Any],
        bottleneck: bool,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if use_projection.__class__ is not bool:
            check_bool(self, "use_projection", use_projection)
        if bottleneck.__class__ is not bool:
            check_bool(self, "bottleneck", bottleneck)
        self.use_projection = use_projection
        bn_config = {"create_scale": True, "create_offset": True, "decay_rate": 0.999, **bn_config}
        if use_projection:
            self.proj_conv = _shortcut_conv(channels, stride)
            self.proj_batchnorm = BatchNorm(name="shortcut_batchnorm", **bn_config)
        convs = _convs(channels, stride, bottleneck)
        # The third scale begins at zero, so that the block begins as its shortcut (Goyal et al.
        # 2017, arXiv:1706.02677, section 5.1). Two-convolution blocks do not, as in dm-haiku.
        configs = [bn_config, bn_config, {"scale_init": jnp.zeros, **bn_config}]
        self.layers = tuple(
            (conv, BatchNorm(name=f"batchnorm_{i}", **configs[i])) for i, conv in enumerate(convs)
        )

    def __call__(self, inputs: jax.Array, is_training: bool, test_local_stats: bool) -> jax.Array:
        """Returns the output of the block.

        Args:
          inputs: `[B, H, W, C]`.
          is_training: see `BatchNorm`.
          test_local_stats: see `BatchNorm`.

        Returns:
          `[B, H / stride, W / stride, channels]`.
        """
        out = shortcut = inputs
        if self.use_projection:
            shortcut = self.proj_batchnorm(self.proj_conv(inputs), is_training, test_local_stats)
        last = len(self.layers) - 1
        for i, (conv, batchnorm) in enumerate(self.layers):
            out = batchnorm(conv(out), is_training, test_local_stats)
            if i < last:
                out = jax.nn.relu(out)
        return jax.nn.relu(out + shortcut)


class BlockV2(Module):
    """A residual block that normalizes before each convolution; He et al. 2016, arXiv:1603.05027.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     config = {"decay_rate": 0.9}
    ...     block = ps.nets.ResNet.BlockV2(8, 2, True, bn_config=config, bottleneck=False)
    ...     return block(x, True, False)
    >>> f = ps.transform_with_state(f)
    >>> x = jnp.ones([1, 4, 4, 3])
    >>> f.apply(*f.init(jax.random.key(0), x), None, x)[0].shape
    (1, 2, 2, 8)

    Args:
      channels: the number of output channels.
      stride: the step between outputs.
      use_projection: whether the shortcut has a convolution; it needs one where the shape changes.
      bn_config: what to give to `BatchNorm`; `decay_rate` must be among it.
      bottleneck: whether the convolution of size 3 has a quarter of the channels.
      name: the name of the module.
    """

    def __init__(
        self,
        channels: int,
        stride: int | Sequence[int],
        use_projection: bool,
        bn_config: Mapping[str, Any],
        bottleneck: bool,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if use_projection.__class__ is not bool:
            check_bool(self, "use_projection", use_projection)
        if bottleneck.__class__ is not bool:
            check_bool(self, "bottleneck", bottleneck)
        self.use_projection = use_projection
        bn_config = {"create_scale": True, "create_offset": True, **bn_config}
        if use_projection:
            self.proj_conv = _shortcut_conv(channels, stride)
        convs = _convs(channels, stride, bottleneck)
        self.layers = tuple(
            (conv, BatchNorm(name=f"batchnorm_{i}", **bn_config)) for i, conv in enumerate(convs)
        )

    def __call__(self, inputs: jax.Array, is_training: bool, test_local_stats: bool) -> jax.Array:
        """Returns the output of the block.

        Args:
          inputs: `[B, H, W, C]`.
          is_training: see `BatchNorm`.
          test_local_stats: see `BatchNorm`.

        Returns:
          `[B, H / stride, W / stride, channels]`.
        """
        out = shortcut = inputs
        for i, (conv, batchnorm) in enumerate(self.layers):
            out = jax.nn.relu(batchnorm(out, is_training, test_local_stats))
            if i == 0 and self.use_projection:
                shortcut = self.proj_conv(out)
            out = conv(out)
        return out + shortcut


class BlockGroup(Module):
    """Residual blocks one after the other; the first takes the stride and the projection.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     group = ps.nets.ResNet.BlockGroup(
    ...         8, 2, stride=2, bn_config={}, resnet_v2=False, bottleneck=False, use_projection=True
    ...     )
    ...     return group(x, True, False)
    >>> f = ps.transform_with_state(f)
    >>> x = jnp.ones([1, 4, 4, 3])
    >>> f.apply(*f.init(jax.random.key(0), x), None, x)[0].shape
    (1, 2, 2, 8)

    Args:
      channels: the number of output channels.
      num_blocks: the number of blocks.
      stride: the step between outputs.
      bn_config: what to give to `BatchNorm`.
      resnet_v2: whether the blocks are `BlockV2`.
      bottleneck: see `BlockV1`.
      use_projection: whether the first block has a projection.
      name: the name of the module.
    """

    def __init__(
        self,
        channels: int,
        num_blocks: int,
        stride: int | Sequence[int],
        bn_config: Mapping[str, Any],
        resnet_v2: bool,
        bottleneck: bool,
        use_projection: bool,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if resnet_v2.__class__ is not bool:
            check_bool(self, "resnet_v2", resnet_v2)
        if bottleneck.__class__ is not bool:
            check_bool(self, "bottleneck", bottleneck)
        if use_projection.__class__ is not bool:
            check_bool(self, "use_projection", use_projection)
        block = BlockV2 if resnet_v2 else BlockV1
        self.blocks = [
            block(
                channels,
                1 if i else stride,
                not i and use_projection,
                bn_config,
                bottleneck,
                name=f"block_{i}",
            )
            for i in range(num_blocks)
        ]

    def __call__(self, inputs: jax.Array, is_training: bool, test_local_stats: bool) -> jax.Array:
        """Returns the output of the last block.

        Args:
          inputs: `[B, H, W, C]`.
          is_training: see `BatchNorm`.
          test_local_stats: see `BatchNorm`.

        Returns:
          `[B, H / stride, W / stride, channels]`.
        """
        out = inputs
        for block in self.blocks:
            out = block(out, is_training, test_local_stats)
        return out
