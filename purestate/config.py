"""Settings; see `set` and `context`."""

from purestate._core.config import context, set  # noqa: A004

__all__ = ["context", "set"]
