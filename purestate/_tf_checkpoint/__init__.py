"""Checkpoints of TensorFlow, read and written without TensorFlow."""
