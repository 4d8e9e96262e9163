"""Batch normalization."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from purestate._core.errors import MissingStateError
from purestate._core.module import Module, transparent
from purestate._core.trace_guard import device_axes
from purestate._core.variables import Initializer
from purestate._layers.axes import checked_norm_mask, get_channel_index
from purestate._layers.errors import LayerError, check_bool, not_an_array
from purestate._layers.moving_averages import ExponentialMovingAverage
from purestate._layers.param_dtype import get_parameter_kept_in
from purestate._layers.replicas import check_synchronized, over_replicas
from purestate._ops.normalization import moments, normalize


def _no_statistics(layer: Any) -> MissingStateError:
    return MissingStateError(
        f"BatchNorm {layer.module_name!r} has no running statistics ('average' of"
        f" '{layer.module_name}/~/mean_ema'), which it needs with is_training=False. Either run"
        " `init` with is_training=True, and pass on the state that it returns; or make the layer"
        " with stats_at_init=True, so that the statistics start at mean 0 and variance 1."
    )


def _is_several_ints(axis: Any) -> bool:
    return not isinstance(axis, int | slice | str | Mapping | Iterator) and not any(
        isinstance(part, str) for part in axis
    )


def _no_use_for(init: str, what: str) -> LayerError:
    """The error for an initializer of a parameter that the layer does not have."""
    return LayerError(f"BatchNorm: {init} is given, but create_{what}=False makes no {what}.")


def _given_twice(layer: Any, what: str) -> LayerError:
    """The error for a scale or an offset that is given, though there is a parameter."""
    a = "an" if what == "offset" else "a"
    return LayerError(
        f"BatchNorm {layer.module_name!r} has {a} {what} of its own (create_{what}=True) and was"
        " given another."
    )


def _start_statistics(layer: Any, inputs: jax.Array, axis: Sequence[int]) -> None:
    """Makes running statistics of mean 0 and variance 1, unless there are some."""
    reduced = {a % inputs.ndim for a in axis}
    shape = [1 if i in reduced else size for i, size in enumerate(inputs.shape)]
    layer.mean_ema._start(shape, inputs.dtype, jnp.zeros)
    layer.var_ema._start(shape, inputs.dtype, jnp.ones)


def _running_statistics(layer: Any, dtype: Any) -> tuple[jax.Array, jax.Array]:
    try:
        return layer.mean_ema.average.astype(dtype), layer.var_ema.average.astype(dtype)
    except MissingStateError:
        raise _no_statistics(layer) from None


class BatchNorm(Module):
    """Normalizes each channel to mean 0 and variance 1 over the batch.

    In training with the statistics of the batch, of which it keeps moving averages; otherwise with
    these averages. Ioffe and Szegedy 2015, arXiv:1502.03167.

    >>> import jax, jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x, train: ps.BatchNorm(True, True, 0.9)(x, train))
    >>> x = jnp.array([[1.0], [3.0]])
    >>> params, state = f.init(None, x, True)
    >>> out, state = f.apply(params, state, None, x, True)
    >>> [round(v, 2) for v in out[:, 0].tolist()]
    [-1.0, 1.0]

    Args:
      create_scale: whether there is a factor per channel, a parameter.
      create_offset: whether there is an offset per channel, a parameter.
      decay_rate: how much of the old averages is kept in a step.
      eps: added to the variance.
      scale_init: the initializer of the factor; None for ones.
      offset_init: the initializer of the offset; None for zeros.
      axis: the axes to take statistics over; None for all but the channels.
      cross_replica_axis: the name of one or more axes (of `jax.shard_map`, `jax.pmap`, `jax.vmap`)
        over which statistics are taken too.
      cross_replica_axis_index_groups: which indices along it belong together.
      data_format: where the channels are; see `ConvND`.
      name: the name of the module.
      sync: True for statistics over all shards wherever it runs inside `jax.shard_map`,
        `ps.shard_map` or `jax.pmap`, and those of the batch elsewhere, so that one model is right
        in both. False where each shard keeps averages of its own. With None, that is an error
        inside `jax.shard_map` (see `unsynced_state` of `ps.config.set`).
      stats_at_init: whether the running statistics start at mean 0 and variance 1, as in flax and
        equinox, so that `init` and evaluation work without any training. By default they start with
        the first batch, as in dm-haiku.
      param_dtype: the dtype of the parameters; None for that of the input.

    Raises:
      LayerError: options exclude each other, or `axis` is one number.
    """

    def __init__(
        self,
        create_scale: bool,
        create_offset: bool,
        decay_rate: float,
        eps: float = 1e-5,
        scale_init: Initializer | None = None,
        offset_init: Initializer | None = None,
        axis: Sequence[int] | None = None,
        cross_replica_axis: str | Sequence[str] | None = None,
        cross_replica_axis_index_groups: Sequence[Sequence[int]] | None = None,
        data_format: str = "channels_last",
        name: str | None = None,
        *,
        sync: bool | None = None,
        stats_at_init: bool = False,
        param_dtype: DTypeLike | None = None,
    ):
        super().__init__(name=name)
        if create_scale.__class__ is not bool:
            check_bool(self, "create_scale", create_scale)
        if create_offset.__class__ is not bool:
            check_bool(self, "create_offset", create_offset)
        if stats_at_init.__class__ is not bool:
            check_bool(self, "stats_at_init", stats_at_init)
        if sync.__class__ is not bool and sync is not None:
            check_bool(self, "sync", sync)
        if not create_scale and scale_init is not None:
            raise _no_use_for("scale_init", "scale")
        if not create_offset and offset_init is not None:
            raise _no_use_for("offset_init", "offset")
        if cross_replica_axis is None and cross_replica_axis_index_groups is not None:
            raise LayerError(
                "BatchNorm: cross_replica_axis_index_groups needs the axis they are of: pass"
                " cross_replica_axis."
            )
        if axis is not None and not _is_several_ints(axis):
            raise LayerError(
                f"BatchNorm {self.module_name!r}: axis has to be several ints, counted from the"
                f" front, such as (0, 1); got {axis!r}."
            )
        self.create_scale = create_scale
        self.create_offset = create_offset
        self.eps = eps
        self.param_dtype = param_dtype
        self.scale_init = scale_init or jnp.ones
        self.offset_init = offset_init or jnp.zeros
        self.axis = axis
        self.cross_replica_axis = cross_replica_axis
        self.cross_replica_axis_index_groups = cross_replica_axis_index_groups
        self.sync = sync
        self.stats_at_init = stats_at_init
        self.channel_index = get_channel_index(data_format)
        self.mean_ema = ExponentialMovingAverage(decay_rate, name="mean_ema")
        self.var_ema = ExponentialMovingAverage(decay_rate, name="var_ema")
        self.mean_ema._collection = self.var_ema._collection = "batch_stats"

    def __call__(
        self,
        inputs: jax.Array,
        is_training: bool,
        test_local_stats: bool = False,
        scale: jax.Array | None = None,
        offset: jax.Array | None = None,
        *,
        mask: ArrayLike | None = None,
    ) -> jax.Array:
        """Returns `inputs`, normalized.

        Args:
          inputs: `[B, ..., C]`, or as `data_format` says.
          is_training: whether to use the batch's statistics, and to keep them.
          test_local_stats: whether to use the batch's statistics without training.
          scale: a factor that broadcasts to `inputs`, where there is no parameter.
          offset: an offset that broadcasts to `inputs`, where there is no parameter.
          mask: booleans that broadcast to `inputs`: what counts in the statistics, such as
            `mask[:, :, None]` for `[B, T]`; None for all.

        Returns:
          An array of the same shape.

        Raises:
          LayerError: `scale` or `offset` is given although there is a parameter; `inputs` is no
            array; or no axis `cross_replica_axis` is there.
          BatchedStateError: the averages would be those of one shard of a `jax.shard_map`.
          MissingStateError: there are no averages yet, because it never ran with `is_training`.
        """
        if is_training.__class__ is not bool:
            check_bool(self, "is_training", is_training)
        if test_local_stats.__class__ is not bool:
            check_bool(self, "test_local_stats", test_local_stats)
        if self.create_scale and scale is not None:
            raise _given_twice(self, "scale")
        if self.create_offset and offset is not None:
            raise _given_twice(self, "offset")
        try:
            ndim = inputs.ndim
        except AttributeError:
            raise not_an_array(self, inputs) from None
        channel = self.channel_index + ndim if self.channel_index < 0 else self.channel_index
        axis = self.axis if self.axis is not None else [i for i in range(ndim) if i != channel]
        if self.stats_at_init:
            _start_statistics(self, inputs, axis)

        # The statistics: of the batch and its replicas, or the running ones.
        if is_training or test_local_stats:
            if mask is not None:
                mask = checked_norm_mask(self, mask, inputs.shape)
            mean, mean_of_squares = self._of_replicas(inputs, mask, tuple(axis))
            var = mean_of_squares - jnp.square(mean)
        else:
            mean, var = _running_statistics(self, inputs.dtype)

        # Keep them.
        if is_training:
            if not self.cross_replica_axis and self.sync is None:
                check_synchronized(self.mean_ema, self.var_ema)
            self.mean_ema(mean)
            self.var_ema(var)

        # Normalize with them, and with the layer's own scale and offset or the given ones.
        shape = [1 if i in axis else size for i, size in enumerate(inputs.shape)]
        dtype = inputs.dtype
        if self.create_scale:
            scale = get_parameter_kept_in(self.param_dtype, "scale", shape, dtype, self.scale_init)
        if self.create_offset:
            offset = get_parameter_kept_in(
                self.param_dtype, "offset", shape, dtype, self.offset_init
            )
        return normalize(
            inputs, scale, offset, mean=mean, variance=var, kind="batch", axis=tuple(axis),
            eps=self.eps,
        )  # fmt: skip

    @transparent
    def _of_replicas(
        self, inputs: jax.Array, mask: Any, axis: tuple[int, ...]
    ) -> tuple[jax.Array, ...]:
        """The mean and the mean of squares of the batch, and of its replicas."""
        mean, mean_of_squares = moments(inputs, mask, axis)
        replicas = self.cross_replica_axis or (self.sync and device_axes())
        if not replicas:
            return mean, mean_of_squares
        groups = self.cross_replica_axis_index_groups
        where = self.module_name
        if mask is None:
            return over_replicas(
                jax.lax.pmean, replicas, where, mean, mean_of_squares, index_groups=groups
            )
        # Replicas count by how much of them is not left out.
        count = jnp.sum(jnp.broadcast_to(mask, inputs.shape), axis, keepdims=True)
        count = count.astype(mean.dtype)
        total, squares, count = over_replicas(
            jax.lax.psum,
            replicas,
            where,
            mean * count,
            mean_of_squares * count,
            count,
            index_groups=groups,
        )
        count = jnp.maximum(count, 1)
        return total / count, squares / count
