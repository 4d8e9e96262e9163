"""`BaseBatchNorm`, `BatchNorm` and `CrossReplicaBatchNorm`."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from purestate._core.trace_guard import device_axes, is_traced, is_tracked, varying_axes
from purestate._layers.replicas import over_replicas
from purestate._lifted.conditionals import cond
from purestate._sonnet.axis_norm import moments, normalize, parameter_shape
from purestate._sonnet.checks import (
    as_array,
    channel_index,
    check_floats,
    check_scale_and_offset,
    check_scale_and_offset_init,
)
from purestate._sonnet.initializers import Initializer, Ones, Zeros
from purestate._sonnet.metrics import Metric
from purestate._sonnet.module import Module
from purestate._sonnet.moving_averages import ExponentialMovingAverage
from purestate._sonnet.once import once
from purestate._sonnet.variable import Variable


class BaseBatchNorm(Module):
    """Normalizes over the batch, with running statistics of the caller's choice.

    Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1.

    For `[N, H, W, C]` Sonnet uses TensorFlow's fused operation. It normalizes with the variance of
    the batch, and stores `N H W / (N H W - 1)` of it; other inputs store the variance itself. Both
    are as in Sonnet here. The gradient does not flow through the running statistics.

    Args:
      create_scale: whether the factor for each channel is a parameter; if not, it is state.
      create_offset: whether the offset for each channel is a parameter; if not, it is state.
      moving_mean: the running mean, a `Metric`.
      moving_variance: the running variance, a `Metric`.
      eps: added to the variance.
      scale_init: the initializer of the factor; None for ones.
      offset_init: the initializer of the offset; None for zeros.
      data_format: the position of the channels, "channels_last", "channels_first" or such as
        "NHWC".
      name: the name of the module.

    Attributes:
      scale: the factor, after the first call.
      offset: the offset.
      moving_mean: the running mean.
      moving_variance: the running variance.

    Raises:
      SonnetValueError: an initializer for something that is not created.
    """

    scale: Variable
    offset: Variable

    def __init__(
        self,
        create_scale: bool,
        create_offset: bool,
        moving_mean: Metric,
        moving_variance: Metric,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        data_format: str = "channels_last",
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.moving_mean = moving_mean
        self.moving_variance = moving_variance
        self._set_options(create_scale, create_offset, eps, scale_init, offset_init, data_format)

    def _set_options(
        self,
        create_scale: bool,
        create_offset: bool,
        eps: float,
        scale_init: Initializer | None,
        offset_init: Initializer | None,
        data_format: str,
    ) -> None:
        check_scale_and_offset_init(self, create_scale, create_offset, scale_init, offset_init)
        self._eps = eps
        self._data_format = data_format
        self._channel_index = channel_index(data_format)
        self._create_scale = create_scale
        self._create_offset = create_offset
        self._scale_init = scale_init or Ones()
        self._offset_init = offset_init or Zeros()

    @once
    def _initialize(self, inputs: jax.Array) -> None:
        rank = inputs.ndim
        # Only this layout is normalized by the fused operation.
        self._fused = rank == 4 and self._channel_index == -1
        channels = self._channel_index % rank
        self._axis = tuple(axis for axis in range(rank) if axis != channels)
        statistics = tuple(inputs.shape[a] if a == channels else 1 for a in range(rank))
        self.moving_mean.initialize(jnp.zeros(statistics, inputs.dtype))
        self.moving_variance.initialize(jnp.zeros(statistics, inputs.dtype))
        shape, dtype = parameter_shape(inputs, self._channel_index), inputs.dtype
        self.scale = Variable.create("scale", shape, dtype, self._scale_init, self._create_scale)
        self.offset = Variable.create(
            "offset", shape, dtype, self._offset_init, self._create_offset
        )

    def __call__(
        self,
        inputs: jax.Array,
        is_training: bool,
        test_local_stats: bool = False,
        scale: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> jax.Array:
        """Normalizes an input.

        Args:
          inputs: `[B, ..., C]`, or as `data_format` says.
          is_training: whether to use the statistics of the batch, and to update the running ones.
            An array that JAX traces works as well.
          test_local_stats: whether to use the statistics of the batch without training.
          scale: a factor, if `create_scale` is False.
          offset: an offset, if `create_offset` is False.

        Returns:
          An array of the same shape.

        Raises:
          SonnetValueError: there are two scales or offsets, or the input is not of floats.
        """
        check_scale_and_offset(self, self._create_scale, self._create_offset, scale, offset)
        inputs = as_array(inputs)
        check_floats(self, inputs)
        self._initialize(inputs)
        factor = as_array(self.scale if scale is None else scale)
        shift = as_array(self.offset if offset is None else offset)

        def run(is_training: bool, test_local_stats: bool) -> jax.Array:
            return self._in_mode(inputs, is_training, test_local_stats, factor, shift)

        def test(_: object) -> jax.Array:
            if not is_traced(test_local_stats):
                return run(False, bool(test_local_stats))
            return cond(
                test_local_stats, lambda _: run(False, True), lambda _: run(False, False), 0
            )

        if is_traced(is_training):
            return cond(is_training, lambda _: run(True, False), test, 0)
        return run(True, False) if is_training else test(0)

    def _in_mode(
        self,
        inputs: jax.Array,
        is_training: bool,
        test_local_stats: bool,
        factor: jax.Array,
        shift: jax.Array,
    ) -> jax.Array:
        mean, variance = self._moments(inputs, is_training or test_local_stats)
        out = normalize(inputs, factor, shift, None, mean, variance, eps=self._eps)
        if is_training:
            self._update_statistics(mean, self._stored_variance(inputs, variance))
        return out

    def _moments(self, inputs: jax.Array, use_batch_stats: bool) -> tuple[jax.Array, jax.Array]:
        if use_batch_stats:
            return moments(inputs, self._axis)
        return as_array(self.moving_mean.value), as_array(self.moving_variance.value)

    def _stored_variance(self, inputs: jax.Array, variance: jax.Array) -> jax.Array:
        if not self._fused:
            return variance
        count = math.prod(inputs.shape[axis] for axis in self._axis)
        return variance * (count / max(count - 1, 1))

    def _update_statistics(self, mean: jax.Array, variance: jax.Array) -> None:
        self.moving_mean.update(lax.stop_gradient(mean))
        self.moving_variance.update(lax.stop_gradient(variance))


class BatchNorm(BaseBatchNorm):
    """Normalizes over the batch, with moving averages as running statistics.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> f = ps.transform_with_state(lambda x: snt.BatchNorm(True, True)(x, is_training=True))
    >>> params, state = f.init(None, jnp.ones([4, 3]))
    >>> jax.tree.map(jnp.shape, params)
    {'batch_norm': {'offset': (3,), 'scale': (3,)}}
    >>> sorted(state), sorted(state["batch_norm/moving_mean"])
    (['batch_norm/moving_mean', 'batch_norm/moving_variance'], ['average', 'counter', 'hidden'])

    Args:
      create_scale: see `BaseBatchNorm`, as the others.
      create_offset: whether the offset is a parameter.
      decay_rate: how much of the old statistics an update keeps.
      eps: added to the variance.
      scale_init: the initializer of the factor.
      offset_init: the initializer of the offset.
      data_format: the position of the channels.
      name: the name of the module.
    """

    def __init__(
        self,
        create_scale: bool,
        create_offset: bool,
        decay_rate: float = 0.999,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        data_format: str = "channels_last",
        name: str | None = None,
    ):
        # Named first, since the paths of the two below begin with this one.
        Module.__init__(self, name=name)
        self.moving_mean = ExponentialMovingAverage(decay_rate, name="moving_mean")
        self.moving_variance = ExponentialMovingAverage(decay_rate, name="moving_variance")
        self._set_options(create_scale, create_offset, eps, scale_init, offset_init, data_format)


class CrossReplicaBatchNorm(BaseBatchNorm):
    """A `BaseBatchNorm` with the statistics of all devices of a mesh axis.

    Use it inside `jax.shard_map`, or `jax.pmap` and `jax.vmap` with a named axis. Under plain
    `jax.jit` the batch is one array, however it is sharded, and `BatchNorm` is right.

    >>> import jax, jax.numpy as jnp, purestate as ps, purestate.sonnet as snt
    >>> def forward(x):
    ...     mean, variance = (snt.ExponentialMovingAverage(0.9) for _ in range(2))
    ...     norm = snt.distribute.CrossReplicaBatchNorm(
    ...         True, True, mean, variance, cross_replica_axis="replica"
    ...     )
    ...     return norm(x, is_training=True)
    >>> f = ps.transform_with_state(forward)
    >>> x = jnp.arange(8.0).reshape(4, 2, 1)
    >>> variables = jax.vmap(f.init, (None, 0), None, axis_name="replica")(None, x)
    >>> out, _ = jax.vmap(f.apply, (None, None, None, 0), axis_name="replica")(*variables, None, x)
    >>> bool(abs(out.mean()) < 1e-5)
    True

    Args:
      create_scale: see `BaseBatchNorm`, as the others.
      create_offset: whether the offset is a parameter.
      moving_mean: the running mean.
      moving_variance: the running variance.
      eps: added to the variance.
      scale_init: the initializer of the factor.
      offset_init: the initializer of the offset.
      data_format: the position of the channels.
      name: the name of the module.
      cross_replica_axis: the axis, or axes, to take statistics over; None for all mesh axes along
        which the inputs differ. Not in Sonnet, whose strategy knows it.
    """

    def __init__(
        self,
        create_scale: bool,
        create_offset: bool,
        moving_mean: Metric,
        moving_variance: Metric,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        data_format: str = "channels_last",
        name: str | None = None,
        *,
        cross_replica_axis: Any = None,
    ):
        super().__init__(
            create_scale, create_offset, moving_mean, moving_variance, eps,
            scale_init, offset_init, data_format, name,
        )  # fmt: skip
        self._cross_replica_axis = cross_replica_axis

    def _moments(self, inputs: jax.Array, use_batch_stats: bool) -> tuple[jax.Array, jax.Array]:
        if not use_batch_stats:
            return super()._moments(inputs, use_batch_stats)
        axes = self._cross_replica_axis
        if axes is None:
            differ = varying_axes(inputs)
            # Without `check_vma` nobody knows along which axes they differ, so it takes all.
            axes = tuple(a for a in device_axes() if a in differ or not is_tracked(a))
        mean = jnp.mean(inputs, self._axis, keepdims=True)
        squares = jnp.mean(jnp.square(inputs), self._axis, keepdims=True)
        if axes != ():
            mean, squares = over_replicas(lax.pmean, axes, self.module_name, mean, squares)
        return mean, squares - jnp.square(mean)

    def _stored_variance(self, inputs: jax.Array, variance: jax.Array) -> jax.Array:
        return variance  # Sonnet does not use the fused operation here
