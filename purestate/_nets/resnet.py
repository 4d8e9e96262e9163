"""Residual networks for images."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from purestate._core.module import Module
from purestate._layers.batch_norm import BatchNorm
from purestate._layers.conv import Conv2D
from purestate._layers.errors import LayerError, check_bool
from purestate._layers.linear import Linear
from purestate._layers.pool import max_pool
from purestate._nets.resnet_blocks import BlockGroup, BlockV1, BlockV2


def _plain(*blocks_per_group: int) -> dict[str, Any]:
    return {
        "blocks_per_group": blocks_per_group,
        "bottleneck": False,
        "channels_per_group": (64, 128, 256, 512),
        "use_projection": (False, True, True, True),
    }


def _bottlenecks(*blocks_per_group: int) -> dict[str, Any]:
    return {
        "blocks_per_group": blocks_per_group,
        "bottleneck": True,
        "channels_per_group": (256, 512, 1024, 2048),
        "use_projection": (True, True, True, True),
    }


_BATCH_NORM: dict[str, Any] = {
    "decay_rate": 0.9,
    "eps": 1e-5,
    "create_scale": True,
    "create_offset": True,
}
_INITIAL_CONV: dict[str, Any] = {
    "output_channels": 64,
    "kernel_shape": 7,
    "stride": 2,
    "with_bias": False,
    "name": "initial_conv",
}
_LOGITS: dict[str, Any] = {"w_init": jnp.zeros, "name": "logits"}


def _not_four(layer: Module, option: str, values: Sequence[Any]) -> LayerError:
    return LayerError(
        f"ResNet {layer.module_name!r} has four groups of blocks, so {option} needs four values;"
        f" got {len(values)}: {tuple(values)}."
    )


class ResNet(Module):
    """A residual network: a convolution, four groups of blocks, and a linear layer.

    He et al. 2015, arXiv:1512.03385; with `resnet_v2` He et al. 2016, arXiv:1603.05027.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> def f(x):
    ...     return ps.nets.ResNet((1, 1, 1, 1), num_classes=10, bottleneck=False)(x, True)
    >>> f = ps.transform_with_state(f)
    >>> params, state = jax.eval_shape(f.init, jax.random.key(0), jnp.ones([1, 32, 32, 3]))
    >>> params["res_net/~/logits"]["w"].shape
    (2048, 10)

    Args:
      blocks_per_group: the number of blocks of each group.
      num_classes: the number of outputs.
      bn_config: what to give to `BatchNorm`; by default `decay_rate=0.9, eps=1e-5`, with scale and
        offset.
      resnet_v2: whether to normalize before the convolutions, not after them.
      bottleneck: whether blocks have three convolutions, the second with a quarter of the channels;
        otherwise two.
      channels_per_group: the number of channels of each group.
      use_projection: whether the first block of each group has a convolution on its shortcut.
      logits_config: what to give to the last `Linear`; by default `w_init=jnp.zeros,
        name="logits"`.
      name: the name of the module.
      initial_conv_config: what to give to the first `Conv2D`; by default 64 channels, size 7,
        stride 2, no bias.
      strides: the step between outputs of each group.

    Attributes:
      CONFIGS: the arguments for each of the depths 18, 34, 50, 101, 152 and 200.

    Raises:
      LayerError: there is not one value for each of the four groups.
    """

    CONFIGS: ClassVar[dict[int, dict[str, Any]]] = {
        18: _plain(2, 2, 2, 2),
        34: _plain(3, 4, 6, 3),
        50: _bottlenecks(3, 4, 6, 3),
        101: _bottlenecks(3, 4, 23, 3),
        152: _bottlenecks(3, 8, 36, 3),
        200: _bottlenecks(3, 24, 36, 3),
    }

    BlockGroup = BlockGroup
    BlockV1 = BlockV1
    BlockV2 = BlockV2

    def __init__(
        self,
        blocks_per_group: Sequence[int],
        num_classes: int,
        bn_config: Mapping[str, Any] | None = None,
        resnet_v2: bool = False,
        bottleneck: bool = True,
        channels_per_group: Sequence[int] = (256, 512, 1024, 2048),
        use_projection: Sequence[bool] = (True, True, True, True),
        logits_config: Mapping[str, Any] | None = None,
        name: str | None = None,
        initial_conv_config: Mapping[str, Any] | None = None,
        strides: Sequence[int] = (1, 2, 2, 2),
    ):
        super().__init__(name=name)
        if resnet_v2.__class__ is not bool:
            check_bool(self, "resnet_v2", resnet_v2)
        if bottleneck.__class__ is not bool:
            check_bool(self, "bottleneck", bottleneck)
        for option, values in (
            ("blocks_per_group", blocks_per_group),
            ("channels_per_group", channels_per_group),
            ("use_projection", use_projection),
            ("strides", strides),
        ):
            if len(values) != 4:
                raise _not_four(self, option, values)
        self.resnet_v2 = resnet_v2
        bn_config = {**_BATCH_NORM, **(bn_config or {})}
        self.initial_conv = Conv2D(**{**_INITIAL_CONV, **(initial_conv_config or {})})
        if not resnet_v2:
            self.initial_batchnorm = BatchNorm(name="initial_batchnorm", **bn_config)
        self.block_groups = [
            BlockGroup(
                channels_per_group[i],
                blocks_per_group[i],
                strides[i],
                bn_config,
                resnet_v2,
                bottleneck,
                use_projection[i],
                name=f"block_group_{i}",
            )
            for i in range(4)
        ]
        if resnet_v2:
            self.final_batchnorm = BatchNorm(name="final_batchnorm", **bn_config)
        self.logits = Linear(num_classes, **{**_LOGITS, **(logits_config or {})})

    def __call__(
        self, inputs: jax.Array, is_training: bool, test_local_stats: bool = False
    ) -> jax.Array:
        """Returns the logits of each class.

        Args:
          inputs: `[B, H, W, C]`.
          is_training: see `BatchNorm`.
          test_local_stats: see `BatchNorm`.

        Returns:
          `[B, num_classes]`.
        """
        out = self.initial_conv(inputs)
        if not self.resnet_v2:
            out = jax.nn.relu(self.initial_batchnorm(out, is_training, test_local_stats))
        out = max_pool(out, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
        for group in self.block_groups:
            out = group(out, is_training, test_local_stats)
        if self.resnet_v2:
            out = jax.nn.relu(self.final_batchnorm(out, is_training, test_local_stats))
        return self.logits(jnp.mean(out, axis=(1, 2)))


class _ResNetOfDepth(ResNet):
    """A `ResNet` with the arguments of one of `ResNet.CONFIGS`."""

    _depth: ClassVar[int]

    def __init__(
        self,
        num_classes: int,
        bn_config: Mapping[str, Any] | None = None,
        resnet_v2: bool = False,
        logits_config: Mapping[str, Any] | None = None,
        name: str | None = None,
        initial_conv_config: Mapping[str, Any] | None = None,
        strides: Sequence[int] = (1, 2, 2, 2),
    ):
        super().__init__(
            num_classes=num_classes,
            bn_config=bn_config,
            resnet_v2=resnet_v2,
            logits_config=logits_config,
            name=name,
            initial_conv_config=initial_conv_config,
            strides=strides,
            **ResNet.CONFIGS[self._depth],
        )


class ResNet18(_ResNetOfDepth):
    """A `ResNet` of 18 layers.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.nets.ResNet18(1000)(x, True))
    >>> params, _ = jax.eval_shape(f.init, jax.random.key(0), jnp.ones([1, 224, 224, 3]))
    >>> sum(x.size for x in jax.tree.leaves(params))
    11689512

    Args:
      num_classes: see `ResNet`.
      bn_config: see `ResNet`.
      resnet_v2: see `ResNet`.
      logits_config: see `ResNet`.
      name: see `ResNet`.
      initial_conv_config: see `ResNet`.
      strides: see `ResNet`.
    """

    _depth = 18


class ResNet34(_ResNetOfDepth):
    """A `ResNet` of 34 layers.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.nets.ResNet34(1000)(x, True))
    >>> params, _ = jax.eval_shape(f.init, jax.random.key(0), jnp.ones([1, 224, 224, 3]))
    >>> sum(x.size for x in jax.tree.leaves(params))
    21797672

    Args:
      num_classes: see `ResNet`.
      bn_config: see `ResNet`.
      resnet_v2: see `ResNet`.
      logits_config: see `ResNet`.
      name: see `ResNet`.
      initial_conv_config: see `ResNet`.
      strides: see `ResNet`.
    """

    _depth = 34


class ResNet50(_ResNetOfDepth):
    """A `ResNet` of 50 layers.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.nets.ResNet50(1000)(x, True))
    >>> params, _ = jax.eval_shape(f.init, jax.random.key(0), jnp.ones([1, 224, 224, 3]))
    >>> sum(x.size for x in jax.tree.leaves(params))
    25557032

    Args:
      num_classes: see `ResNet`.
      bn_config: see `ResNet`.
      resnet_v2: see `ResNet`.
      logits_config: see `ResNet`.
      name: see `ResNet`.
      initial_conv_config: see `ResNet`.
      strides: see `ResNet`.
    """

    _depth = 50


class ResNet101(_ResNetOfDepth):
    """A `ResNet` of 101 layers.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.nets.ResNet101(1000)(x, True))
    >>> params, _ = jax.eval_shape(f.init, jax.random.key(0), jnp.ones([1, 224, 224, 3]))
    >>> sum(x.size for x in jax.tree.leaves(params))
    44549160

    Args:
      num_classes: see `ResNet`.
      bn_config: see `ResNet`.
      resnet_v2: see `ResNet`.
      logits_config: see `ResNet`.
      name: see `ResNet`.
      initial_conv_config: see `ResNet`.
      strides: see `ResNet`.
    """

    _depth = 101


class ResNet152(_ResNetOfDepth):
    """A `ResNet` of 152 layers.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.nets.ResNet152(1000)(x, True))
    >>> params, _ = jax.eval_shape(f.init, jax.random.key(0), jnp.ones([1, 224, 224, 3]))
    >>> sum(x.size for x in jax.tree.leaves(params))
    60192808

    Args:
      num_classes: see `ResNet`.
      bn_config: see `ResNet`.
      resnet_v2: see `ResNet`.
      logits_config: see `ResNet`.
      name: see `ResNet`.
      initial_conv_config: see `ResNet`.
      strides: see `ResNet`.
    """

    _depth = 152


class ResNet200(_ResNetOfDepth):
    """A `ResNet` of 200 layers.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.nets.ResNet200(1000)(x, True))
    >>> params, _ = jax.eval_shape(f.init, jax.random.key(0), jnp.ones([1, 224, 224, 3]))
    >>> sum(x.size for x in jax.tree.leaves(params))
    64673832

    Args:
      num_classes: see `ResNet`.
      bn_config: see `ResNet`.
      resnet_v2: see `ResNet`.
      logits_config: see `ResNet`.
      name: see `ResNet`.
      initial_conv_config: see `ResNet`.
      strides: see `ResNet`.
    """

    _depth = 200
