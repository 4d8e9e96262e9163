"""Optimizers in the form of Flax's old `optim`."""

from purestate._views.optimizer import GradientDescent, GradientDescentOptimizer

__all__ = ["GradientDescent", "GradientDescentOptimizer"]
