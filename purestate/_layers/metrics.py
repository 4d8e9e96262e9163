"""Metrics that go along in the state: `Mean`, `Sum`, `Accuracy`, and several at once."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from purestate._core.module import Module
from purestate._core.variables import get_state, set_state
from purestate._layers.errors import MODULE_CLASS, LayerError, is_a_class
from purestate._ops.promotion import with_standard_promotion

_COLLECTION = "metrics"


class Metric(Module):
    """What the metrics have in common: they add up numbers in the collection "metrics".

    A metric of your own derives from it, names its sums in `sums`, and has `__call__` and
    `compute`.

    >>> import jax.numpy as jnp, purestate as ps
    >>> class Largest(ps.metrics.Metric):
    ...     sums = {"largest": jnp.float32}
    ...     def __call__(self, values):
    ...         self.write(largest=jnp.maximum(self.read("largest"), values.max()))
    ...         return self.compute()
    ...     def compute(self):
    ...         return self.read("largest")
    >>> f = ps.transform_with_state(lambda x: Largest()(x))
    >>> float(f.apply({}, None, None, jnp.array([1.0, 3.0]))[0])
    3.0

    Args:
      cross_replica_axis: name of a mapped axis (of `jax.shard_map`, `jax.pmap` or `jax.vmap`), all
        of whose parts count.
      name: the name of the module.
    """

    sums: dict[str, Any] = {}

    def __init__(
        self, cross_replica_axis: str | Sequence[str] | None = None, name: str | None = None
    ):
        super().__init__(name=name)
        self.cross_replica_axis = cross_replica_axis

    def read(self, name: str) -> jax.Array:
        """Returns one of the sums so far.

        Args:
          name: one of `sums`.

        Returns:
          A scalar.
        """
        return get_state(name, (), self.sums[name], init=jnp.zeros, collection=_COLLECTION)

    def write(self, **values: ArrayLike) -> None:
        """Sets sums.

        Args:
          **values: scalars, by the names in `sums`.
        """
        for name, value in values.items():
            self.read(name)  # so that `init` returns a metric that has seen nothing
            set_state(name, jnp.asarray(value, self.sums[name]), collection=_COLLECTION)

    def add(self, **values: ArrayLike) -> None:
        """Adds to the sums, over all replicas.

        Args:
          **values: scalars, by the names in `sums`.
        """
        for name, value in values.items():
            value = jnp.asarray(value, self.sums[name])
            if self.cross_replica_axis is not None:
                value = jax.lax.psum(value, self.cross_replica_axis)
            self.write(**{name: self.read(name) + value})

    def reset(self) -> None:
        """Sets all sums to zero."""
        self.write(**dict.fromkeys(self.sums, 0))

    def compute(self) -> jax.Array:
        """Returns the value of all that was seen so far.

        Returns:
          A scalar.

        Raises:
          LayerError: the subclass has none.
        """
        raise LayerError(
            f"Metric {self.module_name!r} ({type(self).__name__}) needs a method `compute(self)`,"
            " and has none."
        )

    def _counted(self, shape: tuple[int, ...], mask: ArrayLike | None) -> tuple[Any, Any]:
        """Returns a mask of a shape, or None, and how many values count."""
        if mask is None:
            count = 1
            for size in shape:
                count *= size
            return None, count
        mask = jnp.asarray(mask)
        try:
            mask = jnp.broadcast_to(mask, shape)
        except ValueError:
            raise LayerError(
                f"{type(self).__name__} {self.module_name!r}: a mask of shape {mask.shape} does not"
                f" fit values of shape {shape}."
            ) from None
        if mask.dtype != bool:
            raise LayerError(
                f"{type(self).__name__} {self.module_name!r}: the mask says which values count, so"
                f" it has to be of bools, not of {mask.dtype}. Write mask != 0."
            )
        return mask, mask.sum(dtype=jnp.int32)


class Mean(Metric):
    """The mean of all values seen.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.metrics.Mean()(x))
    >>> _, state = f.init(None, jnp.ones([2]))
    >>> for batch in (jnp.array([1.0, 2.0, 3.0]), jnp.array([10.0])):
    ...     mean, state = f.apply({}, state, None, batch)
    >>> float(mean), int(state["mean"]["count"])
    (4.0, 4)

    Each value counts the same, so a smaller last batch does not weigh more than its share, as it
    would in a mean of means. To begin anew, take the state that `init` returned, or call `reset`.

    Args:
      cross_replica_axis: see `Metric`.
      name: the name of the module.
    """

    sums = {"count": jnp.int32, "total": jnp.float32}

    def __call__(self, values: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
        """Takes values in.

        Args:
          values: an array of any shape, a new one each time.
          mask: bools that broadcast to it; where False, a value does not count.

        Returns:
          The mean of all that was seen.

        Raises:
          LayerError: the mask does not fit.
        """
        values = jnp.asarray(values)
        mask, count = self._counted(values.shape, mask)
        self.add(count=count, total=jnp.sum(values, where=mask, dtype=jnp.float32))
        return self.compute()

    def compute(self) -> jax.Array:
        """Returns the mean of all that was seen; NaN if that was nothing.

        Returns:
          A scalar.
        """
        total, count = self.read("total"), self.read("count")
        try:
            return total / count
        except ValueError:  # strict promotion does not divide by integers
            return with_standard_promotion(jnp.divide, total, count)


class Sum(Metric):
    """The sum of all values seen.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda x: ps.metrics.Sum()(x))
    >>> total, state = f.apply({}, None, None, jnp.array([1.0, 2.0]))
    >>> float(f.apply({}, state, None, jnp.array([3.0]))[0])
    6.0

    Args:
      cross_replica_axis: see `Metric`.
      name: the name of the module.
    """

    sums = {"total": jnp.float32}

    def __call__(self, values: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
        """Takes values in.

        Args:
          values: an array of any shape, a new one each time.
          mask: bools that broadcast to it; where False, a value does not count.

        Returns:
          The sum of all that was seen.

        Raises:
          LayerError: the mask does not fit.
        """
        values = jnp.asarray(values)
        mask, _ = self._counted(values.shape, mask)
        self.add(total=jnp.sum(values, where=mask, dtype=jnp.float32))
        return self.compute()

    def compute(self) -> jax.Array:
        """Returns the sum of all that was seen.

        Returns:
          A scalar.
        """
        return self.read("total")


class Accuracy(Metric):
    """How many predictions were right, of all seen.

    >>> import jax.numpy as jnp, purestate as ps
    >>> f = ps.transform_with_state(lambda logits, labels: ps.metrics.Accuracy()(logits, labels))
    >>> logits = jnp.array([[2.0, 1.0], [0.0, 5.0], [3.0, 1.0], [0.0, 1.0]])
    >>> float(f.apply({}, None, None, logits, jnp.array([0, 1, 1, 1]))[0])
    0.75

    Args:
      cross_replica_axis: see `Metric`.
      name: the name of the module.
    """

    sums = {"correct": jnp.int32, "count": jnp.int32}

    def __call__(
        self, predictions: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None
    ) -> jax.Array:
        """Takes predictions in.

        Args:
          predictions: logits or probabilities `[..., C]`, of which the largest is the prediction;
            or integers of the shape of `labels`.
          labels: integers `[...]`.
          mask: bools that broadcast to `labels`; where False, a prediction does not count.

        Returns:
          The share of right ones among all that was seen.

        Raises:
          LayerError: the shapes do not go together, or the mask does not fit.
        """
        predictions, labels = jnp.asarray(predictions), jnp.asarray(labels)
        if not (jnp.issubdtype(labels.dtype, jnp.integer) or labels.dtype == bool):
            raise LayerError(
                f"Accuracy {self.module_name!r}: labels are the numbers of classes, integers, but"
                f" they are {labels.dtype}. If they are one-hot, write labels.argmax(-1)."
            )
        if (
            predictions.shape[:-1] == labels.shape
            and jnp.issubdtype(predictions.dtype, jnp.floating)
            and predictions.ndim
        ):
            predictions = jnp.argmax(predictions, axis=-1)
        elif predictions.shape != labels.shape or jnp.issubdtype(predictions.dtype, jnp.floating):
            raise LayerError(
                f"Accuracy {self.module_name!r}: takes floats [..., C] or integers [...] for labels"
                f" [...], but got predictions {predictions.dtype}{list(predictions.shape)} and"
                f" labels {labels.dtype}{list(labels.shape)}."
            )
        mask, count = self._counted(labels.shape, mask)
        self.add(count=count, correct=jnp.sum(predictions == labels, where=mask, dtype=jnp.int32))
        return self.compute()

    def compute(self) -> jax.Array:
        """Returns the share of right predictions; NaN if there were none at all.

        Returns:
          A scalar.
        """
        correct, count = self.read("correct"), self.read("count")
        # Integers over integers would be float64 under `jax_enable_x64`.
        return lax.convert_element_type(correct, jnp.float32) / lax.convert_element_type(
            count, jnp.float32
        )


class MultiMetric(Module):
    """Several metrics at once, by name.

    >>> import jax.numpy as jnp, purestate as ps
    >>> def evaluate(logits, labels, loss):
    ...     metrics = ps.metrics.MultiMetric(loss=ps.metrics.Mean(), accuracy=ps.metrics.Accuracy())
    ...     return metrics(loss=loss, accuracy=(logits, labels))
    >>> f = ps.transform_with_state(evaluate)
    >>> logits, labels = jnp.array([[2.0, 1.0], [0.0, 5.0]]), jnp.array([0, 0])
    >>> values, state = f.apply({}, None, None, logits, labels, jnp.array([0.5, 1.5]))
    >>> {name: float(value) for name, value in values.items()}
    {'loss': 1.0, 'accuracy': 0.5}

    Args:
      **metrics: metrics by name.

    Raises:
      ArgumentError: a metric is a class.
    """

    def __init__(self, **metrics: Any):
        super().__init__(name=None)
        self.metrics = metrics
        for name, metric in metrics.items():
            if metric.__class__ is MODULE_CLASS:
                raise is_a_class(f"MultiMetric {self.module_name!r}", repr(name), metric)

    def __call__(self, **values: Any) -> dict[str, jax.Array]:
        """Takes values in.

        Args:
          **values: for each metric, or some of them, what it is to be called with: one argument, a
            tuple of arguments, or a dict of arguments by name.

        Returns:
          The value of each metric.

        Raises:
          LayerError: there is no metric of that name.
        """
        for name, value in values.items():
            if name not in self.metrics:
                raise LayerError(
                    f"MultiMetric {self.module_name!r}: there is no {name!r}, only"
                    f" {', '.join(map(repr, self.metrics))}."
                )
            metric = self.metrics[name]
            if isinstance(value, dict):
                metric(**value)
            elif isinstance(value, tuple):
                metric(*value)
            else:
                metric(value)
        return self.compute()

    def compute(self) -> dict[str, jax.Array]:
        """Returns the value of each metric.

        Returns:
          A dict of scalars.
        """
        return {name: metric.compute() for name, metric in self.metrics.items()}

    def reset(self) -> None:
        """Resets each metric."""
        for metric in self.metrics.values():
            metric.reset()
