"""Layers for several devices, in place of the strategies of TensorFlow."""

from typing import Any

from purestate._sonnet.batch_norm import CrossReplicaBatchNorm
from purestate._sonnet.errors import SonnetAttributeError

__all__ = ["CrossReplicaBatchNorm"]


def __getattr__(name: str) -> Any:
    if name in ("Replicator", "TpuReplicator", "create_variables_eagerly"):
        raise SonnetAttributeError(
            f"snt.distribute.{name} has no counterpart: in JAX a function runs on several devices"
            " by itself. Shard the batch over a mesh and compile the step with jax.jit, or write"
            ' the step of one device with jax.shard_map. See "Several devices" on the page "Coming'
            ' from Sonnet".'
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
