"""Helpers for tests."""

from purestate._testing.transform_and_run import transform_and_run

__all__ = ["transform_and_run"]
