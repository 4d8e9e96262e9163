"""Quantized weights, activations and gradients, from outside of a model."""
