"""Reads and writes checkpoints of TensorFlow, without TensorFlow."""

from purestate._tf_checkpoint.load import load
from purestate._tf_checkpoint.optax_states import from_optax, read_slots, to_optax
from purestate._tf_checkpoint.restore import restore
from purestate._tf_checkpoint.save import save

__all__ = ["from_optax", "load", "read_slots", "restore", "save", "to_optax"]
