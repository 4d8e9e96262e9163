"""Exponential moving averages, of an array and of a tree of parameters."""

import re
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from purestate._core.collection import Bundle
from purestate._core.errors import MissingStateError
from purestate._core.module import Module, transparent
from purestate._core.variables import get_state, set_state
from purestate._layers.errors import LayerError, check_bool
from purestate._layers.initializers import Constant
from purestate._ops.promotion import with_standard_promotion


class ExponentialMovingAverage(Module):
    """Keeps a moving average of what it is called with.

    The state `hidden` is `decay * hidden + (1 - decay) * value`. It begins at zero, which
    `zero_debias` makes up for: `average` is `hidden / (1 - decay**counter)` (Kingma and Ba 2015,
    arXiv:1412.6980, section 3).

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.ExponentialMovingAverage(0.9)(x))
    >>> params, state = f.init(None, jnp.float32(0))
    >>> for value in (1.0, 2.0):
    ...     average, state = f.apply(params, state, None, jnp.float32(value))
    >>> round(float(average), 4)
    1.5263

    Args:
      decay: how much of the old average is kept in a step.
      zero_debias: whether to make up for the start at zero.
      warmup_length: for how many steps the average is the value itself; needs `zero_debias=False`.
      name: the name of the module.

    Raises:
      LayerError: `warmup_length` is negative, or used with `zero_debias`.
    """

    _collection: str | None = None  # those of a BatchNorm are in "batch_stats"

    def __init__(
        self,
        decay: float | jax.Array,
        zero_debias: bool = True,
        warmup_length: int = 0,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if zero_debias.__class__ is not bool:
            check_bool(self, "zero_debias", zero_debias)
        self.decay = decay
        self.warmup_length = warmup_length
        self.zero_debias = zero_debias
        if warmup_length < 0:
            raise LayerError(f"warmup_length must not be negative, got {warmup_length}.")
        if warmup_length and zero_debias:
            raise LayerError(
                "warmup_length makes the average start at the first values, so pass"
                " zero_debias=False along."
            )

    def initialize(self, shape: Any, dtype: DTypeLike = jnp.float32) -> None:
        """Makes the state, for an average that is read before the first call.

        Args:
          shape: of the value.
          dtype: of the value.
        """
        if hasattr(shape, "shape"):
            warnings.warn(
                "ExponentialMovingAverage.initialize takes a shape and a dtype: write"
                " ema.initialize(x.shape, x.dtype).",
                DeprecationWarning,
                stacklevel=2,
            )
            shape, dtype = shape.shape, shape.dtype
        get_state("hidden", shape, dtype, init=jnp.zeros, collection=self._collection)
        get_state("average", shape, dtype, init=jnp.zeros, collection=self._collection)

    def __call__(self, value: ArrayLike, update_stats: bool = True) -> jax.Array:
        """Returns the average with `value` taken in.

        Args:
          value: an array, of the same shape each time.
          update_stats: whether to keep it.

        Returns:
          An array of the same shape.

        Raises:
          LayerError: `decay` is no share, from 0 to 1, or 1 where the start at zero is to be made
            up for.
        """
        if update_stats.__class__ is not bool:
            check_bool(self, "update_stats", update_stats)
        if self.decay.__class__ is not float or not 0 <= self.decay < 1:
            self._check_decay()
        if not isinstance(value, jax.Array):
            value = jnp.asarray(value)
        dtype = value.dtype
        start = Constant(-self.warmup_length)
        try:
            counter = get_state("counter", (), jnp.int32, start, collection=self._collection) + 1
        except MissingStateError as error:
            counter = self._after_initialize(error) + 1
        decay: Any
        if self.decay.__class__ is float:  # numpy subtracts it from one while JAX traces
            decay = np.asarray(self.decay, dtype)
        else:
            decay = jax.lax.convert_element_type(self.decay, dtype)
        if self.warmup_length > 0:
            decay = jax.lax.select(counter <= 0, np.zeros([], dtype), jnp.asarray(decay))
        one = np.ones([], dtype)
        hidden = get_state(
            "hidden", value.shape, dtype, init=jnp.zeros, collection=self._collection
        )
        hidden = hidden * decay + value * (one - decay)
        average = hidden
        if self.zero_debias:
            try:
                kept = jnp.power(decay, counter)
            except ValueError:  # strict promotion, although an integer exponent is not promoted
                kept = with_standard_promotion(jnp.power, decay, counter)
            average /= one - kept
        if update_stats:
            set_state("counter", counter, collection=self._collection)
            set_state("hidden", hidden, collection=self._collection)
            set_state("average", average, collection=self._collection)
        return average

    @transparent
    def _check_decay(self) -> None:
        try:
            decay = np.asarray(self.decay)
        except jax.errors.TracerArrayConversionError:
            return  # a traced one cannot be looked at
        if jnp.issubdtype(decay.dtype, np.floating):
            decay = decay.astype(np.float64)  # bfloat16 is no float to numpy
        if decay.dtype.kind not in "biufc":
            return  # jax.numpy says what is wrong with it
        if decay.dtype.kind == "c" or not ((decay >= 0) & (decay <= 1)).all():
            raise LayerError(
                f"ExponentialMovingAverage {self.module_name!r}: decay is the share of the old"
                f" average that is kept, from 0 to 1 (in BatchNorm, decay_rate); got {self.decay}."
            )
        if self.zero_debias and (decay == 1).any():
            raise LayerError(
                f"ExponentialMovingAverage {self.module_name!r}: with decay=1 (in BatchNorm,"
                " decay_rate) no value is ever taken in, and making up for the start at zero gives"
                " 0 / 0. Give it less than 1, or keep the average as it is: pass"
                " update_stats=False or, to BatchNorm, is_training=False."
            )

    @transparent
    def _after_initialize(self, error: MissingStateError) -> jax.Array:
        """Returns the counter of an average that has only been initialized; else raises `error`."""
        try:
            get_state("hidden", collection=self._collection)
        except MissingStateError:
            raise error from None
        return jnp.asarray(-self.warmup_length, jnp.int32)

    def _start(self, shape: Any, dtype: Any, average: Any) -> None:
        """Makes all of the state in `init`.

        Args:
          shape: of the values.
          dtype: of the values.
          average: an initializer for the average before the first call.
        """
        start = Constant(-self.warmup_length)
        get_state("counter", (), jnp.int32, start, collection=self._collection)
        get_state("hidden", shape, dtype, jnp.zeros, collection=self._collection)
        get_state("average", shape, dtype, average, collection=self._collection)

    @property
    def average(self) -> jax.Array:
        """The average as of the last call."""
        return get_state("average", collection=self._collection)


class EMAParamsTree(Module):
    """Keeps a moving average of every array in a tree of parameters.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda p: ps.EMAParamsTree(0.5)(p))
    >>> params = {"linear": {"w": jnp.ones([2])}}
    >>> _, state = f.init(None, params)
    >>> averages, state = f.apply({}, state, None, params)
    >>> averages["linear"]["w"].tolist()
    [1.0, 1.0]

    Args:
      decay: see `ExponentialMovingAverage`.
      zero_debias: see `ExponentialMovingAverage`.
      warmup_length: see `ExponentialMovingAverage`.
      ignore_regex: full names (`"module/name"`) that match it at their start are passed through.
      name: the name of the module.
    """

    def __init__(
        self,
        decay: float | jax.Array,
        zero_debias: bool = True,
        warmup_length: int = 0,
        ignore_regex: str = "",
        name: str | None = None,
    ):
        super().__init__(name=name)
        if zero_debias.__class__ is not bool:
            check_bool(self, "zero_debias", zero_debias)
        self.decay = decay
        self.zero_debias = zero_debias
        self.warmup_length = warmup_length
        self.ignore_regex = ignore_regex

    def __call__(self, tree: Mapping[str, Mapping[str, Any]], update_stats: bool = True) -> Bundle:
        """Returns the averages with `tree` taken in.

        Args:
          tree: `{module: {name: array}}`.
          update_stats: whether to keep them.

        Returns:
          A tree of the same structure.
        """
        if update_stats.__class__ is not bool:
            check_bool(self, "update_stats", update_stats)

        def average(full_name: str, value: Any) -> Any:
            if self.ignore_regex and re.match(self.ignore_regex, full_name):
                return value
            name = full_name.replace("/", "__").replace("~", "_tilde_")
            ema = ExponentialMovingAverage(
                self.decay, self.zero_debias, self.warmup_length, name=name
            )
            return ema(value, update_stats=update_stats)

        return {
            module: {name: average(f"{module}/{name}", value) for name, value in bundle.items()}
            for module, bundle in tree.items()
        }
