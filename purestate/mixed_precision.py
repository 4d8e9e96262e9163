"""Parameters, computation and outputs in different floating point types; loss scaling."""

from purestate._precision.casting import current_policy
from purestate._precision.class_policies import clear_policy, get_policy, push_policy, set_policy
from purestate._precision.loss_scale import LossScaleState, dynamic_loss_scale, loss_scale
from purestate._precision.policy import Policy, get_named_policy

__all__ = [
    "LossScaleState",
    "Policy",
    "clear_policy",
    "current_policy",
    "dynamic_loss_scale",
    "get_named_policy",
    "get_policy",
    "loss_scale",
    "push_policy",
    "set_policy",
]
