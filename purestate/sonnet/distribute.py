"""Layers for several devices, in place of the strategies of TensorFlow."""

from purestate._sonnet.batch_norm import CrossReplicaBatchNorm
from purestate._sonnet.distribute import Replicator, TpuReplicator, create_variables_eagerly

__all__ = ["CrossReplicaBatchNorm", "Replicator", "TpuReplicator", "create_variables_eagerly"]
