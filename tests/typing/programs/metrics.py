"""Metrics: those of purestate and the user's own."""

import jax
import jax.numpy as jnp

import purestate as ps

x = jnp.ones([8])

reveal_type(ps.metrics.Mean()(x))  # Array
reveal_type(ps.metrics.Accuracy()(x, x))  # Array
reveal_type(ps.metrics.Sum().compute())  # Array
reveal_type(ps.metrics.Mean().reset())  # None
reveal_type(ps.metrics.MultiMetric(loss=ps.metrics.Mean())(loss=x))  # dict[str, Array]
ps.metrics.Accuracy()(x)  # error: labels
ps.metrics.Mean(axis="batch")  # error: axis
ps.metrics.Mean()(x, maks=None)  # error: maks


class Largest(ps.metrics.Metric):
    sums = {"largest": jnp.float32}

    def __call__(self, values: jax.Array) -> jax.Array:
        self.write(largest=jnp.maximum(self.read("largest"), values.max()))
        return self.compute()

    def compute(self) -> jax.Array:
        return self.read("largest")


reveal_type(Largest())  # Largest
reveal_type(Largest()(x))  # Array
Largest()()  # error: values
