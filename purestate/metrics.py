"""Metrics that accumulate in the state."""

from purestate._layers.metrics import Accuracy, Mean, Metric, MultiMetric, Sum

__all__ = ["Accuracy", "Mean", "Metric", "MultiMetric", "Sum"]
