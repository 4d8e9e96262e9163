"""Optimizers with the interface of Flax's old `optim`."""

from purestate._views.gradient_descent import GradientDescent, GradientDescentOptimizer

__all__ = ["GradientDescent", "GradientDescentOptimizer"]
