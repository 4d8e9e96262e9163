"""Parameters, computation and outputs in different floating point types."""

from purestate._precision.casting import current_policy
from purestate._precision.class_policies import clear_policy, get_policy, push_policy, set_policy
from purestate._precision.policy import Policy, get_named_policy

__all__ = [
    "Policy",
    "clear_policy",
    "current_policy",
    "get_named_policy",
    "get_policy",
    "push_policy",
    "set_policy",
]
