"""Sonnet's optimizers, which are also gradient transformations of optax."""

from purestate._sonnet.optimizers.adam import Adam
from purestate._sonnet.optimizers.momentum import Momentum
from purestate._sonnet.optimizers.rmsprop import RMSProp
from purestate._sonnet.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "Momentum", "RMSProp"]
