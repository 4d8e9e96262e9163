"""Helpers for tests."""

from purestate._testing.no_traces import no_traces
from purestate._testing.transform_and_run import transform_and_run

__all__ = ["no_traces", "transform_and_run"]
