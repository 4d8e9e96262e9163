"""Pure functions and optimizers of modules that were made outside a transformed function."""

from jax import device_get, device_put, grad, jit, value_and_grad

from purestate._sonnet.functional import transform, transform_with_state, variables, without_state
from purestate._sonnet.functional_optimizers import adam, momentum, optimizer, rmsprop, sgd

__all__ = [
    "adam",
    "device_get",
    "device_put",
    "grad",
    "jit",
    "momentum",
    "optimizer",
    "rmsprop",
    "sgd",
    "transform",
    "transform_with_state",
    "value_and_grad",
    "variables",
    "without_state",
]
